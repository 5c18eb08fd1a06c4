// Package twiliosms receives SMS and MMS from Twilio's webhooks, makes up for
// lost ones by reading the message list, and sends replies through the Messages
// resource. API version 2010-04-01: https://www.twilio.com/docs/messaging/api/message-resource
package twiliosms

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/twilio"
	"switchboard/channels"
	"switchboard/schemas"
)

// Kind is what the host needs to open a Twilio channel. Twilio hardly repeats a
// webhook that was not taken: Retries is false, and the poll is what protects.
var Kind = channels.Define("twilio-sms", Config{
	Account: twilio.Account{BaseURL: twilio.Host}, Poll: true,
	ConsentWords: strings.Fields("STOP STOPALL UNSUBSCRIBE CANCEL END QUIT REVOKE OPTOUT START UNSTOP HELP"),
}, open, channels.Traits[Config]{
	MaxText: 1600, RefuseStatus: http.StatusForbidden, Reply: channels.Blind,
	PollEvery: 10 * time.Minute, Polls: func(c Config) bool { return c.Poll && c.From != "" },
	Sign: sign, Sample: sample, Fake: newFake,
})

// Config is one Twilio number, or one messaging service, in the configuration file.
type Config struct {
	twilio.Account
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
}

type channel struct {
	*twilio.Client
	cfg    Config
	public string
}

var _ interface {
	hook.Webhook
	hook.Poller
	channels.Sender
	channels.Fetcher
} = (*channel)(nil)

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	return &channel{Client: twilio.New(env.HTTP, cfg.Account), cfg: cfg, public: env.Public}, nil
}

// Answer is an empty document: anything else would go to the customer as an SMS.
func (c *channel) Answer(hook.Delivery) hook.Answer {
	return hook.Text(http.StatusOK, "text/xml", "<Response></Response>")
}

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	form, err := twilio.Read(d)
	if err != nil {
		return channels.Parsed{}, err
	}
	get, word := form.Get, strings.TrimSpace(form.Get("Body"))
	from, status := twilio.Address(get("From")), cmp.Or(get("MessageStatus"), get("SmsStatus"))
	consents := slices.ContainsFunc(c.cfg.ConsentWords, func(w string) bool { return strings.EqualFold(w, word) })
	switch {
	case get("MessageSid") == "" || from == "" || get("To") == "":
		return channels.Parsed{Ignored: "not a message: sid or a number is missing, as in calls and event streams"}, nil
	case d.Via != hook.ViaPoll && status != "" && status != "received" && status != "receiving":
		return receipt(get("MessageSid"), status, get("ErrorCode")), nil
	case get("OptOutType") != "" || consents && get("NumMedia") <= "0":
		return channels.Parsed{Ignored: "consent: " + strings.ToUpper(cmp.Or(get("OptOutType"), word)) + ", answered by Twilio"}, nil
	}
	m := schemas.Message{
		VendorID: get("MessageSid"), Conversation: twilio.Address(get("To")) + "|" + from,
		Requester: twilio.Requester(from, get("ProfileName")), Text: get("Body"), Attachments: form.Media(),
	}
	if sent, err := time.Parse(time.RFC1123Z, get("DateSent")); err == nil { // only the list says
		m.SentAt = sent.UTC()
	}
	if n, _ := strconv.Atoi(get("NumMedia")); n > len(m.Attachments) {
		m.Degraded = []string{fmt.Sprintf("%d of %d files are no longer at Twilio", n-len(m.Attachments), n)}
	}
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

// Poll reads the messages to From since the cursor, a time, less five minutes, for
// the list lags behind the webhooks.
func (c *channel) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	window, now := hook.Window{Overlap: 5 * time.Minute, Most: 6 * time.Hour}, time.Now().UTC().Truncate(time.Second)
	since, until, page := window.Span(cursor, now)
	q := (&api.ListMessageParams{}).SetTo(c.cfg.From).SetDateSentAfter(since).SetPageSize(500)
	if page.More {
		q.SetDateSentBefore(until)
	}
	list, err := c.SDK(ctx).ListMessage(q)
	if err != nil {
		return hook.Page{}, fmt.Errorf("list messages: %w", err)
	}
	for _, m := range slices.Backward(list) { // the newest is first
		if twilio.Text(m.Direction) != "inbound" || twilio.Text(m.Status) == "receiving" {
			continue
		}
		var media []api.ApiV2010Media
		if n := twilio.Text(m.NumMedia); n != "" && n != "0" {
			if media, err = c.SDK(ctx).ListMedia(twilio.Text(m.Sid), nil); err != nil {
				return hook.Page{}, fmt.Errorf("list media: %w", err)
			}
		}
		page.Deliveries = append(page.Deliveries, hook.Delivery{
			Method: http.MethodPost, URL: twilio.Host + twilio.Text(m.Uri), Body: listed(m, media), Via: hook.ViaPoll, ReceivedAt: now,
		})
	}
	return page, nil
}

// Send answers from the number that the customer wrote to.
func (c *channel) Send(ctx context.Context, r schemas.Reply) (schemas.Receipt, error) {
	ours, theirs, _ := strings.Cut(r.Conversation, "|")
	if twilio.Phone(theirs) == "" || len(r.Files) > 0 {
		return schemas.Receipt{}, fault.Permanentf("create message: short codes and names cannot be answered, and files cannot be sent")
	}
	p := (&api.CreateMessageParams{}).SetFrom(ours).SetTo(theirs).SetBody(r.Text)
	if c.cfg.MessagingServiceSID != "" {
		p.SetMessagingServiceSid(c.cfg.MessagingServiceSID)
	}
	if c.public != "" {
		p.SetStatusCallback(c.public)
	}
	m, err := c.SDK(ctx).CreateMessage(p)
	if err != nil {
		return schemas.Receipt{}, fmt.Errorf("create message: %w", err)
	}
	return schemas.Receipt{ID: twilio.Text(m.Sid), State: schemas.Sent}, nil
}

// receipt reads a status callback on a reply of ours.
func receipt(sid, status, code string) channels.Parsed {
	r := schemas.Receipt{ID: sid}
	switch status {
	case "sent", "delivered", "read":
		r.State = schemas.ReceiptState(status)
	case "failed", "undelivered", "canceled":
		r.State, r.Reason = schemas.Failed, strings.TrimSpace(status+" "+code)
	default:
		return channels.Parsed{Ignored: "a reply on its way: " + status}
	}
	return channels.Parsed{Receipts: []schemas.Receipt{r}}
}

// listed writes a message of the list as the webhook would have sent it, so that
// both are read in one way.
func listed(m api.ApiV2010Message, media []api.ApiV2010Media) []byte {
	form := url.Values{
		"MessageSid": {twilio.Text(m.Sid)}, "From": {twilio.Text(m.From)}, "To": {twilio.Text(m.To)}, "Body": {twilio.Text(m.Body)},
		"NumMedia": {twilio.Text(m.NumMedia)}, "SmsStatus": {twilio.Text(m.Status)}, "DateSent": {twilio.Text(m.DateSent)},
	}
	for i, f := range media {
		form.Set(fmt.Sprintf("MediaUrl%d", i), twilio.Host+strings.TrimSuffix(twilio.Text(f.Uri), ".json"))
		form.Set(fmt.Sprintf("MediaContentType%d", i), twilio.Text(f.ContentType))
	}
	return []byte(form.Encode())
}
