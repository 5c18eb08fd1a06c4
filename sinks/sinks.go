// Package sinks is the contract between Switchboard and helpdesks.
//
// A sink adapter translates one vendor: it owns its configuration, the vendor's
// payloads and the mapping from package schemas, and nothing else. The host
// keeps order, looks before it repeats, retries, paces, logs and counts. See
// docs/style.md §2 and docs/protocol.md §4 to §6.
package sinks

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"switchboard/adapter/hook"
	"switchboard/schemas"
)

// A Sink is one helpdesk account. Methods may be called concurrently, but never
// concurrently for one ticket. A call whose ctx ends returns promptly; whether it
// was done is then unknown, and the host looks before it repeats (protocol §6).
type Sink interface {
	// Check proves the credentials with one cheap, read-only call.
	Check(ctx context.Context) error
	// Create opens a ticket, the record alone, and stores t.Key where Find can find
	// it (an external id, a custom field, a tag).
	Create(ctx context.Context, t schemas.Ticket) (schemas.Ref, error)
	// Append adds what c.Author said: the requester (authored as the requester, so
	// that no SLA clock stops and nobody is mailed their own words), an agent, or
	// Switchboard itself; c.Visibility says whether the requester may see it. It
	// stores c.Key where Thread can find it, and returns the comment's id. ErrClosed:
	// the ticket takes no more; ErrNotFound: it is gone.
	Append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (id string, err error)
}

// What a ticket can answer to Append. The host opens a new ticket, linked to the
// old one when that was closed.
var (
	ErrNotFound = errors.New("ticket is gone")
	ErrClosed   = errors.New("ticket is closed")
)

// A Finder looks up tickets that may carry key, oldest first. The host compares
// the keys byte for byte.
type Finder interface {
	Find(ctx context.Context, key string) ([]Candidate, error)
}

// A Lister is the second probe where Find lags: the requester's tickets since a
// time, oldest first.
type Lister interface {
	List(ctx context.Context, who schemas.Requester, since time.Time) ([]Candidate, error)
}

// A Candidate is a ticket and the key it carries, as the desk has it.
type Candidate struct {
	Ref schemas.Ref
	Key string
}

// A Threader reads comments, notes and files of a ticket, oldest first, with the
// keys they carry.
type Threader interface {
	Thread(ctx context.Context, ref schemas.Ref) ([]schemas.Comment, error)
}

// An Attacher adds one file, an operation of its own under f.Key that Thread
// finds again; without it a ticket gets links.
type Attacher interface {
	Attach(ctx context.Context, ref schemas.Ref, f schemas.File) (id string, err error)
}

// An Updater sets the fields set in ch and no others; a repeat changes nothing.
type Updater interface {
	Update(ctx context.Context, ref schemas.Ref, ch schemas.Change) error
}

// A Cataloguer reads names and ids of queues, fields, statuses, agents; the host
// caches them and hands them back through Env.Catalogue.
type Cataloguer interface {
	Catalogue(ctx context.Context) (schemas.Catalogue, error)
}

// A BatchCreator opens many tickets in one call. Batch reads a running job.
type BatchCreator interface {
	CreateBatch(ctx context.Context, ts []schemas.Ticket) (Batch, error)
	Batch(ctx context.Context, job string) (Batch, error)
}

// A Batch is a vendor's job id, or one outcome per ticket, in order. Outcomes is
// nil while the job runs.
type Batch struct {
	Job      string
	Outcomes []Outcome
}

// An Outcome is how one row of a batch ended.
type Outcome struct {
	Ref schemas.Ref
	Err error
}

// A Source reads what happened at the desk from a delivery that came by
// hook.Webhook, hook.Poller or both. Parse is pure.
type Source interface {
	Parse(d hook.Delivery) (Changes, error)
}

// Changes are what a delivery from a desk says. Where there is nothing in it,
// Ignored says why.
type Changes struct {
	Comments []TicketComment
	Tickets  []TicketChange
	Ignored  string
}

// A TicketComment is a comment made at the desk. Comment.ID is set and unique
// within the desk.
type TicketComment struct {
	Ticket  schemas.Ref
	Comment schemas.Comment
}

// A TicketChange is a change of a ticket's fields at the desk, as of At. Only
// what is set has changed.
type TicketChange struct {
	Ticket schemas.Ref
	Change schemas.Change
	// By names who did it, "" when the desk does not say.
	By string
	At time.Time
}

// Env is what the host lends an adapter.
type Env struct {
	// Name is the sink's name in the configuration file.
	Name string
	// Log already carries the name.
	Log *slog.Logger
	// HTTP has timeouts, metrics and the guard against private addresses; it never
	// follows a redirect of a write.
	HTTP *http.Client
	// DB is where a desk that keeps tickets itself keeps them; nil for kinds without
	// the trait Store.
	DB *sql.DB
	// Catalogue returns the newest catalogue that the host has, from its cache at
	// first; an empty one when the desk was never reached.
	Catalogue func() schemas.Catalogue
	// Changed asks the host to poll the sink now; a desk within this process calls it.
	Changed func()
}
