package channeltest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// A bench is a channel that talks to its vendor's fake.
type bench struct {
	*suite
	board *sandbox.Board
	fake  sandbox.Fake
	ch    channels.Channel
	// calls counts the requests that reached the fake.
	calls *atomic.Int64
}

func (s *suite) bench(t testing.TB) bench {
	t.Helper()
	b := bench{suite: s, board: sandbox.NewBoard(1), calls: &atomic.Int64{}}
	b.fake = s.traits.Fake(s.cfg, b.board)
	wrapped := b.board.Wrap(b.fake)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.calls.Add(1)
		wrapped.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	b.ch = s.openAt(t, b.fake, server)
	return b
}

func (s *suite) openAt(t testing.TB, fake sandbox.Fake, server *httptest.Server) channels.Channel {
	t.Helper()
	ch, err := s.kind.Open(configure(t, s.cfg, fake.Settings(server.URL)), Env(server.Client()))
	if err != nil {
		t.Fatalf("open with the fake's settings: %v", err)
	}
	return ch
}

// configure returns cfg with the settings, which are named as in the YAML file.
func configure(t testing.TB, cfg any, settings map[string]string) any {
	t.Helper()
	p := reflect.New(reflect.TypeOf(cfg))
	p.Elem().Set(reflect.ValueOf(cfg))
	for key, value := range settings {
		target := p.Elem()
		for part := range strings.SplitSeq(key, ".") {
			target = fieldOf(target, part)
		}
		switch {
		case !target.IsValid():
			t.Fatalf("the fake sets %q, which the configuration does not have", key)
		case target.Type() == reflect.TypeFor[secret.Secret]():
			target.Set(reflect.ValueOf(secret.Literal(value)))
		case target.Kind() == reflect.String:
			target.SetString(value)
		case target.Kind() == reflect.Bool:
			on, err := strconv.ParseBool(value)
			if err != nil {
				t.Fatalf("the fake sets %q: %v", key, err)
			}
			target.SetBool(on)
		default:
			t.Fatalf("the fake sets %q, which is neither text nor a secret", key)
		}
	}
	return p.Elem().Interface()
}

func fieldOf(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	for _, f := range reflect.VisibleFields(v.Type()) {
		tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if tag == name {
			return v.FieldByIndex(f.Index)
		}
	}
	return reflect.Value{}
}

// vendor checks the calls that the channel makes against the vendor's fake.
func (s *suite) vendor(t *testing.T) {
	_, sends := s.ch.(channels.Sender)
	_, polls := s.ch.(hook.Poller)
	if s.traits.Fake == nil {
		if sends || polls {
			t.Error("the channel calls its vendor, but its kind has no trait Fake")
		}
		t.Skip("the kind has no fake")
	}
	t.Run("check", func(t *testing.T) { s.vendorCheck(t) })
	if polls {
		t.Run("poll", func(t *testing.T) { s.vendorPoll(t) })
	}
	if sends {
		t.Run("send", func(t *testing.T) { s.vendorSend(t) })
		t.Run("lost answer", func(t *testing.T) { s.vendorLostAnswer(t) })
	}
}

func (s *suite) vendorCheck(t testing.TB) {
	b := s.bench(t)
	if err := b.ch.Check(t.Context()); err != nil {
		t.Fatalf("check of a vendor in good health: %v", err)
	}
	if b.calls.Load() == 0 {
		t.Skip("the vendor has no call that only reads")
	}
	b.faults(t, func(ctx context.Context, ch channels.Channel) error { return ch.Check(ctx) })
}

func (s *suite) vendorPoll(t testing.TB) {
	b := s.bench(t)
	b.faults(t, func(ctx context.Context, ch channels.Channel) error {
		page, err := ch.(hook.Poller).Poll(ctx, "")
		for _, d := range page.Deliveries {
			if d.Via != hook.ViaPoll {
				t.Errorf("a polled delivery came via %q, want %q", d.Via, hook.ViaPoll)
			}
		}
		return err
	})
}

func (s *suite) vendorSend(t testing.TB) {
	b := s.bench(t)
	reply := s.reply(t)
	b.faults(t, func(ctx context.Context, ch channels.Channel) error {
		_, err := ch.(channels.Sender).Send(ctx, reply)
		return err
	})
	phone, ok := b.fake.(sandbox.Phone)
	if !ok {
		t.Fatal("the fake of a vendor that takes replies is no sandbox.Phone")
	}
	if n := len(phone.Sent()); n != 0 {
		t.Errorf("%d replies were sent by calls that failed before anything was done", n)
	}
	b.board.Set(sandbox.Dials{})
	receipt, err := b.ch.(channels.Sender).Send(t.Context(), reply)
	if err != nil {
		t.Fatalf("send to a vendor in good health: %v", err)
	}
	if receipt.ID == "" {
		t.Error("the receipt has no id")
	}
	if sent := phone.Sent(); len(sent) != 1 || !strings.Contains(sent[0].Text, reply.Text) {
		t.Errorf("%d replies arrived, want one with the reply's text", len(sent))
	}
}

// vendorLostAnswer loses the answer to a reply that was sent.
func (s *suite) vendorLostAnswer(t testing.TB) {
	for name, dials := range map[string]sandbox.Dials{"500": {ErrorAfter: 1}, "hang-up": {DropAfter: 1}} {
		b := s.bench(t)
		reply := s.reply(t)
		b.board.Set(dials)
		_, err := b.ch.(channels.Sender).Send(t.Context(), reply)
		if err == nil || fault.IsNotDone(err) {
			t.Errorf("%s after it was sent: got %v, want an error that leaves open whether it was", name, err)
		}
		s.checkSecrets(t, "the error of Send", err)
		b.board.Set(sandbox.Dials{})
		if tracker, ok := b.ch.(channels.Tracker); ok {
			if _, found, err := tracker.Sent(t.Context(), reply); err != nil || !found {
				t.Errorf("%s after it was sent: the tracker found %v, error %v, want it found", name, found, err)
			}
		}
		if s.traits.Reply != channels.Idempotent {
			continue
		}
		if _, err := b.ch.(channels.Sender).Send(t.Context(), reply); err != nil {
			t.Errorf("send again under the same key: %v", err)
		}
		if n := len(b.fake.(sandbox.Phone).Sent()); n != 1 {
			t.Errorf("%s: %d replies arrived under one key, want one", name, n)
		}
	}
}

// reply answers the first message of the cases.
func (s *suite) reply(t testing.TB) schemas.Reply {
	t.Helper()
	for _, c := range s.cases {
		p, err := s.ch.Parse(s.signed(c))
		if err != nil || len(p.Messages) == 0 {
			continue
		}
		m := p.Messages[0]
		return schemas.Reply{
			Key: "sb-abcdefghijklmnopqrstuvwxyz", Conversation: m.Conversation, ReplyTo: m.VendorID,
			To: m.Requester, Text: "Your Petrel left the shop this morning.", Agent: "Marek",
		}
	}
	t.Fatal("no case holds a message to answer")
	return schemas.Reply{}
}

// faults turns the dials one after the other and judges what call returns.
func (b bench) faults(t testing.TB, call func(ctx context.Context, ch channels.Channel) error) {
	t.Helper()
	table := []struct {
		name  string
		dials sandbox.Dials
		want  string
		holds func(error) bool
	}{
		{"401", sandbox.Dials{Unauthorized: true}, "fault.Auth", fault.IsAuth},
		{"429", sandbox.Dials{TooMany: 1, RetryAfter: 7}, "fault.NotDone, to be repeated after 7s", func(err error) bool {
			after, ok := fault.After(err)
			return ok && after == 7*time.Second && fault.IsNotDone(err) && !fault.IsPermanent(err) && !fault.IsAuth(err)
		}},
		{"500", sandbox.Dials{ErrorBefore: 1}, "a plain error", func(err error) bool { return !fault.IsNotDone(err) }},
		{"hang-up", sandbox.Dials{DropBefore: 1}, "a plain error or fault.NotDone", func(err error) bool {
			return !fault.IsPermanent(err) && !fault.IsAuth(err)
		}},
	}
	for _, row := range table {
		b.board.Set(row.dials)
		err := call(t.Context(), b.ch)
		b.checkSecrets(t, "the error of a call", err)
		if err == nil || !row.holds(err) {
			t.Errorf("%s: got %v, want %s", row.name, err, row.want)
		}
	}
	b.cancel(t, call)
	b.board.Set(sandbox.Dials{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := call(ctx, b.ch); err == nil {
		t.Error("a call under a cancelled context succeeded")
	}
}

// cancel ends a call while the vendor is thinking. A channel that does not heed
// its context hangs here until the test binary's own limit.
func (b bench) cancel(t testing.TB, call func(ctx context.Context, ch channels.Channel) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice a caller who leaves
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	err := call(ctx, b.openAt(t, b.fake, server))
	b.checkSecrets(t, "the error of a cancelled call", err)
	if err == nil {
		t.Error("a call that was cancelled under way succeeded")
	}
}
