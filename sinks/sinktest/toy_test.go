package sinktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

// toyConfig is the configuration of a desk that exists for these tests. Flaw
// names what its adapter does wrong.
type toyConfig struct {
	URL   string        `yaml:"url"`
	Token secret.Secret `yaml:"token"`
	Flaw  string        `yaml:"flaw"`
}

func toyKind(class sinks.Class) sinks.Kind {
	return sinks.Define("toy", toyConfig{}, func(c toyConfig, env sinks.Env) (sinks.Sink, error) {
		s := &toy{cfg: c, api: rest.New(env.HTTP, c.URL, rest.WithAuth(rest.Bearer(c.Token)))}
		if class == sinks.ReceiverDedup {
			return receiver{s}, nil
		}
		return desk{s}, nil
	}, sinks.Traits[toyConfig]{
		Create: class,
		Sign: func(c toyConfig, d *hook.Delivery) {
			// A secret that cannot be used leaves d unsigned, and Verify says so.
			_ = hook.SignStandardWebhook(c.Token.Bytes(), "msg", d)
		},
		Fake: func(toyConfig, *sandbox.Board) sandbox.Desk { return &toyDesk{} },
	})
}

type toy struct {
	cfg   toyConfig
	api   *rest.Client
	calls int
}

// receiver is the toy without a look-up; desk is the toy with all there is.
type (
	receiver struct{ *toy }
	desk     struct{ *toy }
)

func (s *toy) flaw(name string) bool { return s.cfg.Flaw == name }

func (s *toy) Check(ctx context.Context) error {
	if s.flaw("check says yes") {
		return nil
	}
	return s.api.Get(ctx, "/me", nil)
}

func (s *toy) send(ctx context.Context, method, path string, e toyEntry) (string, error) {
	s.calls++
	if s.flaw("changing bodies") {
		e.Text += strconv.FormatInt(time.Now().UnixNano(), 10)
	}
	var out toyEntry
	_, err := s.api.Do(ctx, rest.Request{Method: method, Path: path, In: e}, &out)
	switch {
	case err == nil:
		return out.ID, nil
	case fault.StatusCode(err) == http.StatusNotFound && !s.flaw("gone is refused"):
		return "", sinks.ErrNotFound
	case s.flaw("never done"):
		return "", fault.NotDone(err)
	case s.flaw("all is lost"):
		return "", fault.Permanent(err)
	case s.flaw("tells its token"):
		return "", fmt.Errorf("with %s: %w", s.cfg.Token.Reveal(), err)
	case s.flaw("tells the text"):
		return "", fmt.Errorf("of %s: %w", e.Text, err)
	case s.flaw("hides the cancellation") && errors.Is(err, context.Canceled):
		return "", errors.New("something happened")
	}
	return "", err
}

func (s *toy) Create(ctx context.Context, t schemas.Ticket) (schemas.Ref, error) {
	e := toyEntry{Key: t.Key, Subject: t.Subject, Text: t.Text, Author: t.Requester.Label(), Public: true}
	if s.flaw("no key") {
		e.Key = ""
	}
	id, err := s.send(ctx, http.MethodPost, "/tickets", e)
	return schemas.Ref{ID: id}, err
}

func (s *toy) Append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	e := toyEntry{Key: c.Key, Text: c.Text, Author: string(c.Author.Role), Public: c.Visibility == schemas.Public || s.flaw("notes are public")}
	if s.flaw("no comment key") {
		e.Key = ""
	}
	return s.send(ctx, http.MethodPost, "/tickets/"+ref.ID, e)
}

func (s desk) Attach(ctx context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	e := toyEntry{Key: f.Key, Text: f.Name, Files: []string{f.Name}}
	if s.flaw("loses files") {
		e.Files = nil
	}
	return s.send(ctx, http.MethodPost, "/tickets/"+ref.ID, e)
}

func (s desk) Update(ctx context.Context, ref schemas.Ref, ch schemas.Change) error {
	status := "" // what is not set is not changed
	if ch.Status != nil {
		status = string(*ch.Status)
	}
	if s.flaw("updates pile up") {
		status += strconv.Itoa(s.calls)
	}
	_, err := s.send(ctx, http.MethodPut, "/tickets/"+ref.ID, toyEntry{Status: status})
	return err
}

func (s desk) Find(ctx context.Context, key string) ([]sinks.Candidate, error) {
	var all []toyEntry
	err := s.api.Get(ctx, "/tickets?key="+url.QueryEscape(key), &all)
	var found []sinks.Candidate
	for _, e := range all {
		if s.flaw("finds all") {
			e.Key = key
		}
		if !s.flaw("finds none") {
			found = append(found, sinks.Candidate{Ref: schemas.Ref{ID: e.ID}, Key: e.Key})
		}
	}
	return found, err
}

func (s desk) Thread(ctx context.Context, ref schemas.Ref) ([]schemas.Comment, error) {
	var all []toyEntry
	err := s.api.Get(ctx, "/tickets/"+ref.ID, &all)
	var out []schemas.Comment
	for _, e := range all {
		out = append(out, schemas.Comment{ID: e.ID, Key: e.Key, Text: e.Text, Visibility: sinks.Visibility(e.Public)})
	}
	if s.flaw("newest first") {
		slices.Reverse(out)
	}
	return out, err
}

func (s desk) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	var all []toyEntry
	err := s.api.Get(ctx, "/said", &all)
	from, _ := strconv.Atoi(cursor) // "" is the beginning
	page := hook.Page{Next: strconv.Itoa(len(all))}
	for _, e := range all[min(from, len(all)):] {
		body, jerr := json.Marshal(e)
		err = cmp.Or(err, jerr)
		page.Deliveries = append(page.Deliveries, hook.Delivery{Body: body, Via: hook.ViaPoll})
	}
	return page, err
}

func (s desk) Verify(_ context.Context, d hook.Delivery) error {
	if s.flaw("believes all") {
		return nil
	}
	if s.flaw("believes none") {
		return hook.ErrUnverified
	}
	return hook.StandardWebhook(s.cfg.Token.Bytes(), d)
}

func (desk) Answer(hook.Delivery) hook.Answer { return hook.OK }

func (s desk) Parse(d hook.Delivery) (sinks.Changes, error) {
	var e toyEntry
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return sinks.Changes{}, fault.Permanent(err)
	}
	if e.ID == "" || s.flaw("hears nothing") {
		return sinks.Changes{Ignored: "not a comment"}, nil
	}
	c := schemas.Comment{ID: e.ID, Key: e.Key, Text: e.Text, Visibility: sinks.Visibility(e.Public), Author: schemas.Author{Role: schemas.ByAgent}}
	if s.flaw("renumbers") {
		s.calls++
		c.Text += strconv.Itoa(s.calls)
	}
	if s.flaw("forgets its own") && e.Author != "agent" {
		c.ID, c.Key = "other"+c.ID, ""
	}
	return sinks.Changes{Comments: []sinks.TicketComment{{Ticket: schemas.Ref{ID: e.Ticket}, Comment: c}}}, nil
}

// toyEntry is anything that the toy desk stores or is told.
type toyEntry struct {
	ID, Key, Ticket, Subject, Text, Author, Status string

	Public bool
	Files  []string
}

// toyDesk keeps one ticket per key, as a desk of class upsert does, and one
// comment per call.
type toyDesk struct {
	mu      sync.Mutex
	tickets []toyEntry
	said    []toyEntry
	told    int
}

func (d *toyDesk) Settings(base string) map[string]string {
	return map[string]string{"url": base, "token": "whsec_dG95LWRlc2stdG9rZW4="}
}

func (d *toyDesk) Tickets() []sandbox.Ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []sandbox.Ticket
	for _, t := range d.tickets {
		out := sandbox.Ticket{ID: t.ID, Key: t.Key, Subject: t.Subject, Status: t.Status, Requester: t.Author}
		out.Comments = []sandbox.Comment{{ID: t.ID, Key: t.Key, Text: t.Text, Public: true}}
		for _, c := range d.said {
			if c.Ticket == t.ID {
				out.Comments = append(out.Comments, sandbox.Comment{ID: c.ID, Key: c.Key, Text: c.Text, Public: c.Public, Files: c.Files})
			}
		}
		all = append(all, out)
	}
	return all
}

func (d *toyDesk) Comment(ticket, _, text string, public bool) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.say(toyEntry{Ticket: ticket, Author: "agent", Text: text, Public: public}).ID
}

func (d *toyDesk) Events() []hook.Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []hook.Delivery
	for _, e := range d.said[d.told:] {
		body, _ := json.Marshal(e) // it has no value that cannot be encoded
		all = append(all, hook.Delivery{Method: http.MethodPost, Body: body})
	}
	d.told = len(d.said)
	return all
}

func (d *toyDesk) say(e toyEntry) toyEntry {
	e.ID = "c" + strconv.Itoa(len(d.said)+1)
	d.said = append(d.said, e)
	return e
}

func (d *toyDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var in toyEntry
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &in) // a GET has none
	var out any
	at := slices.IndexFunc(d.tickets, func(t toyEntry) bool { return "/tickets/"+t.ID == r.URL.Path })
	switch {
	case r.URL.Path == "/me":
		out = in
	case r.URL.Path == "/said":
		out = d.said
	case r.URL.Path == "/tickets" && r.Method == http.MethodPost:
		i := slices.IndexFunc(d.tickets, func(t toyEntry) bool { return t.Key == in.Key && in.Key != "" })
		if i < 0 {
			in.ID, i = strconv.Itoa(len(d.tickets)+1), len(d.tickets)
			d.tickets = append(d.tickets, in)
		}
		out = d.tickets[i]
	case r.URL.Path == "/tickets":
		out = d.tickets
	case at < 0:
		http.Error(w, "no such ticket", http.StatusNotFound)
		return
	case r.Method == http.MethodPut:
		d.tickets[at].Status = cmp.Or(in.Status, d.tickets[at].Status)
		out = d.tickets[at]
	case r.Method == http.MethodPost:
		in.Ticket = d.tickets[at].ID
		out = d.say(in)
	default:
		out = slices.DeleteFunc(slices.Clone(d.said), func(c toyEntry) bool { return c.Ticket != d.tickets[at].ID })
	}
	_ = json.NewEncoder(w).Encode(out) // the reader is gone
}
