package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	channelkinds "switchboard/channels/all"
	"switchboard/internal/config"
	sinkkinds "switchboard/sinks/all"
)

// TestExampleConfigurationsAreRight reads what deploy/ and the README show, as
// `switchboard check` would, with every variable set.
func TestExampleConfigurationsAreRight(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"deploy/example", "deploy/compose/config"} {
		t.Run(dir, func(t *testing.T) {
			t.Parallel()
			check(t, filepath.Join(root, filepath.FromSlash(dir)))
		})
	}
	t.Run("README", func(t *testing.T) {
		t.Parallel()
		readme, err := os.ReadFile(filepath.Join(root, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, name := range []string{"switchboard.yaml", "rules.yaml"} {
			block := regexp.MustCompile("(?s)```yaml\n(# " + regexp.QuoteMeta(name) + "\n.*?)```").FindSubmatch(readme)
			if block == nil {
				t.Fatalf("README.md shows no %s", name)
			}
			if err := os.WriteFile(filepath.Join(dir, name), block[1], 0o600); err != nil {
				t.Fatal(err)
			}
		}
		check(t, dir)
	})
}

// TestRulesGuideIsRight reads the example of docs/rules.md under the names of
// deploy/example.
func TestRulesGuideIsRight(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join(root, "docs", "rules.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(guide)
	if block == nil {
		t.Fatal("docs/rules.md shows no rules")
	}
	c := load(t, filepath.Join(root, "deploy", "example"))
	if _, err := config.ParseRules("rules.md", block[1], c.Names()); err != nil {
		t.Error(err)
	}
}

func check(t *testing.T, dir string) {
	t.Helper()
	c := load(t, dir)
	rules, err := config.LoadRules(c.Rules, c.Names())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range append(c.Warnings, rules.Warnings...) {
		t.Errorf("warning: %v", w)
	}
}

func load(t *testing.T, dir string) *config.Config {
	t.Helper()
	c, err := config.Load(filepath.Join(dir, "switchboard.yaml"), config.Options{
		ChannelKinds: channelkinds.Kinds(), SinkKinds: sinkkinds.Kinds(),
		Getenv: func(string) (string, bool) { return "12345:made_up_for_this_test", true },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
