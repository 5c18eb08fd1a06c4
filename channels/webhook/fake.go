package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/channels"
	"switchboard/schemas"
)

// sign proves the sender in the way that cfg says. Under a public key it cannot.
func sign(cfg Config, d *hook.Delivery) {
	switch {
	case !cfg.Secret.IsZero():
		id := d.Header.Get("Webhook-Id")
		if id == "" {
			sum := sha256.Sum256(d.Body)
			id = "msg_" + hex.EncodeToString(sum[:8])
		}
		_ = hook.SignStandardWebhook(cfg.Secret.Bytes(), id, d) // unsigned is what it then stays
	case !cfg.HMAC.Secret.IsZero():
		cfg.HMAC.Sign(d)
	default:
		d.Header.Set("Authorization", "Bearer "+cfg.Token.Reveal())
	}
}

// canonical is the JSON that needs no mapping.
type canonical struct {
	ID           string    `json:"id"`
	Conversation string    `json:"conversation"`
	From         person    `json:"from"`
	Subject      string    `json:"subject,omitempty"`
	Text         string    `json:"text"`
	SentAt       time.Time `json:"sent_at,omitzero"`
}

type person struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
}

// sample is canonical JSON: a channel with paths of its own will not find all of it.
func sample(_ Config, from channels.Sample) hook.Delivery {
	who := person{Name: from.Name, Email: from.From}
	if !strings.Contains(from.From, "@") {
		who = person{Name: from.Name, Phone: from.From}
	}
	body, _ := json.Marshal(canonical{ // it always encodes
		ID: from.ID, Conversation: from.From, From: who, Subject: from.Subject, Text: from.Text, SentAt: from.At,
	})
	return hook.Delivery{
		Method: http.MethodPost, Body: body, Via: hook.ViaWebhook, ReceivedAt: from.At,
		Header: http.Header{"Content-Type": {"application/json"}},
	}
}

// fake receives replies, each key once.
type fake struct {
	mu   sync.Mutex
	sent []sandbox.Sent
}

const fakeSecret = "whsec_c2FuZGJveC1zZWNyZXQtb2YtdGhlLWZha2Uh"

func newFake(Config, *sandbox.Board) sandbox.Fake { return &fake{} }

// Settings lead replies to the fake.
func (f *fake) Settings(base string) map[string]string {
	return map[string]string{"reply_url": base + "/replies", "reply_secret": fakeSecret}
}

// Sent returns the replies, oldest first.
func (f *fake) Sent() []sandbox.Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

// ServeHTTP takes a reply whose signature is right.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	now := time.Now()
	d := hook.Delivery{Header: r.Header, Body: body, ReceivedAt: now}
	if err := hook.StandardWebhook([]byte(fakeSecret), d); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	var in schemas.Reply
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, "not a reply", http.StatusUnprocessableEntity)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.Header.Get("Webhook-Id")
	if !slices.ContainsFunc(f.sent, func(s sandbox.Sent) bool { return s.ID == id }) {
		f.sent = append(f.sent, sandbox.Sent{ID: id, Conversation: in.Conversation, Text: in.Text, At: now})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"id": id}) // the caller may be gone
}
