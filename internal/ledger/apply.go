package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchboard/schemas"
)

// Apply writes events and the checkpoint in one transaction. created is when their
// stream was made; ErrOtherStream says that the ledger was filled from another one.
// Events that are there already are dropped. Those of unknown types and those whose
// bodies cannot be read are counted and skipped, for a projection never stops.
func (l *Ledger) Apply(ctx context.Context, created time.Time, events []Event) (err error) {
	if len(events) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("apply events: %w", err)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	p := l.position
	l.mu.Unlock()
	if p.seq != 0 && !p.created.Equal(created) {
		return ErrOtherStream
	}
	p.created = created
	if slices.ContainsFunc(events, func(e Event) bool { return e.Type == schemas.EventForgotten }) {
		if err := l.w.thorough(ctx, 1); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.w.thorough(context.WithoutCancel(ctx), 0)) }()
	}
	err = l.w.transact(ctx, func(ctx context.Context) error {
		return l.apply(ctx, &p, events)
	})
	if err != nil {
		// Names learned in the transaction are not in the table.
		return errors.Join(fmt.Errorf("apply events from %d: %w", events[0].Seq, err), l.w.loadNames(context.WithoutCancel(ctx)))
	}
	if l.truncate {
		l.truncate = !l.w.truncateLog(ctx)
	}
	l.wake(p)
	return nil
}

func (l *Ledger) apply(ctx context.Context, p *position, events []Event) error {
	fresh, skipped, err := l.w.fresh(ctx, events)
	if err != nil {
		return err
	}
	p.skipped += skipped
	for _, e := range events {
		if e.Seq > p.seq {
			p.seq, p.at = e.Seq, e.Time.UTC()
		}
	}
	for len(fresh) > 0 {
		// An erasure takes everything before it and nothing after it.
		n := slices.IndexFunc(fresh, func(c change) bool { return c.Type == schemas.EventForgotten })
		if n == 0 {
			if err := l.w.forget(ctx, fresh[0]); err != nil {
				return err
			}
			l.truncate = true
			// What was erased may come once more in this very batch.
			if fresh, err = l.w.unseen(ctx, fresh[1:]); err != nil {
				return err
			}
			continue
		}
		if n < 0 {
			n = len(fresh)
		}
		if err := l.w.project(ctx, fresh[:n]); err != nil {
			return err
		}
		fresh = fresh[n:]
	}
	return l.w.checkpoint(ctx, *p)
}

// A change is an event that was read and is not in the ledger.
type change struct {
	Event
	ce   []byte
	body any
}

// fresh reads the events and leaves out those that the ledger has seen. A repeated
// Decided or Filed is left to the rows: they know what is decided and filed.
func (w *writer) fresh(ctx context.Context, events []Event) (fresh []change, skipped int, err error) {
	fresh = make([]change, len(events))
	for i, e := range events {
		sum := sha256.Sum256([]byte(e.ID))
		fresh[i] = change{Event: e, ce: sum[:16]}
	}
	if fresh, err = w.unseen(ctx, fresh); err != nil {
		return nil, 0, err
	}
	read := fresh[:0]
	for _, c := range fresh {
		var ok bool
		if c.body, ok = decode(c.Event); !ok || c.ID == "" {
			skipped++
			continue
		}
		read = append(read, c)
	}
	return read, skipped, nil
}

// unseen leaves out those changes that were seen before, or come twice.
func (w *writer) unseen(ctx context.Context, changes []change) ([]change, error) {
	type ce [16]byte
	known := make(map[ce]bool, len(changes))
	keys := make([]any, len(changes))
	for i, c := range changes {
		keys[i] = c.ce
	}
	err := w.seen.query(ctx, keys, func(rows *sql.Rows) error {
		var id sql.RawBytes
		if err := rows.Scan(&id); err != nil {
			return err
		}
		known[ce(id)] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	fresh := make([]change, 0, len(changes))
	for _, c := range changes {
		if known[ce(c.ce)] {
			continue
		}
		known[ce(c.ce)] = true
		fresh = append(fresh, c)
	}
	return fresh, nil
}

// decode reads the body of an event; false for what is not understood.
func decode(e Event) (any, bool) {
	switch e.Type {
	case schemas.EventDecided:
		return body(e, func(d *schemas.Decided) bool { return d.Message.ID != "" })
	case schemas.EventDuplicate:
		return body(e, func(d *schemas.Duplicate) bool { return d.Delivery != 0 })
	case schemas.EventIgnored, schemas.EventRefused, schemas.EventDeadDelivery:
		return body(e, func(*schemas.DeliveryEnded) bool { return true })
	case schemas.EventFiled:
		return body(e, func(f *schemas.Filed) bool { return f.Message != "" && f.Ticket.ID != "" })
	case schemas.EventRetrying, schemas.EventDead:
		return body(e, func(t *schemas.Trouble) bool { return t.Message != "" })
	case schemas.EventRetry:
		return body(e, func(r *schemas.Requested) bool { return r.Dead != "" })
	case schemas.EventTicket:
		return body(e, func(t *schemas.TicketChanged) bool { return t.Ticket.ID != "" })
	case schemas.EventComment:
		return body(e, func(c *schemas.Commented) bool { return c.Ticket.ID != "" })
	case schemas.EventReply:
		return body(e, func(r *schemas.Replied) bool { return r.Reply != "" })
	case schemas.EventReceipt:
		return body(e, func(*schemas.Receipted) bool { return true })
	case schemas.EventForgotten:
		return body(e, func(f *schemas.Forgot) bool { return f.Conversation != "" })
	case schemas.EventHealth:
		return body(e, func(h *schemas.HealthChanged) bool { return h.Side != "" && h.Name != "" })
	}
	return nil, false
}

// body decodes e into a new T; whole says that it has what the ledger needs.
func body[T any](e Event, whole func(*T) bool) (any, bool) {
	v := new(T)
	if json.Unmarshal(e.Data, v) != nil || !whole(v) {
		return nil, false
	}
	return v, true
}

// A batch is what a run of events does to the rows: those that the events name are
// loaded in few statements, changed in memory, and written in few statements.
type batch struct {
	w        *writer
	messages map[string]*message
	order    []*message // as they were first named
	tickets  map[ticketKey]*ticket
	torder   []*ticket
	entries  map[string]*entry
	eorder   []*entry
	tally    tally
	last     map[name]int64
	letters  map[string]letter

	events, seen, text, people, names []any
	// later are statements on small tables, run after the rows are written.
	later []statement
}

type ticketKey struct{ sink, id string }

// A name is one that filters offer, or one side of the house: kind and name.
type name struct{ kind, name string }

type statement struct {
	sql  string
	args []any
}

func (b *batch) then(sql string, args ...any) {
	b.later = append(b.later, statement{sql, args})
}

// project applies changes, none of which is an erasure.
func (w *writer) project(ctx context.Context, changes []change) error {
	b := &batch{
		w: w, messages: make(map[string]*message, len(changes)), tickets: make(map[ticketKey]*ticket, len(changes)),
		entries: map[string]*entry{}, tally: newTally(), last: map[name]int64{}, letters: map[string]letter{},
		events: make([]any, 0, len(eventsTable.cols)*len(changes)), text: make([]any, 0, len(textTable.cols)*len(changes)),
		people: make([]any, 0, len(peopleTable.cols)*len(changes)),
	}
	if err := b.load(ctx, changes); err != nil {
		return fmt.Errorf("load rows: %w", err)
	}
	newest := int64(0)
	for _, c := range changes {
		if err := b.reduce(ctx, c); err != nil {
			return fmt.Errorf("%s at %d: %w", c.Type, c.Seq, err)
		}
		newest = max(newest, micros(c.Time))
	}
	if err := b.flush(ctx); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	// Rates are asked for of the last day only.
	if _, err := w.conn.ExecContext(ctx, "DELETE FROM rates WHERE minute > 0 AND minute < $1", newest/minute-2*24*60); err != nil {
		return fmt.Errorf("prune rates: %w", err)
	}
	return nil
}

// load fetches the rows that changes name.
func (b *batch) load(ctx context.Context, changes []change) error {
	n := named{seen: make(map[string]bool, 2*len(changes))}
	for _, c := range changes {
		n.add(c)
	}
	bySeq := map[int64]*message{}
	var seqs []any
	err := b.w.findMessages.query(ctx, n.messages, func(rows *sql.Rows) error {
		m := new(message)
		if err := m.scan(rows); err != nil {
			return err
		}
		b.messages[m.id], bySeq[m.seq] = m, m
		b.order = append(b.order, m)
		seqs = append(seqs, m.seq)
		return nil
	})
	if err != nil {
		return err
	}
	err = b.w.findOutcomes.query(ctx, seqs, func(rows *sql.Rows) error {
		o := new(outcome)
		if err := o.scan(rows); err != nil {
			return err
		}
		m := bySeq[o.msg]
		m.outs = append(m.outs, o)
		return nil
	})
	if err != nil {
		return err
	}
	for _, m := range b.order {
		b.tally.count(m, -1)
	}
	if err := b.w.findTickets.query(ctx, n.tickets, b.addTicket); err != nil {
		return err
	}
	return b.w.findEntries.query(ctx, n.entries, func(rows *sql.Rows) error {
		e := new(entry)
		if err := e.scan(rows); err != nil {
			return err
		}
		b.entries[e.key] = e
		b.eorder = append(b.eorder, e)
		return nil
	})
}

func (b *batch) addTicket(rows *sql.Rows) error {
	t := new(ticket)
	if err := t.scan(rows); err != nil {
		return err
	}
	key := ticketKey{t.sink, t.id}
	if b.tickets[key] == nil {
		b.tickets[key] = t
		b.torder = append(b.torder, t)
	}
	return nil
}

// A named gathers the keys of the rows that events touch, each once.
type named struct {
	seen                       map[string]bool
	messages, tickets, entries []any
}

func (n *named) once(kind, id string, to []any) []any {
	if id == "" || n.seen[kind+id] {
		return to
	}
	n.seen[kind+id] = true
	return append(to, id)
}

func (n *named) message(id string) { n.messages = n.once("m", id, n.messages) }
func (n *named) ticket(id string)  { n.tickets = n.once("t", id, n.tickets) }
func (n *named) entry(key string)  { n.entries = n.once("e", key, n.entries) }

func (n *named) add(c change) {
	switch v := c.body.(type) {
	case *schemas.Decided:
		n.message(v.Message.ID)
	case *schemas.Duplicate:
		n.message(deliveryID(v.Delivery, c.Seq))
		n.message(v.Message)
	case *schemas.DeliveryEnded:
		n.message(deliveryID(v.Delivery, c.Seq))
	case *schemas.Filed:
		n.message(v.Message)
		n.ticket(v.Ticket.ID)
	case *schemas.Trouble:
		n.message(v.Message)
	case *schemas.Requested:
		n.message(v.Message)
	case *schemas.TicketChanged:
		n.ticket(v.Ticket.ID)
	case *schemas.Commented:
		n.ticket(v.Ticket.ID)
		n.entry(commentKey(v, c.Seq))
	case *schemas.Replied:
		n.ticket(v.Ticket.ID)
		n.entry("r" + v.Reply)
	case *schemas.Receipted:
		n.entry("r" + v.Reply)
	}
}

// flush writes all that changed.
func (b *batch) flush(ctx context.Context) error {
	messages := make([]any, 0, len(b.order)*len(messagesTable.cols))
	outcomes := make([]any, 0, len(b.order)*len(outcomesTable.cols))
	tickets := make([]any, 0, len(b.torder)*len(ticketsTable.cols))
	entries := make([]any, 0, len(b.eorder)*len(entriesTable.cols))
	for _, m := range b.order {
		b.tally.count(m, 1)
		if m.dirty {
			messages = m.args(messages)
		}
		for _, o := range m.outs {
			if o.dirty {
				outcomes = o.args(outcomes)
			}
		}
	}
	for _, t := range b.torder {
		if t.dirty {
			tickets = t.args(tickets)
		}
	}
	for _, e := range b.eorder {
		if e.dirty {
			entries = e.args(entries)
		}
	}
	books, rates := b.tally.args()
	for _, x := range []struct {
		bulk *bulk
		args []any
	}{
		{&b.w.seenRows, b.seen},
		{&b.w.events, b.events},
		{&b.w.messages, messages},
		{&b.w.outcomes, outcomes},
		{&b.w.people, b.people},
		{&b.w.tickets, tickets},
		{&b.w.entries, entries},
		{&b.w.text, b.text},
		{&b.w.books, books},
		{&b.w.rates, rates},
		{&b.w.nameRows, b.names},
	} {
		if err := x.bulk.exec(ctx, x.args); err != nil {
			return err
		}
	}
	for side, at := range b.last {
		b.then(`INSERT INTO health (side, name, state, reason, at, last) VALUES ($1, $2, '', '', 0, $3)
			ON CONFLICT (side, name) DO UPDATE SET last = excluded.last WHERE excluded.last > health.last`, side.kind, side.name, at)
	}
	for _, s := range b.later {
		if _, err := b.w.conn.ExecContext(ctx, s.sql, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// args returns the rows of both tables; what added up to nothing is left out.
func (y tally) args() (books, rates []any) {
	for k, n := range y.books {
		if n != 0 {
			books = append(books, k.minute, int64(k.state), n)
		}
	}
	for k, n := range y.rates {
		if n != 0 {
			rates = append(rates, k.minute, k.side, k.name, k.what, n)
		}
	}
	return books, rates
}
