package zendesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

func TestAnotherBodyUnderAKeyIsLookedUp(t *testing.T) {
	t.Parallel()
	s := opened(t)
	first, err := s.Create(t.Context(), hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	changed := hull()
	changed.Text = "Other words."
	_, err = s.Create(t.Context(), changed)
	if err == nil || fault.IsNotDone(err) || fault.IsPermanent(err) {
		t.Fatalf("create with another body: got %v, want a plain error", err)
	}
	found, err := s.Sink.(sinks.Finder).Find(t.Context(), hull().Key)
	if err != nil || len(found) != 1 || found[0].Ref != first {
		t.Errorf("find: got %v, %v, want %v", found, err, first)
	}
}

func TestTheKeyIsForgottenAfterTwoHours(t *testing.T) {
	t.Parallel()
	s := opened(t)
	now := time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	s.fake.now = func() time.Time { return now }
	if _, err := s.Create(t.Context(), hull()); err != nil {
		t.Fatalf("create: %v", err)
	}
	now = now.Add(119 * time.Minute)
	if _, err := s.Create(t.Context(), hull()); err != nil || len(s.fake.Tickets()) != 1 {
		t.Fatalf("create within the window: got %d tickets, %v, want 1", len(s.fake.Tickets()), err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := s.Create(t.Context(), hull()); err != nil {
		t.Fatalf("create: %v", err)
	}
	if found, err := s.Sink.(sinks.Finder).Find(t.Context(), hull().Key); err != nil || len(found) != 2 {
		t.Errorf("find after the window: got %d, %v, want both tickets for the host to repair", len(found), err)
	}
}

func TestAnswersOfTheVendor(t *testing.T) {
	t.Parallel()
	const invalid = `{"error":"RecordInvalid","description":"Record validation errors","details":{"requester":[{"description":"Requester: ada@customers.example is suspended","error":"Suspended"}]}}`
	for _, tt := range []struct {
		name         string
		status       int
		kind, answer string
		is           func(error) bool
		want         string
	}{
		{"a refused record says why, without the address", 422, "application/json", invalid, fault.IsPermanent, "is suspended"},
		{"a limit in plain text", 429, "text/plain", "Too many requests for this user", fault.IsNotDone, "Too many requests"},
		{"a page from the edge", 404, "text/html", "<!DOCTYPE html><title>No such subdomain</title>", fault.IsAuth, "an HTML page"},
		{"a page with an outage", 502, "text/html", "<html>Bad gateway</html>", isPlain, "502"},
		{"a conflict", 409, "application/json", `{"error":"DatabaseConflict","description":"try again"}`, isPlain, "DatabaseConflict"},
		{"an error with a title", 400, "application/json", `{"error":{"title":"Attachment too big","message":"over 50 MB"}}`, fault.IsPermanent, "over 50 MB"},
		{"an answer without an id", 201, "application/json", `{"ticket":{}}`, isPlain, "holds no id"},
		{"an answer that cannot be read", 201, "application/json", `{"ticket":`, isPlain, "decode"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := opened(t)
			s.answer = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tt.kind)
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.answer)
			}
			_, err := s.Create(t.Context(), hull())
			if !tt.is(err) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "ada@") {
				t.Errorf("create: got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func isPlain(err error) bool { return err != nil && !fault.IsNotDone(err) }

func TestAUserWhoIsGoneIsAskedForAnew(t *testing.T) {
	t.Parallel()
	s := opened(t)
	in := hull()
	in.Requester = schemas.Requester{Name: "Ben", Identities: []schemas.Identity{{Kind: "telegram", Value: "77", Evidence: schemas.Attested}}}
	ref, err := s.Create(t.Context(), in)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	s.fake.mu.Lock()
	clear(s.fake.byPerson) // merged into somebody else at the desk
	for id, u := range s.fake.users {
		if u.Name == "Ben" {
			delete(s.fake.users, id)
		}
	}
	s.fake.mu.Unlock()
	c := schemas.Comment{Key: "sb-g", Author: schemas.Author{Role: schemas.ByRequester, Requester: &in.Requester}, Visibility: schemas.Public, Text: "hello"}
	if _, err := s.Append(t.Context(), ref, c); !fault.IsPermanent(err) {
		t.Errorf("append as a user who is gone: got %v, want a permanent fault", err)
	}
	if _, err := s.Append(t.Context(), ref, c); err != nil {
		t.Errorf("append again: got %v, want the user made anew", err)
	}
}

func TestCheckSeesStrangers(t *testing.T) {
	t.Parallel()
	s := openWith(t, oauth(), newFake)
	for _, answer := range []string{`{"user":{"id":null,"role":"end-user"}}`, `{"user":{"id":7,"role":"end-user"}}`} {
		s.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }
		if err := s.Check(t.Context()); !fault.IsAuth(err) {
			t.Errorf("check answered %s: got %v, want an auth fault", answer, err)
		}
	}
}

func TestWrongCredentialsPause(t *testing.T) {
	t.Parallel()
	s := openWith(t, oauth(), newFake)
	s.fake.cfg.ClientSecret = secret.Literal("it was changed at the desk")
	clear(s.fake.tokens)
	_, err := s.Create(t.Context(), hull())
	if !fault.IsAuth(err) || strings.Contains(err.Error(), "oauth-secret") {
		t.Errorf("create: got %v, want an auth fault without the secret", err)
	}
}

func TestAnExpiredTokenIsRenewedInPassing(t *testing.T) {
	t.Parallel()
	s := openWith(t, oauth(), newFake)
	if err := s.Check(t.Context()); err != nil {
		t.Fatalf("check: %v", err)
	}
	clear(s.fake.tokens)
	if _, err := s.Create(t.Context(), hull()); err != nil || len(s.fake.Tickets()) != 1 {
		t.Errorf("create: got %v and %d tickets, want none and 1", err, len(s.fake.Tickets()))
	}
}

func TestOpenWantsOnePairOfCredentials(t *testing.T) {
	t.Parallel()
	pair, other := oauth(), Config{Subdomain: "aeroshop", Email: "bot@aeroshop.example", APIToken: secret.Literal("api-token-of-a-test")}
	both := pair
	both.Email, both.APIToken = other.Email, other.APIToken
	half := Config{Subdomain: "aeroshop", ClientID: "switchboard"}
	for name, tt := range map[string]struct {
		cfg Config
		ok  bool
	}{"client": {pair, true}, "token": {other, true}, "both": {both, false}, "half": {half, false}, "none": {Config{Subdomain: "aeroshop"}, false}} {
		_, err := open(tt.cfg, sinks.Env{HTTP: &http.Client{}})
		if (err == nil) != tt.ok {
			t.Errorf("open with %s: got %v", name, err)
		}
	}
}

func TestThePaceIsTheDesks(t *testing.T) {
	t.Parallel()
	s := opened(t)
	now := time.Date(2026, 11, 20, 9, 0, 10, 0, time.UTC)
	s.fake.now = func() time.Time { return now }
	clear(s.fake.tokens)
	s.fake.limits["tickets-update"] = 2
	ref, err := s.Create(t.Context(), hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	note := schemas.Comment{Key: "sb-h", Author: schemas.Author{Role: schemas.BySwitchboard}, Visibility: schemas.Internal, Text: "note"}
	for range 2 {
		if _, err := s.Append(t.Context(), ref, note); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
	before := len(s.sent)
	_, err = s.Append(t.Context(), ref, note)
	if d, ok := fault.After(err); !ok || d <= 0 || d > 50*time.Second || !fault.IsNotDone(err) {
		t.Errorf("append over the limit: got %v, want not done and at most 50s to wait", err)
	}
	if len(s.sent) != before {
		t.Error("append over the limit: it was sent all the same")
	}
	next := hull()
	next.Key = "sb-iiiiiiiiiiiiiiiiiiiiiiiiii"
	if _, err := s.Create(t.Context(), next); err != nil {
		t.Errorf("create while updates are used up: got %v, want none", err)
	}
}

func TestALimitBeyondOurCountIsObeyed(t *testing.T) {
	t.Parallel()
	s := opened(t)
	now := time.Date(2026, 11, 20, 9, 0, 10, 0, time.UTC)
	s.fake.now = func() time.Time { return now }
	clear(s.fake.tokens)
	s.fake.limits[""] = 1
	_ = s.Check(t.Context()) // takes the one call there is, and tells that none is left
	if _, err := s.Create(t.Context(), hull()); !fault.IsNotDone(err) {
		t.Errorf("create: got %v, want not done", err)
	}
}

func TestThreadReadsEveryPageAndForeignMetadata(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ref, err := s.Create(t.Context(), hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	s.fake.mu.Lock()
	tk := s.fake.tickets[s.fake.order[0]]
	for _, custom := range []string{`"text"`, `{"sb":"another program's"}`, `{"sb":{"key":7},"x":[1]}`, `[]`, `{"other":{"a":{"b":"c"}},"sb":{"key":"sb-ours"}}`} {
		s.fake.said(tk, fakeAgent, false, "note", nil, json.RawMessage(custom))
	}
	for range 250 {
		s.fake.said(tk, fakeAgent, true, "again", nil, nil)
	}
	s.fake.mu.Unlock()
	got, err := s.Sink.(sinks.Threader).Thread(t.Context(), ref)
	if err != nil || len(got) != 256 {
		t.Fatalf("thread: got %d entries, %v, want 256", len(got), err)
	}
	if got[0].Key != hull().Key || got[5].Key != "sb-ours" || got[5].Visibility != schemas.Internal || got[2].Key != "" {
		t.Errorf("thread: got keys %q, %q and %q", got[0].Key, got[2].Key, got[5].Key)
	}
}

func TestUpdateRefusesWhatTheDeskDoesNotHave(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ref, err := s.Create(t.Context(), hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	err = s.Sink.(sinks.Updater).Update(t.Context(), ref, schemas.Change{Queue: new("Moon")})
	if !fault.IsPermanent(err) || !strings.Contains(err.Error(), "Moon") {
		t.Errorf("update: got %v, want a permanent fault that names the queue", err)
	}
}

func TestUnknownNamesAreToldOnce(t *testing.T) {
	t.Parallel()
	cfg := oauth()
	cfg.Fields = map[string]string{"tier": "Costumer tier"}
	s := openWith(t, cfg, newFake)
	if !strings.Contains(s.log.String(), "Costumer tier") {
		t.Errorf("log: got %q, want the name that the desk does not know", s.log.String())
	}
}

func TestAKeyThatAProxyStripsIsToldOf(t *testing.T) {
	t.Parallel()
	s := opened(t)
	s.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Zendesk-API-Warn", "Removed restricted keys")
		_, _ = io.WriteString(w, `{"ticket":{"id":7}}`)
	}
	ref, err := s.Create(t.Context(), hull())
	if err != nil || ref.ID != "7" {
		t.Fatalf("create: got %v, %v, want ticket 7", ref, err)
	}
	if !strings.Contains(s.log.String(), "Removed restricted keys") {
		t.Errorf("log: got %q, want the vendor's warning", s.log.String())
	}
}

func TestManyAtOnceAreFastAndSafe(t *testing.T) {
	t.Parallel()
	f, _ := newFake(Config{Email: "bot@aeroshop.example", APIToken: secret.Literal("api-token-of-a-test")}, sandbox.NewBoard(1)).(*fake)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				body := fmt.Sprintf(`{"ticket":{"external_id":"sb-%d-%d","comment":{"body":"x"}}}`, g, i)
				r := httptest.NewRequestWithContext(context.Background(), "POST", "/api/v2/tickets.json", strings.NewReader(body))
				r.SetBasicAuth("bot@aeroshop.example/token", "api-token-of-a-test")
				f.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	wg.Wait()
	if n := len(f.Tickets()); n != 400 {
		t.Errorf("got %d tickets, want 400", n)
	}
}

func fileOf(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}

func TestAttachOfWhatCannotBeReadIsNotDone(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ref, err := s.Create(t.Context(), hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	f := schemas.File{Key: "sb-m", Name: "a.txt", Open: func() (io.ReadCloser, error) { return nil, errors.New("blob is gone") }}
	if _, err := s.Sink.(sinks.Attacher).Attach(t.Context(), ref, f); !fault.IsNotDone(err) {
		t.Errorf("attach: got %v, want not done", err)
	}
	ref.ID = "1"
	f.Open = fileOf("x")
	if _, err := s.Sink.(sinks.Attacher).Attach(t.Context(), ref, f); !errors.Is(err, sinks.ErrNotFound) {
		t.Errorf("attach to nothing: got %v, want ErrNotFound", err)
	}
}

func TestTheFakeSearchesLateAndKeepsWebhooks(t *testing.T) {
	t.Parallel()
	s := opened(t)
	if _, err := s.Create(t.Context(), hull()); err != nil {
		t.Fatalf("create: %v", err)
	}
	s.board.Set(sandbox.Dials{SearchLag: time.Hour})
	ask := func(method, path, body string) string {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Header.Set("Authorization", s.last(t, "POST", "/api/v2/tickets").header.Get("Authorization"))
		w := httptest.NewRecorder()
		s.fake.ServeHTTP(w, r)
		return w.Body.String()
	}
	query := "/api/v2/search.json?query=external_id:" + hull().Key
	if got := ask("GET", query, ""); !strings.Contains(got, `"count":0`) {
		t.Errorf("search within the lag: got %s, want nothing", got)
	}
	s.board.Set(sandbox.Dials{})
	if got := ask("GET", query, ""); !strings.Contains(got, `"count":1`) {
		t.Errorf("search without a lag: got %s, want the ticket", got)
	}
	if ask("POST", "/api/v2/webhooks", `{"webhook":{"endpoint":"https://intake.shop.example/hooks/desk"}}`); len(s.fake.hooks) != 1 {
		t.Errorf("webhooks: got %d, want 1", len(s.fake.hooks))
	}
}
