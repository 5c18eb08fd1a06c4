package webhook

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"switchboard/adapter/cloudevents"
	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
	"switchboard/adapter/jsonpath"
	"switchboard/channels"
	"switchboard/schemas"
)

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	events := []cloudevents.Event{{Data: d.Body}}
	var err error
	if cloudevents.ModeOf(d) != cloudevents.None {
		events, err = cloudevents.Read(d)
	} else if !json.Valid(d.Body) {
		err = errors.New("it is not JSON")
	}
	if err != nil {
		return channels.Parsed{}, fault.Permanentf("read delivery: %w", err)
	}
	var p channels.Parsed
	seen := map[string]bool{}
	for _, e := range events {
		m := c.message(d, e)
		if said := m.Text + m.Subject; !seen[m.VendorID] && (said != "" || len(m.Attachments) > 0) {
			p.Messages = append(p.Messages, m)
			seen[m.VendorID] = true
		}
	}
	if len(p.Messages) == 0 {
		p.Ignored = "no text, subject or attachment where the configuration says"
	}
	return p, nil
}

func (c *channel) message(d hook.Delivery, e cloudevents.Event) schemas.Message {
	top, at, f := jsonpath.Open(e.Data), c.cfg.Fields, &formdata.Form{}
	get := func(path string) string { return f.Text(top.Text(path)) }
	a := formdata.Answers{Known: map[string]string{
		"message": get(at.Text), "subject": f.Line(get(at.Subject)), "name": f.Line(get(at.Name)),
		"email": f.Line(get(at.Email)), "phone": f.Line(get(at.Phone)),
	}}
	if top.Object == nil && top.List == nil && e.ID != "" {
		a.Known["message"] = f.Text(jsonpath.Text(e.Data)) // an event that is just a text
	}
	for _, path := range c.cfg.Extra {
		if value := get(path); value != "" {
			a.Others = append(a.Others, schemas.Field{Name: path, Value: value})
		}
	}
	if e.Type != "" {
		a.Others = append(a.Others, schemas.Field{Name: "event", Value: f.Line(e.Type)})
	}
	sent, ok := jsonpath.Time(cmp.Or(get(at.SentAt), e.Time))
	if !ok {
		f.Note("the time of sending could not be read")
	}
	for _, raw := range jsonpath.Open(top.At(at.Attachments)).List {
		one := jsonpath.Open(raw)
		f.Attach(one.Text("name"), one.Text("type"), one.Text("data"), one.Text("url"))
	}
	if c.cfg.Attested {
		a.Evidence = schemas.Attested
	}
	// What the data of a CloudEvent calls its id may well come in another event too.
	header := strings.ToValidUTF8(cmp.Or(d.Header.Get("Webhook-Id"), d.Header.Get("Svix-Id")), "\uFFFD")
	id := cmp.Or(e.Key(), get(at.ID), header, fmt.Sprintf("body %x", sha256.Sum256(d.Body)))
	m := f.Message(id, a)
	m.SentAt, m.Conversation = sent, cmp.Or(get(at.Conversation), e.Thread(), id)
	return m
}
