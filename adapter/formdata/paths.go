package formdata

import (
	"encoding/json"
	"time"

	"switchboard/adapter/jsonpath"
	"switchboard/schemas"
)

// Paths say where in a JSON document a message's parts stand, as dotted paths such
// as data.items.0.text; of a part without a path there is none.
type Paths struct {
	// ID is unique per message; the sender's retries repeat it.
	ID string `yaml:"id"`
	// Conversation joins messages; without it each is a conversation of its own.
	Conversation string `yaml:"conversation"`
	Text         string `yaml:"text"`
	Subject      string `yaml:"subject"`
	Name         string `yaml:"name"`
	Email        string `yaml:"email"`
	Phone        string `yaml:"phone"`
	// SentAt is a time as in RFC 3339, or in Unix seconds.
	SentAt string `yaml:"sent_at"`
	// Attachments is a list of objects with name, type, and url or data (base64).
	Attachments string `yaml:"attachments"`
}

// A Document is a form that came as JSON, with what a form does not have.
type Document struct {
	*Form
	Answers
	// ID and Conversation are "" where the document does not say them.
	ID, Conversation string
	// SentAt is zero where neither the document nor its sender says it.
	SentAt time.Time
}

// Read reads a document. sent is when it was sent, where it does not say so
// itself; extra are further paths, whose values become answers of these names.
func (p Paths) Read(raw json.RawMessage, sent string, extra ...string) Document {
	top, f := jsonpath.Open(raw), &Form{}
	get := func(path string) string { return f.Text(top.Text(path)) }
	d := Document{Form: f, ID: get(p.ID), Conversation: get(p.Conversation), Answers: Answers{Known: map[string]string{
		"message": get(p.Text), "subject": f.Line(get(p.Subject)), "name": f.Line(get(p.Name)),
		"email": f.Line(get(p.Email)), "phone": f.Line(get(p.Phone)),
	}}}
	for _, path := range extra {
		if value := get(path); value != "" {
			d.Others = append(d.Others, schemas.Field{Name: path, Value: value})
		}
	}
	if said := get(p.SentAt); said != "" {
		sent = said
	}
	var ok bool
	if d.SentAt, ok = jsonpath.Time(sent); !ok {
		f.Note("the time of sending could not be read")
	}
	for _, raw := range jsonpath.Open(top.At(p.Attachments)).List {
		one := jsonpath.Open(raw)
		f.Attach(one.Text("name"), one.Text("type"), one.Text("data"), one.Text("url"))
	}
	return d
}
