package zendesk

import (
	"bytes"
	"encoding/json"
	"errors"
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
