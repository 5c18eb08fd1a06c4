package inbox

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	_ "embed" // for the migrations
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"switchboard/adapter/fault"
)

// maxGroup bounds how many writes share a transaction.
const maxGroup = 256

// A group runs writes in few transactions, for every commit waits for the disk.
// Whoever gets the turn commits what waits by then, the others' writes too; what
// comes meanwhile queues for the next. There is no goroutine.
type group struct {
	db *sql.DB
	// changed is called after a commit that has logged changes.
	changed func()
	// turn, of capacity 1, is held by who commits.
	turn chan struct{}

	mu     sync.Mutex // guards queue
	queue  []*write
	making sync.Mutex // guards ready: the tables were seen
	ready  bool
}

// A write is one caller's share of a transaction.
type write struct {
	do   func(ctx context.Context, b *batch) error
	err  error      // what do said, set by who commits
	done chan error // gets one outcome
	gone bool       // its caller has left; guarded by group.mu
}

// A batch is a transaction under way and the last numbers given out in it.
type batch struct {
	tx                      *sql.Tx
	ticket, comment, change int64
	logged                  bool // a change was
}

//go:embed 1.sql
var version1 string

// migrations are the shapes of the tables, oldest first; one is never changed
// once released. Their SQL is what SQLite and Postgres both understand.
var migrations = [...]string{version1}

// prepare brings the tables to the newest shape, all or nothing, at the first
// call that reaches the database.
func (g *group) prepare(ctx context.Context) error {
	g.making.Lock()
	defer g.making.Unlock()
	if g.ready {
		return nil
	}
	tx, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("open inbox: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, before one the error is on its way already
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS inbox_version (version INTEGER PRIMARY KEY)`); err != nil {
		return fmt.Errorf("prepare inbox: %w", err)
	}
	var have int
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(version), 0) FROM inbox_version`).Scan(&have); err != nil {
		return fmt.Errorf("read version of inbox: %w", err)
	}
	if have > len(migrations) {
		return fmt.Errorf("inbox has version %d, this program knows %d: it is older than the data", have, len(migrations))
	}
	for _, script := range migrations[have:] {
		if _, err := tx.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("prepare inbox: %w", err)
		}
	}
	err = tx.Commit()
	g.ready = err == nil
	return err
}

// run performs do in a transaction, alone or with others. The error is NotDone
// unless the commit failed or the caller left during it. do may run more than
// once; its effects count once.
func (g *group) run(ctx context.Context, do func(ctx context.Context, b *batch) error) error {
	if err := g.prepare(ctx); err != nil {
		return fault.NotDone(err)
	}
	w := &write{do: do, done: make(chan error, 1)}
	g.mu.Lock()
	g.queue = append(g.queue, w)
	g.mu.Unlock()
	for {
		select {
		case err := <-w.done:
			return err
		case g.turn <- struct{}{}:
			g.lead(ctx)
			<-g.turn
		case <-ctx.Done():
			g.mu.Lock()
			defer g.mu.Unlock()
			w.gone = true
			if i := slices.Index(g.queue, w); i >= 0 {
				g.queue = slices.Delete(g.queue, i, i+1)
				return fault.NotDone(ctx.Err())
			}
			return ctx.Err()
		}
	}
}

// lead commits the head of the queue. If the leader's ctx ends before the commit,
// its writes go back to the queue, where others wait who can lead.
func (g *group) lead(ctx context.Context) {
	g.mu.Lock()
	writes := slices.Clone(g.queue[:min(len(g.queue), maxGroup)])
	g.queue = slices.Delete(g.queue, 0, len(writes))
	g.mu.Unlock()
	if len(writes) == 0 {
		return
	}
	err := g.commit(ctx, writes)
	if ctx.Err() != nil && fault.IsNotDone(err) {
		g.mu.Lock()
		defer g.mu.Unlock()
		writes = slices.DeleteFunc(writes, func(w *write) bool { return w.gone })
		g.queue = slices.Concat(writes, g.queue)
		return
	}
	for _, w := range writes {
		w.done <- cmp.Or(err, w.err)
	}
}

// commit runs writes in one transaction. The error concerns all of them.
func (g *group) commit(ctx context.Context, writes []*write) error {
	tx, err := g.db.BeginTx(ctx, nil)
	if err != nil {
		return fault.NotDone(fmt.Errorf("begin: %w", err))
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing, before one the error is on its way already
	b := &batch{tx: tx}
	if err := b.fill(ctx, writes); err != nil {
		return fault.NotDone(err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if b.logged {
		g.changed()
	}
	return nil
}

// fill runs writes, each behind a savepoint, so that one that fails takes nobody
// with it.
func (b *batch) fill(ctx context.Context, writes []*write) error {
	if err := b.tx.QueryRowContext(ctx, `UPDATE inbox_seq SET ticket = ticket WHERE one = 1 RETURNING ticket, comment, change`).
		Scan(&b.ticket, &b.comment, &b.change); err != nil {
		return fmt.Errorf("take the writers' turn: %w", err)
	}
	// SQLite's driver watches a ctx that can end with a goroutine per statement.
	quick := context.WithoutCancel(ctx)
	for _, w := range writes {
		before, end := *b, `RELEASE SAVEPOINT inbox_write`
		if _, err := b.tx.ExecContext(quick, `SAVEPOINT inbox_write`); err != nil {
			return fmt.Errorf("set savepoint: %w", err)
		}
		if w.err = fault.NotDone(w.do(quick, b)); w.err != nil {
			*b, end = before, `ROLLBACK TO SAVEPOINT inbox_write; `+end
		}
		// A full disk ends the whole transaction in SQLite, savepoints and all.
		if _, err := b.tx.ExecContext(quick, end); err != nil {
			return errors.Join(w.err, err)
		}
	}
	_, err := b.tx.ExecContext(ctx, `UPDATE inbox_seq SET ticket = $1, comment = $2, change = $3 WHERE one = 1`, b.ticket, b.comment, b.change)
	return err
}

// packed stores what v points to as JSON, and reads it back.
type packed struct{ v any }

// Value encodes.
func (p packed) Value() (driver.Value, error) {
	b, err := json.Marshal(p.v)
	return string(b), fault.Permanent(err)
}

// Scan decodes.
func (p packed) Scan(src any) error { return json.Unmarshal(fmt.Appendf(nil, "%s", src), p.v) }

// list reads all rows of a query; columns says where those of a row go.
func list[T any](ctx context.Context, s *sink, columns func(*T) []any, query string, args ...any) (all []T, err error) {
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read inbox: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one T
		if err := rows.Scan(columns(&one)...); err != nil {
			return nil, fmt.Errorf("read inbox: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
