package zendesk

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
)

// sign makes d what Zendesk would have sent at d.ReceivedAt.
func sign(c Config, d *hook.Delivery) {
	at := d.ReceivedAt.UTC().Format(time.RFC3339)
	m := hmac.New(sha256.New, c.WebhookSecret.Bytes())
	m.Write(append([]byte(at), d.Body...))
	d.Header.Set("X-Zendesk-Webhook-Signature-Timestamp", at)
	d.Header.Set("X-Zendesk-Webhook-Signature", base64.StdEncoding.EncodeToString(m.Sum(nil)))
}

// maxEvents is how many events wait for somebody who reads them.
const maxEvents = 10_000

// fake is one Zendesk account in memory. One lock guards all of it, and nothing
// on the way of a ticket walks through the store.
type fake struct {
	cfg   Config
	board *sandbox.Board
	mux   *http.ServeMux
	now   func() time.Time
	// limits are calls a minute per bucket; "" is the whole account.
	limits map[string]int

	mu       sync.Mutex
	last     int64
	tickets  map[int64]*fakeTicket
	order    []int64
	byKey    map[string][]int64
	users    map[int64]*fakeUser
	byPerson map[string]int64 // "e:" and e-mail, "x:" and external id
	stored   map[string]idempotent
	tokens   map[string]time.Time
	uploads  map[string]fakeFile
	hooks    []json.RawMessage
	events   []hook.Delivery
	used     map[string]usage
}

type fakeTicket struct {
	ID           int64       `json:"id"`
	URL          string      `json:"url"`
	ExternalID   *string     `json:"external_id"`
	Subject      string      `json:"subject"`
	Description  string      `json:"description"`
	Status       string      `json:"status"`
	Priority     *string     `json:"priority"`
	Type         *string     `json:"type"`
	RequesterID  int64       `json:"requester_id"`
	SubmitterID  int64       `json:"submitter_id"`
	AssigneeID   *int64      `json:"assignee_id"`
	GroupID      *int64      `json:"group_id"`
	TicketFormID *int64      `json:"ticket_form_id"`
	BrandID      *int64      `json:"brand_id"`
	Tags         []string    `json:"tags"`
	CustomFields []fakeField `json:"custom_fields"`
	FollowupIDs  []int64     `json:"followup_ids"`
	CreatedAt    time.Time   `json:"created_at"`
	UpdatedAt    time.Time   `json:"updated_at"`

	audits []fakeAudit
}

type fakeField struct {
	ID    int64           `json:"id"`
	Value json.RawMessage `json:"value"`
}

type fakeAudit struct {
	ID        int64       `json:"id"`
	TicketID  int64       `json:"ticket_id"`
	AuthorID  int64       `json:"author_id"`
	CreatedAt time.Time   `json:"created_at"`
	Metadata  fakeMeta    `json:"metadata"`
	Events    []fakeEvent `json:"events"`
}

type fakeMeta struct {
	System struct{}        `json:"system"`
	Custom json.RawMessage `json:"custom"`
}

// fakeEvent is one event of an audit: a comment or a changed field.
type fakeEvent struct {
	ID          int64      `json:"id"`
	Type        string     `json:"type"`
	AuthorID    int64      `json:"author_id,omitempty"`
	Public      *bool      `json:"public,omitempty"`
	Body        string     `json:"body,omitempty"`
	HTMLBody    string     `json:"html_body,omitempty"`
	Attachments []fakeFile `json:"attachments,omitempty"`
	FieldName   string     `json:"field_name,omitempty"`
	Value       string     `json:"value,omitempty"`
}

type fakeFile struct {
	ID          int64  `json:"id"`
	FileName    string `json:"file_name"`
	ContentType string `json:"content_type"`
	ContentURL  string `json:"content_url"`
	Size        int    `json:"size"`
}

type fakeUser struct {
	ID         int64   `json:"id"`
	Name       string  `json:"name"`
	Email      *string `json:"email"`
	ExternalID *string `json:"external_id"`
	Phone      *string `json:"phone"`
	Role       string  `json:"role"`
}

// idempotent is the answer that a key stands for, while the desk remembers it.
type idempotent struct {
	digest [32]byte
	answer any
	until  time.Time
}

type usage struct {
	minute time.Time
	n      int
}

// ids of what every fresh account has.
const (
	fakeAgent, fakeService       = 9001, 9002
	fakeSupport, fakeEscalations = 7001, 7002
	fakeTier, fakeArea           = 3001, 3002
	fakeTopics, fakeCallBack     = 3003, 3004
)

func newFake(cfg Config, board *sandbox.Board) sandbox.Desk {
	if cfg.Email == "" {
		cfg.ClientID = cmp.Or(cfg.ClientID, "switchboard")
		if cfg.ClientSecret.IsZero() {
			cfg.ClientSecret = secret.Literal("sandbox-client-secret")
		}
	}
	if cfg.WebhookSecret.IsZero() {
		cfg.WebhookSecret = secret.Literal("sandbox-webhook-secret")
	}
	f := &fake{
		cfg: cfg, board: board, now: time.Now, limits: map[string]int{"": 1_000_000, "tickets-update": 1_000_000},
		tickets: map[int64]*fakeTicket{}, byKey: map[string][]int64{}, users: map[int64]*fakeUser{}, byPerson: map[string]int64{},
		stored: map[string]idempotent{}, tokens: map[string]time.Time{}, uploads: map[string]fakeFile{}, used: map[string]usage{},
	}
	f.users[fakeAgent] = &fakeUser{ID: fakeAgent, Name: "Kim Rudder", Email: new("kim@shop.example"), Role: "agent"}
	f.users[fakeService] = &fakeUser{ID: fakeService, Name: "Switchboard", Email: new("switchboard@shop.example"), Role: "admin"}
	f.byPerson["e:kim@shop.example"], f.byPerson["e:switchboard@shop.example"] = fakeAgent, fakeService
	f.mux = http.NewServeMux()
	f.mux.HandleFunc("POST /oauth/tokens", f.token)
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /api/v2/users/me":                f.me,
		"POST /api/v2/users/create_or_update": f.saveUser,
		"GET /api/v2/users":                   f.listUsers,
		"POST /api/v2/tickets":                f.create,
		"GET /api/v2/tickets":                 f.list,
		"GET /api/v2/tickets/{id}":            f.show,
		"PUT /api/v2/tickets/{id}":            f.update,
		"GET /api/v2/tickets/{id}/audits":     f.audits,
		"GET /api/v2/search":                  f.search,
		"POST /api/v2/uploads":                f.upload,
		"GET /api/v2/ticket_fields":           f.fields,
		"GET /api/v2/groups":                  f.groups,
		"POST /api/v2/webhooks":               f.webhook,
	} {
		f.mux.HandleFunc(pattern, f.authorized(h))
	}
	return f
}

// Settings are the configuration keys that point an adapter to the fake.
func (f *fake) Settings(base string) map[string]string {
	s := map[string]string{"subdomain": "sandbox", "base_url": base, "webhook_secret": f.cfg.WebhookSecret.Reveal()}
	if f.cfg.Email != "" {
		s["email"], s["api_token"] = f.cfg.Email, f.cfg.APIToken.Reveal()
	} else {
		s["client_id"], s["client_secret"] = f.cfg.ClientID, f.cfg.ClientSecret.Reveal()
	}
	return s
}

// ServeHTTP is Zendesk's API; paths may end with .json, as the real ones do.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutSuffix(r.URL.Path, ".json"); ok {
		u := *r.URL
		u.Path = path
		r = r.Clone(r.Context())
		r.URL = &u
	}
	f.mux.ServeHTTP(w, r)
}

// Tickets returns the store.
func (f *fake) Tickets() []sandbox.Ticket {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]sandbox.Ticket, 0, len(f.order))
	for _, id := range f.order {
		t := f.tickets[id]
		out := sandbox.Ticket{
			ID: strconv.FormatInt(id, 10), Key: deref(t.ExternalID), Subject: t.Subject, Status: t.Status,
			Requester: f.users[t.RequesterID].Name, Tags: slices.Clone(t.Tags),
		}
		if t.GroupID != nil {
			out.Queue = strconv.FormatInt(*t.GroupID, 10)
		}
		for _, a := range t.audits {
			var own marks
			_ = json.Unmarshal(a.Metadata.Custom, &own) // anything may stand there
			for _, e := range a.Events {
				if e.Type != "Comment" {
					continue
				}
				c := sandbox.Comment{
					ID: strconv.FormatInt(e.ID, 10), Key: own["sb"]["key"], Author: f.users[e.AuthorID].Name, Text: e.Body, Public: *e.Public,
				}
				for _, file := range e.Attachments {
					c.Files = append(c.Files, file.FileName)
				}
				out.Comments = append(out.Comments, c)
			}
		}
		all = append(all, out)
	}
	return all
}

// Comment lets an agent speak.
func (f *fake) Comment(id, agent, text string, public bool) string {
	n, err := strconv.ParseInt(id, 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tickets[n]
	if err != nil || t == nil || t.Status == "closed" {
		return ""
	}
	who := f.person(agent, "", "agent:"+agent, "", "agent")
	said := f.said(t, who, public, text, nil, nil)
	return strconv.FormatInt(said, 10)
}

// Events returns what the account would have sent to its webhooks since the last
// call, unsigned.
func (f *fake) Events() []hook.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.events
	f.events = nil
	return all
}

func (f *fake) id() int64 {
	f.last++
	return 40_000 + f.last
}

// person finds or makes a user.
func (f *fake) person(name, email, external, phone, role string) int64 {
	for _, k := range []string{"e:" + strings.ToLower(email), "x:" + strings.ToLower(external)} {
		if id, ok := f.byPerson[k]; ok && len(k) > 2 {
			return id
		}
	}
	u := &fakeUser{ID: f.id(), Name: name, Email: nonEmpty(email), ExternalID: nonEmpty(external), Phone: nonEmpty(phone), Role: role}
	f.users[u.ID] = u
	if email != "" {
		f.byPerson["e:"+strings.ToLower(email)] = u.ID
	}
	if external != "" {
		f.byPerson["x:"+strings.ToLower(external)] = u.ID
	}
	return u.ID
}

// said adds a comment and returns its id.
func (f *fake) said(t *fakeTicket, who int64, public bool, text string, files []fakeFile, custom json.RawMessage) int64 {
	e := fakeEvent{
		ID: f.id(), Type: "Comment", AuthorID: who, Public: &public, Body: text, HTMLBody: "<p>" + html.EscapeString(text) + "</p>", Attachments: files,
	}
	f.audit(t, who, []fakeEvent{e}, custom)
	u := f.users[who]
	f.tell(t, "comment_added", who, map[string]fakeComment{"comment": {
		strconv.FormatInt(e.ID, 10), text, public, fakeAuthor{strconv.FormatInt(who, 10), u.Role != "end-user", u.Name},
	}})
	return e.ID
}

func (f *fake) audit(t *fakeTicket, who int64, events []fakeEvent, custom json.RawMessage) {
	if custom == nil {
		custom = json.RawMessage("{}")
	}
	now := f.now().UTC().Truncate(time.Second)
	t.UpdatedAt = now
	t.audits = append(t.audits, fakeAudit{
		ID: f.id(), TicketID: t.ID, AuthorID: who, CreatedAt: now, Metadata: fakeMeta{Custom: custom}, Events: events,
	})
}

type fakeComment struct {
	ID       string     `json:"id"`
	Body     string     `json:"body"`
	IsPublic bool       `json:"is_public"`
	Author   fakeAuthor `json:"author"`
}

type fakeAuthor struct {
	ID      string `json:"id"`
	IsStaff bool   `json:"is_staff"`
	Name    string `json:"name"`
}

// tell keeps an event for Events; change is its member "event".
func (f *fake) tell(t *fakeTicket, what string, actor int64, change any) {
	n := f.id()
	body, _ := json.Marshal(struct { // it has no value that cannot be encoded
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Time    time.Time         `json:"time"`
		Version string            `json:"zendesk_event_version"`
		Subject string            `json:"subject"`
		Detail  map[string]string `json:"detail"`
		Event   any               `json:"event"`
	}{
		"zen:event-type:ticket." + what, fmt.Sprintf("evt-%d", n), f.now().UTC(), "2022-11-06", fmt.Sprintf("zen:ticket:%d", t.ID),
		map[string]string{
			"id": strconv.FormatInt(t.ID, 10), "external_id": deref(t.ExternalID), "status": strings.ToUpper(t.Status),
			"actor_id": strconv.FormatInt(actor, 10), "requester_id": strconv.FormatInt(t.RequesterID, 10),
		},
		change,
	})
	if len(f.events) >= maxEvents {
		f.events = f.events[len(f.events)-maxEvents+1:]
	}
	f.events = append(f.events, hook.Delivery{
		Method: http.MethodPost, URL: "https://intake.shop.example/hooks/zendesk", Via: hook.ViaWebhook, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}, "X-Zendesk-Webhook-Invocation-Id": {fmt.Sprintf("inv-%d", n)}},
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var markup = regexp.MustCompile(`<[^>]*>`)

// plain is the text of a comment that came as HTML.
func plain(s string) string { return html.UnescapeString(markup.ReplaceAllString(s, "")) }

// read decodes a request's body, or answers 400.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(io.LimitReader(r.Body, 4<<20)).Decode(into)
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", "The request could not be understood", "", "")
	}
	return err == nil
}

// refuse answers as Zendesk does; field and why are the details of a 422.
func refuse(w http.ResponseWriter, status int, code, description, field, why string) {
	type detail struct {
		Description string `json:"description"`
		Error       string `json:"error"`
	}
	out := struct {
		Error       string              `json:"error"`
		Description string              `json:"description"`
		Details     map[string][]detail `json:"details,omitempty"`
	}{Error: code, Description: description}
	if field != "" {
		out.Details = map[string][]detail{field: {{why, "InvalidValue"}}}
	}
	reply(w, status, out)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader is gone
}
