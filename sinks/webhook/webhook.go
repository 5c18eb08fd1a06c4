// Package webhook posts tickets and comments to any address, signed by the
// Standard Webhooks scheme (https://www.standardwebhooks.com, specification 1.0.0),
// and takes the receiver's changes back under the same signature. A repeat carries
// the same webhook-id and the same bytes, so that the receiver can drop it.
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"text/template"
	"time"

	"switchboard/adapter/callback"
	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/jsonpath"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

// Kind is what the host needs to open a webhook sink.
var Kind = sinks.Define("webhook", Config{ContentType: "application/json"}, open, sinks.Traits[Config]{
	Create: sinks.ReceiverDedup, Append: sinks.ReceiverDedup,
	MaxFile: maxFiles, Sign: sign, Fake: newFake,
})

// Config is one webhook sink in the configuration file.
type Config struct {
	// URL is where tickets and comments are posted.
	URL string `yaml:"url" required:"true"`
	// Secret signs what is posted and what comes back: "whsec_" and base64 of 24 to
	// 64 random bytes, the same at both ends.
	Secret secret.Secret `yaml:"secret" required:"true"`
	// Token is sent as a bearer token, for receivers behind a gateway that wants one.
	Token secret.Secret `yaml:"token"`
	// Headers are sent with every request; values may be references to secrets.
	Headers map[string]secret.Secret `yaml:"headers"`
	// IDPath says where the receiver's answer holds its id of the ticket, as names
	// with dots between them. Without it data.ticket.id is tried, then id, then the
	// header Location.
	IDPath string `yaml:"id_path"`
	// Body is a Go text/template that makes the body from .Type, .Timestamp and
	// .Data, with the helpers toJSON and truncate; without it the body is the
	// canonical JSON.
	Body string `yaml:"body"`
	// ContentType is the media type of Body.
	ContentType string `yaml:"content_type"`
}

type sink struct {
	cfg    Config
	to     *callback.Receiver
	header http.Header
	paths  []string
	body   *template.Template
}

var _ interface {
	sinks.Sink
	sinks.Source
	hook.Webhook
} = (*sink)(nil)

func open(cfg Config, env sinks.Env) (sinks.Sink, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, errors.New("url: want an address that begins with https:// or http://")
	}
	if u.User != nil {
		return nil, errors.New("url: credentials in an address end up in logs; use token or headers")
	}
	options := []rest.Option{rest.WithVerdict(verdict)}
	if !cfg.Token.IsZero() {
		options = append(options, rest.WithAuth(rest.Bearer(cfg.Token)))
	}
	to, err := callback.New(rest.WithoutRedirects(env.HTTP), cfg.URL, cfg.Secret, options...)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	s := &sink{cfg: cfg, to: to, header: http.Header{}, paths: []string{"data.ticket.id", "id"}}
	for name, value := range cfg.Headers {
		s.header.Set(name, value.Reveal())
	}
	if cfg.IDPath != "" {
		s.paths = []string{cfg.IDPath}
	}
	if cfg.Body != "" {
		if s.body, err = parseTemplate(cfg.Body); err != nil {
			return nil, fmt.Errorf("body: %w", err)
		}
	}
	return s, nil
}

// verdict: whoever answers so wants the configuration corrected, so that the sink
// pauses and no message dies.
func verdict(err error) error {
	switch code := fault.StatusCode(err); {
	case code == http.StatusGone:
		return fault.Auth(errors.New("the receiver answered 410: it wants no more"))
	case code >= 300 && code < 400:
		return fault.Auth(fmt.Errorf("the receiver answered %d: redirects are not followed, correct the url", code))
	}
	return err
}

// Check asks the address for an answer. A receiver need not know GET: only
// refused credentials, 410 and no answer at all speak against it.
func (s *sink) Check(ctx context.Context) error {
	_, _, err := s.to.Call(ctx, rest.Request{Method: http.MethodGet, Header: s.header})
	if fault.IsPermanent(err) {
		return nil
	}
	return err
}

// Create posts ticket.created, files inside.
func (s *sink) Create(ctx context.Context, t schemas.Ticket) (schemas.Ref, error) {
	files, err := callback.Pack(t.Files, maxFiles)
	if err != nil {
		return schemas.Ref{}, fmt.Errorf("create ticket: %w", err)
	}
	answer, header, err := s.post(ctx, t.Key, event{
		Type: "ticket.created", Timestamp: t.ReceivedAt.UTC(),
		Data: data{Ticket: &ticket{Ticket: &t, Files: files}},
	})
	if err != nil {
		return schemas.Ref{}, fmt.Errorf("create ticket: %w", err)
	}
	ref := s.ref(answer, header)
	ref.ID = cmp.Or(ref.ID, t.Key)
	return ref, nil
}

// Append posts comment.added, files inside.
func (s *sink) Append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	files, err := callback.Pack(c.Files, maxFiles)
	if err != nil {
		return "", fmt.Errorf("append comment: %w", err)
	}
	if _, _, err = s.post(ctx, c.Key, event{
		Type: "comment.added", Timestamp: c.At.UTC(),
		Data: data{Ticket: &ticket{ID: ref.ID, URL: ref.URL}, Comment: &comment{Comment: &c, Files: files}},
	}); err != nil {
		return "", fmt.Errorf("append comment: %w", err)
	}
	return c.Key, nil
}

func (s *sink) post(ctx context.Context, key string, e event) ([]byte, http.Header, error) {
	body, err := s.encode(e)
	if err != nil {
		return nil, nil, err
	}
	kind := "application/json"
	if s.body != nil {
		kind = s.cfg.ContentType
	}
	answer, header, err := s.to.Post(ctx, key, rest.Request{Header: s.header, Body: body, Type: kind})
	if fault.StatusCode(err) == http.StatusConflict && s.ref(answer, nil).ID != "" {
		return answer, header, nil // it is there already
	}
	return answer, header, err
}

// ref reads the receiver's id of the ticket from its answer.
func (s *sink) ref(answer []byte, header http.Header) schemas.Ref {
	var ref schemas.Ref
	for _, p := range s.paths {
		if ref.ID = jsonpath.Open(answer).Word(p); ref.ID != "" {
			break
		}
	}
	base, _ := url.Parse(s.cfg.URL) // open has parsed it before
	where, err := base.Parse(header.Get("Location"))
	if err != nil || header.Get("Location") == "" {
		return ref
	}
	ref.URL = where.String()
	if ref.ID == "" && s.cfg.IDPath == "" {
		ref.ID = strings.Trim(path.Base(where.Path), "/.")
	}
	return ref
}

// Verify accepts what is signed with the secret and fresh.
func (s *sink) Verify(_ context.Context, d hook.Delivery) error {
	return hook.StandardWebhook(s.cfg.Secret.Bytes(), d)
}

// Answer is an empty 200.
func (s *sink) Answer(hook.Delivery) hook.Answer { return hook.OK }

// news is what a receiver posts back.
type news struct {
	// ExternalKey is our key of the ticket, for receivers that gave it no id.
	ExternalKey string         `json:"external_key,omitempty"`
	RemoteID    string         `json:"remote_id,omitempty"`
	Status      schemas.Status `json:"status,omitempty"`
	Comment     *newsComment   `json:"comment,omitempty"`
	OccurredAt  time.Time      `json:"occurred_at,omitzero"`
}

type newsComment struct {
	ID string `json:"id,omitempty"`
	// Key is ours where the receiver mirrors what we said.
	Key    string `json:"key,omitempty"`
	Author string `json:"author,omitempty"`
	Body   string `json:"body"`
	Public bool   `json:"public"`
}

// Parse reads what the receiver posted back. A status that is none of ours is
// left alone; a comment without an id has that of its delivery.
func (s *sink) Parse(d hook.Delivery) (sinks.Changes, error) {
	var n news
	if err := json.Unmarshal(d.Body, &n); err != nil {
		return sinks.Changes{}, fault.Permanentf("decode change: %w", err)
	}
	ref := schemas.Ref{ID: cmp.Or(n.RemoteID, n.ExternalKey)}
	if ref.ID == "" {
		return sinks.Changes{}, fault.Permanentf("decode change: neither remote_id nor external_key is set")
	}
	when := n.OccurredAt.UTC()
	if when.IsZero() {
		when = d.ReceivedAt.UTC()
	}
	var c sinks.Changes
	if known(n.Status) {
		c.Tickets = []sinks.TicketChange{{Ticket: ref, Change: schemas.Change{Status: &n.Status}, At: when}}
	}
	if n.Comment != nil {
		id := cmp.Or(n.Comment.ID, hook.StandardID(d))
		if id == "" {
			return sinks.Changes{}, fault.Permanentf("decode change: the comment has no id")
		}
		c.Comments = []sinks.TicketComment{{Ticket: ref, Comment: schemas.Comment{
			ID: id, Key: n.Comment.Key, Text: n.Comment.Body, Visibility: sinks.Visibility(n.Comment.Public), At: when,
			Author: schemas.Author{Role: schemas.ByAgent, Name: n.Comment.Author},
		}}}
	}
	if c.Tickets == nil && c.Comments == nil {
		c.Ignored = "neither a comment nor a known status"
	}
	return c, nil
}

func known(s schemas.Status) bool {
	switch s {
	case schemas.StatusNew, schemas.StatusOpen, schemas.StatusPending, schemas.StatusOnHold, schemas.StatusSolved, schemas.StatusClosed:
		return true
	}
	return false
}
