package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/bus"
	"switchboard/internal/ledger"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// secretWord is in everything that the forgotten person wrote or was told.
const secretWord = "quetzalcoatlus"

// everything is where words could be: every stream, bucket and blob.
func (s *stage) everything(f func(where string, data []byte)) {
	s.t.Helper()
	for _, stream := range []string{bus.Deliveries, bus.Jobs, bus.Replies, bus.Events, bus.Dead, "KV_" + bus.Messages, "KV_" + bus.Links, "KV_" + bus.Cursors} {
		err := s.a.bus.Scan(s.t.Context(), bus.Range{Stream: stream}, func(m *bus.Msg) error {
			f(fmt.Sprintf("%s %d %s", stream, m.Seq, m.Subject), append(must(json.Marshal(m.Header)), m.Data...))
			return nil
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	names, err := s.a.bus.BlobNames(s.t.Context(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, name := range names {
		data, err := s.a.bus.ReadBlob(s.t.Context(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		f("blob "+name, data)
	}
}

// holding lists what still holds the word.
func (s *stage) holding(word string) []string {
	var out []string
	s.everything(func(where string, data []byte) {
		if bytes.Contains(data, []byte(word)) {
			out = append(out, where)
		}
	})
	return out
}

// private has a person write, be answered, be repeated and fail, all in one
// conversation, and another person beside them.
func private(s *stage) {
	s.shelf.refuse = func(op, key string) error {
		if key == record.CommentKey("desk", s.mid("dead"), 0) {
			return fault.Permanentf("no")
		}
		return nil
	}
	s.start()
	large := strings.Repeat("x", record.InlineLimit) + secretWord
	s.post(note{ID: "1", Conv: "grace", Text: secretWord + " one", File: "a drawing of a " + secretWord})
	s.filed(1)
	s.post(
		note{ID: "1", Conv: "grace", Text: secretWord + " one", File: "a drawing of a " + secretWord},
		note{ID: "other", Conv: "yusuf", Text: "somebody else"},
		note{ID: "large", Conv: "grace", Text: large},
		note{ID: "dead", Conv: "grace", Text: secretWord + " dead"},
	)
	s.filed(3)
	s.tell(agent("1", "c1", "about your "+secretWord, schemas.Public))
	s.tell(agent("1", "c2", "note on the "+secretWord, schemas.Internal))
	s.until("the answer is out", func() bool { return len(s.line.replies()) == 1 })
	s.post(note{ID: "V1", Receipt: "read"})
	s.until("all is told", func() bool {
		c, err := s.a.ledger.Counts(s.t.Context(), time.Time{})
		view, err2 := s.a.ledger.Ticket(s.t.Context(), "desk", "1")
		return err == nil && err2 == nil && c.Dead == 1 && c.Duplicate == 1 &&
			slices.ContainsFunc(view.Entries, func(e ledger.Entry) bool { return e.State == "read" })
	})
}

// TestForgetLeavesNothing is I14: no stream, bucket, blob or table holds a word,
// no repeat brings it back, the books balance, and the others stay.
func TestForgetLeavesNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	private(s)
	if got := s.holding(secretWord); len(got) < 8 {
		t.Fatalf("only %q hold the word; the test does not reach everything", got)
	}
	conv := s.conv("grace")
	var out Forgetting
	if code, body := s.call(http.MethodPost, "forget/"+conv, nil, &out); code != http.StatusOK {
		t.Fatalf("got %d %s", code, body)
	}
	if out.Messages != 3 || out.Deliveries < 6 || !slices.Contains(out.NotReached, "ticket 1 on desk") || !slices.Contains(out.NotReached, "backups") {
		t.Errorf("got %+v", out)
	}
	if got := s.holding(secretWord); len(got) != 0 {
		t.Errorf("still there: %q", got)
	}
	if rows, err := s.a.ledger.Flow(t.Context(), ledger.FlowQuery{Text: secretWord}); err != nil || len(rows) != 0 {
		t.Errorf("the ledger finds %+v, %v", rows, err)
	}

	// The vendor sends it once more, a month late.
	s.post(note{ID: "1", Conv: "grace", Text: secretWord + " one", File: "a drawing of a " + secretWord})
	s.post(note{ID: "large", Conv: "grace", Text: strings.Repeat("x", record.InlineLimit) + secretWord})
	s.until("the repeats are told", func() bool {
		c, err := s.a.ledger.Counts(t.Context(), time.Time{})
		return err == nil && c.Duplicate == 2
	})
	s.until("the repeats are erased", func() bool { return len(s.holding(secretWord)) == 0 })
	if n := len(s.shelf.texts()); n != 2 {
		t.Errorf("got %d tickets, want no further one", n)
	}
	if b := s.books(); !b.Balanced || b.Forgotten != 3 {
		t.Errorf("I15: got %+v, want three forgotten and a balance", b)
	}
	if v, err := s.a.ledger.Ticket(t.Context(), "desk", "2"); err != nil || len(v.Entries) == 0 {
		t.Errorf("the other person's ticket: got %+v, %v", v, err)
	}
	if err := s.halt(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.conf.Data, "ledger.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(secretWord)) {
			t.Errorf("%s holds the word", f)
		}
	}
}

// TestWhoWritesAgainIsServed: forgetting ends the past, not the future.
func TestWhoWritesAgainIsServed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "1", Conv: "grace", Text: "one"})
	s.filed(1)
	if _, err := s.a.Forget(t.Context(), kim, s.conv("grace")); err != nil {
		t.Fatal(err)
	}
	s.post(note{ID: "2", Conv: "grace", Text: "me again"}, note{ID: "3", Conv: "grace", Text: "and again"})
	s.until("the new messages are filed", func() bool { return contains(s.shelf.texts(), "and again") })
	if got := s.shelf.texts(); len(got) != 2 || strings.Join(got[1], "|") != "me again|and again" {
		t.Errorf("got %q, want a ticket of its own", got)
	}
	s.until("the books balance", func() bool {
		b := s.books()
		return b.Balanced && b.Filed == 2 && b.Forgotten == 1 && b.Pending == 0
	})
	// And may be forgotten again.
	if out, err := s.a.Forget(t.Context(), kim, s.conv("grace")); err != nil || out.Messages != 2 {
		t.Errorf("got %+v, %v, want two more forgotten", out, err)
	}
	if b := s.books(); !b.Balanced || b.Forgotten != 3 {
		t.Errorf("got %+v", b)
	}
}

// TestNobodyToForget: an unknown conversation is said to be unknown, and leaves
// nothing behind that would stop its first message.
func TestNobodyToForget(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	if code, body := s.call(http.MethodPost, "forget/"+s.conv("grace"), nil, nil); code != http.StatusNotFound {
		t.Errorf("got %d %s, want 404", code, body)
	}
	s.post(note{ID: "1", Conv: "grace", Text: "one"})
	s.filed(1)
}

var errKilled = fmt.Errorf("%w: it was killed", bus.ErrClosed)

// TestForgettingSurvivesACrashAtEveryStep is F-G: killed in place of each of its
// writes and removals in turn, it is finished after the restart, without a word
// left, and what the person writes meanwhile is filed.
func TestForgettingSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	last := int64(0)
	var total atomic.Int64
	for n := int64(0); n <= last; n += max(1, last/8) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStage(t)
			var armed, dead atomic.Bool
			var writes atomic.Int64
			s.fault = func(subject string) error {
				switch {
				case dead.Load():
					return errKilled
				case !armed.Load() || strings.HasPrefix(subject, "$KV.cursors.read.") || strings.HasPrefix(subject, "$KV.cursors.lease."):
					return nil
				}
				if writes.Add(1) == n {
					dead.Store(true)
					return errKilled
				}
				return nil
			}
			private(s)
			conv := s.conv("grace")
			armed.Store(true)
			_, err := s.a.Forget(t.Context(), kim, conv)
			if n == 0 {
				total.Store(writes.Load())
				if err != nil || writes.Load() < 15 {
					t.Fatalf("got %v after %d writes", err, writes.Load())
				}
				return
			}
			if !errors.Is(err, bus.ErrClosed) {
				t.Fatalf("killed at %d: got %v", n, err)
			}
			_ = s.halt() // it cannot say good-bye
			armed.Store(false)
			dead.Store(false)
			s.start()
			s.post(note{ID: "9", Conv: "grace", Text: "me again"})
			s.until("the forgetting is finished", func() bool {
				_, err := s.a.bus.Bucket(bus.Cursors).Get(t.Context(), forgetKey(conv))
				return errors.Is(err, bus.ErrNotFound) && contains(s.shelf.texts(), "me again")
			})
			if n == 1 {
				return // nothing was noted yet: nothing was promised
			}
			if got := s.holding(secretWord); len(got) != 0 {
				t.Errorf("killed at %d: still there: %q", n, got)
			}
			if rows, err := s.a.ledger.Flow(t.Context(), ledger.FlowQuery{Text: secretWord}); err != nil || len(rows) != 0 {
				t.Errorf("killed at %d: the ledger finds %d rows, %v", n, len(rows), err)
			}
			s.until("the books balance", func() bool { b := s.books(); return b.Balanced && b.Pending == 0 })
		})
		last = total.Load()
	}
}
