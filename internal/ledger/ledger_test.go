package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// after is a time of the scenario.
func after(d time.Duration) time.Time { return start.Add(d) }

// event makes one event; its id is that of its content.
func event(tb testing.TB, typ schemas.EventType, at time.Time, body any) Event {
	tb.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		tb.Fatal(err)
	}
	return Event{ID: fmt.Sprintf("%s %s", typ, data), Type: typ, Time: at, Data: data}
}

// inStream gives events their place in the stream.
func inStream(events []Event) []Event {
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	return events
}

func openTest(tb testing.TB) *Ledger {
	tb.Helper()
	l, err := Open(tb.Context(), filepath.Join(tb.TempDir(), "ledger.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// apply applies events in batches of size, 0 for one batch.
func apply(tb testing.TB, l *Ledger, events []Event, size int) {
	tb.Helper()
	if size == 0 {
		size = len(events)
	}
	for batch := range slices.Chunk(events, max(size, 1)) {
		if err := l.Apply(tb.Context(), start, batch); err != nil {
			tb.Fatal(err)
		}
	}
}

var (
	ada = schemas.Requester{Name: "Ada Morel", Identities: []schemas.Identity{
		{Kind: schemas.Phone, Value: "+4930901820", Evidence: schemas.Attested},
		{Kind: schemas.Email, Value: "ada@shop.example", Evidence: schemas.Asserted},
	}}
	adaMail = schemas.Requester{Name: "A. Morel", Locale: "de", Identities: []schemas.Identity{
		{Kind: schemas.Email, Value: "Ada@shop.example", Evidence: schemas.Attested},
	}}
	jonas  = schemas.Requester{Identities: []schemas.Identity{{Kind: "telegram", Value: "71003", Evidence: schemas.Attested}}}
	nobody = schemas.Requester{Name: "guest", Identities: []schemas.Identity{{Kind: schemas.Email, Value: "ada@shop.example", Evidence: schemas.Guessed}}}
)

// decide is a decided message; set changes it before it becomes an event.
func decide(tb testing.TB, id, conv, channel string, at time.Time, who schemas.Requester, text string, set func(*schemas.Decided)) Event {
	tb.Helper()
	d := schemas.Decided{
		Delivery: 1, Conversation: conv, Rules: "sha256:77", At: at.Add(20 * time.Millisecond),
		Message: schemas.Message{
			ID: id, Channel: channel, Kind: strings.TrimPrefix(channel, "shop-"), VendorID: "v-" + id, Conversation: "+4930" + conv,
			ReceivedAt: at, Requester: who, Text: text,
		},
		Classification: schemas.Classification{Urgency: schemas.UrgencyNormal},
		Decisions: []schemas.Decision{{
			Sink: "desk", Queue: "support", Priority: schemas.PriorityNormal, Tags: []string{"shop"},
			Path: []schemas.RuleRef{{Name: "all", Line: 2}, {Name: "support", Line: 4}},
		}},
	}
	if set != nil {
		set(&d)
	}
	return event(tb, schemas.EventDecided, at, d)
}

func file(tb testing.TB, id, conv, ticket string, at time.Time, opened bool) Event {
	tb.Helper()
	op := "append"
	if opened {
		op = "create"
	}
	return event(tb, schemas.EventFiled, at, schemas.Filed{
		Message: id, Conversation: conv, Sink: "desk", Ticket: schemas.Ref{ID: ticket, URL: "https://desk.example/" + ticket}, Opened: opened, At: at,
		Calls: []schemas.Call{{Op: op, Key: "sb-" + id, At: at, Took: 40 * time.Millisecond, Outcome: "yes"}},
	})
}

// refuse is a message of jonas that the desk does not take.
func refuse(tb testing.TB, typ schemas.EventType, at time.Time, deadID string, attempt int) Event {
	tb.Helper()
	return event(tb, typ, at, schemas.Trouble{
		Message: "mjonas1", Conversation: "cjonas", Sink: "desk", Attempt: attempt, Dead: deadID, At: at,
		Reason: `create ticket: desk answered 422: "Requester is suspended"`,
	})
}

// day is a day of the shop in which everything happens once.
func day(tb testing.TB) []Event {
	tb.Helper()
	s, m := time.Second, time.Minute
	kim, support := "Kim", "escalations"
	return inStream([]Event{
		decide(tb, "mada1", "cada", "shop-sms", after(0), ada, "Der Rückruf-Servo vom Segler Möwe klemmt", func(d *schemas.Decided) {
			d.Classification = schemas.Classification{Urgency: schemas.UrgencyHigh, Category: "warranty", Keywords: []schemas.Keyword{
				{Name: "servo", Term: "servo"}, {Name: "servo", Term: "Servo"}, {Name: "glider", Term: "segler"},
			}}
			d.Message.Attachments = []schemas.Attachment{{Name: "servo.jpg", Type: "image/jpeg"}}
			d.Message.Fields = []schemas.Field{{Name: "order", Value: "WX-4711"}}
		}),
		file(tb, "mada1", "cada", "100", after(2*s), true),
		decide(tb, "mada2", "cada", "shop-sms", after(1*m), ada, "It is the left one", nil),
		file(tb, "mada2", "cada", "100", after(1*m+s), false),
		event(tb, schemas.EventDuplicate, after(2*m), schemas.Duplicate{Message: "mada2", Conversation: "cada", Delivery: 7, First: 3, Channel: "shop-sms", At: after(2 * m)}),
		event(tb, schemas.EventTicket, after(3*m), schemas.TicketChanged{
			Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", Status: schemas.StatusOpen, Assignee: &kim, Queue: &support, By: "Kim", At: after(3 * m),
		}),
		event(tb, schemas.EventComment, after(4*m), schemas.Commented{
			Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", At: after(4 * m),
			Comment: schemas.Comment{ID: "c1", Author: schemas.Author{Role: schemas.ByAgent, Name: "Kim"}, Visibility: schemas.Internal, Text: "known fault of batch 12", At: after(4 * m)},
		}),
		event(tb, schemas.EventReply, after(5*m), schemas.Replied{
			Reply: "r1", Channel: "shop-sms", Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", State: "queued", At: after(5 * m),
		}),
		event(tb, schemas.EventComment, after(5*m), schemas.Commented{
			Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", Reply: "r1", At: after(5*m + s),
			Comment: schemas.Comment{
				ID: "c2", Author: schemas.Author{Role: schemas.ByAgent, Name: "Kim"}, Visibility: schemas.Public, Text: "A new servo is on its way", At: after(5 * m),
				Files: []schemas.File{{Name: "label.pdf", Type: "application/pdf", Size: 900}},
			},
		}),
		event(tb, schemas.EventReceipt, after(5*m+2*s), schemas.Receipted{
			Reply: "r1", Conversation: "cada", Channel: "shop-sms", Delivery: 9, Receipt: schemas.Receipt{ID: "SM9", State: schemas.Delivered, At: after(5*m + 2*s)}, At: after(5*m + 3*s),
		}),
		event(tb, schemas.EventReply, after(5*m+3*s), schemas.Replied{
			Reply: "r1", Channel: "shop-sms", Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", State: "sent", At: after(5*m + s),
		}),
		decide(tb, "mada3", "cmail", "shop-mail", after(6*m), adaMail, "Thank you for the servo", func(d *schemas.Decided) {
			d.Message.Subject = "Re: servo"
			d.Decisions = append(d.Decisions, schemas.Decision{Sink: "archive", Path: []schemas.RuleRef{{Name: "copy"}}})
		}),
		file(tb, "mada3", "cmail", "101", after(6*m+4*s), true),
		decide(tb, "mguest", "cguest", "website", after(7*m), nobody, "spam spam", func(d *schemas.Decided) {
			d.Decisions = []schemas.Decision{{Sink: "-", Drop: "looks like advertising", Path: []schemas.RuleRef{{Name: "no spam"}}}}
		}),
		event(tb, schemas.EventIgnored, after(8*m), schemas.DeliveryEnded{Delivery: 12, Channel: "shop-telegram", Reason: "a sticker", At: after(8 * m)}),
		event(tb, schemas.EventRefused, after(8*m), schemas.DeliveryEnded{Channel: "website", Reason: "larger than 10 MiB", At: after(8 * m)}),
		event(tb, schemas.EventDeadDelivery, after(9*m), schemas.DeliveryEnded{Delivery: 13, Channel: "website", Reason: "unexpected end of JSON", Dead: "dl-13", At: after(9 * m)}),
		decide(tb, "mjonas1", "cjonas", "shop-telegram", after(10*m), jonas, "propeller 9x6 broken", nil),
		refuse(tb, schemas.EventRetrying, after(10*m+s), "", 1),
		refuse(tb, schemas.EventDead, after(10*m+2*s), "dl-j0", 2),
		event(tb, schemas.EventHealth, after(11*m), schemas.HealthChanged{Side: "sink", Name: "desk", State: "degraded", Reason: "429", At: after(11 * m)}),
		event(tb, schemas.EventHealth, after(11*m), schemas.HealthChanged{Side: "sink", Name: "desk", State: "down", Reason: "old news", At: after(10 * m)}),
	})
}

// retried is what a person does about the dead message of the day, and what comes of it.
func retried(tb testing.TB, from uint64) []Event {
	tb.Helper()
	events := []Event{
		event(tb, schemas.EventRetry, after(12*time.Minute), schemas.Requested{
			Dead: "dl-j0", Message: "mjonas1", Conversation: "cjonas", Sink: "desk", Version: 1, Action: "retry",
			Actor: schemas.Actor{Name: "kim", Role: "agent"}, At: after(12 * time.Minute),
		}),
		event(tb, schemas.EventFiled, after(13*time.Minute), schemas.Filed{
			Message: "mjonas1", Conversation: "cjonas", Sink: "desk", Version: 1, Ticket: schemas.Ref{ID: "102"}, Opened: true, Late: true, At: after(13 * time.Minute),
		}),
	}
	for i := range events {
		events[i].Seq = from + uint64(i)
	}
	return events
}

// dump is every row of the tables that pages read, for comparing ledgers. What adds
// up to nothing is no row.
func dump(tb testing.TB, l *Ledger) string {
	tb.Helper()
	var b strings.Builder
	for _, q := range []string{
		"SELECT * FROM checkpoint", "SELECT seq, msg, kind, body FROM events ORDER BY seq", "SELECT * FROM messages ORDER BY seq",
		"SELECT * FROM outcomes ORDER BY msg, sink", "SELECT * FROM people ORDER BY who, msg", "SELECT * FROM tickets ORDER BY n",
		"SELECT * FROM entries ORDER BY n", "SELECT * FROM dead ORDER BY id", "SELECT * FROM health ORDER BY side, name",
		"SELECT * FROM books WHERE n <> 0 ORDER BY minute, state", "SELECT * FROM rates WHERE n <> 0 ORDER BY minute, side, name, what",
		"SELECT * FROM names ORDER BY kind, name",
	} {
		rows, err := l.read.QueryContext(tb.Context(), q)
		err = each(rows, err, func(rows *sql.Rows) error {
			cols, err := rows.Columns()
			if err != nil {
				return err
			}
			vals, ptrs := make([]any, len(cols)), make([]any, len(cols))
			for i := range vals {
				ptrs[i] = &vals[i]
			}
			err = rows.Scan(ptrs...)
			fmt.Fprintf(&b, "%.14s %q\n", q[len("SELECT "):], vals)
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return b.String()
}

func TestRebuildEqualsIncremental(t *testing.T) {
	t.Parallel()
	events := append(day(t), retried(t, 23)...)
	whole := openTest(t)
	apply(t, whole, events, 0)
	want := dump(t, whole)
	for _, size := range []int{1, 2, 5} {
		l := openTest(t)
		apply(t, l, events, size)
		if d := cmp.Diff(want, dump(t, l)); d != "" {
			t.Errorf("batches of %d (-whole +batches):\n%s", size, d)
		}
	}
	if err := whole.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seq, _ := whole.AsOf(); seq != 0 {
		t.Errorf("after Reset the ledger is at %d", seq)
	}
	apply(t, whole, events, 3)
	if d := cmp.Diff(want, dump(t, whole)); d != "" {
		t.Errorf("after Reset (-first +again):\n%s", d)
	}
}

func TestRepeatsAreDropped(t *testing.T) {
	t.Parallel()
	events := append(day(t), retried(t, 23)...)
	l := openTest(t)
	apply(t, l, events, 0)
	want := dump(t, l)
	// All again further on, as after a crash of those who publish, and at once in one batch.
	again := slices.Clone(events)
	for i := range again {
		again[i].Seq += 100
	}
	apply(t, l, append(again, again...), 0)
	cut := func(s string) string { _, rest, _ := strings.Cut(s, "\n"); return rest } // the checkpoint moves
	if d := cmp.Diff(cut(want), cut(dump(t, l))); d != "" {
		t.Errorf("repeats changed rows (-want +got):\n%s", d)
	}
	if _, seq, err := l.Position(t.Context()); err != nil || seq != 124 {
		t.Errorf("position = %d, %v, want 124", seq, err)
	}
}

// Every message has its own writer, so that the events of two messages come in any
// order, and a message can be filed before it is told to be decided.
func TestOrderOfDifferentMessagesDoesNotMatter(t *testing.T) {
	t.Parallel()
	type facts struct {
		Flow    []FlowRow
		Tickets []TicketRow
		Counts  Counts
		Health  []HealthRow
	}
	look := func(l *Ledger) facts {
		var f facts
		var err error
		if f.Flow, err = l.Flow(t.Context(), FlowQuery{}); err != nil {
			t.Fatal(err)
		}
		for i := range f.Flow {
			f.Flow[i].Seq = 0
		}
		slices.SortFunc(f.Flow, func(a, b FlowRow) int { return strings.Compare(a.ID, b.ID) })
		if f.Tickets, _, err = l.Tickets(t.Context(), TicketQuery{}); err != nil {
			t.Fatal(err)
		}
		if f.Counts, err = l.Counts(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
		if f.Health, err = l.Health(t.Context(), after(20*time.Minute)); err != nil {
			t.Fatal(err)
		}
		return f
	}
	events := day(t)[:4]
	events = append(events,
		decide(t, "mjonas1", "cjonas", "shop-telegram", after(3*time.Minute), jonas, "propeller 9x6 broken", nil),
		file(t, "mjonas1", "cjonas", "102", after(4*time.Minute), true))
	base := openTest(t)
	apply(t, base, inStream(slices.Clone(events)), 0)
	want := look(base)
	for _, order := range [][]int{{1, 0, 3, 2, 5, 4}, {4, 5, 0, 1, 2, 3}, {0, 2, 4, 1, 3, 5}, {5, 1, 0, 3, 4, 2}} {
		for _, size := range []int{1, 0} {
			var mixed []Event
			for _, i := range order {
				mixed = append(mixed, events[i])
			}
			l := openTest(t)
			apply(t, l, inStream(mixed), size)
			if d := cmp.Diff(want, look(l)); d != "" {
				t.Errorf("order %v in batches of %d (-want +got):\n%s", order, size, d)
			}
		}
	}
}

func TestUnreadableEventsAreSkipped(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	at := after(0)
	events := inStream([]Event{
		{ID: "1", Type: "switchboard.unheard.of", Time: at, Data: []byte(`{}`)},
		{ID: "2", Type: schemas.EventDecided, Time: at, Data: []byte(`{"message":`)},
		{ID: "3", Type: schemas.EventFiled, Time: at, Data: []byte(`{"message":"m"}`)},
		{ID: "", Type: schemas.EventIgnored, Time: at, Data: []byte(`{"delivery":1}`)},
		decide(t, "m1", "c1", "website", at, jonas, "hello", nil),
	})
	apply(t, l, events, 0)
	if got := l.Skipped(); got != 4 {
		t.Errorf("Skipped() = %d, want 4", got)
	}
	if _, err := l.Story(t.Context(), "m1"); err != nil {
		t.Errorf("the readable event is not there: %v", err)
	}
	if seq, when := l.AsOf(); seq != 5 || !when.Equal(at) {
		t.Errorf("AsOf() = %d, %v, want 5, %v", seq, when, at)
	}
}

func TestApplyRefusesAnotherStream(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t)[:2], 0)
	created, seq, err := l.Position(t.Context())
	if err != nil || seq != 2 || !created.Equal(start) {
		t.Errorf("Position() = %v, %d, %v", created, seq, err)
	}
	other := start.Add(time.Nanosecond)
	if err := l.Apply(t.Context(), other, day(t)[2:3]); !errors.Is(err, ErrOtherStream) {
		t.Fatalf("Apply of another stream: %v, want ErrOtherStream", err)
	}
	if err := l.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Apply(t.Context(), other, day(t)[:1]); err != nil {
		t.Fatal(err)
	}
	if created, _, _ := l.Position(t.Context()); !created.Equal(other) {
		t.Errorf("created = %v, want %v", created, other)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Apply(ctx, other, day(t)[1:2]); !errors.Is(err, context.Canceled) {
		t.Errorf("Apply after the end: %v", err)
	}
}

func TestOpenKeepsAndReplaces(t *testing.T) {
	t.Parallel()
	// SQLite would read these as the end of the name and as an escape.
	path := filepath.Join(t.TempDir(), "a b?c#d%41.db")
	l, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, l, day(t), 0)
	want := dump(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the file is elsewhere: %v", err)
	}
	if l, err = Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, dump(t, l)); d != "" {
		t.Errorf("after reopening (-want +got):\n%s", d)
	}
	if _, err := l.w.conn.ExecContext(t.Context(), "PRAGMA user_version = 9999"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, seq, err := l.Position(t.Context()); seq != 0 || err != nil {
		t.Errorf("a file of another version was kept: %d, %v", seq, err)
	}
}

func TestOpenSaysWhatToDoAboutRubbish(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "can be deleted") {
		t.Errorf("Open of rubbish: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(path, "x", "ledger.db")); err == nil {
		t.Error("Open below a file: no error")
	}
}

func TestWaitReturnsWhenReached(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)
	done := make(chan error)
	go func() { done <- l.Wait(t.Context(), 3) }()
	apply(t, l, events[:2], 0)
	select {
	case err := <-done:
		t.Fatalf("Wait(3) returned at 2: %v", err)
	default:
	}
	apply(t, l, events[2:4], 0)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := l.Wait(t.Context(), 4); err != nil {
		t.Errorf("Wait for what is there: %v", err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &Ledger{moved: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v, want the deadline", err)
		}
	})
}

func TestSubscribeCoalesces(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)
	ch, stop := l.Subscribe()
	apply(t, l, events[:4], 1)
	<-ch
	select {
	case <-ch:
		t.Error("four batches while nobody looked woke twice")
	default:
	}
	apply(t, l, events[4:5], 1)
	<-ch
	stop()
	apply(t, l, events[5:6], 1)
	select {
	case <-ch:
		t.Error("woken after the end")
	default:
	}
}
