package rest

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"switchboard/adapter/fault"
	"switchboard/adapter/secret"
)

// Basic authenticates with a user name and a password (RFC 7617).
func Basic(user string, password secret.Secret) Auth {
	return static(func(r *http.Request) { r.SetBasicAuth(user, password.Reveal()) })
}

// Bearer authenticates with a fixed token (RFC 6750).
func Bearer(token secret.Secret) Auth {
	return static(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Reveal()) })
}

type static func(*http.Request)

func (s static) Apply(_ context.Context, r *http.Request) error { s(r); return nil }
func (static) Refused() bool                                    { return false }

// ClientCredentials obtains tokens by the OAuth 2.0 client credentials grant
// (RFC 6749 §4.4) and keeps each until shortly before it expires or is refused.
// Only one token is fetched at a time.
func ClientCredentials(h *http.Client, tokenURL, id string, password secret.Secret, scopes ...string) Auth {
	return &clientCredentials{http: h, config: clientcredentials.Config{
		ClientID: id, ClientSecret: password.Reveal(), TokenURL: tokenURL, Scopes: scopes,
		AuthStyle: oauth2.AuthStyleInParams,
	}}
}

type clientCredentials struct {
	http   *http.Client
	config clientcredentials.Config
	mu     sync.Mutex
	token  *oauth2.Token
}

func (c *clientCredentials) Apply(ctx context.Context, r *http.Request) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.token.Valid() {
		t, err := c.config.Token(context.WithValue(ctx, oauth2.HTTPClient, c.http))
		if err != nil {
			return judgeToken(err)
		}
		c.token = t
	}
	c.token.SetAuthHeader(r)
	return nil
}

func (c *clientCredentials) Refused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = nil
	return true
}

// judgeToken says what a refused token means without quoting the answer, which
// may hold the secret.
func judgeToken(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code := 0
		if e.Response != nil {
			code = e.Response.StatusCode
		}
		status := &fault.Status{Code: code, Words: e.ErrorCode}
		if code >= 400 && code < 500 && code != http.StatusTooManyRequests {
			return fault.Auth(status)
		}
		return fault.NotDone(status)
	}
	return fault.NotDone(scrub(err))
}
