package app

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/config"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// stubConfig configures the adapters that the tests of this package bring along.
type stubConfig struct {
	Desk *stubDesk
}

type stubChannel struct{ name string }

func (c stubChannel) Account() string                           { return c.name }
func (stubChannel) Check(context.Context) error                 { return nil }
func (stubChannel) Verify(context.Context, hook.Delivery) error { return nil }
func (stubChannel) Answer(hook.Delivery) hook.Answer            { return hook.OK }
func (stubChannel) Parse(d hook.Delivery) (channels.Parsed, error) {
	conv, text, _ := bytes.Cut(d.Body, []byte("|"))
	return channels.Parsed{Messages: []schemas.Message{{
		VendorID: string(d.Body), Conversation: string(conv), Text: string(text),
		Requester: schemas.Requester{Name: "Ilse Brandt", Identities: []schemas.Identity{{Kind: schemas.Email, Value: string(conv) + "@brandt.example", Evidence: schemas.Attested}}},
	}}}, nil
}

var stubChannelKind = channels.Define("stub", stubConfig{}, func(_ stubConfig, env channels.Env) (channels.Channel, error) {
	return stubChannel{env.Name}, nil
}, channels.Traits[stubConfig]{})

// stubDesk is a desk in memory that answers at once.
type stubDesk struct {
	mu      sync.Mutex
	tickets map[string]string
	n       atomic.Int64
}

func (d *stubDesk) Check(context.Context) error { return nil }

func (d *stubDesk) Create(_ context.Context, t schemas.Ticket) (schemas.Ref, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := fmt.Sprint(len(d.tickets) + 1)
	d.tickets[t.Key] = id
	d.n.Add(1)
	return schemas.Ref{ID: id}, nil
}

func (d *stubDesk) Append(_ context.Context, _ schemas.Ref, c schemas.Comment) (string, error) {
	d.n.Add(1)
	return c.Key, nil
}

var stubSinkKind = sinks.Define("stub", stubConfig{}, func(c stubConfig, _ sinks.Env) (sinks.Sink, error) { return c.Desk, nil },
	sinks.Traits[stubConfig]{Create: sinks.Upsert, Append: sinks.Upsert})

func startStub(tb testing.TB, durability config.Durability, desk *stubDesk) *App {
	tb.Helper()
	conf := &config.Config{
		Listen: "127.0.0.1:0", Data: tb.TempDir(), Durability: durability, Horizon: 35 * 24 * time.Hour,
		Channels: []config.ChannelInstance{{Name: "in", Kind: stubChannelKind, Value: stubConfig{}}},
		Sinks:    []config.SinkInstance{{Name: "inbox", Kind: stubSinkKind, Value: stubConfig{Desk: desk}}},
	}
	rules, err := config.LoadRules("", conf.Names())
	if err != nil {
		tb.Fatal(err)
	}
	a, err := New(context.Background(), Options{Config: conf, Rules: rules, Log: telemetry.Discard(), Version: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		if err := a.Close(); err != nil {
			tb.Error(err)
		}
	})
	return a
}

func BenchmarkEndToEnd(b *testing.B) {
	for _, durability := range []config.Durability{config.OS, config.Disk} {
		b.Run(string(durability), func(b *testing.B) {
			desk := &stubDesk{tickets: map[string]string{}}
			a := startStub(b, durability, desk)
			text := "|where is my order? " + string(bytes.Repeat([]byte("lorem ipsum "), 60))
			var n atomic.Int64
			b.SetParallelism(64)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					r := httptest.NewRequest(http.MethodPost, "/hooks/in", bytes.NewReader([]byte(fmt.Sprint("c", n.Add(1), text))))
					w := httptest.NewRecorder()
					a.server.Handler.ServeHTTP(w, r)
					if w.Code != http.StatusOK {
						b.Errorf("got %d", w.Code)
					}
				}
			})
			for desk.n.Load() < int64(b.N) {
				runtime.Gosched()
			}
		})
	}
}
