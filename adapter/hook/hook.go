// Package hook is how deliveries come: what a delivery is, the ways to obtain
// one, the answer to it, and the checks that prove who sent it.
package hook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

// A Delivery is what a vendor handed over, as received, however it came.
type Delivery struct {
	// Method and URL are those of the request; URL is the public one, as the vendor
	// called it (scheme and host from public_url, path and query as received).
	Method string `json:"method"`
	URL    string `json:"url"`
	// Header has canonical keys.
	Header http.Header `json:"header,omitempty"`
	// Body is the raw body; nobody changes it.
	Body []byte `json:"body"`
	// Via says how it was obtained.
	Via Via `json:"via"`
	// ReceivedAt is when it reached us; code that needs "now" uses it.
	ReceivedAt time.Time `json:"received_at"`
}

// Query returns the parameters of the URL; of a URL that does not parse, none.
func (d Delivery) Query() url.Values {
	u, err := url.Parse(d.URL)
	if err != nil {
		return url.Values{}
	}
	return u.Query()
}

// Via is how a delivery was obtained.
type Via string

// Ways to obtain a delivery.
const (
	ViaWebhook Via = "webhook"
	ViaPoll    Via = "poll"
	ViaStream  Via = "stream"
)

// A Webhook is called by its vendor.
type Webhook interface {
	// Verify proves that the vendor sent d, or returns ErrUnverified (or a *Refused,
	// which is one); it runs before all else, handshakes too. ctx is for verifiers
	// that need the vendor's public keys.
	Verify(ctx context.Context, d Delivery) error
	// Answer returns what the vendor wants to hear; of a handshake (Drop) nothing is
	// kept, a bare "you have mail" (Wake) starts a Poll. It is given only after the
	// delivery is durable.
	Answer(d Delivery) Answer
}

// A Poller has to be asked. Poll returns the raw deliveries after cursor ("" at
// first: start from now) and the next cursor, which is stored once every
// delivery is durable.
type Poller interface {
	Poll(ctx context.Context, cursor string) (Page, error)
}

// A Registrar makes or renews what the vendor needs to call url: webhook, watch,
// subscription. It returns until when that lasts, zero for ever.
type Registrar interface {
	Register(ctx context.Context, url string) (until time.Time, err error)
}

// A Page is one answer to a Poll.
type Page struct {
	Deliveries []Delivery
	// Next is the cursor after Deliveries. More says that another Poll at once
	// would find more.
	Next string
	More bool
}

// An Answer is what a vendor hears.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Drop keeps nothing of the delivery: a handshake, a page that was only read.
	Drop bool
	// Wake starts a Poll of the same channel; implies Drop.
	Wake bool
}

// OK is an empty 200.
var OK = Answer{Status: http.StatusOK}

// Text returns an answer with a body of the given type.
func Text(status int, contentType, body string) Answer {
	return Answer{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)}
}

// ErrUnverified says that a delivery is not proven to come from its vendor. The
// host answers with the kind's refusal status, counts it and keeps nothing.
var ErrUnverified = errors.New("delivery is not verified")

// Refused is an ErrUnverified with an answer of its own, such as a form page
// that says what is missing.
type Refused struct {
	Answer Answer
	Reason string
}

// Refuse returns a Refused that gives its reason as plain text.
func Refuse(status int, reason string) error {
	return &Refused{Answer: Text(status, "text/plain", reason+"\n"), Reason: reason}
}

// Error gives the reason.
func (r *Refused) Error() string { return r.Reason }

// Is makes a Refused an ErrUnverified.
func (r *Refused) Is(target error) bool { return target == ErrUnverified }
