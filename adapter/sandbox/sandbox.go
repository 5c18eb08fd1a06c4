// Package sandbox is what vendors' fakes have in common: the shape of a fake,
// what can be read out of it, and dials for faults.
//
// A fake is a small stateful stand-in for one vendor that lives in the adapter's
// folder and is part of the kind, so that `switchboard sandbox` serves what the
// tests run against.
package sandbox

import (
	"net/http"
	"time"
)

// A Fake is one vendor, played. It is safe for concurrent use.
type Fake interface {
	// ServeHTTP is the vendor's API below the fake's base address.
	http.Handler
	// Settings are the configuration keys, as in the YAML file, under which an
	// adapter talks to the fake at base ("http://127.0.0.1:9000/zendesk").
	Settings(base string) map[string]string
}

// A Desk is the fake of a helpdesk: its own store can be read, for verdicts.
type Desk interface {
	Fake
	// Tickets returns the store, oldest ticket and oldest comment first.
	Tickets() []Ticket
	// Comment adds an agent's comment, as if made at the desk, and returns its id;
	// "" if there is no such ticket.
	Comment(ticket, agent, text string, public bool) string
}

// A Phone is the fake of a channel's vendor: what we sent to customers.
type Phone interface {
	Fake
	Sent() []Sent
}

// A Ticket is one ticket in a fake's store.
type Ticket struct {
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	Subject   string    `json:"subject"`
	Status    string    `json:"status"`
	Requester string    `json:"requester"`
	Queue     string    `json:"queue,omitempty"`
	Tags      []string  `json:"tags,omitempty"`
	Comments  []Comment `json:"comments"`
}

// A Comment is one entry on a fake's ticket; the first is the ticket's text.
type Comment struct {
	ID     string   `json:"id"`
	Key    string   `json:"key,omitempty"`
	Author string   `json:"author"`
	Text   string   `json:"text"`
	Public bool     `json:"public"`
	Files  []string `json:"files,omitempty"`
}

// A Sent is one message that a fake carried to a customer.
type Sent struct {
	ID           string    `json:"id"`
	Conversation string    `json:"conversation"`
	Text         string    `json:"text"`
	At           time.Time `json:"at"`
}
