package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/google/jsonschema-go/jsonschema"

	"switchboard/internal/record"
	"switchboard/internal/tools/comments"
	"switchboard/schemas"
)

// dialect is the version of JSON Schema that the files are written in.
const dialect = "https://json-schema.org/draft/2020-12/schema"

// documents are the types that have a file of their own. What they refer to is
// in the $defs of each file, so that one file is enough to validate with.
var documents = []reflect.Type{
	reflect.TypeFor[schemas.Message](),
	reflect.TypeFor[schemas.Classification](),
	reflect.TypeFor[schemas.Decision](),
	reflect.TypeFor[schemas.Ticket](),
	reflect.TypeFor[schemas.Comment](),
	reflect.TypeFor[schemas.Change](),
	reflect.TypeFor[schemas.Reply](),
	reflect.TypeFor[schemas.Receipt](),
	reflect.TypeFor[schemas.Catalogue](),

	reflect.TypeFor[schemas.Decided](),
	reflect.TypeFor[schemas.Duplicate](),
	reflect.TypeFor[schemas.DeliveryEnded](),
	reflect.TypeFor[schemas.Filed](),
	reflect.TypeFor[schemas.Trouble](),
	reflect.TypeFor[schemas.Requested](),
	reflect.TypeFor[schemas.TicketChanged](),
	reflect.TypeFor[schemas.Commented](),
	reflect.TypeFor[schemas.Replied](),
	reflect.TypeFor[schemas.Receipted](),
	reflect.TypeFor[schemas.Forgot](),
	reflect.TypeFor[schemas.HealthChanged](),

	reflect.TypeFor[record.Job](),
	reflect.TypeFor[record.ReplyJob](),
	reflect.TypeFor[record.Letter](),
}

// openEnums are string types whose constants are not all of their values.
var openEnums = map[reflect.Type]bool{reflect.TypeFor[schemas.IdentityKind](): true}

// A builder makes schemas of types, with the comments of their packages.
type builder struct {
	docs map[string]*comments.Package // by import path
}

func newBuilder(root string) (*builder, error) {
	b := &builder{docs: map[string]*comments.Package{}}
	for _, dir := range []string{"schemas", "internal/record"} {
		p, err := comments.Load(filepath.Join(root, filepath.FromSlash(dir)))
		if err != nil {
			return nil, err
		}
		b.docs["switchboard/"+dir] = p
	}
	return b, nil
}

// ours reports whether t is a named type that has comments.
func (b *builder) ours(t reflect.Type) bool { return t.Name() != "" && b.docs[t.PkgPath()] != nil }

// document returns the file of one type.
func (b *builder) document(t reflect.Type, name string) ([]byte, error) {
	defs := map[string]*jsonschema.Schema{}
	s, err := b.object(t, defs)
	if err != nil {
		return nil, err
	}
	s.Schema, s.ID, s.Title = dialect, name, t.Name()
	delete(defs, defName(t))
	if len(defs) > 0 {
		s.Defs = defs
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema of %s: %w", t, err)
	}
	return append(out, '\n'), nil
}

// object returns the schema of a struct; what it refers to goes into defs.
func (b *builder) object(t reflect.Type, defs map[string]*jsonschema.Schema) (*jsonschema.Schema, error) {
	special := map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[time.Time]():     {Type: "string", Format: "date-time"},
		reflect.TypeFor[time.Duration](): {Type: "integer"},
		reflect.TypeFor[[]byte]():        {Type: "string", ContentEncoding: "base64"},
	}
	for f := range t.Fields() {
		if err := b.refer(f.Type, t, special, defs); err != nil {
			return nil, err
		}
	}
	s, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: special, IgnoreInvalidTypes: true})
	if err != nil {
		return nil, fmt.Errorf("schema of %s: %w", t, err)
	}
	// Fields may be added within one version of the records, so readers skip what
	// they do not know.
	s.AdditionalProperties = nil
	doc := b.docs[t.PkgPath()]
	s.Description = doc.Type(t.Name())
	b.describe(t, s, doc)
	return s, nil
}

// describe puts the comments of a struct's fields into its schema, and takes
// null away where the encoder never writes it.
func (b *builder) describe(t reflect.Type, s *jsonschema.Schema, doc *comments.Package) {
	names := map[string]string{}
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			names[f.Name] = name
		}
	}
	for f := range t.Fields() {
		p := s.Properties[names[f.Name]]
		if p == nil {
			continue
		}
		p.Description = comments.Rename(doc.Field(t.Name(), f.Name), names)
		_, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options != "" || p.Ref != "" {
			notNull(p)
		}
	}
}

// notNull removes null from the types of s.
func notNull(s *jsonschema.Schema) {
	for _, typ := range s.Types {
		if typ != "null" {
			s.Type = typ
		}
	}
	s.Types = nil
}

// refer makes every type of ours inside t a reference into defs, or a list of its
// constants.
func (b *builder) refer(t, self reflect.Type, special map[reflect.Type]*jsonschema.Schema, defs map[string]*jsonschema.Schema) error {
	for t.Name() == "" && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		t = t.Elem()
	}
	if !b.ours(t) || t == self || special[t] != nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		special[t] = &jsonschema.Schema{Ref: "#/$defs/" + defName(t)}
		if defs[defName(t)] != nil {
			return nil
		}
		defs[defName(t)] = &jsonschema.Schema{} // marks it as under way
		s, err := b.object(t, defs)
		if err != nil {
			return err
		}
		defs[defName(t)] = s
	case reflect.String:
		s := &jsonschema.Schema{Type: "string"}
		if !openEnums[t] {
			for _, c := range b.docs[t.PkgPath()].Consts(t.Name()) {
				s.Enum = append(s.Enum, c.Value)
			}
		}
		special[t] = s
	}
	return nil
}

// defName is the name of a type as the schemas call it: delivery_ended.
func defName(t reflect.Type) string {
	var out strings.Builder
	for i, r := range t.Name() {
		if i > 0 && unicode.IsUpper(r) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

func fileName(t reflect.Type) string { return defName(t) + ".schema.json" }
