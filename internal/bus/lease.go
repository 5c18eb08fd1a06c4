package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The times of a lease (protocol §3). Nobody compares wall clocks: another owner
// may take over after seeing the same revision for lapse on its own monotonic
// clock, and the owner, who renews every renew, starts nothing once its last
// renewal is older than start.
type leaseTimes struct{ renew, start, lapse time.Duration }

// A Lease says that this process owns a unit: a channel, a sink, the janitor.
type Lease struct {
	b     *Bus
	unit  string
	epoch uint64
	lost  chan struct{}
	once  sync.Once
	stop  context.CancelFunc // ends renewing
	abort context.CancelFunc // ends the renewal under way
	wg    sync.WaitGroup

	revision uint64
	renewed  atomic.Int64 // monotonic nanoseconds since base
}

type leaseRecord struct {
	Schema int    `json:"schema"`
	Owner  string `json:"owner"`
	Beat   uint64 `json:"beat"`
}

var base = time.Now() //nolint:gochecknoglobals // the zero of the monotonic clock, never written

func monotonic() time.Duration { return time.Since(base) }

// Lease waits until this process owns the unit, or ctx ends. With an embedded
// broker the lock on the data directory proves that nobody else does, so the
// lease is had at once and never lost.
func (b *Bus) Lease(ctx context.Context, unit string) (*Lease, error) {
	key := "lease." + unit
	bucket := b.Bucket(Cursors)
	var seen uint64
	var since time.Duration
	for beat := uint64(1); ; beat++ {
		record, err := json.Marshal(leaseRecord{Schema: 1, Owner: b.owner, Beat: beat})
		if err != nil {
			return nil, err
		}
		e, err := bucket.Get(ctx, key)
		var current leaseRecord
		switch {
		case errors.Is(err, ErrNotFound):
			e.Revision = 0
		case err != nil:
			return nil, fmt.Errorf("take lease of %s: %w", unit, err)
		default:
			// An unreadable record counts as another owner's: its revision lapses.
			_ = json.Unmarshal(e.Value, &current)
		}
		if e.Revision != seen || since == 0 {
			seen, since = e.Revision, monotonic()
		}
		free := e.Revision == 0 || current.Owner == "" || b.Embedded() || monotonic()-since >= b.times.lapse
		if free {
			started := monotonic()
			epoch, err := bucket.Update(ctx, key, record, e.Revision)
			if err == nil {
				return b.hold(unit, epoch, started), nil
			}
			if !errors.Is(err, ErrConflict) {
				return nil, fmt.Errorf("take lease of %s: %w", unit, err)
			}
		}
		if !wait(ctx, b.times.renew/2) {
			return nil, ctx.Err()
		}
	}
}

func (b *Bus) hold(unit string, epoch uint64, started time.Duration) *Lease {
	ctx, stop := context.WithCancel(context.Background())
	beats, abort := context.WithCancel(context.Background())
	l := &Lease{b: b, unit: unit, epoch: epoch, revision: epoch, lost: make(chan struct{}), stop: stop, abort: abort}
	l.renewed.Store(int64(started))
	if !b.Embedded() {
		l.wg.Go(func() { l.renew(ctx, beats) })
	}
	return l
}

// renew writes a beat every now and then until ctx ends; the beat under way then
// goes on, for Release must know its revision. A broker that does not answer
// until the lease has lapsed has lost it.
func (l *Lease) renew(ctx, beats context.Context) {
	bucket := l.b.Bucket(Cursors)
	for beat := uint64(1 << 32); wait(ctx, l.b.times.renew); beat++ {
		record, err := json.Marshal(leaseRecord{Schema: 1, Owner: l.b.owner, Beat: beat})
		if err != nil {
			continue
		}
		started := monotonic()
		limit, cancel := context.WithTimeout(beats, time.Duration(l.renewed.Load())+l.b.times.lapse-started)
		revision, err := bucket.Update(limit, "lease."+l.unit, record, l.revision)
		cancel()
		switch {
		case err == nil:
			l.revision = revision
			l.renewed.Store(int64(started))
		case errors.Is(err, ErrConflict):
			l.lose()
			return
		case monotonic()-time.Duration(l.renewed.Load()) >= l.b.times.lapse:
			l.lose()
			return
		}
	}
}

func (l *Lease) lose() { l.once.Do(func() { close(l.lost) }) }

// Epoch rises with every owner of the unit; records carry it to fence.
func (l *Lease) Epoch() uint64 { return l.epoch }

// Lost is closed when another process may own the unit.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Start reports whether a write to a vendor may be started now.
func (l *Lease) Start() bool {
	return l.b.Embedded() || monotonic()-time.Duration(l.renewed.Load()) < l.b.times.start
}

// Release lets another process take the unit at once. Work under way must have
// ended. ctx bounds the wait for a broker that does not answer.
func (l *Lease) Release(ctx context.Context) error {
	l.stop()
	defer context.AfterFunc(ctx, l.abort)()
	l.wg.Wait()
	l.abort()
	l.lose()
	if l.b.Embedded() {
		return nil
	}
	record, err := json.Marshal(leaseRecord{Schema: 1})
	if err != nil {
		return err
	}
	_, err = l.b.Bucket(Cursors).Update(ctx, "lease."+l.unit, record, l.revision)
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("release lease of %s: %w", l.unit, err)
	}
	return nil
}
