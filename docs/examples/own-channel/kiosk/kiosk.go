// Package kiosk reads questions that customers type into the terminal beside the
// shop's counter. The terminal posts JSON and signs it with HMAC-SHA256.
package kiosk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// Kind is what the host needs to open a kiosk channel.
var Kind = channels.Define("kiosk", Config{}, open,
	channels.Traits[Config]{MaxBody: 64 << 10, Retries: true, Sign: sign, Sample: sample})

// Config is one kiosk in the configuration file.
type Config struct {
	// Terminal is the number on the terminal's label.
	Terminal string `yaml:"terminal" required:"true"`
	// Secret signs what the terminal posts; it is entered there once.
	Secret secret.Secret `yaml:"secret" required:"true"`
}

type channel struct{ cfg Config }

var _ hook.Webhook = (*channel)(nil)

func open(cfg Config, _ channels.Env) (channels.Channel, error) { return &channel{cfg: cfg}, nil }

// Account is the terminal's number.
func (c *channel) Account() string { return c.cfg.Terminal }

// Check has nothing to ask: the terminal cannot be called.
func (c *channel) Check(context.Context) error { return nil }

// Verify checks the signature of the raw body.
func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	return hook.HMACSHA256(c.cfg.Secret.Bytes(), d.Body, d.Header.Get("X-Kiosk-Signature"))
}

// Answer is an empty 200: the terminal then shows its thanks.
func (c *channel) Answer(hook.Delivery) hook.Answer { return hook.OK }

// A question is what the terminal posts. Visit is the same while one customer
// stands there.
type question struct {
	ID    string    `json:"id"`
	Visit string    `json:"visit"`
	Name  string    `json:"name"`
	Email string    `json:"email"`
	Text  string    `json:"text"`
	At    time.Time `json:"at,omitzero"`
	Kind  string    `json:"kind"`
}

// Parse makes one message of a question; the terminal's heartbeats are ignored.
func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	var q question
	if err := json.Unmarshal(d.Body, &q); err != nil {
		return channels.Parsed{}, fault.Permanentf("decode question: %w", err)
	}
	if q.Kind != "question" {
		return channels.Parsed{Ignored: "not a question"}, nil
	}
	if q.ID == "" || q.Visit == "" {
		return channels.Parsed{}, fault.Permanentf("question without id or visit")
	}
	m := schemas.Message{
		VendorID: q.ID, Conversation: q.Visit, SentAt: q.At.UTC(), Text: q.Text,
		Requester: schemas.Requester{Name: q.Name},
	}
	if q.Email != "" {
		m.Requester.Identities = []schemas.Identity{{Kind: schemas.Email, Value: q.Email, Evidence: schemas.Asserted}}
	}
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

func sign(c Config, d *hook.Delivery) {
	m := hmac.New(sha256.New, c.Secret.Bytes())
	m.Write(d.Body)
	d.Header.Set("X-Kiosk-Signature", hex.EncodeToString(m.Sum(nil)))
}

func sample(_ Config, s channels.Sample) hook.Delivery {
	body, _ := json.Marshal(question{ID: s.ID, Visit: s.From, Name: s.Name, Email: s.From, Text: s.Text, At: s.At, Kind: "question"}) // strings and a time always encode
	return hook.Delivery{Method: "POST", Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body, ReceivedAt: s.At}
}
