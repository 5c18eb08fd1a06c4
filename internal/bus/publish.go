package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Record is one message for a stream. Header may be nil; its keys are sent as
// they are.
type Record struct {
	Subject string
	Header  map[string]string
	Data    []byte
}

// MaxRecord is the largest record in bytes, header included, that every broker
// takes; larger bodies go to the blobs first.
const MaxRecord = 1<<20 - 16<<10

// Publish stores records, each in the stream that its subject belongs to, and
// returns their sequences in order. All are sent before the first answer is
// awaited, and concurrent calls share one commit. It returns nil only when every
// record is durable. On an error some may be there, others not: a second copy
// must be harmless. ErrFull and ErrUnknown say why; ctx only bounds the wait.
func (b *Bus) Publish(ctx context.Context, records ...Record) ([]uint64, error) {
	pending := make([]*pendingWrite, len(records))
	for i, r := range records {
		stream, err := streamOf(r.Subject)
		if err != nil {
			return nil, err
		}
		if b.full.Load() && stream == Deliveries {
			return nil, ErrFull
		}
		pending[i] = b.submit(stream, r, noExpectation)
	}
	seqs := make([]uint64, len(records))
	var errs []error
	for i, p := range pending {
		seq, err := p.wait(ctx)
		seqs[i] = seq
		if err != nil {
			errs = append(errs, fmt.Errorf("publish to %s: %w", strings.SplitN(records[i].Subject, ".", 2)[0], err))
		}
	}
	return seqs, errors.Join(errs...)
}

func streamOf(subject string) (string, error) {
	first, _, _ := strings.Cut(subject, ".")
	switch first {
	case "deliveries":
		return Deliveries, nil
	case "jobs":
		return Jobs, nil
	case "replies":
		return Replies, nil
	case "events":
		return Events, nil
	case "dead":
		return Dead, nil
	case "timer", "due":
		return Timers, nil
	default:
		return "", fmt.Errorf("no stream takes the subject %q", first)
	}
}

// noExpectation publishes whatever the subject's last sequence is.
const noExpectation = ^uint64(0)

// pendingWrite is one record on its way; done is closed once seq and err are set.
type pendingWrite struct {
	msg   *nats.Msg
	size  int
	since time.Time // when it was sent singly
	done  chan struct{}
	seq   uint64
	err   error
	// recent takes note of the end, unless nil; removals is what it began with.
	recent   *recent
	removals uint64
}

func (p *pendingWrite) finish(seq uint64, err error) {
	p.seq, p.err = seq, err
	if p.recent != nil {
		p.recent.ended(p)
	}
	close(p.done)
}

func (p *pendingWrite) wait(ctx context.Context) (uint64, error) {
	select {
	case <-p.done:
		return p.seq, p.err
	case <-ctx.Done():
		return 0, errors.Join(ErrUnknown, ctx.Err())
	}
}

func (b *Bus) submit(stream string, r Record, expect uint64) *pendingWrite {
	m := &nats.Msg{Subject: r.Subject, Data: r.Data, Header: make(nats.Header, len(r.Header)+4)}
	size := len(r.Data) + len(r.Subject)
	values := make([]string, 0, len(r.Header)+1) // the header's lists of one, in one piece
	for k, v := range r.Header {
		values = append(values, v)
		m.Header[k] = values[len(values)-1 : len(values) : len(values)]
		size += len(k) + len(v)
	}
	p := &pendingWrite{msg: m, size: size, done: make(chan struct{})}
	if expect != noExpectation {
		values = append(values, strconv.FormatUint(expect, 10))
		m.Header[jetstream.ExpectedLastSubjSeqHeader] = values[len(values)-1 : len(values) : len(values)]
	}
	if p.recent = b.recent[stream]; p.recent != nil {
		p.removals = p.recent.begin()
	}
	if err := b.fault(r.Subject); err != nil {
		p.finish(0, b.judge(err))
		return p
	}
	b.committers[stream].add(p)
	return p
}

// fault asks Options.Fault.
func (b *Bus) fault(subject string) error {
	if b.opts.Fault == nil {
		return nil
	}
	return b.opts.Fault(subject)
}

// A committer gathers the writes to one stream. While one group is being
// committed the next one gathers, so that the group grows with the load and a
// lone write waits for nobody.
type committer struct {
	b      *Bus
	stream string
	group  bool
	wake   chan struct{}

	mu     sync.Mutex
	queue  []*pendingWrite
	closed bool
}

// What one commit holds at most, and from how many waiting writes a group is
// cheaper than single ones.
const (
	maxGroup      = 500
	maxGroupBytes = 4 << 20
	minGroup      = 10
)

func newCommitter(ctx context.Context, b *Bus, stream string) *committer {
	c := &committer{b: b, stream: stream, wake: make(chan struct{}, 1)}
	// Grouping pays where every single write would be an fsync of its own.
	c.group = b.server != nil && b.opts.Durability == Disk
	if c.group {
		b.wg.Go(func() { c.run(ctx) })
	}
	return c
}

func (c *committer) add(p *pendingWrite) {
	if !c.group {
		c.b.acks.send(p)
		return
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		p.finish(0, ErrClosed)
		return
	}
	c.queue = append(c.queue, p)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, p := range c.queue {
		p.finish(0, ErrClosed)
	}
	c.queue = nil
}

func (c *committer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for group := c.take(); len(group) > 0; group = c.take() {
			if len(group) < minGroup {
				c.singles(group)
			} else {
				c.commit(group)
			}
		}
	}
}

// take cuts the next group off the queue: bounded in count and bytes, and never
// with two compare-and-swaps of one key.
func (c *committer) take() []*pendingWrite {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	var keys map[string]bool
	for n < len(c.queue) && n < maxGroup {
		p := c.queue[n]
		if bytes += p.size; n > 0 && bytes > maxGroupBytes {
			break
		}
		if strings.HasPrefix(c.stream, "KV_") {
			if keys == nil {
				keys = make(map[string]bool, min(len(c.queue), maxGroup))
			}
			if keys[p.msg.Subject] {
				break
			}
			keys[p.msg.Subject] = true
		}
		n++
	}
	group := c.queue[:n:n]
	c.queue = c.queue[n:]
	return group
}

// singles sends each write by itself and waits for all.
func (c *committer) singles(group []*pendingWrite) {
	for _, p := range group {
		c.b.acks.send(p)
	}
	for _, p := range group {
		<-p.done
	}
}

// commit stores a group as one atomic batch, with one fsync. A rejected batch
// (one bad member rejects all) is sent singly, so that each hears its own answer.
func (c *committer) commit(group []*pendingWrite) {
	id := nats.NewInbox()[len("_INBOX."):]
	last := len(group) - 1
	for i, p := range group {
		m := &nats.Msg{Subject: p.msg.Subject, Data: p.msg.Data, Header: make(nats.Header, len(p.msg.Header)+3)}
		maps.Copy(m.Header, p.msg.Header)
		m.Header["Nats-Batch-Id"] = []string{id}
		m.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		if i < last {
			if err := c.b.nc.PublishMsg(m); err != nil {
				c.singles(group)
				return
			}
			continue
		}
		m.Header["Nats-Batch-Commit"] = []string{"1"}
		c.settle(group, m)
	}
}

func (c *committer) settle(group []*pendingWrite, m *nats.Msg) {
	answer, err := c.b.nc.RequestMsg(m, answerWithin)
	if err != nil {
		err = c.b.judge(err) // one answer did not come, however many writes waited for it
		for _, p := range group {
			p.finish(0, err)
		}
		return
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Seq   uint64              `json:"seq"`
		Count int                 `json:"count"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Error != nil || ack.Count != len(group) {
		c.singles(group)
		return
	}
	if c.b.opts.Batch != nil {
		c.b.opts.Batch(len(group))
	}
	first := ack.Seq - uint64(len(group)) + 1
	for i, p := range group {
		p.finish(first+uint64(i), c.b.judge(nil))
	}
}

// judge translates an answer and keeps count of those that did not come.
func (b *Bus) judge(err error) error {
	if err == nil {
		b.broken.Store(0)
		return nil
	}
	failed := isStoreFailure(err)
	err = translate(err)
	switch {
	case errors.Is(err, ErrConflict):
		b.broken.Store(0)
	case errors.Is(err, ErrUnknown):
		b.broken.Add(1)
	case failed:
		b.broken.Store(brokenAfter)
	}
	return err
}

// isStoreFailure recognises the broker's words for a store that refuses to write.
func isStoreFailure(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (api.ErrorCode == 10077 || strings.Contains(api.Description, "store"))
}
