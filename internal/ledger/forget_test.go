package ledger

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

func forgetting(tb testing.TB, conv string, messages, deliveries int) Event {
	tb.Helper()
	return event(tb, schemas.EventForgotten, after(2*time.Hour), schemas.Forgot{
		Conversation: conv, Messages: messages, Deliveries: deliveries, Actor: schemas.Actor{Name: "admin", Role: "admin"}, At: after(2 * time.Hour),
	})
}

// stored is every byte of the ledger at path, in lower case.
func stored(tb testing.TB, path string) []byte {
	tb.Helper()
	var files []byte
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			tb.Fatal(err)
		}
		files = append(files, data...)
	}
	return bytes.ToLower(files)
}

// A reader in the midst keeps old pages in the log; they go with the next batch.
func TestForgetEmptiesTheLogOnceReadersAreGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	apply(t, l, day(t), 0)
	tx, err := l.read.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := numbers(t.Context(), tx, "SELECT seq FROM messages"); err != nil {
		t.Fatal(err)
	}
	erase, late := forgetting(t, "cada", 2, 3), decide(t, "mlate", "clate", "website", after(3*time.Hour), jonas, "sandpaper", nil)
	erase.Seq, late.Seq = 1000, 1001
	apply(t, l, []Event{erase}, 0)
	if !bytes.Contains(stored(t, path), []byte("klemmt")) {
		t.Fatal("the reader's pages are gone; the test shows nothing")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	apply(t, l, []Event{late}, 0)
	if bytes.Contains(stored(t, path), []byte("klemmt")) {
		t.Error("the words are still there")
	}
}

func TestForgetLeavesNoWord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	events := append(day(t), retried(t, 23)...)
	// Others write too, before and after, so that pages and segments are shared; a long
	// text has pages of its own.
	for i := range 300 {
		events = append(events, decide(t, fmt.Sprintf("mx%d", i), fmt.Sprintf("cx%d", i), "website", after(time.Duration(i)*time.Second), jonas,
			strings.Repeat("balsa glue sandpaper ", i%40+1), nil))
		if i == 150 {
			events = append(events, decide(t, "mlong", "cada", "shop-sms", after(time.Hour), ada, strings.Repeat("Zitronenfalter ", 3000), nil))
		}
	}
	apply(t, l, inStream(events), 40)
	held, err := l.Holds(t.Context(), "cada")
	if err != nil || held == 0 {
		t.Fatalf("before: Holds = %d, %v", held, err)
	}
	before, err := l.Counts(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	erase := forgetting(t, "cada", 3, 4)
	late := decide(t, "mlate", "clate", "website", after(3*time.Hour), jonas, "sandpaper", nil)
	erase.Seq, late.Seq = 1000, 1001
	apply(t, l, []Event{erase, late}, 0)

	if held, err := l.Holds(t.Context(), "cada"); err != nil || held != 0 {
		t.Errorf("Holds = %d, %v, want 0", held, err)
	}
	for _, text := range []string{"zitronenfalter", "rückruf", "mada1", "100"} {
		if got := flowLines(t, l, FlowQuery{Text: text}); got != nil {
			t.Errorf("search for %q finds %q", text, got)
		}
	}
	after, err := l.Counts(t.Context(), time.Time{})
	if err != nil || after.Forgotten != 4 || after.Accepted != before.Accepted+1 || after.Duplicate != 0 {
		t.Errorf("books before %+v, after %+v, %v", before, after, err)
	}
	files := stored(t, path)
	for _, word := range []string{"zitronenfalter", "itronenfalter", "klemmt", "ckruf", "wx-4711", "4711", "ada morel", "4930901820", "servo is on its way", "batch 12", "left one"} {
		if bytes.Contains(files, []byte(word)) {
			t.Errorf("the file still has %q", word)
		}
	}
	// The same words of others stay: the other mails, and the search for them.
	if !bytes.Contains(files, []byte("sandpaper")) || !bytes.Contains(files, []byte("thank you for the servo")) {
		t.Error("too much was forgotten")
	}
	if got := len(flowLines(t, l, FlowQuery{Text: "sandpaper", Limit: 500})); got != 301 {
		t.Errorf("search finds %d of the others, want 301", got)
	}
}

func TestForgottenMessagesDoNotComeBack(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)
	erase := forgetting(t, "cada", 2, 3)
	again := append([]Event{}, events...)
	apply(t, l, inStream(append(append(events, erase), again...)), 7)
	if held, err := l.Holds(t.Context(), "cada"); err != nil || held != 0 {
		t.Errorf("Holds = %d, %v, want 0", held, err)
	}
	if n, err := l.Counts(t.Context(), time.Time{}); err != nil || n.Forgotten != 3 {
		t.Errorf("Counts = %+v, %v", n, err)
	}
	// A new message of the person is a new matter.
	fresh := decide(t, "mada9", "cada", "shop-sms", after(5*time.Hour), ada, "Hello again", nil)
	fresh.Seq = 500
	apply(t, l, []Event{fresh}, 0)
	if held, err := l.Holds(t.Context(), "cada"); err != nil || held != 1 {
		t.Errorf("Holds after a new message = %d, %v, want 1", held, err)
	}
}

// The stream loses the conversation and keeps that it was forgotten: a rebuild
// comes to the same counts and rows.
func TestForgetThenRebuild(t *testing.T) {
	t.Parallel()
	events := inStream(append(append(day(t), retried(t, 23)...), forgetting(t, "cjonas", 1, 1)))
	a, b := openTest(t), openTest(t)
	apply(t, a, events, 6)
	var purged []Event
	for _, e := range events {
		if !bytes.Contains(e.Data, []byte(`"conversation":"cjonas"`)) || e.Type == schemas.EventForgotten {
			purged = append(purged, e)
		}
	}
	apply(t, b, purged, 0)
	rows := func(l *Ledger) string {
		var keep []string
		for line := range strings.Lines(dump(t, l)) {
			// That Telegram was alive and had a message is no secret.
			if !strings.HasPrefix(line, "* FROM health") && !strings.HasPrefix(line, "* FROM names") {
				keep = append(keep, line)
			}
		}
		return strings.Join(keep, "")
	}
	if d := cmp.Diff(rows(b), rows(a)); d != "" {
		t.Errorf("(-rebuilt +incremental):\n%s", d)
	}
}

func TestForgetKeepsTheTicketOfOthers(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)[:12]
	// A colleague joins the ticket from another number.
	events = append(events, decide(t, "mjonas1", "cjonas", "shop-telegram", after(30*time.Minute), jonas, "me too", nil),
		file(t, "mjonas1", "cjonas", "100", after(31*time.Minute), false), forgetting(t, "cada", 2, 3))
	apply(t, l, inStream(events), 0)
	v, err := l.Ticket(t.Context(), "desk", "100")
	if err != nil {
		t.Fatal(err)
	}
	if v.Messages != 1 || v.Subject != "me too" || v.Requester != "71003" || v.LastWords != "me too" || len(v.Entries) != 1 {
		t.Errorf("ticket = %+v", v)
	}
}
