// Package twiliosms receives SMS and MMS from Twilio's webhooks, makes up for
// lost ones by reading the message list, and sends replies through the Messages
// resource. API version 2010-04-01: https://www.twilio.com/docs/messaging/api/message-resource
package twiliosms

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

const (
	vendor = "https://api.twilio.com"
	// overlap is read again at every poll, for the list lags behind the webhooks.
	overlap = 5 * time.Minute
	// window bounds what one poll reads after a long absence.
	window = 6 * time.Hour
	// version begins the paths of the API.
	version = "/2010-04-01/"
)

// Kind is what the host needs to open a Twilio channel. Twilio hardly repeats a
// webhook that was not taken: Retries is false, and the poll is what protects.
var Kind = channels.Define("twilio-sms", Config{
	BaseURL: vendor, Poll: true,
	ConsentWords: strings.Fields("STOP STOPALL UNSUBSCRIBE CANCEL END QUIT REVOKE OPTOUT START UNSTOP HELP"),
}, open, channels.Traits[Config]{
	MaxText: 1600, RefuseStatus: http.StatusForbidden, Reply: channels.Blind,
	PollEvery: 10 * time.Minute, Polls: func(c Config) bool { return c.Poll && c.From != "" },
	Sign: sign, Sample: sample, Fake: newFake,
})

// Config is one Twilio number, or one messaging service, in the configuration file.
type Config struct {
	// AccountSID is the account or sub-account that owns the number (AC…).
	AccountSID string `yaml:"account_sid" required:"true"`
	// AuthToken is that account's own token; it signs webhooks and opens the API.
	AuthToken secret.Secret `yaml:"auth_token" required:"true"`
	// PreviousAuthToken is accepted in signatures too while tokens are rotated.
	PreviousAuthToken secret.Secret `yaml:"previous_auth_token"`
	// From is the number, such as +15005550006, whose messages are polled. Replies
	// leave from the number that the customer wrote to.
	From string `yaml:"from"`
	// MessagingServiceSID (MG…) lets a messaging service carry the replies.
	MessagingServiceSID string `yaml:"messaging_service_sid"`
	// Poll reads the message list of From every ten minutes, for webhooks that never
	// arrived; without From there is no poll.
	Poll bool `yaml:"poll"`
	// ConsentWords are the messages, one word and no more, that Twilio answers itself
	// as opt-out, opt-in or help; they become no tickets. Add here those that you
	// added in Twilio's Advanced Opt-Out.
	ConsentWords []string `yaml:"consent_words"`
	// BaseURL is where Twilio's API is.
	BaseURL string `yaml:"base_url"`
}

type channel struct {
	cfg    Config
	api    *rest.Client
	public string
}

var _ interface {
	hook.Webhook
	hook.Poller
	channels.Sender
	channels.Fetcher
} = (*channel)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	auth := rest.WithAuth(rest.Basic(cfg.AccountSID, cfg.AuthToken))
	return &channel{cfg: cfg, public: env.Public, api: rest.New(env.HTTP, cfg.BaseURL, auth, rest.WithWords(words))}, nil
}

func (c *channel) Account() string { return c.cfg.AccountSID }

func (c *channel) Check(ctx context.Context) error {
	_, err := c.sdk(ctx).FetchAccount(c.cfg.AccountSID)
	return err
}

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	return hook.Twilio(d, c.cfg.AuthToken.Bytes(), c.cfg.PreviousAuthToken.Bytes())
}

// Answer is an empty document: anything else would go to the customer as an SMS.
func (c *channel) Answer(hook.Delivery) hook.Answer {
	return hook.Text(http.StatusOK, "text/xml", "<Response></Response>")
}

// Poll reads the messages to From since the cursor, a time, less the overlap.
func (c *channel) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	now := time.Now().UTC().Truncate(time.Second)
	since, until := now, now
	if t, err := time.Parse(time.RFC3339, cursor); err == nil { // "" is from now
		since = t.Add(-overlap)
		if end := t.Add(window); end.Before(now) {
			until = end
		}
	}
	q := (&api.ListMessageParams{}).SetTo(c.cfg.From).SetDateSentAfter(since).SetPageSize(500)
	if until.Before(now) {
		q.SetDateSentBefore(until)
	}
	list, err := c.sdk(ctx).ListMessage(q)
	if err != nil {
		return hook.Page{}, fmt.Errorf("list messages: %w", err)
	}
	page := hook.Page{Next: until.Format(time.RFC3339), More: until.Before(now)}
	for _, m := range slices.Backward(list) { // the newest is first
		if text(m.Direction) != "inbound" || text(m.Status) == "receiving" {
			continue
		}
		var media []api.ApiV2010Media
		if n := text(m.NumMedia); n != "" && n != "0" {
			if media, err = c.sdk(ctx).ListMedia(text(m.Sid), nil); err != nil {
				return hook.Page{}, fmt.Errorf("list media: %w", err)
			}
		}
		page.Deliveries = append(page.Deliveries, hook.Delivery{
			Method: http.MethodPost, URL: vendor + text(m.Uri), Body: listed(m, media), Via: hook.ViaPoll, ReceivedAt: now,
		})
	}
	return page, nil
}

// Send answers from the number that the customer wrote to.
func (c *channel) Send(ctx context.Context, r schemas.Reply) (schemas.Receipt, error) {
	ours, theirs, _ := strings.Cut(r.Conversation, "|")
	if phone(theirs) == "" || len(r.Files) > 0 {
		return schemas.Receipt{}, fault.Permanentf("create message: short codes and names cannot be answered, and files cannot be sent")
	}
	p := (&api.CreateMessageParams{}).SetFrom(ours).SetTo(theirs).SetBody(r.Text)
	if c.cfg.MessagingServiceSID != "" {
		p.SetMessagingServiceSid(c.cfg.MessagingServiceSID)
	}
	if c.public != "" {
		p.SetStatusCallback(c.public)
	}
	m, err := c.sdk(ctx).CreateMessage(p)
	if s, ok := errors.AsType[*fault.Status](err); ok && s.Code == http.StatusForbidden && strings.HasPrefix(s.Words, "21") {
		err = fault.Permanent(s) // 21xxx is about one recipient or region; 20xxx, and no code, about us
	}
	if err != nil {
		return schemas.Receipt{}, fmt.Errorf("create message: %w", err)
	}
	return schemas.Receipt{ID: text(m.Sid), State: schemas.Sent}, nil
}

// Fetch downloads a media file by its path at Twilio's API, which redirects to a
// store that does not see the credentials.
func (c *channel) Fetch(ctx context.Context, ref string) (io.ReadCloser, error) {
	if !strings.HasPrefix(ref, version) {
		return nil, fault.Permanentf("fetch media: the reference is not Twilio's")
	}
	return c.api.Open(ctx, ref)
}

// sdk binds Twilio's SDK to ctx, for its methods take none. The handler is made
// by hand because the SDK's own constructor reads the environment, and has no
// credentials because package rest adds them.
func (c *channel) sdk(ctx context.Context) *api.ApiService {
	own := &client.Client{Credentials: &client.Credentials{}, HTTPClient: &http.Client{Transport: c.api.Transport(ctx)}}
	own.SetAccountSid(c.cfg.AccountSID)
	return api.NewApiService(&client.RequestHandler{Client: own})
}
