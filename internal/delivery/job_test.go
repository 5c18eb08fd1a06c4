package delivery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// busy is the vendor's word to come again a little later.
func busy(d time.Duration) act {
	return refuse(fault.RetryAfter(fault.NotDone(&fault.Status{Code: 429}), d))
}

// TestEveryClassSurvivesEveryAnswer has each operation of a conversation meet
// each fault once, at a desk of each class: one ticket, each comment and file
// once, in order (I3, I6, I7, I8; F-D6).
func TestEveryClassSurvivesEveryAnswer(t *testing.T) {
	t.Parallel()
	faults := map[string][]act{
		"no connection":    {refuse(fault.NotDone(errors.New("no connection")))},
		"busy":             {busy(20 * time.Millisecond)},
		"lost before":      {lostBefore},
		"lost after":       {lostAfter},
		"late":             {late(40 * time.Millisecond)},
		"lost, busy, lost": {lostAfter, busy(time.Millisecond), lostBefore},
		"503 with a word on it": {func(commit func()) error {
			commit()
			return fault.RetryAfter(&fault.Status{Code: 503}, 10*time.Millisecond)
		}},
	}
	for _, class := range classes {
		for name, acts := range faults {
			for _, op := range []string{"create", "append", "attach"} {
				if op == "attach" && class == sinks.ReceiverDedup {
					continue // files travel inside
				}
				t.Run(slug(class)+"/"+op+"/"+strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, class)
					w.desk.lag = 20 * time.Millisecond
					w.desk.plan(op, acts...)
					w.start()
					w.send(talk()...)
					w.filed(3)
					w.exactly(w.talked())
					w.settledWell(w.says(schemas.EventFiled, 3), "1", "2", "3")
				})
			}
		}
	}
}

// TestAFailingLookUpIsNotAbsence: while the look-up itself fails nothing is
// repeated, however long ago the call was (§6.2).
func TestAFailingLookUpIsNotAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.set.Settle = time.Millisecond
	w.desk.plan("create", lostAfter)
	w.desk.plan("find", refuse(errors.New("500")), refuse(errors.New("500")), refuse(errors.New("500")))
	w.start()
	w.send(mail{id: "1", conv: "a", text: "hello"})
	w.filed(1)
	w.exactly([]string{"hello"})
	if n := w.desk.called("create"); n != 1 {
		t.Errorf("got %d creates, want 1", n)
	}
	w.desk.plan("append", lostAfter)
	w.desk.plan("thread", refuse(errors.New("500")))
	w.send(mail{id: "2", conv: "a", text: "again"})
	w.filed(2)
	w.exactly([]string{"hello", "again"})
	filed := only[schemas.Filed](t, w.says(schemas.EventFiled, 2), schemas.EventFiled)
	var outcomes []string
	for _, c := range filed[1].Calls {
		outcomes = append(outcomes, c.Op+" "+c.Outcome)
	}
	if want := []string{"append unknown", "thread unknown", "thread adopted"}; !slices.Equal(outcomes, want) {
		t.Errorf("the story tells %q, want %q", outcomes, want)
	}
}

// TestEveryRowForAMisunderstoodQueryAdoptsNone: real desks answer a query that
// they do not understand with all they have (§6.2).
func TestEveryRowForAMisunderstoodQueryAdoptsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.start()
	w.send(mail{id: "1", conv: "a", text: "first"})
	w.filed(1)
	w.desk.state(func() { w.desk.misunderstands = true })
	w.desk.plan("create", lostBefore)
	w.send(mail{id: "2", conv: "b", text: "second"})
	w.filed(2)
	w.exactly([]string{"first"}, []string{"second"})
}

// TestTwoTicketsUnderOneKeyAreRepaired is I8: the older is kept, the other is
// solved and tagged.
func TestTwoTicketsUnderOneKeyAreRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("create", func(commit func()) error { commit(); commit(); return errLost })
	w.desk.plan("update", refuse(errors.New("500")))
	w.start()
	w.send(mail{id: "1", conv: "a", text: "hello"})
	w.filed(1)
	w.exactly([]string{"hello"}, []string{"hello"})
	if got := w.record("1").Sinks["desk"].Ticket; got != "1" {
		t.Errorf("got filed on %s, want the older one", got)
	}
	if n := w.desk.called("update"); n != 1 {
		t.Errorf("got %d updates, want one for the second ticket", n)
	}
}

// TestAKeyIsNotTrustedBeyondItsWindow: a definite no after an unknown answer
// says nothing on the first call; once the desk has forgotten the key, it looks.
func TestAKeyIsNotTrustedBeyondItsWindow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.KeyWindow)
	w.traits.Window = 200 * time.Millisecond
	w.desk.plan("create", lostAfter, func(func()) error {
		w.desk.state(func() { w.desk.forgets = true })
		return fault.RetryAfter(fault.NotDone(&fault.Status{Code: 429}), 150*time.Millisecond)
	})
	w.start()
	w.send(mail{id: "1", conv: "a", text: "hello"})
	w.filed(1)
	w.exactly([]string{"hello"})
}

// TestARefusedRepeatOfAnUnclearCallIsLookedUp: the ticket that the first call
// opened must not be a dead letter because its repeat was refused (§7).
func TestARefusedRepeatOfAnUnclearCallIsLookedUp(t *testing.T) {
	t.Parallel()
	for _, class := range []sinks.Class{sinks.KeyWindow, sinks.Upsert} {
		t.Run(slug(class), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, class)
			w.desk.plan("create", lostAfter, refuse(fault.Permanent(&fault.Status{Code: 422})))
			w.start()
			w.send(mail{id: "1", conv: "a", text: "hello"})
			w.filed(1)
			w.exactly([]string{"hello"})
		})
	}
}

// TestAYesWithoutATicketIsUnknown: an answer that names nothing is looked up.
func TestAYesWithoutATicketIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.start()
	w.desk.plan("create", func(func()) error { return nil })
	w.send(mail{id: "1", conv: "a", text: "hello"})
	w.filed(1)
	w.exactly([]string{"hello"})
	if w.desk.called("find") == 0 {
		t.Error("nothing was looked up")
	}
}

// TestAClosedTicketIsFollowedUp: the follow-up has the key of the message that
// opens it, so that it never finds the closed one, and names what it follows.
func TestAClosedTicketIsFollowedUp(t *testing.T) {
	t.Parallel()
	for _, class := range classes {
		t.Run(slug(class), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, class)
			w.start()
			w.send(mail{id: "1", conv: "a", text: "one"})
			w.filed(1)
			w.desk.state(func() { w.desk.tickets[0].closed = true })
			w.desk.plan("create", lostAfter)
			w.send(mail{id: "2", conv: "a", text: "two"}, mail{id: "3", conv: "a", text: "three"})
			w.filed(3)
			w.exactly([]string{"one"}, []string{"two", "three"})
			follow := w.desk.tickets[1]
			if want := record.TicketKey("desk", w.mid("2")); follow.Key != want || follow.Follows == nil || follow.Follows.ID != "1" {
				t.Errorf("got key %s following %v, want %s following 1", follow.Key, follow.Follows, want)
			}
			if got := w.record("2").Sinks["desk"]; !got.Opened || got.Follows != "1" {
				t.Errorf("got %+v, want a follow-up of 1", got)
			}
			w.settledWell(w.says(schemas.EventFiled, 3), "1", "2", "3")
		})
	}
}

// TestATicketThatIsGoneIsReplaced: there is nothing to follow.
func TestATicketThatIsGoneIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.filed(1)
	w.desk.state(func() { w.desk.tickets[0].gone = true })
	// The thread of a ticket that is gone cannot be read either.
	w.desk.plan("append", lostBefore)
	w.send(mail{id: "2", conv: "a", text: "two"})
	w.filed(2)
	w.exactly([]string{"one"}, []string{"two"})
	if w.desk.tickets[1].Follows != nil {
		t.Errorf("it follows %v, which is gone", w.desk.tickets[1].Follows)
	}
}

// TestATicketThatEndsBetweenItsPartsEndsWell: an agent closes, or deletes, the
// ticket between its text and its files. The words are on it; nothing blocks and
// nothing is opened a second time under the same key (I8).
func TestATicketThatEndsBetweenItsPartsEndsWell(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*shelved){
		"closed": func(s *shelved) { s.closed = true },
		"gone":   func(s *shelved) { s.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sinks.StrongLookup)
			w.desk.plan("attach", func(commit func()) error {
				w.desk.state(func() { end(w.desk.tickets[0]) })
				commit()
				return nil
			})
			w.start()
			w.send(talk()[0], mail{id: "2", conv: "finch", text: "are you there?"})
			w.filed(2)
			w.exactly([]string{"The Finch pulls left"}, []string{"are you there?"})
			w.settledWell(w.says(schemas.EventFiled, 2), "1", "2")
		})
	}
}

// TestARefusedFileBecomesANote: the customer's words are filed, the file that the
// desk will never take is named in one internal note.
func TestARefusedFileBecomesANote(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("attach", refuse(fault.Permanentf("infected")))
	w.desk.plan("append", lostAfter)
	w.start()
	w.send(talk()[0])
	w.filed(1)
	w.exactly([]string{"The Finch pulls left", "nose.txt=spinner", "[A file could not be attached: wing.txt: attach: desk: infected]"})
	w.settledWell(w.says(schemas.EventFiled, 1), "1")
}

// TestARefusedNoteIsLeftOut: a note is ours to lose, the message is not.
func TestARefusedNoteIsLeftOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("attach", refuse(fault.Permanentf("infected")), refuse(fault.Permanentf("infected")))
	w.desk.plan("append", refuse(fault.Permanentf("no notes here")))
	w.start()
	w.send(talk()[0])
	w.filed(1)
	w.exactly([]string{"The Finch pulls left"})
	w.settledWell(w.says(schemas.EventFiled, 1), "1")
}
