// Package form takes messages from people: on a page of its own, from forms of
// other sites, and as JSON.
//
// It has no vendor. The page works without JavaScript; with it, the script of
// the page also solves a proof of work. See README.md.
package form

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/gate"
	"switchboard/adapter/hook"
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
	pages  *template.Template
}

var _ hook.Webhook = (*channel)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	errs := cfg.Origins.Check()
	for _, name := range cfg.Require {
		if cfg.Fields.Of(name) == nil {
			errs = append(errs, fmt.Errorf("require: no field %q; there are %s", name, strings.Join(formdata.Known(), ", ")))
		}
	}
	if cfg.Thanks != "" && gate.Origin(cfg.Thanks) == "" {
		errs = append(errs, errors.New("thanks: want an address that begins with https://"))
	}
	if cfg.MinFill < 0 || cfg.MinFill > gate.Life/2 {
		errs = append(errs, fmt.Errorf("min_fill: want 0s to %s", gate.Life/2))
	}
	if !slices.Contains([]string{"off", "javascript", "required"}, cfg.Proof) {
		errs = append(errs, fmt.Errorf("proof_of_work: no %q; there are off, javascript, required", cfg.Proof))
	}
	return &channel{
		cfg: cfg, name: cmp.Or(cfg.Account, env.Name), public: env.Public,
		pages: template.Must(template.ParseFS(files, "form.html")),
		gate:  gate.Gate{Key: env.Key, MinFill: cfg.MinFill, Proof: cfg.Proof == "required"},
	}, errors.Join(errs...)
}

func (c *channel) Account() string { return c.name }

// Check has nobody to ask.
func (c *channel) Check(context.Context) error { return nil }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if d.Method != http.MethodPost {
		return nil // who only reads leaves nothing behind
	}
	s, err := c.read(d)
	why := c.gate.Check(s.Aside["sb_token"], s.Aside["sb_proof"], d.ReceivedAt)
	switch {
	case !c.cfg.Origins.Trust(d, c.public):
		return c.refuse(d, http.StatusForbidden, s, mistake{Reason: "origin_not_listed"})
	case errors.Is(err, formdata.ErrMediaType):
		return c.refuse(d, http.StatusUnsupportedMediaType, s, mistake{Reason: "media_type"})
	case err != nil:
		return c.refuse(d, http.StatusBadRequest, s, mistake{Reason: "unreadable"})
	case s.trapped():
		return nil // it hears what everybody hears
	case why != "":
		return c.refuse(d, http.StatusForbidden, s, mistake{Reason: string(why)})
	}
	var wrong []mistake
	for _, name := range formdata.Known() {
		value := strings.TrimSpace(s.Known[name])
		if needed := name == "message" || slices.Contains(c.cfg.Require, name); needed && value == "" {
			wrong = append(wrong, mistake{name, "missing"})
		} else if needed && name == "email" && !formdata.Reachable(value) {
			wrong = append(wrong, mistake{name, "not_an_address"})
		}
	}
	if len(wrong) > 0 {
		return c.refuse(d, http.StatusUnprocessableEntity, s, wrong...)
	}
	return nil
}

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	if d.Method != http.MethodPost {
		return channels.Parsed{Ignored: "not a submission"}, nil
	}
	s, err := c.read(d)
	if err != nil {
		return channels.Parsed{}, fault.Permanentf("read form: %w", err)
	}
	if s.trapped() {
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
	s := submission{Form: form, Answers: form.Sort(c.cfg.Fields, "sb_token", "sb_proof", "submission_id", "website", "_gotcha", "_honey")}
	s.id = s.identify(d)
	return s, nil
}

// trapped reports whether a field is filled in that people do not see. Other
// sites' forms may well ask for a website, so that is a trap on our page only.
func (s submission) trapped() bool {
	return s.Aside["_gotcha"] != "" || s.Aside["_honey"] != "" || s.Aside["website"] != "" && s.Aside["sb_token"] != ""
}

// identify returns the nonce of the page, the sender's own key, or a digest of
// all that was written and of the ten minutes in which it was.
func (s submission) identify(d hook.Delivery) string {
	if nonce, ok := gate.Nonce(s.Aside["sb_token"]); ok {
		return "page-" + nonce
	}
	if key := cmp.Or(s.Aside["submission_id"], d.Header.Get("Idempotency-Key")); key != "" {
		return "key-" + digest([]byte(key))
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d %q", d.ReceivedAt.Truncate(10*time.Minute).Unix(), s.Form.Fields)
	for _, f := range s.Files {
		fmt.Fprintf(h, " %q %x", f.Name, sha256.Sum256(f.Data))
	}
	return "same-" + digest(h.Sum(nil))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Reference is what the requester may quote.
func (s submission) Reference() string {
	sum := sha256.Sum256([]byte(s.id))
	text := base32.StdEncoding.EncodeToString(sum[:])
	return text[:4] + "-" + text[4:8]
}
