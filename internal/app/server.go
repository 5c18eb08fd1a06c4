package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"

	"switchboard/adapter/secret"
	"switchboard/internal/bus"
	"switchboard/internal/console"
	"switchboard/internal/record"
)

// SocketName is the socket of the command line within the data directory.
const SocketName = "switchboard.sock"

// TokenName is the file, within the data directory, of the token that opens the
// interface to the command line from elsewhere.
const TokenName = "api.token"

func (a *App) openConsole(ctx context.Context) error {
	var public *url.URL
	if a.o.Config.PublicURL != "" {
		u, err := url.Parse(a.o.Config.PublicURL)
		if err != nil {
			return fmt.Errorf("read public_url: %w", err)
		}
		public = u
	}
	a.console = console.New(console.Options{
		Ledger: a.ledger, Actions: (*actions)(a), Accounts: accounts{a.bus.Bucket(bus.Accounts)}, Log: a.log,
		PublicURL: public, Channels: a.channelInstances(), Sinks: a.sinkInstances(),
	})
	password, created, err := a.console.EnsureAdmin(ctx)
	if err != nil {
		return fmt.Errorf("make the first user: %w", err)
	}
	if created {
		a.password = password
		// Hashing it took 19 MiB that are not needed again soon.
		debug.FreeOSMemory()
	}
	if a.token, err = a.apiToken(); err != nil {
		return err
	}
	a.server = &http.Server{
		Handler: a.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
	}
	return a.openSocket(filepath.Join(a.o.Config.Data, SocketName), a.api())
}

// apiToken reads the token for the interface, or makes it the first time.
func (a *App) apiToken() (string, error) {
	path := filepath.Join(a.o.Config.Data, TokenName)
	b, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(b)); err == nil && token != "" {
		return token, nil
	}
	token := record.Digest("api", string(a.tokens.Derive("api token")))
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("store the interface's token: %w", err)
	}
	return token, nil
}

func (a *App) channelInstances() []console.Instance {
	out := make([]console.Instance, len(a.channels))
	for i, c := range a.channels {
		out[i] = console.Instance{Name: c.Name, Kind: c.Kind.Name(), Mute: c.Sender == nil}
		switch {
		case c.Traits.Form:
			out[i].Page = "/form/" + c.Name
		case c.Webhook != nil:
			out[i].Sample = "POST " + a.URL() + "/hooks/" + c.Name
		}
	}
	return out
}

func (a *App) sinkInstances() []console.Instance {
	out := make([]console.Instance, len(a.sinks))
	for i, s := range a.sinks {
		out[i] = console.Instance{Name: s.Name, Kind: s.Kind.Name()}
	}
	return out
}

// handler is everything that the listener serves.
func (a *App) handler() http.Handler {
	mux := http.NewServeMux()
	in := a.intake.Handler()
	mux.Handle("/hooks/", in)
	mux.Handle("/form/", in)
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }) // nobody to tell
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("/api/", a.authorized(a.api()))
	mux.Handle("/", a.console)
	return mux
}

// authorized lets a bearer of the token through.
func (a *App) authorized(next http.Handler) http.Handler {
	token := secret.Literal(a.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || !token.Equal(given) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			problem(w, http.StatusUnauthorized, "a token is needed: it is in "+TokenName+" of the data directory")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// A Readiness says whether messages can be taken in, and why not.
type Readiness struct {
	Ready    bool       `json:"ready"`
	Problems []string   `json:"problems,omitempty"`
	Parts    []PartInfo `json:"parts,omitempty"`
}

// A PartInfo is the state of one channel or sink.
type PartInfo struct {
	Side   string `json:"side"`
	Name   string `json:"name"`
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

// readiness fails only while nothing can be stored: a desk that is out delays its
// own queue and nothing else.
func (a *App) readiness() Readiness {
	r := Readiness{Ready: true}
	if err := a.bus.Ready(); err != nil {
		r.Ready = false
		r.Problems = append(r.Problems, "messages cannot be stored: "+err.Error())
	}
	for _, s := range a.health.all() {
		r.Parts = append(r.Parts, PartInfo{Side: s.Side, Name: s.Name, State: s.State, Reason: s.Reason})
		if s.State != "ok" {
			r.Problems = append(r.Problems, fmt.Sprintf("%s %s is %s: %s", s.Side, s.Name, s.State, s.Reason))
		}
	}
	return r
}

func (a *App) readyz(w http.ResponseWriter, _ *http.Request) {
	r := a.readiness()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, r)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a caller that has gone hears nothing
}

// problem answers with RFC 9457 problem details.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // a caller that has gone hears nothing
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

// memory is what the program holds of the system's memory, in bytes.
func memory() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64()) //nolint:gosec // sizes of a memory
}

// accounts lends the console its bucket.
type accounts struct{ bucket *bus.Bucket }

func foreign(err error) error {
	switch {
	case errors.Is(err, bus.ErrNotFound):
		return console.ErrNotFound
	case errors.Is(err, bus.ErrConflict):
		return console.ErrConflict
	default:
		return err
	}
}

func (b accounts) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := b.bucket.Get(ctx, key)
	return e.Value, e.Revision, foreign(err)
}

func (b accounts) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := b.bucket.Create(ctx, key, value)
	return rev, foreign(err)
}

func (b accounts) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	rev, err := b.bucket.Update(ctx, key, value, revision)
	return rev, foreign(err)
}

func (b accounts) Delete(ctx context.Context, key string) error {
	return foreign(b.bucket.Delete(ctx, key))
}

func (b accounts) List(ctx context.Context, prefix string) ([]string, error) {
	var keys []string
	err := b.bucket.Each(ctx, "", func(e bus.Entry) error {
		if strings.HasPrefix(e.Key, prefix) {
			keys = append(keys, e.Key)
		}
		return nil
	})
	return keys, err
}
