package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// A turn is one job at the head of its lane, with what was read for it.
type turn struct {
	k   *desk
	m   *bus.Msg
	job record.Job
	mid string
	rec record.Message
	// recRevision and revision are those of rec and link.
	recRevision uint64
	link        record.Link
	revision    uint64
}

// job takes one job from D1 to D10. nil settles it; an error tries it again, in
// place, from D1.
func (k *desk) job(ctx context.Context, m *bus.Msg) error {
	if record.IsForget(m) {
		return k.endLane(ctx, m)
	}
	job, err := record.Decode[record.Job](m.Data)
	if err != nil {
		k.log.Error("a job cannot be read", "seq", m.Seq, "err", err)
		return nil
	}
	t := &turn{k: k, m: m, job: job, mid: job.Message.ID}
	err = t.run(ctx)
	if err == nil {
		k.settled(t.mid)
		return nil
	}
	if errors.Is(err, bus.ErrConflict) {
		// Somebody else wrote: what we have read is void, and so may our lease be.
		return later{err, 50 * time.Millisecond}
	}
	return t.trouble(ctx, err)
}

func (t *turn) run(ctx context.Context) error {
	var err error
	t.rec, t.recRevision, err = t.k.message(ctx, t.mid)
	if errors.Is(err, bus.ErrNotFound) {
		return nil // forgotten meanwhile
	}
	if err != nil {
		return err
	}
	done, err := t.standing(ctx)
	if done || err != nil {
		return err
	}
	if t.link, t.revision, err = t.k.link(ctx, t.job.Conv); err != nil {
		return err
	}
	switch {
	case t.link.Forgotten:
		// The forgetting goes on. It marks what it takes along; what came after it is a
		// new matter.
		return later{errors.New("the conversation is being forgotten"), forgetWait}
	case t.link.Last.Has(t.mid):
		if err := t.bringBack(ctx, t.link.Last.Opened); err != nil {
			return err
		}
		return t.file(ctx)
	case t.link.Doing != nil && !slices.Contains(t.link.Doing.Mids, t.mid):
		return t.stray(ctx)
	case t.link.Doing != nil:
		if err := t.bringBack(ctx, t.link.Doing.Opened); err != nil {
			return err
		}
		return t.resume(ctx)
	}
	if err := t.held(ctx); err != nil {
		return err
	}
	return t.begin(ctx)
}

// forgetWait is how soon a message is tried again while its conversation is being
// forgotten.
const forgetWait = 200 * time.Millisecond

// bringBack writes the ticket's way back again: the write of the link that named
// the ticket first may have been the last one before a crash.
func (t *turn) bringBack(ctx context.Context, opened bool) error {
	if !opened {
		return nil
	}
	w, err := t.k.wayBack(t.job.Conv, t.link.Ticket)
	if err != nil {
		return err
	}
	_, err = t.k.o.Bus.Bucket(bus.Links).Put(ctx, w.Key, w.Value)
	return err
}

// heldEvery is how often a held lane looks whether a person has decided.
const heldEvery = 2 * time.Second

// held stops the lane behind a dead letter on which nobody has decided, where
// after_dead is hold.
func (t *turn) held(ctx context.Context) error {
	if !t.k.set.Hold || slices.Contains(t.link.Gap, t.mid) {
		return nil
	}
	for _, mid := range t.link.Gap {
		rec, _, err := t.k.message(ctx, mid)
		if errors.Is(err, bus.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if at := rec.Sinks[t.k.s.Name]; at.State == record.Dead && !at.Answered {
			return later{fmt.Errorf("message %s before it is a dead letter on which nobody has decided, and after_dead is hold", mid), heldEvery}
		}
	}
	return nil
}

// standing handles a message that this sink has already ended (D1).
func (t *turn) standing(ctx context.Context) (done bool, err error) {
	at, known := t.rec.Sinks[t.k.s.Name]
	switch {
	case known && t.job.Version < at.Version:
		return true, nil
	case known && at.State == record.Filed:
		return true, t.tellFiled(ctx, at)
	case known && (at.State == record.Dropped || at.State == record.Forgotten):
		return true, nil
	case known && at.State == record.Dead && t.job.Version == at.Version:
		return true, t.buried(ctx, at)
	case known && at.State == record.Dead && t.job.Version != at.Version+1:
		return true, nil
	case known && at.State == record.Pending:
		return false, nil
	}
	// A person asked again: from here on the job is pending under its own version.
	now := time.Now().UTC()
	err = t.k.mark(ctx, t.mid, t.rec, t.recRevision, func(rec *record.Message) bool {
		old := rec.Sinks[t.k.s.Name]
		if old.State == record.Pending || old.State == record.Filed {
			return false
		}
		rec.Sinks[t.k.s.Name] = record.AtSink{State: record.Pending, Version: t.job.Version, Band: old.Band, At: now}
		rec.Version, rec.Actor = max(rec.Version, t.job.Version), t.job.Actor
		return true
	})
	if err != nil {
		return false, err
	}
	t.rec, t.recRevision, err = t.k.message(ctx, t.mid)
	return false, err
}

// stray handles an operation that names another message: its owner is gone only
// when that message has ended.
func (t *turn) stray(ctx context.Context) error {
	rec, _, err := t.k.message(ctx, t.link.Doing.Mids[0])
	if err == nil && rec.Sinks[t.k.s.Name].State == record.Pending {
		return later{fmt.Errorf("message %s of the conversation is still under way", t.link.Doing.Mids[0]), time.Second}
	}
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	t.link.Doing = nil
	if t.revision, err = t.k.putLink(ctx, t.job.Conv, t.link, t.revision, false); err != nil {
		return err
	}
	return t.begin(ctx)
}

// begin chooses the operation (D4) and writes the intent (D5).
func (t *turn) begin(ctx context.Context) error {
	// Its own death is no gap any more when a person has it tried again.
	t.link.Gap = slices.DeleteFunc(t.link.Gap, func(mid string) bool { return mid == t.mid })
	doing := &record.Doing{Mids: []string{t.mid}}
	if t.link.Ticket.ID == "" {
		doing.Op, doing.Key = opCreate, record.TicketKey(t.k.s.Name, t.mid)
	} else {
		doing.Op, doing.Key = opAppend, record.CommentKey(t.k.s.Name, t.mid, 0)
	}
	return t.intend(ctx, doing)
}

// intend writes the intent and calls.
func (t *turn) intend(ctx context.Context, doing *record.Doing) error {
	if err := t.k.gate.enter(ctx); err != nil {
		return err
	}
	doing.Epoch, doing.At = t.k.lease.Epoch(), time.Now().UTC()
	doing.Digest = t.digest(doing)
	t.link.Doing = doing
	var err error
	if t.revision, err = t.k.putLink(ctx, t.job.Conv, t.link, t.revision, false); err != nil {
		return err
	}
	if t.k.recovered() {
		got, found, err := t.look(ctx, doing)
		if err != nil {
			return t.again(fmt.Errorf("look first, after a backup was restored: %w", err))
		}
		if found {
			return t.done(ctx, got)
		}
	}
	return t.call(ctx)
}

// file is D8 to D9: the link says that the message is on the ticket.
func (t *turn) file(ctx context.Context) error {
	last := t.link.Last
	at := record.AtSink{
		State: record.Filed, Version: t.job.Version, Band: t.rec.Sinks[t.k.s.Name].Band, At: time.Now().UTC(),
		Ticket: t.link.Ticket.ID, URL: t.link.Ticket.URL, Comment: last.Comment, Opened: last.Opened, Follows: last.Follows,
	}
	err := t.k.mark(ctx, t.mid, t.rec, t.recRevision, func(rec *record.Message) bool {
		if rec.Sinks[t.k.s.Name].State == record.Filed {
			return false
		}
		rec.Sinks[t.k.s.Name] = at
		return true
	})
	if err != nil {
		return err
	}
	t.k.o.Metrics.Filed(t.k.s.Name, time.Since(t.job.Message.ReceivedAt))
	return t.tellFiled(ctx, at)
}

func (t *turn) tellFiled(ctx context.Context, at record.AtSink) error {
	id := record.Digest("filed", t.mid, t.k.s.Name, strconv.Itoa(at.Version))
	return t.k.publish(ctx, schemas.EventFiled, t.job.Conv, id, schemas.Filed{
		Message: t.mid, Conversation: t.job.Conv, Sink: t.k.s.Name, Job: t.m.Seq, Version: at.Version,
		Ticket: schemas.Ref{ID: at.Ticket, URL: at.URL}, Comment: at.Comment, Opened: at.Opened, Follows: at.Follows,
		Calls: t.k.callsOf(t.mid), Late: at.Version > 1, At: at.At,
	})
}

// trouble tells the trail that a message waits, the first time and then ever
// more rarely, and returns err.
func (t *turn) trouble(ctx context.Context, err error) error {
	attempt := t.m.Attempt
	if attempt&(attempt-1) != 0 || ctx.Err() != nil || errors.Is(err, bus.ErrClosed) {
		return err
	}
	id := record.Digest("retrying", t.mid, t.k.s.Name, strconv.Itoa(t.job.Version), strconv.Itoa(attempt), strconv.FormatUint(t.k.lease.Epoch(), 10))
	if tellErr := t.k.publish(ctx, schemas.EventRetrying, t.job.Conv, id, schemas.Trouble{
		Message: t.mid, Conversation: t.job.Conv, Sink: t.k.s.Name, Job: t.m.Seq, Version: t.job.Version,
		Reason: err.Error(), Attempt: attempt, Calls: t.k.callsOf(t.mid), At: time.Now().UTC(),
	}); tellErr != nil {
		t.k.log.Warn("a retry was not told", "message", t.mid, "err", tellErr)
	}
	return err
}

// endLane stops the lane of a conversation that is being forgotten: later jobs
// wait until that is done.
func (k *desk) endLane(ctx context.Context, m *bus.Msg) error {
	conv := m.Subject[len("jobs."+k.s.Name+"."):]
	old, revision, err := k.link(ctx, conv)
	if err != nil {
		return err
	}
	if old.Forgotten {
		return nil
	}
	if old.Doing != nil && !k.isClear(old.Doing.Key) {
		// What the desk may still commit has to be waited out, or it would be found
		// by nobody.
		if wait := k.set.Settle - k.since(old.Doing.Key); wait > 0 {
			return later{errors.New("an operation of the conversation is not clear yet"), wait}
		}
	}
	_, err = k.putLink(ctx, conv, record.Link{Schema: schemas.Version, Forgotten: true}, revision, false)
	return err
}

// addCall notes a call for the message's story.
func (k *desk) addCall(mid string, c schemas.Call) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if calls := k.calls[mid]; len(calls) < 50 {
		k.calls[mid] = append(calls, c)
	}
}

func (k *desk) callsOf(mid string) []schemas.Call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls[mid])
}

func (k *desk) settled(mid string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.calls, mid)
}

// since returns how long this process has known of an operation that is not
// clear, from the first time on; the clock is monotonic.
func (k *desk) since(key string) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	first, ok := k.seen[key]
	if !ok {
		first = time.Now()
		k.seen[key] = first
	}
	return time.Since(first)
}

// unclear starts the wait for an operation anew: the call has only just ended.
func (k *desk) unclear(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen[key] = time.Now()
	delete(k.clear, key)
}

// isOpen reports whether an attempt of ours or a predecessor's may still be done.
func (k *desk) isOpen(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, seen := k.seen[key]
	return seen && !k.clear[key]
}

func (k *desk) doubt(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doubts[key] = true
}

func (k *desk) doubted(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.doubts[key]
}

func (k *desk) notDone(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clear[key] = true
}

func (k *desk) isClear(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.clear[key]
}

// over forgets an operation that has ended.
func (k *desk) over(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.seen, key)
	delete(k.clear, key)
	delete(k.doubts, key)
}
