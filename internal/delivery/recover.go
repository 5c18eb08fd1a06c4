package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// resume is D3: an operation is under way whose outcome is not known here. It
// looks, and goes on looking until the desk can no longer commit late, and only
// then repeats, with the same key (docs/protocol.md §6).
func (t *turn) resume(ctx context.Context) error {
	if err := t.k.gate.enter(ctx); err != nil {
		return err
	}
	doing := t.link.Doing
	if t.k.isClear(doing.Key) {
		return t.repeat(ctx)
	}
	elapsed := t.k.since(doing.Key)
	class, patience := t.class(doing.Op), t.k.set.Settle
	switch class {
	case sinks.ReceiverDedup:
		return t.repeat(ctx)
	case sinks.Upsert:
		if !t.k.doubted(doing.Key) {
			return t.repeat(ctx)
		}
	case sinks.KeyWindow:
		age := time.Since(doing.At)
		fresh := age >= 0 && age < t.k.s.Traits.Window/2 && !t.k.doubted(doing.Key) && !t.k.recovered()
		if fresh && doing.Digest == t.digest(doing) {
			return t.repeat(ctx)
		}
	case sinks.LaggingLookup:
		patience = max(patience, t.k.s.Traits.Window)
	}
	got, found, err := t.look(ctx, doing)
	if err != nil {
		// Absence of an answer is not absence.
		return t.again(fmt.Errorf("look for what became of it: %w", err))
	}
	if found {
		t.k.over(doing.Key)
		return t.done(ctx, got)
	}
	if elapsed < patience {
		return later{errors.New("it is not to be seen yet, and the desk may still do it"), min(max(patience-elapsed, 10*time.Millisecond), lookEvery(elapsed))}
	}
	t.k.notDone(doing.Key) // as far as the desk's bound goes
	return t.repeat(ctx)
}

// lookEvery spaces the looks: often at first.
func lookEvery(elapsed time.Duration) time.Duration {
	return min(max(elapsed/2, 100*time.Millisecond), time.Minute)
}

func (t *turn) class(op string) sinks.Class {
	if op == opCreate {
		return t.k.s.Traits.Create
	}
	return t.k.s.Traits.Append
}

// repeat calls again, with the same key and under this owner's epoch.
func (t *turn) repeat(ctx context.Context) error {
	doing := *t.link.Doing
	if doing.Epoch != t.k.lease.Epoch() {
		doing.Epoch, doing.Attempt = t.k.lease.Epoch(), doing.Attempt+1
		t.link.Doing = &doing
		var err error
		if t.revision, err = t.k.putLink(ctx, t.job.Conv, t.link, t.revision, false); err != nil {
			return err
		}
	}
	return t.call(ctx)
}

// look asks the desk whether an operation was done. Answers are compared byte for
// byte: real desks answer a query that they did not understand with every row.
func (t *turn) look(ctx context.Context, doing *record.Doing) (answer, bool, error) {
	if err := t.k.slot(ctx); err != nil {
		return answer{}, false, err
	}
	defer t.k.free()
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	if doing.Op == opCreate {
		if t.k.s.Finder == nil {
			return answer{}, false, nil
		}
		candidates, err := t.k.s.Finder.Find(ctx, doing.Key)
		var found []schemas.Ref
		for _, c := range candidates {
			if c.Key == doing.Key {
				found = append(found, c.Ref)
			}
		}
		t.looked("find", doing.Key, started, len(found) > 0, err)
		if err != nil || len(found) == 0 {
			return answer{}, false, err
		}
		t.repair(ctx, found[1:])
		return answer{ref: found[0]}, true, nil
	}
	if t.k.s.Threader == nil {
		return answer{}, false, nil
	}
	comments, err := t.k.s.Threader.Thread(ctx, t.link.Ticket)
	id, found := "", false
	for _, c := range comments {
		if carries(c, doing.Key) {
			id, found = c.ID, true
			break
		}
	}
	t.looked("thread", doing.Key, started, found, err)
	if errors.Is(err, sinks.ErrNotFound) {
		return answer{}, false, nil // gone: the repeat will say so
	}
	return answer{id: id}, found, err
}

func carries(c schemas.Comment, key string) bool {
	if c.Key == key {
		return true
	}
	for _, f := range c.Files {
		if f.Key == key {
			return true
		}
	}
	return false
}

func (t *turn) looked(op, key string, started time.Time, found bool, err error) {
	t.k.gate.result(gateView(err))
	c := schemas.Call{Op: op, Key: key, At: started.UTC(), Took: time.Since(started), Outcome: "absent"}
	switch {
	case err != nil:
		c.Outcome, c.Words = "unknown", err.Error()
		c.Words = c.Words[:min(len(c.Words), 300)]
	case found:
		c.Outcome = "adopted"
	}
	t.k.o.Metrics.Call(t.k.s.Name, op, c.Outcome, c.Took)
	t.k.addCall(t.mid, c)
}

// repair closes tickets that were opened twice under one key (I8).
func (t *turn) repair(ctx context.Context, extra []schemas.Ref) {
	if len(extra) == 0 {
		return
	}
	t.k.log.Error("a ticket was opened twice: the older one is kept", "message", t.mid, "twice", len(extra))
	if t.k.s.Updater == nil {
		return
	}
	for _, ref := range extra {
		err := t.k.s.Updater.Update(ctx, ref, schemas.Change{Status: new(schemas.StatusSolved), AddTags: []string{"sb-duplicate"}})
		if err != nil {
			t.k.log.Warn("the second ticket could not be closed", "ticket", ref.ID, "err", err)
		}
	}
}
