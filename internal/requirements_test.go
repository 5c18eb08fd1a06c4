package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestRequirementsAreShownByWhatIsThere holds the table of docs/requirements.md:
// every row is there once, and what it names as its proof exists.
func TestRequirementsAreShownByWhatIsThere(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "docs", "requirements.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`^\| ([CTKRSOYAXPD]-\d\d) \|`)
	name := regexp.MustCompile("`([^`]+)`")
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if seen[m[1]] {
			t.Errorf("%s is there twice", m[1])
		}
		seen[m[1]] = true
		cells := strings.TrimSuffix(strings.TrimSpace(line), "|")
		shown := strings.TrimSpace(cells[strings.LastIndex(cells, "|")+1:])
		if shown == "–" {
			continue
		}
		places := name.FindAllStringSubmatch(shown, -1)
		if len(places) == 0 {
			t.Errorf("%s is shown by %q, which names nothing", m[1], shown)
		}
		for _, place := range places {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(place[1]))); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
		}
	}
	if len(seen) != 217 {
		t.Errorf("got %d rows want 217", len(seen))
	}
}

// TestLinksLeadSomewhere holds the relative links of the guides.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	root := ".."
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/reference/*.md", "docs/examples/*/*.md", "deploy/*.md", "channels/*/*.md", "sinks/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: link to %s leads nowhere", page, m[1])
			}
		}
	}
}
