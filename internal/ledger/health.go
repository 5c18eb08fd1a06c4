package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"
)

// sides are the rows of Health while they are read.
type sides struct {
	rows map[name]*HealthRow
	// took are the durations of the last hour by bucket.
	took map[name]map[int64]int
}

func (s *sides) row(n name) *HealthRow {
	if s.rows[n] == nil {
		s.rows[n] = &HealthRow{Side: n.kind, Name: n.name, State: "ok"}
		s.took[n] = map[int64]int{}
	}
	return s.rows[n]
}

// Health tells how every channel and sink that events have named is doing at now.
// Half and P99 are rounded up, by a fifth at most.
func (l *Ledger) Health(ctx context.Context, now time.Time) ([]HealthRow, error) {
	s := sides{rows: map[name]*HealthRow{}, took: map[name]map[int64]int{}}
	err := l.view(ctx, func(tx *sql.Tx) error {
		if err := s.states(ctx, tx); err != nil {
			return err
		}
		return s.rates(ctx, tx, now)
	})
	if err != nil {
		return nil, fmt.Errorf("read health: %w", err)
	}
	out := make([]HealthRow, 0, len(s.rows))
	for n, r := range s.rows {
		r.Half, r.P99 = share(s.took[n], 0.5), share(s.took[n], 0.99)
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b HealthRow) int { return cmp.Or(cmp.Compare(a.Side, b.Side), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

func (s *sides) states(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT kind, name, '', '', 0 FROM names WHERE kind IN ('channel', 'sink')
		UNION ALL SELECT side, name, state, reason, last FROM health`)
	return each(rows, err, func(rows *sql.Rows) error {
		var n name
		var state, reason string
		var last int64
		if err := rows.Scan(&n.kind, &n.name, &state, &reason, &last); err != nil {
			return err
		}
		r := s.row(n)
		r.Reason, r.Last = reason, at(last)
		if state != "" {
			r.State = state
		}
		return nil
	})
}

func (s *sides) rates(ctx context.Context, tx *sql.Tx, now time.Time) error {
	hour, day := micros(now.Add(-time.Hour))/minute, micros(now.Add(-24*time.Hour))/minute
	rows, err := tx.QueryContext(ctx, `SELECT side, name, what, SUM(CASE WHEN minute > $1 OR minute = 0 THEN n ELSE 0 END), SUM(n)
		FROM rates WHERE minute > $2 OR minute = 0 GROUP BY side, name, what`, hour, day)
	return each(rows, err, func(rows *sql.Rows) error {
		var n name
		var what int64
		var lastHour, lastDay int
		if err := rows.Scan(&n.kind, &n.name, &what, &lastHour, &lastDay); err != nil {
			return err
		}
		r := s.row(n)
		switch what {
		case received:
			r.LastHour, r.LastDay = lastHour, lastDay
		case waitingNow:
			r.Waiting = lastHour
		default:
			s.took[n][what] = lastHour
		}
		return nil
	})
}

// share returns the duration within which that part of the buckets falls.
func share(buckets map[int64]int, part float64) time.Duration {
	all := 0
	for _, n := range buckets {
		all += n
	}
	if all <= 0 {
		return 0
	}
	sum := 0
	keys := slices.Sorted(maps.Keys(buckets))
	for _, b := range keys {
		sum += buckets[b]
		if float64(sum) >= part*float64(all) {
			return time.Duration(bound(b)) * time.Microsecond
		}
	}
	return time.Duration(bound(keys[len(keys)-1])) * time.Microsecond
}

// Counts returns the books since a time, rounded down to its minute; the zero time
// asks for all of them.
func (l *Ledger) Counts(ctx context.Context, since time.Time) (Counts, error) {
	from := int64(0)
	if !since.IsZero() {
		from = micros(since) / minute
	}
	var c Counts
	rows, err := l.read.QueryContext(ctx, "SELECT state, SUM(n) FROM books WHERE minute >= $1 GROUP BY state", from)
	err = each(rows, err, func(rows *sql.Rows) error {
		var s state
		var n int
		if err := rows.Scan(&s, &n); err != nil {
			return err
		}
		c.Accepted += n
		switch s {
		case filed:
			c.Filed = n
		case duplicate:
			c.Duplicate = n
		case ignored:
			c.Ignored = n
		case dead:
			c.Dead = n
		case dropped:
			c.Dropped = n
		case waiting:
			c.Waiting = n
		case forgotten:
			c.Forgotten = n
		}
		return nil
	})
	if err != nil {
		return Counts{}, fmt.Errorf("read books: %w", err)
	}
	return c, nil
}
