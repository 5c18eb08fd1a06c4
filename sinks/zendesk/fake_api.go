package zendesk

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// token grants an OAuth token for the client's credentials.
func (f *fake) token(w http.ResponseWriter, r *http.Request) {
	var in struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Scope        string `json:"scope"`
	}
	if !read(w, r, &in) {
		return
	}
	if in.GrantType != "client_credentials" || in.ClientID != f.cfg.ClientID || !f.cfg.ClientSecret.Equal(in.ClientSecret) {
		reply(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client", "error_description": "Client authentication failed"})
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	token := fmt.Sprintf("sandbox-token-%d", f.id())
	f.tokens[token] = f.now().Add(time.Hour)
	reply(w, http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		Scope       string `json:"scope"`
		ExpiresIn   int    `json:"expires_in"`
	}{token, "bearer", in.Scope, 3600})
}

// authorized checks the credentials and counts the call.
func (f *fake) authorized(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		user, password, basic := r.BasicAuth()
		f.mu.Lock()
		ok := f.now().Before(f.tokens[bearer]) || basic && f.cfg.Email != "" && user == f.cfg.Email+"/token" && f.cfg.APIToken.Equal(password)
		over := ok && f.spent(w.Header(), r)
		f.mu.Unlock()
		switch {
		case !ok && strings.HasPrefix(r.URL.Path, "/api/v2/users/me"):
			// This one answers strangers too: it says that nobody is there.
			reply(w, http.StatusOK, json.RawMessage(`{"user":{"id":null,"name":"Anonymous user","role":"end-user"}}`))
		case !ok:
			reply(w, http.StatusUnauthorized, map[string]string{"error": "Couldn't authenticate you"})
		case over:
			http.Error(w, "Number of allowed API requests per minute exceeded", http.StatusTooManyRequests)
		default:
			h(w, r)
		}
	}
}

// spent counts the call in its buckets, writes the headers that tell what is
// left, and reports whether that is less than nothing.
func (f *fake) spent(h http.Header, r *http.Request) bool {
	now := f.now()
	resets := 60 - now.Second()
	count := func(name string) (limit, left int) {
		u := f.used[name]
		if minute := now.Truncate(time.Minute); !u.minute.Equal(minute) {
			u = usage{minute: minute}
		}
		u.n++
		f.used[name] = u
		return f.limits[name], f.limits[name] - u.n
	}
	limit, left := count("")
	h.Set("Ratelimit-Limit", strconv.Itoa(limit))
	h.Set("Ratelimit-Remaining", strconv.Itoa(max(left, 0)))
	h.Set("Ratelimit-Reset", strconv.Itoa(resets))
	over := left < 0
	if r.Method == http.MethodPut {
		limit, left = count("tickets-update")
		h.Set("Zendesk-Ratelimit-Tickets-Update", fmt.Sprintf("total=%d; remaining=%d; resets=%d", limit, max(left, 0), resets))
		over = over || left < 0
	}
	if over {
		h.Set("Retry-After", strconv.Itoa(resets))
	}
	return over
}

func (f *fake) me(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reply(w, http.StatusOK, map[string]*fakeUser{"user": f.users[fakeService]})
}

// saveUser finds a user by e-mail or external id, or makes one.
func (f *fake) saveUser(w http.ResponseWriter, r *http.Request) {
	var in struct {
		User struct {
			Name       string `json:"name"`
			Email      string `json:"email"`
			ExternalID string `json:"external_id"`
			Phone      string `json:"phone"`
		} `json:"user"`
	}
	if !read(w, r, &in) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.User.Name == "" {
		refuse(w, http.StatusUnprocessableEntity, "RecordInvalid", "Record validation errors", "name", "Name: is too short (minimum one character)")
		return
	}
	before := len(f.users)
	u := f.users[f.person(in.User.Name, in.User.Email, in.User.ExternalID, in.User.Phone, "end-user")]
	u.Name = in.User.Name
	status := http.StatusOK
	if len(f.users) > before {
		status = http.StatusCreated
	}
	reply(w, status, map[string]fakeUser{"user": *u})
}

// ticketChange is what a request may set; what it does not name stays.
type ticketChange struct {
	ExternalID  *string `json:"external_id"`
	Subject     string  `json:"subject"`
	RequesterID int64   `json:"requester_id"`
	Requester   *struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	} `json:"requester"`
	Comment *struct {
		Body     string   `json:"body"`
		HTMLBody string   `json:"html_body"`
		Public   *bool    `json:"public"`
		AuthorID int64    `json:"author_id"`
		Uploads  []string `json:"uploads"`
	} `json:"comment"`
	Status       string          `json:"status"`
	Priority     *string         `json:"priority"`
	Type         *string         `json:"type"`
	GroupID      *int64          `json:"group_id"`
	AssigneeID   json.RawMessage `json:"assignee_id"`
	TicketFormID *int64          `json:"ticket_form_id"`
	BrandID      *int64          `json:"brand_id"`
	Tags         []string        `json:"tags"`
	AddTags      []string        `json:"additional_tags"`
	RemoveTags   []string        `json:"remove_tags"`
	CustomFields []fakeField     `json:"custom_fields"`
	FollowsID    int64           `json:"via_followup_source_id"`
	Metadata     json.RawMessage `json:"metadata"`
}

type ticketAnswer struct {
	Ticket fakeTicket `json:"ticket"`
	Audit  fakeAudit  `json:"audit"`
}

func (t *fakeTicket) answer() ticketAnswer {
	out := ticketAnswer{Ticket: *t}
	if len(t.audits) > 0 {
		out.Audit = t.audits[len(t.audits)-1]
	}
	return out
}

// create makes a ticket once per Idempotency-Key, for two hours.
func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	var in struct {
		Ticket ticketChange `json:"ticket"`
	}
	if err != nil || json.Unmarshal(body, &in) != nil || in.Ticket.Comment == nil {
		refuse(w, http.StatusUnprocessableEntity, "RecordInvalid", "Record validation errors", "base", "Description: cannot be blank")
		return
	}
	key, digest := r.Header.Get("Idempotency-Key"), sha256.Sum256(body)
	status, answer := f.created(w.Header(), key, digest, in.Ticket)
	if status != http.StatusCreated {
		refuse(w, status, answer.code, answer.description, answer.field, answer.why)
		return
	}
	w.Header().Set("Location", answer.ticket.Ticket.URL)
	reply(w, status, answer.ticket)
}

// outcome is a ticket, or what refuse takes.
type outcome struct {
	ticket                        ticketAnswer
	code, description, field, why string
}

func (f *fake) created(h http.Header, key string, digest [32]byte, in ticketChange) (int, outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.stored[key]; ok && key != "" && f.now().Before(old.until) {
		if old.digest != digest {
			return http.StatusBadRequest, outcome{code: "IdempotentRequestError", description: "Request parameters don't match the given idempotency key"}
		}
		h.Set("X-Idempotency-Lookup", "hit")
		ticket, _ := old.answer.(ticketAnswer)
		return http.StatusCreated, outcome{ticket: ticket}
	}
	if why := f.invalid(in); why != "" {
		return http.StatusUnprocessableEntity, outcome{code: "RecordInvalid", description: "Record validation errors", field: "base", why: why}
	}
	t := f.open(in)
	if key != "" {
		h.Set("X-Idempotency-Lookup", "miss")
		f.stored[key] = idempotent{digest, t.answer(), f.now().Add(2 * time.Hour)}
	}
	return http.StatusCreated, outcome{ticket: t.answer()}
}

func (f *fake) invalid(in ticketChange) string {
	switch {
	case in.Comment.Body == "" && in.Comment.HTMLBody == "":
		return "Description: cannot be blank"
	case in.RequesterID != 0 && f.users[in.RequesterID] == nil:
		return "Requester: is invalid"
	case in.FollowsID != 0 && (f.tickets[in.FollowsID] == nil || f.tickets[in.FollowsID].Status != "closed"):
		return "Via followup source: is not a closed ticket"
	}
	return ""
}

func (f *fake) open(in ticketChange) *fakeTicket {
	t := &fakeTicket{ID: f.id(), ExternalID: in.ExternalID, Subject: in.Subject, Status: "new", RequesterID: fakeService, CreatedAt: f.now().UTC()}
	t.URL = fmt.Sprintf("https://%s.zendesk.com/api/v2/tickets/%d.json", f.cfg.Subdomain, t.ID)
	switch {
	case in.RequesterID != 0:
		t.RequesterID = in.RequesterID
	case in.Requester != nil:
		t.RequesterID = f.person(in.Requester.Name, in.Requester.Email, "", "", "end-user")
	}
	t.SubmitterID = t.RequesterID // so it is unless another is named
	f.tickets[t.ID] = t
	f.order = append(f.order, t.ID)
	if k := deref(in.ExternalID); k != "" {
		f.byKey[k] = append(f.byKey[k], t.ID)
	}
	if old := f.tickets[in.FollowsID]; old != nil {
		old.FollowupIDs = append(old.FollowupIDs, t.ID)
	}
	f.apply(t, in)
	t.Description = t.audits[0].Events[0].Body
	return t
}

// apply sets what in names and keeps an audit of it.
func (f *fake) apply(t *fakeTicket, in ticketChange) {
	before := t.Status
	t.Status = cmp.Or(in.Status, t.Status)
	t.Priority, t.Type, t.GroupID = cmp.Or(in.Priority, t.Priority), cmp.Or(in.Type, t.Type), cmp.Or(in.GroupID, t.GroupID)
	t.TicketFormID, t.BrandID = cmp.Or(in.TicketFormID, t.TicketFormID), cmp.Or(in.BrandID, t.BrandID)
	if in.AssigneeID != nil {
		t.AssigneeID = nil
		_ = json.Unmarshal(in.AssigneeID, &t.AssigneeID) // null leaves it without an agent
	}
	if in.Tags != nil {
		t.Tags = nil
	}
	for _, tag := range slices.Concat(in.Tags, in.AddTags) {
		if !slices.Contains(t.Tags, tag) {
			t.Tags = append(t.Tags, tag)
		}
	}
	t.Tags = slices.DeleteFunc(t.Tags, func(tag string) bool { return slices.Contains(in.RemoveTags, tag) })
	for _, field := range in.CustomFields {
		t.CustomFields = slices.DeleteFunc(t.CustomFields, func(old fakeField) bool { return old.ID == field.ID })
		t.CustomFields = append(t.CustomFields, field)
	}
	if c := in.Comment; c != nil {
		var files []fakeFile
		for _, token := range c.Uploads {
			files = append(files, f.uploads[token])
			delete(f.uploads, token)
		}
		who := cmp.Or(c.AuthorID, fakeService)
		if len(t.audits) == 0 {
			who = t.SubmitterID
		}
		f.said(t, who, c.Public == nil || *c.Public, cmp.Or(c.Body, plain(c.HTMLBody)), files, in.Metadata)
	}
	if t.Status != before {
		change := fakeEvent{ID: f.id(), Type: "Change", FieldName: "status", Value: t.Status}
		if in.Comment != nil {
			last := &t.audits[len(t.audits)-1]
			last.Events = append(last.Events, change)
		} else {
			f.audit(t, fakeService, []fakeEvent{change}, in.Metadata)
		}
		f.tell(t, "status_changed", fakeService, map[string]string{"current": strings.ToUpper(t.Status), "previous": strings.ToUpper(before)})
	}
}

func (f *fake) update(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Ticket ticketChange `json:"ticket"`
	}
	if !read(w, r, &in) {
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0 is no ticket
	status, out := f.updated(id, in.Ticket)
	if status != http.StatusOK {
		refuse(w, status, out.code, out.description, out.field, out.why)
		return
	}
	reply(w, status, out.ticket)
}

func (f *fake) updated(id int64, in ticketChange) (int, outcome) {
	bad := outcome{code: "RecordInvalid", description: "Record validation errors"}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tickets[id]
	switch c := in.Comment; {
	case t == nil:
		return http.StatusNotFound, outcome{code: "RecordNotFound", description: "Not found"}
	case t.Status == "closed":
		bad.field, bad.why = "status", "Status: closed prevents ticket update"
	case c != nil && c.AuthorID != 0 && f.users[c.AuthorID] == nil:
		bad.field, bad.why = "author", "Author: is invalid"
	case c != nil && slices.ContainsFunc(c.Uploads, func(token string) bool { return f.uploads[token].ID == 0 }):
		bad.field, bad.why = "uploads", "Uploads: token is unknown"
	default:
		f.apply(t, in)
		return http.StatusOK, outcome{ticket: t.answer()}
	}
	return http.StatusUnprocessableEntity, bad
}

func (f *fake) at(r *http.Request) *fakeTicket {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // 0 is no ticket
	return f.tickets[id]
}

func (f *fake) show(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.at(r)
	if t == nil {
		refuse(w, http.StatusNotFound, "RecordNotFound", "Not found", "", "")
		return
	}
	reply(w, http.StatusOK, map[string]fakeTicket{"ticket": *t})
}

// list reads the store by external id; without one it lists the first hundred.
func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := f.order[:min(len(f.order), 100)]
	if key := r.URL.Query().Get("external_id"); key != "" {
		ids = f.byKey[key]
	}
	found := []fakeTicket{}
	for _, id := range ids {
		found = append(found, *f.tickets[id])
	}
	reply(w, http.StatusOK, struct {
		Tickets []fakeTicket `json:"tickets"`
		Count   int          `json:"count"`
	}{found, len(found)})
}

// search knows "external_id:KEY" and lags as the dial says.
func (f *fake) search(w http.ResponseWriter, r *http.Request) {
	_, key, _ := strings.Cut(r.URL.Query().Get("query"), "external_id:")
	f.mu.Lock()
	defer f.mu.Unlock()
	found := []fakeTicket{}
	for _, id := range f.byKey[strings.Trim(strings.TrimSpace(key), `"`)] {
		if t := f.tickets[id]; !f.now().Before(t.CreatedAt.Add(f.board.SearchLag())) {
			found = append(found, *t)
		}
	}
	reply(w, http.StatusOK, struct {
		Results []fakeTicket `json:"results"`
		Count   int          `json:"count"`
	}{found, len(found)})
}

type cursor struct {
	HasMore     bool   `json:"has_more"`
	AfterCursor string `json:"after_cursor"`
}

// window cuts one page out of n things, by page[size] and page[after].
func window(r *http.Request, n int) (from, to int, c cursor) {
	size, err := strconv.Atoi(r.URL.Query().Get("page[size]"))
	if err != nil || size < 1 || size > 100 {
		size = 100
	}
	from, _ = strconv.Atoi(r.URL.Query().Get("page[after]")) // none is the beginning
	from = min(max(from, 0), n)
	to = min(from+size, n)
	return from, to, cursor{to < n, strconv.Itoa(to)}
}

func (f *fake) audits(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.at(r)
	if t == nil {
		refuse(w, http.StatusNotFound, "RecordNotFound", "Not found", "", "")
		return
	}
	from, to, meta := window(r, len(t.audits))
	reply(w, http.StatusOK, struct {
		Audits []fakeAudit `json:"audits"`
		Meta   cursor      `json:"meta"`
	}{t.audits[from:to], meta})
}

func (f *fake) upload(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("filename")
	size, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxFile+1))
	if err != nil || name == "" || size > maxFile {
		refuse(w, http.StatusUnprocessableEntity, "AttachmentUnprocessable", "Attachment cannot be processed", "", "")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file := fakeFile{ID: f.id(), FileName: name, ContentType: r.Header.Get("Content-Type"), Size: int(size)}
	file.ContentURL = fmt.Sprintf("https://%s.zendesk.com/attachments/token/%d/", f.cfg.Subdomain, file.ID)
	token := fmt.Sprintf("up%d", file.ID)
	f.uploads[token] = file
	type upload struct {
		Token      string   `json:"token"`
		Attachment fakeFile `json:"attachment"`
	}
	reply(w, http.StatusCreated, map[string]upload{"upload": {token, file}})
}

func (f *fake) fields(w http.ResponseWriter, r *http.Request) {
	all := []json.RawMessage{
		json.RawMessage(`{"id":11,"type":"subject","title":"Subject","active":true,"removable":false}`),
		json.RawMessage(`{"id":12,"type":"priority","title":"Priority","active":true,"removable":true}`),
		json.RawMessage(fmt.Sprintf(`{"id":%d,"type":"text","title":"Customer tier","active":true,"removable":true}`, fakeTier)),
		json.RawMessage(fmt.Sprintf(`{"id":%d,"type":"tagger","title":"Product area","active":true,"removable":true,"custom_field_options":[`+
			`{"id":1,"name":"Gliders","value":"area_gliders"},{"id":2,"name":"Motors","value":"area_motors"}]}`, fakeArea)),
		json.RawMessage(fmt.Sprintf(`{"id":%d,"type":"multiselect","title":"Topics","active":true,"removable":true,"custom_field_options":[`+
			`{"id":3,"name":"Delivery","value":"topic_delivery"},{"id":4,"name":"Repair","value":"topic_repair"}]}`, fakeTopics)),
		json.RawMessage(fmt.Sprintf(`{"id":%d,"type":"checkbox","title":"Call back","active":true,"removable":true}`, fakeCallBack)),
	}
	from, to, meta := window(r, len(all))
	reply(w, http.StatusOK, struct {
		Fields []json.RawMessage `json:"ticket_fields"`
		Meta   cursor            `json:"meta"`
	}{all[from:to], meta})
}

func (f *fake) groups(w http.ResponseWriter, r *http.Request) {
	all := []json.RawMessage{
		json.RawMessage(fmt.Sprintf(`{"id":%d,"name":"Support","deleted":false}`, fakeSupport)),
		json.RawMessage(fmt.Sprintf(`{"id":%d,"name":"Escalations","deleted":false}`, fakeEscalations)),
	}
	from, to, meta := window(r, len(all))
	reply(w, http.StatusOK, struct {
		Groups []json.RawMessage `json:"groups"`
		Meta   cursor            `json:"meta"`
	}{all[from:to], meta})
}

// listUsers lists the staff, which is what role[] is asked for.
func (f *fake) listUsers(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	staff := []fakeUser{*f.users[fakeAgent], *f.users[fakeService]}
	from, to, meta := window(r, len(staff))
	reply(w, http.StatusOK, struct {
		Users []fakeUser `json:"users"`
		Meta  cursor     `json:"meta"`
	}{staff[from:to], meta})
}

// webhook stores a subscription; whoever runs the fake does the calling.
func (f *fake) webhook(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Webhook json.RawMessage `json:"webhook"`
	}
	if !read(w, r, &in) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = append(f.hooks, in.Webhook)
	reply(w, http.StatusCreated, map[string]json.RawMessage{"webhook": in.Webhook})
}
