package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"switchboard/classify"
)

const draft = "https://json-schema.org/draft/2020-12/schema"

// Schemas returns the JSON Schemas of switchboard.yaml, with a branch for each
// kind, and of the rules, so that editors complete and check both. docs has the
// comments of fields under their full names, such as
// switchboard/channels/form.Config.Title; it may be nil. The error names a type
// that no file can set.
func Schemas(o Options, docs map[string]string) (config, rules []byte, err error) {
	s := schemer{docs: docs, defs: map[string]*jsonschema.Schema{}}
	base := defaults()
	top := s.object(reflect.ValueOf(base))
	var channelKinds, sinkKinds []*jsonschema.Schema
	for _, k := range o.ChannelKinds {
		channelKinds = append(channelKinds, s.branch(k, reflect.ValueOf(channelDefaults())))
	}
	for _, k := range o.SinkKinds {
		sinkKinds = append(sinkKinds, s.branch(k, reflect.ValueOf(sinkDefaults())))
	}
	top.Properties["channels"] = instanceSchema("The accounts at which customers write.", channelKinds)
	top.Properties["sinks"] = instanceSchema("The desks that get tickets.", sinkKinds)
	top.PropertyOrder = append(top.PropertyOrder, "channels", "sinks")
	top.Required = []string{"channels", "sinks"}
	top.Title, top.Schema, top.Defs = "switchboard.yaml", draft, s.defs
	if config, err = s.encode(top); err != nil {
		return nil, nil, err
	}
	s.defs = map[string]*jsonschema.Schema{}
	top = s.object(reflect.ValueOf(rulesFile{}))
	top.Title, top.Schema, top.Defs = "rules.yaml", draft, s.defs
	rules, err = s.encode(top)
	return config, rules, err
}

// A schemer makes schemas of Go types.
type schemer struct {
	docs map[string]string
	// defs has the structs that were met, so that they may hold themselves.
	defs map[string]*jsonschema.Schema
	err  error
}

func (s *schemer) encode(top *jsonschema.Schema) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	out, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(out, '\n'), nil
}

func none() *jsonschema.Schema { return &jsonschema.Schema{Not: &jsonschema.Schema{}} }

func instanceSchema(doc string, kinds []*jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "object", Description: doc, OneOf: nil, MinProperties: new(1),
		PropertyNames:        &jsonschema.Schema{Pattern: instanceName.String()},
		AdditionalProperties: &jsonschema.Schema{OneOf: kinds},
	}
}

// branch is one kind: its own options, the common ones, and the word kind.
func (s *schemer) branch(k kind, common reflect.Value) *jsonschema.Schema {
	one := s.object(reflect.ValueOf(k.Config()).Elem())
	shared := s.object(common)
	for _, name := range shared.PropertyOrder {
		if one.Properties[name] == nil {
			one.Properties[name] = shared.Properties[name]
			one.PropertyOrder = append(one.PropertyOrder, name)
		}
	}
	name := any(k.Name())
	one.Title = k.Name()
	one.Properties["kind"] = &jsonschema.Schema{Const: &name}
	one.PropertyOrder = slices.Insert(one.PropertyOrder, 0, "kind")
	one.Required = slices.Insert(one.Required, 0, "kind")
	return one
}

// object is the schema of a struct whose fields have their defaults.
func (s *schemer) object(v reflect.Value) *jsonschema.Schema {
	t := v.Type()
	out := &jsonschema.Schema{Type: "object", Properties: map[string]*jsonschema.Schema{}, AdditionalProperties: none()}
	for _, f := range fieldsOf(t) {
		value := v.FieldByIndex(f.index)
		field := s.value(value, f.tag)
		if doc := s.docs[owner(t, f.index)]; doc != "" {
			field.Description = doc
		}
		if text, ok := written(value); ok {
			field.Default = text
		}
		if f.required && value.IsZero() {
			out.Required = append(out.Required, f.name)
		}
		out.Properties[f.name] = field
		out.PropertyOrder = append(out.PropertyOrder, f.name)
	}
	return out
}

// owner is the full name of a field, that of its own struct where it is inlined.
func owner(t reflect.Type, index []int) string {
	if len(index) > 1 {
		t = t.FieldByIndex(index[:len(index)-1]).Type
	}
	return t.PkgPath() + "." + t.Name() + "." + t.Field(index[len(index)-1]).Name
}

// value is the schema of one value.
func (s *schemer) value(v reflect.Value, tag reflect.StructTag) *jsonschema.Schema {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		return s.value(reflect.New(t.Elem()).Elem(), tag)
	case isScalar(t):
		return one(t, tag)
	case t.Kind() == reflect.Struct:
		return s.ref(v)
	case t.Kind() == reflect.Slice:
		item := s.value(reflect.New(t.Elem()).Elem(), tag)
		list := &jsonschema.Schema{Type: "array", Items: item}
		if isScalar(t.Elem()) {
			return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{list, item}}
		}
		return list
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		return &jsonschema.Schema{
			Type: "object", AdditionalProperties: s.value(reflect.New(t.Elem()).Elem(), tag),
		}
	}
	s.err = fmt.Errorf("no configuration file can set a %s", t)
	return &jsonschema.Schema{}
}

// ref points to the schema of a struct. One with defaults of its own stands where
// it is used, for they belong to that place.
func (s *schemer) ref(v reflect.Value) *jsonschema.Schema {
	t := v.Type()
	if !v.IsZero() || t.Name() == "" {
		return s.object(v)
	}
	name := strings.ReplaceAll(strings.TrimPrefix(t.PkgPath(), "switchboard/"), "/", "-") + "." + t.Name()
	if s.defs[name] == nil {
		s.defs[name] = &jsonschema.Schema{} // for a struct that holds itself
		*s.defs[name] = *s.object(v)
	}
	return &jsonschema.Schema{Ref: "#/$defs/" + name}
}

// one is the schema of one word.
func one(t reflect.Type, tag reflect.StructTag) *jsonschema.Schema {
	if list := tag.Get("enum"); list != "" {
		out := &jsonschema.Schema{}
		for one := range strings.SplitSeq(list, ",") {
			if t.Kind() == reflect.Int && !isText(t) {
				out.Enum = append(out.Enum, json.Number(one))
			} else {
				out.Enum = append(out.Enum, one)
			}
		}
		return out
	}
	switch {
	case t == secretType:
		return &jsonschema.Schema{Type: "string", Description: "A secret: env:NAME, file:PATH, or the value itself."}
	case t == durationType:
		return &jsonschema.Schema{Type: "string", Pattern: `^(\d+w)?(\d+d)?([\d.]+(h|m|s|ms|us|ns))*$`}
	case t == reflect.TypeFor[Size]():
		return &jsonschema.Schema{Types: []string{"string", "integer"}, Pattern: `^[\d.]+ ?([KMGT]i?B|kB|B)?$`}
	case t == reflect.TypeFor[classify.Term]():
		return &jsonschema.Schema{Types: []string{"string", "number"}}
	case isText(t):
		return &jsonschema.Schema{Type: "string"}
	case t.Kind() == reflect.Bool:
		return &jsonschema.Schema{Type: "boolean"}
	case t.Kind() == reflect.String:
		return &jsonschema.Schema{Types: []string{"string", "number"}}
	case t.Kind() == reflect.Float64:
		return &jsonschema.Schema{Type: "number"}
	default:
		return &jsonschema.Schema{Type: "integer"}
	}
}

// written is a default as a file would have it. Secrets have none.
func written(v reflect.Value) (json.RawMessage, bool) {
	if v.IsZero() || v.Type() == secretType || v.Kind() == reflect.Struct && !isText(v.Type()) {
		return nil, false
	}
	value := v.Interface()
	if text, ok := value.(fmt.Stringer); ok {
		value = strings.ToLower(text.String())
		if d, ok := reflect.TypeAssert[time.Duration](v); ok {
			value = durationText(d)
		} else if v.Type() == reflect.TypeFor[Size]() {
			value = text.String()
		}
	}
	out, err := json.Marshal(value)
	return out, err == nil
}
