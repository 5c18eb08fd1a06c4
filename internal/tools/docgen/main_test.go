package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/secret"
	channelkinds "switchboard/channels/all"
	"switchboard/internal/config"
	sinkkinds "switchboard/sinks/all"
)

const root = "../../.."

func TestPagesAreFresh(t *testing.T) {
	t.Parallel()
	files, err := newReader(root).pages(channelkinds.Kinds(), sinkkinds.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("%v; run make docs", err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale, run make docs:\n%s", name, diff)
		}
	}
}

func TestEveryOptionIsExplained(t *testing.T) {
	t.Parallel()
	r := newReader(root)
	check := func(kind string, cfg any) {
		options, err := r.options(reflect.ValueOf(cfg).Elem(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range options {
			// Below a section that is explained, a name may be enough.
			if o.doc == "" && !strings.Contains(o.name, ".") {
				t.Errorf("%s: option %s has no comment", kind, o.name)
			}
		}
	}
	for _, k := range channelkinds.Kinds() {
		check(k.Name(), k.Config())
	}
	for _, k := range sinkkinds.Kinds() {
		check(k.Name(), k.Config())
	}
	check("switchboard.yaml", &config.Config{})
}

func TestWrite(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	if err := write(root, out); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(out, "docs", "reference", "sinks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## zendesk", "| `client_secret` | secret |", "[sinks/inbox/README.md](../../sinks/inbox/README.md)", "## Every sink"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("sinks.md lacks %q", want)
		}
	}
}

// sample has one option of every form.
type sample struct {
	Name    string            `yaml:"name" required:"true"`
	Token   secret.Secret     `yaml:"token"`
	Mode    string            `yaml:"mode" enum:"fast,slow"`
	Every   time.Duration     `yaml:"every"`
	Words   []string          `yaml:"words"`
	Map     map[string]string `yaml:"map"`
	Most    config.Size       `yaml:"most"`
	Deep    deep              `yaml:"deep"`
	Many    []deep            `yaml:"many"`
	On      *bool             `yaml:"on"`
	Ignored string            `yaml:"-"`
	hidden  string
}

type deep struct {
	Count int `yaml:"count"`
}

func TestTable(t *testing.T) {
	t.Parallel()
	r := newReader(root)
	v := sample{
		Token: secret.Literal("hidden"), Mode: "fast", Every: time.Minute, Words: []string{"a", "b"},
		Most: 2 << 20, Deep: deep{Count: 3}, hidden: "x",
	}
	options, err := r.options(reflect.ValueOf(v), "")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	table(&b, options)
	want := `| key | value | default | meaning |
|---|---|---|---|
| ''name'' | text | required |  |
| ''token'' | secret |  |  |
| ''mode'' | ''fast'', ''slow'' | ''fast'' |  |
| ''every'' | duration | ''1m'' |  |
| ''words'' | list of text | ''a, b'' |  |
| ''map'' | map to text |  |  |
| ''most'' | size | ''2MiB'' |  |
| ''deep'' | section |  |  |
| ''deep.count'' | number | ''3'' |  |
| ''many'' | list of section |  |  |
| ''many[].count'' | number |  |  |
| ''on'' | true or false |  |  |
`
	if diff := cmp.Diff(strings.ReplaceAll(want, "''", "`"), b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for want, in := range map[string]time.Duration{
		"35d": 35 * 24 * time.Hour, "2h": 2 * time.Hour, "1m": time.Minute, "1m30s": 90 * time.Second, "1h30m": 90 * time.Minute, "2s": 2 * time.Second,
	} {
		if got := span(in); got != want {
			t.Errorf("span(%s) = %q want %q", in, got, want)
		}
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Package form takes messages.": "Takes messages.", "Package inbox is a desk.": "It is a desk.", "Nothing.": "Nothing.",
	} {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%q) = %q want %q", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for in, want := range map[int64]string{26 << 20: "26 MiB", 64 << 10: "64 KiB", 999: "999 bytes"} {
		if got := size(in); got != want {
			t.Errorf("size(%d) = %q want %q", in, got, want)
		}
	}
}
