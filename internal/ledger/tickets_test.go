package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

func TestTicketsList(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	kim := "Kim"
	apply(t, l, append(append(day(t), retried(t, 23)...), func() []Event {
		more := []Event{event(t, schemas.EventTicket, after(time.Hour), schemas.TicketChanged{
			Sink: "desk", Ticket: schemas.Ref{ID: "102"}, Status: schemas.StatusSolved, Priority: schemas.PriorityHigh, Tags: []string{"done", "b2b"}, Assignee: &kim, At: after(time.Hour),
		}), event(t, schemas.EventTicket, after(50*time.Minute), schemas.TicketChanged{
			Sink: "desk", Ticket: schemas.Ref{ID: "102"}, Status: schemas.StatusPending, At: after(50 * time.Minute),
		})}
		more[0].Seq, more[1].Seq = 25, 26
		return more
	}()...), 4)
	for _, c := range []struct {
		name  string
		q     TicketQuery
		want  string
		total int
	}{
		{"all", TicketQuery{}, "102 101 100", 3},
		{"oldest", TicketQuery{Oldest: true}, "100 101 102", 3},
		{"open", TicketQuery{Open: true}, "101 100", 2},
		{"status", TicketQuery{Status: schemas.StatusSolved}, "102", 1},
		{"needs an answer", TicketQuery{NeedsAnswer: true}, "101", 1},
		{"queue", TicketQuery{Queue: "escalations"}, "100", 1},
		{"assignee", TicketQuery{Assignee: "Kim"}, "102 100", 2},
		{"sink", TicketQuery{Sink: "archive"}, "", 0},
		{"text", TicketQuery{Text: "servo"}, "101 100", 2},
		{"id", TicketQuery{Text: "102"}, "102", 1},
		{"nothing to search for", TicketQuery{Text: "' '"}, "", 0},
		{"page", TicketQuery{Offset: 1, Limit: 1}, "101", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rows, total, err := l.Tickets(t.Context(), c.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows {
				got = append(got, r.Ticket.ID)
			}
			if strings.Join(got, " ") != c.want || total != c.total {
				t.Errorf("got %q of %d, want %q of %d", got, total, c.want, c.total)
			}
		})
	}
	rows, _, err := l.Tickets(t.Context(), TicketQuery{Text: "102"})
	if err != nil {
		t.Fatal(err)
	}
	want := []TicketRow{{
		Sink: "desk", Ticket: schemas.Ref{ID: "102"}, Subject: "propeller 9x6 broken", Requester: "71003",
		RequesterID: hex.EncodeToString(hashPerson("telegram", "71003")), LastWords: "propeller 9x6 broken", LastBy: "71003",
		LastAt: after(10 * time.Minute), OpenedAt: after(10 * time.Minute), Channels: []string{"shop-telegram"}, Urgency: schemas.UrgencyNormal,
		Priority: schemas.PriorityHigh, Queue: "support", Assignee: "Kim", Status: schemas.StatusSolved, Tags: []string{"done", "b2b"}, Messages: 1, Waiting: true,
	}}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("ticket 102 (-want +got):\n%s", d)
	}
}

// said is an entry as the tests read it.
func said(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		s := fmt.Sprintf("%s %s %s %s: %s", e.Kind, e.Author, e.Channel, e.Ticket.ID, e.Text)
		if e.State != "" {
			s += " [" + e.State + "]"
		}
		for _, a := range e.Attachments {
			s += " " + a.Name
		}
		out = append(out, s)
	}
	return out
}

func TestTicketHasItsThread(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 3)
	v, err := l.Ticket(t.Context(), "desk", "100")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"message Ada Morel shop-sms 100: Der Rückruf-Servo vom Segler Möwe klemmt servo.jpg",
		"message Ada Morel shop-sms 100: It is the left one",
		"change Kim  100: status open, assignee Kim, queue escalations",
		"note Kim  100: known fault of batch 12",
		"reply Kim shop-sms 100: A new servo is on its way [delivered] label.pdf",
	}
	if d := cmp.Diff(want, said(v.Entries)); d != "" {
		t.Errorf("thread (-want +got):\n%s", d)
	}
	if v.Messages != 2 || v.Waiting || v.LastBy != "Kim" || v.LastWords != "A new servo is on its way" || v.Assignee != "Kim" || v.Queue != "escalations" {
		t.Errorf("row = %+v", v.TicketRow)
	}
	if d := cmp.Diff(ada, v.Person); d != "" {
		t.Errorf("person (-want +got):\n%s", d)
	}
	// The other ticket came by mail from the address that she wrote into a form.
	if len(v.Others) != 1 || v.Others[0].Ticket.ID != "101" || !slices.Equal(v.Conversations, []string{"cada"}) {
		t.Errorf("others = %+v, conversations = %v", v.Others, v.Conversations)
	}
	if _, err := l.Ticket(t.Context(), "archive", "100"); !errors.Is(err, ErrNotFound) {
		t.Errorf("ticket of another desk: %v, want ErrNotFound", err)
	}
}

func TestTimelineJoinsChannels(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, day(t), 0)
	rows, _, err := l.Tickets(t.Context(), TicketQuery{Text: "101"})
	if err != nil {
		t.Fatal(err)
	}
	entries, who, err := l.Timeline(t.Context(), rows[0].RequesterID)
	if err != nil {
		t.Fatal(err)
	}
	got := said(entries)
	if len(got) != 6 || got[5] != "message A. Morel shop-mail 101: Thank you for the servo" {
		t.Errorf("timeline = %q", got)
	}
	// Who only guessed to be her is not in it.
	if who.Name != "A. Morel" || who.Locale != "de" || len(who.Identities) != 3 || who.First("telegram") != "" {
		t.Errorf("person = %+v", who)
	}
	for _, id := range []string{"", "no hex", "00112233445566778899aabbccddeeff"} {
		if _, _, err := l.Timeline(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("Timeline(%q): %v, want ErrNotFound", id, err)
		}
	}
}

func TestTicketKnownOnlyFromItsDesk(t *testing.T) {
	t.Parallel()
	l := openTest(t)
	apply(t, l, inStream([]Event{
		event(t, schemas.EventComment, after(0), schemas.Commented{
			Sink: "desk", Ticket: schemas.Ref{ID: "7"}, At: after(0),
			Comment: schemas.Comment{Author: schemas.Author{Role: schemas.ByRequester, Requester: &ada}, Visibility: schemas.Public, Text: "asked in the portal"},
		}),
	}), 0)
	v, err := l.Ticket(t.Context(), "desk", "7")
	if err != nil || !v.Waiting || v.LastBy != "Ada Morel" || len(v.Entries) != 1 || v.Entries[0].Kind != "message" {
		t.Errorf("ticket = %+v, %v", v, err)
	}
}

func TestReplyStatesOnlyAdvance(t *testing.T) {
	t.Parallel()
	reply := func(state string, at time.Duration) Event {
		return event(t, schemas.EventReply, after(at), schemas.Replied{
			Reply: "r1", Channel: "shop-sms", Sink: "desk", Conversation: "c1", State: state, At: after(at), Reason: state + " because",
			Dead: map[string]string{"unknown": "dl-r1"}[state], Ticket: schemas.Ref{ID: "9"},
		})
	}
	receipt := func(state schemas.ReceiptState, at time.Duration) Event {
		return event(t, schemas.EventReceipt, after(at), schemas.Receipted{
			Reply: "r1", Conversation: "c1", Channel: "shop-sms", Receipt: schemas.Receipt{ID: "x", State: state}, At: after(at),
		})
	}
	for _, c := range []struct {
		name   string
		events []Event
		want   string
	}{
		{"in order", []Event{reply("queued", 1), reply("sent", 2), receipt(schemas.Delivered, 3), receipt(schemas.Read, 4)}, "read"},
		{"receipts first", []Event{receipt(schemas.Delivered, 3), reply("sent", 2), reply("queued", 1)}, "delivered"},
		{"failed after sent", []Event{reply("sent", 1), receipt(schemas.Failed, 2)}, "failed"},
		{"failed, then sent again", []Event{reply("failed", time.Second), reply("queued", 2*time.Second)}, "queued"},
		{"unknown, then it had arrived", []Event{reply("unknown", 1), reply("sent", 2*time.Second)}, "sent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := openTest(t)
			apply(t, l, inStream(c.events), 1)
			// A ticket brings the reply to light, whatever came first.
			more := file(t, "m1", "c1", "9", after(time.Hour), true)
			more.Seq = 50
			apply(t, l, []Event{more}, 0)
			v, err := l.Ticket(t.Context(), "desk", "9")
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(v.Entries, func(e Entry) bool { return e.Reply == "r1" })
			if i < 0 || v.Entries[i].State != c.want || v.Entries[i].Kind != "reply" || len(v.Entries) != 2 {
				t.Errorf("entries = %+v, want one reply with state %s", v.Entries, c.want)
			}
		})
	}
}
