package delivery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// suspended is a complete answer that no retry can change.
var suspended = refuse(fault.Permanent(&fault.Status{Code: 422, Words: "Requester is suspended"}))

var kim = schemas.Actor{Name: "kim", Role: "agent", Source: "console"}

// letters are the ids of the dead letters there are.
func (w *world) letters() []string {
	w.t.Helper()
	var out []string
	err := w.life.b.Scan(w.t.Context(), bus.Range{Stream: bus.Dead, HeadersOnly: true}, func(m *bus.Msg) error {
		if id := record.LetterIDOf(m); !slices.Contains(out, id) {
			out = append(out, id)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestADeadLetterHoldsBackNobody is after_dead: continue. What follows is filed,
// and one internal note names what is missing; when the opening message is dead,
// the next one opens the ticket.
func TestADeadLetterHoldsBackNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("create", suspended)
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"}, mail{id: "2", conv: "a", text: "two"}, mail{id: "3", conv: "a", text: "three"})
	es := w.says(schemas.EventFiled, 2)
	missing := func(id string) string {
		return "[An earlier message of this conversation could not be filed; it is a dead letter in Switchboard: " + w.mid(id) + "]"
	}
	w.exactly([]string{"two", missing("1"), "three"})
	dead := only[schemas.Trouble](t, es, schemas.EventDead)
	if len(dead) != 1 || dead[0].Message != w.mid("1") || !strings.HasSuffix(dead[0].Reason, `answered 422: "Requester is suspended"`) {
		t.Errorf("got %+v, want message 1 dead with the desk's words", dead)
	}
	w.desk.plan("append", suspended)
	w.send(mail{id: "4", conv: "a", text: "four"}, mail{id: "5", conv: "a", text: "five"})
	w.filed(3)
	w.exactly([]string{"two", missing("1"), "three", "five", missing("4")})
	if at := w.record("1").Sinks["desk"]; at.State != record.Dead || at.Dead != w.letters()[0] {
		t.Errorf("got %+v, want dead with its letter", at)
	}
	w.settledWell(w.says(schemas.EventFiled, 3), "2", "3", "5")
}

// TestACrashInABurialLosesNothing is F-X1 to F-X4: after a crash at each write of
// a burial there is one letter, one event, and the next message says what is
// missing.
func TestACrashInABurialLosesNothing(t *testing.T) {
	t.Parallel()
	for n, point := range map[int64]string{2: "F-X1", 3: "F-X2", 4: "F-X3", 5: "F-X4", 6: "after"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sinks.StrongLookup)
			w.set.Settle = 20 * time.Millisecond
			w.desk.plan("create", suspended)
			l := w.open()
			w.send(mail{id: "1", conv: "a", text: "one"})
			l.arm(n)
			w.start()
			if point == "after" {
				w.says(schemas.EventDead, 1)
				l.kill()
			}
			<-l.died
			// The desk has not changed its mind: before X2 the message is refused again.
			if n <= 3 {
				w.desk.plan("create", suspended)
			}
			w.restart()
			w.send(mail{id: "2", conv: "a", text: "two"})
			w.filed(1)
			es := w.says(schemas.EventDead, 1)
			w.exactly([]string{"two", "[An earlier message of this conversation could not be filed; it is a dead letter in Switchboard: " + w.mid("1") + "]"})
			if got := len(w.letters()); got != 1 {
				t.Errorf("got %d dead letters, want 1 (copies have the same id)", got)
			}
			if got := len(ids(es, schemas.EventDead)); got != 1 {
				t.Errorf("I2: got %d different events of the death, want 1", got)
			}
			w.settledWell(es, "2")
		})
	}
}

// TestHoldStopsAConversationUntilAPersonDecides is after_dead: hold.
func TestHoldStopsAConversationUntilAPersonDecides(t *testing.T) {
	t.Parallel()
	for name, decide := range map[string]func(*Delivery, *testing.T, string) error{
		"retry":   func(d *Delivery, t *testing.T, id string) error { return d.Retry(t.Context(), kim, id) },
		"dismiss": func(d *Delivery, t *testing.T, id string) error { return d.Dismiss(t.Context(), kim, id, "spam") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sinks.StrongLookup)
			w.set.Hold = true
			w.desk.plan("create", suspended)
			l := w.start()
			w.send(mail{id: "1", conv: "a", text: "one"}, mail{id: "2", conv: "a", text: "two"})
			w.says(schemas.EventDead, 1)
			w.send(mail{id: "3", conv: "b", text: "other"})
			w.filed(1)
			waits := only[schemas.Trouble](t, w.says(schemas.EventRetrying, 1), schemas.EventRetrying)
			if got := waits[0]; got.Message != w.mid("2") || !strings.Contains(got.Reason, "hold") {
				t.Errorf("got %+v, want message 2 held", got)
			}
			if err := decide(l.d, t, w.letters()[0]); err != nil {
				t.Fatal(err)
			}
			want := 2
			if name == "retry" {
				want = 3
			}
			w.filed(want)
			said := w.desk.tickets[1].said() // the other conversation's is the first
			if said[0] != "two" || (name == "retry") != slices.Contains(said, "one") {
				t.Errorf("got %q", said)
			}
		})
	}
}

// TestARetryIsFiledOnceHoweverOftenItIsClicked: a job of the next version is the
// request; a second click is a copy that is dropped (I5).
func TestARetryIsFiledOnceHoweverOftenItIsClicked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("create", suspended, suspended)
	l := w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.says(schemas.EventDead, 1)
	first := w.letters()[0]
	if err := l.d.Retry(t.Context(), kim, first); err != nil {
		t.Fatal(err)
	}
	w.says(schemas.EventDead, 2)
	if got := w.letters(); len(got) != 2 {
		t.Fatalf("got letters %q, want one for each version", got)
	}
	second := w.letters()[1]
	for _, id := range []string{first, second, second} { // the old letter, a click, a double click
		if err := l.d.Retry(t.Context(), kim, id); err != nil {
			t.Fatal(err)
		}
	}
	w.filed(1)
	w.drained()
	w.exactly([]string{"one"})
	rec := w.record("1")
	if at := rec.Sinks["desk"]; at.Version != 3 || rec.Version != 3 || rec.Actor == nil || *rec.Actor != kim {
		t.Errorf("got %+v by %+v, want version 3 by kim", at, rec.Actor)
	}
	filed := only[schemas.Filed](t, w.says(schemas.EventFiled, 1), schemas.EventFiled)
	if !filed[0].Late || filed[0].Version != 3 {
		t.Errorf("I6: got %+v, want it marked late", filed[0])
	}
	asked := only[schemas.Requested](t, w.says(schemas.EventRetry, 4), schemas.EventRetry)
	if asked[0].Actor != kim || asked[0].Sink != "desk" || asked[0].Action != "retry" {
		t.Errorf("got %+v, want kim's word", asked[0])
	}
	w.settledWell(w.says(schemas.EventFiled, 1), "1")
}

// TestARetriedMessageDoesNotMissItself: the note on what is missing never names
// the message that is being filed.
func TestARetriedMessageDoesNotMissItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.desk.plan("create", suspended)
	l := w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.says(schemas.EventDead, 1)
	if err := l.d.Retry(t.Context(), kim, w.letters()[0]); err != nil {
		t.Fatal(err)
	}
	w.filed(1)
	w.exactly([]string{"one"})
}

// TestAPersonMaySendToAnotherSink: a job for a sink that the record does not know
// adds it (re-route).
func TestAPersonMaySendToAnotherSink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.open()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.edit("1", func(m *record.Message) {
		m.Sinks = map[string]record.AtSink{"other": {State: record.Dead, Version: 1, Dead: "x"}}
	})
	w.start()
	w.filed(1)
	if got := w.record("1").Sinks; got["desk"].State != record.Filed || got["other"].State != record.Dead {
		t.Errorf("got %+v, want it filed here and untouched there", got)
	}
}

// TestADeadDeliveryIsReplayed: what could not be read comes in again as a copy
// with its body, to where it came from.
func TestADeadDeliveryIsReplayed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.channels["shop"] = &channels.Opened{Name: "shop"}
	l := w.start()
	big := strings.Repeat("x", 1000)
	blob := "dead/letter"
	if err := l.b.PutBlob(t.Context(), blob, []byte(big)); err != nil {
		t.Fatal(err)
	}
	d, err := record.EncodeDelivery(record.InSubject("shop"), hook.Delivery{Method: "POST", URL: "https://in.example/hooks/shop", Body: []byte("raw"), ReceivedAt: time.Now()}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]string{"sb.seq": "7"} // what Watermill's metadata adds is ours, not the delivery's
	maps.Copy(header, d.Header)
	for _, letter := range []record.Letter{
		{ID: "small", Stage: record.StagePipeline, Place: "shop", Delivery: 7, Version: 1, Header: header, Body: []byte("raw")},
		{ID: "large", Stage: record.StagePipeline, Place: "shop", Delivery: 8, Version: 1, Header: header, Blob: blob},
		{ID: "back", Stage: record.StagePipeline, Place: "desk", Delivery: 9, Version: 1, Header: header, Body: []byte("nonsense")},
	} {
		r, err := letter.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.b.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if err := l.d.Retry(t.Context(), kim, letter.ID); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err = l.b.Scan(t.Context(), bus.Range{Stream: bus.Deliveries}, func(m *bus.Msg) error {
		d, err := record.DecodeDelivery(t.Context(), l.b, m)
		if m.Header["sb.seq"] != "" {
			t.Errorf("our own metadata became a header: %v", m.Header)
		}
		got = append(got, fmt.Sprint(m.Subject, " ", len(d.Body), " ", record.Replayed(m)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"deliveries.in.shop 3 7", "deliveries.in.shop 1000 8", "deliveries.back.desk 8 9"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestADeadReplyIsSentAgainOnAPersonsWord: the copy counts how often it was said.
func TestADeadReplyIsSentAgainOnAPersonsWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.start()
	letter := record.Letter{ID: "x", Stage: record.StageReply, Place: "shop", Conv: "c", Version: 1, Reply: &record.ReplyJob{ID: "r1", Again: 1}}
	r, err := letter.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.b.Publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := l.d.Retry(t.Context(), kim, "x"); err != nil {
		t.Fatal(err)
	}
	m, err := l.b.Message(t.Context(), bus.Replies, 1)
	if err != nil {
		t.Fatal(err)
	}
	if job, err := record.Decode[record.ReplyJob](m.Data); err != nil || job.Again != 2 || m.Subject != "replies.shop.c" {
		t.Errorf("got %+v to %s (%v), want the second time", job, m.Subject, err)
	}
}

// TestNoLetterNoRetry: an id that nobody knows is said to be unknown.
func TestNoLetterNoRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	l := w.open()
	for name, err := range map[string]error{
		"retry": l.d.Retry(t.Context(), kim, "nobody"), "dismiss": l.d.Dismiss(t.Context(), kim, "nobody", ""),
	} {
		if !errors.Is(err, ErrNoLetter) {
			t.Errorf("%s: got %v, want ErrNoLetter", name, err)
		}
	}
}
