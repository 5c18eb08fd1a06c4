package inbox

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	_ "modernc.org/sqlite"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
	"switchboard/sinks/sinktest"
)

// database opens inbox.db as the host does.
func database(tb testing.TB) *sql.DB {
	tb.Helper()
	dsn := "file:" + filepath.Join(tb.TempDir(), "inbox.db") +
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

func TestContract(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, Kind, Config{Prefix: "T-"}, sinktest.DB(func(t *testing.T) *sql.DB { return database(t) }))
}

func ticket(key string) schemas.Ticket {
	return schemas.Ticket{
		Key: key, Subject: "Propeller arrived cracked", Text: "The 10x6 propeller of order 4711 has a crack.",
		Requester: schemas.Requester{Name: "Ida Brand", Identities: []schemas.Identity{{Kind: schemas.Email, Value: "ida@club.example", Evidence: schemas.Attested}}},
		Queue:     "support", Tags: []string{"propeller"}, Channel: "shop-mail", Kind: "form",
	}
}

// desk opens an inbox called name on db and counts its calls of Changed.
func desk(t *testing.T, db *sql.DB, name string) (*sink, *atomic.Int64) {
	t.Helper()
	var changed atomic.Int64
	s, err := Kind.Open(Config{Prefix: "T-"}, sinks.Env{Name: name, DB: db, Changed: func() { changed.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*sink), &changed
}

func create(t *testing.T, s *sink, key string) schemas.Ref {
	t.Helper()
	ref, err := s.Create(t.Context(), ticket(key))
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func said(key string, role schemas.AuthorRole, text string) schemas.Comment {
	return schemas.Comment{
		Key: key, Author: schemas.Author{Role: role, Name: "Mira"}, Visibility: schemas.Public, Text: text,
		At: time.Date(2026, 4, 7, 9, 30, 0, 0, time.UTC),
	}
}

// news polls until nothing is left and parses what came.
func news(t *testing.T, s *sink, cursor *string) (all []sinks.Changes) {
	t.Helper()
	for {
		page, err := s.Poll(t.Context(), *cursor)
		if err != nil {
			t.Fatal(err)
		}
		*cursor = page.Next
		for _, d := range page.Deliveries {
			if d.Via != hook.ViaPoll || d.URL != "inbox:" {
				t.Errorf("delivery via %q from %q", d.Via, d.URL)
			}
			c, err := s.Parse(d)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		if !page.More {
			return all
		}
	}
}

func TestRepeatedKeyIsTheSameTicket(t *testing.T) {
	t.Parallel()
	s, _ := desk(t, database(t), "inbox")
	if got := create(t, s, "sb-1"); got.ID != "T-1001" {
		t.Errorf("first ticket is %s, want T-1001", got.ID)
	}
	var wg sync.WaitGroup
	ids := make([]string, 64)
	for i := range ids {
		wg.Go(func() {
			ref, err := s.Create(t.Context(), ticket(fmt.Sprintf("sb-%d", i%8)))
			if err != nil {
				t.Error(err)
			}
			ids[i] = ref.ID
		})
	}
	wg.Wait()
	distinct := map[string]bool{}
	for i, id := range ids {
		if id != ids[i%8] {
			t.Errorf("key sb-%d is %s and %s", i%8, ids[i%8], id)
		}
		distinct[id] = true
	}
	if len(distinct) != 8 || ids[1] != "T-1001" {
		t.Errorf("got %v, want 8 tickets and T-1001 for sb-1", distinct)
	}
	for _, key := range []string{"sb-3", "sb-99"} {
		found, err := s.Find(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		var want []sinks.Candidate
		if key == "sb-3" {
			want = []sinks.Candidate{{Ref: schemas.Ref{ID: ids[3]}, Key: key}}
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	}
	if got := create(t, s, "sb-after"); got.ID != "T-1009" {
		t.Errorf("next ticket is %s, want T-1009: repeats use no number", got.ID)
	}
}

func TestThreadKeepsEverythingInOrder(t *testing.T) {
	t.Parallel()
	s, _ := desk(t, database(t), "inbox")
	ref := create(t, s, "sb-1")
	requester := said("sb-2", schemas.ByRequester, "Schöne Grüße \x00 🛩️ <b>")
	requester.Author.Requester = &schemas.Requester{Name: "Ida Brand"}
	note := said("a-3", schemas.ByAgent, "Ask the maker.")
	note.Visibility = schemas.Internal
	want := []schemas.Comment{requester, note}
	for range 2 {
		for i, c := range want {
			id, err := s.Append(t.Context(), ref, c)
			if err != nil || id != fmt.Sprint(i+1) {
				t.Fatalf("append %s: %q, %v", c.Key, id, err)
			}
		}
	}
	photo := schemas.File{Key: "sb-4", Name: "crack.jpg", Type: "image/jpeg", Size: 7, SHA256: "ab", Blob: "c/m/ab", Open: func() (io.ReadCloser, error) { return nil, errors.New("never called") }}
	for range 2 {
		if id, err := s.Attach(t.Context(), ref, photo); err != nil || id != "3" {
			t.Fatalf("attach: %q, %v", id, err)
		}
	}
	if id, err := s.Append(t.Context(), ref, said("", schemas.ByAgent, "without a key")); err != nil || id != "4" {
		t.Fatalf("append without a key: %q, %v", id, err)
	}
	photo.Open = nil
	want = append(want,
		schemas.Comment{Key: "sb-4", Author: schemas.Author{Role: schemas.BySwitchboard}, Visibility: schemas.Public, Files: []schemas.File{photo}},
		said("", schemas.ByAgent, "without a key"))
	for i := range want {
		want[i].ID = fmt.Sprint(i + 1)
	}
	got, err := s.Thread(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got[2].At.IsZero() {
		t.Error("the file has no time")
	}
	got[2].At = time.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownAndClosedTickets(t *testing.T) {
	t.Parallel()
	db := database(t)
	s, _ := desk(t, db, "inbox")
	other, _ := desk(t, db, "second")
	ref := create(t, s, "sb-1")
	for _, id := range []string{"", "T-", "T-9999", "1001", "X-1001", "T-99999999999999999999", "T-01001"} {
		if _, err := s.Append(t.Context(), schemas.Ref{ID: id}, said("sb-2", schemas.ByRequester, "x")); !errors.Is(err, sinks.ErrNotFound) {
			t.Errorf("append to %q: %v", id, err)
		}
		if _, err := s.Thread(t.Context(), schemas.Ref{ID: id}); !errors.Is(err, sinks.ErrNotFound) {
			t.Errorf("thread of %q: %v", id, err)
		}
		if err := s.Update(t.Context(), schemas.Ref{ID: id}, schemas.Change{}); !errors.Is(err, sinks.ErrNotFound) {
			t.Errorf("update of %q: %v", id, err)
		}
	}
	if _, err := other.Thread(t.Context(), ref); !errors.Is(err, sinks.ErrNotFound) {
		t.Errorf("the other inbox reads it: %v", err)
	}
	first := said("sb-2", schemas.ByRequester, "before")
	if _, err := s.Append(t.Context(), ref, first); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), ref, schemas.Change{Status: new(schemas.StatusClosed)}); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Append(t.Context(), ref, first); err != nil || id != "1" {
		t.Errorf("repeat after closing: %q, %v", id, err)
	}
	if _, err := s.Append(t.Context(), ref, said("sb-3", schemas.ByRequester, "after")); !errors.Is(err, sinks.ErrClosed) || !fault.IsNotDone(err) {
		t.Errorf("append to a closed ticket: %v", err)
	}
	if err := s.Update(t.Context(), ref, schemas.Change{Status: new(schemas.StatusOpen)}); !errors.Is(err, sinks.ErrClosed) {
		t.Errorf("reopen a closed ticket: %v", err)
	}
	if err := s.Update(t.Context(), ref, schemas.Change{Status: new(schemas.StatusClosed), AddTags: []string{"late"}}); err != nil {
		t.Errorf("tag a closed ticket: %v", err)
	}
	if _, err := s.Attach(t.Context(), ref, schemas.File{Key: "sb-4", Name: "late.jpg"}); err != nil {
		t.Errorf("attach to a closed ticket: %v", err)
	}
}

func TestWhatAgentsDoComesBack(t *testing.T) {
	t.Parallel()
	s, changed := desk(t, database(t), "inbox")
	create(t, s, "sb-0")
	before := create(t, s, "sb-1")
	if _, err := s.Append(t.Context(), before, said("a-0", schemas.ByAgent, "before the first poll")); err != nil {
		t.Fatal(err)
	}
	cursor := ""
	if got := news(t, s, &cursor); got != nil || cursor != "1" {
		t.Fatalf("the first poll: %v, cursor %q; want nothing from before", got, cursor)
	}
	ref := create(t, s, "sb-2")
	answer := said("a-1", schemas.ByAgent, "A new one is on its way.")
	answer.Change = &schemas.Change{Status: new(schemas.StatusPending), Assignee: new("mira")}
	ours := said("sb-3", schemas.ByRequester, "Thanks!")
	reopening := said("sb-4", schemas.ByRequester, "It broke again.")
	reopening.Author.Name, reopening.Change = "Ida Brand", &schemas.Change{Status: new(schemas.StatusOpen)}
	for _, c := range []schemas.Comment{answer, answer, ours, reopening} {
		if _, err := s.Append(t.Context(), ref, c); err != nil {
			t.Fatal(err)
		}
	}
	same := schemas.Change{Queue: new("spares"), AddTags: []string{"propeller", "10x6"}, RemoveTags: []string{"nothing"}}
	for range 2 {
		if err := s.Update(t.Context(), ref, same); err != nil {
			t.Fatal(err)
		}
	}
	answer.ID, answer.Change, reopening.ID, reopening.Change = "2", nil, "4", nil
	want := []sinks.Changes{
		{
			Comments: []sinks.TicketComment{{Ticket: ref, Comment: answer}},
			Tickets:  []sinks.TicketChange{{Ticket: ref, By: "Mira", At: answer.At, Change: schemas.Change{Status: new(schemas.StatusPending), Assignee: new("mira")}}},
		},
		{
			Comments: []sinks.TicketComment{{Ticket: ref, Comment: reopening}},
			Tickets:  []sinks.TicketChange{{Ticket: ref, By: "Ida Brand", At: answer.At, Change: schemas.Change{Status: new(schemas.StatusOpen)}}},
		},
		{Tickets: []sinks.TicketChange{{Ticket: ref, Change: schemas.Change{Queue: new("spares"), AddTags: []string{"10x6"}}}}},
	}
	got := news(t, s, &cursor)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(sinks.TicketChange{}, "At")); diff != "" {
		t.Error(diff)
	}
	if got := changed.Load(); got != 4 {
		t.Errorf("Changed was called %d times, want 4: once per write with news", got)
	}
	if got := news(t, s, &cursor); got != nil {
		t.Errorf("a second poll finds %v", got)
	}
}

func TestPollPages(t *testing.T) {
	t.Parallel()
	db := database(t)
	s, _ := desk(t, db, "inbox")
	other, _ := desk(t, db, "second")
	mine, theirs := create(t, s, "sb-1"), create(t, other, "sb-2")
	cursor := "0"
	var wg sync.WaitGroup
	for i := range pageSize + 10 {
		wg.Go(func() {
			if _, err := s.Append(t.Context(), mine, said(fmt.Sprintf("a-%d", i), schemas.ByAgent, "x")); err != nil {
				t.Error(err)
			}
			if err := other.Update(t.Context(), theirs, schemas.Change{AddTags: []string{fmt.Sprint(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, c := range news(t, s, &cursor) {
		seen[c.Comments[0].Comment.Key] = true
	}
	if len(seen) != pageSize+10 {
		t.Errorf("%d comments came back, want %d", len(seen), pageSize+10)
	}
	if _, err := s.Poll(t.Context(), "yesterday"); !fault.IsPermanent(err) {
		t.Errorf("a cursor that is not ours: %v", err)
	}
}

func TestCatalogueAndRestart(t *testing.T) {
	t.Parallel()
	db := database(t)
	s, _ := desk(t, db, "inbox")
	ref := create(t, s, "sb-1")
	if err := s.Update(t.Context(), ref, schemas.Change{Assignee: new("mira"), Queue: new("spares")}); err != nil {
		t.Fatal(err)
	}
	create(t, s, "sb-2")
	again, _ := desk(t, db, "inbox")
	if err := again.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := create(t, again, "sb-3"); got.ID != "T-1003" {
		t.Errorf("after a restart the next ticket is %s, want T-1003", got.ID)
	}
	got, err := again.Catalogue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := schemas.Catalogue{
		Queues: []schemas.Named{{ID: "spares", Name: "spares"}, {ID: "support", Name: "support"}},
		Agents: []schemas.Named{{ID: "mira", Name: "mira"}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(schemas.Catalogue{}, "Statuses", "At")); diff != "" {
		t.Error(diff)
	}
	if len(got.Statuses) != 6 {
		t.Errorf("statuses %v", got.Statuses)
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	was := standing{Status: schemas.StatusNew, Priority: schemas.PriorityNormal, Tags: []string{"a", "b"}, Fields: []schemas.Field{{Name: "order", Value: "1"}}}
	for _, c := range []struct {
		name string
		in   schemas.Change
		want standing
		news *schemas.Change
	}{
		{name: "nothing", want: was},
		{name: "what is there", in: schemas.Change{Status: new(schemas.StatusNew), AddTags: []string{"b"}, RemoveTags: []string{"c"}, Fields: was.Fields}, want: was},
		{
			name: "everything", in: schemas.Change{
				Status: new(schemas.StatusOpen), Priority: new(schemas.PriorityHigh), Queue: new("q"), Assignee: new("mira"),
				AddTags: []string{"c", "c"}, RemoveTags: []string{"a"}, Fields: []schemas.Field{{Name: "order", Value: "2"}, {Name: "size", Value: "10x6"}},
			},
			want: standing{
				Status: schemas.StatusOpen, Priority: schemas.PriorityHigh, Queue: "q", Assignee: "mira", Tags: []string{"b", "c"},
				Fields: []schemas.Field{{Name: "order", Value: "2"}, {Name: "size", Value: "10x6"}},
			},
			news: &schemas.Change{
				Status: new(schemas.StatusOpen), Priority: new(schemas.PriorityHigh), Queue: new("q"), Assignee: new("mira"),
				AddTags: []string{"c"}, RemoveTags: []string{"a"}, Fields: []schemas.Field{{Name: "order", Value: "2"}, {Name: "size", Value: "10x6"}},
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, news := was.with(c.in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.news, news); diff != "" {
				t.Error(diff)
			}
			if again, twice := got.with(c.in); twice != nil || !cmp.Equal(got, again) {
				t.Errorf("a repeat changes %+v", twice)
			}
		})
	}
	if diff := cmp.Diff([]string{"a", "b"}, was.Tags); diff != "" {
		t.Errorf("with changed what it was given: %s", diff)
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	if _, err := Kind.Open(Config{}, sinks.Env{}); err == nil {
		t.Error("opened without a database")
	}
	if _, err := Kind.Open(Config{Prefix: "T1"}, sinks.Env{DB: database(t)}); err == nil || !strings.HasPrefix(err.Error(), "prefix:") {
		t.Errorf("prefix with a digit at its end: %v", err)
	}
}

func TestDataOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	db := database(t)
	s, _ := desk(t, db, "inbox")
	create(t, s, "sb-1")
	if _, err := db.ExecContext(t.Context(), `INSERT INTO inbox_version (version) VALUES (99)`); err != nil {
		t.Fatal(err)
	}
	newer, _ := desk(t, db, "inbox")
	if err := newer.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "older than the data") {
		t.Errorf("error %v, want one that says the program is too old", err)
	}
}

func TestDatabaseAwayIsNotDone(t *testing.T) {
	t.Parallel()
	db := database(t)
	s, _ := desk(t, db, "inbox")
	ref := create(t, s, "sb-1")
	_ = db.Close()
	fresh, _ := desk(t, db, "inbox")
	for _, s := range []*sink{s, fresh} {
		_, err1 := s.Create(t.Context(), ticket("sb-2"))
		_, err2 := s.Append(t.Context(), ref, said("sb-3", schemas.ByRequester, "x"))
		err3 := s.Update(t.Context(), ref, schemas.Change{})
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !fault.IsNotDone(err) || fault.IsPermanent(err) {
				t.Errorf("error %v, want a plain one that is not done", err)
			}
		}
		_, err1 = s.Find(t.Context(), "sb-1")
		_, err2 = s.Thread(t.Context(), ref)
		_, err3 = s.Catalogue(t.Context())
		_, err4 := s.Poll(t.Context(), "0")
		for _, err := range []error{err1, err2, err3, err4, s.Check(t.Context())} {
			if err == nil {
				t.Error("read from a closed database")
			}
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s, err := Kind.Open(Config{Prefix: "T-"}, sinks.Env{Name: "inbox", DB: database(b)})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Check(b.Context()); err != nil {
				b.Fatal(err)
			}
			var n atomic.Int64
			b.SetParallelism(max(callers/2, 1))
			if callers == 1 {
				for b.Loop() {
					if _, err := s.Create(b.Context(), ticket(fmt.Sprintf("sb-%026d", n.Add(1)))); err != nil {
						b.Fatal(err)
					}
				}
			} else {
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						if _, err := s.Create(b.Context(), ticket(fmt.Sprintf("sb-%026d", n.Add(1)))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tickets/s")
		})
	}
}
