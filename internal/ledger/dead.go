package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// deadQuery reads dead letters with what the other rows know of them.
const deadQuery = `SELECT d.id, d.stage, d.at, d.message, d.delivery, d.conv,
	CASE WHEN d.channel <> '' THEN d.channel ELSE COALESCE(m.channel, '') END, d.sink,
	COALESCE(m.requester, t.requester, ''),
	CASE WHEN m.seq IS NULL THEN COALESCE(substr(e.text, 1, 160), '') WHEN m.subject <> '' THEN m.subject ELSE m.words END,
	COALESCE(o.rule, ''), d.reason, d.attempts, d.state, d.actor, d.acted
	FROM dead d
	LEFT JOIN messages m ON m.id = d.message AND d.message <> ''
	LEFT JOIN outcomes o ON o.msg = m.seq AND o.sink = d.sink
	LEFT JOIN entries e ON e.key = 'r' || d.reply AND d.reply <> ''
	LEFT JOIN tickets t ON t.n = e.ticket AND e.ticket <> 0`

// Dead lists the dead letters of a state, all for "", the newest first.
func (l *Ledger) Dead(ctx context.Context, state string) ([]DeadRow, error) {
	// A stage is what the letter's own event brings; before it there is nothing to show.
	w := where{conds: []string{"d.stage <> ''"}}
	if state != "" {
		w.and("d.state = ?", state)
	}
	out, err := l.deadRows(ctx, w.String()+" ORDER BY d.at DESC, d.id", w.args...)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return out, nil
}

// DeadLetter returns one dead letter, ErrNotFound where there is none.
func (l *Ledger) DeadLetter(ctx context.Context, id string) (DeadRow, error) {
	out, err := l.deadRows(ctx, " WHERE d.stage <> '' AND d.id = $1", id)
	if err == nil && len(out) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return DeadRow{}, fmt.Errorf("dead letter %q: %w", id, err)
	}
	return out[0], nil
}

func (l *Ledger) deadRows(ctx context.Context, tail string, args ...any) ([]DeadRow, error) {
	var out []DeadRow
	rows, err := l.read.QueryContext(ctx, deadQuery+tail, args...)
	err = each(rows, err, func(rows *sql.Rows) error {
		var r DeadRow
		var when, acted int64
		err := rows.Scan(&r.ID, &r.Stage, &when, &r.Message, &r.Delivery, &r.Conversation, &r.Channel, &r.Sink, &r.Requester, &r.Preview,
			&r.Rule, &r.Reason, &r.Attempts, &r.State, &r.Actor, &acted)
		r.At, r.Acted = at(when), at(acted)
		out = append(out, r)
		return err
	})
	return out, err
}
