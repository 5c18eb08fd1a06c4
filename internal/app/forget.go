package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// A conversationTrace is everything that the trail names of a conversation.
type conversationTrace struct {
	mids, replies map[string]bool
	deliveries    map[uint64]bool
	tickets       map[[2]string]bool
}

// Forget erases a conversation everywhere in our own stores: docs/protocol.md §8.
// Every step may run twice; a forgetting that was cut off goes on at the next
// start.
func (a *App) Forget(ctx context.Context, actor schemas.Actor, conv string) (Forgetting, error) {
	out := Forgetting{Conversation: conv}
	key := "forget." + conv
	note, err := json.Marshal(actor)
	if err != nil {
		return out, err
	}
	if _, err := a.bus.Bucket(bus.Cursors).Put(ctx, key, note); err != nil {
		return out, err
	}
	trace, err := a.trace(ctx, conv)
	if err != nil {
		return out, err
	}
	if len(trace.mids) == 0 && len(trace.deliveries) == 0 {
		return out, errors.Join(fmt.Errorf("%w: no conversation %s", bus.ErrNotFound, conv), a.bus.Bucket(bus.Cursors).Delete(ctx, key))
	}
	for _, step := range []func(context.Context, string, conversationTrace) error{
		a.forgetLanes, a.forgetDeliveries, a.forgetQueues, a.forgetRecords,
	} {
		if err := step(ctx, conv, trace); err != nil {
			return out, fmt.Errorf("forget: %w", err)
		}
	}
	out.Messages, out.Deliveries = len(trace.mids), len(trace.deliveries)
	if err := a.forgetTrail(ctx, actor, conv, &out); err != nil {
		return out, fmt.Errorf("forget: %w", err)
	}
	for pair := range trace.tickets {
		out.NotReached = append(out.NotReached, fmt.Sprintf("ticket %s on %s", pair[1], pair[0]))
	}
	out.NotReached = append(out.NotReached, "backups", "dead letters that could not be read, which name no conversation")
	return out, a.bus.Bucket(bus.Cursors).Delete(ctx, key)
}

// trace reads which messages, deliveries and tickets belong to a conversation.
func (a *App) trace(ctx context.Context, conv string) (conversationTrace, error) {
	t := conversationTrace{mids: map[string]bool{}, replies: map[string]bool{}, deliveries: map[uint64]bool{}, tickets: map[[2]string]bool{}}
	err := a.bus.Scan(ctx, bus.Range{Stream: bus.Events, Subjects: []string{"events." + conv}}, func(m *bus.Msg) error {
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
func (a *App) forgetLanes(ctx context.Context, conv string, _ conversationTrace) error {
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

func (a *App) forgetQueues(ctx context.Context, conv string, _ conversationTrace) error {
	names, err := a.bus.BlobNames(ctx, conv+"/")
	if err != nil {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, a.bus.DeleteBlob(ctx, name))
	}
	return errors.Join(err,
		a.bus.Purge(ctx, bus.Jobs, "jobs.*."+conv), a.bus.Purge(ctx, bus.Replies, "replies.*."+conv),
		a.bus.Purge(ctx, bus.Dead, "dead.*.*."+conv))
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

// forgetTrail purges the trail, tells that it did, waits for the ledger, and
// counts again.
func (a *App) forgetTrail(ctx context.Context, actor schemas.Actor, conv string, out *Forgetting) error {
	if err := a.bus.Purge(ctx, bus.Events, "events."+conv); err != nil {
		return err
	}
	now := time.Now().UTC()
	e, err := record.Event(schemas.EventForgotten, conv, record.Digest("forgotten", conv, now.String()), now, schemas.Forgot{
		Conversation: conv, Messages: out.Messages, Deliveries: out.Deliveries, Actor: actor, At: now,
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
	if err == nil && left > 0 {
		err = fmt.Errorf("the ledger still holds %d rows", left)
	}
	return err
}
