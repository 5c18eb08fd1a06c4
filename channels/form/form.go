// Package form takes messages from people: on a page of its own, from forms of
// other sites, and as JSON.
//
// It has no vendor. The page works without JavaScript; with it, the script of
// the page also solves a proof of work. See README.md.
package form

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/gate"
	"switchboard/adapter/hook"
	"switchboard/adapter/page"
	"switchboard/channels"
	"switchboard/schemas"
)

// Kind is what the host needs to open a form.
var Kind = channels.Define("form",
	Config{Title: "Ask us", Require: []string{"email"}, MinFill: 2 * time.Second, Proof: "javascript"}, open,
	channels.Traits[Config]{MaxBody: 26 << 20, Form: true, Sample: sample})

// Config is one form in the configuration file.
type Config struct {
	// Account keeps the ids of this form apart from those of others; by default it
	// is the channel's name. It must not change once messages have come.
	Account string `yaml:"account"`
	// Title is the heading of the page; Intro is the sentence below it.
	Title string `yaml:"title"`
	Intro string `yaml:"intro"`
	// Origins are the other sites whose pages may post here, such as
	// https://shop.example.
	Origins gate.Origins `yaml:"origins"`
	// Fields says how other sites' forms call what we know.
	Fields formdata.Names `yaml:"fields"`
	// Require names what must be filled in besides the message: email, name, phone,
	// subject.
	Require []string `yaml:"require"`
	// Thanks is the address to go to after sending; by default a page says that the
	// message has arrived.
	Thanks string `yaml:"thanks"`
	// MinFill is how long a person needs at least to fill in the page.
	MinFill time.Duration `yaml:"min_fill"`
	// Proof says who has to show a proof of work: nobody (off), pages that run
	// scripts (javascript), or everybody (required), which also shuts out posts
	// that do not come from the page.
	Proof string `yaml:"proof_of_work"`
}

type channel struct {
	cfg    Config
	name   string
	public string
	gate   gate.Gate
	page   *page.Page
}

//go:embed form.html form.js
var files embed.FS

var _ hook.Webhook = (*channel)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	g, err := gate.New(env.Key, cfg.MinFill, cfg.Proof)
	errs := slices.Concat(cfg.Origins.Check(), cfg.Fields.Check(cfg.Require), []error{err})
	if cfg.Thanks != "" && gate.Origin(cfg.Thanks) == "" {
		errs = append(errs, errors.New("thanks: want an address that begins with https://"))
	}
	name, shown := cmp.Or(cfg.Account, env.Name), page.Must(files, "form.html")
	return &channel{cfg: cfg, name: name, public: env.Public, gate: g, page: shown}, errors.Join(errs...)
}

func (c *channel) Account() string { return c.name }

// Check has nobody to ask.
func (c *channel) Check(context.Context) error { return nil }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if d.Method != http.MethodPost {
		return nil // who only reads leaves nothing behind
	}
	s, err := c.read(d)
	why := c.gate.Check(s.Aside[gate.TokenField], s.Aside[gate.ProofField], d.ReceivedAt)
	switch {
	case !c.cfg.Origins.Trust(d, c.public):
		return c.refuse(d, http.StatusForbidden, s, formdata.Mistake{Reason: "origin_not_listed"})
	case err != nil:
		status, mistake := formdata.Unreadable(err)
		return c.refuse(d, status, s, mistake)
	case gate.Trapped(s.Aside):
		return nil // it hears what everybody hears
	case why != "":
		return c.refuse(d, http.StatusForbidden, s, formdata.Mistake{Reason: string(why)})
	}
	if wrong := s.Wrong(c.cfg.Require); len(wrong) > 0 {
		return c.refuse(d, http.StatusUnprocessableEntity, s, wrong...)
	}
	return nil
}

func (c *channel) Answer(d hook.Delivery) hook.Answer {
	switch {
	case d.Method == http.MethodPost:
		s, _ := c.read(d) // Verify has read it without an error
		return c.thank(d, s)
	case d.Method == http.MethodOptions:
		return c.cfg.Origins.Preflight(d)
	case d.Query().Has("asset"):
		return c.page.Script("form.js")
	}
	a := c.show(d, http.StatusOK, view{})
	a.Drop = true
	return a
}

func (c *channel) thank(d hook.Delivery, s submission) hook.Answer {
	switch {
	case page.WantsJSON(d):
		return c.cfg.Origins.Allow(d, page.Accepted(s.id, s.Reference()))
	case c.cfg.Thanks != "":
		return hook.Answer{Status: http.StatusSeeOther, Header: http.Header{"Location": {c.cfg.Thanks}}}
	}
	return c.show(d, http.StatusOK, view{Sent: true, submission: s})
}

func (c *channel) refuse(d hook.Delivery, status int, s submission, wrong ...formdata.Mistake) error {
	a := c.show(d, status, view{Wrong: wrong, submission: s})
	if page.WantsJSON(d) {
		a = c.cfg.Origins.Allow(d, page.Problem{Title: "The message was not accepted.", Status: status, Errors: wrong}.Answer())
	}
	return &hook.Refused{Answer: a, Reason: fmt.Sprintf("form is refused with status %d: %s", status, wrong[0].Reason)}
}

// A view is what the page shows.
type view struct {
	Config
	submission
	Sent  bool
	Wrong formdata.Mistakes
	Token string
	Bits  int
}

// Needs reports whether a field has to be filled in.
func (v view) Needs(name string) bool { return name == "message" || slices.Contains(v.Require, name) }

// Input is how the page calls a field.
func (v view) Input(name string) string { return v.Config.Fields.Of(name)[0] }

func (c *channel) show(d hook.Delivery, status int, v view) hook.Answer {
	v.Config, v.Token, v.Bits = c.cfg, c.gate.Token(d.ReceivedAt), c.gate.Work()
	return c.page.Answer(status, v)
}

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	if d.Method != http.MethodPost {
		return channels.Parsed{Ignored: "not a submission"}, nil
	}
	s, err := c.read(d)
	if err != nil {
		return channels.Parsed{}, fault.Permanentf("read form: %w", err)
	}
	if gate.Trapped(s.Aside) {
		return channels.Parsed{Ignored: "honeypot"}, nil
	}
	m := s.Message(s.id, s.Answers)
	m.Fields = append(m.Fields, schemas.Field{Name: "reference", Value: s.Reference()})
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

// A submission is a form as somebody filled it in.
type submission struct {
	*formdata.Form
	formdata.Answers
	id string
}

func (c *channel) read(d hook.Delivery) (submission, error) {
	form, err := formdata.Read(d.Header.Get("Content-Type"), d.Body, c.cfg.Fields.Of("message")[0])
	if err != nil {
		return submission{}, err
	}
	a := form.Sort(c.cfg.Fields, gate.Fields()...)
	key := cmp.Or(a.Aside[gate.KeyField], d.Header.Get("Idempotency-Key"))
	id := gate.Identify(a.Aside[gate.TokenField], key, form.Sum, d.ReceivedAt)
	return submission{Form: form, Answers: a, id: id}, nil
}

// Reference is what the requester may quote.
func (s submission) Reference() string { return gate.Reference(s.id) }
