// Package chat reads what people send in chat apps out of the vendors' JSON. Where
// a vendor has what is a table, so that a channel is that table and its vendor's
// oddities.
package chat

import (
	"cmp"
	"slices"
	"strings"

	"switchboard/adapter/jsonpath"
	"switchboard/schemas"
)

// A Shape says where a vendor's message has what. Paths are those of package
// jsonpath. In templates, such as "{chat.id}:{message_id}", a path in braces
// stands for the text or number there.
type Shape struct {
	// ID, Conversation, ReplyTo and Group are templates; one of which a place is
	// empty is empty.
	ID, Conversation, ReplyTo, Group string
	// SentAt is the path of a time.
	SentAt string
	// Person is the path of the sender's id, which is an identity of the kind
	// Identity that the vendor attests.
	Identity schemas.IdentityKind
	Person   string
	// Names are templates of what the sender is called, the best one first; Locale is
	// the path of a language tag.
	Names  []string
	Locale string
	// Phone is the path of the number on a card, and Owner that of the id of whom
	// it is about. The sender's own number is an identity too: attested, or asserted
	// where the card names nobody.
	Phone, Owner string
	// Text are templates of lines, those of which nothing is filled are left out. One
	// that is a single path keeps line breaks. In a path, * stands for each element
	// of a list, which all get a line; all paths of the template are within it.
	Text []string
	// Files says where the files are.
	Files Files
}

// Read reads a message.
func (s Shape) Read(n jsonpath.Node) schemas.Message {
	m := schemas.Message{
		VendorID: id(n, s.ID), Conversation: id(n, s.Conversation), ReplyTo: id(n, s.ReplyTo), Group: id(n, s.Group),
		Requester: s.requester(n), Attachments: s.Files.read(n),
	}
	m.SentAt, _ = jsonpath.Time(n.Word(s.SentAt)) // an unreadable time is none
	var lines []string
	for _, template := range s.Text {
		lines = append(lines, written(n, template)...)
	}
	m.Text = strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "\n")
	return m
}

// Edited makes of a message one that replaces it, as of a time.
func Edited(m schemas.Message, at string) schemas.Message {
	m.Edits, m.VendorID = m.VendorID, m.VendorID+":"+at
	m.SentAt, _ = jsonpath.Time(at) // an unreadable time is none
	return m
}

func (s Shape) requester(n jsonpath.Node) schemas.Requester {
	person := n.Word(s.Person)
	r := schemas.Requester{
		Locale:     n.Word(s.Locale),
		Identities: []schemas.Identity{{Kind: s.Identity, Value: person, Evidence: schemas.Attested}},
	}
	for _, template := range s.Names {
		name, _ := fill(n, template)
		r.Name = cmp.Or(r.Name, strings.Join(strings.Fields(name), " "))
	}
	evidence := map[string]schemas.Evidence{"": schemas.Asserted, "0": schemas.Asserted, person: schemas.Attested}[n.Word(s.Owner)]
	if number := strings.TrimLeft(n.Word(s.Phone), "+"); number != "" && evidence != "" {
		r.Identities = append(r.Identities, schemas.Identity{Kind: schemas.Phone, Value: "+" + number, Evidence: evidence})
	}
	return r
}

func id(n jsonpath.Node, template string) string {
	text, places := fill(n, template)
	if slices.Contains(places, "") {
		return ""
	}
	return text
}

// written returns the lines of a template: one, or one for each element of a list.
func written(n jsonpath.Node, template string) (lines []string) {
	if before, _, ok := strings.Cut(template, ".*."); ok {
		list := before[strings.LastIndexByte(before, '{')+1:]
		one := strings.ReplaceAll(template, "{"+list+".*.", "{")
		for _, element := range jsonpath.Open(n.At(list)).List {
			lines = append(lines, written(jsonpath.Open(element), one)...)
		}
		return lines
	}
	text, places := fill(n, template)
	if len(places) == 1 && text == places[0] {
		return []string{text}
	}
	if strings.Trim(strings.Join(places, ""), "0 ") == "" {
		return nil // 0 is what vendors write for nothing
	}
	return []string{strings.Join(strings.Fields(text), " ")}
}

// fill fills a template; places are what stands in its braces.
func fill(n jsonpath.Node, template string) (text string, places []string) {
	for {
		before, rest, ok := strings.Cut(template, "{")
		text += before
		if !ok {
			return text, places
		}
		path, after, _ := strings.Cut(rest, "}")
		value := n.Word(path)
		text, places, template = text+value, append(places, value), after
	}
}
