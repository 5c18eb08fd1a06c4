package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"switchboard/schemas"
)

// Story returns everything known of a message or delivery. id is a message's id, "d"
// and a delivery's sequence, a dead letter's id, the vendor's id of a message, a
// ticket's id (its opening message) or a reply's (the message it answers); the
// first of these that fits. ErrNotFound where none does.
func (l *Ledger) Story(ctx context.Context, id string) (s Story, err error) {
	err = l.view(ctx, func(tx *sql.Tx) error {
		m, err := findStory(ctx, tx, id)
		if err != nil {
			return err
		}
		rows, err := flowRows(ctx, tx, []*message{m}, "")
		if err != nil {
			return err
		}
		s.FlowRow, s.Conversation, s.Delivery = rows[0], m.conv, uint64(m.delivery)
		if m.version > 0 {
			s.Version = int(m.version)
		}
		return s.tell(ctx, tx, m)
	})
	if err != nil {
		return Story{}, fmt.Errorf("story of %q: %w", id, err)
	}
	return s, nil
}

// findStory returns the row that id means.
func findStory(ctx context.Context, tx *sql.Tx, id string) (*message, error) {
	if id == "" {
		return nil, ErrNotFound
	}
	for _, tail := range []string{
		" WHERE m.id = $1",
		" WHERE m.id = (SELECT CASE WHEN message <> '' THEN message ELSE 'd' || CAST(delivery AS TEXT) END FROM dead WHERE id = $1)",
	} {
		if ms, err := readMessages(ctx, tx, tail, id); err != nil || len(ms) > 0 {
			return first(ms), err
		}
	}
	if m, err := findVendor(ctx, tx, id); m != nil || err != nil {
		return m, err
	}
	for _, tail := range []string{
		` WHERE m.seq = (SELECT o.msg FROM tickets t JOIN outcomes o ON o.ticket = t.n WHERE t.id = $1 AND o.ticket <> 0
			ORDER BY o.opened DESC, o.msg LIMIT 1)`,
		` WHERE m.seq = (SELECT o.msg FROM entries e JOIN outcomes o ON o.ticket = e.ticket JOIN messages q ON q.seq = o.msg
			WHERE e.key = 'r' || $1 AND o.ticket <> 0 ORDER BY q.at <= e.at DESC, q.at DESC LIMIT 1)`,
		` WHERE m.seq = (SELECT q.seq FROM entries e JOIN messages q ON q.conv = e.conv
			WHERE e.key = 'r' || $1 AND q.conv <> '' AND q.decided <> 0 ORDER BY q.at <= e.at DESC, q.at DESC LIMIT 1)`,
	} {
		if ms, err := readMessages(ctx, tx, tail, id); err != nil || len(ms) > 0 {
			return first(ms), err
		}
	}
	return nil, ErrNotFound
}

func first(ms []*message) *message {
	if len(ms) == 0 {
		return nil
	}
	return ms[0]
}

// findVendor looks for the vendor's id among the messages that have its words.
func findVendor(ctx context.Context, tx *sql.Tx, id string) (*message, error) {
	expr := expression(`"` + id + `"`)
	if expr == "" {
		return nil, nil
	}
	ms, err := readMessages(ctx, tx, " WHERE m.seq IN ("+matches("$1")+") ORDER BY m.seq DESC LIMIT 200", expr)
	if err != nil {
		return nil, err
	}
	seqs := make([]int64, len(ms))
	for i, m := range ms {
		seqs[i] = m.seq
	}
	vendor := map[int64]string{}
	err = decisions(ctx, tx, seqs, func(seq int64, _ string, d *schemas.Decided) { vendor[seq] = d.Message.VendorID })
	for _, m := range ms {
		if vendor[m.seq] == id {
			return m, err
		}
	}
	return nil, err
}

// tell adds the events of the row.
func (s *Story) tell(ctx context.Context, tx *sql.Tx, m *message) error {
	// The message that a duplicate repeats keeps the duplicate's event.
	firstSeq := int64(0)
	if m.of != "" {
		err := tx.QueryRowContext(ctx, "SELECT seq FROM messages WHERE id = $1", m.of).Scan(&firstSeq)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	rows, err := tx.QueryContext(ctx, `SELECT e.kind, e.body FROM events e WHERE e.seq IN (
		SELECT $2 UNION SELECT filed FROM outcomes WHERE msg = $1
		UNION SELECT seq FROM events WHERE msg = $1 AND kind > 2
		UNION SELECT seq FROM events WHERE msg = $3 AND kind > 2 AND kind = 3) ORDER BY e.seq`, m.seq, m.decided, firstSeq)
	return each(rows, err, func(rows *sql.Rows) error {
		var kind int
		var body sql.RawBytes
		if err := rows.Scan(&kind, &body); err != nil {
			return err
		}
		switch kind {
		case decidedEvent, decidedAgain:
			var d schemas.Decided
			if err := json.Unmarshal(body, &d); err != nil {
				return err
			}
			if kind == decidedEvent || d.Version >= s.Version {
				s.Message, s.Classification, s.Decisions, s.Rules = d.Message, d.Classification, d.Decisions, d.Rules
			}
			return nil
		case filedEvent, filedAgain:
			return add(&s.Filed, body)
		case troubleEvent:
			return add(&s.Troubles, body)
		case requestedEvent:
			return add(&s.Requests, body)
		case duplicateEvent:
			var d schemas.Duplicate
			if err := json.Unmarshal(body, &d); err != nil {
				return err
			}
			// A delivery tells of itself, a message of all.
			if m.version != delivered || d.Delivery == uint64(m.delivery) {
				s.Duplicates = append(s.Duplicates, d)
			}
			return nil
		case endedEvent:
			s.Ended = new(schemas.DeliveryEnded)
			return json.Unmarshal(body, s.Ended)
		}
		return fmt.Errorf("event of kind %d", kind)
	})
}

func add[T any](list *[]T, body []byte) error {
	var v T
	err := json.Unmarshal(body, &v)
	*list = append(*list, v)
	return err
}
