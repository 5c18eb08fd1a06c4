// Package webhook takes messages as JSON from any system that can send it:
// plain, by a mapping of fields, and as CloudEvents 1.0
// (https://github.com/cloudevents/spec). The sender proves itself by Standard
// Webhooks (https://www.standardwebhooks.com), another HMAC, or a bearer token.
package webhook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"switchboard/adapter/callback"
	"switchboard/adapter/cloudevents"
	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
	"switchboard/adapter/jsonpath"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// maxFiles bounds the content of the files inside one reply, in bytes.
const maxFiles = 25 << 20

// Kind is what the host needs to open a webhook.
var Kind = channels.Define("webhook",
	Config{
		Proof: hook.Proof{HMAC: hook.HMAC{Header: "X-Hub-Signature-256", Prefix: "sha256=", Algorithm: "sha256"}},
		Fields: formdata.Paths{
			ID: "id", Conversation: "conversation", Text: "text", Subject: "subject", Name: "from.name",
			Email: "from.email", Phone: "from.phone", SentAt: "sent_at", Attachments: "attachments",
		},
	}, open,
	channels.Traits[Config]{
		MaxBody: 25 << 20, Reply: channels.Idempotent, Retries: true,
		Secrets: []string{"Authorization", "Webhook-Signature", "Svix-Signature", "X-Hub-Signature-256"},
		Sign:    sign, Sample: sample, Fake: newFake,
	})

// Config is one webhook in the configuration file. Exactly one of secret, token
// and hmac.secret says how the sender proves itself.
type Config struct {
	// Account keeps the ids of this webhook apart from those of others; by default
	// it is the channel's name. It must not change once messages have come.
	Account string `yaml:"account"`
	hook.Proof
	// Fields says where a message's parts stand in the JSON, as dotted paths such as
	// data.items.0.text. The defaults are those of the canonical JSON.
	Fields formdata.Paths `yaml:"fields"`
	// Extra are further paths, to be kept as fields of the message.
	Extra []string `yaml:"extra"`
	// Batch takes several CloudEvents in one delivery.
	Batch bool `yaml:"batch"`
	// Attested says that the sender has proven the addresses it tells us.
	Attested bool `yaml:"attested"`
	// ReplyURL is where agents' replies go, signed by Standard Webhooks; without it
	// there are none.
	ReplyURL string `yaml:"reply_url"`
	// ReplySecret signs replies: whsec_ and base64.
	ReplySecret secret.Secret `yaml:"reply_secret"`
}

type channel struct {
	cfg  Config
	name string
	http *http.Client
}

// A replier is a channel that knows where replies go.
type replier struct {
	*channel
	to *callback.Receiver
}

var _ interface {
	hook.Webhook
	channels.Fetcher
	channels.Sender
} = (*replier)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	c, bad := &channel{cfg: cfg, name: cmp.Or(cfg.Account, env.Name), http: env.HTTP}, cfg.Proof.Check()
	if cfg.ReplyURL == "" {
		return c, bad
	}
	to, err := callback.New(env.HTTP, cfg.ReplyURL, cfg.ReplySecret)
	if err != nil {
		bad = errors.Join(bad, fmt.Errorf("reply_secret: %w, to sign what goes to reply_url", err))
	}
	return &replier{channel: c, to: to}, bad
}

func (c *channel) Account() string { return c.name }

// Check has no call that only reads.
func (c *channel) Check(context.Context) error { return nil }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if _, ok := cloudevents.Handshake(d); ok {
		return nil // it asks whether events may be sent, and gets no more than a yes
	}
	if err := c.cfg.Proof.Verify(d); err != nil {
		return err
	}
	switch mode := cloudevents.ModeOf(d); {
	case d.Method != http.MethodPost:
		return hook.Refuse(http.StatusMethodNotAllowed, "messages are posted")
	case mode == cloudevents.Unknown || mode == cloudevents.Batched && !c.cfg.Batch:
		return hook.Refuse(http.StatusUnsupportedMediaType, "this format of events is not taken")
	}
	return nil
}

func (c *channel) Answer(d hook.Delivery) hook.Answer {
	if a, ok := cloudevents.Handshake(d); ok {
		return a
	}
	return hook.Answer{Status: http.StatusAccepted}
}

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	events, err := cloudevents.ReadAny(d)
	if err != nil {
		return channels.Parsed{}, fault.Permanentf("read delivery: %w", err)
	}
	var p channels.Parsed
	seen := map[string]bool{}
	for _, e := range events {
		m := c.message(d, e)
		if said := m.Text + m.Subject; !seen[m.VendorID] && (said != "" || len(m.Attachments) > 0) {
			p.Messages = append(p.Messages, m)
			seen[m.VendorID] = true
		}
	}
	if len(p.Messages) == 0 {
		p.Ignored = "no text, subject or attachment where the configuration says"
	}
	return p, nil
}

func (c *channel) message(d hook.Delivery, e cloudevents.Event) schemas.Message {
	doc := c.cfg.Fields.Read(e.Data, e.Time, c.cfg.Extra...)
	if top := jsonpath.Open(e.Data); top.Object == nil && top.List == nil && e.ID != "" {
		doc.Known["message"] = doc.Text(jsonpath.Text(e.Data)) // an event that is just a text
	}
	if e.Type != "" {
		doc.Others = append(doc.Others, schemas.Field{Name: "event", Value: doc.Line(e.Type)})
	}
	if c.cfg.Attested {
		doc.Evidence = schemas.Attested
	}
	// What the data of a CloudEvent calls its id may well come in another event too.
	id := cmp.Or(e.Key(), doc.ID, hook.StandardID(d), fmt.Sprintf("body %x", sha256.Sum256(d.Body)))
	m := doc.Message(id, doc.Answers)
	m.SentAt, m.Conversation = doc.SentAt, cmp.Or(doc.Conversation, e.Thread(), id)
	return m
}

// Fetch opens an attachment at the address that the sender gave.
func (c *channel) Fetch(ctx context.Context, ref string) (io.ReadCloser, error) {
	return rest.Fetch(ctx, c.http, ref)
}

func (r *replier) Send(ctx context.Context, reply schemas.Reply) (schemas.Receipt, error) {
	files, err := callback.Pack(reply.Files, maxFiles)
	if err != nil {
		return schemas.Receipt{}, fmt.Errorf("post reply: %w", err)
	}
	out := outgoing{Type: "reply", Reply: reply, Attachments: files}
	out.Files = nil
	answer, _, err := r.to.Post(ctx, reply.Key, rest.Request{In: out})
	if err != nil {
		return schemas.Receipt{}, fmt.Errorf("post reply: %w", err)
	}
	id := jsonpath.Word(jsonpath.Open(answer).At("id")) // a receiver need not say anything
	return schemas.Receipt{ID: cmp.Or(id, reply.Key), State: schemas.Sent}, nil
}

// outgoing is what a receiver of replies gets.
type outgoing struct {
	Type string `json:"type"`
	schemas.Reply
	Attachments []callback.File `json:"attachments,omitempty"`
}
