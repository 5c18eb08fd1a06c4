// Package twilio is what the channels of one Twilio account have in common,
// whatever the product: credentials, signatures, the API, and how Twilio writes
// numbers and media. API version 2010-04-01: https://www.twilio.com/docs/usage/api
package twilio

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
)

const (
	// Host is where Twilio's API is.
	Host = "https://api.twilio.com"
	// Version begins the paths of the API.
	Version = "/2010-04-01/"
)

// An Account is one Twilio account in the configuration file.
type Account struct {
	// AccountSID is the account or sub-account that owns the number (AC…).
	AccountSID string `yaml:"account_sid" required:"true"`
	// AuthToken is that account's own token; it signs webhooks and opens the API.
	AuthToken secret.Secret `yaml:"auth_token" required:"true"`
	// PreviousAuthToken is accepted in signatures too while tokens are rotated.
	PreviousAuthToken secret.Secret `yaml:"previous_auth_token"`
	// BaseURL is where Twilio's API is.
	BaseURL string `yaml:"base_url"`
}

// A Client speaks to Twilio for one account. It has the methods of a channel
// that do not depend on the product.
type Client struct {
	account Account
	api     *rest.Client
}

// New returns a client that sends through h.
func New(h *http.Client, a Account) *Client {
	auth := rest.WithAuth(rest.Basic(a.AccountSID, a.AuthToken))
	return &Client{account: a, api: rest.New(h, a.BaseURL, auth, rest.WithWords(words), rest.WithVerdict(verdict))}
}

// Account is the account's SID.
func (c *Client) Account() string { return c.account.AccountSID }

// Check reads the account.
func (c *Client) Check(ctx context.Context) error {
	_, err := c.SDK(ctx).FetchAccount(c.account.AccountSID)
	return err
}

// Verify checks the signature of a webhook under the account's tokens.
func (c *Client) Verify(_ context.Context, d hook.Delivery) error {
	return Verify(d, c.account.AuthToken.Bytes(), c.account.PreviousAuthToken.Bytes())
}

// SDK binds Twilio's SDK to ctx, for its methods take none. The handler is made
// by hand because the SDK's own constructor reads the environment, and has no
// credentials because package rest adds them.
func (c *Client) SDK(ctx context.Context) *api.ApiService {
	own := &client.Client{Credentials: &client.Credentials{}, HTTPClient: &http.Client{Transport: c.api.Transport(ctx)}}
	own.SetAccountSid(c.account.AccountSID)
	return api.NewApiService(&client.RequestHandler{Client: own})
}

// Fetch downloads a media file or a recording by its path at Twilio's API, which
// redirects to a store that does not see the credentials.
func (c *Client) Fetch(ctx context.Context, ref string) (io.ReadCloser, error) {
	if !strings.HasPrefix(ref, Version) {
		return nil, fault.Permanentf("fetch media: the reference is not Twilio's")
	}
	return c.api.Open(ctx, ref)
}

// words finds Twilio's code and explanation in an error answer.
func words(body []byte) string {
	var e client.TwilioRestError
	if json.Unmarshal(body, &e) != nil || e.Code == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s", e.Code, e.Message)
}

// verdict tells refusals of one recipient or region, 21xxx, from those of the
// account, 20xxx and no code.
func verdict(err error) error {
	if s, ok := errors.AsType[*fault.Status](err); ok && s.Code == http.StatusForbidden && strings.HasPrefix(s.Words, "21") {
		return fault.Permanent(s)
	}
	return err
}

// Text is what the SDK points to, "" for nothing.
func Text(s *string) string { return *cmp.Or(s, new(string)) }
