package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"switchboard/schemas"
)

// Flow lists messages and deliveries in the order of their events: the newest first,
// or with After those that have changed since, the oldest change first.
func (l *Ledger) Flow(ctx context.Context, q FlowQuery) ([]FlowRow, error) {
	var out []FlowRow
	err := l.view(ctx, func(tx *sql.Tx) error {
		w, order, err := flowWhere(ctx, tx, q)
		if err != nil || w == nil {
			return err
		}
		limit := clamp(q.Limit, 50, 500)
		ms, err := readMessages(ctx, tx, w.String()+order+fmt.Sprintf(" LIMIT %d", limit), w.args...)
		if err != nil {
			return err
		}
		out, err = flowRows(ctx, tx, ms, q.Sink)
		if q.After != 0 {
			slices.SortStableFunc(out, func(a, b FlowRow) int { return cmp.Compare(a.Seq, b.Seq) })
			out = slices.DeleteFunc(out, func(r FlowRow) bool { return r.Seq <= q.After })
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list flow: %w", err)
	}
	return out, nil
}

// flowWhere puts the query as conditions; nil says that nothing can fit.
func flowWhere(ctx context.Context, tx *sql.Tx, q FlowQuery) (w *where, order string, err error) {
	w, order = &where{}, " ORDER BY m.seq DESC"
	if q.After != 0 {
		// Changed rows by their newest event; limited, so that what follows is not
		// skipped but comes with the next call.
		w.and(`m.seq IN (SELECT o.msg FROM outcomes o WHERE o.msg IN
			(SELECT msg FROM events WHERE seq > ? AND msg <> 0 UNION SELECT seq FROM messages WHERE seq > ?) AND o.seq > ?)`,
			int64(q.After), int64(q.After), int64(q.After))
		order = " ORDER BY (SELECT max(o.seq) FROM outcomes o WHERE o.msg = m.seq)"
	}
	if q.Before != "" {
		var seq int64
		err := tx.QueryRowContext(ctx, "SELECT seq FROM messages WHERE id = $1", q.Before).Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, "", nil // forgotten meanwhile
		}
		if err != nil {
			return nil, "", err
		}
		w.and("m.seq < ?", seq)
	}
	if q.Channel != "" {
		w.and("m.channel = ?", q.Channel)
	}
	if q.Text != "" && !searchMessages(w, q.Text) {
		return nil, "", nil
	}
	code := state(slices.Index(outcomeNames[:], q.Outcome))
	switch {
	case q.Outcome != "" && code < 1:
		return nil, "", nil
	case q.Outcome != "" && q.Sink != "":
		w.and(fmt.Sprintf("EXISTS (SELECT 1 FROM outcomes o WHERE o.msg = m.seq AND o.sink = ? AND o.state = %d)", code), q.Sink)
	case q.Sink != "":
		w.and("EXISTS (SELECT 1 FROM outcomes o WHERE o.msg = m.seq AND o.sink = ?)", q.Sink)
	case code == filed:
		w.and(fmt.Sprintf("(SELECT max(o.state) FROM outcomes o WHERE o.msg = m.seq) = %d", code))
	case q.Outcome != "":
		// The rare ones have an index; the number stands in the text for its sake.
		w.and(fmt.Sprintf("m.seq IN (SELECT o.msg FROM outcomes o WHERE o.state = %d)", code))
		w.and(fmt.Sprintf("NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.msg = m.seq AND o.state > %d)", code))
	}
	return w, order, nil
}

// searchMessages narrows to messages that have the words, the id or the ticket;
// false where text has nothing to search for.
func searchMessages(w *where, text string) bool {
	expr, id := expression(text), word(text)
	switch {
	case expr == "" && id == "":
		return false
	case id == "":
		w.conds = append(w.conds, "m.seq IN ("+matches(w.arg(expr))+")")
		return true
	}
	byID := w.arg(id)
	// A union, because a condition with OR would read every row.
	cond := "m.seq IN (SELECT seq FROM messages WHERE id = " + byID +
		" UNION SELECT seq FROM messages WHERE of = " + byID + " AND of <> ''" +
		" UNION SELECT o.msg FROM tickets t JOIN outcomes o ON o.ticket = t.n WHERE t.id = " + byID + " AND o.ticket <> 0"
	if expr != "" {
		cond += " UNION " + matches(w.arg(expr))
	}
	w.conds = append(w.conds, cond+")")
	return true
}

func readMessages(ctx context.Context, tx *sql.Tx, tail string, args ...any) ([]*message, error) {
	var ms []*message
	rows, err := tx.QueryContext(ctx, "SELECT "+messagesTable.list("m.")+" FROM messages m"+tail, args...)
	err = each(rows, err, func(rows *sql.Rows) error {
		m := new(message)
		ms = append(ms, m)
		return m.scan(rows)
	})
	return ms, err
}

// flowRows shows messages with the outcome that speaks for them: the one at sink,
// or the worst.
func flowRows(ctx context.Context, tx *sql.Tx, ms []*message, sink string) ([]FlowRow, error) {
	refs, err := readOutcomes(ctx, tx, ms)
	if err != nil {
		return nil, err
	}
	out := make([]FlowRow, len(ms))
	for i, m := range ms {
		out[i] = flowRow(m, refs, sink)
	}
	return out, nil
}

// readOutcomes fills in the outcomes of ms and returns the tickets they are on.
func readOutcomes(ctx context.Context, tx *sql.Tx, ms []*message) (map[int64]schemas.Ref, error) {
	bySeq := make(map[int64]*message, len(ms))
	seqs := make([]int64, len(ms))
	for i, m := range ms {
		bySeq[m.seq], seqs[i] = m, m.seq
	}
	refs := map[int64]schemas.Ref{}
	var tickets []int64
	err := in(ctx, tx, "SELECT "+outcomesTable.list("")+" FROM outcomes WHERE msg IN", seqs, func(rows *sql.Rows) error {
		o := new(outcome)
		if err := o.scan(rows); err != nil {
			return err
		}
		bySeq[o.msg].outs = append(bySeq[o.msg].outs, o)
		if _, ok := refs[o.ticket]; !ok && o.ticket != 0 {
			refs[o.ticket] = schemas.Ref{}
			tickets = append(tickets, o.ticket)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = in(ctx, tx, "SELECT n, id, url FROM tickets WHERE n IN", tickets, func(rows *sql.Rows) error {
		var n int64
		var ref schemas.Ref
		err := rows.Scan(&n, &ref.ID, &ref.URL)
		refs[n] = ref
		return err
	})
	return refs, err
}

func flowRow(m *message, refs map[int64]schemas.Ref, sink string) FlowRow {
	r := FlowRow{
		ID: m.id, At: at(m.at), Channel: m.channel, Kind: m.kind, Requester: m.requester, Preview: m.preview(),
		Attachments: int(m.attachments), Category: m.category, Urgency: schemas.Urgency(m.urgency),
		Keywords: unlines(m.keywords), Seq: uint64(m.seq),
	}
	var face *outcome
	for _, o := range m.outs {
		r.Seq = max(r.Seq, uint64(o.seq))
		switch {
		case sink != "" && o.sink != sink:
		case face == nil || o.state > face.state:
			face = o
		}
	}
	if face == nil {
		return r
	}
	r.Rule, r.Sink, r.Ticket, r.Opened = face.rule, face.sink, refs[face.ticket], face.opened != 0
	r.Outcome, r.Reason = outcomeNames[face.state], face.reason
	if m.at == 0 {
		r.At = at(face.at)
	} else if face.at > m.at {
		r.Took = time.Duration(face.at-m.at) * time.Microsecond
	}
	return r
}

// Channels returns the names of all channels that events have named, sorted.
func (l *Ledger) Channels(ctx context.Context) ([]string, error) { return l.named(ctx, "channel") }

// Sinks returns the names of all sinks that events have named, sorted.
func (l *Ledger) Sinks(ctx context.Context) ([]string, error) { return l.named(ctx, "sink") }

// Queues returns the names of all queues that tickets were in, sorted.
func (l *Ledger) Queues(ctx context.Context) ([]string, error) { return l.named(ctx, "queue") }

// Assignees returns the names of all agents who had a ticket, sorted.
func (l *Ledger) Assignees(ctx context.Context) ([]string, error) { return l.named(ctx, "assignee") }

func (l *Ledger) named(ctx context.Context, kind string) ([]string, error) {
	var list []string
	rows, err := l.read.QueryContext(ctx, "SELECT name FROM names WHERE kind = $1 ORDER BY name", kind)
	err = each(rows, err, func(rows *sql.Rows) error {
		var s string
		err := rows.Scan(&s)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list names of kind %s: %w", kind, err)
	}
	return list, nil
}
