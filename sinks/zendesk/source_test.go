package zendesk

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/schemas"
	"switchboard/sinks"
)

func bareListener() listener {
	cfg := oauth()
	cfg.BaseURL = "https://aeroshop.zendesk.com"
	return listener{&sink{cfg: cfg}}
}

// arrived is a delivery with an event of ticket 35 made at ten.
func arrived(kind, change string) hook.Delivery {
	return hook.Delivery{
		Method: http.MethodPost, Header: http.Header{}, ReceivedAt: time.Date(2026, 11, 20, 10, 0, 1, 0, time.UTC),
		Body: []byte(`{"type":"zen:event-type:ticket.` + kind + `","time":"2026-11-20T10:00:00Z","detail":{"id":"35","actor_id":"81"},"event":` + change + `}`),
	}
}

func TestParseReadsChanges(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	ref := schemas.Ref{ID: "35", URL: "https://aeroshop.zendesk.com/agent/tickets/35"}
	changed := func(ch schemas.Change) sinks.Changes {
		return sinks.Changes{Tickets: []sinks.TicketChange{{Ticket: ref, Change: ch, By: "81", At: at}}}
	}
	said := func(role schemas.AuthorRole, v schemas.Visibility) sinks.Changes {
		return sinks.Changes{Comments: []sinks.TicketComment{{Ticket: ref, Comment: schemas.Comment{
			ID: "501", Author: schemas.Author{Role: role, Name: "Kim", ID: "81"}, Visibility: v, Text: "On its way.", At: at,
		}}}}
	}
	nothing := sinks.Changes{Ignored: "an event of no interest"}
	for _, tt := range []struct {
		name, kind, change string
		want               sinks.Changes
	}{
		{"an agent's answer", "comment_added", `{"comment":{"id":"501","body":"On its way.","is_public":true,"author":{"id":"81","is_staff":true,"name":"Kim"}}}`, said(schemas.ByAgent, schemas.Public)},
		{"an agent's note", "comment_added", `{"comment":{"id":"501","body":"On its way.","is_public":false,"author":{"id":"81","is_staff":true,"name":"Kim"}}}`, said(schemas.ByAgent, schemas.Internal)},
		{"a requester's words", "comment_added", `{"comment":{"id":"501","body":"On its way.","is_public":true,"author":{"id":"81","is_staff":false,"name":"Kim"}}}`, said(schemas.ByRequester, schemas.Public)},
		{"a comment without an id", "comment_added", `{"comment":{"body":"On its way."}}`, nothing},
		{"a status", "status_changed", `{"current":"HOLD","previous":"OPEN"}`, changed(schemas.Change{Status: new(schemas.StatusOnHold)})},
		{"a status without a counterpart", "status_changed", `{"current":"DELETED"}`, nothing},
		{"a priority", "priority_changed", `{"current":"URGENT"}`, changed(schemas.Change{Priority: new(schemas.PriorityUrgent)})},
		{"no priority", "priority_changed", `{"current":null}`, changed(schemas.Change{Priority: new(schemas.PriorityNormal)})},
		{"an agent", "agent_assignment_changed", `{"current":"81","previous":null}`, changed(schemas.Change{Assignee: new("81")})},
		{"no agent", "agent_assignment_changed", `{"current":null,"previous":"81"}`, changed(schemas.Change{Assignee: new("")})},
		{"a group", "group_assignment_changed", `{"current":"7001"}`, changed(schemas.Change{Queue: new("7001")})},
		{"a value of another shape", "custom_field_changed", `{"current":[1,{"a":true}]}`, nothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := bareListener().Parse(arrived(tt.kind, tt.change))
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerifyKeepsAWindow(t *testing.T) {
	t.Parallel()
	l := bareListener()
	for _, tt := range []struct {
		late time.Duration
		ok   bool
	}{{0, true}, {4 * time.Minute, true}, {-4 * time.Minute, true}, {6 * time.Minute, false}, {-6 * time.Minute, false}} {
		d := arrived("comment_added", "{}")
		sign(l.cfg, &d)
		d.ReceivedAt = d.ReceivedAt.Add(tt.late)
		if err := l.Verify(t.Context(), d); (err == nil) != tt.ok || err != nil && !errors.Is(err, hook.ErrUnverified) {
			t.Errorf("verify %s after it was signed: got %v, want ok=%t", tt.late, err, tt.ok)
		}
	}
}

func TestWithoutAWebhookSecretNothingComesBack(t *testing.T) {
	t.Parallel()
	cfg := oauth()
	cfg.WebhookSecret = Config{}.WebhookSecret
	s, err := open(cfg, sinks.Env{HTTP: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.(hook.Webhook); ok {
		t.Error("a sink without a webhook secret takes deliveries that it cannot verify")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"zen:event-type:ticket.comment_added","detail":{"id":"35"},"event":{"comment":{"id":"5","author":{"is_staff":true}}}}`))
	f.Add([]byte(`{"type":"zen:event-type:ticket.status_changed","detail":{"id":"35"},"event":{"current":"SOLVED"}}`))
	f.Add([]byte(`{"type":7}`))
	f.Add([]byte("\x00"))
	l := bareListener()
	f.Fuzz(func(t *testing.T, body []byte) {
		d := hook.Delivery{Body: body}
		got, err := l.Parse(d)
		if err == nil && len(got.Comments)+len(got.Tickets) == 0 && got.Ignored == "" {
			t.Error("got neither changes nor a reason")
		}
		if again, _ := l.Parse(d); !reflect.DeepEqual(got, again) {
			t.Error("the second reading differs")
		}
	})
}

// recorded reads an answer that the vendor once gave; it is not ours to keep.
func recorded(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "fixtures", "sinks", "zendesk", name))
	if err != nil {
		t.Skip("the recorded answers are not beside this checkout")
	}
	return b
}

func TestRecordedAnswersAreRead(t *testing.T) {
	t.Parallel()
	answers := map[string][]byte{
		"GET /api/v2/users/me.json":                recorded(t, "user-create-response.json"),
		"POST /api/v2/users/create_or_update.json": recorded(t, "user-create-response.json"),
		"POST /api/v2/tickets.json":                recorded(t, "ticket-create-response.json"),
		"GET /api/v2/tickets.json":                 recorded(t, "tickets-list.json"),
		"GET /api/v2/tickets/4.json":               recorded(t, "ticket-get.json"),
		"PUT /api/v2/tickets/4.json":               recorded(t, "example-ticket-update-response.json"),
		"GET /api/v2/tickets/4/audits.json":        recorded(t, "ticket-audits.json"),
		"POST /api/v2/uploads.json":                recorded(t, "upload-response.json"),
		"GET /api/v2/ticket_fields.json":           recorded(t, "ticket-fields.json"),
		"GET /api/v2/groups.json":                  recorded(t, "groups.json"),
		"GET /api/v2/users.json":                   []byte(`{"users":[]}`),
	}
	s := openWith(t, oauth(), func(c Config, b *sandbox.Board) sandbox.Desk { return newFake(c, b) })
	s.answer = func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			http.Error(w, "nothing was recorded", http.StatusTeapot)
			return
		}
		_, _ = w.Write(body)
	}
	in := hull()
	in.Requester = schemas.Requester{Name: "Ben", Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+493012345"}}}
	ref, err := s.Create(t.Context(), in)
	if err != nil || ref.ID != "4" {
		t.Errorf("create: got %v, %v, want ticket 4", ref, err)
	}
	ref.ID = "4"
	if _, err := s.Append(t.Context(), ref, schemas.Comment{Key: "sb-k", Text: "x", Author: schemas.Author{Role: schemas.ByRequester, Requester: &in.Requester}}); err != nil {
		t.Errorf("append: %v", err)
	}
	found, err := s.Sink.(sinks.Finder).Find(t.Context(), "sb-nothing")
	if err != nil || len(found) != 2 || found[0].Key != "" {
		t.Errorf("find: got %v, %v, want two tickets without a key", found, err)
	}
	thread, err := s.Sink.(sinks.Threader).Thread(t.Context(), ref)
	if err != nil || len(thread) != 1 || thread[0].Visibility != schemas.Internal {
		t.Errorf("thread: got %d entries, %v, want one note", len(thread), err)
	}
	c, err := s.Sink.(sinks.Cataloguer).Catalogue(t.Context())
	if err != nil || len(c.Queues) != 1 {
		t.Errorf("catalogue: got %d queues, %v, want 1", len(c.Queues), err)
	}
	for _, f := range c.Fields {
		if strings.EqualFold(f.Name, "priority") {
			t.Error("catalogue: the desk's own field Priority is among the custom ones")
		}
	}
	fullFile := schemas.File{Key: "sb-l", Name: "crash.log", Open: fileOf("x")}
	if _, err := s.Sink.(sinks.Attacher).Attach(t.Context(), ref, fullFile); err != nil {
		t.Errorf("attach: %v", err)
	}
}

func TestRecordedEventsAreRead(t *testing.T) {
	t.Parallel()
	got, err := bareListener().Parse(hook.Delivery{Body: recorded(t, "webhook-ticket-comment-added-agent-public.json")})
	if err != nil || len(got.Comments) != 1 || got.Comments[0].Comment.Author.Role != schemas.ByAgent || got.Comments[0].Ticket.ID == "" {
		t.Errorf("comment: got %+v, %v, want one by an agent", got, err)
	}
	got, err = bareListener().Parse(hook.Delivery{Body: recorded(t, "webhook-ticket-status-changed.json")})
	if err != nil || len(got.Tickets) != 1 || *got.Tickets[0].Change.Status != schemas.StatusSolved || got.Tickets[0].At.IsZero() {
		t.Errorf("status: got %+v, %v, want solved", got, err)
	}
}
