package webhook

import (
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
	"switchboard/sinks/sinktest"
)

var (
	testSecret = secret.Literal("whsec_" + base64.StdEncoding.EncodeToString([]byte("a key for tests of the webhook sink")))
	sentAt     = time.Date(2026, 4, 7, 9, 30, 0, 0, time.UTC)
)

func TestContract(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, Kind, Config{ContentType: "application/json", Token: secret.Literal("bearer-of-tests")})
}

func ticketOf(key string) schemas.Ticket {
	return schemas.Ticket{
		Key: key, Subject: "Wing spar bent", Text: "The spar of my Skylark is bent. \"Really\" bent.",
		Requester: schemas.Requester{Name: "Tom Ahrens", Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+4915550100", Evidence: schemas.Attested}}},
		Queue:     "support", Tags: []string{"spares"}, Channel: "shop-sms", Kind: "twilio-sms", ReceivedAt: sentAt, Message: "m1",
	}
}

func commentOf(key string) schemas.Comment {
	return schemas.Comment{
		Key: key, Text: "Any news?", Visibility: schemas.Public, At: sentAt.Add(time.Hour),
		Author: schemas.Author{Role: schemas.ByRequester, Requester: &schemas.Requester{Name: "Tom Ahrens"}},
		Change: &schemas.Change{Status: new(schemas.StatusOpen)},
	}
}

// opened returns a sink of cfg that posts to h, and the receiver's address.
func opened(t *testing.T, cfg Config, h http.Handler) (sinks.Sink, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	cfg.URL, cfg.Secret = server.URL+"/in/", testSecret
	if cfg.ContentType == "" {
		cfg.ContentType = "application/json"
	}
	s, err := Kind.Open(cfg, sinks.Env{Name: "custom", HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return s, server.URL
}

// answering is a receiver that always says the same and keeps what it got.
type answering struct {
	status int
	header http.Header
	body   string
	got    []*http.Request
	bodies []string
}

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	a.got, a.bodies = append(a.got, r), append(a.bodies, string(b))
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

func TestCreateReadsTheReceiversID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path, body, location string
		status                     int
		want                       schemas.Ref
	}{
		{name: "default path", status: 201, body: `{"id":"outer","data":{"ticket":{"id":"R-7"}}}`, want: schemas.Ref{ID: "R-7"}},
		{name: "number at the top", status: 200, body: `{"id":12345678901234567890}`, want: schemas.Ref{ID: "12345678901234567890"}},
		{name: "own path", path: "case.no", status: 200, body: `{"id":"x","case":{"no":42}}`, want: schemas.Ref{ID: "42"}},
		{name: "own path is not there", path: "case.no", status: 200, body: `{"id":"x","case":"closed"}`, want: schemas.Ref{ID: "sb-1"}},
		{name: "location", status: 201, location: "/cases/R-9", want: schemas.Ref{ID: "R-9", URL: "BASE/cases/R-9"}},
		{name: "id and location", status: 201, body: `{"id":"R-1"}`, location: "https://desk.example/R-1?x=1", want: schemas.Ref{ID: "R-1", URL: "https://desk.example/R-1?x=1"}},
		{name: "location without a name", status: 201, location: "/", want: schemas.Ref{ID: "sb-1", URL: "BASE/"}},
		{name: "nothing", status: 204, want: schemas.Ref{ID: "sb-1"}},
		{name: "not an object", status: 200, body: `["id"]`, want: schemas.Ref{ID: "sb-1"}},
		{name: "no id but another type", status: 200, body: `{"id":{"a":1}}`, want: schemas.Ref{ID: "sb-1"}},
		{name: "there already", status: 409, body: `{"data":{"ticket":{"id":"R-3"}}}`, want: schemas.Ref{ID: "R-3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := &answering{status: c.status, body: c.body, header: http.Header{}}
			if c.location != "" {
				a.header.Set("Location", c.location)
			}
			s, base := opened(t, Config{IDPath: c.path}, a)
			got, err := s.Create(t.Context(), ticketOf("sb-1"))
			if err != nil {
				t.Fatal(err)
			}
			c.want.URL = strings.Replace(c.want.URL, "BASE", base, 1)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRefusalsAreJudged(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                     string
		status                   int
		permanent, auth, notDone bool
	}{
		{name: "conflict without an id", status: 409},
		{name: "gone", status: 410, auth: true, notDone: true},
		{name: "redirect", status: 307, auth: true, notDone: true},
		{name: "moved", status: 301, auth: true, notDone: true},
		{name: "unauthorized", status: 401, auth: true, notDone: true},
		{name: "unprocessable", status: 422, permanent: true, notDone: true},
		{name: "too many", status: 429, notDone: true},
		{name: "broken", status: 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := &answering{status: c.status, header: http.Header{"Location": {"/elsewhere"}}}
			s, _ := opened(t, Config{}, a)
			_, err := s.Create(t.Context(), ticketOf("sb-1"))
			if err == nil || fault.IsPermanent(err) != c.permanent || fault.IsAuth(err) != c.auth || fault.IsNotDone(err) != c.notDone {
				t.Errorf("create: %v: permanent %v auth %v not done %v", err, fault.IsPermanent(err), fault.IsAuth(err), fault.IsNotDone(err))
			}
			if _, err := s.Append(t.Context(), schemas.Ref{ID: "R-1"}, commentOf("sb-2")); err == nil {
				t.Error("append succeeded")
			}
			if len(a.got) != 2 {
				t.Errorf("%d requests, want 2: nothing is repeated or redirected", len(a.got))
			}
		})
	}
}

func TestRepeatHasTheSameBytesAndID(t *testing.T) {
	t.Parallel()
	a := &answering{status: 500}
	s, _ := opened(t, Config{
		Token:   secret.Literal("tok"),
		Headers: map[string]secret.Secret{"x-shop": secret.Literal("north"), "webhook-id": secret.Literal("forged")},
	}, a)
	for range 2 {
		if _, err := s.Append(t.Context(), schemas.Ref{ID: "R-1", URL: "https://desk.example/1"}, commentOf("sb-c")); err == nil {
			t.Fatal("append succeeded")
		}
	}
	if a.bodies[0] != a.bodies[1] {
		t.Errorf("bodies differ:\n%s\n%s", a.bodies[0], a.bodies[1])
	}
	want := `{"type":"comment.added","timestamp":"2026-04-07T10:30:00Z","data":{"ticket":{"id":"R-1","url":"https://desk.example/1"},` +
		`"comment":{"key":"sb-c","author":{"role":"requester","requester":{"name":"Tom Ahrens"}},"visibility":"public","text":"Any news?",` +
		`"at":"2026-04-07T10:30:00Z","change":{"status":"open"}}}}`
	if diff := cmp.Diff(want, a.bodies[0]); diff != "" {
		t.Error(diff)
	}
	for _, r := range a.got {
		d := hook.Delivery{Header: r.Header, Body: []byte(want), ReceivedAt: time.Now()}
		if err := hook.StandardWebhook(testSecret.Bytes(), d); err != nil {
			t.Error(err)
		}
		got := []string{r.Method, r.URL.Path, r.Header.Get("Webhook-Id"), r.Header.Get("Authorization"), r.Header.Get("X-Shop"), r.Header.Get("Content-Type")}
		if diff := cmp.Diff([]string{"POST", "/in/", "sb-c", "Bearer tok", "north", "application/json"}, got); diff != "" {
			t.Error(diff)
		}
		if r.Header.Get("Idempotency-Key") != "" {
			t.Error("Idempotency-Key makes the transport repeat by itself")
		}
	}
}

func TestLostAnswerIsOneTicket(t *testing.T) {
	t.Parallel()
	board := sandbox.NewBoard(1)
	desk := Kind.Traits().Fake(Config{Secret: testSecret}, board)
	s, _ := opened(t, Config{}, board.Wrap(desk))
	board.Set(sandbox.Dials{DropAfter: 1})
	if _, err := s.Create(t.Context(), ticketOf("sb-1")); err == nil || fault.IsNotDone(err) {
		t.Fatalf("error %v, want an unknown outcome", err)
	}
	board.Set(sandbox.Dials{})
	ref, err := s.Create(t.Context(), ticketOf("sb-1"))
	if err != nil {
		t.Fatal(err)
	}
	c := commentOf("sb-2")
	c.Files = []schemas.File{file1("spar.jpg", "JPEG")}
	for range 2 {
		if id, err := s.Append(t.Context(), ref, c); err != nil || id != "sb-2" {
			t.Fatal(id, err)
		}
	}
	agent := desk.Comment(ref.ID, "Mira", "A new spar is on its way.", true)
	want := []sandbox.Ticket{{
		ID: "R-1", Key: "sb-1", Subject: "Wing spar bent", Status: "open", Requester: "Tom Ahrens", Queue: "support", Tags: []string{"spares"},
		Comments: []sandbox.Comment{
			{ID: "C-2", Key: "sb-1", Author: "Tom Ahrens", Text: ticketOf("").Text, Public: true},
			{ID: "C-3", Key: "sb-2", Author: "Tom Ahrens", Text: "Any news?", Public: true, Files: []string{"spar.jpg"}},
			{ID: agent, Author: "Mira", Text: "A new spar is on its way.", Public: true},
		},
	}}
	if diff := cmp.Diff(want, desk.Tickets()); diff != "" {
		t.Error(diff)
	}
	c.Text = "Other words under the same key."
	if _, err := s.Append(t.Context(), ref, c); !fault.IsPermanent(err) {
		t.Errorf("other bytes under a used id: %v", err)
	}
	if _, err := s.Append(t.Context(), schemas.Ref{ID: "R-99"}, commentOf("sb-9")); fault.StatusCode(err) != 404 {
		t.Errorf("unknown ticket: %v", err)
	}
	if desk.Comment("R-99", "Mira", "hello", false) != "" {
		t.Error("comment on a ticket that is not there")
	}
}

func TestFakeRefusesWhatIsNotAnEvent(t *testing.T) {
	t.Parallel()
	desk := newFake(Config{}, nil)
	key := secret.Literal(desk.Settings("http://desk.example")["secret"])
	for _, c := range []struct {
		name, body string
		unsigned   bool
		want       int
	}{
		{name: "unsigned", body: `{}`, unsigned: true, want: 401},
		{name: "not JSON", body: `<x>`, want: 400},
		{name: "no ticket", body: `{"type":"ticket.created","data":{}}`, want: 400},
		{name: "unknown type", body: `{"type":"ticket.eaten","data":{"ticket":{"id":"1"}}}`, want: 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := hook.Delivery{Body: []byte(c.body), ReceivedAt: time.Now(), Header: http.Header{}}
			if !c.unsigned {
				sign(Config{Secret: key}, &d)
			}
			r := httptest.NewRequest(http.MethodPost, "/tickets", strings.NewReader(c.body))
			r.Header = d.Header
			w := httptest.NewRecorder()
			desk.ServeHTTP(w, r)
			if w.Code != c.want {
				t.Errorf("got %d, want %d: %s", w.Code, c.want, w.Body)
			}
		})
	}
}

func file1(name, content string) schemas.File {
	return schemas.File{Key: "sb-f", Name: name, Type: "image/jpeg", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func TestUnreadableFileIsNotDone(t *testing.T) {
	t.Parallel()
	a := &answering{status: 200}
	s, _ := opened(t, Config{}, a)
	broken := []schemas.File{{Name: "a", Open: func() (io.ReadCloser, error) { return nil, errors.New("store is away") }}}
	tk, c := ticketOf("sb-1"), commentOf("sb-2")
	tk.Files, c.Files = broken, broken
	_, err := s.Create(t.Context(), tk)
	_, err2 := s.Append(t.Context(), schemas.Ref{ID: "1"}, c)
	for _, err := range []error{err, err2} {
		if err == nil || fault.IsPermanent(err) || !fault.IsNotDone(err) {
			t.Errorf("error %v, want a plain one that is not done", err)
		}
	}
	if len(a.got) != 0 {
		t.Error("something was posted")
	}
}

func TestTemplateMakesTheBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body, kind, want string
		permanent              bool
	}{
		{
			name: "JSON", body: `{"title":{{toJSON .Data.Ticket.Subject}},"text":{{toJSON (truncate 9 .Data.Ticket.Text)}},"at":{{toJSON .Timestamp}}}`,
			want: `{"title":"Wing spar bent","text":"The spar ","at":"2026-04-07T09:30:00Z"}`,
		},
		{
			name: "text", kind: "text/plain", body: `{{.Type}}: {{.Data.Ticket.Text | truncate 200}}`,
			want: "ticket.created: The spar of my Skylark is bent. \"Really\" bent.",
		},
		{name: "pasted quotes", body: `{"text":"{{.Data.Ticket.Text}}"}`, permanent: true},
		{name: "no comment here", body: `{{toJSON .Data.Comment.Text}}`, permanent: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := &answering{status: 200}
			s, _ := opened(t, Config{Body: c.body, ContentType: c.kind}, a)
			_, err := s.Create(t.Context(), ticketOf("sb-1"))
			if fault.IsPermanent(err) != c.permanent || (err != nil) != c.permanent {
				t.Fatalf("error %v, permanent wanted: %v", err, c.permanent)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(c.want, a.bodies[0]); diff != "" {
				t.Error(diff)
			}
			if got := a.got[0].Header.Get("Content-Type"); c.kind != "" && got != c.kind {
				t.Errorf("content type %q, want %q", got, c.kind)
			}
		})
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no host", Config{URL: "https://", Secret: testSecret}, "url"},
		{"other scheme", Config{URL: "ftp://desk.example", Secret: testSecret}, "url"},
		{"credentials in the address", Config{URL: "https://u:hunter2@desk.example", Secret: testSecret}, "url"},
		{"secret without prefix", Config{URL: "https://desk.example", Secret: secret.Literal("hunter2")}, "secret"},
		{"secret is not base64", Config{URL: "https://desk.example", Secret: secret.Literal("whsec_hunter2!")}, "secret"},
		{"public key", Config{URL: "https://desk.example", Secret: secret.Literal("whpk_" + base64.StdEncoding.EncodeToString(make([]byte, 32)))}, "secret"},
		{"template", Config{URL: "https://desk.example", Secret: testSecret, Body: "{{.Type"}, "body"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := Kind.Open(c.cfg, sinks.Env{HTTP: &http.Client{}})
			if err == nil || !strings.HasPrefix(err.Error(), c.want+":") {
				t.Fatalf("error %v, want one about %s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells a secret: %v", err)
			}
		})
	}
}

func TestCheckWantsAnAnswer(t *testing.T) {
	t.Parallel()
	for status, ok := range map[int]bool{200: true, 204: true, 404: true, 405: true, 302: false, 401: false, 403: false, 410: false, 503: false} {
		s, _ := opened(t, Config{}, &answering{status: status})
		if err := s.Check(t.Context()); (err == nil) != ok {
			t.Errorf("answer %d: %v, want ok: %v", status, err, ok)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	s, _ := opened(t, Config{}, &answering{})
	wh := s.(hook.Webhook)
	fresh := func() hook.Delivery {
		d := hook.Delivery{Body: []byte(`{"remote_id":"R-1"}`), ReceivedAt: sentAt}
		Kind.Traits().Sign(Config{Secret: testSecret}, &d)
		return d
	}
	if err := wh.Verify(t.Context(), fresh()); err != nil {
		t.Error(err)
	}
	altered, stale := fresh(), fresh()
	altered.Body = []byte(`{"remote_id":"R-2"}`)
	stale.ReceivedAt = sentAt.Add(6 * time.Minute)
	for _, d := range []hook.Delivery{altered, stale, {}} {
		if err := wh.Verify(t.Context(), d); !errors.Is(err, hook.ErrUnverified) {
			t.Errorf("error %v, want ErrUnverified", err)
		}
	}
	if got := wh.Answer(fresh()); got.Status != 200 || got.Drop {
		t.Errorf("answer %+v", got)
	}
}
