package rest

import (
	"context"
	"errors"
	"net/http"
	"time"

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
	config := clientcredentials.Config{
		ClientID: id, ClientSecret: password.Reveal(), TokenURL: tokenURL, Scopes: scopes,
		AuthStyle: oauth2.AuthStyleInParams,
	}
	return newTokens(func(ctx context.Context) (*oauth2.Token, error) {
		t, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, h))
		return t, judgeToken(err)
	})
}

// JSONCredentials is ClientCredentials for a vendor that documents its token
// address with a JSON body: grant is that body, secret and all.
func JSONCredentials(h *http.Client, tokenURL string, grant any) Auth {
	// What the vendor says to a refusal may quote the secret.
	client := New(h, tokenURL, WithWords(func([]byte) string { return "the token was refused" }))
	return newTokens(func(ctx context.Context) (*oauth2.Token, error) {
		var t struct {
			AccessToken string `json:"access_token"`
			ExpiresIn   int64  `json:"expires_in"`
		}
		if err := client.Post(ctx, "", grant, &t); err != nil {
			status, ok := errors.AsType[*fault.Status](err)
			if ok && status.Code >= 400 && status.Code < 500 && status.Code != http.StatusTooManyRequests {
				return nil, fault.Auth(status) // not permanent: it ends when the credentials are mended
			}
			return nil, fault.NotDone(err)
		}
		if t.AccessToken == "" {
			return nil, fault.NotDone(errors.New("the answer holds no token"))
		}
		token := &oauth2.Token{AccessToken: t.AccessToken, TokenType: "Bearer"}
		if t.ExpiresIn > 0 {
			token.Expiry = time.Now().Add(time.Duration(t.ExpiresIn) * time.Second)
		}
		return token, nil
	})
}

// tokens caches what fetch returns. busy is a lock whose wait ends with ctx, for
// a vendor may take long over a token.
type tokens struct {
	fetch func(context.Context) (*oauth2.Token, error)
	busy  chan struct{}
	token *oauth2.Token
}

func newTokens(fetch func(context.Context) (*oauth2.Token, error)) *tokens {
	return &tokens{fetch: fetch, busy: make(chan struct{}, 1)}
}

func (c *tokens) Apply(ctx context.Context, r *http.Request) error {
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.token.Valid() {
		t, err := c.fetch(ctx)
		if err != nil {
			return err
		}
		c.token = t
	}
	c.token.SetAuthHeader(r)
	return nil
}

func (c *tokens) Refused() bool {
	select {
	case c.busy <- struct{}{}:
		c.token = nil
		<-c.busy
	default: // another call is fetching a new one already
	}
	return true
}

// judgeToken says what a refused token means without quoting the answer, which
// may hold the secret.
func judgeToken(err error) error {
	if err == nil {
		return nil
	}
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
