package schemas

import (
	"io"
	"time"
)

// A Ticket is what a sink opens: the whole of a message and of the decision on it.
type Ticket struct {
	// Key is ours ("sb-" and 26 lower-case letters and digits), the same on every
	// attempt; the desk stores it where it can be found again.
	Key string `json:"key"`
	// Subject is one line, never empty.
	Subject string `json:"subject"`
	// Text is the customer's words and what an agent needs beside them; HTML is
	// the same where the message had HTML, already made safe.
	Text string `json:"text"`
	HTML string `json:"html,omitempty"`
	// Requester is never without identities.
	Requester Requester `json:"requester"`
	Queue     string    `json:"queue,omitempty"`
	Assignee  string    `json:"assignee,omitempty"`
	// Type is incident, request, question or problem; "" leaves it to the desk.
	Type     string   `json:"type,omitempty"`
	Priority Priority `json:"priority,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Category string   `json:"category,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	// Fields are our field names with their values; the sink maps them to the desk's.
	Fields []Field `json:"fields,omitempty"`
	// Channel and Kind say where the message came from, ReceivedAt when.
	Channel    string    `json:"channel"`
	Kind       string    `json:"kind"`
	ReceivedAt time.Time `json:"received_at"`
	// Message is the id of the opening message.
	Message string `json:"message"`
	// Follows is the closed ticket that this one continues, nil for a new matter.
	Follows *Ref `json:"follows,omitempty"`
	// Files are set only for sinks that take them inside the create (class
	// ReceiverDedup); elsewhere each is an operation of its own.
	Files []File `json:"files,omitempty"`
}

// A Ref points to a ticket at its desk.
type Ref struct {
	// ID is the desk's id; URL is where an agent opens it, "" when unknown.
	ID  string `json:"id"`
	URL string `json:"url,omitempty"`
}

// A Comment is one entry on a ticket.
type Comment struct {
	// ID is the desk's id, empty on the way in; Key is ours, empty on entries that
	// are not ours.
	ID  string `json:"id,omitempty"`
	Key string `json:"key,omitempty"`
	// Author is who said it.
	Author Author `json:"author"`
	// Visibility says whether the requester may see it.
	Visibility Visibility `json:"visibility"`
	Text       string     `json:"text"`
	HTML       string     `json:"html,omitempty"`
	At         time.Time  `json:"at,omitzero"`
	// Files: see Ticket.Files.
	Files []File `json:"files,omitempty"`
	// Ticket carries the settings that a follow-up should bring to the ticket, such
	// as reopening; nil leaves them alone.
	Change *Change `json:"change,omitempty"`
}

// An Author is who said something on a ticket.
type Author struct {
	Role AuthorRole `json:"role"`
	// Name is what to call them; ID is the desk's id of them, "" when unknown.
	Name string `json:"name,omitempty"`
	ID   string `json:"id,omitempty"`
	// Requester is set when Role is ByRequester.
	Requester *Requester `json:"requester,omitempty"`
}

// An AuthorRole says on whose behalf something was written.
type AuthorRole string

// Roles of authors.
const (
	ByRequester   AuthorRole = "requester"
	ByAgent       AuthorRole = "agent"
	BySwitchboard AuthorRole = "switchboard"
)

// Visibility says who may read a comment.
type Visibility string

// Public comments are seen by the requester, internal ones (notes) by agents only.
const (
	Public   Visibility = "public"
	Internal Visibility = "internal"
)

// Priority is what the ticket gets, by rule.
type Priority string

// Priorities. "" means that no rule said one; a sink then uses normal.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
	PriorityUrgent Priority = "urgent"
)

// Status is where a ticket stands, in our words.
type Status string

// Statuses. Pending waits for the customer, OnHold for a third party; Solved may
// be reopened, Closed may not.
const (
	StatusNew     Status = "new"
	StatusOpen    Status = "open"
	StatusPending Status = "pending"
	StatusOnHold  Status = "on_hold"
	StatusSolved  Status = "solved"
	StatusClosed  Status = "closed"
)

// A File is one attachment on its way to a desk or out to a customer.
type File struct {
	// Key is ours, the same on every attempt.
	Key    string `json:"key,omitempty"`
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Blob   string `json:"blob,omitempty"`
	// Open reads the content from the start, as often as it is called.
	Open func() (io.ReadCloser, error) `json:"-"`
}

// A Change sets the fields that are not nil, and no others.
type Change struct {
	Status     *Status   `json:"status,omitempty"`
	Priority   *Priority `json:"priority,omitempty"`
	Queue      *string   `json:"queue,omitempty"`
	Assignee   *string   `json:"assignee,omitempty"`
	AddTags    []string  `json:"add_tags,omitempty"`
	RemoveTags []string  `json:"remove_tags,omitempty"`
	Fields     []Field   `json:"fields,omitempty"`
}

// A Reply is an agent's public comment on its way to the customer.
type Reply struct {
	// Key is ours, the same on every attempt.
	Key string `json:"key"`
	// Conversation is the vendor's key of the conversation to answer in, as Parse
	// gave it; ReplyTo is the vendor's id of the newest message in it.
	Conversation string    `json:"conversation"`
	ReplyTo      string    `json:"reply_to,omitempty"`
	To           Requester `json:"to"`
	Subject      string    `json:"subject,omitempty"`
	Text         string    `json:"text"`
	HTML         string    `json:"html,omitempty"`
	Files        []File    `json:"files,omitempty"`
	// Agent is the name of the person who answered.
	Agent string `json:"agent,omitempty"`
}

// A Receipt is news of a reply.
type Receipt struct {
	// ID is the vendor's id of the message we sent.
	ID    string       `json:"id"`
	State ReceiptState `json:"state"`
	// Reason is the vendor's words for a failure.
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// A ReceiptState says how far a reply has come.
type ReceiptState string

// States of a reply, in order; Failed ends it.
const (
	Sent      ReceiptState = "sent"
	Delivered ReceiptState = "delivered"
	Read      ReceiptState = "read"
	Failed    ReceiptState = "failed"
)

// A Catalogue lists what a desk calls its things.
type Catalogue struct {
	Queues   []Named     `json:"queues,omitempty"`
	Agents   []Named     `json:"agents,omitempty"`
	Statuses []Named     `json:"statuses,omitempty"`
	Fields   []FieldKind `json:"fields,omitempty"`
	At       time.Time   `json:"at,omitzero"`
}

// A Named is a thing with the desk's id and name.
type Named struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// A FieldKind is one custom field of a desk.
type FieldKind struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Type is the desk's word for it; Options are the values it takes, if listed.
	Type    string  `json:"type"`
	Options []Named `json:"options,omitempty"`
}
