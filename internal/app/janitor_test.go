package app

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

const day = 24 * time.Hour

// left counts what a stream or bucket holds below a subject or prefix.
func (s *stage) left(stream string, subjects ...string) int {
	s.t.Helper()
	n := 0
	err := s.a.bus.Scan(s.t.Context(), bus.Range{Stream: stream, Subjects: subjects, HeadersOnly: true}, func(*bus.Msg) error { n++; return nil })
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestTheJanitorTakesTheOldAndSettledOnly is I11: with a future as now, everything
// that has ended goes in its time, and nothing that somebody waits for.
func TestTheJanitorTakesTheOldAndSettledOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var out bool
	s.shelf.refuse = func(op, key string) error {
		switch {
		case key == record.TicketKey("desk", s.mid("dead")):
			return fault.Permanentf("no")
		case out && key == record.TicketKey("desk", s.mid("waits")):
			return fault.NotDone(errDesk)
		}
		return nil
	}
	out = true
	s.start()
	large := strings.Repeat("x", record.InlineLimit+1)
	s.post(note{ID: "1", Conv: "grace", Text: large, File: "a drawing"}, note{ID: "dead", Conv: "b", Text: "x", File: "kept"})
	s.filed(1)
	s.until("one is dead", func() bool { return s.books().Dead == 1 })
	s.post(note{ID: "waits", Conv: "c", Text: "x", File: "kept too"}, note{})
	s.line.mu.Lock()
	s.line.err = fault.NotDone(errors.New("the vendor is out"))
	s.line.mu.Unlock()
	s.tell(agent("1", "c1", "an answer", schemas.Public))
	s.until("all has ended, or waits", func() bool { b := s.books(); return b.Dead == 1 && b.Ignored == 2 && b.Pending == 1 })
	s.restart() // writes the checkpoints
	ctx := t.Context()
	clean := func(in time.Duration) {
		t.Helper()
		if err := s.a.clean(ctx, time.Now().Add(in)); err != nil {
			t.Fatal(err)
		}
	}

	all := s.left(bus.Deliveries)
	clean(6 * day)
	if got := s.left(bus.Deliveries); got != all {
		t.Errorf("after six days: %d of %d deliveries are left", got, all)
	}
	clean(8 * day)
	if got := s.left(bus.Jobs); got != 1 {
		t.Errorf("after eight days: %d jobs are left, want the one that waits", got)
	}
	if got := s.left(bus.Replies); got != 1 {
		t.Errorf("after eight days: %d replies are left, want the one that waits", got)
	}
	clean(31 * day)
	if got := s.left(bus.Deliveries); got != 1 {
		t.Errorf("after a month: %d deliveries are left, want the creator of what waits", got)
	}
	clean(36 * day)
	keys := map[string]bool{}
	if err := s.a.bus.Bucket(bus.Messages).Each(ctx, "", func(e bus.Entry) error { keys[e.Key] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if keys[s.mid("1")] || !keys[s.mid("dead")] || !keys[s.mid("waits")] || len(keys) != 3 {
		t.Errorf("after the horizon: got %d records %v, want the dead letter's, the waiting message's and the waiting reply's", len(keys), keys)
	}
	names, err := s.a.bus.BlobNames(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "raw/") || strings.Contains(n, s.mid("1")) }) {
		t.Errorf("after the horizon: got blobs %q, want those of what is not filed", names)
	}
	if got := s.left(bus.Dead); got != 1 {
		t.Errorf("after the horizon: %d dead letters are left", got)
	}
	s.until("after a year no event is left", func() bool {
		clean(366 * day) // those that the ledger has
		return s.left(bus.Events) == 0
	})
	clean(401 * day)
	if got := s.left("KV_links", "$KV.links.t.>"); got != 0 {
		t.Errorf("after 400 days: %d tickets still find their conversations", got)
	}
	if got := s.left("KV_links", "$KV.links.c.>"); got != 1 {
		t.Errorf("after 400 days: %d links are left, want the one with an operation under way", got)
	}

	// What waits is filed yet, whatever the clock said.
	s.line.mu.Lock()
	s.line.err = nil
	s.line.mu.Unlock()
	s.shelf.mu.Lock()
	out = false
	s.shelf.mu.Unlock()
	s.restart()
	s.until("what waited is done", func() bool {
		return contains(s.shelf.texts(), "note.txt=kept too") && len(s.line.replies()) == 1
	})
}

// TestAConversationThatLivesKeepsItsWaysBack: what leads to a link lives as long
// as the link, though it was written long before.
func TestAConversationThatLivesKeepsItsWaysBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "1", Conv: "grace", Text: "one"})
	s.filed(1)
	key := record.LinkKey("desk", s.conv("grace"))
	e, err := s.a.bus.Bucket(bus.Links).Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := record.Decode[record.Link](e.Value)
	if err != nil {
		t.Fatal(err)
	}
	l.Doing = &record.Doing{Mids: []string{"x"}} // stands for a write of yesterday
	if _, err := s.a.bus.Bucket(bus.Links).Put(t.Context(), key, must(json.Marshal(l))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.a.bus.Bucket(bus.Links).Put(t.Context(), record.StickyKey(s.conv("grace")), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if err := s.a.clean(t.Context(), time.Now().Add(500*day)); err != nil {
		t.Fatal(err)
	}
	if got := s.left("KV_links"); got != 3 {
		t.Errorf("got %d keys, want the link, the ticket's way back and the sinks", got)
	}
}

// TestUnconfiguredQueuesAreKept: jobs of a sink that was taken out of the file stay.
func TestUnconfiguredQueuesAreKept(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	if _, err := s.a.bus.Publish(t.Context(), bus.Record{Subject: "jobs.removed.x"}, bus.Record{Subject: "replies.removed.x"}, bus.Record{Subject: "deliveries.in.removed"}); err != nil {
		t.Fatal(err)
	}
	if err := s.a.clean(t.Context(), time.Now().Add(500*day)); err != nil {
		t.Fatal(err)
	}
	if s.left(bus.Jobs)+s.left(bus.Replies)+s.left(bus.Deliveries) != 3 {
		t.Error("something of a sink or a channel that is not configured was removed")
	}
}

// TestASteadyClockIsSane, and the run is noted.
func TestASteadyClockIsSane(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	for range 2 {
		if sane, err := s.a.clockIsSane(t.Context()); err != nil || !sane {
			t.Errorf("got %t, %v", sane, err)
		}
	}
	if _, err := s.a.bus.Bucket(bus.Cursors).Get(t.Context(), "meta.janitor"); err != nil {
		t.Errorf("the run was not noted: %v", err)
	}
}

// TestAnUnreadableRecordStopsTheJanitor rather than being taken for settled.
func TestAnUnreadableRecordStopsTheJanitor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "1", Conv: "grace", Text: "one"})
	s.filed(1)
	if _, err := s.a.bus.Bucket(bus.Messages).Put(t.Context(), s.mid("1"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := s.a.clean(t.Context(), time.Now().Add(500*day)); err == nil || s.left(bus.Deliveries) != 1 {
		t.Errorf("got %v and %d deliveries, want an error and the delivery kept", err, s.left(bus.Deliveries))
	}
	if w := s.do(http.MethodGet, "/healthz", "", nil); w.Code != http.StatusOK {
		t.Errorf("got %d", w.Code)
	}
}
