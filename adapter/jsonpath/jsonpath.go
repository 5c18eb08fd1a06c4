// Package jsonpath finds values in JSON whose shape is not known beforehand, by
// dotted paths such as data.items.0.text.
package jsonpath

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Node is a JSON value, opened by one level; its zero value has no members.
type Node struct {
	// Object has the members of an object, of members with one name the last; List
	// those of an array.
	Object map[string]json.RawMessage
	List   []json.RawMessage
}

// Open opens a value. What is neither object nor array has no members, nor has
// what is not JSON.
func Open(raw json.RawMessage) (n Node) {
	if json.Unmarshal(raw, &n.Object) == nil && n.Object != nil {
		return n
	}
	n.Object = nil
	if json.Unmarshal(raw, &n.List) != nil {
		return Node{}
	}
	return n
}

// At returns the value at a path, nil if there is none. Elements of arrays are
// counted from 0.
func (n Node) At(path string) json.RawMessage {
	name, rest, deeper := strings.Cut(path, ".")
	value := n.Object[name]
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.List) {
		value = n.List[i]
	}
	if deeper {
		return Open(value).At(rest)
	}
	return value
}

// Text returns the value at a path as text: a string's characters, nothing for
// null, and all else as it is written.
func (n Node) Text(path string) string { return Text(n.At(path)) }

// Text is Node.Text of one value.
func Text(raw json.RawMessage) (s string) {
	raw = bytes.TrimSpace(raw)
	if bytes.Equal(raw, []byte("null")) {
		return ""
	}
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

// Word returns a string's characters, or a number as it is written; "" of all else.
func Word(raw json.RawMessage) string {
	var number json.Number
	if raw = bytes.TrimSpace(raw); bytes.HasPrefix(raw, []byte(`"`)) || json.Unmarshal(raw, &number) == nil {
		return Text(raw)
	}
	return ""
}

// Word is the function Word of the value at a path.
func (n Node) Word(path string) string { return Word(n.At(path)) }

// Members lists the names of an object's members in their order, but for those
// that are left out.
func (n Node) Members(but ...string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(n.Object)), func(name string) bool { return slices.Contains(but, name) })
}

// Time reads a time in Unix seconds or as RFC 3339 has it, in UTC. Nothing is the
// zero time; ok is false for anything else.
func Time(text string) (t time.Time, ok bool) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && seconds > 0 && seconds < 1<<37 {
		return time.Unix(seconds, 0).UTC(), true
	}
	t, err := time.Parse(time.RFC3339, text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, text == "" // other years cannot be written as JSON
	}
	return t, true
}
