package zendesk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

// stand is an open sink before a fake, and what it said and sent.
type stand struct {
	sinks.Sink
	desk  sandbox.Desk
	fake  *fake
	board *sandbox.Board

	mu   sync.Mutex
	log  bytes.Buffer
	sent []sent
	// answer, if set, answers instead of the fake.
	answer http.HandlerFunc
}

type sent struct {
	method, path string
	header       http.Header
	body         string
}

func (s *stand) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.sent = append(s.sent, sent{r.Method, r.URL.RequestURI(), r.Header, string(body)})
	answer := s.answer
	s.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if answer != nil && r.URL.Path != "/oauth/tokens" {
		answer(w, r)
		return
	}
	s.desk.ServeHTTP(w, r)
}

// last returns the last request to a path.
func (s *stand) last(t *testing.T, method, path string) sent {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range slices.Backward(s.sent) {
		if r.method == method && strings.HasPrefix(r.path, path) {
			return r
		}
	}
	t.Fatalf("no %s %s was sent", method, path)
	return sent{}
}

func openWith(t *testing.T, cfg Config, make func(Config, *sandbox.Board) sandbox.Desk) *stand {
	t.Helper()
	s := &stand{board: sandbox.NewBoard(1)}
	s.desk = make(cfg, s.board)
	s.fake, _ = s.desk.(*fake)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	cfg.BaseURL = server.URL
	env := sinks.Env{
		Name: "desk", Log: slog.New(slog.NewTextHandler(s, nil)), HTTP: server.Client(),
		Catalogue: func() schemas.Catalogue { return schemas.Catalogue{} },
	}
	var err error
	if s.Sink, err = open(cfg, env); err != nil {
		t.Fatalf("open: %v", err)
	}
	catalogue, err := s.Sink.(sinks.Cataloguer).Catalogue(t.Context())
	if err != nil {
		t.Fatalf("catalogue: %v", err)
	}
	env.Catalogue = func() schemas.Catalogue { return catalogue }
	if s.Sink, err = open(cfg, env); err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func opened(t *testing.T) *stand {
	t.Helper()
	return openWith(t, mapped(), newFake)
}

// mapped is a configuration with names for the fake's fields and groups.
func mapped() Config {
	cfg := oauth()
	cfg.Fields = map[string]string{"tier": "Customer tier", "area": "product_area", "topics": "Topics", "call_back": "3004", "category": "Product area"}
	cfg.Queues = map[string]string{"angry": "Escalations", "workshop": "4711"}
	cfg.BrandID, cfg.TicketFormID, cfg.Tags = 51, 52, []string{"aero shop"}
	return cfg
}

func hull() schemas.Ticket {
	return schemas.Ticket{
		Key: "sb-aaaaaaaaaaaaaaaaaaaaaaaaaa", Subject: "The hull leaks", Text: "It leaks at the tail.",
		Requester: schemas.Requester{Name: "Ada Quill", Identities: []schemas.Identity{{Kind: schemas.Email, Value: "ada@customers.example", Evidence: schemas.Attested}}},
		Queue:     "angry", Assignee: "Kim Rudder", Type: "request", Category: "motors",
		Tags:    []string{"b2b"},
		Fields:  []schemas.Field{{Name: "tier", Value: "gold"}, {Name: "topics", Value: "Repair, Delivery"}, {Name: "call_back", Value: "true"}, {Name: "colour", Value: "red & white"}},
		Channel: "shop-form", Kind: "form", ReceivedAt: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), Message: "m1",
	}
}

// fullLife makes each call once with all that it can carry.
func fullLife(t *testing.T, s *stand) schemas.Ref {
	t.Helper()
	ctx := t.Context()
	ref, err := s.Create(ctx, hull())
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	who := hull().Requester
	_, err = s.Append(ctx, ref, schemas.Comment{
		Key: "sb-bbbbbbbbbbbbbbbbbbbbbbbbbb", Author: schemas.Author{Role: schemas.ByRequester, Requester: &who}, Visibility: schemas.Public,
		Text: "Still leaks.", HTML: "<p>Still leaks.</p>", Change: &schemas.Change{AddTags: []string{"again"}, Queue: new("nobody's")},
	})
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	f := schemas.File{Key: "sb-cccccccccccccccccccccccccc", Name: "tail.jpg", Type: "image/jpeg", Open: fileOf("pixels")}
	if _, err := s.Sink.(sinks.Attacher).Attach(ctx, ref, f); err != nil {
		t.Fatalf("attach: %v", err)
	}
	err = s.Sink.(sinks.Updater).Update(ctx, ref, schemas.Change{
		Status: new(schemas.StatusOnHold), Priority: new(schemas.PriorityLow), Queue: new("Support"), Assignee: new(""),
		AddTags: []string{"waiting"}, RemoveTags: []string{"again"}, Fields: []schemas.Field{{Name: "tier", Value: "silver"}},
	})
	if err != nil {
		t.Fatalf("update: %v", err)
	}
	return ref
}

func TestCreateSaysEverything(t *testing.T) {
	t.Parallel()
	s := opened(t)
	if _, err := s.Create(t.Context(), hull()); err != nil {
		t.Fatalf("create: %v", err)
	}
	r := s.last(t, "POST", "/api/v2/tickets")
	want := `{"ticket":{"external_id":"sb-aaaaaaaaaaaaaaaaaaaaaaaaaa","subject":"The hull leaks",` +
		`"comment":{"body":"It leaks at the tail.\n\ncolour: red \u0026 white","public":true},` +
		`"requester":{"name":"Ada Quill","email":"ada@customers.example"},"type":"question","priority":"normal",` +
		`"tags":["sb","form","aero_shop","b2b"],` +
		`"custom_fields":[{"id":3001,"value":"gold"},{"id":3003,"value":["topic_repair","topic_delivery"]},{"id":3004,"value":true},{"id":3002,"value":"area_motors"}],` +
		`"group_id":7002,"assignee_id":9001,"ticket_form_id":52,"brand_id":51,"metadata":{"sb":{"key":"sb-aaaaaaaaaaaaaaaaaaaaaaaaaa"}}}}`
	if diff := cmp.Diff(want, r.body); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got := r.header.Get("Idempotency-Key"); got != hull().Key {
		t.Errorf("idempotency key: got %q, want %q", got, hull().Key)
	}
}

func TestCreateWithoutCatalogueLosesNothing(t *testing.T) {
	t.Parallel()
	s := opened(t)
	inner := s.Sink.(listener).sink
	inner.env.Catalogue = func() schemas.Catalogue { return schemas.Catalogue{} }
	in := hull()
	in.HTML = "<p>It leaks.</p>"
	ref, err := s.Create(t.Context(), in)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	body := s.last(t, "POST", "/api/v2/tickets").body
	var sent struct{ Ticket ticket }
	if err := json.Unmarshal([]byte(body), &sent); err != nil {
		t.Fatal(err)
	}
	text := sent.Ticket.Comment.HTMLBody
	for _, want := range []string{"<p>It leaks.</p>", "Queue: angry", "Assignee: Kim Rudder", "tier: gold", "colour: red &amp; white", "category: motors"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q: %s", want, text)
		}
	}
	if sent.Ticket.Comment.Body != "" || ref.URL == "" || len(sent.Ticket.CustomFields) != 1 {
		t.Errorf("got body %q, address %q and %d fields, want none, some and the one with an id", sent.Ticket.Comment.Body, ref.URL, len(sent.Ticket.CustomFields))
	}
}

func TestRequesterWithoutMailIsAUserOfOurs(t *testing.T) {
	t.Parallel()
	s := opened(t)
	in := hull()
	in.Requester = schemas.Requester{Identities: []schemas.Identity{
		{Kind: schemas.Phone, Value: "+493012345", Evidence: schemas.Attested},
		{Kind: schemas.Email, Value: "boss@victim.example", Evidence: schemas.Asserted},
	}}
	ref, err := s.Create(t.Context(), in)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	who := s.last(t, "POST", "/api/v2/users/create_or_update").body
	if !strings.Contains(who, `"phone":"+493012345"`) || !strings.Contains(who, `"external_id":"sb-`) || strings.Contains(who, "victim") {
		t.Errorf("user: got %s, want one with the number, an id of ours and no typed address", who)
	}
	if body := s.last(t, "POST", "/api/v2/tickets").body; !strings.Contains(body, `"requester_id":`) || strings.Contains(body, `"requester":{`) {
		t.Errorf("ticket: got %s, want the user's id", body)
	}
	before := len(s.sent)
	c := schemas.Comment{Key: "sb-d", Author: schemas.Author{Role: schemas.ByRequester, Requester: &in.Requester}, Visibility: schemas.Public, Text: "hello"}
	if _, err := s.Append(t.Context(), ref, c); err != nil {
		t.Fatalf("append: %v", err)
	}
	if got := len(s.sent) - before; got != 1 {
		t.Errorf("append by a known user: got %d requests, want 1", got)
	}
	if got := s.fake.Tickets()[0]; got.Comments[1].Author != got.Requester || got.Status != "open" {
		t.Errorf("comment: got author %q and status %q, want the requester %q and open", got.Comments[1].Author, got.Status, got.Requester)
	}
}

func TestAFullLife(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ref := fullLife(t, s)
	got := s.fake.Tickets()[0]
	want := sandbox.Ticket{
		ID: ref.ID, Key: hull().Key, Subject: "The hull leaks", Status: "hold", Requester: "Ada Quill", Queue: "7001",
		Tags: []string{"sb", "form", "aero_shop", "b2b", "waiting"},
		Comments: []sandbox.Comment{
			{ID: got.Comments[0].ID, Key: hull().Key, Author: "Ada Quill", Text: "It leaks at the tail.\n\ncolour: red & white", Public: true},
			{ID: got.Comments[1].ID, Key: "sb-bbbbbbbbbbbbbbbbbbbbbbbbbb", Author: "Ada Quill", Text: "Still leaks.Queue: nobody's", Public: true},
			{ID: got.Comments[2].ID, Key: "sb-cccccccccccccccccccccccccc", Author: "Ada Quill", Text: "tail.jpg", Public: true, Files: []string{"tail.jpg"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the desk's ticket (-want +got):\n%s", diff)
	}
	if f := s.fake.tickets[s.fake.order[0]]; f.AssigneeID != nil {
		t.Errorf("assignee: got %d, want none after an update to nobody", *f.AssigneeID)
	}
}

func TestAClosedTicketIsFollowedUp(t *testing.T) {
	t.Parallel()
	s := opened(t)
	ref := fullLife(t, s)
	u := s.Sink.(sinks.Updater)
	if err := u.Update(t.Context(), ref, schemas.Change{Status: new(schemas.StatusClosed)}); err != nil {
		t.Fatalf("close: %v", err)
	}
	if _, err := s.Append(t.Context(), ref, schemas.Comment{Key: "sb-e", Text: "late"}); !errors.Is(err, sinks.ErrClosed) || fault.IsPermanent(err) {
		t.Errorf("append: got %v, want ErrClosed and nothing for the dead letters", err)
	}
	next := hull()
	next.Key, next.Follows = "sb-ffffffffffffffffffffffffff", &ref
	if _, err := s.Create(t.Context(), next); err != nil {
		t.Fatalf("create: %v", err)
	}
	if n := len(s.fake.tickets[s.fake.order[0]].FollowupIDs); n != 1 {
		t.Errorf("follow-ups of the old ticket: got %d, want 1", n)
	}
}

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
