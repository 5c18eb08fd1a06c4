package pipeline

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// TestADecisionIsMadeOnce kills the process in place of each of its durable writes
// and changes the rules before the restart: F-P1, F-P3a, F-P3, F-P4 (a fan-out,
// message 2 of 3) and F-P5. Where a decision was stored it stands (I5); every
// message has its record, its jobs and one event (I2, I3, I4).
func TestADecisionIsMadeOnce(t *testing.T) {
	t.Parallel()
	for n, last := int64(0), int64(12); n <= last; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sinks = []string{"desk", "archive", "other"}
			w.rules.Store(to("v1", "desk", "archive"))
			w.open()
			first := said("1", "a", "one")
			first.Attachments = []schemas.Attachment{{Name: "a.txt"}}
			w.deliver(parcel{
				Messages: []schemas.Message{first, said("2", "b", "two"), said("3", "a", "three")},
				Data:     map[int][][]byte{0: {[]byte("balsa")}},
			})
			w.arm(n)
			w.start()
			if n == 0 {
				says[schemas.Decided](w, schemas.EventDecided, 3)
				w.settled()
				if got := w.writes.Load(); got < last {
					t.Errorf("three messages took %d writes, want at least the %d that are rehearsed", got, last)
				}
			} else {
				<-w.died
				stored := map[string]string{}
				for _, id := range []string{"1", "2", "3"} {
					if e, err := w.b.Bucket(bus.Messages).Get(t.Context(), w.mid(id)); err == nil {
						rec, err := record.Decode[record.Message](e.Value)
						if err != nil {
							t.Fatal(err)
						}
						stored[id] = rec.Rules
					}
				}
				w.rules.Store(to("v2", "other"))
				w.restart()
				for id, rules := range stored {
					if got := w.record(w.mid(id)).Rules; got != rules {
						t.Errorf("I5: message %s was decided by %s and again by %s", id, rules, got)
					}
				}
			}
			decided := says[schemas.Decided](w, schemas.EventDecided, 3)
			w.settled()
			if len(decided) != 3 {
				t.Errorf("I3: got %d different decisions told, want 3", len(decided))
			}
			jobs := map[string]bool{}
			var order []string
			for _, j := range w.jobs() {
				key := j.Message.VendorID + " " + j.Decision.Sink
				if !jobs[key] && j.Decision.Sink == w.record(w.mid("1")).Decisions[0].Sink {
					order = append(order, j.Message.VendorID)
				}
				jobs[key] = true
				if rec := w.record(j.Message.ID); j.Decision.Queue != rec.Rules && !strings.Contains(fmt.Sprint(j.Decision.Path), "same conversation") {
					t.Errorf("job of %s was decided by %s, its record by %s", j.Message.VendorID, j.Decision.Queue, rec.Rules)
				}
			}
			for _, id := range []string{"1", "2", "3"} {
				for sink, at := range w.record(w.mid(id)).Sinks {
					if at.State != record.Pending || !jobs[id+" "+sink] {
						t.Errorf("I2: message %s for %s is %s, has a job: %t", id, sink, at.State, jobs[id+" "+sink])
					}
				}
			}
			if a, c := slices.Index(order, "1"), slices.Index(order, "3"); a > c && c >= 0 {
				t.Errorf("I6: the conversation's jobs came as %q", order)
			}
			file := w.record(w.mid("1")).Files[0]
			if got := string(w.blob(file.Blob)); got != "balsa" || file.Size != 5 || file.SHA256 == "" {
				t.Errorf("got file %+v with %q", file, got)
			}
		})
	}
}

// TestARepeatIsADuplicate: the vendor's second delivery of a message is told and
// dropped (F-A1, I3).
func TestARepeatIsADuplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	d1 := w.deliver(one(said("1", "a", "one  more")))
	says[schemas.Decided](w, schemas.EventDecided, 1)
	d2 := w.deliver(one(said("1", "a", "one more"))) // spaces are worded differently from poll to webhook
	got := says[schemas.Duplicate](w, schemas.EventDuplicate, 1)[0]
	if got.Delivery != d2 || got.First != d1 || got.Message != w.mid("1") || got.Conversation != w.conv("a") || got.Channel != "shop" {
		t.Errorf("got %+v, want delivery %d as a repeat of %d", got, d2, d1)
	}
	if jobs := w.jobs(); len(jobs) != 1 {
		t.Errorf("got %d jobs, want 1", len(jobs))
	}
}

// TestAnIDThatWasUsedAgainKeepsBoth: other words under a known id are a message of
// their own, marked; a repeat of either is a duplicate.
func TestAnIDThatWasUsedAgainKeepsBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	for _, text := range []string{"one", "other words", "one", "other words"} {
		w.deliver(one(said("1", "a", text)))
	}
	decided := says[schemas.Decided](w, schemas.EventDecided, 2)
	says[schemas.Duplicate](w, schemas.EventDuplicate, 2)
	if decided[0].Variant || !decided[1].Variant || decided[0].Message.ID == decided[1].Message.ID {
		t.Errorf("got %+v and %+v, want the second as a variant", decided[0].Message, decided[1].Message)
	}
	if jobs := w.jobs(); len(jobs) != 2 || jobs[1].Message.Text != "other words" {
		t.Errorf("got %+v, want a job for each", jobs)
	}
	// A replay compares the id alone.
	r, err := w.b.Message(t.Context(), bus.Deliveries, 2)
	if err != nil {
		t.Fatal(err)
	}
	again := bus.Record{Subject: r.Subject, Header: r.Header, Data: r.Data}
	record.MarkReplay(&again, "2")
	w.publish(again)
	if got := says[schemas.Duplicate](w, schemas.EventDuplicate, 3)[2]; got.Message != w.mid("1") {
		t.Errorf("the replay was told as %s, want %s", got.Message, w.mid("1"))
	}
}

// TestEveryDeliveryEndsInAnEvent is I2: what holds nothing is ignored with its
// reason, what cannot be read is a dead letter with its bytes.
func TestEveryDeliveryEndsInAnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	w.deliver(parcel{Ignored: "a sticker"})
	w.deliver(parcel{})
	w.raw([]byte(`{"broken":`), "")
	w.deliver(parcel{Error: "unknown version"})
	w.deliver(parcel{Panic: true})
	if err := w.b.PutBlob(t.Context(), "raw/large", []byte("large nonsense")); err != nil {
		t.Fatal(err)
	}
	w.raw(nil, "raw/large")
	w.raw(nil, "raw/missing")
	ignored := says[schemas.DeliveryEnded](w, schemas.EventIgnored, 2)
	if ignored[0].Reason != "a sticker" && ignored[1].Reason != "a sticker" {
		t.Errorf("got %+v, want the adapter's reason", ignored)
	}
	dead := says[schemas.DeliveryEnded](w, schemas.EventDeadDelivery, 5)
	w.settled()
	letters := map[string]record.Letter{}
	for _, l := range w.letters() {
		letters[l.ID] = l
	}
	for _, d := range dead {
		l, ok := letters[d.Dead]
		if !ok || l.Reason != d.Reason || l.Reason == "" || l.Place != "shop" || l.Delivery != d.Delivery || l.Stage != record.StagePipeline {
			t.Errorf("delivery %d: got letter %+v", d.Delivery, l)
		}
		switch {
		case l.Delivery == 6:
			if l.Blob == "raw/large" || string(w.blob(l.Blob)) != "large nonsense" {
				t.Errorf("the letter's body is in %s", l.Blob)
			}
		case l.Delivery < 6 && len(l.Body) == 0:
			t.Errorf("letter of delivery %d has no bytes", l.Delivery)
		}
	}
	if !strings.Contains(letters[dead[2].Dead].Reason, "panicked") && !strings.Contains(fmt.Sprint(dead), "panicked") {
		t.Errorf("nobody says that the adapter panicked: %+v", dead)
	}
}

// TestACrashInABurialBuriesOnce: a copy of the letter has the same id (F-X1).
func TestACrashInABurialBuriesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	w.deliver(parcel{Error: "unknown version"})
	w.arm(2)
	w.start()
	<-w.died
	w.restart()
	dead := says[schemas.DeliveryEnded](w, schemas.EventDeadDelivery, 1)
	letters := w.letters()
	if len(letters) != 2 || letters[0].ID != letters[1].ID || letters[0].ID != dead[0].Dead {
		t.Errorf("got %d letters %+v, want two copies of one", len(letters), letters)
	}
}

// TestABodyThatCannotBeReadNowIsNobodysFault: the blob store is asked again.
func TestABodyThatCannotBeReadNowIsNobodysFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	r := &run{p: w.p, c: w.opened, scope: "/account", parsed: map[uint64]parsed{}}
	r.parsed[7] = parsed{err: errors.Join(errBlob, io.ErrUnexpectedEOF)}
	m := &bus.Msg{Seq: 7, Subject: record.InSubject("shop"), Header: map[string]string{"Sb-Blob": "raw/x", "Sb-Received": time.Now().Format(time.RFC3339Nano)}}
	ctx, cancel := canceled(t)
	defer cancel()
	if err := r.handle(ctx, m); !errors.Is(err, errBlob) {
		t.Errorf("got %v, want to try again", err)
	}
	if n := len(w.letters()); n != 0 {
		t.Errorf("got %d dead letters", n)
	}
}

// TestASuppressedMessageIsCounted: it has the pseudo-sink, its reason and no job.
func TestASuppressedMessageIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sinks = []string{"desk", "other"}
	w.rules.Store(&ruleset{digest: "v1", decide: func(*schemas.Message) []schemas.Decision {
		return []schemas.Decision{{Sink: record.DropSink, Drop: "an out-of-office answer"}}
	}})
	w.start()
	w.deliver(one(said("1", "a", "I am on holiday")))
	got := says[schemas.Decided](w, schemas.EventDecided, 1)[0]
	at := w.record(w.mid("1")).Sinks[record.DropSink]
	if at.State != record.Dropped || at.At.IsZero() || got.Decisions[0].Drop != "an out-of-office answer" || len(w.jobs()) != 0 {
		t.Errorf("got %+v, %+v and %d jobs", at, got.Decisions, len(w.jobs()))
	}
	// It does not decide where the conversation stays.
	w.rules.Store(to("v2", "other"))
	w.deliver(one(said("2", "a", "back again")))
	says[schemas.Decided](w, schemas.EventDecided, 2)
	if jobs := w.jobs(); len(jobs) != 1 || jobs[0].Decision.Sink != "other" {
		t.Errorf("got %+v", jobs)
	}
}

// TestAConversationStaysOnItsSinks, unless a sink is gone; the path says why.
func TestAConversationStaysOnItsSinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sinks = []string{"desk", "other"}
	w.start()
	w.deliver(one(said("1", "a", "where is my order")))
	says[schemas.Decided](w, schemas.EventDecided, 1)
	w.rules.Store(to("v2", "other"))
	w.deliver(one(said("2", "a", "urgent")))
	w.deliver(one(said("3", "b", "urgent")))
	says[schemas.Decided](w, schemas.EventDecided, 3)
	got := map[string]schemas.Decision{}
	for _, j := range w.jobs() {
		got[j.Message.VendorID] = j.Decision
	}
	if d := got["2"]; d.Sink != "desk" || d.Queue != "" || d.Path[len(d.Path)-1].Name != "same conversation" {
		t.Errorf("got %+v, want it on the desk of its conversation", d)
	}
	if got["3"].Sink != "other" {
		t.Errorf("got %+v, want another conversation where the rules say", got["3"])
	}
	w.stop()
	w.sinks = []string{"other", "third"} // the desk was taken out of the file
	w.start()
	w.deliver(one(said("4", "a", "still there?")))
	says[schemas.Decided](w, schemas.EventDecided, 4)
	jobs := w.jobs()
	if d := jobs[len(jobs)-1].Decision; d.Sink != "other" {
		t.Errorf("got %+v, want where the rules say now", d)
	}
}

// TestTwoDecideAtOnce: whoever creates the record decides; the other reads it.
func TestTwoDecideAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	first := w.deliver(one(said("1", "a", "one")))
	says[schemas.Decided](w, schemas.EventDecided, 1)
	lease, err := w.b.Lease(t.Context(), "in.shop")
	if err != nil {
		t.Fatal(err)
	}
	r := &run{p: w.p, c: w.opened, lease: lease, scope: "/account", parsed: map[uint64]parsed{}}
	w.rules.Store(to("v2", "desk"))
	msg := said("1", "a", "one")
	d, err := record.DecodeDelivery(t.Context(), w.b, w.message(first))
	if err != nil {
		t.Fatal(err)
	}
	r.stamp(&msg, d)
	conv := w.p.o.Tokens.Conversation(r.scope, msg.Conversation)
	if _, err := r.decide(t.Context(), w.message(first), &msg, conv, contentDigest(msg), false); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("a second decision: got %v, want a conflict", err)
	}
	if got := w.record(w.mid("1")).Rules; got != "v1" {
		t.Errorf("got %s, want the first", got)
	}
}

func (w *world) message(seq uint64) *bus.Msg {
	w.t.Helper()
	m, err := w.b.Message(w.t.Context(), bus.Deliveries, seq)
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

// TestTooOldToTellFromARepeat: a mailbox that is read anew must not file the past
// again; a person may replay it.
func TestTooOldToTellFromARepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	old := said("1", "a", "from the past")
	old.SentAt = time.Now().Add(-34*24*time.Hour - time.Minute)
	young := said("2", "b", "just young enough")
	young.SentAt = time.Now().Add(-33 * 24 * time.Hour)
	w.deliver(parcel{Messages: []schemas.Message{old, young}})
	dead := says[schemas.DeliveryEnded](w, schemas.EventDeadDelivery, 1)[0]
	says[schemas.Decided](w, schemas.EventDecided, 1)
	letter := w.letters()[0]
	if letter.ID != dead.Dead || letter.Conv != w.conv("a") || letter.Message != w.mid("1") || !strings.Contains(letter.Reason, "too old") {
		t.Errorf("got %+v", letter)
	}
	// In a large delivery the letter has a copy of its own.
	if err := w.b.PutBlob(t.Context(), "raw/old", []byte(strings.ReplaceAll(string(letter.Body), `"VendorID"`, `"VendorID"`))); err != nil {
		t.Fatal(err)
	}
	w.raw(nil, "raw/old")
	w.settled()
	letters := w.letters()
	if l := letters[len(letters)-1]; l.Blob == "" || l.Blob == "raw/old" || len(w.blob(l.Blob)) == 0 {
		t.Errorf("the letter of a large delivery has its body in %q", l.Blob)
	}
	again := bus.Record{Subject: record.InSubject("shop"), Header: letter.Header, Data: letter.Body}
	record.MarkReplay(&again, "1")
	w.publish(again)
	if got := says[schemas.Decided](w, schemas.EventDecided, 2)[1]; got.Message.ID != w.mid("1") {
		t.Errorf("the replay decided %+v", got.Message)
	}
}

// TestARepeatOfWhatWasForgottenIsErased is I14: the person's words do not come
// back in the raw delivery, the trail or the queue.
func TestARepeatOfWhatWasForgottenIsErased(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	forgotten := record.Message{Schema: schemas.Version, Creator: 999, Version: 1, Sinks: map[string]record.AtSink{"desk": {State: record.Forgotten, Version: 1}}}
	data, err := json.Marshal(forgotten)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"1", "2"} {
		if _, err := w.b.Bucket(bus.Messages).Create(t.Context(), w.mid(id), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.b.PutBlob(t.Context(), "raw/1", []byte(`{"Messages":[{"vendor_id":"2","conversation":"a","text":"private too"}]}`)); err != nil {
		t.Fatal(err)
	}
	w.deliver(one(said("1", "a", "something private")))
	w.raw(nil, "raw/1")
	w.deliver(parcel{Messages: []schemas.Message{said("1", "a", "something private"), said("3", "b", "somebody else's")}})
	w.start()
	says[schemas.Duplicate](w, schemas.EventDuplicate, 3)
	says[schemas.Decided](w, schemas.EventDecided, 1)
	w.settled()
	w.scan(bus.Deliveries, func(m *bus.Msg) error {
		if m.Seq != 3 {
			t.Errorf("delivery %d is still there", m.Seq)
		}
		return nil
	})
	w.scan(bus.Events, func(m *bus.Msg) error {
		if strings.Contains(string(m.Data), "private") {
			t.Errorf("the trail says %s", m.Data)
		}
		return nil
	})
	if names, err := w.b.BlobNames(t.Context(), ""); err != nil || len(names) != 0 {
		t.Errorf("got blobs %q, %v", names, err)
	}
	if got := w.jobs(); len(got) != 1 || got[0].Message.VendorID != "3" {
		t.Errorf("got jobs %+v", got)
	}

	// The creator itself, run again after the forgetting, decides nothing either.
	own := forgotten
	own.Creator = 4
	if data, err = json.Marshal(own); err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Bucket(bus.Messages).Create(t.Context(), w.mid("4"), data); err != nil {
		t.Fatal(err)
	}
	w.deliver(one(said("4", "a", "private again")))
	w.settled()
	if got := len(w.jobs()); got != 1 {
		t.Errorf("got %d jobs, want no further one", got)
	}
}
