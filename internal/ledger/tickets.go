package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"switchboard/schemas"
)

// Tickets lists tickets by their newest entry, with the number of all that fit.
func (l *Ledger) Tickets(ctx context.Context, q TicketQuery) (out []TicketRow, total int, err error) {
	err = l.view(ctx, func(tx *sql.Tx) error {
		w, ok := ticketWhere(q)
		if !ok {
			return nil
		}
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM tickets t"+w.String(), w.args...).Scan(&total); err != nil {
			return err
		}
		order := "t.last_at DESC, t.n DESC"
		if q.Oldest {
			order = "t.last_at, t.n"
		}
		tail := fmt.Sprintf("%s ORDER BY %s LIMIT %d OFFSET %d", w, order, clamp(q.Limit, 50, 200), max(q.Offset, 0))
		ts, err := readTickets(ctx, tx, tail, w.args...)
		out = ticketRows(ts)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list tickets: %w", err)
	}
	return out, total, nil
}

func ticketWhere(q TicketQuery) (*where, bool) {
	w := &where{}
	for _, c := range [...]struct{ col, value string }{
		{"sink", q.Sink}, {"queue", q.Queue}, {"assignee", q.Assignee}, {"status", string(q.Status)},
	} {
		if c.value != "" {
			w.and("t."+c.col+" = ?", c.value)
		}
	}
	if q.Open || q.NeedsAnswer {
		w.and("t.status NOT IN ('solved', 'closed')")
	}
	if q.NeedsAnswer {
		w.and("t.asked > t.answered")
	}
	if q.Text == "" {
		return w, true
	}
	expr, id := expression(q.Text), word(q.Text)
	if expr == "" && id == "" {
		return nil, false
	}
	cond := "t.id = " + w.arg(id)
	if expr != "" {
		cond += " OR t.n IN (SELECT o.ticket FROM outcomes o WHERE o.msg IN (" + matches(w.arg(expr)) + "))"
	}
	w.conds = append(w.conds, "("+cond+")")
	return w, true
}

func readTickets(ctx context.Context, tx *sql.Tx, tail string, args ...any) ([]*ticket, error) {
	var ts []*ticket
	rows, err := tx.QueryContext(ctx, "SELECT "+ticketsTable.list("t.")+" FROM tickets t"+tail, args...)
	err = each(rows, err, func(rows *sql.Rows) error {
		t := new(ticket)
		ts = append(ts, t)
		return t.scan(rows)
	})
	return ts, err
}

func ticketRows(ts []*ticket) []TicketRow {
	out := make([]TicketRow, len(ts))
	for i, t := range ts {
		out[i] = TicketRow{
			Sink: t.sink, Ticket: t.ref(), Subject: t.subject, Requester: t.requester,
			RequesterID: hex.EncodeToString(t.person), LastWords: t.words, LastBy: t.lastBy, LastAt: at(t.lastAt), OpenedAt: at(t.openedAt),
			Channels: unlines(t.channels), Urgency: schemas.Urgency(t.urgency), Priority: schemas.Priority(t.priority),
			Category: t.category, Queue: t.queue, Assignee: t.assignee, Status: schemas.Status(t.status), Tags: unlines(t.tags),
			Messages: int(t.messages), Waiting: t.asked > t.answered,
		}
	}
	return out
}

func (t *ticket) ref() schemas.Ref { return schemas.Ref{ID: t.id, URL: t.url} }

// Ticket returns a ticket with its thread, ErrNotFound where there is none.
func (l *Ledger) Ticket(ctx context.Context, sink, id string) (v TicketView, err error) {
	err = l.view(ctx, func(tx *sql.Tx) error {
		ts, err := readTickets(ctx, tx, " WHERE t.id = $1 AND t.sink = $2", id, sink)
		if err != nil {
			return err
		}
		if len(ts) == 0 {
			return ErrNotFound
		}
		t := ts[0]
		v.TicketRow = ticketRows(ts)[0]
		seqs, err := numbers(ctx, tx, "SELECT msg FROM outcomes WHERE ticket = $1 AND ticket <> 0 ORDER BY msg", t.n)
		if err != nil {
			return err
		}
		th := thread{tx: tx, tickets: map[int64]*ticket{t.n: t}}
		if err := th.messages(ctx, seqs); err != nil {
			return err
		}
		if err := th.comments(ctx, "ticket", t.n); err != nil {
			return err
		}
		v.Conversations, v.Entries, v.Person = th.conversations, th.sorted(), th.person
		if len(seqs) == 0 {
			v.Person = schemas.Requester{Name: t.requester}
			return nil
		}
		v.Others, err = others(ctx, tx, t)
		return err
	})
	if err != nil {
		return TicketView{}, fmt.Errorf("ticket %q at %s: %w", id, sink, err)
	}
	return v, nil
}

// others are the other tickets of the same person.
func others(ctx context.Context, tx *sql.Tx, t *ticket) ([]TicketRow, error) {
	p, err := everything(ctx, tx, t.person)
	if err != nil {
		return nil, err
	}
	ns, err := ticketsOf(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	var ts []*ticket
	err = in(ctx, tx, "SELECT "+ticketsTable.list("")+" FROM tickets WHERE n IN", ns, func(rows *sql.Rows) error {
		o := new(ticket)
		if err := o.scan(rows); err != nil {
			return err
		}
		if o.n != t.n {
			ts = append(ts, o)
		}
		return nil
	})
	slices.SortFunc(ts, func(a, b *ticket) int { return cmp.Compare(b.n, a.n) })
	return ticketRows(ts), err
}

func ticketsOf(ctx context.Context, tx *sql.Tx, msgs []int64) ([]int64, error) {
	var ns []int64
	err := in(ctx, tx, "SELECT DISTINCT ticket FROM outcomes WHERE ticket <> 0 AND msg IN", msgs, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n)
		ns = append(ns, n)
		return err
	})
	slices.Sort(ns)
	return slices.Compact(ns), err
}

// mostOfPerson bounds what is shown of one person: the newest messages.
const mostOfPerson = 1000

// everything returns the messages of a person, oldest first: those of who, of those
// who share an identity with them, and so on. Guessed identities join nobody.
func everything(ctx context.Context, tx *sql.Tx, who []byte) ([]int64, error) {
	known := map[string]bool{string(who): true}
	found := map[int64]bool{}
	for next := [][]byte{who}; len(next) > 0; {
		var fresh []int64
		for _, w := range next {
			seqs, err := numbers(ctx, tx, fmt.Sprintf("SELECT msg FROM people WHERE who = $1 ORDER BY msg DESC LIMIT %d", mostOfPerson), w)
			if err != nil {
				return nil, err
			}
			for _, s := range seqs {
				if !found[s] && len(found) < mostOfPerson {
					found[s] = true
					fresh = append(fresh, s)
				}
			}
		}
		next = nil
		err := decisions(ctx, tx, fresh, func(m int64, conv string, d *schemas.Decided) {
			for _, w := range persons(d.Message.Requester, conv) {
				if !known[string(w)] {
					known[string(w)] = true
					next = append(next, w)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	seqs := make([]int64, 0, len(found))
	for s := range found {
		seqs = append(seqs, s)
	}
	slices.Sort(seqs)
	return seqs, nil
}

// decisions hands the decided events of messages to do, in no order.
func decisions(ctx context.Context, tx *sql.Tx, seqs []int64, do func(seq int64, conv string, d *schemas.Decided)) error {
	return in(ctx, tx, `SELECT m.seq, m.conv, e.body FROM messages m JOIN events e ON e.seq = m.decided
		WHERE m.decided <> 0 AND m.seq IN`, seqs, func(rows *sql.Rows) error {
		var seq int64
		var conv string
		var body sql.RawBytes
		if err := rows.Scan(&seq, &conv, &body); err != nil {
			return err
		}
		var d schemas.Decided
		if err := json.Unmarshal(body, &d); err != nil {
			return err
		}
		do(seq, conv, &d)
		return nil
	})
}

// Timeline returns all that a person wrote and was answered, over all channels and
// desks, oldest first, and what is known of the person. requesterID is that of a
// TicketRow. ErrNotFound where there is nobody.
func (l *Ledger) Timeline(ctx context.Context, requesterID string) (entries []Entry, person schemas.Requester, err error) {
	who, err := hex.DecodeString(requesterID)
	if err != nil {
		return nil, schemas.Requester{}, fmt.Errorf("timeline: %w", ErrNotFound)
	}
	err = l.view(ctx, func(tx *sql.Tx) error {
		seqs, err := everything(ctx, tx, who)
		if err != nil {
			return err
		}
		if len(seqs) == 0 {
			return ErrNotFound
		}
		th := thread{tx: tx, tickets: map[int64]*ticket{}}
		if err := th.messages(ctx, seqs); err != nil {
			return err
		}
		ns, err := ticketsOf(ctx, tx, seqs)
		if err != nil {
			return err
		}
		for _, n := range ns {
			if err := th.comments(ctx, "ticket", n); err != nil {
				return err
			}
		}
		for _, conv := range th.conversations {
			if err := th.comments(ctx, "conv", conv); err != nil {
				return err
			}
		}
		entries, person = th.sorted(), th.person
		return nil
	})
	if err != nil {
		return nil, schemas.Requester{}, fmt.Errorf("timeline: %w", err)
	}
	return entries, person, nil
}
