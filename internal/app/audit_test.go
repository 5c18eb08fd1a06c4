package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// TestTheBooksBalance over everything that can become of a delivery (I15).
func TestTheBooksBalance(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.rules = `
route:
  sink: desk
  routes:
    - name: silence
      when: { text: [unsubscribe] }
      suppress: newsletter noise
`
	s.shelf.refuse = func(op, key string) error {
		if op == "create" && key == record.TicketKey("desk", s.mid("dead")) {
			return fault.Permanentf("no")
		}
		if op == "create" && key == record.TicketKey("desk", s.mid("waits")) {
			return errDesk
		}
		return nil
	}
	s.start()
	s.post(
		note{ID: "1", Conv: "a", Text: "one"}, note{ID: "1", Conv: "a", Text: "one"}, note{ID: "2", Conv: "a", Text: "two"}, note{},
		note{ID: "dead", Conv: "b", Text: "refused"}, note{ID: "waits", Conv: "c", Text: "waits"}, note{ID: "dropped", Conv: "d", Text: "unsubscribe"},
		note{ID: "V9", Receipt: "read"},
	)
	s.do(http.MethodPost, "/hooks/in", "", []byte("{"))
	s.tell(agent("1", "c1", "an answer", schemas.Public))
	s.tell(sinks.Changes{Ignored: "nothing"})
	s.filed(2)
	var b Books
	s.until("all is settled but one", func() bool {
		b = s.books()
		return b.Pending == 1 && b.Ignored == 4
	})
	b.At = time.Time{}
	want := Books{Received: 11, Filed: 2, Duplicate: 1, Ignored: 4, Dead: 2, Dropped: 1, Pending: 1, Tickets: 1, Balanced: true}
	if got, _ := json.Marshal(b); string(got) != string(must(json.Marshal(want))) {
		t.Errorf("got %s, want %s", got, must(json.Marshal(want)))
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestAuditFindsWhatIsBroken: each record is broken by hand, and named.
func TestAuditFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "gone", Conv: "a", Text: "x"}, note{ID: "noticket", Conv: "b", Text: "x"}, note{ID: "nojob", Conv: "c", Text: "x"},
		note{ID: "noletter", Conv: "d", Text: "x"}, note{ID: "garbage", Conv: "e", Text: "x"}, note{ID: "intent", Conv: "f", Text: "x"}, note{})
	s.filed(6)
	s.until("the empty note is ignored", func() bool { return s.books().Ignored == 1 })
	if b := s.books(); !b.Balanced {
		t.Fatalf("before: got %+v", b)
	}
	if err := s.halt(); err != nil { // so that every floor is written, and nobody mends
		t.Fatal(err)
	}
	a, err := s.build()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s.a = a
	defer func() { s.a = nil }()
	ctx := t.Context()
	messages, links := a.bus.Bucket(bus.Messages), a.bus.Bucket(bus.Links)
	edit := func(id string, at record.AtSink) {
		e, err := messages.Get(ctx, s.mid(id))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := record.Decode[record.Message](e.Value)
		if err != nil {
			t.Fatal(err)
		}
		rec.Sinks["desk"] = at
		if _, err := messages.Put(ctx, s.mid(id), must(json.Marshal(rec))); err != nil {
			t.Fatal(err)
		}
	}
	if err := messages.Delete(ctx, s.mid("gone")); err != nil {
		t.Fatal(err)
	}
	edit("noticket", record.AtSink{State: record.Filed})
	edit("nojob", record.AtSink{State: record.Pending})
	edit("noletter", record.AtSink{State: record.Dead, Dead: "nowhere"})
	if _, err := messages.Put(ctx, s.mid("garbage"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	intent := record.Link{Doing: &record.Doing{Mids: []string{"x"}, Op: "create"}}
	if _, err := links.Put(ctx, record.LinkKey("desk", s.conv("f")), must(json.Marshal(intent))); err != nil {
		t.Fatal(err)
	}
	if _, err := links.Put(ctx, record.LinkKey("desk", s.conv("g")), []byte("{")); err != nil {
		t.Fatal(err)
	}
	for _, conv := range []string{"c", "f"} {
		if err := a.bus.Purge(ctx, bus.Jobs, "jobs.desk."+s.conv(conv)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.bus.Purge(ctx, bus.Events, "events.-"); err != nil { // takes the outcome of the empty note
		t.Fatal(err)
	}
	b, err := a.Audit(ctx)
	if err != nil || b.Balanced {
		t.Fatalf("got %+v, %v, want problems", b, err)
	}
	all := strings.Join(b.Problems, "\n")
	for _, want := range []string{
		"message " + s.mid("gone") + " for desk was decided, and its record is gone",
		"message " + s.mid("noticket") + " for desk is filed on no ticket",
		"message " + s.mid("nojob") + " for desk is pending without a job",
		"message " + s.mid("noletter") + " for desk is dead, and its dead letter is gone",
		"message " + s.mid("garbage") + ": its record cannot be read",
		"link " + record.LinkKey("desk", s.conv("f")) + " has an operation under way and no job",
		"link " + record.LinkKey("desk", s.conv("g")) + ": its record cannot be read",
		"delivery 7 (deliveries.in.in) was settled without an outcome",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("nobody says %q:\n%s", want, all)
		}
	}
}

// TestADeliveryOfAChannelThatWasRemovedIsPending, not lost.
func TestADeliveryOfAChannelThatWasRemovedIsPending(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	r, err := record.EncodeDelivery(record.InSubject("removed"), hook.Delivery{Method: "POST", ReceivedAt: time.Now()}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.a.bus.Publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if b := s.books(); !b.Balanced || b.Pending != 1 {
		t.Errorf("got %+v", b)
	}
}
