// Package inbox is the built-in desk: a system of record of its own in SQL,
// worked on in the console, for shops that have no helpdesk yet. It keeps tickets
// and comments in the tables inbox_…, unique by our keys, in SQLite (inbox.db) or
// Postgres. There is no vendor and no API; docs are in this folder's README.
package inbox

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
)

// Kind is what the host needs to open an inbox.
var Kind = sinks.Define("inbox", Config{Prefix: "T-"}, open, sinks.Traits[Config]{
	Create: sinks.Upsert, Append: sinks.Upsert,
	// A write that has not committed when its call ends never will.
	Settle: time.Second, Concurrency: maxGroup,
	// Env.Changed starts a poll at once; the pause (a minute) only covers what
	// another instance on the same database wrote.
	Console: true, Store: true,
})

// Config is one inbox in the configuration file.
type Config struct {
	// Prefix stands before the number of a ticket: "T-" makes T-1001. Tickets keep
	// the prefix they were opened with.
	Prefix string `yaml:"prefix"`
}

// pageSize is how many changes one Poll returns at most.
const pageSize = 256

type sink struct {
	cfg  Config
	name string
	group
}

var _ interface {
	sinks.Finder
	sinks.Threader
	sinks.Attacher
	sinks.Updater
	sinks.Cataloguer
	sinks.Source
	hook.Poller
} = (*sink)(nil)

func open(cfg Config, env sinks.Env) (sinks.Sink, error) {
	if env.DB == nil {
		return nil, errors.New("inbox: there is no database")
	}
	if strings.TrimRight(cfg.Prefix, "0123456789") != cfg.Prefix {
		return nil, errors.New("prefix: must not end with a digit")
	}
	return &sink{cfg: cfg, name: env.Name, group: group{db: env.DB, changed: env.Changed, turn: make(chan struct{}, 1)}}, nil
}

// Check makes the tables if need be and reads from them.
func (s *sink) Check(ctx context.Context) error {
	_, err := s.Poll(ctx, "")
	return err
}

// Create opens a ticket; a repeat of the key returns the one that is there.
func (s *sink) Create(ctx context.Context, t schemas.Ticket) (ref schemas.Ref, err error) {
	st := standing{
		Status: schemas.StatusNew, Priority: cmp.Or(t.Priority, schemas.PriorityNormal),
		Queue: t.Queue, Assignee: t.Assignee, Tags: t.Tags, Fields: t.Fields,
	}
	var id string
	err = s.run(ctx, func(ctx context.Context, b *batch) error {
		number := b.ticket + 1
		err := b.tx.QueryRowContext(ctx, `INSERT INTO inbox_tickets (number, id, sink, key, schema, queue, assignee, standing, doc)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO NOTHING RETURNING id`,
			number, s.cfg.Prefix+strconv.FormatInt(number, 10), s.name, t.Key, schemas.Version, t.Queue, t.Assignee, packed{st}, packed{t}).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return b.tx.QueryRowContext(ctx, `SELECT id FROM inbox_tickets WHERE key = $1`, t.Key).Scan(&id)
		}
		b.ticket = number
		return err
	})
	if err != nil {
		return ref, fmt.Errorf("create ticket: %w", err)
	}
	return schemas.Ref{ID: id}, nil
}

// Append adds a comment and brings c.Change to the ticket in the same
// transaction; a repeat of the key returns the one that is there and changes
// nothing.
func (s *sink) Append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	return s.write(ctx, ref, &c, schemas.StatusClosed)
}

// Attach adds a file's description; the content stays in the host's store under
// f.Blob. A closed ticket still takes what belongs to it.
func (s *sink) Attach(ctx context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	by := schemas.Author{Role: schemas.BySwitchboard}
	return s.write(ctx, ref, &schemas.Comment{Key: f.Key, Author: by, Visibility: schemas.Public, Files: []schemas.File{f}}, "")
}

// Update sets what ch sets. A closed ticket keeps its status.
func (s *sink) Update(ctx context.Context, ref schemas.Ref, ch schemas.Change) error {
	_, err := s.write(ctx, ref, &schemas.Comment{Change: &ch}, "")
	return err
}

// write brings c.Change to a ticket, and c itself if anybody is its author. It
// refuses comments on tickets of the status closed.
func (s *sink) write(ctx context.Context, ref schemas.Ref, c *schemas.Comment, closed schemas.Status) (string, error) {
	change, said := cmp.Or(c.Change, &schemas.Change{}), *c
	said.Change = nil
	if c.At.IsZero() {
		said.At = time.Now().UTC()
	}
	var id string
	err := s.run(ctx, func(ctx context.Context, b *batch) error {
		number, st, err := s.read(ctx, b.tx.QueryRowContext, ref)
		if err != nil {
			return err
		}
		e := entry{Ticket: ref.ID, By: said.Author.Name, At: said.At}
		if said.Author.Role != "" {
			comment := said // the closure may run again
			e.Comment = &comment
			repeat, err := b.add(ctx, number, &comment, st.Status == closed)
			if id = comment.ID; err != nil || repeat {
				return err
			}
		}
		after, done := st.with(*change)
		if e.Change = done; done != nil {
			if st.Status == schemas.StatusClosed && done.Status != nil {
				return sinks.ErrClosed
			}
			if _, err := b.tx.ExecContext(ctx, `UPDATE inbox_tickets SET queue = $1, assignee = $2, standing = $3 WHERE number = $4`,
				after.Queue, after.Assignee, packed{after}, number); err != nil {
				return err
			}
		} else if e.Comment == nil || strings.HasPrefix(said.Key, "sb-") {
			return nil // what the host says under a key of its own it need not hear again
		}
		b.change, b.logged = b.change+1, true
		_, err = b.tx.ExecContext(ctx, `INSERT INTO inbox_changes (id, sink, schema, doc) VALUES ($1, $2, $3, $4)`,
			b.change, s.name, schemas.Version, packed{e})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("write to ticket %s: %w", ref.ID, err)
	}
	return id, nil
}

// add stores c and sets its id, or that of the comment with its key.
func (b *batch) add(ctx context.Context, ticket int64, c *schemas.Comment, closed bool) (repeat bool, err error) {
	key := sql.NullString{String: c.Key, Valid: c.Key != ""}
	err = b.tx.QueryRowContext(ctx, `SELECT id FROM inbox_comments WHERE key = $1`, key).Scan(&c.ID)
	if !errors.Is(err, sql.ErrNoRows) {
		return true, err
	}
	if closed {
		return false, sinks.ErrClosed
	}
	b.comment++
	c.ID = strconv.FormatInt(b.comment, 10)
	_, err = b.tx.ExecContext(ctx, `INSERT INTO inbox_comments (id, ticket, key, schema, doc) VALUES ($1, $2, $3, $4, $5)`,
		b.comment, ticket, key, schemas.Version, packed{c})
	return false, err
}

// read returns the number of the ticket and how it stands; row is that method of
// the transaction or of the database.
func (s *sink) read(ctx context.Context, row func(context.Context, string, ...any) *sql.Row, ref schemas.Ref) (number int64, st standing, err error) {
	// A prefix never ends with a digit, so the digits at the end are the number.
	prefix := strings.TrimRight(ref.ID, "0123456789")
	if number, err = strconv.ParseInt(ref.ID[len(prefix):], 10, 32); err != nil {
		return 0, st, sinks.ErrNotFound
	}
	err = row(ctx, `SELECT standing FROM inbox_tickets WHERE number = $1 AND id = $2 AND sink = $3`,
		number, ref.ID, s.name).Scan(packed{&st})
	if errors.Is(err, sql.ErrNoRows) {
		err = sinks.ErrNotFound
	}
	return number, st, err
}

// Find returns the ticket with key, if there is one.
func (s *sink) Find(ctx context.Context, key string) ([]sinks.Candidate, error) {
	return list(ctx, s, func(c *sinks.Candidate) []any { return []any{&c.Ref.ID, &c.Key} },
		`SELECT id, key FROM inbox_tickets WHERE key = $1 AND sink = $2`, key, s.name)
}

// Thread returns comments, notes and files, oldest first.
func (s *sink) Thread(ctx context.Context, ref schemas.Ref) ([]schemas.Comment, error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	number, _, err := s.read(ctx, s.db.QueryRowContext, ref)
	if err != nil {
		return nil, fmt.Errorf("read ticket %s: %w", ref.ID, err)
	}
	return list(ctx, s, func(c *schemas.Comment) []any { return []any{packed{c}} },
		`SELECT doc FROM inbox_comments WHERE ticket = $1 ORDER BY id`, number)
}

// Catalogue names the queues and agents that tickets have had, and the statuses.
func (s *sink) Catalogue(ctx context.Context) (schemas.Catalogue, error) {
	name := func(n *schemas.Named) []any { return []any{&n.ID, &n.Name} }
	queues, err := list(ctx, s, name, `SELECT DISTINCT queue, queue FROM inbox_tickets WHERE sink = $1 AND queue <> '' ORDER BY 1`, s.name)
	agents, err2 := list(ctx, s, name, `SELECT DISTINCT assignee, assignee FROM inbox_tickets WHERE sink = $1 AND assignee <> '' ORDER BY 1`, s.name)
	c := schemas.Catalogue{Queues: queues, Agents: agents, At: time.Now().UTC()}
	for _, st := range [...]schemas.Status{schemas.StatusNew, schemas.StatusOpen, schemas.StatusPending, schemas.StatusOnHold, schemas.StatusSolved, schemas.StatusClosed} {
		c.Statuses = append(c.Statuses, schemas.Named{ID: string(st), Name: string(st)})
	}
	return c, errors.Join(err, err2)
}

// An entry is what happened to a ticket: a row of inbox_changes, and the body of
// a delivery.
type entry struct {
	Ticket  string           `json:"ticket"`
	By      string           `json:"by,omitempty"`
	At      time.Time        `json:"at"`
	Change  *schemas.Change  `json:"change,omitempty"`
	Comment *schemas.Comment `json:"comment,omitempty"`
}

// Poll returns one delivery per change after cursor, the number of the last one.
func (s *sink) Poll(ctx context.Context, cursor string) (page hook.Page, err error) {
	if cursor == "" {
		_, err = list(ctx, s, func(*struct{}) []any { return []any{&page.Next} }, `SELECT change FROM inbox_seq`)
		return page, err
	}
	after, err := strconv.ParseInt(cursor, 10, 64)
	if err != nil {
		return page, fault.Permanentf("read cursor: %w", err)
	}
	page.Next = cursor
	page.Deliveries, err = list(ctx, s, func(d *hook.Delivery) []any {
		*d = hook.Delivery{
			Method: http.MethodGet, URL: "inbox:", Header: http.Header{"Content-Type": {"application/json"}},
			Via: hook.ViaPoll, ReceivedAt: time.Now().UTC(),
		}
		return []any{&page.Next, &d.Body}
	}, `SELECT id, doc FROM inbox_changes WHERE id > $1 AND sink = $2 ORDER BY id LIMIT $3`, after, s.name, pageSize)
	page.More = len(page.Deliveries) == pageSize
	return page, err
}

// Parse reads a delivery that Poll made.
func (s *sink) Parse(d hook.Delivery) (c sinks.Changes, err error) {
	var e entry
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return c, fault.Permanentf("decode change: %w", err)
	}
	ref := schemas.Ref{ID: e.Ticket}
	switch {
	case e.Ticket == "" || e.Comment != nil && e.Comment.ID == "":
		return c, fault.Permanentf("decode change: an id is missing")
	case e.Comment == nil && e.Change == nil:
		c.Ignored = "nothing changed"
	}
	if e.Comment != nil {
		c.Comments = []sinks.TicketComment{{Ticket: ref, Comment: *e.Comment}}
	}
	if e.Change != nil {
		c.Tickets = []sinks.TicketChange{{Ticket: ref, Change: *e.Change, By: e.By, At: e.At}}
	}
	return c, nil
}

// standing is the part of a ticket that changes.
type standing struct {
	Status   schemas.Status   `json:"status"`
	Priority schemas.Priority `json:"priority"`
	Queue    string           `json:"queue,omitempty"`
	Assignee string           `json:"assignee,omitempty"`
	Tags     []string         `json:"tags,omitempty"`
	Fields   []schemas.Field  `json:"fields,omitempty"`
}

// with returns how the ticket stands after ch, and the part of ch that is news;
// nil when nothing is.
func (s standing) with(ch schemas.Change) (standing, *schemas.Change) {
	var done schemas.Change
	s.Tags, s.Fields = slices.Clone(s.Tags), slices.Clone(s.Fields)
	set(&s.Status, ch.Status, &done.Status)
	set(&s.Priority, ch.Priority, &done.Priority)
	set(&s.Queue, ch.Queue, &done.Queue)
	set(&s.Assignee, ch.Assignee, &done.Assignee)
	for _, tag := range ch.AddTags {
		if !slices.Contains(s.Tags, tag) {
			s.Tags, done.AddTags = append(s.Tags, tag), append(done.AddTags, tag)
		}
	}
	for _, tag := range ch.RemoveTags {
		if i := slices.Index(s.Tags, tag); i >= 0 {
			s.Tags, done.RemoveTags = slices.Delete(s.Tags, i, i+1), append(done.RemoveTags, tag)
		}
	}
	for _, f := range ch.Fields {
		if !slices.Contains(s.Fields, f) {
			s.Fields = slices.DeleteFunc(s.Fields, func(have schemas.Field) bool { return have.Name == f.Name })
			s.Fields, done.Fields = append(s.Fields, f), append(done.Fields, f)
		}
	}
	if reflect.DeepEqual(done, schemas.Change{}) {
		return s, nil
	}
	return s, &done
}

// set brings want into have and tells done, if that is news.
func set[T comparable](have, want *T, done **T) {
	if want != nil && *want != *have {
		*have, *done = *want, new(*want)
	}
}
