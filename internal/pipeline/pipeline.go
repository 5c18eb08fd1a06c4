// Package pipeline turns raw deliveries into jobs: parse, fetch media, classify,
// route, freeze the decision, publish one job per sink (docs/protocol.md §4, P1
// to P6).
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
)

// Rules decide on a message. They are replaced whole; one call sees one set.
type Rules interface {
	// Decide classifies m and returns at least one decision.
	Decide(m *schemas.Message) (schemas.Classification, []schemas.Decision)
	// Digest names the version of the rules file.
	Digest() string
}

// Options are what a Pipeline needs.
type Options struct {
	Bus     *bus.Bus
	Tokens  record.Tokens
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	// Rules returns the rules in force.
	Rules func() Rules
	// Sinks are the names of the configured sinks: with more than one, a
	// conversation stays on the sinks of its first message.
	Sinks []string
	// Horizon is how long an id is remembered; older deliveries cannot be told from
	// repeats.
	Horizon time.Duration
	// Realm is the scope that mail channels share.
	Realm string
}

// A Pipeline is safe for concurrent use.
type Pipeline struct {
	o Options
	n atomic.Uint64
}

// New returns a Pipeline.
func New(o Options) *Pipeline { return &Pipeline{o: o} }

// A run is the pipeline of one channel under one lease.
type run struct {
	p     *Pipeline
	c     *channels.Opened
	lease *bus.Lease
	scope string

	mu     sync.Mutex
	parsed map[uint64]parsed
}

type parsed struct {
	delivery hook.Delivery
	out      channels.Parsed
	// convs are the tokens of the messages' conversations, one each.
	convs []string
	err   error
}

// Run reads the deliveries of a channel, in order within each conversation. It
// needs the channel's lease; the caller stops the reader.
func (p *Pipeline) Run(ctx context.Context, c *channels.Opened, lease *bus.Lease) (*bus.Reader, error) {
	r := &run{p: p, c: c, lease: lease, scope: c.Scope(p.o.Realm), parsed: map[uint64]parsed{}}
	return p.o.Bus.Handle(ctx, bus.ReaderConfig{
		Unit: "in." + c.Name, Stream: bus.Deliveries, Subjects: []string{record.InSubject(c.Name)}, Workers: 128,
		Keys: func(m *bus.Msg) []string { return r.keys(ctx, m) },
	}, r.handle)
}

// keys parses a delivery, in the order of the stream, and returns the
// conversations that it belongs to.
func (r *run) keys(ctx context.Context, m *bus.Msg) []string {
	one := r.parse(ctx, m)
	for errors.Is(one.err, errBlob) && ctx.Err() == nil {
		// Without its body nobody knows its conversation, and what comes after it must
		// not overtake.
		pause(ctx, blobRetry)
		one = r.parse(ctx, m)
	}
	r.mu.Lock()
	r.parsed[m.Seq] = one
	r.mu.Unlock()
	if len(one.convs) < 2 {
		return one.convs
	}
	keys := slices.Clone(one.convs)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// blobRetry is the pause before a body is asked for again.
const blobRetry = 200 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// errBlob says that the body could not be read now, which is nobody's fault.
var errBlob = errors.New("the body cannot be read from the blob store now")

// parse runs the adapter's Parse; a panic is an error like any other.
func (r *run) parse(ctx context.Context, m *bus.Msg) (one parsed) {
	d, err := record.DecodeDelivery(ctx, r.p.o.Bus, m)
	one.delivery = d
	if err != nil {
		one.err = err
		if record.BlobOf(m) != "" && !errors.Is(err, bus.ErrNotFound) {
			one.err = errors.Join(errBlob, err)
		}
		return one
	}
	defer func() {
		if v := recover(); v != nil {
			one.out, one.convs, one.err = channels.Parsed{}, nil, fmt.Errorf("the adapter panicked: %v", v)
		}
	}()
	one.out, one.err = r.c.Channel.Parse(d)
	for _, msg := range one.out.Messages {
		one.convs = append(one.convs, r.p.o.Tokens.Conversation(r.scope, msg.Conversation))
	}
	return one
}

func (r *run) take(ctx context.Context, m *bus.Msg) parsed {
	r.mu.Lock()
	one, ok := r.parsed[m.Seq]
	r.mu.Unlock()
	if !ok {
		one = r.parse(ctx, m)
	}
	return one
}

func (r *run) forget(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.parsed, seq)
}

// handle is one delivery from parse to settle.
func (r *run) handle(ctx context.Context, m *bus.Msg) error {
	one := r.take(ctx, m)
	if errors.Is(one.err, errBlob) {
		return one.err
	}
	if err := r.finish(ctx, m, one); err != nil {
		return err
	}
	r.forget(m.Seq)
	return nil
}

func (r *run) finish(ctx context.Context, m *bus.Msg, one parsed) error {
	switch {
	case one.err != nil:
		return r.bury(ctx, m, one)
	case len(one.out.Messages) == 0 && len(one.out.Receipts) == 0:
		return r.ignore(ctx, m, one.out.Ignored)
	}
	for _, receipt := range one.out.Receipts {
		if err := r.receipt(ctx, m, receipt); err != nil {
			return err
		}
	}
	erase := len(one.out.Messages) > 0
	for i, msg := range one.out.Messages {
		gone, err := r.message(ctx, m, one.delivery, msg, one.convs[i])
		if err != nil {
			return err
		}
		erase = erase && gone
	}
	if !erase {
		return nil
	}
	// A late repeat of what was forgotten must not bring it back (I14).
	if blob := record.BlobOf(m); blob != "" {
		if err := r.p.o.Bus.DeleteBlob(ctx, blob); err != nil {
			return err
		}
	}
	return r.p.o.Bus.Erase(ctx, bus.Deliveries, m.Seq)
}

// publish sends an event and further records; id must be the same whenever the
// same thing is told.
func (r *run) publish(ctx context.Context, t schemas.EventType, conv, id string, body any, more ...bus.Record) error {
	e, err := record.Event(t, conv, id, time.Now(), body)
	if err != nil {
		return err
	}
	// The event goes first, so that the trail tells a decision before its filing.
	_, err = r.p.o.Bus.Publish(ctx, append([]bus.Record{e}, more...)...)
	return err
}

func (r *run) ignore(ctx context.Context, m *bus.Msg, reason string) error {
	if reason == "" {
		reason = "nothing of interest in it"
	}
	r.p.o.Metrics.Message(r.c.Name, "ignored")
	return r.publish(ctx, schemas.EventIgnored, "", r.id("ignored", m.Seq), schemas.DeliveryEnded{
		Delivery: m.Seq, Channel: r.c.Name, Reason: reason, At: m.At.UTC(),
	})
}

// bury keeps a delivery that cannot be read as a dead letter with its raw bytes.
func (r *run) bury(ctx context.Context, m *bus.Msg, one parsed) error {
	seq := strconv.FormatUint(m.Seq, 10)
	letter := record.Letter{
		Schema: schemas.Version, ID: record.LetterID(record.StagePipeline, r.c.Name, seq, 1), Stage: record.StagePipeline,
		Place: r.c.Name, Delivery: m.Seq, Version: 1, Reason: one.err.Error(), At: time.Now().UTC(), Header: m.Header, Body: m.Data,
	}
	if err := r.copyBody(ctx, m, one.delivery, &letter); err != nil {
		return err
	}
	dead, err := letter.Encode()
	if err != nil {
		return err
	}
	if _, err := r.p.o.Bus.Publish(ctx, dead); err != nil {
		return err
	}
	r.p.o.Metrics.Message(r.c.Name, "dead")
	r.p.o.Metrics.Dead(record.StagePipeline)
	return r.publish(ctx, schemas.EventDeadDelivery, "", r.id("dead", m.Seq), schemas.DeliveryEnded{
		Delivery: m.Seq, Channel: r.c.Name, Reason: letter.Reason, Dead: letter.ID, At: m.At.UTC(),
	})
}

// copyBody gives the letter a copy of a body that is in the blobs: the delivery's
// own goes with the delivery.
func (r *run) copyBody(ctx context.Context, m *bus.Msg, d hook.Delivery, letter *record.Letter) error {
	if record.BlobOf(m) == "" {
		return nil
	}
	letter.Blob = "dead/" + letter.ID
	return r.p.o.Bus.PutBlob(ctx, letter.Blob, d.Body)
}

func (r *run) id(what string, seq uint64) string {
	return record.Digest(what, r.c.Name, strconv.FormatUint(seq, 10))
}

// receipt files news of a reply with the reply's record.
func (r *run) receipt(ctx context.Context, m *bus.Msg, receipt schemas.Receipt) error {
	body := schemas.Receipted{Channel: r.c.Name, Delivery: m.Seq, Receipt: receipt, At: m.At.UTC()}
	token := r.p.o.Tokens.Sent(r.scope, receipt.ID)
	e, err := r.p.o.Bus.Bucket(bus.Links).Get(ctx, record.SentKey(token))
	switch {
	case err == nil:
		body.Reply = string(e.Value)
		if body.Conversation, err = r.progress(ctx, body.Reply, receipt); err != nil {
			return err
		}
	case !errors.Is(err, bus.ErrNotFound):
		return err
	}
	id := record.Digest("receipt", r.c.Name, receipt.ID, string(receipt.State), strconv.FormatUint(m.Seq, 10))
	return r.publish(ctx, schemas.EventReceipt, body.Conversation, id, body)
}
