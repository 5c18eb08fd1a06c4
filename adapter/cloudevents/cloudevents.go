// Package cloudevents reads CloudEvents 1.0 over HTTP: structured, binary and in
// batches, and answers the handshake of its webhook profile
// (https://github.com/cloudevents/spec, http-protocol-binding and http-webhook).
package cloudevents

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"switchboard/adapter/hook"
)

// MaxBatch is how many events one delivery may hold.
const MaxBatch = 100

// A Mode is how a delivery carries events.
type Mode int

// Modes. None: it is no CloudEvent. Unknown: it is one in a format that is not JSON.
const (
	None Mode = iota
	Structured
	Batched
	Binary
	Unknown
)

// ModeOf looks at the head of a delivery.
func ModeOf(d hook.Delivery) Mode {
	kind, _, _ := strings.Cut(strings.ToLower(d.Header.Get("Content-Type")), ";")
	switch kind = strings.TrimSpace(kind); {
	case kind == "application/cloudevents-batch+json":
		return Batched
	case kind == "application/cloudevents+json":
		return Structured
	case strings.HasPrefix(kind, "application/cloudevents"):
		return Unknown
	}
	for _, name := range []string{"Specversion", "Id", "Source", "Type"} {
		if d.Header.Get("Ce-"+name) == "" {
			return None
		}
	}
	return Binary
}

// An Event is one CloudEvent. Source and ID together are unique. Subject and
// Time may be empty.
type Event struct {
	SpecVersion string `json:"specversion"`
	ID          string `json:"id"`
	Source      string `json:"source"`
	Type        string `json:"type"`
	Subject     string `json:"subject"`
	Time        string `json:"time"`
	// Data is JSON: of data that is not, a string with its text.
	Data json.RawMessage `json:"data"`
	// Base64 is how a structured event carries other data; Read empties it.
	Base64 []byte `json:"data_base64"`
}

// Key tells a repeat from another event, for ids are unique per source only; "" for
// the zero Event.
func (e Event) Key() string {
	if e.ID == "" {
		return ""
	}
	return "event " + e.Source + " " + e.ID
}

// Thread joins events that are about the same thing, "" if none is named.
func (e Event) Thread() string {
	if e.Subject == "" {
		return ""
	}
	return e.Source + " " + e.Subject
}

// Read returns the events of a delivery, which is one in the mode Structured,
// Batched or Binary. Errors name no values.
func Read(d hook.Delivery) ([]Event, error) {
	var events []Event
	var err error
	switch ModeOf(d) {
	case Batched:
		err = json.Unmarshal(d.Body, &events)
	case Structured:
		events = make([]Event, 1)
		err = json.Unmarshal(d.Body, &events[0])
	case Binary:
		events = make([]Event, 1)
		events[0], err = readBinary(d)
	default:
		err = errors.New("it is no event in JSON")
	}
	if err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	if len(events) > MaxBatch {
		return nil, fmt.Errorf("a batch of %d events, more than %d", len(events), MaxBatch)
	}
	for i := range events {
		e := &events[i]
		if e.SpecVersion == "" || e.ID == "" || e.Source == "" || e.Type == "" {
			return nil, errors.New("an event lacks specversion, id, source or type")
		}
		if len(e.Data) == 0 {
			e.Data = asJSON(e.Base64)
		}
		e.Base64 = nil
	}
	return events, nil
}

// ReadAny is Read; of a delivery that carries no event it returns the body, which
// is JSON then, as the data of the zero Event.
func ReadAny(d hook.Delivery) ([]Event, error) {
	switch {
	case ModeOf(d) != None:
		return Read(d)
	case !json.Valid(d.Body):
		return nil, errors.New("it is not JSON")
	}
	return []Event{{Data: d.Body}}, nil
}

func readBinary(d hook.Delivery) (Event, error) {
	e := Event{Base64: d.Body}
	for name, to := range map[string]*string{
		"Specversion": &e.SpecVersion, "Id": &e.ID, "Source": &e.Source, "Type": &e.Type, "Subject": &e.Subject, "Time": &e.Time,
	} {
		value, err := url.PathUnescape(unquote(d.Header.Get("Ce-" + name)))
		if err != nil || !utf8.ValidString(value) {
			return Event{}, errors.New("a header is not encoded as the binding says")
		}
		*to = value
	}
	return e, nil
}

// unquote undoes one level of a header's quoted string.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
}

func asJSON(data []byte) json.RawMessage {
	if len(data) == 0 || json.Valid(data) {
		return data
	}
	text, _ := json.Marshal(strings.ToValidUTF8(string(data), "\uFFFD")) // strings always encode
	return text
}

// Handshake answers a sender who asks whether it may send here; ok is false for
// any other delivery. The answer gives nothing away and proves nothing.
func Handshake(d hook.Delivery) (a hook.Answer, ok bool) {
	from := d.Header.Get("WebHook-Request-Origin")
	if d.Method != http.MethodOptions || from == "" {
		return hook.Answer{}, false
	}
	a = hook.Answer{Status: http.StatusOK, Drop: true, Header: http.Header{"Allow": {"POST, OPTIONS"}}}
	a.Header.Set("WebHook-Allowed-Origin", from)
	a.Header.Set("WebHook-Allowed-Rate", "*")
	return a, true
}
