package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"switchboard/schemas"
)

//go:embed asyncapi.yaml.tmpl
var asyncTemplate string

// An event is one type of the audit trail, read from the constants of
// schemas.EventType, such as "EventFiled: Filed. A message is on a ticket." for
// the body Filed.
type event struct {
	Name, Type, Body, File, Summary string
}

var eventDoc = regexp.MustCompile(`^(\w+): (\w+)\. (.+)$`)

func (b *builder) events() ([]event, error) {
	var out []event
	typ := reflect.TypeFor[schemas.EventType]()
	for _, c := range b.docs[typ.PkgPath()].Consts(typ.Name()) {
		m := eventDoc.FindStringSubmatch(c.Doc)
		if m == nil {
			return nil, fmt.Errorf("comment of schemas.%s: want \"%s: Body. What it says.\"", c.Name, c.Name)
		}
		i := slices.IndexFunc(documents, func(t reflect.Type) bool { return t.Name() == m[2] })
		if i < 0 {
			return nil, fmt.Errorf("comment of schemas.%s: no body %s", c.Name, m[2])
		}
		out = append(out, event{
			Name: camel(strings.TrimPrefix(c.Value, "switchboard.")),
			Type: c.Value, Body: m[2], File: fileName(documents[i]), Summary: m[3],
		})
	}
	return out, nil
}

// camel makes messageFiled of message.filed.
func camel(dotted string) string {
	first, rest, _ := strings.Cut(dotted, ".")
	if rest == "" {
		return first
	}
	return first + strings.ToUpper(rest[:1]) + rest[1:]
}

// asyncAPI returns the description of the streams.
func (b *builder) asyncAPI() ([]byte, error) {
	events, err := b.events()
	if err != nil {
		return nil, err
	}
	t, err := template.New("asyncapi").Funcs(template.FuncMap{"quote": quote}).Parse(asyncTemplate)
	if err != nil {
		return nil, fmt.Errorf("read asyncapi template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, struct {
		Version int
		Events  []event
	}{schemas.Version, events}); err != nil {
		return nil, fmt.Errorf("write asyncapi: %w", err)
	}
	return out.Bytes(), nil
}

// quote writes a JSON string, which YAML reads too.
func quote(s string) (string, error) {
	out, err := json.Marshal(s)
	return string(out), err
}
