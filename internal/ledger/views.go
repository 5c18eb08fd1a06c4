package ledger

import (
	"time"

	"switchboard/schemas"
)

// An Outcome is where a message stands.
type Outcome string

// Outcomes. A message on several sinks has the worst of theirs: dead, then
// waiting, then filed.
const (
	OutcomeWaiting   Outcome = "waiting"
	OutcomeFiled     Outcome = "filed"
	OutcomeDead      Outcome = "dead"
	OutcomeDropped   Outcome = "dropped"
	OutcomeDuplicate Outcome = "duplicate"
	OutcomeIgnored   Outcome = "ignored"
	OutcomeForgotten Outcome = "forgotten"
)

// A FlowRow is one line of the live flow: a message, or a delivery that became
// none (duplicate, ignored, dead).
type FlowRow struct {
	// ID is the message's id, or "d" and the delivery's sequence.
	ID        string
	At        time.Time
	Channel   string
	Kind      string
	Requester string
	// Preview is the subject, or the first 160 characters of the text.
	Preview     string
	Attachments int
	Category    string
	Urgency     schemas.Urgency
	Keywords    []string
	// Rule is the name of the innermost rule that decided.
	Rule    string
	Sink    string
	Ticket  schemas.Ref
	Opened  bool
	Outcome Outcome
	// Reason says why, for all but filed.
	Reason string
	// Took is from receipt to outcome, zero while waiting.
	Took time.Duration
	// Seq is the position of the newest event of the row, for live updates.
	Seq uint64
}

// A FlowQuery narrows the flow. Zero fields do not narrow.
type FlowQuery struct {
	// Text is searched in full text (subject, text, requester, ids, ticket).
	Text    string
	Channel string
	Sink    string
	Outcome Outcome
	// After returns rows whose Seq is larger, oldest first, for live updates.
	After uint64
	// Before continues a listing: rows strictly older than this row id.
	Before string
	// Limit is at most 500; 0 means 50.
	Limit int
}

// A Story is everything known of one message or delivery.
type Story struct {
	FlowRow
	Message        schemas.Message
	Conversation   string
	Delivery       uint64
	Classification schemas.Classification
	Decisions      []schemas.Decision
	Rules          string
	Version        int
	// Filed, Troubles and Duplicates are the events of the message, oldest first.
	Filed      []schemas.Filed
	Troubles   []schemas.Trouble
	Duplicates []schemas.Duplicate
	Requests   []schemas.Requested
	// Ended is set for a delivery that became no message.
	Ended *schemas.DeliveryEnded
}

// A TicketRow is one ticket in a list.
type TicketRow struct {
	Sink      string
	Ticket    schemas.Ref
	Subject   string
	Requester string
	// RequesterID identifies the person for Timeline.
	RequesterID string
	// LastWords are the first 160 characters of the newest entry.
	LastWords string
	LastBy    string
	LastAt    time.Time
	OpenedAt  time.Time
	Channels  []string
	Urgency   schemas.Urgency
	Priority  schemas.Priority
	Category  string
	Queue     string
	Assignee  string
	Status    schemas.Status
	Tags      []string
	Messages  int
	// Waiting says that the newest entry is the customer's; an internal note after it
	// is no answer.
	Waiting bool
}

// A TicketQuery narrows the tickets. Zero fields do not narrow.
type TicketQuery struct {
	Text     string
	Sink     string
	Queue    string
	Assignee string
	// Open leaves out solved and closed tickets; Status asks for one.
	Open   bool
	Status schemas.Status
	// NeedsAnswer asks for open tickets whose newest entry is the customer's.
	NeedsAnswer bool
	// Oldest sorts by the newest entry, oldest first; else newest first.
	Oldest bool
	// Offset and Limit page; Limit is at most 200, 0 means 50.
	Offset, Limit int
}

// A TicketView is one ticket with its thread.
type TicketView struct {
	TicketRow
	Conversations []string
	Entries       []Entry
	Person        schemas.Requester
	// Others are the other tickets of the same person, newest first.
	Others []TicketRow
}

// An Entry is one line of a thread or timeline.
type Entry struct {
	At time.Time
	// Kind is message, reply, note, change or receipt.
	Kind       string
	Author     string
	Role       schemas.AuthorRole
	Channel    string
	Text       string
	Visibility schemas.Visibility
	// Message is the message's id for kind message; Reply the reply's id.
	Message     string
	Reply       string
	Attachments []schemas.Attachment
	// State and Reason are those of a reply: queued, sent, delivered, read, failed, unknown.
	State, Reason string
	Sink          string
	Ticket        schemas.Ref
}

// A DeadRow is one dead letter.
type DeadRow struct {
	ID string
	// Stage is pipeline, delivery or reply.
	Stage        string
	At           time.Time
	Message      string
	Delivery     uint64
	Conversation string
	Channel      string
	Sink         string
	Requester    string
	Preview      string
	Rule         string
	Reason       string
	Attempts     int
	// State is waiting, retried, mended or dismissed.
	State string
	// Actor acted last, at Acted.
	Actor string
	Acted time.Time
}

// A HealthRow is how one channel or sink did.
type HealthRow struct {
	Side   string
	Name   string
	State  string
	Reason string
	Last   time.Time
	// LastHour and LastDay count messages; Waiting counts those not yet filed.
	LastHour, LastDay, Waiting int
	// Half and P99 are durations within which that share was filed in the last hour.
	Half, P99 time.Duration
}

// Counts are the books as the ledger sees them, since a time. Accepted is the
// sum of the others, per message and sink; deliveries that became no message
// count once.
type Counts struct {
	Accepted, Filed, Duplicate, Ignored, Dead, Dropped, Waiting, Forgotten int
}
