// Package channeltest holds every channel to its contract and runs the cases in
// the testdata folder of the package under test.
//
// A case is a .txtar file. Its comment says in a sentence what it shows; its
// sections are
//
//	delivery.http  a raw HTTP request with a relative path. Line ends of the head,
//	               and of multipart bodies, become CRLF; the last line break of the
//	               body is dropped. Two headers are for the runner and never reach
//	               the channel: "X-Sb-Via: poll" (or stream) says how it was
//	               obtained, "X-Sb-Body: base64" that the body is base64.
//	want.json      the messages, receipts and the reason of the Parsed. The data of
//	               an attachment stands there as text, or as its digest and size.
//	error          instead of want.json: what the error of Parse contains.
//	refused        instead of want.json: what the error of Verify contains.
//	unsigned       empty: the runner does not sign. Unless the case says refused,
//	               Verify is not asked either, so that recordings can be cases.
//
// go test -update rewrites want.json; the difference is reviewed like code.
package channeltest

import (
	"flag"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
)

// update is registered once per test binary, as the testing package does with its own.
var update = flag.Bool("update", false, "rewrite want.json of the cases in testdata")

// Public is where the channel under test is reached.
const Public = "https://intake.shop.example/hooks/test"

// Received returns when every delivery of the suite is received.
func Received() time.Time { return time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC) }

// Env returns what the suite lends a channel called "test": h, or a client that
// reaches nobody if h is nil, and a key that never changes.
func Env(h *http.Client) channels.Env {
	if h == nil {
		h = &http.Client{Transport: nobody{}}
	}
	return channels.Env{
		Name: "test", Log: slog.New(slog.DiscardHandler), HTTP: h,
		Key: []byte("0123456789abcdef0123456789abcdef"), Public: Public,
	}
}

type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) { return nil, http.ErrServerClosed }

// Run holds a kind, configured as cfg, to the contract. cfg is complete: the
// kind's defaults are not applied to it.
func Run[C any](t *testing.T, k channels.Kind, cfg C) {
	t.Helper()
	s := &suite{kind: k, cfg: cfg, traits: k.Traits(), secrets: secretsOf(cfg)}
	ch, err := k.Open(cfg, Env(nil))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.ch = ch
	s.cases = readCases(t, "testdata")
	if len(s.cases) == 0 {
		t.Fatal("testdata holds no case")
	}
	t.Run("shape", func(t *testing.T) { s.shape(t) })
	t.Run("cases", s.runCases)
	t.Run("sample", func(t *testing.T) { s.sample(t) })
	if hooked, ok := ch.(hook.Webhook); ok {
		t.Run("verify", func(t *testing.T) { s.verify(t, hooked) })
	}
	t.Run("garbage", func(t *testing.T) { s.garbage(t) })
	t.Run("vendor", s.vendor)
}

// FuzzParse feeds a channel foreign bytes, beginning with those of the cases:
// Verify, Answer and Parse never panic, and Parse answers twice the same.
func FuzzParse[C any](f *testing.F, k channels.Kind, cfg C) {
	f.Helper()
	ch, err := k.Open(cfg, Env(nil))
	if err != nil {
		f.Fatalf("open: %v", err)
	}
	s := &suite{kind: k, cfg: cfg, traits: k.Traits(), ch: ch, secrets: secretsOf(cfg)}
	for _, c := range readCases(f, "testdata") {
		d := c.delivery
		f.Add(d.Method, d.URL, headText(d.Header), d.Body)
	}
	f.Fuzz(func(t *testing.T, method, url, head string, body []byte) {
		d := hook.Delivery{
			Method: method, URL: url, Header: readHead(head), Body: body,
			Via: hook.ViaWebhook, ReceivedAt: Received(),
		}
		if hooked, ok := ch.(hook.Webhook); ok {
			if hooked.Verify(t.Context(), d) == nil {
				hooked.Answer(d)
			}
		}
		_, _ = s.parse(t, d) // its own checks are the property
	})
}

// A suite is one run over one kind.
type suite struct {
	kind    channels.Kind
	cfg     any
	traits  channels.Traits[any]
	ch      channels.Channel
	cases   []testCase
	secrets []string
}

// shape checks what can be said without a delivery.
func (s *suite) shape(t testing.TB) {
	if s.ch.Account() == "" {
		t.Error("account is empty; ids derive from it")
	}
	_, webhook := s.ch.(hook.Webhook)
	_, poller := s.ch.(hook.Poller)
	_, streamer := s.ch.(channels.Streamer)
	if !webhook && !poller && !streamer {
		t.Error("the channel is none of hook.Webhook, hook.Poller and channels.Streamer")
	}
	if webhook && !s.traits.Form && s.traits.Sign == nil {
		t.Error("the kind of a webhook has no trait Sign")
	}
	if _, sender := s.ch.(channels.Sender); sender && s.traits.Reply == channels.NoReplies {
		t.Error("the channel is a channels.Sender, but the trait Reply is NoReplies")
	}
	if f, ok := s.ch.(channels.Fetcher); ok {
		if r, err := f.Fetch(t.Context(), ""); err == nil {
			_ = r.Close() // the error is the finding
			t.Error("fetch of an empty reference succeeded")
		}
	}
}
