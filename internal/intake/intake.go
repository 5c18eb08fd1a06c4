// Package intake runs channels: it mounts webhooks, polls, holds streams, and
// publishes every delivery as received before the vendor hears a yes. It carries
// replies out again. Helpdesks' webhooks and polls come in the same way.
package intake

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/sinks"
)

// Options are what an Intake needs.
type Options struct {
	Bus     *bus.Bus
	Tokens  record.Tokens
	Metrics *telemetry.Metrics
	Log     *slog.Logger
	// PublicURL is how vendors call us, such as https://intake.shop.example; "" takes
	// the address of each request, which no signature over an address survives
	// behind a proxy.
	PublicURL string
	// Proxies are the addresses whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
	// Realm is the scope that mail channels share.
	Realm string
}

// An Intake takes deliveries in. It is safe for concurrent use.
type Intake struct {
	o       Options
	public  *url.URL
	mu      sync.Mutex
	sources map[string]*source
}

// A source is one way in: a channel, or a sink's way back.
type source struct {
	name    string
	subject string
	channel bool
	webhook hook.Webhook
	poller  hook.Poller
	maxBody int64
	secrets []string
	params  []string
	refuse  int
	form    bool
	limits  *addressLimits // nil: none
	every   time.Duration
	wake    chan struct{}
}

// New returns an Intake without sources.
func New(o Options) (*Intake, error) {
	in := &Intake{o: o, sources: map[string]*source{}}
	if o.PublicURL != "" {
		u, err := url.Parse(o.PublicURL)
		if err != nil {
			return nil, fmt.Errorf("read public_url: %w", err)
		}
		in.public = u
	}
	return in, nil
}

// A form that says nothing else takes so many posts a minute from one address.
const formRate = 60

// AddChannel makes a channel a source. Names are unique over channels and sinks.
// One address may send n deliveries per span; n 0 limits forms only.
func (in *Intake) AddChannel(c *channels.Opened, n int, per time.Duration) {
	if n == 0 && c.Traits.Form {
		n, per = formRate, time.Minute
	}
	var limits *addressLimits
	if n > 0 {
		limits = newAddressLimits(n, per)
	}
	in.add(&source{
		limits: limits,
		name:   c.Name, subject: record.InSubject(c.Name), channel: true, webhook: c.Webhook, poller: c.Poller,
		maxBody: c.Traits.MaxBody, secrets: c.Traits.Secrets, params: c.Traits.SecretParams,
		refuse: c.Traits.RefuseStatus, form: c.Traits.Form, every: c.Traits.PollEvery,
	})
}

// AddSink makes a sink's way back a source; a sink without one is left out.
func (in *Intake) AddSink(s *sinks.Opened) {
	if s.Source == nil || (s.Webhook == nil && s.Poller == nil) {
		return
	}
	in.add(&source{
		name: s.Name, subject: record.BackSubject(s.Name), webhook: s.Webhook, poller: s.Poller,
		maxBody: s.Traits.MaxBody, secrets: s.Traits.Secrets, refuse: http.StatusUnauthorized, every: s.Traits.PollEvery,
	})
}

func (in *Intake) add(s *source) {
	s.wake = make(chan struct{}, 1)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sources[s.name] = s
}

func (in *Intake) source(name string) *source {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sources[name]
}

// Wake makes the source of that name poll at once.
func (in *Intake) Wake(name string) {
	if s := in.source(name); s != nil {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Handler serves /hooks/<name> and /form/<name>.
func (in *Intake) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hooks/{name}", func(w http.ResponseWriter, r *http.Request) { in.serve(w, r, false) })
	mux.HandleFunc("/form/{name}", func(w http.ResponseWriter, r *http.Request) { in.serve(w, r, true) })
	return mux
}

func (in *Intake) serve(w http.ResponseWriter, r *http.Request, form bool) {
	s := in.source(r.PathValue("name"))
	if s == nil || s.webhook == nil || (form && !s.form) {
		http.NotFound(w, r)
		return
	}
	started := time.Now()
	write(w, in.receive(r, s, started))
}

func write(w http.ResponseWriter, a hook.Answer) {
	maps.Copy(w.Header(), a.Header)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // a caller that has gone hears nothing
}

// address is the requester's, as far as our own proxies tell it.
func (in *Intake) address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && in.trusted(addr); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = next.Unmap()
	}
	return addr
}

func (in *Intake) trusted(a netip.Addr) bool {
	for _, p := range in.o.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// retryAfterFull is how many seconds a vendor is asked to wait while we cannot
// store.
const retryAfterFull = "5"

func unavailable() hook.Answer {
	a := hook.Text(http.StatusServiceUnavailable, "text/plain; charset=utf-8", "not stored, please send it again\n")
	a.Header.Set("Retry-After", retryAfterFull)
	return a
}

// keep publishes a delivery as received, durable when it returns nil.
func (in *Intake) keep(ctx context.Context, s *source, d hook.Delivery, trace string) error {
	r, err := in.encode(ctx, s, d, trace)
	if err != nil {
		return err
	}
	_, err = in.o.Bus.Publish(ctx, r)
	return err
}

// encode makes the record of a delivery; a large body is durable in the blobs
// when it returns.
func (in *Intake) encode(ctx context.Context, s *source, d hook.Delivery, trace string) (bus.Record, error) {
	in.hide(s, &d)
	blob := ""
	if len(d.Body) > record.InlineLimit {
		blob = record.RawBlob(in.o.Tokens.Token("raw", s.name, record.Digest(string(d.Body)), d.ReceivedAt.String()))
		if err := in.o.Bus.PutBlob(ctx, blob, d.Body); err != nil {
			return bus.Record{}, err
		}
	}
	return record.EncodeDelivery(s.subject, d, blob, trace)
}

// hide replaces the secrets that a vendor sends by their digest, after Verify
// and before anything is stored.
func (in *Intake) hide(s *source, d *hook.Delivery) {
	d.Header = d.Header.Clone()
	for _, name := range append([]string{"Authorization", "Proxy-Authorization", "Cookie"}, s.secrets...) {
		if values := d.Header.Values(name); len(values) > 0 {
			d.Header.Set(name, in.digest(strings.Join(values, ",")))
		}
	}
	if len(s.params) == 0 {
		return
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		return
	}
	q := u.Query()
	for _, name := range s.params {
		if q.Has(name) {
			q.Set(name, in.digest(q.Get(name)))
		}
	}
	u.RawQuery = q.Encode()
	d.URL = u.String()
}

func (in *Intake) digest(v string) string { return "digest:" + in.o.Tokens.Token("secret", v)[:12] }
