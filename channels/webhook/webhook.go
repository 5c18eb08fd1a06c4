// Package webhook takes messages as JSON from any system that can send it:
// plain, by a mapping of fields, and as CloudEvents 1.0
// (https://github.com/cloudevents/spec). The sender proves itself by Standard
// Webhooks (https://www.standardwebhooks.com), another HMAC, or a bearer token.
package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"switchboard/adapter/cloudevents"
	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// Kind is what the host needs to open a webhook.
var Kind = channels.Define("webhook",
	Config{
		HMAC: hook.HMAC{Header: "X-Hub-Signature-256", Prefix: "sha256=", Algorithm: "sha256"},
		Fields: Fields{
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
	// Secret is that of Standard Webhooks: whsec_… to sign with, or the sender's
	// public key whpk_….
	Secret secret.Secret `yaml:"secret"`
	// Token is sent as "Authorization: Bearer …".
	Token secret.Secret `yaml:"token"`
	// HMAC is any other signature over the body.
	HMAC hook.HMAC `yaml:"hmac"`
	// Fields says where a message's parts stand in the JSON, as dotted paths such as
	// data.items.0.text. The defaults are those of the canonical JSON.
	Fields Fields `yaml:"fields"`
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

// Fields are the paths of a message's parts.
type Fields struct {
	// ID is unique per message; the sender's retries repeat it.
	ID string `yaml:"id"`
	// Conversation joins messages; without it each is a conversation of its own.
	Conversation string `yaml:"conversation"`
	Text         string `yaml:"text"`
	Subject      string `yaml:"subject"`
	Name         string `yaml:"name"`
	Email        string `yaml:"email"`
	Phone        string `yaml:"phone"`
	// SentAt is a time as in RFC 3339, or in Unix seconds.
	SentAt string `yaml:"sent_at"`
	// Attachments is a list of objects with name, type, and url or data (base64).
	Attachments string `yaml:"attachments"`
}

type channel struct {
	cfg  Config
	name string
	http *http.Client
}

// A replier is a channel that knows where replies go.
type replier struct {
	*channel
	api *rest.Client
}

var _ interface {
	hook.Webhook
	channels.Fetcher
	channels.Sender
} = (*replier)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	errs := []error{cfg.HMAC.Check()}
	if set := slices.DeleteFunc([]secret.Secret{cfg.Secret, cfg.Token, cfg.HMAC.Secret}, secret.Secret.IsZero); len(set) != 1 {
		errs = append(errs, fmt.Errorf("secret, token, hmac.secret: want exactly one of them, so that nobody else can send; %d are set", len(set)))
	}
	if _, _, err := hook.StandardKey(cfg.Secret.Bytes()); err != nil {
		errs = append(errs, errors.New("secret: want whsec_ or whpk_ and base64"))
	}
	c := &channel{cfg: cfg, name: cmp.Or(cfg.Account, env.Name), http: env.HTTP}
	if cfg.ReplyURL == "" {
		return c, errors.Join(errs...)
	}
	if err := hook.SignStandardWebhook(cfg.ReplySecret.Bytes(), "", &hook.Delivery{Header: http.Header{}}); err != nil {
		errs = append(errs, errors.New("reply_secret: want whsec_ and base64, to sign what goes to reply_url"))
	}
	return &replier{channel: c, api: rest.New(env.HTTP, cfg.ReplyURL)}, errors.Join(errs...)
}

func (c *channel) Account() string { return c.name }

// Check has no call that only reads.
func (c *channel) Check(context.Context) error { return nil }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if _, ok := cloudevents.Handshake(d); ok {
		return nil // it asks whether events may be sent, and gets no more than a yes
	}
	if err := c.authenticate(d); err != nil {
		return err
	}
	switch mode := cloudevents.ModeOf(d); {
	case d.Method != http.MethodPost:
		return refuse(http.StatusMethodNotAllowed, "messages are posted")
	case mode == cloudevents.Unknown || mode == cloudevents.Batched && !c.cfg.Batch:
		return refuse(http.StatusUnsupportedMediaType, "this format of events is not taken")
	}
	return nil
}

func refuse(status int, reason string) error {
	return &hook.Refused{Answer: hook.Text(status, "text/plain", reason+"\n"), Reason: reason}
}

func (c *channel) authenticate(d hook.Delivery) error {
	switch {
	case !c.cfg.Secret.IsZero():
		return hook.StandardWebhook(c.cfg.Secret.Bytes(), d)
	case !c.cfg.HMAC.Secret.IsZero():
		return c.cfg.HMAC.Verify(d)
	}
	return hook.Bearer(c.cfg.Token, d)
}

func (c *channel) Answer(d hook.Delivery) hook.Answer {
	if a, ok := cloudevents.Handshake(d); ok {
		return a
	}
	return hook.Answer{Status: http.StatusAccepted}
}

// Fetch opens an attachment at the address that the sender gave.
func (c *channel) Fetch(ctx context.Context, ref string) (io.ReadCloser, error) {
	return rest.Fetch(ctx, c.http, ref)
}

func (r *replier) Send(ctx context.Context, reply schemas.Reply) (schemas.Receipt, error) {
	out := outgoing{Type: "reply", Reply: reply}
	for _, f := range reply.Files {
		data, err := content(f)
		if err != nil {
			return schemas.Receipt{}, fault.NotDone(fmt.Errorf("read file of reply: %w", err))
		}
		out.Attachments = append(out.Attachments, attachment{f.Name, f.Type, data})
	}
	out.Files = nil
	body, err := json.Marshal(out)
	if err != nil {
		return schemas.Receipt{}, fault.Permanentf("encode reply: %w", err)
	}
	d := hook.Delivery{Header: http.Header{}, Body: body, ReceivedAt: time.Now()}
	if err := hook.SignStandardWebhook(r.cfg.ReplySecret.Bytes(), reply.Key, &d); err != nil {
		return schemas.Receipt{}, fault.NotDone(fmt.Errorf("sign reply: %w", err))
	}
	var answer []byte
	req := rest.Request{Method: http.MethodPost, Header: d.Header, Body: body, Type: "application/json"}
	if _, err := r.api.Do(ctx, req, &answer); err != nil {
		return schemas.Receipt{}, fmt.Errorf("post reply: %w", err)
	}
	var said struct{ ID string }
	_ = json.Unmarshal(answer, &said) // a receiver need not say anything
	return schemas.Receipt{ID: cmp.Or(said.ID, reply.Key), State: schemas.Sent}, nil
}

// outgoing is what a receiver of replies gets.
type outgoing struct {
	Type string `json:"type"`
	schemas.Reply
	Attachments []attachment `json:"attachments,omitempty"`
}

type attachment struct {
	Name string `json:"name"`
	Type string `json:"type,omitempty"`
	Data []byte `json:"data"`
}

func content(f schemas.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
