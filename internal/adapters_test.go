package internal_test

import (
	"go/ast"
	"go/scanner"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Sizes of adapters' folders, in lines that hold code, tests and fakes apart
// (docs/style.md §2).
const (
	// The goal is 150. Of seven adapters three are desks, so that the median is a
	// channel's with much to say; with two more small channels it holds again.
	medianLines  = 180
	channelLines = 250
	sinkLines    = 450
)

func TestAdaptersAreSmall(t *testing.T) {
	t.Parallel()
	root, sources := tree(t)
	var sizes []int
	for _, s := range sources {
		if !s.adapter() {
			continue
		}
		lines := size(t, root, s)
		most := channelLines
		if strings.HasPrefix(s.dir, "sinks/") {
			most = sinkLines
		}
		t.Logf("%-24s %4d of %d lines", s.dir, lines, most)
		if lines > most {
			t.Errorf("%s has %d lines of code; at most %d", s.dir, lines, most)
		}
		sizes = append(sizes, lines)
	}
	if len(sizes) == 0 {
		t.Fatal("no adapters found")
	}
	if got := median(sizes); got > medianLines {
		t.Errorf("the median adapter has %d lines of code; at most %d", got, medianLines)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   []int
		want int
	}{{[]int{7}, 7}, {[]int{9, 1, 5}, 5}, {[]int{8, 2, 4, 100}, 6}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %d want %d", tt.in, got, tt.want)
		}
	}
}

// size counts the lines of a package that hold at least one token of code.
func size(t *testing.T, root string, s source) (lines int) {
	t.Helper()
	for name := range s.files {
		if strings.HasSuffix(name, "_test.go") || name == "fake.go" || strings.HasPrefix(name, "fake_") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(s.dir), name))
		if err != nil {
			t.Fatal(err)
		}
		lines += codeLines(b)
	}
	return lines
}

// codeLines counts the lines of Go source with anything but blanks and comments.
// A literal over several lines counts with the lines of it that are not blank.
func codeLines(src []byte) int {
	fset := token.NewFileSet()
	file := fset.AddFile("", fset.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, nil, 0)
	seen := map[int]bool{}
	for {
		pos, tok, lit := s.Scan()
		if tok == token.EOF {
			return len(seen)
		}
		if tok == token.SEMICOLON && lit == "\n" {
			continue
		}
		first := file.Line(pos)
		seen[first] = true
		line := first
		for text := range strings.SplitSeq(lit, "\n") {
			if strings.TrimSpace(text) != "" {
				seen[line] = true
			}
			line++
		}
	}
}

func TestCodeLines(t *testing.T) {
	t.Parallel()
	const src = "// Package p is.\npackage p\n\n/* a\n b */\nvar x = `one\n\ntwo`\n\nfunc f() { // why\n}\n"
	if got := codeLines([]byte(src)); got != 5 {
		t.Errorf("got %d want 5", got)
	}
}

func median(n []int) int {
	s := slices.Sorted(slices.Values(n))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// TestAdaptersAreListedOnce holds that one line elsewhere, in all.go, is the
// whole of what an adapter needs outside its folder.
func TestAdaptersAreListedOnce(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	listed := map[string]int{}
	for _, s := range sources {
		if path.Base(s.dir) != "all" {
			continue
		}
		for name, f := range s.files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Kind" {
					if x, ok := sel.X.(*ast.Ident); ok {
						listed[path.Dir(s.dir)+"/"+x.Name]++
					}
				}
				return true
			})
		}
	}
	for _, s := range sources {
		if s.adapter() && listed[s.dir] != 1 {
			t.Errorf("%s is listed %d times in %s/all; want once", s.dir, listed[s.dir], path.Dir(s.dir))
		}
	}
}

func TestAdaptersAreValues(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		if !s.adapter() {
			continue
		}
		if strings.ContainsAny(path.Base(s.dir), "-_") {
			t.Errorf("%s: a folder's name has no hyphens", s.dir)
		}
		if _, ok := s.files["fake.go"]; !ok && !selfContained(s) {
			t.Errorf("%s has no fake.go, although it imports adapter/rest", s.dir)
		}
		for name, f := range s.files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					t.Errorf("%s/%s has an init; a kind is a value in a list", s.dir, name)
				}
			}
		}
	}
}

// selfContained reports whether an adapter speaks to no vendor.
func selfContained(s source) bool {
	contained := true
	s.imports(false, func(_, imported string) {
		contained = contained && imported != module+"/adapter/rest"
	})
	return contained
}
