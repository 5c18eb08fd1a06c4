package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A writer is the one connection that writes, with its statements. Its methods run
// under Ledger.writing.
type writer struct {
	conn *sql.Conn

	seen, findMessages, findOutcomes, findTickets, findTicketRows, findEntries                   bulk
	events, messages, outcomes, people, tickets, entries, text, books, rates, nameRows, seenRows bulk
	// names are those in the table of names.
	names map[name]bool
}

// create makes the tables that are missing.
func (w *writer) create(ctx context.Context) error {
	for _, s := range []string{schema, textSchema, fmt.Sprintf("PRAGMA user_version = %d", version)} {
		if _, err := w.conn.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("create tables: %w", err)
		}
	}
	return nil
}

// thorough says whether deleting a text takes its words out of the index at once
// instead of when the index is merged. It makes every write dear, so that it is on
// only while something is forgotten.
func (w *writer) thorough(ctx context.Context, on int) error {
	if _, err := w.conn.ExecContext(ctx, "INSERT INTO ft(ft, rank) VALUES ('secure-delete', $1)", on); err != nil {
		return fmt.Errorf("set up full text: %w", err)
	}
	return nil
}

func (w *writer) prepare(ctx context.Context) (err error) {
	for _, s := range []struct {
		to *bulk
		t  table
	}{
		{&w.events, eventsTable},
		{&w.messages, messagesTable},
		{&w.outcomes, outcomesTable},
		{&w.people, peopleTable},
		{&w.tickets, ticketsTable},
		{&w.entries, entriesTable},
		{&w.text, textTable},
		{&w.books, booksTable},
		{&w.rates, ratesTable},
		{&w.nameRows, namesTable},
		{&w.seenRows, seenTable},
	} {
		sizes := chunks
		if s.to == &w.text {
			sizes = textChunks
		}
		if *s.to, err = prepare(ctx, w.conn, len(s.t.cols), sizes, s.t.insert); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		to *bulk
		t  table
		by string
	}{
		{&w.seen, seenTable, "ce"},
		{&w.findMessages, messagesTable, "id"},
		{&w.findOutcomes, outcomesTable, "msg"},
		{&w.findTickets, ticketsTable, "id"},
		{&w.findTicketRows, ticketsTable, "n"},
		{&w.findEntries, entriesTable, "key"},
	} {
		*s.to, err = prepare(ctx, w.conn, 1, chunks, func(n int) string {
			return fmt.Sprintf("SELECT %s FROM %s WHERE %s IN (%s)", s.t.list(""), s.t.name, s.by, marks(n))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	for _, b := range []*bulk{
		&w.seen, &w.findMessages, &w.findOutcomes, &w.findTickets, &w.findTicketRows, &w.findEntries, &w.events, &w.messages,
		&w.outcomes, &w.people, &w.tickets, &w.entries, &w.text, &w.books, &w.rates, &w.nameRows, &w.seenRows,
	} {
		b.close()
	}
	return w.conn.Close()
}

// transact runs do in one transaction. It does not end with ctx: a batch is short,
// and a context that can end costs the driver a goroutine for every statement.
func (w *writer) transact(ctx context.Context, do func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := do(ctx)
	if err == nil {
		_, err = w.conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, undo := w.conn.ExecContext(ctx, "ROLLBACK")
		return errors.Join(err, undo)
	}
	return nil
}

func (w *writer) position(ctx context.Context) (p position, err error) {
	var created, us int64
	err = w.conn.QueryRowContext(ctx, "SELECT created, seq, at, skipped FROM checkpoint").Scan(&created, &p.seq, &us, &p.skipped)
	if errors.Is(err, sql.ErrNoRows) {
		return position{}, nil
	}
	if err != nil {
		return position{}, err
	}
	p.created, p.at = time.Unix(0, created).UTC(), at(us)
	return p, nil
}

func (w *writer) checkpoint(ctx context.Context, p position) error {
	// The creation time is kept to the nanosecond, for it is compared.
	_, err := w.conn.ExecContext(ctx, `INSERT INTO checkpoint (one, created, seq, at, skipped) VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (one) DO UPDATE SET created = excluded.created, seq = excluded.seq, at = excluded.at, skipped = excluded.skipped`,
		p.created.UnixNano(), int64(p.seq), micros(p.at), p.skipped)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

func (w *writer) loadNames(ctx context.Context) error {
	w.names = map[name]bool{}
	rows, err := w.conn.QueryContext(ctx, "SELECT kind, name FROM names")
	return each(rows, err, func(rows *sql.Rows) error {
		var n name
		if err := rows.Scan(&n.kind, &n.name); err != nil {
			return err
		}
		w.names[n] = true
		return nil
	})
}

// truncateLog moves the write-ahead log into the file and empties it, so that no
// old page stays behind. While a reader is in the way it says false: try again.
func (w *writer) truncateLog(ctx context.Context) bool {
	ctx = context.WithoutCancel(ctx)
	var busy, pages, moved int
	err := w.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &moved)
	return err == nil && busy == 0
}
