package formdata

import (
	"cmp"
	"net/mail"
	"slices"
	"strings"

	"switchboard/schemas"
)

// Names says how a form calls what we know; an empty one has the usual names.
type Names struct {
	// Message is usually message, body, comment or description.
	Message string `yaml:"message"`
	// Email is usually email, e-mail, mail or _replyto.
	Email string `yaml:"email"`
	// Name is usually name, or first_name and last_name.
	Name string `yaml:"name"`
	// Phone is usually phone or tel.
	Phone string `yaml:"phone"`
	// Subject is usually subject or _subject.
	Subject string `yaml:"subject"`
}

// Known lists what we know, by our names.
func Known() []string { return []string{"message", "email", "name", "phone", "subject"} }

// Of returns the names, in lower case and first the preferred one, under which
// the form sends what we call name; nil if we call nothing so.
func (n Names) Of(name string) []string {
	one := func(chosen string, usual ...string) []string {
		if chosen != "" {
			return []string{strings.ToLower(chosen)}
		}
		return usual
	}
	switch name {
	case "message":
		return one(n.Message, "message", "body", "comment", "description")
	case "email":
		return one(n.Email, "email", "e-mail", "mail", "_replyto")
	case "name":
		return one(n.Name, "name")
	case "phone":
		return one(n.Phone, "phone", "tel")
	case "subject":
		return one(n.Subject, "subject", "_subject")
	}
	return nil
}

// Answers are the fields of a form where they belong.
type Answers struct {
	// Known are the first values of what we know, by our names.
	Known map[string]string
	// Aside are the first values of the fields that were asked for.
	Aside map[string]string
	// Others are the rest, in order and with repetitions.
	Others []schemas.Field
	// Evidence is how well the addresses are known; "" means asserted, for anybody
	// can write any address.
	Evidence schemas.Evidence
}

// Sort puts the fields where they belong. aside names, in lower case, the fields
// that are no answers but serve the form's own machinery.
func (f *Form) Sort(names Names, aside ...string) Answers {
	a := Answers{Known: map[string]string{}, Aside: map[string]string{}}
	part := map[string]string{}
	for _, field := range f.Fields {
		lower := strings.ToLower(field.Name)
		i := slices.IndexFunc(Known(), func(key string) bool {
			return a.Known[key] == "" && slices.Contains(names.Of(key), lower)
		})
		switch {
		case i == 0:
			a.Known["message"] = field.Value
		case i > 0:
			a.Known[Known()[i]] = f.Line(field.Value)
		case names.Name == "" && (lower == "first_name" || lower == "last_name") && part[lower] == "":
			part[lower] = f.Line(field.Value)
		case slices.Contains(aside, lower) && a.Aside[lower] == "":
			a.Aside[lower] = f.Line(field.Value)
		default:
			a.Others = append(a.Others, field)
		}
	}
	if a.Known["name"] == "" {
		a.Known["name"] = strings.TrimSpace(part["first_name"] + " " + part["last_name"])
	}
	return a
}

// Message makes a message of the form and its answers, under this id and in a
// conversation of its own. An e-mail address that is none stays a field.
func (f *Form) Message(id string, a Answers) schemas.Message {
	m := schemas.Message{
		VendorID: id, Conversation: id, Subject: a.Known["subject"], Text: a.Known["message"],
		Requester:   schemas.Requester{Name: a.Known["name"]},
		Attachments: f.Files, Degraded: f.Degraded, Fields: slices.Clone(a.Others),
	}
	for _, kind := range []schemas.IdentityKind{schemas.Email, schemas.Phone} {
		switch value := a.Known[string(kind)]; {
		case value == "":
		case kind == schemas.Email && !Reachable(value):
			m.Fields = append(m.Fields, schemas.Field{Name: "email", Value: value})
			m.Degraded = append(slices.Clone(m.Degraded), "the e-mail address is none")
		default:
			id := schemas.Identity{Kind: kind, Value: value, Evidence: cmp.Or(a.Evidence, schemas.Asserted)}
			m.Requester.Identities = append(m.Requester.Identities, id)
		}
	}
	return m
}

// Reachable reports whether text is an e-mail address in a domain with a dot.
func Reachable(text string) bool {
	a, err := mail.ParseAddress(text)
	return err == nil && a.Address == text && strings.Contains(text[strings.LastIndexByte(text, '@'):], ".")
}
