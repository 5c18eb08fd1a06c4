package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// TestALaneWaitsForItsHeadAndForNobodyElse: one conversation in trouble holds back
// no other one.
func TestALaneWaitsForItsHeadAndForNobodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	stuck := make(chan struct{})
	w.desk.onCall = func(op, key string) {
		w.intended(op, key)
		if key == record.TicketKey("desk", w.mid("a1")) {
			<-stuck
		}
	}
	w.start()
	w.send(mail{id: "a1", conv: "a", text: "a1"}, mail{id: "a2", conv: "a", text: "a2"})
	for i := range 5 {
		w.send(mail{id: fmt.Sprint("b", i), conv: fmt.Sprint("b", i), text: "b"})
	}
	w.filed(5)
	if at := w.record("a2").Sinks["desk"].State; at != record.Pending {
		t.Errorf("the second message of a stuck conversation is %s", at)
	}
	close(stuck)
	w.filed(7)
	w.settledWell(w.says(schemas.EventFiled, 7), "a1", "a2", "b0", "b4")
}

// TestAnOverlappingOwnerFilesOnce is F-D6z: an owner that froze after the desk had
// committed comes back when another one has adopted the ticket. Its write of the
// link fails, and nothing is doubled (I10).
func TestAnOverlappingOwnerFilesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	w.desk.plan("create", func(commit func()) error {
		commit()
		close(frozen)
		<-thaw
		return nil
	})
	first := w.start()
	w.send(mail{id: "1", conv: "a", text: "one"}, mail{id: "2", conv: "a", text: "two"})
	<-frozen
	old := first.readers
	w.start() // a second owner, under a later epoch
	w.filed(2)
	close(thaw)
	for _, r := range old {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}
	w.exactly([]string{"one", "two"})
	w.settledWell(w.says(schemas.EventFiled, 2), "1", "2")
}

// TestAStrayIntentIsWaitedForWhileItsMessageIsUnderWay is I9.
func TestAStrayIntentIsWaitedForWhileItsMessageIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.open()
	w.send(mail{id: "1", conv: "a", text: "one"})
	k := &desk{o: w.life.d.o, s: w.desk.opened(w.life.dead.Load, w.traits), lease: w.lease(), calls: map[string][]schemas.Call{}}
	stray := record.Link{Schema: schemas.Version, Doing: &record.Doing{Mids: []string{w.mid("1")}, Op: opCreate, Key: "sb-other"}}
	rev, err := k.putLink(t.Context(), w.conv("a"), stray, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	turn := &turn{k: k, mid: w.mid("2"), link: stray, revision: rev, job: w.job(mail{id: "2", conv: "a", text: "two"}), m: &bus.Msg{Attempt: 1}}
	err = turn.stray(t.Context())
	if d, ok := errors.AsType[later](err); !ok || d.d <= 0 || w.desk.called("create") != 0 {
		t.Errorf("got %v and %d creates, want to wait", err, w.desk.called("create"))
	}
}

func (w *world) lease() *bus.Lease {
	w.t.Helper()
	l, err := w.life.b.Lease(w.t.Context(), JobsUnit("desk"))
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestAStrayIntentOfAnEndedMessageGoes: what is left of a message that has ended
// does not block its conversation.
func TestAStrayIntentOfAnEndedMessageGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.open()
	k := &desk{o: l.d.o, s: w.desk.opened(l.dead.Load, w.traits), lease: w.lease()}
	stray := record.Link{Schema: schemas.Version, Doing: &record.Doing{Mids: []string{"nobody"}, Op: opCreate, Key: "sb-other"}}
	if _, err := k.putLink(t.Context(), w.conv("a"), stray, 0, false); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.filed(1)
	w.exactly([]string{"one"})
	w.settledWell(w.says(schemas.EventFiled, 1), "1")
}

// TestForgettingEndsALane: after the forget job nothing of the conversation is
// called any more, until the forgetting is done: what it has marked drops, what
// came after it is a new matter. An unclear operation is waited out first (§8).
func TestForgettingEndsALane(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.open()
	w.send(mail{id: "1", conv: "a", text: "one"})
	if _, err := l.b.Publish(t.Context(), record.ForgetRecord("desk", w.conv("a"))); err != nil {
		t.Fatal(err)
	}
	w.send(mail{id: "2", conv: "a", text: "two"}, mail{id: "3", conv: "a", text: "three"}, mail{id: "4", conv: "b", text: "four"})
	w.edit("2", func(m *record.Message) { m.Sinks["desk"] = record.AtSink{State: record.Forgotten, Version: 1} })
	w.start()
	w.filed(2)
	w.says(schemas.EventRetrying, 1) // message 3 waits
	if link := w.link("a"); !link.Forgotten || link.Ticket.ID != "" {
		t.Errorf("got %+v, want a link that is forgotten and holds nothing", link)
	}
	if err := l.b.Bucket(bus.Links).Delete(t.Context(), record.LinkKey("desk", w.conv("a"))); err != nil {
		t.Fatal(err)
	}
	w.filed(3)
	w.drained()
	for _, ticket := range w.desk.tickets {
		if said := ticket.said(); len(said) != 1 || said[0] == "two" {
			t.Errorf("a ticket says %q", said)
		}
	}

	// An operation whose end is not known is waited out.
	k := &desk{o: l.d.o, s: w.desk.opened(l.dead.Load, w.traits), lease: w.lease(), set: w.set, seen: map[string]time.Time{}, clear: map[string]bool{}}
	open := record.Link{Schema: schemas.Version, Doing: &record.Doing{Mids: []string{w.mid("9")}, Op: opCreate, Key: "sb-x"}}
	if _, err := k.putLink(t.Context(), w.conv("c"), open, 0, false); err != nil {
		t.Fatal(err)
	}
	err := k.endLane(t.Context(), &bus.Msg{Subject: record.JobSubject("desk", w.conv("c"))})
	if d, ok := errors.AsType[later](err); !ok || d.d <= 0 {
		t.Errorf("got %v, want to wait for what is not clear", err)
	}
}

// drained waits until the reader of jobs has settled everything.
func (w *world) drained() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	info, err := w.life.b.Info(ctx, bus.Jobs)
	if err != nil {
		w.t.Fatal(err)
	}
	for w.life.readers[0].Floor() < info.Last {
		if ctx.Err() != nil {
			w.t.Fatalf("the jobs were not settled: floor %d of %d", w.life.readers[0].Floor(), info.Last)
		}
		if _, err := w.life.b.Info(ctx, bus.Jobs); err != nil { // asks the broker: others run meanwhile
			w.t.Fatal(err)
		}
	}
}

// TestWhatWasForgottenIsNotFiled: a job whose record is gone, or that cannot be
// read, settles.
func TestWhatWasForgottenIsNotFiled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.open()
	w.post(w.job(mail{id: "1", conv: "a", text: "one"}))
	if _, err := l.b.Publish(t.Context(), bus.Record{Subject: record.JobSubject("desk", w.conv("a")), Data: []byte("{")}); err != nil {
		t.Fatal(err)
	}
	for i, state := range []record.State{record.Forgotten, record.Dropped} {
		id := fmt.Sprint("s", i)
		w.send(mail{id: id, conv: "b", text: "x"})
		w.edit(id, func(m *record.Message) { m.Sinks["desk"] = record.AtSink{State: state, Version: 1} })
	}
	w.start()
	w.drained()
	if len(w.desk.calls) != 0 {
		t.Errorf("the desk was called: %q", w.desk.calls)
	}
}

// edit changes messages/<mid>.
func (w *world) edit(id string, f func(*record.Message)) {
	w.t.Helper()
	k := &desk{o: w.life.d.o, s: w.desk.opened(w.life.dead.Load, w.traits), lease: w.lease()}
	rec, rev, err := k.message(w.t.Context(), w.mid(id))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := k.mark(w.t.Context(), w.mid(id), rec, rev, func(m *record.Message) bool { f(m); return true }); err != nil {
		w.t.Fatal(err)
	}
}

// TestTheSameJobTwiceIsOneEntry: a publish may land twice (I3).
func TestTheSameJobTwiceIsOneEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.open()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.post(w.sent[0])
	w.send(mail{id: "2", conv: "a", text: "two"})
	w.post(w.sent[0])
	w.start()
	w.filed(2)
	w.drained()
	w.exactly([]string{"one", "two"})
	w.settledWell(w.says(schemas.EventFiled, 2), "1", "2")
}

// TestAnotherSinkWritesTheSameRecord: a message on two sinks has one record; a
// lost swap is read again and nothing of the other sink is overwritten.
func TestAnotherSinkWritesTheSameRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.open()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.desk.onCall = func(op, key string) {
		if op == "create" {
			w.edit("1", func(m *record.Message) { m.Sinks["other"] = record.AtSink{State: record.Filed, Ticket: "X"} })
		}
	}
	w.start()
	w.filed(1)
	if got := w.record("1").Sinks; got["other"].Ticket != "X" || got["desk"].State != record.Filed {
		t.Errorf("got %+v, want both sinks filed", got)
	}
}

// TestTroubleIsToldEverMoreRarely: attempts 1, 2, 4, 8 … are in the trail.
func TestTroubleIsToldEverMoreRarely(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.Upsert)
	w.desk.plan("create", slices.Repeat([]act{refuse(fault.RetryAfter(fault.NotDone(errors.New("no connection")), time.Millisecond))}, 5)...)
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.filed(1)
	var attempts []int
	for _, e := range only[schemas.Trouble](t, w.says(schemas.EventRetrying, 3), schemas.EventRetrying) {
		attempts = append(attempts, e.Attempt)
	}
	if !slices.Equal(attempts, []int{1, 2, 4}) {
		t.Errorf("got attempts %v, want 1, 2, 4", attempts)
	}
}

// TestARestoredBackupLooksFirst: the desk may know more than we do.
func TestARestoredBackupLooksFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.open()
	l.d.o.Recovered = func() bool { return true }
	w.send(mail{id: "1", conv: "a", text: "one"}, mail{id: "2", conv: "b", text: "two"})
	w.desk.state(func() { w.desk.commit(schemas.Ticket{Key: record.TicketKey("desk", w.mid("1")), Text: "one"}) })
	w.desk.plan("find", refuse(errors.New("500")))
	w.start()
	w.filed(2)
	w.exactly([]string{"one"}, []string{"two"})
	if n := w.desk.called("create"); n != 1 {
		t.Errorf("got %d creates, want one: the other ticket was there", n)
	}
}
