package main

import (
	"encoding"
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"switchboard/adapter/secret"
	"switchboard/internal/tools/comments"
)

// An option is one key of a configuration file.
type option struct {
	name, typ, fallback, doc string
	required                 bool
}

// A reader finds the options of a struct and what is said of them.
type reader struct {
	root string
	docs map[string]*comments.Package // by import path
}

func newReader(root string) *reader {
	return &reader{root: root, docs: map[string]*comments.Package{}}
}

// pkg returns the comments of a package of ours, nil for a foreign one.
func (r *reader) pkg(importPath string) (*comments.Package, error) {
	dir, ok := strings.CutPrefix(importPath, "switchboard/")
	if !ok {
		return nil, nil
	}
	if p := r.docs[importPath]; p != nil {
		return p, nil
	}
	p, err := comments.Load(filepath.Join(r.root, filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	r.docs[importPath] = p
	return p, nil
}

// options returns the keys of the struct v, nested ones with dots, in the order
// of the source.
func (r *reader) options(v reflect.Value, prefix string) ([]option, error) {
	t := v.Type()
	doc, err := r.pkg(t.PkgPath())
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for f := range t.Fields() {
		if key, ok := key(f); ok {
			names[f.Name] = "`" + key + "`"
		}
	}
	var out []option
	for f := range t.Fields() {
		name, ok := key(f)
		if !ok {
			if f.Anonymous || strings.HasSuffix(f.Tag.Get("yaml"), ",inline") {
				more, err := r.options(v.FieldByIndex(f.Index), prefix)
				if err != nil {
					return nil, err
				}
				out = append(out, more...)
			}
			continue
		}
		o := option{
			name: prefix + name, typ: typeWords(f), fallback: fallback(v.FieldByIndex(f.Index)),
			required: f.Tag.Get("required") == "true",
		}
		if doc != nil {
			o.doc = comments.Rename(doc.Field(t.Name(), f.Name), names)
		}
		out = append(out, o)
		more, err := r.nested(f.Type, v.FieldByIndex(f.Index), prefix+name)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// nested returns the options below a struct, or below the structs of a list or
// map.
func (r *reader) nested(t reflect.Type, v reflect.Value, prefix string) ([]option, error) {
	switch t.Kind() {
	case reflect.Slice, reflect.Map:
		if t.Elem().Kind() != reflect.Struct || scalar(t.Elem()) {
			return nil, nil
		}
		suffix := "[]."
		if t.Kind() == reflect.Map {
			suffix = ".*."
		}
		return r.options(reflect.Zero(t.Elem()), prefix+suffix)
	case reflect.Struct:
		if scalar(t) {
			return nil, nil
		}
		return r.options(v, prefix+".")
	default:
		return nil, nil
	}
}

// key returns the name of a field in the file, and whether it has one.
func key(f reflect.StructField) (string, bool) {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name, f.IsExported() && name != "" && name != "-"
}

// scalar reports whether a value of t is one word in the file.
func scalar(t reflect.Type) bool {
	return t == reflect.TypeFor[secret.Secret]() || t == reflect.TypeFor[time.Time]() ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) ||
		t.Kind() == reflect.Struct && exported(t) == 0
}

func exported(t reflect.Type) (n int) {
	for f := range t.Fields() {
		if f.IsExported() {
			n++
		}
	}
	return n
}

// typeWords says what may stand behind a key.
func typeWords(f reflect.StructField) string {
	if enum := f.Tag.Get("enum"); enum != "" {
		return "`" + strings.ReplaceAll(enum, ",", "`, `") + "`"
	}
	return kindWords(f.Type)
}

func kindWords(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[secret.Secret]():
		return "secret"
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return kindWords(t.Elem())
	case scalar(t) && t.Name() != "":
		return strings.ToLower(t.Name())
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "list of " + kindWords(t.Elem())
	case reflect.Map:
		return "map to " + kindWords(t.Elem())
	case reflect.Struct:
		return "section"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64, reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint64:
		return "number"
	default:
		return path.Base(t.String())
	}
}

// fallback returns the default as the file would say it, "" for none. Secrets
// have none.
func fallback(v reflect.Value) string {
	if v.IsZero() || v.Type() == reflect.TypeFor[secret.Secret]() {
		return ""
	}
	if d, ok := reflect.TypeAssert[time.Duration](v); ok {
		return span(d)
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Map, reflect.Pointer:
		if s, ok := reflect.TypeAssert[fmt.Stringer](v); ok {
			return s.String()
		}
		return ""
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, fmt.Sprint(v.Index(i).Interface()))
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(v.Interface())
	}
}

// span writes a duration as the files do: 35d, 4h, 1m30s.
func span(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := strings.TrimSuffix(d.String(), "m0s")
	if s != d.String() {
		s += "m"
	}
	if h, ok := strings.CutSuffix(s, "h0m"); ok {
		s = h + "h"
	}
	return s
}

// table writes options as a Markdown table.
func table(b *strings.Builder, options []option) {
	b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	for _, o := range options {
		fall := "required"
		if !o.required {
			fall = ""
			if o.fallback != "" {
				fall = "`" + o.fallback + "`"
			}
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", o.name, cell(o.typ), cell(fall), cell(o.doc))
	}
}

// cell keeps text inside one cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "|", `\|`), "\n\n", "<br>")
}
