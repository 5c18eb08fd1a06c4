package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
)

// A parcel is the body of a test's delivery: what Parse shall make of it.
type parcel struct {
	Messages []schemas.Message
	// Files are the contents that the delivery carries itself, by message.
	Files    map[int][]schemas.Attachment
	Data     map[int][][]byte
	Receipts []schemas.Receipt
	Ignored  string
	Error    string
	Panic    bool
}

// A shop is a channel whose deliveries are parcels.
type shop struct {
	fetch func(ref string) (io.ReadCloser, error)
}

func (shop) Account() string             { return "account" }
func (shop) Check(context.Context) error { return nil }

func (shop) Parse(d hook.Delivery) (channels.Parsed, error) {
	var p parcel
	if err := json.Unmarshal(d.Body, &p); err != nil {
		return channels.Parsed{}, fault.Permanentf("decode: %w", err)
	}
	switch {
	case p.Panic:
		panic("a bug in the adapter")
	case p.Error != "":
		return channels.Parsed{}, errors.New(p.Error)
	}
	for i := range p.Messages {
		for j, data := range p.Data[i] {
			p.Messages[i].Attachments[j].Data = data
		}
	}
	return channels.Parsed{Messages: p.Messages, Receipts: p.Receipts, Ignored: p.Ignored}, nil
}

func (s shop) Fetch(_ context.Context, ref string) (io.ReadCloser, error) { return s.fetch(ref) }

// content is a file that can be fetched.
func content(s string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }

// ruleset decides as told.
type ruleset struct {
	digest string
	decide func(*schemas.Message) []schemas.Decision
}

func (r *ruleset) Digest() string { return r.digest }

func (r *ruleset) Decide(m *schemas.Message) (schemas.Classification, []schemas.Decision) {
	return schemas.Classification{Urgency: schemas.UrgencyNormal}, r.decide(m)
}

// to decides for sinks.
func to(digest string, sinks ...string) *ruleset {
	return &ruleset{digest: digest, decide: func(*schemas.Message) []schemas.Decision {
		var out []schemas.Decision
		for _, s := range sinks {
			out = append(out, schemas.Decision{Sink: s, Queue: digest, Path: []schemas.RuleRef{{Name: digest, Line: 1}}})
		}
		return out
	}}
}

// A world is a data directory, rules that can change, and processes that die.
type world struct {
	t      *testing.T
	dir    string
	rules  atomic.Pointer[ruleset]
	shop   *shop
	max    int64
	sinks  []string
	b      *bus.Bus
	p      *Pipeline
	r      *bus.Reader
	trail  *trail
	opened *channels.Opened

	dies, writes atomic.Int64
	dead         atomic.Bool
	died         chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), shop: &shop{}, max: 1 << 20, sinks: []string{"desk"}}
	w.rules.Store(to("v1", "desk"))
	t.Cleanup(w.stop)
	return w
}

// open makes a process that reads nothing yet.
func (w *world) open() *world {
	w.t.Helper()
	w.dead.Store(false)
	w.dies.Store(0)
	w.died = make(chan struct{})
	b, err := bus.Open(w.t.Context(), bus.Options{Dir: w.dir, Durability: bus.OS, Reserve: 1 << 20, Log: telemetry.Discard(), Fault: w.fault})
	if err != nil {
		w.t.Fatal(err)
	}
	w.b = b
	tokens, err := record.OpenTokens(w.t.Context(), b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.p = New(Options{
		Bus: b, Tokens: tokens, Metrics: telemetry.NewMetrics(), Log: telemetry.Discard(), Sinks: w.sinks,
		Horizon: 35 * 24 * time.Hour, Rules: func() Rules { return w.rules.Load() },
	})
	w.opened = &channels.Opened{Name: "shop", Channel: *w.shop, Traits: channels.Traits[any]{MaxFile: w.max}}
	if w.shop.fetch != nil {
		w.opened.Fetcher = *w.shop
	}
	w.trail = newTrail(w.t, b)
	return w
}

// start has a process read the channel.
func (w *world) start() *world {
	w.t.Helper()
	if w.b == nil {
		w.open()
	}
	lease, err := w.b.Lease(w.t.Context(), "in.shop")
	if err != nil {
		w.t.Fatal(err)
	}
	if w.r, err = w.p.Run(w.t.Context(), w.opened, lease); err != nil {
		w.t.Fatal(err)
	}
	return w
}

func (w *world) stop() {
	if w.b == nil {
		return
	}
	w.trail.stop()
	if w.r != nil {
		if err := w.r.Stop(); err != nil && !w.dead.Load() {
			w.t.Errorf("stop reader: %v", err)
		}
	}
	if err := w.b.Close(); err != nil {
		w.t.Errorf("close bus: %v", err)
	}
	w.b, w.r = nil, nil
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

var errDead = fmt.Errorf("%w: it was killed", bus.ErrClosed)

// fault kills the process in place of its nth durable write.
func (w *world) fault(subject string) error {
	switch {
	case w.dead.Load():
		return errDead
	case strings.HasPrefix(subject, "$KV.cursors."):
		return nil // checkpoints are hints
	}
	if n := w.writes.Add(1); n == w.dies.Load() {
		if !w.dead.Swap(true) {
			close(w.died)
		}
		return errDead
	}
	return nil
}

func (w *world) arm(n int64) {
	w.writes.Store(0)
	w.dies.Store(n)
}

// deliver stores a delivery as intake does, and returns its sequence.
func (w *world) deliver(p parcel) uint64 {
	w.t.Helper()
	body, err := json.Marshal(p)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.raw(body, "")
}

func (w *world) raw(body []byte, blob string) uint64 {
	w.t.Helper()
	d := hook.Delivery{Method: "POST", URL: "https://in.example/hooks/shop", Body: body, ReceivedAt: time.Now()}
	r, err := record.EncodeDelivery(record.InSubject("shop"), d, blob, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.publish(r)
}

func (w *world) publish(r bus.Record) uint64 {
	w.t.Helper()
	seqs, err := w.b.Publish(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return seqs[0]
}

// said is a message of a customer.
func said(id, conv, text string) schemas.Message {
	return schemas.Message{
		VendorID: id, Conversation: conv, Text: text,
		Requester: schemas.Requester{Name: "Marta Lindqvist", Identities: []schemas.Identity{{Kind: schemas.Email, Value: "marta@lindqvist.example"}}},
	}
}

func one(m schemas.Message) parcel { return parcel{Messages: []schemas.Message{m}} }

func (w *world) mid(id string) string { return w.p.o.Tokens.Message("/account", id) }

func (w *world) conv(key string) string { return w.p.o.Tokens.Conversation("/account", key) }

// record reads messages/<mid>.
func (w *world) record(mid string) record.Message {
	w.t.Helper()
	e, err := w.b.Bucket(bus.Messages).Get(w.t.Context(), mid)
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := record.Decode[record.Message](e.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// jobs are the jobs there are, in order.
func (w *world) jobs() []record.Job {
	w.t.Helper()
	var out []record.Job
	w.scan(bus.Jobs, func(m *bus.Msg) error {
		j, err := record.Decode[record.Job](m.Data)
		out = append(out, j)
		return err
	})
	return out
}

func (w *world) letters() []record.Letter {
	w.t.Helper()
	var out []record.Letter
	w.scan(bus.Dead, func(m *bus.Msg) error {
		l, err := record.Decode[record.Letter](m.Data)
		out = append(out, l)
		return err
	})
	return out
}

func (w *world) scan(stream string, f func(*bus.Msg) error) {
	w.t.Helper()
	if err := w.b.Scan(w.t.Context(), bus.Range{Stream: stream}, f); err != nil {
		w.t.Fatal(err)
	}
}

// blob reads a stored file.
func (w *world) blob(name string) []byte {
	w.t.Helper()
	data, err := w.b.ReadBlob(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// told is one event.
type told struct {
	kind schemas.EventType
	id   string
	conv string
	data []byte
}

// A trail collects the events as they come.
type trail struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	all    []told
	more   chan struct{}
}

func newTrail(t *testing.T, b *bus.Bus) *trail {
	ctx, cancel := context.WithCancel(t.Context())
	tr := &trail{t: t, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(tr.done)
		_ = b.Batches(ctx, bus.Events, 0, 1, func(ms []*bus.Msg) error { // ends with ctx
			tr.mu.Lock()
			defer tr.mu.Unlock()
			for _, m := range ms {
				kind, id, _ := record.EventHeader(m)
				tr.all = append(tr.all, told{kind, id, strings.TrimPrefix(m.Subject, "events."), bytes.Clone(m.Data)})
			}
			close(tr.more)
			tr.more = make(chan struct{})
			return nil
		})
	}()
	return tr
}

func (tr *trail) stop() {
	tr.cancel()
	<-tr.done
}

// patience bounds a wait of a test for what must come.
const patience = time.Minute

// says waits for n different events of a type and returns their bodies.
func says[T any](w *world, kind schemas.EventType, n int) []T {
	w.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		w.trail.mu.Lock()
		var out []T
		seen := map[string]bool{}
		for _, e := range w.trail.all {
			if e.kind != kind || seen[e.id] {
				continue
			}
			seen[e.id] = true
			v, err := record.Decode[T](e.data)
			if err != nil {
				w.t.Fatal(err)
			}
			out = append(out, v)
		}
		more := w.trail.more
		w.trail.mu.Unlock()
		if len(out) >= n {
			return out
		}
		select {
		case <-more:
		case <-limit.C:
			w.t.Fatalf("the trail told %d of %d %s", len(out), n, kind)
		}
	}
}

// settled waits until every delivery has been settled.
func (w *world) settled() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		info, err := w.b.Info(ctx, bus.Deliveries) // asks the broker: others run meanwhile
		if err != nil {
			w.t.Fatal(err)
		}
		if w.r.Floor() >= info.Last {
			return
		}
	}
}
