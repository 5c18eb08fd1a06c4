package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/adapter/hook"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// message takes one message of delivery m from P2 to P5. Everything in it may
// run twice. It reports whether the message is one that was forgotten.
func (r *run) message(ctx context.Context, m *bus.Msg, d hook.Delivery, msg schemas.Message, conv string) (gone bool, err error) {
	r.stamp(&msg, d)
	own := msg.ID
	digest := contentDigest(msg)
	for {
		rec, err := r.read(ctx, msg.ID)
		switch {
		case errors.Is(err, bus.ErrNotFound) && r.tooOld(msg.SentAt, msg.ReceivedAt) && record.Replayed(m) == "":
			return false, r.letterTooOld(ctx, m, d, msg, conv)
		case errors.Is(err, bus.ErrNotFound):
			rec, err = r.decide(ctx, m, &msg, conv, digest, msg.ID != own)
			if errors.Is(err, bus.ErrConflict) {
				continue // somebody else decided meanwhile; theirs stands
			}
			if err != nil {
				return false, err
			}
		case err != nil:
			return false, err
		case forgotten(rec) && rec.Creator == m.Seq:
			return true, nil
		case forgotten(rec):
			return true, r.duplicate(ctx, m, msg, rec)
		case rec.Creator != m.Seq && rec.Digest != digest && !rec.Variant && rec.Digest != "" && record.Replayed(m) == "":
			// The same id with other words: an id that was used again. Keep both.
			msg.ID = r.p.o.Tokens.Variant(msg.ID, digest)
			continue
		case rec.Creator != m.Seq:
			return false, r.duplicate(ctx, m, msg, rec)
		}
		return false, r.publishJobs(ctx, m, msg, rec)
	}
}

// forgotten reports whether nothing but the name is left of a message.
func forgotten(rec record.Message) bool {
	for _, at := range rec.Sinks {
		if at.State != record.Forgotten {
			return false
		}
	}
	return len(rec.Sinks) > 0
}

// stamp gives a parsed message its id, its times and its channel.
func (r *run) stamp(msg *schemas.Message, d hook.Delivery) {
	msg.Schema = schemas.Version
	// Files are filled in below; what was parsed stays as it is for another attempt.
	msg.Attachments = slices.Clone(msg.Attachments)
	msg.ID = r.p.o.Tokens.Message(r.scope, msg.VendorID)
	msg.Channel, msg.Kind = r.c.Name, r.c.Kind.Name()
	msg.ReceivedAt = d.ReceivedAt.UTC()
}

// contentDigest tells a repeat from an id that was used again. It leaves out what
// a vendor words differently from one way of delivery to another.
func contentDigest(m schemas.Message) string {
	return record.Digest(m.Subject, strings.Join(strings.Fields(m.Text), " "), m.Edits)
}

func (r *run) read(ctx context.Context, mid string) (record.Message, error) {
	e, err := r.p.o.Bus.Bucket(bus.Messages).Get(ctx, mid)
	if err != nil {
		return record.Message{}, err
	}
	return record.Decode[record.Message](e.Value)
}

func (r *run) duplicate(ctx context.Context, m *bus.Msg, msg schemas.Message, rec record.Message) error {
	r.p.o.Metrics.Message(r.c.Name, "duplicate")
	return r.publish(ctx, schemas.EventDuplicate, rec.Conv, record.Digest("duplicate", msg.ID, strconv.FormatUint(m.Seq, 10)), schemas.Duplicate{
		Message: msg.ID, Conversation: rec.Conv, Delivery: m.Seq, First: rec.Creator, Channel: r.c.Name, At: m.At.UTC(),
	})
}

// decide is P3: files, classification, routing, and the one write that makes the
// decision. From there on rules may change: the decision does not.
func (r *run) decide(ctx context.Context, m *bus.Msg, msg *schemas.Message, conv, digest string, variant bool) (record.Message, error) {
	if err := r.keepFiles(ctx, m, msg, conv); err != nil {
		return record.Message{}, err
	}
	rules := r.p.o.Rules()
	class, decisions := rules.Decide(msg)
	decisions, err := r.stick(ctx, msg.ID, conv, decisions)
	if err != nil {
		return record.Message{}, err
	}
	rec := record.Message{
		Schema: schemas.Version, Creator: m.Seq, Conv: conv, Channel: r.c.Name, Digest: digest,
		Variant: variant, Files: msg.Attachments,
		Classification: class, Decisions: decisions, Rules: rules.Digest(), DecidedAt: time.Now().UTC(), Version: 1,
		Sinks: make(map[string]record.AtSink, len(decisions)),
		By:    record.By{Epoch: r.lease.Epoch(), N: r.p.n.Add(1)},
	}
	for _, d := range decisions {
		at := record.AtSink{State: record.Pending, Version: 1, Band: class.Urgency.Band()}
		if d.Sink == record.DropSink {
			at.State, at.At = record.Dropped, rec.DecidedAt
		}
		rec.Sinks[d.Sink] = at
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return rec, fmt.Errorf("encode decision: %w", err)
	}
	_, err = r.p.o.Bus.Bucket(bus.Messages).Create(ctx, msg.ID, data)
	return rec, err
}

// stick keeps a conversation on the sinks of its first message, because a
// customer who adds "urgent" must not open a second ticket somewhere else.
func (r *run) stick(ctx context.Context, mid, conv string, decisions []schemas.Decision) ([]schemas.Decision, error) {
	if len(r.p.o.Sinks) < 2 || decisions[0].Sink == record.DropSink {
		return decisions, nil
	}
	links := r.p.o.Bus.Bucket(bus.Links)
	sticky := record.Sticky{Schema: schemas.Version, Mid: mid}
	for _, d := range decisions {
		sticky.Sinks = append(sticky.Sinks, d.Sink)
	}
	e, err := links.Get(ctx, record.StickyKey(conv))
	if errors.Is(err, bus.ErrNotFound) {
		data, err := json.Marshal(sticky)
		if err != nil {
			return nil, err
		}
		_, err = links.Create(ctx, record.StickyKey(conv), data)
		if !errors.Is(err, bus.ErrConflict) {
			return decisions, err
		}
		e, err = links.Get(ctx, record.StickyKey(conv))
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if sticky, err = record.Decode[record.Sticky](e.Value); err != nil {
		return nil, err
	}
	return r.moved(decisions, sticky.Sinks), nil
}

// moved returns the decisions with the conversation's own sinks. A sink that is
// no longer configured does not hold anything.
func (r *run) moved(decisions []schemas.Decision, stay []string) []schemas.Decision {
	var out []schemas.Decision
	for _, sink := range stay {
		if !slices.Contains(r.p.o.Sinks, sink) {
			continue
		}
		i := slices.IndexFunc(decisions, func(d schemas.Decision) bool { return d.Sink == sink })
		if i >= 0 {
			out = append(out, decisions[i])
			continue
		}
		d := decisions[0]
		d.Path = append(slices.Clone(d.Path), schemas.RuleRef{Name: "same conversation", Why: "the conversation is on " + sink})
		d.Sink, d.Queue, d.Assignee = sink, "", ""
		out = append(out, d)
	}
	if len(out) == 0 {
		return decisions
	}
	return out
}

// publishJobs is P4 and P5: one job for each sink that is pending, and the event.
func (r *run) publishJobs(ctx context.Context, m *bus.Msg, msg schemas.Message, rec record.Message) error {
	msg.Attachments = rec.Files
	var records []bus.Record
	for _, d := range rec.Decisions {
		if rec.Sinks[d.Sink].State != record.Pending {
			continue
		}
		job := record.Job{
			Schema: schemas.Version, Message: msg, Conv: rec.Conv, Delivery: rec.Creator, Version: 1,
			Class: rec.Classification, Decision: d,
		}
		one, err := job.Encode(record.Trace(m))
		if err != nil {
			return err
		}
		for most := longest; len(one.Data) > bus.MaxRecord && most > 0; most /= 2 {
			job.Message = shorten(msg, most)
			if one, err = job.Encode(record.Trace(m)); err != nil {
				return err
			}
		}
		records = append(records, one)
	}
	outcome := "decided"
	if len(records) == 0 {
		outcome = "dropped"
	}
	r.p.o.Metrics.Message(r.c.Name, outcome)
	e := schemas.Decided{
		Delivery: rec.Creator, Conversation: rec.Conv, Message: msg, Classification: rec.Classification,
		Decisions: rec.Decisions, Rules: rec.Rules, Version: 1, Variant: rec.Variant, At: rec.DecidedAt,
	}
	e.Message.HTML = "" // the job carries it; the trail does not need it twice
	for most := longest; tooLarge(e) && most > 0; most /= 2 {
		e.Message = shorten(msg, most)
		e.Message.HTML = ""
	}
	return r.publish(ctx, schemas.EventDecided, rec.Conv, record.Digest("decided", msg.ID), e, records...)
}

// tooLarge reports whether no record can carry e. A byte of text becomes six of
// JSON at most, so that short messages need not be encoded to know.
func tooLarge(e schemas.Decided) bool {
	n := len(e.Message.Subject) + len(e.Message.Text)
	for _, f := range e.Message.Fields {
		n += len(f.Name) + len(f.Value)
	}
	if n < bus.MaxRecord/8 {
		return false
	}
	data, err := json.Marshal(e)
	return err == nil && len(data) > bus.MaxRecord
}

// longest is how many bytes of text a job carries at first; the raw delivery
// keeps all.
const longest = 256 << 10

// shorten cuts what no record can carry to most bytes of each kind and says so.
func shorten(m schemas.Message, most int) schemas.Message {
	m.Degraded = slices.Clone(m.Degraded)
	if len(m.Text) > most || len(m.Subject) > most {
		m.Text, m.Subject = head(m.Text, most), head(m.Subject, most)
		m.Degraded = append(m.Degraded, "the text is longer than a ticket can hold and was cut; the raw delivery has all of it")
	}
	if len(m.HTML) > most {
		m.HTML = ""
		m.Degraded = append(m.Degraded, "the HTML form was left out for its size; the raw delivery has it")
	}
	size := 0
	for i, f := range m.Fields {
		if size += len(f.Name) + len(f.Value); size > most {
			m.Fields = m.Fields[:i]
			m.Degraded = append(m.Degraded, fmt.Sprintf("only the first %d fields are shown; the raw delivery has all of them", i))
			break
		}
	}
	return m
}

func head(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }

// progress moves a reply's receipt forward, never back.
func (r *run) progress(ctx context.Context, rid string, receipt schemas.Receipt) (conv string, err error) {
	bucket := r.p.o.Bus.Bucket(bus.Messages)
	for {
		e, err := bucket.Get(ctx, record.ReplyKey(rid))
		if errors.Is(err, bus.ErrNotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		rec, err := record.Decode[record.Reply](e.Value)
		if err != nil {
			return "", err
		}
		if stage(receipt.State) <= stage(rec.Receipt.State) {
			return rec.Conv, nil
		}
		rec.Receipt.State, rec.Receipt.Reason, rec.Receipt.At = receipt.State, receipt.Reason, receipt.At
		// News of a message prove that it was sent, even where they overtake the write
		// that says so.
		rec.State, rec.Receipt.ID = record.ReplySent, receipt.ID
		if receipt.State == schemas.Failed {
			rec.State = record.ReplyFailed
		}
		rec.By = record.By{Epoch: r.lease.Epoch(), N: r.p.n.Add(1)}
		data, err := json.Marshal(rec)
		if err != nil {
			return "", err
		}
		_, err = bucket.Update(ctx, record.ReplyKey(rid), data, e.Revision)
		if !errors.Is(err, bus.ErrConflict) {
			return rec.Conv, err
		}
	}
}

func stage(s schemas.ReceiptState) int {
	return slices.Index([]schemas.ReceiptState{"", schemas.Sent, schemas.Delivered, schemas.Read, schemas.Failed}, s)
}
