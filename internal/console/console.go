// Package console is the web console: server-drawn pages over the ledger, with
// sessions, roles and the few actions that a support team needs every day.
//
// Pages work without JavaScript; the one script adds the live feed and the
// keyboard. Nothing here decides anything: what is read comes from the ledger,
// what is done goes through Actions.
package console

import (
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Options are what a Console is made of. Ledger, Actions and Accounts are required.
type Options struct {
	Ledger   Ledger
	Actions  Actions
	Accounts Accounts
	// Log receives what went wrong behind a page; nil discards it.
	Log *slog.Logger
	// PublicURL is where browsers reach the console, as far as configured. Cookies
	// are Secure for requests to its host if it is an https address.
	PublicURL *url.URL
	// Name is the shop's name, shown where people sign in.
	Name string
	// Channels and Sinks are those configured.
	Channels, Sinks []Instance
	// Zone is the time zone of the clock times on pages; nil means the machine's.
	Zone *time.Location
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Address says who asks, for the limit on sign-ins; nil takes the peer's
	// address. Behind a proxy it should be what the proxy vouches for.
	Address func(*http.Request) string
}

// A Console is an http.Handler for all pages, their assets and their events. It
// may be used by many goroutines.
type Console struct {
	opts    Options
	pages   map[string]*template.Template
	assets  map[string]asset
	symbols map[string]string
	handler http.Handler
	limit   *limiter
	forms   *nonces
	// hashing bounds how many passwords are hashed at once: each takes 19 MiB.
	hashing chan struct{}
	decoy   string

	nav  navCache
	stop chan struct{}
	once sync.Once
	// streams counts open event streams.
	streams chan struct{}
}

var _ http.Handler = (*Console)(nil)

// New returns a Console that serves at once. Close ends its event streams.
func New(opts Options) *Console {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Zone == nil {
		opts.Zone = time.Local
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Address == nil {
		opts.Address = peer
	}
	c := &Console{
		opts:    opts,
		assets:  mustAssets(),
		limit:   newLimiter(opts.Now),
		forms:   newNonces(1024),
		hashing: make(chan struct{}, 2),
		stop:    make(chan struct{}),
		streams: make(chan struct{}, maxStreams),
	}
	c.symbols = loadSymbols(c.assets["icons.svg"].body)
	c.pages = mustPages(c.funcs())
	c.decoy = hashPassword(newToken())
	c.handler = c.protect(c.routes())
	return c
}

// ServeHTTP answers a request for a page, an action, an asset or the events.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Close ends the open event streams, so that a server can shut down. Pages are
// still answered afterwards.
func (c *Console) Close() { c.once.Do(func() { close(c.stop) }) }

func (c *Console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", c.serveAsset)
	mux.Handle("GET /login", c.public(c.showLogin))
	mux.Handle("POST /login", c.public(c.login))
	mux.Handle("POST /logout", c.public(c.logout))

	mux.Handle("GET /{$}", c.page(Viewer, c.flow))
	mux.Handle("GET /events", c.page(Viewer, c.events))
	mux.Handle("GET /messages/{id}", c.page(Viewer, c.message))
	mux.Handle("GET /messages/{id}/raw", c.page(Agent, c.raw))
	mux.Handle("GET /messages/{id}/files/{n}", c.page(Agent, c.file))
	mux.Handle("GET /tickets", c.page(Viewer, c.tickets))
	mux.Handle("GET /tickets/{sink}/{id}", c.page(Viewer, c.ticket))
	mux.Handle("POST /tickets/{sink}/{id}/answer", c.page(Agent, c.answer))
	mux.Handle("POST /tickets/{sink}/{id}/update", c.page(Agent, c.update))
	mux.Handle("GET /people/{id}", c.page(Viewer, c.person))
	mux.Handle("GET /dead", c.page(Viewer, c.dead))
	mux.Handle("GET /dead/{id}", c.page(Viewer, c.letter))
	mux.Handle("POST /dead/{id}/retry", c.page(Agent, c.retry))
	mux.Handle("POST /dead/{id}/dismiss", c.page(Agent, c.dismiss))
	mux.Handle("GET /health", c.page(Viewer, c.health))
	mux.Handle("/", c.page(Viewer, c.unknown))
	return mux
}

// protect refuses what other origins' pages send and sets the headers that hold
// for every answer.
func (c *Console) protect(next http.Handler) http.Handler {
	guard := http.NewCrossOriginProtection()
	if u := c.opts.PublicURL; u != nil && u.Host != "" {
		// A malformed origin is the configuration's mistake and is refused there.
		_ = guard.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	guard.SetDenyHandler(c.public(func(http.ResponseWriter, *http.Request, *visitor) error {
		return &refusal{
			status: http.StatusForbidden, title: "Sent from another site",
			words: "This form was sent from a page that is not the console's, so nothing was done.", next: "Open the console and try there.",
		}
	}))
	inner := guard.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		inner.ServeHTTP(w, r)
	})
}

// maxForm is the largest form that the console takes, in bytes.
const maxForm = 256 << 10

// peer returns the address of the other end, without its port.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// secure reports whether the browser reached us by https.
func (c *Console) secure(r *http.Request) bool {
	u := c.opts.PublicURL
	return r.TLS != nil || (u != nil && u.Scheme == "https" && u.Host == r.Host)
}

func (c *Console) instance(list []Instance, name string) Instance {
	for _, in := range list {
		if in.Name == name {
			return in
		}
	}
	return Instance{Name: name, Kind: name}
}
