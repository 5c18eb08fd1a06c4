package intake

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var errBroken = errors.New("the line is broken")

// A desk of tests: a bus that can be made to refuse, and an Intake over it.
type rig struct {
	*Intake
	bus *bus.Bus

	mu     sync.Mutex
	refuse func(subject string) error
}

// fail makes the bus ask f before it stores anything; nil lets all pass.
func (r *rig) fail(f func(subject string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = f
}

func newRig(t *testing.T, o Options) *rig {
	t.Helper()
	r := &rig{}
	b, err := bus.Open(t.Context(), bus.Options{
		Dir: t.TempDir(), Durability: bus.OS, Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler),
		Fault: func(subject string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.refuse == nil {
				return nil
			}
			return r.refuse(subject)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	o.Bus, o.Tokens, o.Metrics, o.Log = b, record.NewTokens(make([]byte, 32)), telemetry.Nop(), telemetry.Discard()
	if r.Intake, err = New(o); err != nil {
		t.Fatal(err)
	}
	r.bus = b
	return r
}

// messages returns what a stream holds.
func (r *rig) messages(t *testing.T, stream string) []*bus.Msg {
	t.Helper()
	var got []*bus.Msg
	if err := r.bus.Scan(t.Context(), bus.Range{Stream: stream}, func(m *bus.Msg) error {
		got = append(got, m)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// deliveries returns what was taken in.
func (r *rig) deliveries(t *testing.T) []hook.Delivery {
	t.Helper()
	var got []hook.Delivery
	for _, m := range r.messages(t, bus.Deliveries) {
		d, err := record.DecodeDelivery(t.Context(), r.bus, m)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d)
	}
	return got
}

// A fake is a vendor whose every answer is a field.
type fake struct {
	verify func(hook.Delivery) error
	answer func(hook.Delivery) hook.Answer
	poll   func(ctx context.Context, cursor string) (hook.Page, error)
	stream func(ctx context.Context, emit func(hook.Delivery) error) error
	send   func(schemas.Reply) (schemas.Receipt, error)
	sent   func(schemas.Reply) (schemas.Receipt, bool, error)
}

func (*fake) Account() string             { return "4711" }
func (*fake) Check(context.Context) error { return nil }

func (*fake) Parse(hook.Delivery) (channels.Parsed, error) { return channels.Parsed{}, nil }

func (f *fake) Verify(_ context.Context, d hook.Delivery) error {
	if f.verify == nil {
		return nil
	}
	return f.verify(d)
}

func (f *fake) Answer(d hook.Delivery) hook.Answer {
	if f.answer == nil {
		return hook.OK
	}
	return f.answer(d)
}

func (f *fake) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	return f.poll(ctx, cursor)
}

func (f *fake) Stream(ctx context.Context, emit func(hook.Delivery) error) error {
	return f.stream(ctx, emit)
}

func (f *fake) Send(_ context.Context, r schemas.Reply) (schemas.Receipt, error) { return f.send(r) }

func (f *fake) Sent(_ context.Context, r schemas.Reply) (schemas.Receipt, bool, error) {
	return f.sent(r)
}

// opened makes a channel of what the fake can do.
func opened(name string, f *fake, traits channels.Traits[struct{}]) *channels.Opened {
	kind := channels.Define("demo", struct{}{}, func(struct{}, channels.Env) (channels.Channel, error) { return f, nil }, traits)
	o := &channels.Opened{Name: name, Kind: kind, Traits: kind.Traits(), Channel: f, Webhook: f}
	if f.poll != nil {
		o.Poller = f
	}
	if f.stream != nil {
		o.Streamer = f
	}
	if f.send != nil {
		o.Sender = f
	}
	if f.sent != nil {
		o.Tracker = f
	}
	return o
}

// post sends a request and returns the answer and its body.
func post(t *testing.T, h http.Handler, r *http.Request) (*http.Response, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body) //nolint:bodyclose // a recorder's
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body) //nolint:bodyclose // a recorder's
}

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr = "198.51.100.7:4000"
	return r
}

// state is what a channel's health was told.
type state struct{ state, reason string }

// watched collects what Health is told.
func watched() (Health, <-chan state) {
	told := make(chan state, 1000)
	return func(s, reason string) { told <- state{s, reason} }, told
}

// within fails the test when nothing comes in good time.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	var zero T
	select {
	case v := <-c:
		return v
	case <-timeout.C:
		t.Fatalf("never happened: %s", what)
		return zero
	}
}
