package comments_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/internal/tools/comments"
)

const source = `// Package shop sells
// kites.
package shop

// A Kite flies.
//
// It has two lines.
type Kite struct {
	// Name is what it is called, Span
	// its width in metres.
	Name string  ''yaml:"name" json:"-"''
	Span float64 ''yaml:"span,omitempty"''
	Bare bool
}

// A Wind blows.
type Wind string

// Winds.
const (
	// Gale: too much.
	Gale Wind = "gale"
	Calm Wind = "calm"
	Count = 2
)
`

func load(t *testing.T, src string) (*comments.Package, error) {
	t.Helper()
	dir := t.TempDir()
	src = strings.ReplaceAll(src, "''", "`")
	for name, text := range map[string]string{"shop.go": src, "shop_test.go": "not Go", "notes.txt": "not Go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return comments.Load(dir)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	p, err := load(t, source)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{p.Doc, p.Type("Kite"), p.Field("Kite", "Name"), p.Field("Kite", "Span"), p.Field("Kite", "Bare"), p.Type("None")}
	name := "Name is what it is called, Span its width in metres."
	if diff := cmp.Diff([]string{"Package shop sells kites.", "A Kite flies.\n\nIt has two lines.", name, name, "", ""}, got); diff != "" {
		t.Error(diff)
	}
	want := []comments.Const{{Name: "Gale", Value: "gale", Doc: "Gale: too much."}, {Name: "Calm", Value: "calm"}}
	if diff := cmp.Diff(want, p.Consts("Wind")); diff != "" {
		t.Error(diff)
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	p, err := load(t, source)
	if err != nil {
		t.Fatal(err)
	}
	doc := "name is what it is called, span its width in metres."
	if diff := cmp.Diff(map[string]string{"Kite.Name": doc, "Kite.Span": doc}, p.Fields("yaml")); diff != "" {
		t.Error(diff)
	}
}

func TestLoadRefusesWhatIsNotGo(t *testing.T) {
	t.Parallel()
	if _, err := load(t, "package"); err == nil {
		t.Error("a broken file was read")
	}
	if _, err := comments.Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing folder was read")
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	got := comments.Rename("Name is not NameTag; Span is.", map[string]string{"Name": "name", "Span": "span_m"})
	if want := "name is not NameTag; span_m is."; got != want {
		t.Errorf("got %q want %q", got, want)
	}
}
