package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// Operations at a desk.
const (
	opCreate = "create"
	opAppend = "append"
	opAttach = "attach"
)

// callWithin bounds one call to a desk (S-28).
const callWithin = 15 * time.Second

// An answer is what a successful operation brought.
type answer struct {
	ref schemas.Ref
	id  string
}

// call is D6 for the operation in the link, and what follows from its outcome.
func (t *turn) call(ctx context.Context) error {
	doing := t.link.Doing
	if err := t.k.slot(ctx); err != nil {
		return err
	}
	if !t.k.lease.Start() {
		t.k.free()
		return errors.New("the lease was not renewed in time")
	}
	// Until its end is clear, a predecessor's or our own earlier call counts too: a
	// clear no to this one then says nothing of that one.
	open := t.k.isOpen(doing.Key)
	t.k.unclear(doing.Key)
	got, err := t.performInSlot(ctx, doing)
	t.k.gate.result(gateView(err))
	switch {
	case err == nil:
		t.k.over(doing.Key)
		return t.done(ctx, got)
	case doing.Op != opCreate && (errors.Is(err, sinks.ErrClosed) || errors.Is(err, sinks.ErrNotFound)):
		t.k.over(doing.Key)
		if doing.Part > 0 {
			return t.refused(ctx, err) // the words are on the ticket: no other one for a file or a note
		}
		return t.followUp(ctx, errors.Is(err, sinks.ErrClosed))
	case fault.IsAuth(err):
		if !open {
			t.k.notDone(doing.Key)
		}
		return later{err, probeEvery}
	case fault.IsPermanent(err) && open && t.class(doing.Op) != sinks.ReceiverDedup:
		t.k.doubt(doing.Key)
	case fault.IsPermanent(err):
		t.k.over(doing.Key)
		return t.refused(ctx, err)
	case fault.IsNotDone(err):
		if !open {
			t.k.notDone(doing.Key)
		}
	default:
		t.k.unclear(doing.Key)
		if code := fault.StatusCode(err); code >= 400 && code < 500 {
			t.k.doubt(doing.Key)
		}
	}
	return t.again(err)
}

// gateView hides from the gate what says nothing about the desk's health.
func gateView(err error) error {
	if errors.Is(err, sinks.ErrClosed) || errors.Is(err, sinks.ErrNotFound) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// again wraps a failure with when to come back: the vendor's word, or soon at
// first and ever later.
func (t *turn) again(err error) error {
	wait := min(50*time.Millisecond<<min(t.m.Attempt-1, 10), 15*time.Second)
	if after, ok := fault.After(err); ok {
		wait = max(wait, after)
	}
	return later{err, wait}
}

// performInSlot is perform, at whose end the slot is free.
func (t *turn) performInSlot(ctx context.Context, doing *record.Doing) (answer, error) {
	defer t.k.free()
	return t.perform(ctx, doing)
}

// perform makes the call and notes it.
func (t *turn) perform(ctx context.Context, doing *record.Doing) (got answer, err error) {
	started := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	switch doing.Op {
	case opCreate:
		got.ref, err = t.k.s.Sink.Create(callCtx, t.ticket(doing))
		if err == nil && got.ref.ID == "" {
			err = errors.New("the desk said yes and named no ticket")
		}
	case opAppend:
		got.id, err = t.k.s.Sink.Append(callCtx, t.link.Ticket, t.comment(doing))
	case opAttach:
		file, ok := t.attachment(doing.Part)
		if !ok {
			return answer{}, fault.Permanentf("no file for part %d", doing.Part)
		}
		got.id, err = t.k.s.Attacher.Attach(callCtx, t.link.Ticket, file)
	default:
		return answer{}, fault.Permanentf("unknown operation %q", doing.Op)
	}
	t.note(doing.Op, doing.Key, started, err)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %s: %w", doing.Op, t.k.s.Name, err)
	}
	return got, nil
}

func (t *turn) note(op, key string, started time.Time, err error) {
	c := schemas.Call{Op: op, Key: key, At: started.UTC(), Took: time.Since(started), Outcome: "yes"}
	switch {
	case err == nil:
	case fault.IsNotDone(err) || errors.Is(err, sinks.ErrClosed) || errors.Is(err, sinks.ErrNotFound):
		c.Outcome = "no"
	default:
		c.Outcome = "unknown"
	}
	if err != nil {
		c.Words = err.Error()
		c.Words = c.Words[:min(len(c.Words), 300)]
	}
	t.k.o.Metrics.Call(t.k.s.Name, op, c.Outcome, c.Took)
	t.k.addCall(t.mid, c)
}

// done is D7: the link takes the answer, and either the intent of the next part
// or the end.
func (t *turn) done(ctx context.Context, got answer) error {
	doing := *t.link.Doing
	fresh := doing.Op == opCreate
	if fresh {
		t.link.Ticket, t.link.Opening = got.ref, t.mid
		doing.Opened = true
	} else if doing.Op == opAppend && doing.Part == 0 {
		doing.Comment = got.id
	}
	if got.id != "" {
		t.link.Ours = append(t.link.Ours[max(len(t.link.Ours)-maxOurs+1, 0):], got.id)
	}
	if next := t.nextPart(doing); next != nil {
		next.Epoch, next.At = t.k.lease.Epoch(), time.Now().UTC()
		next.Digest = t.digest(next)
		t.link.Doing = next
		var err error
		if t.revision, err = t.k.putLink(ctx, t.job.Conv, t.link, t.revision, fresh); err != nil {
			return err
		}
		return t.call(ctx)
	}
	t.link.Last = &record.Last{Mids: doing.Mids, Comment: doing.Comment, Opened: doing.Opened}
	if doing.Opened && doing.Follows != nil {
		t.link.Last.Follows = doing.Follows.ID
	}
	t.link.Doing, t.link.Gap = nil, nil
	t.link.Writer = &record.Writer{
		Conv: t.job.Conv, Channel: t.job.Message.Channel, Conversation: t.job.Message.Conversation,
		ReplyTo: t.job.Message.VendorID, Requester: t.job.Message.Requester, Subject: t.job.Message.Subject,
	}
	var err error
	if t.revision, err = t.k.putLink(ctx, t.job.Conv, t.link, t.revision, fresh); err != nil {
		return err
	}
	return t.file(ctx)
}

// maxOurs is how many of our own comments of a ticket are told by their ids.
const maxOurs = 16

// nextPart returns the intent of the part after doing, nil after the last one.
// Files are parts of their own, so that a crash in between loses none; a note on
// what is missing comes last.
func (t *turn) nextPart(doing record.Doing) *record.Doing {
	if doing.Part == notePart {
		return nil
	}
	next := record.Doing{
		Mids: doing.Mids, Comment: doing.Comment, Opened: doing.Opened, Follows: doing.Follows, Missed: doing.Missed,
	}
	if t.k.s.Attacher != nil {
		for part := doing.Part + 1; part <= len(t.job.Message.Attachments); part++ {
			if _, ok := t.attachment(part); ok {
				next.Op, next.Part, next.Key = opAttach, part, record.CommentKey(t.k.s.Name, t.mid, part)
				return &next
			}
		}
	}
	if len(t.link.Gap) > 0 || len(doing.Missed) > 0 {
		next.Op, next.Part, next.Key = opAppend, notePart, record.CommentKey(t.k.s.Name, t.mid, notePart)
		return &next
	}
	return nil
}

// notePart is the part of the internal note on what is missing.
const notePart = 900

// followUp turns an append to a ticket that takes no more into a new ticket,
// under the key of this message, linked to the old one while it can be named.
func (t *turn) followUp(ctx context.Context, closed bool) error {
	doing := &record.Doing{Mids: []string{t.mid}, Op: opCreate, Key: record.TicketKey(t.k.s.Name, t.mid)}
	if closed {
		old := t.link.Ticket
		doing.Follows = &old
	}
	return t.intend(ctx, doing)
}

// refused handles a definite and permanent no.
func (t *turn) refused(ctx context.Context, cause error) error {
	doing := *t.link.Doing
	if doing.Op == opAttach || doing.Part == notePart {
		// The customer's words are on the ticket; only this part is not.
		if doing.Op == opAttach {
			if f, ok := t.attachment(doing.Part); ok {
				doing.Missed = append(doing.Missed, f.Name+": "+cause.Error())
			}
		}
		t.link.Doing = &doing
		return t.done(ctx, answer{})
	}
	return t.bury(ctx, cause)
}

// digest names the bytes of an operation, so that a repeat can be told from a
// change.
func (t *turn) digest(doing *record.Doing) string {
	var v any
	switch doing.Op {
	case opCreate:
		v = t.ticket(doing)
	case opAppend:
		v = t.comment(doing)
	default:
		f, _ := t.attachment(doing.Part)
		v = f
	}
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return record.Digest(string(data))
}
