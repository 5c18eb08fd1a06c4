// Package app builds the whole program from a configuration and runs it: broker,
// ledger, channels, sinks, console and interface, and the order in which they
// start and stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/config"
	"switchboard/internal/console"
	"switchboard/internal/delivery"
	"switchboard/internal/intake"
	"switchboard/internal/ledger"
	"switchboard/internal/pipeline"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/router"
	"switchboard/schemas"
	"switchboard/sinks"
)

// Options are what an App needs.
type Options struct {
	Config *config.Config
	Rules  *config.Rules
	Log    *slog.Logger
	// Version of the program, as it names itself.
	Version string
	// Metrics may be nil.
	Metrics *telemetry.Metrics
	// Recovered says that a backup was restored: for one horizon every create and
	// append asks the desk first whether it is there already.
	Recovered bool
	// FreeSpace overrides how free disk space is measured; nil asks the system.
	FreeSpace func(dir string) (int64, error)
	// Reserve is how much disk stays free; 0 takes the bus's default.
	Reserve int64
	// Fault is bus.Options.Fault, for rehearsing crashes; nil for none.
	Fault func(subject string) error
}

// An App is one running Switchboard.
type App struct {
	o       Options
	log     *slog.Logger
	metrics *telemetry.Metrics
	started time.Time

	bus      *bus.Bus
	tokens   record.Tokens
	ledger   *ledger.Ledger
	inbox    closer
	intake   *intake.Intake
	pipeline *pipeline.Pipeline
	delivery *delivery.Delivery
	console  *console.Console
	health   *health
	// recovered is until when desks are asked first, in Unix seconds; 0 for never.
	recovered atomic.Int64
	channels  []*channel
	sinks     []*sink
	password  string
	token     string

	listener net.Listener
	socket   net.Listener
	server   *http.Server
	local    *http.Server
	wg       sync.WaitGroup
	stop     context.CancelFunc
}

type channel struct {
	*channels.Opened
	common config.ChannelCommon
}

type sink struct {
	*sinks.Opened
	common    config.SinkCommon
	catalogue *catalogue
}

type closer interface{ Close() error }

// ErrRestart says that the embedded broker has to be opened anew: it met a full
// disk and stores nothing any more, although there is room again.
var ErrRestart = errors.New("the embedded broker needs a restart")

// New builds everything and starts listening, but takes nothing in yet: Run
// does. Close must be called after Run, or instead of it.
func New(ctx context.Context, o Options) (a *App, err error) {
	if o.Metrics == nil {
		o.Metrics = telemetry.NewMetrics()
	}
	a = &App{o: o, log: o.Log, metrics: o.Metrics, started: time.Now(), stop: func() {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
			a = nil
		}
	}()
	a.health = newHealth(a)
	if err := os.MkdirAll(o.Config.Data, 0o700); err != nil {
		return a, fmt.Errorf("make data directory: %w", err)
	}
	if a.listener, err = listen(ctx, o.Config.Listen); err != nil {
		return a, err
	}
	if err := a.openBus(ctx); err != nil {
		return a, err
	}
	if a.ledger, err = ledger.Open(ctx, filepath.Join(o.Config.Data, "ledger.db")); err != nil {
		return a, fmt.Errorf("open ledger: %w", err)
	}
	if err := a.readRecovered(ctx); err != nil {
		return a, err
	}
	if err := a.openStages(); err != nil {
		return a, err
	}
	if err := a.openAdapters(ctx); err != nil {
		return a, err
	}
	return a, a.openConsole(ctx)
}

func (a *App) openBus(ctx context.Context) (err error) {
	c := a.o.Config
	o := bus.Options{
		URL: c.NATS.URL, Replicas: c.NATS.Replicas, Durability: bus.Durability(c.Durability), NATSConfig: c.NATS.Config,
		MaxStore: int64(c.StoreLimit), Log: a.log, Batch: a.metrics.Batch, FreeSpace: a.o.FreeSpace, Reserve: a.o.Reserve, Fault: a.o.Fault,
	}
	if o.URL == "" {
		o.Dir = c.Data
	}
	if !c.NATS.Credentials.IsZero() {
		o.CredentialsData = c.NATS.Credentials.Bytes()
	}
	if a.bus, err = bus.Open(ctx, o); err != nil {
		return fmt.Errorf("open broker: %w", err)
	}
	a.tokens, err = record.OpenTokens(ctx, a.bus)
	return err
}

func (a *App) openStages() (err error) {
	c := a.o.Config
	a.intake, err = intake.New(intake.Options{
		Bus: a.bus, Tokens: a.tokens, Metrics: a.metrics, Log: a.log, PublicURL: c.PublicURL, Proxies: c.TrustedProxies,
	})
	if err != nil {
		return err
	}
	names := make([]string, len(c.Sinks))
	for i, s := range c.Sinks {
		names[i] = s.Name
	}
	rules := &decider{rules: a.o.Rules}
	a.pipeline = pipeline.New(pipeline.Options{
		Bus: a.bus, Tokens: a.tokens, Metrics: a.metrics, Log: a.log, Sinks: names, Horizon: c.Horizon,
		Rules: func() pipeline.Rules { return rules },
	})
	a.delivery = delivery.New(delivery.Options{
		Bus: a.bus, Tokens: a.tokens, Metrics: a.metrics, Log: a.log, Channel: a.channel, FileURL: a.fileURL,
		Recovered: func() bool { return time.Now().Unix() < a.recovered.Load() },
	})
	return nil
}

// recoveredKey keeps until when desks are asked first, across restarts.
const recoveredKey = "meta.recovered"

// readRecovered finds out whether a backup was restored within the horizon: a
// person said so, now or at an earlier start, or the ledger knows events that the
// stream does not have.
func (a *App) readRecovered(ctx context.Context) error {
	e, err := a.bus.Bucket(bus.Cursors).Get(ctx, recoveredKey)
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		return err
	}
	if until, err := strconv.ParseInt(string(e.Value), 10, 64); err == nil {
		a.recovered.Store(until)
	}
	info, err := a.bus.Info(ctx, bus.Events)
	if err != nil {
		return err
	}
	created, seq, err := a.ledger.Position(ctx)
	if err != nil {
		return err
	}
	if !a.o.Recovered && (!created.Equal(info.Created) || seq <= info.Last) {
		return nil
	}
	until := time.Now().Add(a.o.Config.Horizon).Unix()
	a.recovered.Store(until)
	a.log.Warn("a backup was restored: desks are asked before anything is filed", "until", time.Unix(until, 0).UTC())
	_, err = a.bus.Bucket(bus.Cursors).Put(ctx, recoveredKey, strconv.AppendInt(nil, until, 10))
	return err
}

// fileURL is where an agent opens a message's file.
func (a *App) fileURL(mid string, n int) string {
	base := a.o.Config.PublicURL
	if base == "" {
		base = a.URL()
	}
	return fmt.Sprintf("%s/messages/%s/files/%d", base, mid, n)
}

func (a *App) channel(name string) *channels.Opened {
	for _, c := range a.channels {
		if c.Name == name {
			return c.Opened
		}
	}
	return nil
}

func (a *App) sink(name string) *sink {
	for _, s := range a.sinks {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// URL is where the server listens, as a browser on this machine reaches it.
func (a *App) URL() string {
	addr, ok := a.listener.Addr().(*net.TCPAddr)
	if !ok {
		return "http://" + a.listener.Addr().String()
	}
	host := "localhost"
	if !addr.IP.IsUnspecified() {
		host = addr.IP.String()
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Password is that of the console's first user, "" unless this start made it.
func (a *App) Password() string { return a.password }

func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w; choose another address with --listen", address, err)
	}
	return l, nil
}

// A decider applies one set of rules.
type decider struct{ rules *config.Rules }

func (d *decider) Digest() string { return d.rules.Digest }

func (d *decider) Decide(m *schemas.Message) (schemas.Classification, []schemas.Decision) {
	class := d.rules.Classifier.Classify(*m)
	return class, d.rules.Tree.Match(router.Facts{Message: m, Class: &class})
}
