package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"switchboard/schemas"
)

// forget erases the conversation of c with every word of it, and leaves a number.
// The ids of its events stay, as digests: a repeat must not bring it back.
func (w *writer) forget(ctx context.Context, c change) error {
	f, ok := c.body.(*schemas.Forgot)
	if !ok {
		return fmt.Errorf("forget: body is %T", c.body)
	}
	b := &batch{w: w, messages: map[string]*message{}, tally: newTally(), last: map[name]int64{}}
	b.seen = append(b.seen, c.ce)
	var seqs []int64
	tickets := map[int64]bool{}
	rows, err := w.conn.QueryContext(ctx, "SELECT id FROM messages WHERE conv = $1 AND conv <> ''", f.Conversation)
	var ids []string
	err = each(rows, err, func(rows *sql.Rows) error {
		var id string
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	for _, id := range ids {
		// loadOne takes the row out of the counts.
		m, err := b.loadOne(ctx, id)
		if err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		seqs = append(seqs, m.seq)
		for _, o := range m.outs {
			tickets[o.ticket] = true
		}
		if err := w.forgetWords(ctx, m); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
	}
	if err := w.forgetRows(ctx, f.Conversation, ids, seqs); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	if err := w.forgetTickets(ctx, tickets); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	// Messages that came twice are among the deliveries, deliveries with several
	// messages among the messages; after a rebuild nobody knows better.
	b.tally.books[bookKey{micros(f.At) / minute, forgotten}] += int64(max(f.Messages, f.Deliveries))
	b.order = nil // they are gone, not to be counted again
	return b.flush(ctx)
}

// forgetWords takes a message out of the full-text index and of the people.
func (w *writer) forgetWords(ctx context.Context, m *message) error {
	if m.decided == 0 {
		return nil
	}
	var data []byte
	if err := w.conn.QueryRowContext(ctx, "SELECT body FROM events WHERE seq = $1", m.decided).Scan(&data); err != nil {
		return err
	}
	var d schemas.Decided
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	if _, err := w.conn.ExecContext(ctx, deleteText, m.seq, document(&d.Message)); err != nil {
		return err
	}
	for _, who := range persons(d.Message.Requester, m.conv) {
		if _, err := w.conn.ExecContext(ctx, "DELETE FROM people WHERE who = $1 AND msg = $2", who, m.seq); err != nil {
			return err
		}
	}
	return nil
}

// storied selects the events of the message $1.
const storied = `SELECT decided FROM messages WHERE seq = $1 UNION SELECT filed FROM outcomes WHERE msg = $1
	UNION SELECT seq FROM events WHERE msg = $1 AND kind > 2`

// forgetRows deletes the rows of the messages, with numbers seqs, and of what else
// the conversation has.
func (w *writer) forgetRows(ctx context.Context, conv string, ids []string, seqs []int64) error {
	for i, seq := range seqs {
		for _, q := range []string{
			"INSERT INTO seen (ce) SELECT ce FROM events WHERE seq IN (" + storied + ") ON CONFLICT (ce) DO NOTHING",
			"DELETE FROM events WHERE seq IN (" + storied + ")",
			"DELETE FROM outcomes WHERE msg = $1",
			"DELETE FROM messages WHERE seq = $1",
		} {
			if _, err := w.conn.ExecContext(ctx, q, seq); err != nil {
				return err
			}
		}
		if _, err := w.conn.ExecContext(ctx, "DELETE FROM dead WHERE message = $1 AND message <> ''", ids[i]); err != nil {
			return err
		}
	}
	for _, q := range []string{
		"DELETE FROM entries WHERE conv = $1 AND conv <> ''",
		"DELETE FROM dead WHERE conv = $1 AND conv <> ''",
	} {
		if _, err := w.conn.ExecContext(ctx, q, conv); err != nil {
			return err
		}
	}
	return nil
}

// forgetTickets deletes the tickets that no message of another conversation is on.
// On the others, what they show of the conversation is replaced by what is left.
func (w *writer) forgetTickets(ctx context.Context, tickets map[int64]bool) error {
	for n := range tickets {
		if n == 0 {
			continue
		}
		var left int
		err := w.conn.QueryRowContext(ctx, "SELECT count(*) FROM outcomes WHERE ticket = $1 AND ticket <> 0", n).Scan(&left)
		if err != nil {
			return err
		}
		if left > 0 {
			if err := w.redraw(ctx, n, left); err != nil {
				return err
			}
			continue
		}
		for _, q := range []string{
			"DELETE FROM entries WHERE ticket = $1 AND ticket <> 0",
			"DELETE FROM tickets WHERE n = $1",
		} {
			if _, err := w.conn.ExecContext(ctx, q, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// redraw makes the row of a ticket anew from the messages and comments that are left.
func (w *writer) redraw(ctx context.Context, n int64, left int) error {
	_, err := w.conn.ExecContext(ctx, `UPDATE tickets SET messages = $2,
		(subject, requester, person, category) = (SELECT CASE WHEN m.subject <> '' THEN m.subject ELSE m.words END, m.requester, m.person, m.category
			FROM outcomes o JOIN messages m ON m.seq = o.msg WHERE o.ticket = $1 AND o.ticket <> 0 ORDER BY o.opened DESC, m.seq LIMIT 1),
		(words, last_by, last_at, asked) = (SELECT CASE WHEN m.words <> '' THEN m.words ELSE m.subject END, m.requester, m.at, m.at
			FROM outcomes o JOIN messages m ON m.seq = o.msg WHERE o.ticket = $1 AND o.ticket <> 0 ORDER BY m.at DESC LIMIT 1)
		WHERE n = $1`, n, left)
	if err != nil {
		return err
	}
	// A comment that is newer than all of them.
	_, err = w.conn.ExecContext(ctx, `UPDATE tickets SET (words, last_by, last_at) =
		(SELECT substr(e.text, 1, 160), e.author, e.at FROM entries e WHERE e.ticket = $1 AND e.ticket <> 0 AND e.kind IN ('reply', 'note', 'message')
			ORDER BY e.at DESC LIMIT 1)
		WHERE n = $1 AND last_at < (SELECT max(e.at) FROM entries e WHERE e.ticket = $1 AND e.ticket <> 0 AND e.kind IN ('reply', 'note', 'message'))`, n)
	return err
}

// Holds counts the rows that the ledger has of a conversation.
func (l *Ledger) Holds(ctx context.Context, conversation string) (int, error) {
	var n int
	err := l.read.QueryRowContext(ctx, `SELECT
		(SELECT count(*) FROM messages WHERE conv = $1 AND conv <> '') +
		(SELECT count(*) FROM entries WHERE conv = $1 AND conv <> '') +
		(SELECT count(*) FROM dead WHERE conv = $1 AND conv <> '')`, conversation).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count rows of conversation: %w", err)
	}
	return n, nil
}
