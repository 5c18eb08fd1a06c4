// Package callback posts to an address that its owner has chosen, signed by the
// Standard Webhooks scheme (https://www.standardwebhooks.com). A repeat carries
// the same webhook-id and the same bytes, so that the receiver can drop it.
package callback

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
)

// A Receiver is such an address. It is safe for concurrent use.
type Receiver struct {
	http    *http.Client
	url     string
	secret  secret.Secret
	options []rest.Option
}

// New returns the receiver at url, which s signs for: "whsec_" and base64. The
// error says so of any other secret, with which nothing can be signed.
func New(h *http.Client, url string, s secret.Secret, options ...rest.Option) (*Receiver, error) {
	key, public, err := hook.StandardKey(s.Bytes())
	if err != nil || public || len(key) == 0 || !strings.HasPrefix(s.Reveal(), "whsec_") {
		return nil, errors.New(`want "whsec_" and base64`)
	}
	return &Receiver{http: h, url: url, secret: s, options: options}, nil
}

// Post sends req, of which In or Body, Type and Header count, under an id.
func (r *Receiver) Post(ctx context.Context, id string, req rest.Request) (answer []byte, header http.Header, err error) {
	if req.Body == nil {
		if req.Body, err = json.Marshal(req.In); err != nil {
			return nil, nil, fault.Permanentf("encode body: %w", err)
		}
		req.Type = "application/json"
	}
	d := hook.Delivery{Header: http.Header{}, Body: req.Body, ReceivedAt: time.Now()}
	maps.Copy(d.Header, req.Header)
	if err := hook.SignStandardWebhook(r.secret.Bytes(), id, &d); err != nil {
		return nil, nil, fault.Permanent(err)
	}
	req.Method, req.Header = http.MethodPost, d.Header
	return r.Call(ctx, req)
}

// Call sends req to the address, unsigned, and returns the answer's body even of
// a refusal.
func (r *Receiver) Call(ctx context.Context, req rest.Request) (answer []byte, header http.Header, err error) {
	kept := rest.WithWords(func(body []byte) string { answer = body; return "" })
	req.Path = r.url
	header, err = rest.New(r.http, r.url, append([]rest.Option{kept}, r.options...)...).Do(ctx, req, &answer)
	return answer, header, err
}
