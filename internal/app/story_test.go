package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/telegram"
	"switchboard/channels/twiliosms"
	"switchboard/internal/config"
	"switchboard/internal/ledger"
	"switchboard/schemas"
	"switchboard/sinks/inbox"
)

func dialSocket(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
}

var kim = schemas.Actor{Name: "kim", Role: "agent", Source: "console"}

// TestFromSMSAndTelegramToTheInboxAndBack is the whole way with the adapters that
// are shipped and their vendors' fakes: signed in, a ticket, the agent's answer,
// out again on the customer's own channel.
func TestFromSMSAndTelegramToTheInboxAndBack(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.conf.PublicURL = "https://intake.shop.example"
	sms := *twiliosms.Kind.Config().(*twiliosms.Config)
	sms.AccountSID, sms.AuthToken, sms.From = "AC00000000000000000000000000000001", secret.Literal("sandbox-auth-token"), "+442079460100"
	chat := *telegram.Kind.Config().(*telegram.Config)
	chat.Mode, chat.BotToken, chat.SecretToken = "webhook", secret.Literal("7000000001:sandbox"), secret.Literal("secret-of-a-test")
	phone := func(k channels.Kind, cfg any, base *string) (sandbox.Phone, any) {
		f := k.Traits().Fake(cfg, sandbox.NewBoard(1))
		srv := httptest.NewServer(f)
		t.Cleanup(srv.Close)
		*base = srv.URL
		return f.(sandbox.Phone), cfg
	}
	twilio, _ := phone(twiliosms.Kind, sms, &sms.BaseURL)
	tg, _ := phone(telegram.Kind, chat, &chat.BaseURL)
	s.conf.Channels = []config.ChannelInstance{
		{Name: "shop-sms", Kind: twiliosms.Kind, Value: sms}, {Name: "shop-chat", Kind: telegram.Kind, Value: chat},
	}
	s.conf.Sinks = []config.SinkInstance{{Name: "inbox", Kind: inbox.Kind, Value: *inbox.Kind.Config().(*inbox.Config)}}
	s.rules = "route: { sink: inbox }\n"
	s.start()

	send := func(name, id, from, text string, sign bool) int {
		ch, _ := s.conf.Channel(name)
		traits := ch.Kind.Traits()
		d := traits.Sample(ch.Value, channels.Sample{ID: id, From: from, Name: "Ilse Brandt", Text: text, At: time.Now()})
		d.URL = s.conf.PublicURL + "/hooks/" + name
		if sign {
			traits.Sign(ch.Value, &d)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/"+name, strings.NewReader(string(d.Body)))
		r.Header = d.Header
		w := httptest.NewRecorder()
		s.a.server.Handler.ServeHTTP(w, r)
		return w.Code
	}
	if got := send("shop-sms", "0", "+442079460117", "forged", false); got != http.StatusUnauthorized && got != http.StatusForbidden {
		t.Errorf("a forged message: got %d", got)
	}
	for _, m := range [][4]string{
		{"shop-sms", "1", "+442079460117", "Where is my order 1234?"},
		{"shop-sms", "1", "+442079460117", "Where is my order 1234?"},
		{"shop-chat", "2", "700000042", "My Finch does not bind"},
		{"shop-sms", "3", "+442079460117", "It is a present"},
	} {
		if got := send(m[0], m[1], m[2], m[3], true); got >= 300 {
			t.Fatalf("%v: got %d", m, got)
		}
	}
	s.filed(3)
	rows, _, err := s.a.ledger.Tickets(t.Context(), ledger.TicketQuery{})
	if err != nil || len(rows) != 2 {
		t.Fatalf("got %d tickets, %v, want one for each customer", len(rows), err)
	}
	act := (*actions)(s.a)
	if !act.Answers("inbox") || act.Answers("nobody") {
		t.Error("the console answers for the wrong desks")
	}
	for _, row := range rows {
		if _, err := act.Answer(t.Context(), kim, "inbox", row.Ticket.ID, "It left today, "+row.Ticket.ID, schemas.Public); err != nil {
			t.Fatal(err)
		}
		if _, err := act.Answer(t.Context(), kim, "inbox", row.Ticket.ID, "a note", schemas.Internal); err != nil {
			t.Fatal(err)
		}
	}
	s.until("both customers have their answer", func() bool { return len(twilio.Sent()) == 1 && len(tg.Sent()) == 1 })
	if got := twilio.Sent()[0]; !strings.Contains(got.Conversation, "+442079460117") || !strings.HasPrefix(got.Text, "It left today") {
		t.Errorf("by SMS went %+v", got)
	}
	if got := tg.Sent()[0]; got.Conversation != "700000042" || !strings.HasPrefix(got.Text, "It left today") {
		t.Errorf("by Telegram went %+v", got)
	}
	if _, err := act.Update(t.Context(), kim, "inbox", rows[0].Ticket.ID, schemas.Change{Status: new(schemas.StatusSolved)}); err != nil {
		t.Error(err)
	}
	s.until("a ticket is solved", func() bool {
		v, err := s.a.ledger.Ticket(t.Context(), "inbox", rows[0].Ticket.ID)
		return err == nil && v.Status == schemas.StatusSolved
	})
	for name, err := range map[string]error{
		"an answer to a ticket that is not there": second(act.Answer(t.Context(), kim, "inbox", "T-9", "x", schemas.Public)),
		"an answer at another desk":               second(act.Answer(t.Context(), kim, "zendesk", "1", "x", schemas.Public)),
		"a change of a ticket that is not there":  second(act.Update(t.Context(), kim, "inbox", "T-9", schemas.Change{})),
		"a change at another desk":                second(act.Update(t.Context(), kim, "zendesk", "1", schemas.Change{})),
		"a delivery that is not there":            second(act.Raw(t.Context(), 999)),
		"a file that is not there":                second(act.File(t.Context(), "nothing")),
		"a dead letter that is not there":         second(act.Retry(t.Context(), kim, "nothing")),
	} {
		if err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	if raw, err := act.Raw(t.Context(), 1); err != nil || !strings.Contains(string(raw.Body), "1234") || raw.Method != http.MethodPost {
		t.Errorf("the raw delivery: got %+v, %v", raw, err)
	}
	if b := s.books(); !b.Balanced || b.Filed != 3 || b.Duplicate != 1 || b.Tickets != 2 {
		t.Errorf("I15: got %+v", b)
	}
}

func second[T any](_ T, err error) error { return err }

// TestARestartKeepsEverything: records, links, order, the ledger, the queue of a
// desk that is out, users and tokens.
func TestARestartKeepsEverything(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	password, token := s.a.Password(), s.a.token
	s.post(note{ID: "1", Conv: "grace", Text: "one", File: "a drawing"}, note{ID: "2", Conv: "grace", Text: "two"})
	s.filed(2)
	s.shelf.mu.Lock()
	s.shelf.refuse = func(string, string) error { return errDesk }
	s.shelf.mu.Unlock()
	s.post(note{ID: "3", Conv: "grace", Text: "three"}, note{ID: "4", Conv: "yusuf", Text: "four"})
	s.until("all four are decided", func() bool {
		rows, err := s.a.ledger.Flow(t.Context(), ledger.FlowQuery{})
		return err == nil && len(rows) == 4
	})
	s.restart()
	if s.a.Password() != "" || s.a.token != token || password == "" {
		t.Error("the first user or the token was made anew")
	}
	s.shelf.mu.Lock()
	s.shelf.refuse = nil
	s.shelf.mu.Unlock()
	s.restart()
	s.post(note{ID: "5", Conv: "grace", Text: "five"}, note{ID: "1", Conv: "grace", Text: "one"})
	s.filed(5)
	want := [][]string{{"one", "note.txt=a drawing", "two", "three", "five"}, {"four"}}
	if diff := cmp.Diff(want, s.shelf.texts()); diff != "" {
		t.Errorf("the desk (-want +got):\n%s", diff)
	}
	s.until("the repeat is told", func() bool {
		c, err := s.a.ledger.Counts(t.Context(), time.Time{})
		return err == nil && c.Duplicate == 1
	})
	if b := s.books(); !b.Balanced || b.Received != 6 || b.Pending != 0 {
		t.Errorf("I15: got %+v", b)
	}
	if got := s.shelf.closed.Load(); got != 2 {
		t.Errorf("the desk was closed %d times in two stops", got)
	}
}

// TestTheLedgerCanBeDeleted: the events fill it again, and it says the same.
func TestTheLedgerCanBeDeleted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "1", Conv: "grace", Text: "where is my order"}, note{ID: "1", Conv: "grace", Text: "where is my order"}, note{}, note{ID: "2", Conv: "yusuf", Text: "hello"})
	s.filed(2)
	s.tell(agent("1", "c1", "it left today", schemas.Public))
	s.until("the answer is out", func() bool { return len(s.line.replies()) == 1 })
	s.post(note{ID: "V1", Receipt: string(schemas.Read)})
	tellsRead := func() bool {
		v, err := s.a.ledger.Ticket(t.Context(), "desk", "1")
		return err == nil && slices.ContainsFunc(v.Entries, func(e ledger.Entry) bool { return e.State == string(schemas.Read) })
	}
	s.until("it was read", tellsRead)
	state := func() string {
		flow, err := s.a.ledger.Flow(t.Context(), ledger.FlowQuery{})
		tickets, n, err2 := s.a.ledger.Tickets(t.Context(), ledger.TicketQuery{})
		view, err3 := s.a.ledger.Ticket(t.Context(), "desk", "1")
		counts, err4 := s.a.ledger.Counts(t.Context(), time.Time{})
		b, err5 := json.MarshalIndent([]any{flow, tickets, n, view, counts}, "", " ")
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := state()
	if err := s.halt(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.conf.Data, "ledger.db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got files %q, %v", files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	s.until("the ledger is full again", tellsRead)
	if diff := cmp.Diff(before, state()); diff != "" {
		t.Errorf("the ledger, filled again (-before +after):\n%s", diff)
	}
}

// TestADeadLetterIsListedShownAndRetried over the interface.
func TestADeadLetterIsListedShownAndRetried(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.do(http.MethodPost, "/hooks/in", "", []byte(`{"broken`))
	s.do(http.MethodPost, "/hooks/in", "", []byte(`{"broken again`))
	var rows []ledger.DeadRow
	s.until("two dead letters", func() bool {
		code, _ := s.call(http.MethodGet, "dead?state=waiting", nil, &rows)
		return code == http.StatusOK && len(rows) == 2
	})
	var letter struct{ Reason, Place string }
	if code, body := s.call(http.MethodGet, "dead/"+rows[0].ID, nil, &letter); code != http.StatusOK || letter.Place != "in" || letter.Reason == "" {
		t.Errorf("show: got %d %s", code, body)
	}
	if code, body := s.call(http.MethodPost, "dead/"+rows[0].ID+"/retry", nil, nil); code != http.StatusOK {
		t.Errorf("retry: got %d %s", code, body)
	}
	if code, body := s.call(http.MethodPost, "dead/"+rows[1].ID+"/dismiss?reason=spam", nil, nil); code != http.StatusOK {
		t.Errorf("dismiss: got %d %s", code, body)
	}
	s.until("one came back as dead, one is closed", func() bool {
		var all []ledger.DeadRow
		s.call(http.MethodGet, "dead?state=", nil, &all)
		return len(all) == 3 && slices.ContainsFunc(all, func(r ledger.DeadRow) bool { return r.State == "dismissed" })
	})
	if code, body := s.call(http.MethodGet, "dead/nothing", nil, nil); code != http.StatusNotFound {
		t.Errorf("a letter that is not there: got %d %s", code, body)
	}
	if b := s.books(); !b.Balanced || b.Dead != 3 {
		t.Errorf("I15: got %+v", b)
	}
}
