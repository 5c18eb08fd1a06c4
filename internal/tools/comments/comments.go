// Package comments reads the comments of a package's types, so that what is said
// of an option or a field is said once, beside it, and shown everywhere.
package comments

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// A Package holds the comments of one package.
type Package struct {
	// Doc is the package's comment.
	Doc    string
	types  map[string]string
	fields map[string]map[string]string
	tags   map[string]map[string]reflect.StructTag
	consts map[string][]Const
}

// A Const is a constant of a string type.
type Const struct {
	Name, Value, Doc string
}

// Load reads the Go files of dir, without its tests. A field without a comment
// has the one of the field before it, if that names it.
func Load(dir string) (*Package, error) {
	p := &Package{types: map[string]string{}, fields: map[string]map[string]string{}, tags: map[string]map[string]reflect.StructTag{}, consts: map[string][]Const{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read comments: %w", err)
	}
	fset := token.NewFileSet()
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
		p.file(f)
	}
	return p, nil
}

// Type returns the comment of a type, "" for none.
func (p *Package) Type(name string) string { return p.types[name] }

// Field returns the comment of a field, "" for none.
func (p *Package) Field(typ, name string) string { return p.fields[typ][name] }

// Consts returns the constants of a string type in the order of the source.
func (p *Package) Consts(typ string) []Const { return p.consts[typ] }

// Fields returns the comments of all fields under "Type.Field". Names of fields in
// them are those under the given key of the structs' tags, such as yaml.
func (p *Package) Fields(tag string) map[string]string {
	out := map[string]string{}
	for typ, fields := range p.fields {
		names := map[string]string{}
		for field, t := range p.tags[typ] {
			if name, _, _ := strings.Cut(t.Get(tag), ","); name != "" && name != "-" {
				names[field] = name
			}
		}
		for field, doc := range fields {
			out[typ+"."+field] = Rename(doc, names)
		}
	}
	return out
}

func (p *Package) file(f *ast.File) {
	if f.Doc != nil {
		p.Doc = flat(f.Doc.Text())
	}
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				p.typ(spec, decl)
			case *ast.ValueSpec:
				p.value(spec)
			}
		}
	}
}

func (p *Package) typ(spec *ast.TypeSpec, decl *ast.GenDecl) {
	doc := spec.Doc
	if doc == nil {
		doc = decl.Doc
	}
	p.types[spec.Name.Name] = flat(doc.Text())
	st, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	own, tags := map[string]string{}, map[string]reflect.StructTag{}
	last := ""
	for _, f := range st.Fields.List {
		if text := flat(f.Doc.Text()); text != "" {
			last = text
		}
		for _, name := range f.Names {
			if f.Tag != nil {
				tags[name.Name] = reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
			}
			if f.Doc != nil || word(last, name.Name) {
				own[name.Name] = last
			}
		}
	}
	p.fields[spec.Name.Name], p.tags[spec.Name.Name] = own, tags
}

func (p *Package) value(spec *ast.ValueSpec) {
	typ, ok := spec.Type.(*ast.Ident)
	if !ok || len(spec.Values) != 1 {
		return
	}
	lit, ok := spec.Values[0].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return
	}
	value, err := strconv.Unquote(lit.Value)
	if err != nil {
		return
	}
	p.consts[typ.Name] = append(p.consts[typ.Name], Const{Name: spec.Names[0].Name, Value: value, Doc: flat(spec.Doc.Text())})
}

// flat joins the lines of a comment into one; paragraphs stay apart.
func flat(text string) string {
	var out []string
	for para := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		out = append(out, strings.Join(strings.Fields(para), " "))
	}
	return strings.Join(out, "\n\n")
}

func word(text, name string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text)
}

// Rename replaces names as whole words in text: Go's names of fields by those of
// the file or the wire.
func Rename(text string, names map[string]string) string {
	return words.ReplaceAllStringFunc(text, func(w string) string {
		if to, ok := names[w]; ok {
			return to
		}
		return w
	})
}

var words = regexp.MustCompile(`\b[A-Z]\w*\b`)
