package delivery

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// mute is a channel that takes replies, or does not.
type mute struct{}

func (mute) Account() string                              { return "shop" }
func (mute) Check(context.Context) error                  { return nil }
func (mute) Parse(hook.Delivery) (channels.Parsed, error) { return channels.Parsed{}, nil }

type speaking struct{ mute }

func (speaking) Send(context.Context, schemas.Reply) (schemas.Receipt, error) {
	return schemas.Receipt{}, nil
}

// answered is a world with one filed message, on ticket 1, whose channel can
// carry replies of at most most characters.
func answered(t *testing.T, most int) *world {
	t.Helper()
	w := newWorld(t, sinks.StrongLookup)
	w.channels["shop"] = &channels.Opened{Name: "shop", Channel: speaking{}, Sender: speaking{}, Traits: channels.Traits[any]{MaxText: most}}
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.filed(1)
	return w
}

// said is a comment by an agent at the desk.
func said(id, text string, v schemas.Visibility) sinks.TicketComment {
	return sinks.TicketComment{Ticket: schemas.Ref{ID: "1"}, Comment: schemas.Comment{
		ID: id, Author: schemas.Author{Role: schemas.ByAgent, Name: "Kim Rudder"}, Visibility: v, Text: text,
	}}
}

// queue reads REPLIES.
func (w *world) queue() []record.ReplyJob {
	w.t.Helper()
	var out []record.ReplyJob
	err := w.life.b.Scan(w.t.Context(), bus.Range{Stream: bus.Replies}, func(m *bus.Msg) error {
		job, err := record.Decode[record.ReplyJob](m.Data)
		if m.Subject != "replies.shop."+w.conv("a") {
			w.t.Errorf("a reply goes to %s", m.Subject)
		}
		out = append(out, job)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// TestAnAgentsAnswerBecomesOneReply: webhook and poll tell of the same comment,
// in different company; one of them sends (I3, I12; F-R1 by the record).
func TestAnAgentsAnswerBecomesOneReply(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	file := schemas.File{Name: "manual.pdf", Blob: "x"}
	public := said("c9", "It leaves today", schemas.Public)
	public.Comment.Files = []schemas.File{file}
	w.back(sinks.Changes{Comments: []sinks.TicketComment{public}})
	w.back(sinks.Changes{Comments: []sinks.TicketComment{said("c8", "a note between us", schemas.Internal), public}})
	es := w.life.trail.until(func(es []told) bool { return len(only[schemas.Commented](t, es, schemas.EventComment)) >= 2 })
	w.backDrained()
	jobs := w.queue()
	if len(jobs) != 1 {
		t.Fatalf("got %d replies, want 1", len(jobs))
	}
	r := jobs[0].Reply
	if r.Text != "It leaves today" || r.Conversation != "a" || r.ReplyTo != "1" || r.To.Name != "Ilse Brandt" || r.Agent != "Kim Rudder" ||
		r.Subject != "About a" || r.Key != "sb-"+jobs[0].ID || len(r.Files) != 1 || r.Files[0].Name != "manual.pdf" {
		t.Errorf("got %+v", r)
	}
	queued := only[schemas.Replied](t, es, schemas.EventReply)
	if len(queued) != 1 || queued[0].State != "queued" || queued[0].Ticket.ID != "1" || queued[0].Conversation != w.conv("a") {
		t.Errorf("got %+v, want one reply queued", queued)
	}
	comments := only[schemas.Commented](t, w.says(schemas.EventComment, 2), schemas.EventComment)
	if len(comments) != 2 {
		t.Errorf("I3: got %d different comments told, want the reply and the note", len(comments))
	}
	for _, c := range comments {
		if (c.Reply != "") != (c.Comment.Visibility == schemas.Public) {
			t.Errorf("comment %s: reply %q", c.Comment.ID, c.Reply)
		}
	}
}

// backDrained waits until everything that came back has been settled.
func (w *world) backDrained() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		info, err := w.life.b.Info(ctx, bus.Deliveries)
		if err != nil {
			w.t.Fatal(err)
		}
		if w.life.readers[1].Floor() >= info.Last {
			return
		}
	}
}

// TestLongAnswersAreSplit: pieces fit the channel, in order, and files go with
// the first.
func TestLongAnswersAreSplit(t *testing.T) {
	t.Parallel()
	w := answered(t, 60)
	long := strings.TrimSpace(strings.Repeat("Sehr geehrte Frau Lindqvist ", 10))
	c := said("c1", long, schemas.Public)
	c.Comment.Files = []schemas.File{{Name: "a.pdf"}}
	w.back(sinks.Changes{Comments: []sinks.TicketComment{c}})
	w.says(schemas.EventComment, 1)
	jobs := w.queue()
	if len(jobs) < 5 {
		t.Fatalf("got %d pieces", len(jobs))
	}
	whole := ""
	for i, j := range jobs {
		if n := utf8.RuneCountInString(j.Reply.Text); n > 60 {
			t.Errorf("piece %d has %d characters, want at most 60", i+1, n)
		}
		text, mark, _ := strings.Cut(j.Reply.Text, " (")
		if !strings.HasPrefix(mark, string(rune('1'+i))) && i < 9 {
			t.Errorf("piece %d is marked (%s", i+1, mark)
		}
		whole += text + " "
		if (i == 0) != (len(j.Reply.Files) == 1) {
			t.Errorf("piece %d carries %d files", i+1, len(j.Reply.Files))
		}
	}
	if strings.TrimSpace(whole) != long {
		t.Errorf("the pieces say %q", whole)
	}
}

func TestSplitKeepsEveryCharacter(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"one word": strings.Repeat("x", 500), "emoji": strings.Repeat("🛩", 300), "many pieces": strings.Repeat("ab ", 3000), "lines": strings.Repeat("a\n", 200),
	} {
		pieces := split(text, 60)
		got := 0
		for _, p := range pieces {
			if n := utf8.RuneCountInString(p); n > 60 || !utf8.ValidString(p) {
				t.Errorf("%s: a piece has %d characters: %q", name, n, p)
			}
			got += strings.Count(p[:strings.LastIndex(p, " (")], "x") + strings.Count(p, "🛩") + strings.Count(p, "a")
		}
		if want := strings.Count(text, "x") + strings.Count(text, "🛩") + strings.Count(text, "a"); got != want {
			t.Errorf("%s: %d of %d characters are left", name, got, want)
		}
	}
	if got := split("short", 0); len(got) != 1 || got[0] != "short" {
		t.Errorf("without a limit: got %q", got)
	}
}

// TestOurOwnWordsDoNotComeBack is I13: comments that carry our key, that we wrote
// under an id that the desk gave, or that the requester is the author of.
func TestOurOwnWordsDoNotComeBack(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	w.desk.plan("attach", suspended) // makes a note of ours
	w.send(mail{id: "2", conv: "a", text: "two", edit: func(m *schemas.Message, _ *schemas.Decision) {
		m.Attachments = []schemas.Attachment{{Name: "x.txt", Data: []byte("x")}}
	}})
	w.filed(2)
	ours := said("77", "two", schemas.Public)
	ours.Comment.Key = record.CommentKey("desk", w.mid("2"), 0)
	theirs := said("78", "a customer in the desk's own portal", schemas.Public)
	theirs.Comment.Author.Role = schemas.ByRequester
	w.back(sinks.Changes{Comments: []sinks.TicketComment{ours, theirs}})
	// A desk that tells our own comments without our key tells them by id.
	var note, comment string
	w.desk.state(func() {
		for _, c := range w.desk.tickets[0].comments {
			switch {
			case c.said.Visibility == schemas.Internal:
				note = c.id
			case c.op == "append":
				comment = c.id
			}
		}
	})
	if note == "" || comment == "" {
		t.Fatal("there is no note, or no comment")
	}
	w.back(sinks.Changes{Comments: []sinks.TicketComment{said(note, "A file could not be attached", schemas.Internal)}})
	w.back(sinks.Changes{Comments: []sinks.TicketComment{said(comment, "two", schemas.Public)}})
	es := w.says(schemas.EventIgnored, 3)
	if got := ids(es, schemas.EventComment); len(got) != 0 {
		t.Errorf("got %d comments told, want none", len(got))
	}
	if jobs := w.queue(); len(jobs) != 0 {
		t.Errorf("got %d replies of our own words", len(jobs))
	}
}

// TestAnEchoThatOvertakesItsAnswerWaits: the desk tells of our comment before the
// call that made it has come back.
func TestAnEchoThatOvertakesItsAnswerWaits(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	told, go_ := make(chan string), make(chan struct{})
	w.desk.plan("append", func(commit func()) error {
		commit()
		w.desk.state(func() {
			comments := w.desk.tickets[0].comments
			told <- comments[len(comments)-1].id
		})
		<-go_
		return nil
	})
	w.send(mail{id: "2", conv: "a", text: "two"})
	id := <-told
	w.back(sinks.Changes{Comments: []sinks.TicketComment{said(id, "two", schemas.Public)}})
	w.back(sinks.Changes{Tickets: []sinks.TicketChange{{Ticket: schemas.Ref{ID: "other"}, Change: schemas.Change{Status: new(schemas.StatusOpen)}}}})
	w.says(schemas.EventTicket, 1) // of another ticket: nobody else waits
	close(go_)
	es := w.says(schemas.EventIgnored, 1)
	if n := len(ids(es, schemas.EventComment)) + len(w.queue()); n != 0 {
		t.Errorf("our own words came back %d times", n)
	}
}

// TestAChannelWithoutAVoiceSaysSo: nobody is to believe that an answer went out.
func TestAChannelWithoutAVoiceSaysSo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]*channels.Opened{"no sender": {Name: "shop", Channel: mute{}}, "no channel": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := answered(t, 0)
			w.channels["shop"] = c
			w.back(sinks.Changes{Comments: []sinks.TicketComment{said("c1", "hello", schemas.Public)}})
			failed := only[schemas.Replied](t, w.says(schemas.EventReply, 1), schemas.EventReply)
			if len(failed) != 1 || failed[0].State != "failed" || !strings.Contains(failed[0].Reason, "cannot carry replies") {
				t.Errorf("got %+v, want a failed reply with its reason", failed)
			}
			if jobs := w.queue(); len(jobs) != 0 {
				t.Errorf("got %d replies in the queue", len(jobs))
			}
		})
	}
}

// TestChangesOfTicketsAreTold, of ours with their conversation, of others without.
func TestChangesOfTicketsAreTold(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	at := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	w.back(sinks.Changes{Tickets: []sinks.TicketChange{
		{Ticket: schemas.Ref{ID: "1"}, By: "kim", At: at, Change: schemas.Change{
			Status: new(schemas.StatusSolved), Priority: new(schemas.PriorityHigh), Assignee: new("kim"), Queue: new("repairs"), AddTags: []string{"vip"},
		}},
		{Ticket: schemas.Ref{ID: "999"}, Change: schemas.Change{Status: new(schemas.StatusOpen)}},
	}})
	w.back(sinks.Changes{Comments: []sinks.TicketComment{{Ticket: schemas.Ref{ID: "999"}, Comment: schemas.Comment{
		ID: "1", Author: schemas.Author{Role: schemas.ByAgent}, Visibility: schemas.Public, Text: "not our customer",
	}}}})
	es := w.says(schemas.EventComment, 1)
	got := only[schemas.TicketChanged](t, w.says(schemas.EventTicket, 2), schemas.EventTicket)
	one, other := got[0], got[1]
	if one.Status != schemas.StatusSolved || one.Priority != schemas.PriorityHigh || *one.Assignee != "kim" || *one.Queue != "repairs" ||
		one.By != "kim" || !one.At.Equal(at) || one.Conversation != w.conv("a") {
		t.Errorf("got %+v", one)
	}
	if other.Conversation != "" || other.At.IsZero() {
		t.Errorf("got %+v, want no conversation and a time", other)
	}
	if c := only[schemas.Commented](t, es, schemas.EventComment)[0]; c.Reply != "" || c.Conversation != "" {
		t.Errorf("got %+v: a stranger's ticket became a reply", c)
	}
}

// TestWhatTheDeskSaysEndsInAnEvent is I2 for deliveries from the desk: nonsense
// and panics are dead letters with their bytes, the rest is ignored with a reason.
func TestWhatTheDeskSaysEndsInAnEvent(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	w.backRaw([]byte("nonsense"))
	w.backRaw([]byte("panic"))
	w.back(sinks.Changes{Ignored: "an event of no interest"})
	w.back(sinks.Changes{})
	dead := only[schemas.DeliveryEnded](t, w.says(schemas.EventDeadDelivery, 2), schemas.EventDeadDelivery)
	ignored := only[schemas.DeliveryEnded](t, w.says(schemas.EventIgnored, 2), schemas.EventIgnored)
	if len(dead) != 2 || len(ignored) != 2 {
		t.Fatalf("got %d dead and %d ignored, want 2 and 2", len(dead), len(ignored))
	}
	for _, d := range dead {
		l, err := w.life.d.Letter(t.Context(), d.Dead)
		if err != nil || (string(l.Body) != "nonsense" && string(l.Body) != "panic") {
			t.Errorf("letter %s: got %q, %v", d.Dead, l.Body, err)
		}
		if d.Delivery == 0 || d.Channel != "desk" || d.Reason == "" {
			t.Errorf("got %+v", d)
		}
	}
	w.backDrained()
}

// TestALargeDeliveryFromTheDeskKeepsItsBody: a body in the blobs is read from
// there; one that is missing is a dead letter, not silence.
func TestALargeDeliveryFromTheDeskKeepsItsBody(t *testing.T) {
	t.Parallel()
	w := answered(t, 0)
	for name, content := range map[string]string{"raw/1": `{"Ignored":"from the blobs"}`, "raw/2": "nonsense", "raw/3": ""} {
		if content != "" {
			if err := w.life.b.PutBlob(t.Context(), name, []byte(content)); err != nil {
				t.Fatal(err)
			}
		}
		r, err := record.EncodeDelivery(record.BackSubject("desk"), hook.Delivery{Method: "POST", ReceivedAt: time.Now()}, name, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.life.b.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	es := w.says(schemas.EventDeadDelivery, 2)
	if got := only[schemas.DeliveryEnded](t, w.says(schemas.EventIgnored, 1), schemas.EventIgnored); got[0].Reason != "from the blobs" {
		t.Errorf("got %+v", got)
	}
	for _, d := range only[schemas.DeliveryEnded](t, es, schemas.EventDeadDelivery) {
		l, err := w.life.d.Letter(t.Context(), d.Dead)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(d.Reason, "not found") {
			continue
		}
		// The delivery's own blob goes with the delivery: the letter has its copy.
		if body, err := w.life.b.ReadBlob(t.Context(), l.Blob); err != nil || string(body) != "nonsense" || l.Blob == "raw/2" {
			t.Errorf("letter's body in %q: got %q, %v", l.Blob, body, err)
		}
	}
}

// TestACrashBetweenRecordAndQueueSendsTheReplyOnce is F-R1: the record of a reply
// is there, the reply is not in the queue; its creator goes on.
func TestACrashBetweenRecordAndQueueSendsTheReplyOnce(t *testing.T) {
	t.Parallel()
	for n := int64(2); n <= 5; n++ { // the first write is the delivery's own
		w := answered(t, 0)
		l := w.life
		l.arm(n)
		w.back(sinks.Changes{Comments: []sinks.TicketComment{said("c1", "hello", schemas.Public)}})
		<-l.died
		w.restart()
		w.says(schemas.EventComment, 1)
		w.backDrained()
		once := map[string]bool{}
		for _, j := range w.queue() {
			once[j.ID] = true
		}
		if len(once) != 1 {
			t.Errorf("crash at write %d: got %d replies, want 1", n, len(once))
		}
	}
}
