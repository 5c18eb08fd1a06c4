package telegram

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/channeltest"
	"switchboard/schemas"
)

var _ interface {
	channels.Channel
	hook.Webhook
	hook.Poller
	hook.Registrar
	channels.Sender
	channels.Fetcher
} = (*channel)(nil)

// config is the shop's bot, called by webhook.
func config() Config {
	c := *Kind.Config().(*Config)
	c.BotToken, c.Mode, c.SecretToken = secret.Literal("7007001:AAtheBotsSecret"), "webhook", secret.Literal("hooks-Are_Ours7")
	return c
}

func Test(t *testing.T) { channeltest.Run(t, Kind, config()) }

func FuzzParse(f *testing.F) { channeltest.FuzzParse(f, Kind, config()) }

// shop opens a channel in the given mode on a fresh fake.
func shop(t *testing.T, mode string) (*channel, *fake) {
	t.Helper()
	cfg := config()
	cfg.Mode = mode
	telegram := newFake(cfg, nil).(*fake)
	server := httptest.NewServer(http.StripPrefix("/telegram", telegram))
	t.Cleanup(server.Close)
	return at(t, cfg, server.URL+"/telegram/"), telegram
}

func at(t *testing.T, cfg Config, base string) *channel {
	t.Helper()
	cfg.BaseURL = base
	ch, err := Kind.Open(cfg, channeltest.Env(&http.Client{}))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return ch.(*channel)
}

func hidesToken(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "AAtheBotsSecret") {
		t.Errorf("the token is in an error: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		change func(*Config)
		words  string
	}{
		{"a token without a colon", func(c *Config) { c.BotToken = secret.Literal("AAtheBotsSecret") }, "bot_token"},
		{"a token without an id", func(c *Config) { c.BotToken = secret.Literal(":AAtheBotsSecret") }, "bot_token"},
		{"an unknown mode", func(c *Config) { c.Mode = "push" }, "mode"},
		{"webhook without its secret", func(c *Config) { c.SecretToken = secret.Secret{} }, "secret_token"},
	} {
		cfg := config()
		row.change(&cfg)
		_, err := Kind.Open(cfg, channeltest.Env(nil))
		if err == nil || !strings.HasPrefix(err.Error(), row.words+":") {
			t.Errorf("%s: got %v, want an error about %s", row.name, err, row.words)
		}
		hidesToken(t, err)
	}
}

func TestAccountIsTheBot(t *testing.T) {
	t.Parallel()
	c, _ := shop(t, "poll")
	if got := c.Account(); got != "7007001" {
		t.Errorf("account is %q, want 7007001", got)
	}
}

func TestModeDecidesWhoMayCall(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]bool{"webhook": true, "poll": false} {
		c, _ := shop(t, mode)
		d := sample(config(), channels.Sample{ID: "7", From: "550017", Text: "hi", At: channeltest.Received()})
		sign(config(), &d)
		if err := c.Verify(t.Context(), d); (err == nil) != want || err != nil && !errors.Is(err, hook.ErrUnverified) {
			t.Errorf("mode %s: verify returned %v, want it accepted: %v", mode, err, want)
		}
		if got := Kind.Traits().Polls(Config{Mode: mode}); got == want {
			t.Errorf("mode %s: polls is %v", mode, got)
		}
	}
}

func TestPollMovesOnUpdateByUpdate(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "poll")
	first, second := telegram.write(550017, "Ines", "first", nil), telegram.write(550017, "Ines", "second", nil)
	var cursor string
	var got []string
	for range 2 { // the cursor is stored after the first round only
		page, err := c.Poll(t.Context(), "")
		if err != nil {
			t.Fatalf("poll: %v", err)
		}
		got, cursor = nil, page.Next
		for _, d := range page.Deliveries {
			p, err := c.Parse(d)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			got = append(got, p.Messages[0].VendorID+" "+p.Messages[0].Text)
		}
	}
	want := []string{"550017:" + strconv.FormatInt(first.ID, 10) + " first", "550017:" + strconv.FormatInt(second.ID, 10) + " second"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("polled (-want +got):\n%s", diff)
	}
	telegram.write(550017, "Ines", "third", nil)
	page, err := c.Poll(t.Context(), cursor)
	if err != nil || len(page.Deliveries) != 1 || !strings.Contains(string(page.Deliveries[0].Body), "third") {
		t.Errorf("got %d deliveries, error %v, want the third alone", len(page.Deliveries), err)
	}
	if len(telegram.updates) != 1 {
		t.Errorf("telegram keeps %d updates, want the one that is not confirmed", len(telegram.updates))
	}
}

func TestPollWaitsForAnUpdate(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "poll")
	type outcome struct {
		page hook.Page
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		page, err := c.Poll(t.Context(), "")
		done <- outcome{page, err}
	}()
	telegram.write(550017, "Ines", "at last", nil)
	if o := <-done; o.err != nil || len(o.page.Deliveries) != 1 {
		t.Errorf("got %d deliveries, error %v, want one", len(o.page.Deliveries), o.err)
	}
}

func TestPollEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := at(t, config(), server.URL).Poll(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
}

func TestPollBesideAWebhookIsTriedAgain(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "poll")
	telegram.webhook = "https://other.example/hook"
	_, err := c.Poll(t.Context(), "5")
	if fault.StatusCode(err) != http.StatusConflict || fault.IsPermanent(err) || !strings.Contains(err.Error(), "webhook is active") {
		t.Errorf("got %v, want Telegram's words, to be tried again", err)
	}
	if _, err := c.Register(t.Context(), channeltest.Public); err != nil || telegram.webhook != "" {
		t.Errorf("register left webhook %q, error %v, want it gone", telegram.webhook, err)
	}
}

func TestPollRefusesWhatIsNoUpdate(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ok":true,"result":["text"]}`)
	}))
	defer server.Close()
	if _, err := at(t, config(), server.URL).Poll(t.Context(), ""); err == nil {
		t.Error("a list of texts was taken for updates")
	}
}

func TestRegisterSetsTheWebhook(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "webhook")
	if until, err := c.Register(t.Context(), channeltest.Public); err != nil || !until.IsZero() {
		t.Fatalf("register: until %s, error %v, want for ever", until, err)
	}
	if telegram.webhook != channeltest.Public || telegram.secret != "hooks-Are_Ours7" {
		t.Errorf("webhook is %q with the configured secret: %v", telegram.webhook, telegram.secret == "hooks-Are_Ours7")
	}
	if _, err := c.Register(t.Context(), "http://intake.shop.example"); !fault.IsPermanent(err) {
		t.Errorf("plain http: got %v, want a permanent error", err)
	}
}

func TestSendAnswersInTheTopic(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "webhook")
	for _, row := range []struct{ conversation, replyTo, params string }{
		{"-1009988776655:300", "-1009988776655:312", `{"message_id":312,"allow_sending_without_reply":true}`},
		{"550017", "550017:1:1773480300", `{"message_id":1,"allow_sending_without_reply":true}`},
		{"550017", "-1009988776655:312", ""},
		{"550017", "", ""},
	} {
		receipt, err := c.Send(t.Context(), schemas.Reply{Conversation: row.conversation, ReplyTo: row.replyTo, Text: "Bind it near the receiver."})
		if err != nil {
			t.Fatalf("send: %v", err)
		}
		all := telegram.Sent()
		last := all[len(all)-1]
		if last.Conversation != row.conversation || last.ID != receipt.ID || receipt.State != schemas.Sent || receipt.At.IsZero() {
			t.Errorf("sent %+v with receipt %+v, want it in %s", last, receipt, row.conversation)
		}
		if got := telegram.params[len(all)-1]; got != row.params {
			t.Errorf("reply parameters are %q, want %q", got, row.params)
		}
	}
}

func TestSendRefusals(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "webhook")
	telegram.blocked["550018"] = true
	for _, row := range []struct {
		name  string
		reply schemas.Reply
		words string
	}{
		{"blocked", schemas.Reply{Conversation: "550018", Text: "hi"}, "bot was blocked"},
		{"too long", schemas.Reply{Conversation: "550017", Text: strings.Repeat("a", 4097)}, "too long"},
		{"files", schemas.Reply{Conversation: "550017", Text: "hi", Files: []schemas.File{{Name: "a.pdf"}}}, "files cannot be sent"},
	} {
		_, err := c.Send(t.Context(), row.reply)
		if !fault.IsPermanent(err) || fault.IsAuth(err) || !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: got %v, want a permanent error with %q", row.name, err, row.words)
		}
	}
	if n := len(telegram.Sent()); n != 0 {
		t.Errorf("%d messages were sent, want none", n)
	}
}

func TestSendWaitsAsLongAsTheBodySays(t *testing.T) {
	t.Parallel()
	c, _ := shop(t, "webhook")
	_, err := c.Send(t.Context(), schemas.Reply{Conversation: "429", Text: "hi"})
	if after, ok := fault.After(err); !ok || after != 35*time.Second || !fault.IsNotDone(err) || fault.IsPermanent(err) {
		t.Errorf("got %v after %s, want not done, again after 35s", err, after)
	}
}

func TestUnknownBotIsAuth(t *testing.T) {
	t.Parallel()
	_, telegram := shop(t, "webhook")
	server := httptest.NewServer(telegram)
	defer server.Close()
	cfg := config()
	cfg.BotToken = secret.Literal("7007001:AAtheBotsSecret2")
	if err := at(t, cfg, server.URL).Check(t.Context()); !fault.IsAuth(err) {
		t.Errorf("got %v, want an auth error", err)
	}
}

func TestNobodyListening(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	c := at(t, config(), server.URL)
	_, err := c.Send(t.Context(), schemas.Reply{Conversation: "550017", Text: "hi"})
	if !fault.IsNotDone(err) || fault.IsPermanent(err) {
		t.Errorf("got %v, want not done, to be repeated", err)
	}
	hidesToken(t, err)
	_, err = c.Fetch(t.Context(), "file-1")
	if err == nil {
		t.Error("fetched from nobody")
	}
	hidesToken(t, err)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "poll")
	u := telegram.write(550017, "Ines", "", []byte("a drawing"))
	r, err := c.Fetch(t.Context(), u.Message.Document.ID)
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "a drawing" {
		t.Errorf("got %q, error %v, want the drawing", got, err)
	}
	big := telegram.write(550017, "Ines", "", make([]byte, largest+1))
	for _, ref := range []string{"nothing", big.Message.Document.ID} {
		if _, err := c.Fetch(t.Context(), ref); !fault.IsPermanent(err) {
			t.Errorf("%s: got %v, want a permanent error", ref, err)
		}
	}
}

func TestFetchFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another host was asked, referred by %q", r.Referer())
	}))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/file/") {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return
		}
		result(w, struct {
			Path string `json:"file_path"`
		}{"documents/1"})
	}))
	defer server.Close()
	_, err := at(t, config(), server.URL).Fetch(t.Context(), "file-1")
	if err == nil {
		t.Error("a redirect was taken for the file")
	}
	hidesToken(t, err)
}

func TestPlayedMessageIsFoundByPoll(t *testing.T) {
	t.Parallel()
	c, telegram := shop(t, "poll")
	form := url.Values{"From": {"Ines"}, "Name": {"Ines"}, "Text": {"hello"}, "File": {"a drawing"}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/_play", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	telegram.ServeHTTP(httptest.NewRecorder(), r)
	page, err := c.Poll(t.Context(), "")
	if err != nil || len(page.Deliveries) != 1 {
		t.Fatalf("got %d deliveries, error %v, want one", len(page.Deliveries), err)
	}
	p, err := c.Parse(page.Deliveries[0])
	if err != nil || len(p.Messages[0].Attachments) != 1 || p.Messages[0].Requester.Name != "Ines" {
		t.Errorf("got %+v, error %v, want Ines with her drawing", p, err)
	}
}

func TestEveryKindOfFile(t *testing.T) {
	t.Parallel()
	c, _ := shop(t, "webhook")
	for part, want := range map[string]schemas.Attachment{
		"document":   {Name: "document", Ref: "f", Size: 9},
		"audio":      {Name: "audio.mp3", Type: "audio/mpeg", Ref: "f", Size: 9},
		"voice":      {Name: "voice.ogg", Type: "audio/ogg", Ref: "f", Size: 9},
		"video":      {Name: "video.mp4", Type: "video/mp4", Ref: "f", Size: 9},
		"video_note": {Name: "video_note.mp4", Type: "video/mp4", Ref: "f", Size: 9},
		"animation":  {Name: "animation.mp4", Type: "video/mp4", Ref: "f", Size: 9},
	} {
		p, err := c.Parse(hook.Delivery{Body: []byte(`{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":1},"from":{"id":1,"username":"ines"},"` +
			part + `":{"file_id":"f","file_size":9}}}`)})
		if err != nil || len(p.Messages) != 1 {
			t.Fatalf("%s: got %+v, error %v, want a message", part, p, err)
		}
		if diff := cmp.Diff([]schemas.Attachment{want}, p.Messages[0].Attachments); diff != "" {
			t.Errorf("%s (-want +got):\n%s", part, diff)
		}
		if p.Messages[0].Requester.Name != "ines" {
			t.Errorf("the requester is called %q, want the user name", p.Messages[0].Requester.Name)
		}
	}
}

// TestSharedSamplesParse reads samples that lie beside the repository.
func TestSharedSamplesParse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "telegram")
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Skip("no shared fixtures beside the repository")
	}
	c, _ := shop(t, "webhook")
	became := map[string]int{}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("read sample: %v", err)
		}
		p, err := c.Parse(hook.Delivery{Method: http.MethodPost, Body: body, Via: hook.ViaWebhook})
		name := filepath.Base(path)
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case len(p.Messages) == 1 && p.Messages[0].Requester.Attested() && p.Messages[0].Text+p.Messages[0].Conversation != "":
			became["message"]++
		case len(p.Messages) == 0 && p.Ignored != "":
			became["ignored"]++
		default:
			t.Errorf("%s became %+v, want one message or a reason", name, p)
		}
		service := strings.Contains(name, "migrate") || strings.Contains(name, "issue") || strings.Contains(name, "reaction") ||
			strings.Contains(name, "pinned") || strings.Contains(name, "topic_created") || strings.Contains(name, "shared_chat") ||
			strings.Contains(name, "inline") || name == "guide-text.json" // which is the start command
		if service != (p.Ignored != "") {
			t.Errorf("%s: ignored is %q, want it ignored: %v", name, p.Ignored, service)
		}
	}
	if became["message"] == 0 || became["ignored"] == 0 {
		t.Errorf("samples became %v, want some of both", became)
	}
}

func TestSharedHeaderVerifies(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "telegram", "webhook.headers"))
	if err != nil {
		t.Skip("no shared fixtures beside the repository")
	}
	for headerLine := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(headerLine), ": ")
		if name != header {
			continue
		}
		cfg := config()
		cfg.SecretToken = secret.Literal(value)
		c := at(t, cfg, "https://api.telegram.org")
		for shown, want := range map[string]bool{value: true, value + "x": false, "": false} {
			err := c.Verify(t.Context(), hook.Delivery{Header: http.Header{header: {shown}}})
			if (err == nil) != want {
				t.Errorf("verify returned %v, want it accepted: %v", err, want)
			}
		}
		return
	}
	t.Errorf("the sample has no header %s", header)
}
