package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// A Ledger is what the console reads. Where a message, ticket, person or dead
// letter is not known, its error is a ledger.ErrNotFound.
type Ledger interface {
	Flow(ctx context.Context, q ledger.FlowQuery) ([]ledger.FlowRow, error)
	Story(ctx context.Context, id string) (ledger.Story, error)
	// Tickets returns one page and how many tickets there are in all.
	Tickets(ctx context.Context, q ledger.TicketQuery) ([]ledger.TicketRow, int, error)
	Ticket(ctx context.Context, sink, id string) (ledger.TicketView, error)
	Timeline(ctx context.Context, requesterID string) ([]ledger.Entry, schemas.Requester, error)
	// Dead returns the dead letters in the given state, newest first.
	Dead(ctx context.Context, state string) ([]ledger.DeadRow, error)
	DeadLetter(ctx context.Context, id string) (ledger.DeadRow, error)
	Health(ctx context.Context, now time.Time) ([]ledger.HealthRow, error)
	Counts(ctx context.Context, since time.Time) (ledger.Counts, error)
	// Wait returns once the event at seq is in the ledger.
	Wait(ctx context.Context, seq uint64) error
	// Subscribe returns a channel that gets a value after changes, some of them
	// taken together, and the function that ends it.
	Subscribe() (<-chan struct{}, func())
}

// Actions is what the console does. A returned seq is the position of the event
// that tells of it, for Ledger.Wait. ErrNotFound: there is no such thing (any more).
type Actions interface {
	// Answer puts a comment on a ticket; a public one goes out to the customer.
	Answer(ctx context.Context, actor schemas.Actor, sink, ticket, text string, v schemas.Visibility) (seq uint64, err error)
	Update(ctx context.Context, actor schemas.Actor, sink, ticket string, ch schemas.Change) (seq uint64, err error)
	// Retry tries a dead letter again, in whatever stage it died.
	Retry(ctx context.Context, actor schemas.Actor, deadID string) (seq uint64, err error)
	Dismiss(ctx context.Context, actor schemas.Actor, deadID, reason string) (seq uint64, err error)
	// Raw returns a delivery as it was received.
	Raw(ctx context.Context, delivery uint64) (Raw, error)
	// File opens the content of an attachment.
	File(ctx context.Context, blob string) (io.ReadCloser, error)
	Status(ctx context.Context) System
	// Answers reports whether tickets of the sink are answered and changed here.
	Answers(sink string) bool
}

// Raw is a delivery as it was received, secrets replaced by digests.
type Raw struct {
	Method, URL string
	Header      http.Header
	Body        []byte
	// Via is webhook, poll or stream.
	Via string
	At  time.Time
}

// System is how the program itself is.
type System struct {
	Version string
	Uptime  time.Duration
	// DiskUsed, DiskLimit and Memory are in bytes, 0 where unknown.
	DiskUsed, DiskLimit, Memory int64
	// Rules is the digest of the rules in force.
	Rules string
	Ready bool
	// Problems say in words what is wrong, whole sentences.
	Problems []string
}

// Accounts keeps users and sessions: a bucket of small records with revisions.
// Keys are letters, digits and dots.
type Accounts interface {
	// Get returns a record and its revision, or ErrNotFound.
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Create stores a new record, or returns ErrConflict where there is one.
	Create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	// Update replaces the record of the given revision, or returns ErrConflict.
	Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error)
	// Delete removes a record; to remove what is not there is no error.
	Delete(ctx context.Context, key string) error
	// List returns the keys that begin with prefix.
	List(ctx context.Context, prefix string) ([]string, error)
}

var (
	// ErrNotFound is what Accounts and Actions return for what is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict is what Accounts return where somebody else was faster.
	ErrConflict = errors.New("changed by somebody else")
)

// An Instance is one configured channel or sink, as the console names it.
type Instance struct {
	Name string
	// Kind is the type of it, Title what the vendor is called ("" means Kind).
	Kind, Title string
	// Mute says that the channel cannot carry answers to the customer.
	Mute bool
	// Page is the address of a page where customers write, "" where there is none.
	Page string
	// Sample is a command line that sends a message to the channel, "" if none is known.
	Sample string
}
