package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// A Forgetting is what Forget found and what it could not reach.
type Forgetting struct {
	Conversation string `json:"conversation"`
	Messages     int    `json:"messages"`
	Deliveries   int    `json:"deliveries"`
	// NotReached are the copies that are somebody else's to erase.
	NotReached []string `json:"not_reached"`
}

// A forgetNote is cursors/forget.<conv>: a forgetting that is not finished.
type forgetNote struct {
	Actor schemas.Actor `json:"actor"`
	// Upto is the last event that is forgotten, 0 before the lanes have ended: what
	// the person writes afterwards is a new matter.
	Upto       uint64 `json:"upto"`
	Messages   int    `json:"messages"`
	Deliveries int    `json:"deliveries"`
}

// A conversationTrace is everything that the trail names of a conversation.
type conversationTrace struct {
	events        []uint64
	mids, replies map[string]bool
	deliveries    map[uint64]bool
	tickets       map[[2]string]bool
}

// Forget erases a conversation everywhere in our own stores: docs/protocol.md §8.
// Every step may run twice; a forgetting that was cut off goes on at the next
// start. What the person writes while it runs waits, and is filed afterwards.
func (a *App) Forget(ctx context.Context, actor schemas.Actor, conv string) (Forgetting, error) {
	out := Forgetting{Conversation: conv}
	note, err := a.beginForgetting(ctx, actor, conv)
	if err != nil {
		return out, err
	}
	trace, err := a.trace(ctx, conv, note.Upto)
	if err != nil {
		return out, err
	}
	for _, step := range []func(context.Context, string, conversationTrace) error{
		a.forgetDeliveries, a.forgetRecords, a.forgetQueues,
	} {
		if err := step(ctx, conv, trace); err != nil {
			return out, fmt.Errorf("forget: %w", err)
		}
	}
	out.Messages, out.Deliveries = note.Messages, note.Deliveries
	if err := a.forgetTrail(ctx, note, conv, trace); err != nil {
		return out, fmt.Errorf("forget: %w", err)
	}
	for pair := range trace.tickets {
		out.NotReached = append(out.NotReached, fmt.Sprintf("ticket %s on %s", pair[1], pair[0]))
	}
	slices.Sort(out.NotReached)
	out.NotReached = append(out.NotReached, "backups", "dead letters that could not be read, which name no conversation")
	links := a.bus.Bucket(bus.Links)
	for _, s := range a.sinks {
		if err := links.Delete(ctx, record.LinkKey(s.Name, conv)); err != nil {
			return out, fmt.Errorf("forget: %w", err)
		}
	}
	return out, a.bus.Bucket(bus.Cursors).Delete(ctx, forgetKey(conv))
}

func forgetKey(conv string) string { return "forget." + conv }

// beginForgetting notes what is to be forgotten, or reads the note of a
// forgetting that was cut off, and ends the lanes.
func (a *App) beginForgetting(ctx context.Context, actor schemas.Actor, conv string) (note forgetNote, err error) {
	cursors := a.bus.Bucket(bus.Cursors)
	e, err := cursors.Get(ctx, forgetKey(conv))
	switch {
	case err == nil:
		if note, err = record.Decode[forgetNote](e.Value); err != nil || note.Upto > 0 {
			return note, err
		}
	case !errors.Is(err, bus.ErrNotFound):
		return note, err
	default:
		known, err := a.trace(ctx, conv, math.MaxUint64)
		if err != nil {
			return note, err
		}
		if len(known.mids)+len(known.deliveries) == 0 {
			return note, fmt.Errorf("%w: no conversation %s", bus.ErrNotFound, conv)
		}
		note.Actor = actor
		if err := a.putNote(ctx, conv, note); err != nil {
			return note, err
		}
	}
	if err := a.forgetLanes(ctx, conv); err != nil {
		return note, fmt.Errorf("forget: %w", err)
	}
	info, err := a.bus.Info(ctx, bus.Events)
	if err != nil {
		return note, err
	}
	trace, err := a.trace(ctx, conv, info.Last)
	if err != nil {
		return note, err
	}
	note.Upto, note.Messages, note.Deliveries = info.Last, len(trace.mids), len(trace.deliveries)
	return note, a.putNote(ctx, conv, note)
}

func (a *App) putNote(ctx context.Context, conv string, note forgetNote) error {
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	_, err = a.bus.Bucket(bus.Cursors).Put(ctx, forgetKey(conv), data)
	return err
}

// trace reads which messages, deliveries and tickets belong to a conversation, as
// of the event upto.
func (a *App) trace(ctx context.Context, conv string, upto uint64) (conversationTrace, error) {
	t := conversationTrace{mids: map[string]bool{}, replies: map[string]bool{}, deliveries: map[uint64]bool{}, tickets: map[[2]string]bool{}}
	err := a.bus.Scan(ctx, bus.Range{Stream: bus.Events, Subjects: []string{"events." + conv}}, func(m *bus.Msg) error {
		if m.Seq > upto {
			return nil
		}
		t.events = append(t.events, m.Seq)
		kind, _, _ := record.EventHeader(m)
		switch kind {
		case schemas.EventDecided:
			e, err := record.Decode[schemas.Decided](m.Data)
			t.mids[e.Message.ID], t.deliveries[e.Delivery] = true, true
			return err
		case schemas.EventDuplicate:
			e, err := record.Decode[schemas.Duplicate](m.Data)
			t.deliveries[e.Delivery] = true
			return err
		case schemas.EventFiled:
			e, err := record.Decode[schemas.Filed](m.Data)
			t.tickets[[2]string{e.Sink, e.Ticket.ID}] = true
			return err
		case schemas.EventComment:
			e, err := record.Decode[schemas.Commented](m.Data)
			t.deliveries[e.Delivery] = true
			return err
		case schemas.EventTicket:
			e, err := record.Decode[schemas.TicketChanged](m.Data)
			t.deliveries[e.Delivery] = true
			return err
		case schemas.EventReceipt:
			e, err := record.Decode[schemas.Receipted](m.Data)
			t.deliveries[e.Delivery] = true
			return err
		case schemas.EventReply:
			e, err := record.Decode[schemas.Replied](m.Data)
			t.replies[e.Reply] = true
			return err
		default:
			return nil
		}
	})
	delete(t.deliveries, 0)
	return t, err
}

// forgetLanes ends the conversation's lane at every sink and waits until it has.
func (a *App) forgetLanes(ctx context.Context, conv string) error {
	links := a.bus.Bucket(bus.Links)
	for _, s := range a.sinks {
		if _, err := a.bus.Publish(ctx, record.ForgetRecord(s.Name, conv)); err != nil {
			return err
		}
	}
	for _, s := range a.sinks {
		for {
			e, err := links.Get(ctx, record.LinkKey(s.Name, conv))
			if err == nil {
				l, err := record.Decode[record.Link](e.Value)
				if err != nil {
					return err
				}
				if l.Forgotten {
					break
				}
			} else if !errors.Is(err, bus.ErrNotFound) {
				return err
			}
			if ctx.Err() != nil {
				return fmt.Errorf("the lane at %s did not end: %w", s.Name, ctx.Err())
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
	return nil
}

func (a *App) forgetDeliveries(ctx context.Context, _ string, t conversationTrace) error {
	for seq := range t.deliveries {
		m, err := a.bus.Message(ctx, bus.Deliveries, seq)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if blob := record.BlobOf(m); blob != "" {
			if err := a.bus.DeleteBlob(ctx, blob); err != nil {
				return err
			}
		}
		if err := a.bus.Erase(ctx, bus.Deliveries, seq); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) forgetQueues(ctx context.Context, conv string, t conversationTrace) error {
	for mid := range t.mids {
		names, err := a.bus.BlobNames(ctx, conv+"/"+mid+"/")
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := a.bus.DeleteBlob(ctx, name); err != nil {
				return err
			}
		}
	}
	ours := func(m *bus.Msg) bool {
		return record.IsForget(m) || t.mids[record.JobMessage(m)] || t.replies[record.JobMessage(m)]
	}
	for _, queue := range []struct {
		stream, subject string
		ours            func(*bus.Msg) bool
	}{
		{bus.Jobs, "jobs.*." + conv, ours},
		{bus.Replies, "replies.*." + conv, ours},
		{bus.Dead, "dead.*.*." + conv, func(*bus.Msg) bool { return true }},
	} {
		if err := a.eraseIf(ctx, queue.stream, queue.subject, queue.ours); err != nil {
			return err
		}
	}
	return nil
}

// eraseIf erases the messages of a subject that f agrees to.
func (a *App) eraseIf(ctx context.Context, stream, subject string, f func(*bus.Msg) bool) error {
	var seqs []uint64
	err := a.bus.Scan(ctx, bus.Range{Stream: stream, Subjects: []string{subject}, HeadersOnly: true}, func(m *bus.Msg) error {
		if f(m) {
			seqs = append(seqs, m.Seq)
		}
		return nil
	})
	for _, seq := range seqs {
		err = errors.Join(err, a.bus.Erase(ctx, stream, seq))
	}
	return err
}

// forgetRecords leaves of each message only that it was forgotten, so that no
// late redelivery brings the person back.
func (a *App) forgetRecords(ctx context.Context, conv string, t conversationTrace) error {
	messages, links := a.bus.Bucket(bus.Messages), a.bus.Bucket(bus.Links)
	for mid := range t.mids {
		e, err := messages.Get(ctx, mid)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		old, err := record.Decode[record.Message](e.Value)
		if err != nil {
			return err
		}
		rest := record.Message{Schema: schemas.Version, Creator: old.Creator, Version: old.Version, Sinks: map[string]record.AtSink{}, By: old.By}
		for sink := range old.Sinks {
			rest.Sinks[sink] = record.AtSink{State: record.Forgotten, Version: old.Sinks[sink].Version}
		}
		data, err := json.Marshal(rest)
		if err != nil {
			return err
		}
		if _, err := messages.Update(ctx, mid, data, e.Revision); err != nil {
			return err
		}
	}
	for rid := range t.replies {
		if err := messages.Delete(ctx, record.ReplyKey(rid)); err != nil {
			return err
		}
	}
	for pair := range t.tickets {
		if err := links.Delete(ctx, record.TicketKeyOf(pair[0], a.tokens.Ticket(pair[0], pair[1]))); err != nil {
			return err
		}
	}
	return links.Delete(ctx, record.StickyKey(conv))
}

// forgetTrail erases the trail, tells that it did, waits for the ledger, and
// counts again.
func (a *App) forgetTrail(ctx context.Context, note forgetNote, conv string, t conversationTrace) error {
	for _, seq := range t.events {
		if err := a.bus.Erase(ctx, bus.Events, seq); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	e, err := record.Event(schemas.EventForgotten, conv, record.Digest("forgotten", conv, strconv.FormatUint(note.Upto, 10)), now, schemas.Forgot{
		Conversation: conv, Messages: note.Messages, Deliveries: note.Deliveries, Actor: note.Actor, At: now,
	})
	if err != nil {
		return err
	}
	seqs, err := a.bus.Publish(ctx, e)
	if err != nil {
		return err
	}
	if err := a.ledger.Wait(ctx, seqs[0]); err != nil {
		return err
	}
	left, err := a.ledger.Holds(ctx, conv)
	if err != nil || left == 0 {
		return err
	}
	since, err := a.trace(ctx, conv, math.MaxUint64)
	if err == nil && len(since.mids) == 0 {
		err = fmt.Errorf("the ledger still holds %d rows", left)
	}
	return err
}
