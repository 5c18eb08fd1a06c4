package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// openAdapters opens every channel and sink and reports all errors at once.
func (a *App) openAdapters(ctx context.Context) error {
	var errs []error
	for _, c := range a.o.Config.Channels {
		log := a.log.With("channel", c.Name)
		opened, err := channels.OpenChannel(c.Kind, c.Value, channels.Env{
			Name: c.Name, Log: log, HTTP: a.client(c.Name, c.Value), Key: a.tokens.Derive("channel", c.Name), Public: a.public(c.Kind, c.Name),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("channels.%s: %w", c.Name, err))
			continue
		}
		a.channels = append(a.channels, &channel{Opened: opened, common: c.Common})
		a.intake.AddChannel(opened, c.Common.RateLimit.N, c.Common.RateLimit.Per)
	}
	for _, s := range a.o.Config.Sinks {
		if err := a.openSink(ctx, s.Name, s.Kind, s.Value); err != nil {
			errs = append(errs, fmt.Errorf("sinks.%s: %w", s.Name, err))
			continue
		}
		a.sinks[len(a.sinks)-1].common = s.Common
	}
	return errors.Join(append(errs, a.accounts())...)
}

// accounts refuses two channels of one vendor account: they would hand every
// message in twice.
func (a *App) accounts() error {
	seen := map[string]string{}
	for _, c := range a.channels {
		if c.Traits.Mail {
			continue
		}
		scope := c.Scope("")
		if other, ok := seen[scope]; ok {
			return fmt.Errorf("channels.%s: it is the same account as channels.%s; remove one", c.Name, other)
		}
		seen[scope] = c.Name
	}
	return nil
}

func (a *App) openSink(ctx context.Context, name string, kind sinks.Kind, value any) error {
	s := &sink{catalogue: newCatalogue(ctx, a.bus, name)}
	env := sinks.Env{
		Name: name, Log: a.log.With("sink", name), HTTP: a.client(name, value), Catalogue: s.catalogue.get,
		Changed: func() { a.intake.Wake(name) },
	}
	if kind.Traits().Store {
		db, err := a.openInbox()
		if err != nil {
			return err
		}
		env.DB = db
	}
	opened, err := sinks.OpenSink(kind, value, env)
	if err != nil {
		return err
	}
	s.Opened = opened
	a.sinks = append(a.sinks, s)
	a.intake.AddSink(opened)
	return nil
}

// openInbox opens the built-in desk's own store: a system of record, fsynced.
func (a *App) openInbox() (*sql.DB, error) {
	if a.inbox != nil {
		return nil, errors.New("there is an inbox already; one is enough")
	}
	if !a.bus.Embedded() {
		return nil, errors.New("the inbox keeps its tickets on this machine, so it cannot serve instances that share a broker; use another desk")
	}
	synchronous := "FULL"
	if a.o.Config.Durability == "os" {
		synchronous = "NORMAL"
	}
	dsn := "file:" + (&url.URL{Path: filepath.Join(a.o.Config.Data, "inbox.db")}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=synchronous(" + synchronous + ")&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open inbox: %w", err)
	}
	a.inbox = db
	return db, nil
}

func (a *App) public(k channels.Kind, name string) string {
	if a.o.Config.PublicURL == "" {
		return ""
	}
	if k.Traits().Form {
		return a.o.Config.PublicURL + "/form/" + name
	}
	return a.o.Config.PublicURL + "/hooks/" + name
}

// client is the HTTP client of one adapter. Addresses that the configuration
// names are reached wherever they are; all others only outside private networks,
// for they may come from a customer.
func (a *App) client(name string, value any) *http.Client {
	allowed := configuredHosts(value)
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	guarded := *dialer
	guarded.Control = refusePrivate
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 65 * time.Second, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if slices.Contains(allowed, address) {
				return dialer.DialContext(ctx, network, address)
			}
			return guarded.DialContext(ctx, network, address)
		},
	}
	return &http.Client{
		Transport:     &telemetry.Transport{Base: transport, Metrics: a.metrics, Log: a.log, Adapter: name},
		CheckRedirect: redirect,
	}
}

// redirect follows a few redirects of reads, and none of writes: a write that is
// redirected may be done twice.
func redirect(r *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet && via[0].Method != http.MethodHead {
		return http.ErrUseLastResponse
	}
	if len(via) >= 5 {
		return errors.New("redirected more than five times")
	}
	if r.URL.Host != via[0].URL.Host {
		r.Header.Del("Authorization") // credentials are for the first host only
		r.Header.Del("Cookie")
	}
	return nil
}

// carrierGrade is shared between a provider and its customers (RFC 6598).
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10") //nolint:gochecknoglobals // a constant

func refusePrivate(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("refused address: %w", err)
	}
	ip := ap.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || carrierGrade.Contains(ip) {
		return errors.New("refused: the address is inside a private network")
	}
	return nil
}

// configuredHosts collects "host:port" of every address in an adapter's Config,
// embedded parts of it too.
func configuredHosts(value any) []string {
	var hosts []string
	v := reflect.ValueOf(value)
	for _, field := range reflect.VisibleFields(v.Type()) {
		var text string
		switch f := v.FieldByIndex(field.Index).Interface().(type) {
		case string:
			text = f
		case secret.Secret:
			text = f.Reveal()
		default:
			continue
		}
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		hosts = append(hosts, net.JoinHostPort(u.Hostname(), port))
	}
	return hosts
}

// A catalogue is what a desk calls its things, cached across restarts so that a
// desk that is down at start delays nothing.
type catalogue struct {
	key    string
	newest atomic.Pointer[schemas.Catalogue]
}

func newCatalogue(ctx context.Context, b *bus.Bus, name string) *catalogue {
	c := &catalogue{key: "catalogue." + name}
	c.newest.Store(&schemas.Catalogue{})
	if e, err := b.Bucket(bus.Cursors).Get(ctx, c.key); err == nil {
		var stored schemas.Catalogue
		if json.Unmarshal(e.Value, &stored) == nil {
			c.newest.Store(&stored)
		}
	}
	return c
}

func (c *catalogue) get() schemas.Catalogue { return *c.newest.Load() }

// How often the catalogue is read anew, and how soon again after a failure.
const (
	catalogueEvery = time.Hour
	catalogueRetry = time.Minute
)

// keep reads the catalogue now and then until ctx ends.
func (c *catalogue) keep(ctx context.Context, a *App, s *sink) {
	if s.Cataloguer == nil {
		return
	}
	for ctx.Err() == nil {
		wait := catalogueEvery
		call, cancel := context.WithTimeout(ctx, time.Minute)
		got, err := s.Cataloguer.Catalogue(call)
		cancel()
		if err != nil {
			wait = catalogueRetry
			if ctx.Err() == nil {
				a.log.Warn("the desk's catalogue was not read; the last one holds", "sink", s.Name, "err", err)
			}
		} else {
			got.At = time.Now().UTC()
			c.newest.Store(&got)
			if data, err := json.Marshal(got); err == nil {
				if _, err := a.bus.Bucket(bus.Cursors).Put(ctx, c.key, data); err != nil {
					a.log.Warn("the desk's catalogue was not stored", "sink", s.Name, "err", err)
				}
			}
		}
		pause(ctx, wait)
	}
}
