package config

import (
	"encoding"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"switchboard/adapter/secret"
)

// Limits of one file.
const (
	// unfolded is how many values aliases may repeat, besides a few times the file
	// itself.
	unfolded = 10_000
	maxDepth = 60
	// maxListed is how many diagnostics anybody reads.
	maxListed = 500
)

// A binder brings YAML into Go values and collects all that is wrong with it. A
// field has the name in its tag `yaml:"…"`; `required:"true"` asks for it, and
// `enum:"a,b"` lists what it may be.
type binder struct {
	file        string
	getenv      func(string) (string, bool)
	diagnostics Diagnostics
	// at has the place of every value that was read, keys that of its key.
	at, keys map[string]place
	// left is how many values may yet be read.
	left int
	// gaveUp says that the file unfolded to too much, or that too much is wrong with
	// it, so that not all of it was read.
	gaveUp bool
	// bad has the paths of which something was said, and those above them.
	bad map[string]bool
}

func newBinder(file string, getenv func(string) (string, bool)) *binder {
	return &binder{file: file, getenv: getenv, at: map[string]place{}, keys: map[string]place{}, bad: map[string]bool{}}
}

func (b *binder) report(where place, path, message string) {
	if len(b.diagnostics) == maxListed {
		b.gaveUp = true
		where, path, message = place{}, "", "more is wrong than is listed here"
	} else if len(b.diagnostics) > maxListed {
		return
	}
	b.bad[path] = true
	for above := path; above != ""; {
		above = above[:max(0, strings.LastIndexAny(above, ".["))]
		b.bad[above+"."] = true
	}
	b.diagnostics = append(b.diagnostics, Diagnostic{
		File: b.file, Line: where.line, Col: where.col, Path: path, Message: message,
	})
}

// reject reports what is wrong with the value at path, or with the nearest one
// around it where the file has no such value.
func (b *binder) reject(path, message string) { b.report(b.near(path), path, message) }

func (b *binder) warn(path, message string) {
	if b.reject(path, message); len(b.diagnostics) <= maxListed {
		b.diagnostics[len(b.diagnostics)-1].Severity = Warning
	}
}

func (b *binder) near(path string) place {
	if p, ok := b.at[path]; ok {
		return p
	}
	for path != "" {
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
		if p, ok := b.keys[path]; ok {
			return p
		}
		if p, ok := b.at[path]; ok {
			return p
		}
	}
	return place{1, 1}
}

// enter follows n if it is an alias, and counts it. It returns nil when the file
// has unfolded to too much, which is said once.
func (b *binder) enter(n *yaml.Node, path string, depth int) *yaml.Node {
	where := placeOf(n)
	if n.Kind == yaml.AliasNode {
		n = n.Alias // never an alias itself
	}
	b.left--
	if b.gaveUp {
		return nil
	}
	if b.left < 0 || depth > maxDepth {
		b.gaveUp = true
		b.report(where, path[:min(len(path), 60)], "the file nests too deeply, or its aliases unfold to too much")
		return nil
	}
	if n.Style&yaml.TaggedStyle != 0 {
		b.report(where, path, "tags (words with !) are not supported")
		return nil
	}
	return n
}

// A pair is one key of a mapping and its value.
type pair struct {
	key   string
	where place
	value *yaml.Node
}

// pairs are the keys of a mapping, those merged by << last.
func (b *binder) pairs(n *yaml.Node, path string, depth int) []pair {
	var own, merged []pair
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key = b.enter(key, path, depth); key == nil {
			continue
		}
		where := placeOf(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			b.report(where, path, "a key must be a word")
			continue
		}
		if key.ShortTag() == "!!merge" {
			merged = append(merged, b.merged(value, path, depth+1)...)
			continue
		}
		if first := lines[key.Value]; first > 0 {
			b.report(where, join(path, key.Value), "the key stands here twice, first on line "+strconv.Itoa(first))
			continue
		}
		lines[key.Value] = where.line
		own = append(own, pair{key: key.Value, where: where, value: value})
	}
	for _, m := range merged {
		if lines[m.key] == 0 {
			lines[m.key] = m.where.line
			own = append(own, m)
		}
	}
	return own
}

func (b *binder) merged(value *yaml.Node, path string, depth int) []pair {
	n := b.enter(value, path, depth)
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.MappingNode:
		return b.pairs(n, path, depth)
	case n.Kind == yaml.SequenceNode:
		var all []pair
		for _, part := range n.Content {
			all = append(all, b.merged(part, path, depth+1)...)
		}
		return all
	default:
		b.report(placeOf(value), path, "<< wants a mapping")
		return nil
	}
}

// mapping returns the keys of n, or false if it is not a mapping. Nothing at all
// is an empty one.
func (b *binder) mapping(n *yaml.Node, path string, depth int) ([]pair, bool) {
	where := placeOf(n)
	n = b.enter(n, path, depth)
	switch {
	case n == nil:
		return nil, false
	case isNull(n):
		return nil, true
	case n.Kind != yaml.MappingNode:
		b.report(where, path, "want keys and values, but this is "+describe(n))
		return nil, false
	}
	return b.pairs(n, path, depth), true
}

// special reads a key that is not a field.
type special func(p pair, path string)

// fill binds the mapping n at path to the fields of the structs that targets
// points to. A key may be in several of them.
func (b *binder) fill(n *yaml.Node, path string, depth int, specials map[string]special, targets ...reflect.Value) {
	pairs, ok := b.mapping(n, path, depth)
	if !ok {
		return
	}
	known := make([]string, 0, 16)
	for name := range specials {
		known = append(known, name)
	}
	var fields []field
	for _, target := range targets {
		for _, f := range fieldsOf(target.Type()) {
			f.value = target.FieldByIndex(f.index)
			fields = append(fields, f)
			known = append(known, f.name)
		}
	}
	slices.Sort(known)
	read := map[string]bool{}
	for _, p := range pairs {
		at := join(path, p.key)
		b.keys[at] = p.where
		read[p.key] = true
		if one := specials[p.key]; one != nil {
			b.at[at] = placeOf(p.value)
			one(p, at)
		} else if !slices.Contains(known, p.key) {
			b.report(p.where, at, "unknown key"+meant(p.key, known))
		}
		for _, f := range fields {
			if f.name != p.key {
				continue
			}
			b.bind(p.value, f.value, f.tag, at, depth+1)
			if f.required && f.value.IsZero() && f.value.Kind() == reflect.String && b.fine(at) {
				b.reject(at, "must not be empty")
			}
		}
	}
	for _, f := range fields {
		if f.required && !read[f.name] && f.value.IsZero() {
			b.reject(join(path, f.name), "required")
		}
	}
}

// fine reports whether nothing was said of path itself, allFine whether nothing
// was said of what is below it either.
func (b *binder) fine(path string) bool { return !b.bad[path] }

func (b *binder) allFine(path string) bool { return !b.bad[path] && !b.bad[path+"."] }

// A field is a field of a struct that a file can set.
type field struct {
	name     string
	index    []int
	tag      reflect.StructTag
	required bool
	value    reflect.Value
}

// fieldsOf lists the fields of a struct, those of inlined structs too.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		out = append(out, field{name: name, index: f.Index, tag: f.Tag, required: f.Tag.Get("required") == "true"})
	}
	return out
}

var (
	secretType   = reflect.TypeFor[secret.Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isText reports whether t reads itself from text.
func isText(t reflect.Type) bool { return reflect.PointerTo(t).Implements(textType) }

// isScalar reports whether a value of t is one word in the file.
func isScalar(t reflect.Type) bool {
	switch {
	case t == secretType || isText(t):
		return true
	case t.Kind() == reflect.Pointer:
		return isScalar(t.Elem())
	}
	return slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Float64}, t.Kind()) ||
		t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64
}

// bind reads n into v, which keeps its value where n is wrong.
func (b *binder) bind(n *yaml.Node, v reflect.Value, tag reflect.StructTag, path string, depth int) {
	where := placeOf(n)
	b.at[path] = where
	switch t := v.Type(); {
	case t.Kind() == reflect.Pointer:
		fresh := reflect.New(t.Elem())
		b.bind(n, fresh.Elem(), tag, path, depth)
		v.Set(fresh)
	case isScalar(t):
		if n = b.enter(n, path, depth); n == nil {
			return
		}
		if err := b.scalar(n, v, tag); err != nil {
			b.report(where, path, err.Error())
		} else if t == secretType && !strings.HasPrefix(n.Value, "env:") && !strings.HasPrefix(n.Value, "file:") {
			b.warn(path, "a secret stands in the file; env:NAME or file:PATH keeps it out")
		}
	case t.Kind() == reflect.Struct:
		b.fill(n, path, depth, nil, v)
	case t.Kind() == reflect.Slice:
		b.list(n, v, tag, path, depth)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		b.table(n, v, tag, path, depth)
	default:
		b.report(where, path, "cannot be set in a file")
	}
}

func (b *binder) list(n *yaml.Node, v reflect.Value, tag reflect.StructTag, path string, depth int) {
	where := placeOf(n)
	if n = b.enter(n, path, depth); n == nil {
		return
	}
	elem := v.Type().Elem()
	items := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case n.Kind == yaml.ScalarNode && !isNull(n) && isScalar(elem):
		items = []*yaml.Node{n} // one is a list of one
	default:
		b.report(where, path, "want a list, but this is "+describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		at := path
		if n.Kind == yaml.SequenceNode {
			at += "[" + strconv.Itoa(i) + "]"
		}
		b.bind(item, out.Index(i), tag, at, depth+1)
	}
	v.Set(out)
}

func (b *binder) table(n *yaml.Node, v reflect.Value, tag reflect.StructTag, path string, depth int) {
	pairs, ok := b.mapping(n, path, depth)
	if !ok {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(pairs))
	for _, p := range pairs {
		at := join(path, p.key)
		b.keys[at] = p.where
		value := reflect.New(v.Type().Elem()).Elem()
		b.bind(p.value, value, tag, at, depth+1)
		out.SetMapIndex(reflect.ValueOf(p.key).Convert(v.Type().Key()), value)
	}
	v.Set(out)
}
