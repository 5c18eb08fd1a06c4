// Package zendesk files tickets in Zendesk Support and reads its event webhooks.
// Support API v2: https://developer.zendesk.com/api-reference/ticketing/introduction/
package zendesk

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

const maxFile = 50 << 20

// Kind is what the host needs to open a Zendesk account.
var Kind = sinks.Define("zendesk", Config{Scopes: []string{"read", "write"}}, open, sinks.Traits[Config]{
	Create: sinks.KeyWindow, Append: sinks.StrongLookup, Window: 2 * time.Hour, Settle: time.Minute,
	MaxText: 64_000, MaxSubject: 150, MaxFile: maxFile, Sign: sign, Fake: newFake,
})

// Config is one Zendesk account in the configuration file. It has either
// client_id and client_secret, or email and api_token.
type Config struct {
	// Subdomain is the account's name, as in https://NAME.zendesk.com.
	Subdomain string `yaml:"subdomain" required:"true"`
	// BaseURL is the account's address, for sandboxes; by default it is made from
	// subdomain.
	BaseURL string `yaml:"base_url"`
	// ClientID and ClientSecret are those of an OAuth client of the kind
	// confidential, made under Admin Center > Apps and integrations > APIs.
	ClientID     string        `yaml:"client_id"`
	ClientSecret secret.Secret `yaml:"client_secret"`
	// Scopes are what the OAuth token may do.
	Scopes []string `yaml:"scopes"`
	// Email and APIToken are an agent's address and an API token. Zendesk makes no
	// new ones and switches all off on 2027-04-30: prefer the OAuth client.
	Email    string        `yaml:"email"`
	APIToken secret.Secret `yaml:"api_token"`
	// Fields maps our field names to the desk's: title or id. A field that is not
	// listed goes to the desk's field of the same title. The names category and
	// severity take the message's own.
	Fields map[string]string `yaml:"fields"`
	// Queues maps our queues to the desk's groups: name or id. A queue that is not
	// listed goes to the group of the same name.
	Queues map[string]string `yaml:"queues"`
	// BrandID and TicketFormID are set on every new ticket.
	BrandID      int64 `yaml:"brand_id"`
	TicketFormID int64 `yaml:"ticket_form_id"`
	// Tags are put on every new ticket, beside sb, the channel's kind and the
	// rules' tags.
	Tags []string `yaml:"tags"`
	// WebhookSecret is the signing secret of the event webhook that Zendesk calls;
	// without it nothing comes back from the desk.
	WebhookSecret secret.Secret `yaml:"webhook_secret"`
}

type sink struct {
	cfg   Config
	env   sinks.Env
	names sinks.Mapping
	api   *rest.Client
	// users are the ids of requesters: the desk allows few updates of one user a minute.
	users sinks.Memory[userIn, json.Number]
}

// listener is a sink whose account calls us. Without a secret nothing could be
// verified, so that a bare sink is no hook.Webhook at all.
type listener struct{ *sink }

func open(cfg Config, env sinks.Env) (sinks.Sink, error) {
	cfg.BaseURL = strings.TrimRight(cmp.Or(cfg.BaseURL, "https://"+url.PathEscape(cfg.Subdomain)+".zendesk.com"), "/")
	client, token := cfg.ClientID != "" && !cfg.ClientSecret.IsZero(), cfg.Email != "" && !cfg.APIToken.IsZero()
	if client == token {
		return nil, errors.New("give client_id and client_secret, or email and api_token, but not both pairs")
	}
	auth := rest.Basic(cfg.Email+"/token", cfg.APIToken)
	if client {
		auth = rest.JSONCredentials(env.HTTP, cfg.BaseURL+"/oauth/tokens", map[string]string{
			"grant_type": "client_credentials", "scope": strings.Join(cfg.Scopes, " "),
			"client_id": cfg.ClientID, "client_secret": cfg.ClientSecret.Reveal(),
		})
	}
	api := rest.New(env.HTTP, cfg.BaseURL, rest.WithAuth(auth), rest.WithPacer(rest.NewPacer("Zendesk-Ratelimit-")))
	s := &sink{cfg: cfg, env: env, names: sinks.Mapping{Fields: cfg.Fields, Queues: cfg.Queues}, api: api}
	if cfg.WebhookSecret.IsZero() {
		return s, nil
	}
	return listener{s}, nil
}

// call sends r and corrects what rest cannot know of Zendesk's answers.
func (s *sink) call(ctx context.Context, r rest.Request) (answer, error) {
	var out answer
	header, err := s.api.Do(ctx, r, &out)
	if w := header.Get("X-Zendesk-Api-Warn"); w != "" || err == nil && r.Header != nil && header.Get("X-Idempotency-Lookup") == "" {
		s.env.Log.WarnContext(ctx, "desk ignored part of a request, or its idempotency key", "path", r.Path, "warning", w)
	}
	status, _ := errors.AsType[*fault.Status](err)
	switch code := fault.StatusCode(err); {
	case err == nil:
		return out, nil
	case code == http.StatusNotFound && status.Words == rest.HTMLPage:
		err = fault.Auth(status) // a subdomain that does not exist: no ticket's fault
	case code == http.StatusNotFound && strings.Contains(r.Path, "/tickets/"):
		err = fmt.Errorf("%w: %w", sinks.ErrNotFound, status)
	case code == http.StatusUnprocessableEntity && strings.Contains(status.Words, "closed prevents"):
		err = fmt.Errorf("%w: %w", sinks.ErrClosed, status)
	case code == http.StatusBadRequest && strings.Contains(status.Words, "IdempotentRequestError"):
		err = status // the key was used with another body: the ticket may be there, look first
	case fault.IsPermanent(err):
		s.users.Forget() // one of them may have been deleted or merged: ask anew next time
	}
	return out, fmt.Errorf("zendesk: %s %s: %w", cmp.Or(r.Method, "GET"), r.Path, err)
}

// write sends r and returns the id of what came of it.
func (s *sink) write(ctx context.Context, r rest.Request, made func(answer) json.Number) (json.Number, error) {
	out, err := s.call(ctx, r)
	if err == nil && made(out) == "" {
		err = fmt.Errorf("zendesk: %s %s: the answer holds no id", r.Method, r.Path)
	}
	return made(out), err
}

func (s *sink) Check(ctx context.Context) error {
	me, err := s.call(ctx, rest.Request{Path: "/api/v2/users/me.json"})
	if err == nil && (me.User.ID == "" || me.User.Role == "end-user") {
		return fault.Auth(errors.New("zendesk: there is no agent behind the credentials"))
	}
	return err
}

func (s *sink) Create(ctx context.Context, t schemas.Ticket) (schemas.Ref, error) {
	var err error
	in := s.newTicket(t)
	if who := newUser(t.Requester); who.Email != "" {
		in.Requester = &who
	} else if in.RequesterID, err = s.user(ctx, who); err != nil {
		return schemas.Ref{}, err
	}
	id, err := s.write(ctx, rest.Request{
		Method: http.MethodPost, Path: "/api/v2/tickets.json", In: map[string]ticket{"ticket": in},
		Header: http.Header{"Idempotency-Key": {t.Key}}, Bucket: "ticket-request-create-by-user-and-ip",
	}, func(a answer) json.Number { return a.Ticket.ID })
	return s.ref(id), err
}

// user returns the id of who, made at the desk if need be.
func (s *sink) user(ctx context.Context, who userIn) (json.Number, error) {
	who.SkipVerify = true
	return s.users.Get(who, func() (json.Number, error) {
		return s.write(ctx, rest.Request{
			Method: http.MethodPost, Path: "/api/v2/users/create_or_update.json", In: map[string]userIn{"user": who}, Bucket: "users",
		}, func(a answer) json.Number { return a.User.ID })
	})
}

func (s *sink) Append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	in := ticket{Comment: &comment{Public: c.Visibility == schemas.Public}, Metadata: mark(c.Key)}
	in.Comment.Body, in.Comment.HTMLBody = s.change(&in, cmp.Or(c.Change, &schemas.Change{})).Body(c.Text, c.HTML)
	if c.Author.Role == schemas.ByRequester && c.Author.Requester != nil {
		id, err := s.user(ctx, newUser(*c.Author.Requester))
		if err != nil {
			return "", err
		}
		in.Comment.AuthorID = id
		in.Status = cmp.Or(in.Status, "open") // their comment does not reopen a solved ticket by itself
	}
	return s.put(ctx, ref, in)
}

// put updates a ticket and returns the id of the comment that came of it.
func (s *sink) put(ctx context.Context, ref schemas.Ref, in ticket) (string, error) {
	id, err := s.write(ctx, update(ref, in), func(a answer) json.Number { return json.Number(a.Audit.entry().ID) })
	return string(id), err
}

// Attach uploads the file and hangs it on a public comment of the requester,
// whose only text is the file's name.
func (s *sink) Attach(ctx context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	body, err := sinks.ReadFile(f, maxFile)
	if err != nil {
		return "", fault.NotDone(err)
	}
	now, err := s.call(ctx, rest.Request{Path: ticketPath(ref) + ".json"})
	if err != nil {
		return "", err
	}
	up, err := s.call(ctx, rest.Request{
		Method: http.MethodPost, Path: "/api/v2/uploads.json", Query: url.Values{"filename": {f.Name}},
		Body: body, Type: cmp.Or(f.Type, "application/octet-stream"),
	})
	if err != nil {
		return "", err
	}
	said := comment{Body: f.Name, Public: true, AuthorID: now.Ticket.RequesterID, Uploads: []string{up.Upload.Token}}
	return s.put(ctx, ref, ticket{Comment: &said, Metadata: mark(f.Key)})
}

func (s *sink) Update(ctx context.Context, ref schemas.Ref, ch schemas.Change) error {
	var in ticket
	if p := s.change(&in, &ch); len(p.Left) > 0 {
		return fault.Permanentf("zendesk has no %s", strings.Join(p.Left, ", "))
	}
	_, err := s.call(ctx, update(ref, in))
	return err
}

func (s *sink) Find(ctx context.Context, key string) ([]sinks.Candidate, error) {
	out, err := s.call(ctx, rest.Request{Path: "/api/v2/tickets.json?external_id=" + url.QueryEscape(key)})
	var found []sinks.Candidate
	for _, t := range out.Tickets { // in the order of their ids
		found = append(found, sinks.Candidate{Ref: s.ref(t.ID), Key: t.ExternalID})
	}
	return found, err
}

func (s *sink) Thread(ctx context.Context, ref schemas.Ref) ([]schemas.Comment, error) {
	var all []schemas.Comment
	err := s.pages(ctx, ticketPath(ref)+"/audits.json?", func(p answer) {
		for _, a := range p.Audits {
			if c := a.entry(); c.ID != "" {
				all = append(all, c)
			}
		}
	})
	return all, err
}

func (s *sink) Catalogue(ctx context.Context) (schemas.Catalogue, error) {
	var c schemas.Catalogue
	for _, path := range []string{"ticket_fields.json?", "groups.json?", "users.json?role[]=agent&role[]=admin&"} {
		if err := s.pages(ctx, "/api/v2/"+path, func(p answer) { p.collect(&c) }); err != nil {
			return schemas.Catalogue{}, err
		}
	}
	if err := s.names.Check(c); err != nil {
		s.env.Log.WarnContext(ctx, "names that the desk does not know go into the text", "err", err)
	}
	return c, nil
}

// pages reads a list by its cursor to the end. path ends with ? or &.
func (s *sink) pages(ctx context.Context, path string, each func(answer)) error {
	for next := path + "page[size]=100"; next != ""; {
		p, err := s.call(ctx, rest.Request{Path: next})
		if err != nil {
			return err
		}
		each(p)
		if next = ""; p.Meta.HasMore {
			next = path + "page[size]=100&page[after]=" + url.QueryEscape(p.Meta.AfterCursor)
		}
	}
	return nil
}

func (s *sink) ref(id json.Number) schemas.Ref {
	return schemas.Ref{ID: string(id), URL: s.cfg.BaseURL + "/agent/tickets/" + string(id)}
}

func ticketPath(r schemas.Ref) string { return "/api/v2/tickets/" + url.PathEscape(r.ID) }

func update(ref schemas.Ref, in ticket) rest.Request {
	return rest.Request{Method: http.MethodPut, Path: ticketPath(ref) + ".json", In: map[string]ticket{"ticket": in}, Bucket: "tickets-update"}
}
