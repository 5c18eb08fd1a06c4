package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

// line is a flow row as the tests read it.
func line(r FlowRow) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s@%s %s%s %s", r.ID, r.Outcome, r.Channel, r.Sink, r.Ticket.ID, map[bool]string{true: "+"}[r.Opened], r.Reason))
}

func flowLines(tb testing.TB, l *Ledger, q FlowQuery) []string {
	tb.Helper()
	rows, err := l.Flow(tb.Context(), q)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		out = append(out, line(r))
	}
	return out
}

func ids(lines []string) string {
	var out []string
	for _, l := range lines {
		id, _, _ := strings.Cut(l, " ")
		out = append(out, id)
	}
	return strings.Join(out, " ")
}

func TestFlowShowsEveryOutcome(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 4)
	want := []string{
		`mjonas1 dead shop-telegram@desk  create ticket: desk answered 422: "Requester is suspended"`,
		"d13 dead website@  unexpected end of JSON",
		"d0-16 ignored website@  larger than 10 MiB",
		"d12 ignored shop-telegram@  a sticker",
		"mguest dropped website@-  looks like advertising",
		"mada3 waiting shop-mail@archive",
		"d7 duplicate shop-sms@  sent twice, first as delivery 3",
		"mada2 filed shop-sms@desk 100",
		"mada1 filed shop-sms@desk 100+",
	}
	if d := cmp.Diff(want, flowLines(t, l, FlowQuery{})); d != "" {
		t.Errorf("flow (-want +got):\n%s", d)
	}
	rows, err := l.Flow(t.Context(), FlowQuery{Before: "mada2"})
	if err != nil {
		t.Fatal(err)
	}
	first := []FlowRow{{
		ID: "mada1", At: after(0), Channel: "shop-sms", Kind: "sms", Requester: "Ada Morel", Preview: "Der Rückruf-Servo vom Segler Möwe klemmt",
		Attachments: 1, Category: "warranty", Urgency: schemas.UrgencyHigh, Keywords: []string{"servo", "glider"}, Rule: "support", Sink: "desk",
		Ticket: schemas.Ref{ID: "100", URL: "https://desk.example/100"}, Opened: true, Outcome: OutcomeFiled, Took: 2 * time.Second, Seq: 2,
	}}
	if d := cmp.Diff(first, rows); d != "" {
		t.Errorf("first row (-want +got):\n%s", d)
	}
}

func TestFlowNarrows(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 0)
	for _, c := range []struct {
		name string
		q    FlowQuery
		want string
	}{
		{"channel", FlowQuery{Channel: "website"}, "d13 d0-16 mguest"},
		{"sink", FlowQuery{Sink: "desk"}, "mjonas1 mada3 mada2 mada1"},
		{"sink and outcome", FlowQuery{Sink: "desk", Outcome: OutcomeFiled}, "mada3 mada2 mada1"},
		{"filed everywhere", FlowQuery{Outcome: OutcomeFiled}, "mada2 mada1"},
		{"waiting", FlowQuery{Outcome: OutcomeWaiting}, "mada3"},
		{"dead", FlowQuery{Outcome: OutcomeDead}, "mjonas1 d13"},
		{"dropped", FlowQuery{Outcome: OutcomeDropped}, "mguest"},
		{"duplicate", FlowQuery{Outcome: OutcomeDuplicate}, "d7"},
		{"forgotten", FlowQuery{Outcome: OutcomeForgotten}, ""},
		{"no such outcome", FlowQuery{Outcome: "lost"}, ""},
		{"limit", FlowQuery{Limit: 2}, "mjonas1 d13"},
		{"before", FlowQuery{Before: "mada3", Limit: 2}, "d7 mada2"},
		{"before what is gone", FlowQuery{Before: "nobody"}, ""},
		{"words", FlowQuery{Text: "servo"}, "mada3 mada1"},
		{"a word without its accent", FlowQuery{Text: "ruckruf"}, "mada1"},
		{"beginning of a word", FlowQuery{Text: "prop"}, "mjonas1"},
		{"whole words in the midst", FlowQuery{Text: "prop 9x6"}, ""},
		{"phrase", FlowQuery{Text: `"vom Segler"`}, "mada1"},
		{"phrase in another order", FlowQuery{Text: `"Segler vom"`}, ""},
		{"requester", FlowQuery{Text: "morel"}, "mada3 mada2 mada1"},
		{"identity", FlowQuery{Text: "+4930901820"}, "mada2 mada1"},
		{"field", FlowQuery{Text: "WX-4711"}, "mada1"},
		{"vendor id", FlowQuery{Text: "v-mada2"}, "mada2"},
		{"message id brings its repeats", FlowQuery{Text: "mada2"}, "d7 mada2"},
		{"ticket", FlowQuery{Text: "100"}, "mada2 mada1"},
		{"operators of the index are words", FlowQuery{Text: `servo OR NEAR( "`}, ""},
		{"nothing to search for", FlowQuery{Text: "\" \" ' -"}, ""},
		{"one sign", FlowQuery{Text: "*"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := ids(flowLines(t, l, c.q)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestFlowAfterBringsWhatChanged(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)
	apply(t, l, events[:5], 0)
	if got := ids(flowLines(t, l, FlowQuery{After: 5})); got != "" {
		t.Errorf("nothing happened since: %q", got)
	}
	// Rows come in the order of their newest event, each once.
	if got, want := ids(flowLines(t, l, FlowQuery{After: 1})), "mada1 mada2 d7"; got != want {
		t.Errorf("after 1: got %q, want %q", got, want)
	}
	apply(t, l, events[5:], 0)
	if got, want := ids(flowLines(t, l, FlowQuery{After: 11})), "mada3 mguest d12 d0-16 d13 mjonas1"; got != want {
		t.Errorf("after 11: got %q, want %q", got, want)
	}
	// What does not fit comes with the next call.
	if got, want := ids(flowLines(t, l, FlowQuery{After: 11, Limit: 2})), "mada3 mguest"; got != want {
		t.Errorf("after 11, two: got %q, want %q", got, want)
	}
	apply(t, l, retried(t, uint64(len(events)+1)), 1)
	if got, want := ids(flowLines(t, l, FlowQuery{After: uint64(len(events))})), "mjonas1"; got != want {
		t.Errorf("after the retry: got %q, want %q", got, want)
	}
}

func TestStoryTellsAll(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := append(day(t), retried(t, 23)...)
	apply(t, l, events, 3)
	s, err := l.Story(t.Context(), "mjonas1")
	if err != nil {
		t.Fatal(err)
	}
	if s.Outcome != OutcomeFiled || s.Ticket.ID != "102" || s.Version != 0 || s.Conversation != "cjonas" || s.Delivery != 1 {
		t.Errorf("story is of %+v", s.FlowRow)
	}
	if len(s.Troubles) != 2 || s.Troubles[1].Dead != "dl-j0" || len(s.Requests) != 1 || len(s.Filed) != 1 || !s.Filed[0].Late {
		t.Errorf("story has %d troubles, %d requests, %d filed", len(s.Troubles), len(s.Requests), len(s.Filed))
	}
	if s, err = l.Story(t.Context(), "mada1"); err != nil || s.Message.Text != "Der Rückruf-Servo vom Segler Möwe klemmt" || s.Filed[0].Calls[0].Op != "create" ||
		len(s.Classification.Keywords) != 3 || s.Decisions[0].Queue != "support" || s.Rules != "sha256:77" {
		t.Errorf("story of mada1 = %+v, %v", s, err)
	}
	if s, err = l.Story(t.Context(), "mada2"); err != nil || len(s.Duplicates) != 1 || s.Duplicates[0].Delivery != 7 {
		t.Errorf("duplicates of mada2 = %+v, %v", s.Duplicates, err)
	}
	if s, err = l.Story(t.Context(), "d7"); err != nil || len(s.Duplicates) != 1 || s.Outcome != OutcomeDuplicate || s.Requester != "Ada Morel" {
		t.Errorf("story of d7 = %+v, %v", s, err)
	}
	if s, err = l.Story(t.Context(), "d13"); err != nil || s.Ended == nil || s.Ended.Dead != "dl-13" || s.Outcome != OutcomeDead || s.Version != 0 {
		t.Errorf("story of d13 = %+v, %v", s, err)
	}
}

func TestStoryIsFoundByManyIDs(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 0)
	for id, want := range map[string]string{
		"mada2": "mada2", "d12": "d12", "v-mada2": "mada2", "100": "mada1", "101": "mada3", "r1": "mada2", "dl-j0": "mjonas1", "dl-13": "d13",
		"": "", "servo": "", "v-mada": "", "d99": "", "102": "", "r2": "",
	} {
		s, err := l.Story(t.Context(), id)
		if want == "" {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("Story(%q) = %s, %v, want ErrNotFound", id, s.ID, err)
			}
			continue
		}
		if err != nil || s.ID != want {
			t.Errorf("Story(%q) = %s, %v, want %s", id, s.ID, err, want)
		}
	}
}

// A person sends a dead message to another desk: it is decided anew, and the books
// keep both.
func TestDecidedAgain(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	again := decide(t, "mjonas1", "cjonas", "shop-telegram", after(10*time.Minute), jonas, "propeller 9x6 broken", func(d *schemas.Decided) {
		d.Version, d.Rules = 1, "sha256:88"
		d.Decisions = []schemas.Decision{{Sink: "inbox", Path: []schemas.RuleRef{{Name: "by hand"}}}}
	})
	apply(t, l, inStream(append(day(t), again)), 6)
	s, err := l.Story(t.Context(), "mjonas1")
	if err != nil {
		t.Fatal(err)
	}
	if s.Outcome != OutcomeWaiting || s.Sink != "inbox" || s.Rule != "by hand" || s.Version != 1 || s.Rules != "sha256:88" || len(s.Decisions) != 1 {
		t.Errorf("story = %+v", s)
	}
	if got, want := flowLines(t, l, FlowQuery{Sink: "desk", Limit: 1}), "mjonas1 dropped shop-telegram@desk  sent elsewhere by hand"; got[0] != want {
		t.Errorf("at the old desk: got %q, want %q", got[0], want)
	}
}

func TestCountsBalance(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, append(day(t), retried(t, 23)...), 5)
	for _, c := range []struct {
		since time.Time
		want  Counts
	}{
		{time.Time{}, Counts{Accepted: 9, Filed: 4, Duplicate: 1, Ignored: 1, Dead: 1, Dropped: 1, Waiting: 1}},
		{after(6*time.Minute + 30*time.Second), Counts{Accepted: 6, Filed: 2, Ignored: 1, Dead: 1, Dropped: 1, Waiting: 1}},
		{after(time.Hour), Counts{}},
	} {
		got, err := l.Counts(t.Context(), c.since)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("since %v (-want +got):\n%s", c.since, d)
		}
	}
}

// A delivery of three messages of which two came before is one row and two repeats.
func TestDuplicatesOfOneDeliveryCountEach(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, inStream([]Event{
		event(t, schemas.EventDuplicate, after(0), schemas.Duplicate{Message: "m1", Conversation: "c1", Delivery: 4, Channel: "website", At: after(0)}),
		event(t, schemas.EventDuplicate, after(0), schemas.Duplicate{Message: "m2", Conversation: "c1", Delivery: 4, Channel: "website", At: after(0)}),
	}), 1)
	if got, err := l.Counts(t.Context(), time.Time{}); err != nil || got.Duplicate != 2 || got.Accepted != 2 {
		t.Errorf("Counts = %+v, %v, want 2 duplicates", got, err)
	}
	if got := ids(flowLines(t, l, FlowQuery{})); got != "d4" {
		t.Errorf("flow = %q, want one row", got)
	}
	if s, err := l.Story(t.Context(), "d4"); err != nil || len(s.Duplicates) != 2 {
		t.Errorf("story has %d duplicates, %v", len(s.Duplicates), err)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	events := day(t)
	apply(t, l, events, 0)
	got, err := l.Dead(t.Context(), "waiting")
	if err != nil {
		t.Fatal(err)
	}
	want := []DeadRow{{
		ID: "dl-j0", Stage: "delivery", At: after(10*time.Minute + 2*time.Second), Message: "mjonas1", Conversation: "cjonas", Channel: "shop-telegram",
		Sink: "desk", Requester: "71003", Preview: "propeller 9x6 broken", Rule: "support", Attempts: 2, State: "waiting",
		Reason: `create ticket: desk answered 422: "Requester is suspended"`,
	}, {
		ID: "dl-13", Stage: "pipeline", At: after(9 * time.Minute), Delivery: 13, Channel: "website", Reason: "unexpected end of JSON", Attempts: 1, State: "waiting",
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("waiting (-want +got):\n%s", d)
	}
	more := retried(t, 23)
	apply(t, l, more[:1], 0)
	if r, err := l.DeadLetter(t.Context(), "dl-j0"); err != nil || r.State != "retried" || r.Actor != "kim" || !r.Acted.Equal(after(12*time.Minute)) {
		t.Errorf("after retry: %+v, %v", r, err)
	}
	if got := flowLines(t, l, FlowQuery{Outcome: OutcomeWaiting})[0]; got != "mjonas1 waiting shop-telegram@desk  tried again by kim" {
		t.Errorf("the message does not wait: %q", got)
	}
	apply(t, l, more[1:], 0)
	if r, err := l.DeadLetter(t.Context(), "dl-j0"); err != nil || r.State != "mended" || r.Actor != "kim" {
		t.Errorf("after filing: %+v, %v", r, err)
	}
	dismiss := event(t, schemas.EventRetry, after(time.Hour), schemas.Requested{Dead: "dl-13", Action: "dismiss", Actor: schemas.Actor{Name: "admin"}, At: after(time.Hour)})
	early := event(t, schemas.EventRetry, after(time.Hour), schemas.Requested{Dead: "dl-later", Action: "dismiss", Actor: schemas.Actor{Name: "admin"}, At: after(time.Hour)})
	dismiss.Seq, early.Seq = 30, 31
	apply(t, l, []Event{dismiss, early}, 0)
	if r, err := l.Dead(t.Context(), "dismissed"); err != nil || len(r) != 1 || r[0].ID != "dl-13" {
		t.Errorf("dismissed = %+v, %v", r, err)
	}
	if s, err := l.Story(t.Context(), "d13"); err != nil || len(s.Requests) != 1 {
		t.Errorf("the delivery's story has %d requests, %v", len(s.Requests), err)
	}
	if _, err := l.DeadLetter(t.Context(), "dl-later"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a letter before its event: %v, want ErrNotFound", err)
	}
}

func TestDeadReplyIsMendedWhenSent(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	reply := func(state, deadID string, at time.Duration) Event {
		return event(t, schemas.EventReply, after(at), schemas.Replied{
			Reply: "r1", Channel: "shop-sms", Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Conversation: "cada", State: state, Dead: deadID, Reason: "no answer", At: after(at),
		})
	}
	events := append(day(t)[:7], event(t, schemas.EventComment, after(time.Hour), schemas.Commented{
		Sink: "desk", Ticket: schemas.Ref{ID: "100"}, Reply: "r1", At: after(time.Hour),
		Comment: schemas.Comment{ID: "c2", Author: schemas.Author{Role: schemas.ByAgent, Name: "Kim"}, Visibility: schemas.Public, Text: "Sent today"},
	}), reply("unknown", "dl-r1", time.Hour), reply("sent", "", 2*time.Hour))
	apply(t, l, inStream(events)[:9], 2)
	r, err := l.DeadLetter(t.Context(), "dl-r1")
	if err != nil || r.Stage != "reply" || r.State != "waiting" || r.Preview != "Sent today" || r.Requester != "Ada Morel" {
		t.Errorf("dead reply = %+v, %v", r, err)
	}
	apply(t, l, events[9:], 0)
	if r, err := l.DeadLetter(t.Context(), "dl-r1"); err != nil || r.State != "mended" {
		t.Errorf("after sending: %+v, %v", r, err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 0)
	rows, err := l.Health(t.Context(), after(20*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %s %s %q last %s %d/%d waiting %d", r.Side, r.Name, r.State, r.Reason, r.Last.Format("15:04:05"), r.LastHour, r.LastDay, r.Waiting))
	}
	want := []string{
		`channel shop-mail ok "" last 08:06:00 1/1 waiting 1`,
		`channel shop-sms ok "" last 08:05:01 2/2 waiting 0`,
		`channel shop-telegram ok "" last 08:10:00 1/1 waiting 0`,
		`channel website ok "" last 08:07:00 1/1 waiting 0`,
		`sink archive ok "" last 00:00:00 1/1 waiting 1`,
		`sink desk degraded "429" last 08:06:04 4/4 waiting 0`,
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("health (-want +got):\n%s", d)
	}
	desk := rows[slices.IndexFunc(rows, func(r HealthRow) bool { return r.Name == "desk" })]
	// Filed within 1, 2 and 4 seconds; rounded up by less than a fifth.
	if desk.Half < 2*time.Second || desk.Half > 2400*time.Millisecond || desk.P99 < 4*time.Second || desk.P99 > 4800*time.Millisecond {
		t.Errorf("half = %v, p99 = %v, want about 2s and 4s", desk.Half, desk.P99)
	}
	rows, err = l.Health(t.Context(), after(10*time.Hour))
	if err != nil || rows[1].LastHour != 0 || rows[1].LastDay != 2 || rows[1].Half != 0 {
		t.Errorf("ten hours later: %+v, %v", rows[1], err)
	}
}

func TestNamesForFilters(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 0)
	channels, err1 := l.Channels(t.Context())
	sinks, err2 := l.Sinks(t.Context())
	queues, err3 := l.Queues(t.Context())
	agents, err4 := l.Assignees(t.Context())
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"shop-mail", "shop-sms", "shop-telegram", "website"}, {"archive", "desk"}, {"escalations", "support"}, {"Kim"}}
	if d := cmp.Diff(want, [][]string{channels, sinks, queues, agents}); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
}
