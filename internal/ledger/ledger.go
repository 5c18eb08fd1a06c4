// Package ledger is the SQL projection of the event stream: what the console, the
// API and the reports read. It reads events and nothing else, decides nothing, and
// its file can be deleted at any time: the events fill it again.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"switchboard/schemas"
)

// An Event is one entry of the audit trail as it stands in the stream.
type Event struct {
	// Seq is its sequence in the stream.
	Seq uint64
	// ID is the ce-id: a repeat has the same.
	ID   string
	Type schemas.EventType
	// Conversation is the token of the subject, "-" or "" for none.
	Conversation string
	Time         time.Time
	// Data is the JSON body. The ledger keeps it: do not change it afterwards.
	Data []byte
}

// Errors that callers act on.
var (
	// ErrNotFound says that the ledger knows nothing under the id.
	ErrNotFound = errors.New("not in the ledger")
	// ErrOtherStream says that the checkpoint belongs to another stream: Reset, and
	// begin with the first event.
	ErrOtherStream = errors.New("the ledger was filled from another stream")
)

// A Ledger is one open projection. All methods may be called concurrently.
type Ledger struct {
	// write has one connection, w is it with its statements; writing guards both.
	write   *sql.DB
	w       writer
	writing sync.Mutex
	// truncate says that the write-ahead log still holds forgotten words.
	truncate bool

	read *sql.DB

	mu       sync.Mutex
	position position
	moved    chan struct{}
	watchers map[chan struct{}]struct{}
}

// A position says how far the projection has come.
type position struct {
	created time.Time
	seq     uint64
	at      time.Time
	skipped int
}

// Open opens the ledger at path, or makes it. A file of another version is removed
// and begins anew.
func Open(ctx context.Context, path string) (*Ledger, error) {
	l, err := open(ctx, path)
	if errors.Is(err, errVersion) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("open ledger: %w", err)
			}
		}
		l, err = open(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger (the file can be deleted, events fill it again): %w", err)
	}
	return l, nil
}

var errVersion = errors.New("file of another version")

func open(ctx context.Context, path string) (*Ledger, error) {
	// There is one writer: it waits for nobody but, when it empties the log, readers.
	wdsn, err := source(path, "busy_timeout(500)", "cache_size(-16000)", "wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	rdsn, err := source(path, "query_only(1)")
	if err != nil {
		return nil, err
	}
	l := &Ledger{moved: make(chan struct{}), watchers: map[chan struct{}]struct{}{}}
	if l.write, err = sql.Open("sqlite", wdsn); err != nil {
		return nil, err
	}
	if err := l.setUp(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if l.read, err = sql.Open("sqlite", rdsn); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.read.SetMaxOpenConns(4)
	return l, nil
}

func (l *Ledger) setUp(ctx context.Context) error {
	conn, err := l.write.Conn(ctx)
	if err != nil {
		return err
	}
	l.w.conn = conn
	var found int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	if found != 0 && found != version {
		return errVersion
	}
	if err := l.w.create(ctx); err != nil {
		return err
	}
	if err := l.w.prepare(ctx); err != nil {
		return err
	}
	if err := l.w.loadNames(ctx); err != nil {
		return err
	}
	l.position, err = l.w.position(ctx)
	return err
}

// Close ends the ledger. Calls in flight end with an error.
func (l *Ledger) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	err := l.w.close()
	if l.write != nil {
		err = errors.Join(err, l.write.Close())
	}
	if l.read != nil {
		err = errors.Join(err, l.read.Close())
	}
	return err
}

// Position returns the creation time of the stream that fills the ledger and the
// sequence of the last event applied, both zero at first. When the stream has
// another creation time, or ends before seq, the caller resets the ledger.
func (l *Ledger) Position(ctx context.Context) (created time.Time, seq uint64, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	p, err := l.w.position(ctx)
	if err != nil {
		return time.Time{}, 0, fmt.Errorf("read checkpoint: %w", err)
	}
	return p.created, p.seq, nil
}

// Reset empties the ledger.
func (l *Ledger) Reset(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	err := l.w.transact(ctx, func(ctx context.Context) error {
		for _, t := range append([]string{"checkpoint"}, dataTables[:]...) {
			if _, err := l.w.conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+t); err != nil {
				return err
			}
		}
		return l.w.create(ctx)
	})
	if err != nil {
		return fmt.Errorf("reset ledger: %w", err)
	}
	l.w.names = map[name]bool{}
	l.truncate = true
	l.wake(position{})
	return nil
}

// AsOf returns the last event that is in the ledger, and when it happened.
func (l *Ledger) AsOf() (seq uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position.seq, l.position.at
}

// Skipped returns how many events were of unknown types or had bodies that could
// not be read.
func (l *Ledger) Skipped() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.position.skipped
}

// Wait returns once the event seq is in the ledger, or with ctx's error.
func (l *Ledger) Wait(ctx context.Context, seq uint64) error {
	for {
		l.mu.Lock()
		there, moved := l.position.seq >= seq, l.moved
		l.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for event %d: %w", seq, ctx.Err())
		}
	}
}

// Subscribe returns a channel that receives after events were applied, once for
// any number of batches that came meanwhile, and a function that ends it.
func (l *Ledger) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers[ch] = struct{}{}
	return ch, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, ch)
	}
}

// wake takes note of the new position and tells everybody who waits for it.
func (l *Ledger) wake(p position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.position = p
	close(l.moved)
	l.moved = make(chan struct{})
	for ch := range l.watchers {
		select {
		case ch <- struct{}{}:
		default: // told already
		}
	}
}

// micros is how times are stored; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at is the reverse of micros.
func at(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
