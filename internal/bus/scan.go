package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Msg is one message of a stream.
type Msg struct {
	Subject string
	Header  map[string]string
	Data    []byte
	// Seq is its sequence in the stream, At when the broker stored it.
	Seq uint64
	At  time.Time
	// Attempt counts from 1 how often a reader has tried this message.
	Attempt int
}

// A Range is a part of a stream.
type Range struct {
	Stream   string
	Subjects []string
	// From is the first sequence; 0 means the oldest.
	From uint64
	// Latest gives only the newest message of each subject.
	Latest bool
	// HeadersOnly leaves the bodies out.
	HeadersOnly bool
}

// StreamInfo is how a stream stands.
type StreamInfo struct {
	Created     time.Time
	First, Last uint64
	Messages    uint64
	Bytes       uint64
}

// Info returns how a stream stands now.
func (b *Bus) Info(ctx context.Context, stream string) (StreamInfo, error) {
	info, err := b.streams[stream].Info(ctx)
	if err != nil {
		return StreamInfo{}, fmt.Errorf("read stream %s: %w", stream, translate(err))
	}
	return StreamInfo{
		Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq,
		Messages: info.State.Msgs, Bytes: info.State.Bytes,
	}, nil
}

// Message returns one message by its sequence, or ErrNotFound.
func (b *Bus) Message(ctx context.Context, stream string, seq uint64) (*Msg, error) {
	m, err := b.view(stream).GetMsg(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("read %s %d: %w", stream, seq, translate(err))
	}
	return &Msg{Subject: m.Subject, Header: flat(m.Header), Data: m.Data, Seq: m.Sequence, At: m.Time}, nil
}

// Scan calls f for every message that is in the range when the call begins, in
// order; it ends with f's first error.
func (b *Bus) Scan(ctx context.Context, r Range, f func(*Msg) error) error {
	cfg := jetstream.OrderedConsumerConfig{FilterSubjects: r.Subjects, HeadersOnly: r.HeadersOnly}
	switch {
	case r.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
	case r.From > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.From
	}
	cons, err := b.streams[r.Stream].OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", r.Stream, translate(err))
	}
	defer func() {
		// The broker would keep it for five minutes more; one that stays is no harm.
		_ = b.js.DeleteConsumer(ctx, r.Stream, cons.CachedInfo().Name)
	}()
	info, err := cons.Info(ctx)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", r.Stream, translate(err))
	}
	left := info.NumPending + info.Delivered.Consumer
	if left == 0 {
		return nil
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(1000))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", r.Stream, translate(err))
	}
	defer msgs.Stop()
	var last *jetstream.MsgMetadata
	for left > 0 {
		m, err := nextOrEnd(ctx, cons, msgs, last)
		if err != nil {
			return fmt.Errorf("read stream %s: %w", r.Stream, err)
		}
		if m == nil {
			return nil
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", r.Stream, err)
		}
		left, last = meta.NumPending, meta
		if err := f(toMsg(m, meta)); err != nil {
			return err
		}
	}
	return nil
}

// stall is how long Scan waits for a message that was announced before it asks
// whether it has been removed meanwhile.
const stall = 500 * time.Millisecond

// nextOrEnd is next, or nil when nothing comes after last, the message before or
// nil, because the rest was removed.
func nextOrEnd(ctx context.Context, cons jetstream.Consumer, msgs jetstream.MessagesContext, last *jetstream.MsgMetadata) (jetstream.Msg, error) {
	for {
		soon, cancel := context.WithTimeout(ctx, stall)
		m, err := next(soon, msgs)
		stalled := soon.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !stalled {
			return m, err
		}
		info, err := cons.Info(ctx)
		if err != nil {
			return nil, translate(err)
		}
		// A purge moves the consumer's place in the stream, not its count of deliveries.
		arrived := info.Delivered.Consumer == 0 || last != nil && last.Consumer == info.Name && last.Sequence.Consumer == info.Delivered.Consumer
		if info.NumPending == 0 && arrived {
			return nil, nil //nolint:nilnil // the end, as the comment says
		}
	}
}

// next waits for a message or the end of ctx.
func next(ctx context.Context, msgs jetstream.MessagesContext) (jetstream.Msg, error) {
	m, err := msgs.Next(jetstream.NextContext(ctx))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, translate(err)
	}
	return m, nil
}

func toMsg(m jetstream.Msg, meta *jetstream.MsgMetadata) *Msg {
	return &Msg{Subject: m.Subject(), Header: flat(m.Headers()), Data: m.Data(), Seq: meta.Sequence.Stream, At: meta.Timestamp}
}

// flat keeps the first value of each header; ours have only one.
func flat(h map[string][]string) map[string]string {
	out := make(map[string]string, len(h)+3)
	for k, v := range h {
		if len(v) > 0 {
			out[k] = v[0]
		}
	}
	return out
}

// Purge removes every message of a subject, which may have wildcards.
func (b *Bus) Purge(ctx context.Context, stream, subject string) error {
	defer b.recent[stream].removing()()
	if err := b.streams[stream].Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return fmt.Errorf("purge %s: %w", stream, translate(err))
	}
	return nil
}

// Erase removes one message and overwrites its bytes. One that is gone already
// is no error.
func (b *Bus) Erase(ctx context.Context, stream string, seq uint64) error {
	if err := b.fault(stream); err != nil {
		return fmt.Errorf("erase %s %d: %w", stream, seq, err)
	}
	defer b.recent[stream].removing()()
	err := translate(b.streams[stream].SecureDeleteMsg(ctx, seq))
	if err != nil {
		if _, gone := b.Message(ctx, stream, seq); errors.Is(gone, ErrNotFound) {
			return nil
		}
		return fmt.Errorf("erase %s %d: %w", stream, seq, err)
	}
	return nil
}

// linger is how long Batches waits for company once it has a message.
const linger = 100 * time.Millisecond

// Batches reads a stream from a sequence on, for ever, and hands over what comes
// within 100 ms in batches of at most most messages. It ends with f's first error
// or with ctx, whose error it then returns.
func (b *Bus) Batches(ctx context.Context, stream string, from uint64, most int, f func([]*Msg) error) error {
	cfg := jetstream.OrderedConsumerConfig{}
	if from > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, from
	}
	cons, err := b.streams[stream].OrderedConsumer(ctx, cfg)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, translate(err))
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(max(most, 2)))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, translate(err))
	}
	defer msgs.Stop()
	for {
		batch, err := gather(ctx, msgs, most)
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		if err := f(batch); err != nil {
			return err
		}
	}
}

func gather(ctx context.Context, msgs jetstream.MessagesContext, most int) ([]*Msg, error) {
	batch := make([]*Msg, 0, most)
	wait := ctx
	for len(batch) < most {
		m, err := next(wait, msgs)
		if err != nil {
			if len(batch) > 0 && ctx.Err() == nil && wait.Err() != nil {
				break
			}
			return nil, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		batch = append(batch, toMsg(m, meta))
		if len(batch) == 1 {
			soon, cancel := context.WithTimeout(ctx, linger)
			defer cancel()
			wait = soon
		}
	}
	return batch, nil
}

// Remove takes one message out of a stream. One that is gone already is no error.
func (b *Bus) Remove(ctx context.Context, stream string, seq uint64) error {
	if err := b.fault(stream); err != nil {
		return fmt.Errorf("remove %s %d: %w", stream, seq, err)
	}
	defer b.recent[stream].removing()()
	err := translate(b.streams[stream].DeleteMsg(ctx, seq))
	if err != nil {
		if _, gone := b.Message(ctx, stream, seq); errors.Is(gone, ErrNotFound) {
			return nil
		}
		return fmt.Errorf("remove %s %d: %w", stream, seq, err)
	}
	return nil
}
