// Package delivery runs sinks: it takes jobs, one lane per conversation, and
// makes each message exactly one entry on exactly one ticket, by the steps of
// docs/protocol.md §4 to §7. It takes changes back from the desk, too.
package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// Options are what a Delivery needs.
type Options struct {
	Bus     *bus.Bus
	Tokens  record.Tokens
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	// Channel returns an open channel by name, nil when there is none.
	Channel func(name string) *channels.Opened
	// Recovered says that a backup was restored, so that the desk may know more than
	// we do: every create and append looks first. nil means never.
	Recovered func() bool
	// FileURL returns where an agent can open the nth file, from 0, of a message.
	FileURL func(mid string, n int) string
}

// Settings are what the configuration says of one sink.
type Settings struct {
	// Settle is how long the desk may still commit what it has received; 0 takes the
	// kind's.
	Settle time.Duration
	// Hold stops a conversation behind a dead letter until a person decides.
	Hold bool
	// Concurrency is how many calls may be under way; 0 takes the kind's.
	Concurrency int
}

// Health is told how a sink does; reason is "" when it does well.
type Health func(state, reason string)

// A Delivery is safe for concurrent use.
type Delivery struct{ o Options }

// New returns a Delivery.
func New(o Options) *Delivery { return &Delivery{o: o} }

// A desk is one sink under one lease.
type desk struct {
	o      Options
	s      *sinks.Opened
	set    Settings
	lease  *bus.Lease
	log    *slog.Logger
	gate   *gate
	health Health
	n      atomic.Uint64
	slots  chan struct{} // one for each call under way

	mu     sync.Mutex
	calls  map[string][]schemas.Call // of messages under way
	seen   map[string]time.Time      // when this process first saw an unclear operation
	clear  map[string]bool           // operations that certainly were not done
	doubts map[string]bool           // those whose repeat the desk refused: look before the next
}

// defaultConcurrency is how many calls may be under way where nobody says.
const defaultConcurrency = 64

// JobsUnit and BackUnit name a sink's readers.
func JobsUnit(sink string) string { return "sink." + sink }

// BackUnit names the reader of what comes back.
func BackUnit(sink string) string { return "back." + sink }

// Run reads the jobs of a sink and what comes back from it. It needs the sink's
// lease; the caller stops the readers.
func (d *Delivery) Run(ctx context.Context, s *sinks.Opened, set Settings, lease *bus.Lease, health Health) ([]*bus.Reader, error) {
	if set.Settle == 0 {
		set.Settle = s.Traits.Settle
	}
	if set.Concurrency == 0 {
		set.Concurrency = s.Traits.Concurrency
	}
	k := &desk{
		o: d.o, s: s, set: set, lease: lease, log: d.o.Log.With("sink", s.Name), health: health,
		calls: map[string][]schemas.Call{}, seen: map[string]time.Time{}, clear: map[string]bool{}, doubts: map[string]bool{},
	}
	k.gate = newGate(k)
	most := cmp.Or(set.Concurrency, defaultConcurrency)
	k.slots = make(chan struct{}, most)
	jobs, err := d.o.Bus.Handle(ctx, bus.ReaderConfig{
		Unit: JobsUnit(s.Name), Stream: bus.Jobs, Subjects: []string{"jobs." + s.Name + ".>"}, HeadersOnly: true,
		Keys: func(m *bus.Msg) []string { return []string{m.Subject} }, Rank: record.JobRank,
		// While some messages are at the desk, others write their intents and outcomes.
		Workers: most + (most+1)/2, Window: 500_000, WindowBytes: 1 << 30,
	}, k.job)
	if err != nil {
		return nil, err
	}
	readers := []*bus.Reader{jobs}
	if s.Source != nil {
		back, err := d.o.Bus.Handle(ctx, bus.ReaderConfig{
			Unit: BackUnit(s.Name), Stream: bus.Deliveries, Subjects: []string{record.BackSubject(s.Name)}, Workers: 32,
			Keys: k.backKeys,
		}, k.back)
		if err != nil {
			return nil, errors.Join(err, jobs.Stop())
		}
		readers = append(readers, back)
	}
	return readers, nil
}

// recovered reports whether the desk may know more than we do.
func (k *desk) recovered() bool { return k.o.Recovered != nil && k.o.Recovered() }

// slot waits until a call may start; free ends it.
func (k *desk) slot(ctx context.Context) error {
	select {
	case k.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *desk) free() { <-k.slots }

// A later is an error that says when to try again.
type later struct {
	error
	d time.Duration
}

func (l later) Delay() time.Duration { return l.d }
func (l later) Unwrap() error        { return l.error }

func (k *desk) by() record.By { return record.By{Epoch: k.lease.Epoch(), N: k.n.Add(1)} }

// link reads the conversation's link; an absent one has revision 0.
func (k *desk) link(ctx context.Context, conv string) (record.Link, uint64, error) {
	e, err := k.o.Bus.Bucket(bus.Links).Get(ctx, record.LinkKey(k.s.Name, conv))
	if errors.Is(err, bus.ErrNotFound) {
		return record.Link{Schema: schemas.Version}, 0, nil
	}
	if err != nil {
		return record.Link{}, 0, err
	}
	l, err := record.Decode[record.Link](e.Value)
	return l, e.Revision, err
}

// putLink writes the link by compare-and-swap, with the ticket's way back beside
// it when the ticket is new.
func (k *desk) putLink(ctx context.Context, conv string, l record.Link, revision uint64, ticket bool) (uint64, error) {
	l.By = k.by()
	data, err := json.Marshal(l)
	if err != nil {
		return 0, err
	}
	writes := []bus.Write{{Key: record.LinkKey(k.s.Name, conv), Value: data, Revision: revision}}
	if ticket {
		t, err := k.wayBack(conv, l.Ticket)
		if err != nil {
			return 0, err
		}
		writes = append(writes, t)
	}
	revisions, err := k.o.Bus.Bucket(bus.Links).Apply(ctx, writes...)
	if err != nil {
		return 0, err
	}
	return revisions[0], nil
}

// wayBack is t.…: what happens to the ticket at the desk finds the conversation.
func (k *desk) wayBack(conv string, ref schemas.Ref) (bus.Write, error) {
	t, err := json.Marshal(record.Ticket{Schema: schemas.Version, Root: conv, Ref: ref})
	return bus.Write{Key: record.TicketKeyOf(k.s.Name, k.o.Tokens.Ticket(k.s.Name, ref.ID)), Value: t, Any: true}, err
}

// message reads messages/<mid>.
func (k *desk) message(ctx context.Context, mid string) (record.Message, uint64, error) {
	e, err := k.o.Bus.Bucket(bus.Messages).Get(ctx, mid)
	if err != nil {
		return record.Message{}, 0, err
	}
	m, err := record.Decode[record.Message](e.Value)
	return m, e.Revision, err
}

// mark writes where a message stands at this sink. Other sinks write the same
// record: after a conflict it is read again, and f decides anew; f returns false
// when there is nothing to write.
func (k *desk) mark(ctx context.Context, mid string, rec record.Message, revision uint64, f func(*record.Message) bool) error {
	for {
		if rec.Sinks == nil {
			rec.Sinks = map[string]record.AtSink{}
		}
		if !f(&rec) {
			return nil
		}
		rec.By = k.by()
		data, err := json.Marshal(rec)
		if err != nil {
			return err
		}
		_, err = k.o.Bus.Bucket(bus.Messages).Update(ctx, mid, data, revision)
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
		if rec, revision, err = k.message(ctx, mid); err != nil {
			return err
		}
	}
}

func (k *desk) publish(ctx context.Context, t schemas.EventType, conv, id string, body any) error {
	e, err := record.Event(t, conv, id, time.Now(), body)
	if err != nil {
		return err
	}
	_, err = k.o.Bus.Publish(ctx, e)
	return err
}
