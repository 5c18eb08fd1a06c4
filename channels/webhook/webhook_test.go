package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/channeltest"
	"switchboard/schemas"
)

// shopSecret is "lark-and-spar-hangar-7" as Standard Webhooks writes it.
const shopSecret = "whsec_bGFyay1hbmQtc3Bhci1oYW5nYXItNw=="

func config(change func(c *Config)) Config {
	cfg := *Kind.Config().(*Config)
	cfg.Batch = true
	cfg.Extra = []string{"order", "data.order", "from.tier"}
	change(&cfg)
	return cfg
}

func withToken(c *Config)  { c.Token = secret.Literal("token-of-the-shop") }
func withSecret(c *Config) { c.Secret = secret.Literal(shopSecret) }

func TestToken(t *testing.T)  { channeltest.Run(t, Kind, config(withToken)) }
func TestSecret(t *testing.T) { channeltest.Run(t, Kind, config(withSecret)) }

func TestHMAC(t *testing.T) {
	channeltest.Run(t, Kind, config(func(c *Config) { c.HMAC.Secret = secret.Literal("hmac-of-the-shop") }))
}

func TestReplies(t *testing.T) {
	channeltest.Run(t, Kind, config(func(c *Config) {
		withToken(c)
		c.ReplyURL, c.ReplySecret = "https://shop.example/replies", secret.Literal(shopSecret)
	}))
}

func FuzzParse(f *testing.F) { channeltest.FuzzParse(f, Kind, config(withToken)) }

func opened(t *testing.T, cfg Config, h *http.Client) channels.Channel {
	t.Helper()
	ch, err := Kind.Open(cfg, channeltest.Env(h))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return ch
}

func post(body string, header ...string) hook.Delivery {
	d := hook.Delivery{
		Method: http.MethodPost, URL: channeltest.Public, Header: http.Header{"Content-Type": {"application/json"}},
		Body: []byte(body), Via: hook.ViaWebhook, ReceivedAt: channeltest.Received(),
	}
	for i := 0; i < len(header); i += 2 {
		d.Header.Set(header[i], header[i+1])
	}
	return d
}

func one(t *testing.T, cfg Config, d hook.Delivery) schemas.Message {
	t.Helper()
	p, err := opened(t, cfg, nil).Parse(d)
	if err != nil || len(p.Messages) != 1 {
		t.Fatalf("parsed %+v, error %v, want one message", p, err)
	}
	return p.Messages[0]
}

func TestOpenWantsOneProof(t *testing.T) {
	t.Parallel()
	table := []struct {
		name   string
		change func(c *Config)
		want   string
	}{
		{"none", func(*Config) {}, "secret, token, hmac.secret: want exactly one"},
		{"two", func(c *Config) { withToken(c); withSecret(c) }, "2 are set"},
		{"secret", func(c *Config) { c.Secret = secret.Literal("whsec_%%%%") }, "secret: want whsec_"},
		{"algorithm", func(c *Config) { withToken(c); c.HMAC.Algorithm = "md5" }, "hmac: want"},
		{"replies", func(c *Config) { withToken(c); c.ReplyURL = "https://shop.example" }, "reply_secret: want"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := Kind.Open(config(row.change), channeltest.Env(nil))
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "%%%%") {
				t.Errorf("got %v, want something with %q and no secret", err, row.want)
			}
		})
	}
}

func TestOnlyConfiguredRepliesMakeASender(t *testing.T) {
	t.Parallel()
	if _, ok := opened(t, config(withToken), nil).(channels.Sender); ok {
		t.Error("without reply_url the channel is a Sender")
	}
	cfg := config(withToken)
	cfg.Account = "orders"
	if got := opened(t, cfg, nil).Account(); got != "orders" {
		t.Errorf("account %q, want orders", got)
	}
}

func TestVerifyRefusesWithItsOwnAnswer(t *testing.T) {
	t.Parallel()
	cfg := config(withToken)
	cfg.Batch = false
	ch := opened(t, cfg, nil).(hook.Webhook)
	for kind, want := range map[string]int{
		"application/cloudevents-batch+json": 415, "application/cloudevents+avro": 415, "application/cloudevents+json": 0,
	} {
		d := post("[]", "Content-Type", kind, "Authorization", "Bearer token-of-the-shop")
		refused, _ := errors.AsType[*hook.Refused](ch.Verify(t.Context(), d))
		if want == 0 != (refused == nil) || refused != nil && refused.Answer.Status != want {
			t.Errorf("%s: refused %+v, want %d", kind, refused, want)
		}
	}
	d := post("", "Authorization", "Bearer token-of-the-shop")
	d.Method = http.MethodGet
	if refused, ok := errors.AsType[*hook.Refused](ch.Verify(t.Context(), d)); !ok || refused.Answer.Status != http.StatusMethodNotAllowed {
		t.Errorf("GET: refused %+v, want 405", refused)
	}
	if err := ch.Verify(t.Context(), post("[]", "Content-Type", "application/cloudevents-batch+json")); errors.Is(err, &hook.Refused{}) || err == nil {
		t.Errorf("a stranger's batch: %v, want a plain refusal", err)
	}
}

func TestHandshakeIsAnsweredAndForgotten(t *testing.T) {
	t.Parallel()
	ch := opened(t, config(withToken), nil).(hook.Webhook)
	d := post("", "WebHook-Request-Origin", "events.example")
	d.Method = http.MethodOptions
	if err := ch.Verify(t.Context(), d); err != nil {
		t.Fatalf("verify: %v", err)
	}
	if a := ch.Answer(d); !a.Drop || a.Header.Get("WebHook-Allowed-Origin") != "events.example" {
		t.Errorf("answer %+v", a)
	}
	if a := ch.Answer(post("{}")); a.Drop || a.Status != http.StatusAccepted {
		t.Errorf("answer to a message %+v, want a 202", a)
	}
}

func TestMapping(t *testing.T) {
	t.Parallel()
	cfg := config(withToken)
	cfg.Attested = true
	cfg.Fields = formdata.Paths{
		ID: "data.ticket.nr", Conversation: "data.thread", Text: "data.parts.1.body", Subject: "data.title", Name: "who.0",
		Email: "who.1", Phone: "who.2", SentAt: "ts", Attachments: "data.files",
	}
	m := one(t, cfg, post(`{"ts":1773480000,"who":["Ines Falk","ines@falk.example","+4915510000017"],"data":{"order":1219,"title":"Petrel\nkit",
		"thread":42,"ticket":{"nr":7},"parts":[{"body":"no"},{"body":"In stock?"}],"files":[{"name":"a.txt","data":"aGk="}]}}`))
	if m.VendorID != "7" || m.Conversation != "42" || m.Text != "In stock?" || m.Subject != "Petrel kit" || !m.Requester.Attested() ||
		m.Requester.First(schemas.Phone) == "" || !m.SentAt.Equal(time.Unix(1773480000, 0)) || len(m.Attachments) != 1 ||
		schemas.FieldValue(m.Fields, "data.order") != "1219" {
		t.Errorf("got %+v", m)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	cfg := config(withToken)
	const event = `{"specversion":"1.0","id":"%s","source":"%s","type":"t","data":{"id":"7","text":"hi"}}`
	ce := func(id, source string) hook.Delivery {
		return post(fmt.Sprintf(event, id, source), "Content-Type", "application/cloudevents+json")
	}
	table := []struct {
		name string
		a, b hook.Delivery
		same bool
	}{
		{"an event again", ce("1", "/a"), ce("1", "/a"), true},
		{"an event of another source", ce("1", "/a"), ce("1", "/b"), false},
		{"another event with the same data", ce("1", "/a"), ce("2", "/a"), false},
		{"the mapped id", post(`{"id":"1","text":"a"}`), post(`{"id":"1","text":"b"}`, "Webhook-Id", "m2"), true},
		{"the webhook's id", post(`{"text":"a"}`, "Webhook-Id", "m1"), post(`{"text":"a"}`, "Webhook-Id", "m2"), false},
		{"the webhook's other name", post(`{"text":"a"}`, "Webhook-Id", "m1"), post(`{"text":"b"}`, "Svix-Id", "m1"), true},
		{"the body", post(`{"text":"a"}`), post(`{"text":"a"}`), true},
		{"another body", post(`{"text":"a"}`), post(`{"text":"b"}`), false},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if a, b := one(t, cfg, row.a).VendorID, one(t, cfg, row.b).VendorID; (a == b) != row.same {
				t.Errorf("ids %q and %q, want the same: %v", a, b, row.same)
			}
		})
	}
}

func TestThousandAttachments(t *testing.T) {
	t.Parallel()
	list := strings.TrimSuffix(strings.Repeat(`{"name":"a","data":"aGk="},`, 1000), ",")
	m := one(t, config(withToken), post(`{"id":"1","text":"many","attachments":[`+list+`]}`))
	if len(m.Attachments) != 100 || len(m.Degraded) != 1 {
		t.Errorf("%d attachments, degraded %q, want 100 and one note", len(m.Attachments), m.Degraded)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "jpeg") }))
	defer server.Close()
	m := one(t, config(withToken), post(`{"id":"1","text":"see","attachments":[{"name":"a.jpg","url":"`+server.URL+`/a.jpg"}]}`))
	r, err := opened(t, config(withToken), server.Client()).(channels.Fetcher).Fetch(t.Context(), m.Attachments[0].Ref)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "jpeg" {
		t.Errorf("fetched %q, error %v", b, err)
	}
}

func TestReplyCarriesItsFiles(t *testing.T) {
	t.Parallel()
	bodies := make(chan []byte, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		d := hook.Delivery{Header: r.Header, Body: b, ReceivedAt: time.Now()}
		if err = errors.Join(err, hook.StandardWebhook([]byte(shopSecret), d)); err != nil {
			t.Errorf("received: %v", err)
		}
		bodies <- b
	}))
	defer server.Close()
	cfg := config(withToken)
	cfg.ReplyURL, cfg.ReplySecret = server.URL, secret.Literal(shopSecret)
	sender := opened(t, cfg, server.Client()).(channels.Sender)
	reply := schemas.Reply{Key: "sb-1", Conversation: "42", Text: "Here it is.", Files: []schemas.File{{
		Name: "manual.txt", Type: "text/plain", Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("glue")), nil },
	}}}
	receipt, err := sender.Send(t.Context(), reply)
	if err != nil || receipt.ID != "sb-1" {
		t.Fatalf("receipt %+v, error %v, want our key where the receiver names no id", receipt, err)
	}
	var got outgoing
	if err := json.Unmarshal(<-bodies, &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "reply" || got.Text != reply.Text || got.Conversation != "42" || len(got.Attachments) != 1 || string(got.Attachments[0].Data) != "glue" {
		t.Errorf("received %+v", got)
	}
	reply.Files[0].Open = func() (io.ReadCloser, error) { return nil, os.ErrNotExist }
	if _, err := sender.Send(t.Context(), reply); !fault.IsNotDone(err) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that cannot be read: %v, want it not done", err)
	}
}

// TestVerifiesSharedVectors reads signatures that were computed by others.
func TestVerifiesSharedVectors(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "standard-webhooks", "vectors.json"))
	if err != nil {
		t.Skipf("the shared vectors are not beside the project: %v", err)
	}
	var all struct {
		Cases []struct {
			Name, Secret, Body string
			Now                int64
			Headers            map[string]string
			Valid              json.RawMessage
		}
	}
	if err := json.Unmarshal(file, &all); err != nil {
		t.Fatal(err)
	}
	for _, c := range all.Cases {
		valid, err := strconv.ParseBool(string(c.Valid))
		if err != nil || !strings.HasPrefix(c.Secret, "whsec_") {
			continue // a decision to take, or a secret that names no scheme
		}
		d := post(c.Body)
		d.ReceivedAt = time.Unix(c.Now, 0)
		for name, value := range c.Headers {
			d.Header.Set(name, value)
		}
		cfg := config(func(cfg *Config) { cfg.Secret = secret.Literal(c.Secret) })
		if err := opened(t, cfg, nil).(hook.Webhook).Verify(t.Context(), d); (err == nil) != valid {
			t.Errorf("%s: verify returned %v, want valid %v", c.Name, err, valid)
		}
	}
}
