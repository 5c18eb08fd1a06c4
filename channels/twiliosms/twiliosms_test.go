package twiliosms

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twilio/twilio-go/client"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/channeltest"
	"switchboard/schemas"
)

// config is the shop's number, complete with the kind's defaults.
func config() Config {
	c := *Kind.Config().(*Config)
	c.AccountSID, c.AuthToken, c.From = "AC5b000000000000000000000000000001", secret.Literal("5ecretTokenOfTheShop"), "+4930901820"
	return c
}

func Test(t *testing.T) { channeltest.Run(t, Kind, config()) }

func FuzzParse(f *testing.F) { channeltest.FuzzParse(f, Kind, config()) }

// shop opens a channel on a fresh fake.
func shop(t *testing.T, change func(*Config)) (*channel, *fake) {
	t.Helper()
	cfg := config()
	twilio := newFake(cfg, nil).(*fake)
	server := httptest.NewServer(http.StripPrefix("/twilio", twilio))
	t.Cleanup(server.Close)
	cfg.BaseURL = server.URL + "/twilio/"
	if change != nil {
		change(&cfg)
	}
	ch, err := Kind.Open(cfg, channeltest.Env(server.Client()))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return ch.(*channel), twilio
}

func parse(t *testing.T, c *channel, d hook.Delivery) channels.Parsed {
	t.Helper()
	p, err := c.Parse(d)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return p
}

func TestFirstPollStartsFromNow(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	twilio.receive("+4915510000017", "before Switchboard came", time.Now().Add(-time.Hour))
	before := time.Now().UTC().Truncate(time.Second)
	page, err := c.Poll(t.Context(), "")
	if err != nil || len(page.Deliveries) != 0 {
		t.Fatalf("got %d deliveries, error %v, want none", len(page.Deliveries), err)
	}
	if next, err := time.Parse(time.RFC3339, page.Next); err != nil || next.Before(before) {
		t.Errorf("next cursor is %q, want a time not before %s", page.Next, before)
	}
}

func TestPollDeliversOldestFirstAndOverlaps(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	now := time.Now().UTC().Truncate(time.Second)
	for _, m := range []struct {
		text string
		ago  time.Duration
	}{{"too old", 2 * time.Hour}, {"in the overlap", 62 * time.Minute}, {"second", 30 * time.Minute}, {"third", time.Minute}} {
		twilio.receive("+4915510000017", m.text, now.Add(-m.ago))
	}
	if _, err := c.Send(t.Context(), schemas.Reply{Conversation: "+4930901820|+4915510000017", Text: "ours"}); err != nil {
		t.Fatalf("send: %v", err)
	}
	page, err := c.Poll(t.Context(), now.Add(-time.Hour).Format(time.RFC3339))
	if err != nil {
		t.Fatalf("poll: %v", err)
	}
	var got []string
	for _, d := range page.Deliveries {
		got = append(got, parse(t, c, d).Messages[0].Text)
	}
	if diff := cmp.Diff([]string{"in the overlap", "second", "third"}, got); diff != "" {
		t.Errorf("polled (-want +got):\n%s", diff)
	}
}

func TestPollAfterALongAbsenceGoesWindowByWindow(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	now := time.Now().UTC().Truncate(time.Second)
	twilio.receive("+4915510000017", "first night", now.Add(-25*time.Hour))
	twilio.receive("+4915510000017", "this morning", now.Add(-3*time.Hour))
	cursor, polls := now.Add(-26*time.Hour).Format(time.RFC3339), 0
	var got []string
	for more := true; more; polls++ {
		page, err := c.Poll(t.Context(), cursor)
		if err != nil {
			t.Fatalf("poll: %v", err)
		}
		for _, d := range page.Deliveries {
			got = append(got, parse(t, c, d).Messages[0].Text)
		}
		cursor, more = page.Next, page.More
	}
	if diff := cmp.Diff([]string{"first night", "this morning"}, got); diff != "" || polls != 5 {
		t.Errorf("%d polls, want 5 (-want +got):\n%s", polls, diff)
	}
}

func TestPollReadsEveryPage(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	now := time.Now()
	for range 1203 {
		twilio.receive("+4915510000017", "again", now)
	}
	page, err := c.Poll(t.Context(), now.UTC().Format(time.RFC3339))
	if err != nil || len(page.Deliveries) != 1203 {
		t.Errorf("got %d deliveries, error %v, want 1203", len(page.Deliveries), err)
	}
}

func TestPolledMessageIsTheWebhooks(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	now := time.Now()
	picture, sound := file{kind: "image/jpeg", data: []byte("jpeg")}, file{kind: "audio/amr", data: []byte("amr")}
	webhooks := []hook.Delivery{
		twilio.receive("+4915510000017", "Größe 2 + 3?\n🛩️ & more", now),
		twilio.receive("+4915510000017", "two files", now, picture, sound),
		twilio.receive("72345", "", now, picture),
	}
	page, err := c.Poll(t.Context(), now.UTC().Format(time.RFC3339))
	if err != nil || len(page.Deliveries) != len(webhooks) {
		t.Fatalf("got %d deliveries, error %v, want %d", len(page.Deliveries), err, len(webhooks))
	}
	for i, d := range page.Deliveries {
		want, got := parse(t, c, webhooks[i]).Messages, parse(t, c, d).Messages
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(schemas.Message{}, "SentAt")); diff != "" {
			t.Errorf("polled (-webhook +poll):\n%s", diff)
		}
		if got[0].SentAt.Unix() != now.Unix() {
			t.Errorf("polled message was sent at %s, want %s", got[0].SentAt, now)
		}
	}
}

func TestPolledConsentWordsStayIgnored(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, func(cfg *Config) { cfg.ConsentWords = []string{"genug"} })
	now := time.Now()
	twilio.receive("+4915510000017", "GENUG", now)
	page, err := c.Poll(t.Context(), now.UTC().Format(time.RFC3339))
	if err != nil || len(page.Deliveries) != 1 {
		t.Fatalf("got %d deliveries, error %v, want 1", len(page.Deliveries), err)
	}
	if p := parse(t, c, page.Deliveries[0]); p.Ignored != "consent: GENUG, answered by Twilio" {
		t.Errorf("got %+v, want it ignored as consent", p)
	}
}

func TestPollsOnlyWithANumber(t *testing.T) {
	t.Parallel()
	polls := Kind.Traits().Polls
	for _, row := range []struct {
		name string
		from string
		poll bool
		want bool
	}{{"number", "+4930901820", true, true}, {"no number", "", true, false}, {"switched off", "+4930901820", false, false}} {
		if got := polls(Config{From: row.from, Poll: row.poll}); got != row.want {
			t.Errorf("%s: polls is %v, want %v", row.name, got, row.want)
		}
	}
}

func TestSendAnswersFromTheNumberThatWasWrittenTo(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, func(cfg *Config) { cfg.MessagingServiceSID = "MG1" })
	receipt, err := c.Send(t.Context(), schemas.Reply{Conversation: "+4930111111|+4915510000017", Text: "It left today."})
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	sent := twilio.Sent()
	if len(sent) != 1 || sent[0].ID != receipt.ID || sent[0].Conversation != "+4930111111|+4915510000017" || receipt.State != schemas.Sent {
		t.Errorf("sent %+v with receipt %+v, want one from +4930111111", sent, receipt)
	}
	if twilio.messages[0].callback != channeltest.Public {
		t.Errorf("status callback is %q, want %q", twilio.messages[0].callback, channeltest.Public)
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	twilio.receive("+4915510000018", "STOP", time.Now())
	for _, row := range []struct {
		name, conversation, text, words string
		files                           []schemas.File
	}{
		{"short code", "+4930901820|72345", "hi", "cannot be answered", nil},
		{"name", "+4930901820|SHOP", "hi", "cannot be answered", nil},
		{"files", "+4930901820|+4915510000017", "hi", "files cannot be sent", []schemas.File{{Name: "a.pdf"}}},
		{"opted out", "+4930901820|+4915510000018", "hi", "21610", nil},
		{"too long", "+4930901820|+4915510000017", strings.Repeat("a", 1601), "21617", nil},
		{"region", "+4930901820|+19005550100", "hi", "21408", nil},
	} {
		_, err := c.Send(t.Context(), schemas.Reply{Conversation: row.conversation, Text: row.text, Files: row.files})
		if !fault.IsPermanent(err) || fault.IsAuth(err) || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: got %v, want a permanent error with %q", row.name, err, row.words)
		}
	}
	if n := len(twilio.Sent()); n != 0 {
		t.Errorf("%d messages were sent, want none", n)
	}
}

func TestWrongTokenIsAuth(t *testing.T) {
	t.Parallel()
	c, _ := shop(t, func(cfg *Config) { cfg.AuthToken = secret.Literal("anotherToken") })
	if err := c.Check(t.Context()); !fault.IsAuth(err) || !strings.Contains(err.Error(), "20003") {
		t.Errorf("got %v, want an auth error with Twilio's code", err)
	}
}

func TestNobodyListeningIsNotDone(t *testing.T) {
	t.Parallel()
	ch, err := Kind.Open(config(), channeltest.Env(&http.Client{Transport: refuser{}}))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	_, err = ch.(channels.Sender).Send(t.Context(), schemas.Reply{Conversation: "+4930901820|+4915510000017", Text: "hi"})
	if !fault.IsNotDone(err) || fault.IsPermanent(err) {
		t.Errorf("got %v, want not done, to be repeated", err)
	}
}

type refuser struct{}

func (refuser) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}

func TestFetchFollowsToTheStore(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	p := parse(t, c, twilio.receive("+4915510000017", "", time.Now(), file{kind: "image/png", data: []byte("a picture")}))
	r, err := c.Fetch(t.Context(), p.Messages[0].Attachments[0].Ref)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "a picture" {
		t.Errorf("got %q, error %v, want the picture", got, err)
	}
}

func TestFetchKeepsCredentialsFromTheStore(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	store := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))
	defer store.Close()
	elsewhere := strings.Replace(store.URL, "127.0.0.1", "localhost", 1)
	twilio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != config().AccountSID {
			t.Errorf("the API was asked as %q, want the account", user)
		}
		http.Redirect(w, r, elsewhere+"/object?signed=1", http.StatusTemporaryRedirect)
	}))
	defer twilio.Close()
	cfg := config()
	cfg.BaseURL = twilio.URL
	ch, err := Kind.Open(cfg, channeltest.Env(twilio.Client()))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	r, err := ch.(channels.Fetcher).Fetch(t.Context(), version+"Accounts/AC1/Messages/MM1/Media/ME1")
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	_ = r.Close()
	if h := <-seen; h.Get("Authorization") != "" {
		t.Error("the store saw the account's credentials")
	}
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	defer server.Close()
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case version + "moved":
			http.Redirect(w, r, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/store", http.StatusFound)
		case "/store", version + "forbidden":
			w.WriteHeader(http.StatusForbidden)
		case version + "busy":
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(http.StatusTooManyRequests)
		case version + "slow":
			<-r.Context().Done()
		default:
			http.NotFound(w, r)
		}
	})
	cfg := config()
	cfg.BaseURL = server.URL
	ch, err := Kind.Open(cfg, channeltest.Env(server.Client()))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	for _, row := range []struct {
		name, ref string
		holds     func(error) bool
	}{
		{"gone", version + "gone", fault.IsPermanent},
		{"refused by the API", version + "forbidden", fault.IsAuth},
		{"link of the store expired", version + "moved", func(err error) bool { return !fault.IsNotDone(err) }},
		{"busy", version + "busy", func(err error) bool { d, ok := fault.After(err); return ok && d == 9*time.Second }},
		{"another host", "https://evil.example/2010-04-01/x", fault.IsPermanent},
		{"a host by name", "@evil.example/", fault.IsPermanent},
	} {
		_, err := ch.(channels.Fetcher).Fetch(t.Context(), row.ref)
		if err == nil || !row.holds(err) {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ch.(channels.Fetcher).Fetch(ctx, version+"slow"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want context canceled", err)
	}
}

func TestPreviousTokenStillVerifies(t *testing.T) {
	t.Parallel()
	cfg := config()
	d := sample(cfg, channels.Sample{ID: "1", From: "+4915510000017", Text: "hi"})
	d.URL = channeltest.Public
	sign(cfg, &d)
	cfg.AuthToken, cfg.PreviousAuthToken = secret.Literal("theNewToken"), cfg.AuthToken
	c, _ := shop(t, func(c *Config) { c.AuthToken, c.PreviousAuthToken = cfg.AuthToken, cfg.PreviousAuthToken })
	if err := c.Verify(t.Context(), d); err != nil {
		t.Errorf("verify under the previous token: %v", err)
	}
}

func TestVerifyAgreesWithTheSDK(t *testing.T) {
	t.Parallel()
	cfg := config()
	c, _ := shop(t, nil)
	validator := client.NewRequestValidator(cfg.AuthToken.Reveal())
	for _, address := range []string{
		channeltest.Public, channeltest.Public + "?a=1&b=%20", "https://intake.shop.example:443/hooks/test", "https://intake.shop.example:8443/x",
		"http://intake.shop.example/x",
	} {
		for _, kind := range []string{"application/x-www-form-urlencoded", "application/json"} {
			d := hook.Delivery{
				Method: http.MethodPost, URL: address, Header: http.Header{"Content-Type": {kind}},
				Body: []byte(url.Values{"Body": {"1+1=2 & ünï"}, "From": {"+4915510000017"}, "Empty": {""}}.Encode()),
			}
			sign(cfg, &d)
			theirs := validator.ValidateBody(d.URL, d.Body, d.Header.Get("X-Twilio-Signature"))
			if err := c.Verify(t.Context(), d); err != nil || !theirs {
				t.Errorf("%s as %s: ours %v, theirs %v, want both to accept", address, kind, err, theirs)
			}
			d.Body = append(d.Body, '0')
			theirs = validator.ValidateBody(d.URL, d.Body, d.Header.Get("X-Twilio-Signature"))
			if err := c.Verify(t.Context(), d); !errors.Is(err, hook.ErrUnverified) || theirs {
				t.Errorf("%s as %s, altered: ours %v, theirs %v, want both to refuse", address, kind, err, theirs)
			}
		}
	}
}

func TestPlayedMessageIsFoundByPoll(t *testing.T) {
	t.Parallel()
	c, twilio := shop(t, nil)
	w := httptest.NewRecorder()
	form := url.Values{"From": {"+4915510000017"}, "Body": {"hello"}, "MediaType": {"image/png"}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_play", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	twilio.ServeHTTP(w, r)
	page, err := c.Poll(t.Context(), time.Now().UTC().Format(time.RFC3339))
	if err != nil || len(page.Deliveries) != 1 || len(parse(t, c, page.Deliveries[0]).Messages[0].Attachments) != 1 {
		t.Errorf("got %d deliveries, error %v, want the one with its picture", len(page.Deliveries), err)
	}
}

func TestFakeWithoutConfigurationSpeaksForItself(t *testing.T) {
	t.Parallel()
	settings := newFake(Config{}, sandbox.NewBoard(1)).Settings("http://127.0.0.1:9000/twilio")
	for _, key := range []string{"base_url", "account_sid", "auth_token", "from"} {
		if settings[key] == "" {
			t.Errorf("setting %s is empty", key)
		}
	}
}

// fixtures are samples of the vendor's that lie beside the repository.
func fixtures(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "twilio")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared fixtures beside the repository")
	}
	return dir
}

func TestSharedSamplesParse(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join(fixtures(t), "*.form"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("found %d samples, error %v", len(paths), err)
	}
	c, _ := shop(t, nil)
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("read sample: %v", err)
		}
		name := filepath.Base(path)
		p := parse(t, c, hook.Delivery{Method: http.MethodPost, URL: channeltest.Public, Body: []byte(strings.TrimSpace(string(body)))})
		kind := "ignored"
		switch {
		case len(p.Messages) == 1 && p.Messages[0].Requester.Attested():
			kind = "message"
		case len(p.Receipts) == 1:
			kind = "receipt"
		case p.Ignored == "":
			t.Errorf("%s is nothing and nobody says why", name)
		}
		want := map[string]string{"sms-opt": "ignored", "sms-": "message", "mms-": "message", "status-": "receipt", "voice-": "ignored"}
		for _, prefix := range []string{"sms-opt", "sms-", "mms-", "status-", "voice-"} {
			if strings.HasPrefix(name, prefix) {
				if kind != want[prefix] {
					t.Errorf("%s became %s, want %s", name, kind, want[prefix])
				}
				break
			}
		}
	}
}

func TestSharedSignatureVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(fixtures(t), "signature-vectors.json"))
	if err != nil {
		t.Fatalf("read vectors: %v", err)
	}
	var vectors []struct {
		Name      string `json:"name"`
		Token     string `json:"auth_token"`
		Method    string `json:"method"`
		URL       string `json:"url_called"`
		Type      string `json:"content_type"`
		Body      string `json:"body"`
		Signature string `json:"x_twilio_signature"`
		Valid     bool   `json:"valid"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("read %d vectors: %v", len(vectors), err)
	}
	for _, v := range vectors {
		c, _ := shop(t, func(cfg *Config) { cfg.AuthToken = secret.Literal(v.Token) })
		err := c.Verify(t.Context(), hook.Delivery{
			Method: v.Method, URL: v.URL, Body: []byte(v.Body),
			Header: http.Header{"Content-Type": {v.Type}, "X-Twilio-Signature": {v.Signature}},
		})
		if v.Valid != (err == nil) {
			t.Errorf("%s: verify returned %v, want valid %v", v.Name, err, v.Valid)
		}
	}
}
