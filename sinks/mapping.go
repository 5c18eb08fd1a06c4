package sinks

import (
	"cmp"
	"errors"
	"fmt"
	"html"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"switchboard/schemas"
)

// A Mapping says what a desk calls our queues and fields: by name or by id. What
// it does not list has the same name at the desk. A name of digits only is an id
// and holds without a catalogue. Its zero value maps every name to itself.
type Mapping struct {
	Fields, Queues map[string]string
}

// Placed is what of a change has a place at the desk, in the desk's ids.
type Placed struct {
	Queue, Assignee string
	Fields          []PlacedField
	// Left are lines ("Queue: escalations") for what the desk has no name for, so
	// that a missing catalogue or a renamed field loses nothing.
	Left []string
}

// A PlacedField is one field of the desk with what to write into it: one text,
// or the ids of the options that were chosen.
type PlacedField struct {
	Kind   schemas.FieldKind
	Values []string
}

// Value is what JSON takes: a list in a field of the type that the desk calls
// many, yes or no in one that it calls flag, otherwise a text.
func (f PlacedField) Value(many, flag string) any {
	if f.Kind.Type == many {
		return f.Values
	}
	if yes, err := strconv.ParseBool(f.Values[0]); err == nil && f.Kind.Type == flag {
		return yes
	}
	return f.Values[0]
}

// Place finds the places of ch's queue, assignee and fields in c, which may be
// empty or stale. What ch does not set, or sets to nothing, is not placed.
func (m Mapping) Place(c schemas.Catalogue, ch schemas.Change) Placed {
	var p Placed
	if ch.Queue != nil && *ch.Queue != "" {
		if p.Queue = named(c.Queues, cmp.Or(m.Queues[*ch.Queue], *ch.Queue)); p.Queue == "" {
			p.Left = append(p.Left, "Queue: "+*ch.Queue)
		}
	}
	if ch.Assignee != nil && *ch.Assignee != "" {
		if p.Assignee = named(c.Agents, *ch.Assignee); p.Assignee == "" {
			p.Left = append(p.Left, "Assignee: "+*ch.Assignee)
		}
	}
	for _, f := range ch.Fields {
		if f.Value == "" {
			continue
		}
		if kind, ok := m.field(c, f.Name); ok {
			if values := chosen(kind, f.Value); len(values) > 0 {
				p.Fields = append(p.Fields, PlacedField{kind, values})
				continue
			}
		}
		p.Left = append(p.Left, f.Name+": "+f.Value)
	}
	return p
}

// PlaceTicket is Place for a new ticket. Its category and severity go to the
// fields that the mapping lists under these names.
func (m Mapping) PlaceTicket(c schemas.Catalogue, t schemas.Ticket) Placed {
	fields := slices.Clone(t.Fields)
	for _, f := range []schemas.Field{{Name: "category", Value: t.Category}, {Name: "severity", Value: t.Severity}} {
		if m.Fields[f.Name] != "" && schemas.FieldValue(fields, f.Name) == "" {
			fields = append(fields, f)
		}
	}
	return m.Place(c, schemas.Change{Queue: &t.Queue, Assignee: &t.Assignee, Fields: fields})
}

// Body puts what is left below a text, or below its HTML where it has any, for
// desks that take one of the two; the other comes back empty.
func (p Placed) Body(text, markup string) (plain, rich string) {
	if markup == "" {
		return strings.Join(append([]string{text}, p.paragraphs("", "")...), "\n"), ""
	}
	return "", markup + strings.Join(p.paragraphs("<p>", "</p>"), "")
}

func (p Placed) paragraphs(before, after string) []string {
	var all []string
	for i, line := range p.Left {
		switch {
		case before != "":
			line = html.EscapeString(line)
		case i == 0:
			line = "\n" + line // an empty line after the text
		}
		all = append(all, before+line+after)
	}
	return all
}

// Check reports every configured name that c does not have.
func (m Mapping) Check(c schemas.Catalogue) error {
	var bad []error
	for ours, theirs := range m.Fields {
		if _, ok := m.field(c, ours); !ok {
			bad = append(bad, fmt.Errorf("fields.%s: the desk has no field %q", ours, theirs))
		}
	}
	for ours, theirs := range m.Queues {
		if named(c.Queues, theirs) == "" {
			bad = append(bad, fmt.Errorf("queues.%s: the desk has no queue %q", ours, theirs))
		}
	}
	slices.SortFunc(bad, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(bad...)
}

func (m Mapping) field(c schemas.Catalogue, ours string) (schemas.FieldKind, bool) {
	want := cmp.Or(m.Fields[ours], ours)
	for _, f := range c.Fields {
		if f.ID == want || same(f.Name, want) {
			return f, true
		}
	}
	return schemas.FieldKind{ID: want}, m.Fields[ours] != "" && digits(want)
}

// chosen reads text as the field takes it; nothing, if it names no option.
func chosen(kind schemas.FieldKind, text string) []string {
	if len(kind.Options) == 0 {
		return []string{text}
	}
	if id := named(kind.Options, text); id != "" {
		return []string{id}
	}
	var ids []string
	for one := range strings.SplitSeq(text, ",") {
		id := named(kind.Options, strings.TrimSpace(one))
		if id == "" {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// named returns the id of what is called want, or "".
func named(all []schemas.Named, want string) string {
	for _, n := range all {
		if n.ID == want || same(n.Name, want) {
			return n.ID
		}
	}
	if digits(want) {
		return want
	}
	return ""
}

// same compares names as people write them: "Product area" is product_area.
func same(a, b string) bool {
	plain := strings.NewReplacer("_", " ", "-", " ")
	return strings.EqualFold(plain.Replace(a), plain.Replace(b))
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Tags makes tags of letters, digits and the runes of others: lower-case, each
// once, everything between replaced by an underscore.
func Tags(others string, all ...[]string) []string {
	var out []string
	for _, t := range slices.Concat(all...) {
		parts := strings.FieldsFunc(strings.ToLower(t), func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(others, r)
		})
		if t = strings.Join(parts, "_"); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// Visibility is Public or Internal, for the many desks that say true or false.
func Visibility(public bool) schemas.Visibility {
	if public {
		return schemas.Public
	}
	return schemas.Internal
}

// ReadFile reads the whole of f, at most limit bytes.
func ReadFile(f schemas.File, limit int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	defer func() { _ = r.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return b, nil
}
