package webhook

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"switchboard/adapter/callback"
	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
)

// sandboxSecret is for fakes that nobody configured; it protects nothing.
const sandboxSecret = "whsec_c3dpdGNoYm9hcmQgc2FuZGJveCByZWNlaXZlcg=="

// sign makes d a delivery back that Verify accepts, as of d.ReceivedAt.
func sign(c Config, d *hook.Delivery) {
	if d.Header == nil {
		d.Header = http.Header{}
	}
	sum := sha256.Sum256(d.Body)
	// A config with an unusable secret does not open, so none gets here.
	_ = hook.SignStandardWebhook(c.Secret.Bytes(), "msg_"+hex.EncodeToString(sum[:12]), d)
}

// fake is a receiver that does as the README asks: it checks the signature and
// answers a webhook-id that it has seen with what it said before.
type fake struct {
	secret  secret.Secret
	mu      sync.Mutex
	seen    map[string]answered
	tickets []sandbox.Ticket
	back    []hook.Delivery
	last    int
}

type answered struct {
	digest [sha256.Size]byte
	body   []byte
}

func newFake(c Config, _ *sandbox.Board) sandbox.Desk {
	if c.Secret.IsZero() {
		c.Secret = secret.Literal(sandboxSecret)
	}
	return &fake{secret: c.Secret, seen: map[string]answered{}}
}

// Settings are the keys under which the sink posts here.
func (f *fake) Settings(base string) map[string]string {
	return map[string]string{"url": base + "/tickets", "secret": f.secret.Reveal()}
}

// ServeHTTP takes one event.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	if err != nil {
		http.Error(w, "body is too large", http.StatusRequestEntityTooLarge)
		return
	}
	d := hook.Delivery{Header: r.Header, Body: body, ReceivedAt: time.Now()}
	if err := hook.StandardWebhook(f.secret.Bytes(), d); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	status, answer := f.take(r.Header.Get("Webhook-Id"), body)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(answer) // the caller is gone
}

func (f *fake) take(id string, body []byte) (int, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	digest := sha256.Sum256(body)
	if before, ok := f.seen[id]; ok {
		if before.digest != digest {
			return http.StatusUnprocessableEntity, []byte(`{"error":"this webhook-id came with other bytes before"}`)
		}
		return http.StatusOK, before.body
	}
	var e event
	if err := json.Unmarshal(body, &e); err != nil || e.Data.Ticket == nil {
		return http.StatusBadRequest, []byte(`{"error":"body is not an event"}`)
	}
	var answer []byte
	switch {
	case e.Type == "ticket.created" && e.Data.Ticket.Ticket != nil:
		answer = f.open(e.Data.Ticket)
	case e.Type == "comment.added" && e.Data.Comment != nil && e.Data.Comment.Comment != nil:
		i := f.index(e.Data.Ticket.ID)
		if i < 0 {
			return http.StatusNotFound, []byte(`{"error":"no such ticket"}`)
		}
		answer = f.append(i, e.Data.Comment)
	default:
		return http.StatusBadRequest, []byte(`{"error":"unknown type"}`)
	}
	f.seen[id] = answered{digest: digest, body: answer}
	return http.StatusCreated, answer
}

func (f *fake) open(t *ticket) []byte {
	opened := sandbox.Ticket{
		ID: f.next("R"), Key: t.Key, Subject: t.Subject, Status: "new",
		Requester: t.Requester.Label(), Queue: t.Queue, Tags: t.Tags,
	}
	opened.Comments = []sandbox.Comment{{ID: f.next("C"), Key: t.Key, Author: t.Requester.Label(), Text: t.Text, Public: true, Files: names(t.Files)}}
	f.tickets = append(f.tickets, opened)
	return fmt.Appendf(nil, `{"data":{"ticket":{"id":%q}}}`, opened.ID)
}

func (f *fake) append(i int, c *comment) []byte {
	author := cmp.Or(c.Author.Name, string(c.Author.Role))
	if c.Author.Requester != nil {
		author = c.Author.Requester.Label()
	}
	id := f.next("C")
	f.tickets[i].Comments = append(f.tickets[i].Comments, sandbox.Comment{
		ID: id, Key: c.Key, Author: author, Text: c.Text, Public: c.Visibility == schemas.Public, Files: names(c.Files),
	})
	if c.Change != nil && c.Change.Status != nil {
		f.tickets[i].Status = string(*c.Change.Status)
	}
	return fmt.Appendf(nil, `{"data":{"comment":{"id":%q}}}`, id)
}

func names(files []callback.File) (names []string) {
	for _, one := range files {
		names = append(names, one.Name)
	}
	return names
}

func (f *fake) next(letter string) string {
	f.last++
	return fmt.Sprintf("%s-%d", letter, f.last)
}

func (f *fake) index(id string) int {
	return slices.IndexFunc(f.tickets, func(t sandbox.Ticket) bool { return t.ID == id })
}

// Tickets returns the store.
func (f *fake) Tickets() []sandbox.Ticket {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := slices.Clone(f.tickets)
	for i := range all {
		all[i].Comments = slices.Clone(all[i].Comments)
	}
	return all
}

// Comment adds an agent's comment; Events then has it.
func (f *fake) Comment(ticket, agent, text string, public bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.index(ticket)
	if i < 0 {
		return ""
	}
	said := &newsComment{ID: f.next("C"), Author: agent, Body: text, Public: public}
	f.tickets[i].Comments = append(f.tickets[i].Comments, sandbox.Comment{ID: said.ID, Author: agent, Text: text, Public: public})
	body, _ := json.Marshal(news{RemoteID: ticket, Comment: said, OccurredAt: time.Now().UTC()}) // strings and a time cannot fail
	f.back = append(f.back, hook.Delivery{
		Method: http.MethodPost, Body: body, Via: hook.ViaWebhook, Header: http.Header{"Content-Type": {"application/json"}},
	})
	return said.ID
}

// Events returns what the receiver has to tell since the last call, unsigned and
// oldest first. It does not know where Switchboard is: whoever plays it signs and
// posts them.
func (f *fake) Events() []hook.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	back := f.back
	f.back = nil
	return back
}
