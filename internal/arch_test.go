package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of this module and what its own imports begin with.
const module = "switchboard"

// The import table of docs/style.md §1. A package is named by its folder; "x"
// stands for any one folder that has no row of its own and "..." for everything
// below.
var (
	contracts = []string{"channels", "sinks"}
	pure      = []string{"classify", "router"}
	leaning   = []string{"adapter/x"}

	host = append(append([]string{"schemas", "adapter/hook", "adapter/fault", "internal/bus", "internal/record", "internal/telemetry"}, contracts...), pure...)

	mayImport = map[string][]string{
		"schemas":         nil,
		"adapter/fault":   nil,
		"adapter/secret":  nil,
		"adapter/sandbox": nil,
		"classify":        {"schemas"},
		"router":          {"schemas"},
		"adapter/hook":    {"schemas", "adapter/fault", "adapter/secret"},
		"adapter/x":       {"schemas", "adapter/x"},
		"channels":        {"schemas", "adapter/hook", "adapter/sandbox"},
		"sinks":           {"schemas", "adapter/hook", "adapter/sandbox"},
		"channels/x":      append([]string{"channels", "schemas"}, leaning...),
		"sinks/x":         append([]string{"sinks", "schemas"}, leaning...),
		// A conformance suite opens adapters as the host does, and reads test data.
		"channels/channeltest": append([]string{"channels", "schemas"}, leaning...),
		"sinks/sinktest":       append([]string{"sinks", "schemas"}, leaning...),
		"channels/all":         {"channels", "channels/x"},
		"sinks/all":            {"sinks", "sinks/x"},
		"internal/bus":         {"schemas"},
		"internal/telemetry":   {"schemas"},
		"internal/record":      {"schemas", "adapter/hook", "internal/bus"},
		"internal/intake":      host,
		"internal/pipeline":    host,
		"internal/delivery":    host,
		"internal/ledger":      {"schemas", "internal/bus", "internal/record"},
		"internal/config":      {"channels", "sinks", "classify", "router", "schemas", "adapter/secret"},
		"internal/console":     {"internal/ledger", "schemas", "router"},
		"internal/app": append(append([]string{
			"schemas", "classify", "router", "internal/bus", "internal/config", "internal/console", "internal/intake",
			"internal/pipeline", "internal/delivery", "internal/ledger", "internal/record", "internal/telemetry",
		}, contracts...), leaning...),
		"cmd": append(append([]string{
			"schemas", "classify", "router", "internal/app", "internal/config", "internal/ledger", "internal/record", "internal/telemetry",
		}, contracts...), leaning...),
		"cmd/switchboard":    {"cmd", "channels/all", "sinks/all"},
		"internal/tools/...": {"..."},
		"internal":           nil,
		"internal/torture":   nil, // tests only, and those may import what they judge
	}

	// Modules that only some packages may import, by prefix.
	foreign = []struct {
		module string
		only   []string
	}{
		{"github.com/ThreeDotsLabs/watermill", []string{"internal/bus"}},
		{"github.com/nats-io/", []string{"internal/bus"}},
		{"github.com/synadia-io/", []string{"internal/bus"}},
	}

	// What packages without side effects never import.
	impure = []string{"net", "net/http", "os", "database/sql", "os/exec", "syscall"}
)

// A source is one package's folder with its parsed files.
type source struct {
	dir   string
	files map[string]*ast.File
}

// adapter reports whether the package is one adapter's folder, below channels or
// sinks.
func (s source) adapter() bool {
	side, name, ok := strings.Cut(s.dir, "/")
	return ok && slices.Contains(contracts, side) && !strings.Contains(name, "/") &&
		name != "all" && name != strings.TrimSuffix(side, "s")+"test"
}

// imports yields every import of the package's files with the file's name; tests
// are left out unless asked for.
func (s source) imports(tests bool, yield func(file, imported string)) {
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasSuffix(name, "_test.go") && !tests {
			continue
		}
		for _, spec := range s.files[name].Imports {
			if p, err := strconv.Unquote(spec.Path.Value); err == nil {
				yield(path.Join(s.dir, name), p)
			}
		}
	}
}

// tree parses every package of the module; testdata and nested modules are left
// out.
func tree(t *testing.T) (string, []source) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]source{}
	fset := token.NewFileSet()
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(root, p, d.Name())
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(rel)
		if found[dir].files == nil {
			found[dir] = source{dir: dir, files: map[string]*ast.File{}}
		}
		found[dir].files[d.Name()] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return root, slices.SortedFunc(maps.Values(found), func(a, b source) int { return strings.Compare(a.dir, b.dir) })
}

func skip(root, p, name string) error {
	if p == root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// row returns the line of the table for a package.
func row(s source) (allowed []string, ok bool) {
	if allowed, ok = mayImport[s.dir]; ok {
		return allowed, true
	}
	if s.adapter() {
		side, _, _ := strings.Cut(s.dir, "/")
		return mayImport[side+"/x"], true
	}
	if strings.HasPrefix(s.dir, "adapter/") {
		return mayImport["adapter/x"], true
	}
	if strings.HasPrefix(s.dir, "internal/tools/") {
		return mayImport["internal/tools/..."], true
	}
	return nil, false
}

func allows(allowed []string, imported string) bool {
	target := source{dir: imported}
	return slices.ContainsFunc(allowed, func(a string) bool {
		side, rest, _ := strings.Cut(a, "/")
		return a == "..." || a == imported ||
			rest == "x" && (target.adapter() || side == "adapter") && strings.HasPrefix(imported, side+"/")
	})
}

func TestImportsFollowTheTable(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		allowed, ok := row(s)
		if !ok {
			t.Errorf("%s: no row in the import table of docs/style.md §1", s.dir)
			continue
		}
		s.imports(false, func(file, imported string) {
			ours, ok := strings.CutPrefix(imported, module+"/")
			if ok && !allows(allowed, ours) {
				t.Errorf("%s imports %s; %s may import %v", file, ours, s.dir, allowed)
			}
		})
	}
}

func TestForeignModulesStayInTheirPackage(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		s.imports(false, func(file, imported string) {
			for _, f := range foreign {
				if strings.HasPrefix(imported, f.module) && !slices.Contains(f.only, s.dir) && !strings.HasPrefix(s.dir, "internal/tools/") {
					t.Errorf("%s imports %s; only %v may", file, imported, f.only)
				}
			}
		})
	}
}

func TestPurePackagesDoNoIO(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		if !slices.Contains(pure, s.dir) {
			continue
		}
		s.imports(false, func(file, imported string) {
			if slices.Contains(impure, imported) {
				t.Errorf("%s imports %s; %s is pure", file, imported, s.dir)
			}
		})
		for name, f := range s.files {
			if !strings.HasSuffix(name, "_test.go") && calls(f, "time", "Now") {
				t.Errorf("%s/%s asks for the time; it comes with the message", s.dir, name)
			}
		}
	}
}

func TestSchemasImportTheStandardLibraryOnly(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		if s.dir != "schemas" {
			continue
		}
		s.imports(false, func(file, imported string) {
			if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s", file, imported)
			}
		})
	}
}

func TestTestsOfAdaptersStayOutOfTheHost(t *testing.T) {
	t.Parallel()
	_, sources := tree(t)
	for _, s := range sources {
		if !s.adapter() {
			continue
		}
		s.imports(true, func(file, imported string) {
			if strings.HasPrefix(imported, module+"/internal/") {
				t.Errorf("%s imports %s; an adapter knows its contract only", file, imported)
			}
		})
	}
}

func TestLayoutStands(t *testing.T) {
	t.Parallel()
	root, sources := tree(t)
	for _, want := range []string{
		"cmd", "cmd/switchboard", "channels", "channels/all", "channels/channeltest", "classify", "router", "sinks",
		"sinks/all", "sinks/sinktest", "schemas", "adapter/fault", "adapter/hook", "adapter/rest", "adapter/secret",
		"internal/app", "internal/bus", "internal/config", "internal/console", "internal/intake", "internal/pipeline",
		"internal/delivery", "internal/ledger", "internal/telemetry",
	} {
		if !slices.ContainsFunc(sources, func(s source) bool { return s.dir == want }) {
			t.Errorf("package %s is missing", want)
		}
	}
	for _, want := range []string{"deploy", "docs", "docs/reference", "internal/tools"} {
		if info, err := os.Stat(filepath.Join(root, want)); err != nil || !info.IsDir() {
			t.Errorf("folder %s is missing", want)
		}
	}
	vague := []string{"util", "utils", "common", "helpers", "types", "models", "pkg", "misc"}
	for _, s := range sources {
		if slices.Contains(vague, path.Base(s.dir)) {
			t.Errorf("%s says nothing of what it is about", s.dir)
		}
	}
}

// calls reports whether f calls or takes pkg.name.
func calls(f *ast.File, pkg, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		found = found || ok && x.Name == pkg && sel.Sel.Name == name
		return true
	})
	return found
}
