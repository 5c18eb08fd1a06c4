package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/delivery"
	"switchboard/internal/ledger"
	"switchboard/internal/record"
)

// stopWithin bounds a graceful stop as a whole.
const stopWithin = 30 * time.Second

// Run takes messages in and files them until ctx ends, then stops gracefully:
// intake first, then calls under way, checkpoints and leases, the ledger, and
// the broker in Close. It returns ErrRestart when the broker has to be opened
// anew.
func (a *App) Run(ctx context.Context) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	failed := make(chan error, 2)
	a.wg.Go(func() { a.project(life) })
	for _, c := range a.channels {
		a.wg.Go(func() {
			a.own(life, "in."+c.Name, func(ctx context.Context, l *bus.Lease) error { return a.runChannel(ctx, c, l) })
		})
	}
	for _, s := range a.sinks {
		a.wg.Go(func() {
			a.own(life, "sink."+s.Name, func(ctx context.Context, l *bus.Lease) error { return a.runSink(ctx, s, l) })
		})
	}
	a.wg.Go(func() { a.own(life, "janitor", a.runJanitor) })
	a.wg.Go(func() { a.gauge(life) })
	go func() { failed <- a.server.Serve(a.listener) }()
	go func() { failed <- a.local.Serve(a.socket) }()

	var err error
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	for err == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
			err = fmt.Errorf("serve: %w", err)
		case <-watch.C:
			if a.bus.Broken() {
				err = ErrRestart
			}
		}
	}
	return errors.Join(err, a.shutdown())
}

func (a *App) shutdown() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	a.log.Info("stopping")
	a.console.Close() // open event streams would hold the server
	err := errors.Join(a.server.Shutdown(ctx), a.local.Shutdown(ctx))
	a.stop()
	done := make(chan struct{})
	go func() { a.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, errors.New("stop: calls under way did not end in time"))
	}
	return err
}

// Close frees what New opened.
func (a *App) Close() error {
	a.stop()
	var errs []error
	for _, l := range []net.Listener{a.listener, a.socket} {
		if l != nil {
			_ = l.Close() // a served listener is closed already
		}
	}
	for _, c := range a.channels {
		if c.Closer != nil {
			errs = append(errs, c.Closer.Close())
		}
	}
	for _, s := range a.sinks {
		if s.Closer != nil {
			errs = append(errs, s.Closer.Close())
		}
	}
	if a.inbox != nil {
		errs = append(errs, a.inbox.Close())
	}
	if a.ledger != nil {
		errs = append(errs, a.ledger.Close())
	}
	if a.bus != nil {
		errs = append(errs, a.bus.Close())
	}
	return errors.Join(errs...)
}

// own runs a unit whenever this process has its lease.
func (a *App) own(ctx context.Context, unit string, run func(context.Context, *bus.Lease) error) {
	for ctx.Err() == nil {
		lease, err := a.bus.Lease(ctx, unit)
		if err != nil {
			if ctx.Err() == nil {
				a.log.Warn("lease was not had", "unit", unit, "err", err)
			}
			pause(ctx, time.Second)
			continue
		}
		owned, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-lease.Lost():
				cancel()
			case <-owned.Done():
			}
		}()
		err = run(owned, lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			a.log.Warn("unit ended", "unit", unit, "err", err)
			pause(ctx, time.Second)
		}
		release, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		if err := lease.Release(release); err != nil {
			a.log.Warn("lease was not released", "unit", unit, "err", err)
		}
		done()
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// runChannel is everything that a channel's owner does.
func (a *App) runChannel(ctx context.Context, c *channel, lease *bus.Lease) error {
	in, err := a.pipeline.Run(ctx, c.Opened, lease)
	if err != nil {
		return err
	}
	out, err := a.intake.Replies(ctx, c.Opened, lease, c.common.Replies.OnUnknown == "resend", a.health.of("channel", c.Name))
	if err != nil {
		return errors.Join(err, in.Stop())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c.Poller != nil {
			a.intake.Poll(ctx, c.Name, a.health.of("channel", c.Name))
		}
	}()
	if c.Streamer != nil {
		a.intake.Stream(ctx, c.Opened, a.health.of("channel", c.Name))
	}
	<-ctx.Done()
	<-done
	err = in.Stop()
	if out != nil {
		err = errors.Join(err, out.Stop())
	}
	return err
}

// runSink is everything that a sink's owner does.
func (a *App) runSink(ctx context.Context, s *sink, lease *bus.Lease) error {
	health := a.health.of("sink", s.Name)
	readers, err := a.delivery.Run(ctx, s.Opened, delivery.Settings{
		Settle: s.common.Settle, Hold: s.common.AfterDead == "hold", Concurrency: s.common.Concurrency,
	}, lease, health)
	if err != nil {
		return err
	}
	a.health.watch(s.Name, readers[0])
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.Poller != nil {
			a.intake.Poll(ctx, s.Name, health)
		}
	}()
	s.catalogue.keep(ctx, a, s)
	<-ctx.Done()
	<-done
	a.health.watch(s.Name, nil)
	for _, r := range readers {
		err = errors.Join(err, r.Stop())
	}
	return err
}

// project feeds the ledger from the trail, rebuilding it when it belongs to
// another stream.
func (a *App) project(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.projectOnce(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("the ledger's projection broke off", "err", err)
			pause(ctx, time.Second)
		}
	}
}

func (a *App) projectOnce(ctx context.Context) error {
	info, err := a.bus.Info(ctx, bus.Events)
	if err != nil {
		return err
	}
	created, seq, err := a.ledger.Position(ctx)
	if err != nil {
		return err
	}
	if seq > 0 && (!created.Equal(info.Created) || seq > info.Last) {
		a.log.Warn("the ledger is rebuilt: it was filled from another stream")
		if err := a.ledger.Reset(ctx); err != nil {
			return err
		}
		seq = 0
	}
	return a.bus.Batches(ctx, bus.Events, seq+1, 1000, func(batch []*bus.Msg) error {
		events := make([]ledger.Event, len(batch))
		for i, m := range batch {
			t, id, at := record.EventHeader(m)
			events[i] = ledger.Event{Seq: m.Seq, ID: id, Type: t, Conversation: m.Subject[len("events."):], Time: at, Data: m.Data}
		}
		return a.ledger.Apply(ctx, info.Created, events)
	})
}

// gauge keeps the gauges of /metrics true.
func (a *App) gauge(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, 5*time.Second) {
		for name, waiting := range a.health.backlog() {
			a.metrics.Backlog(name, waiting)
		}
		used, limit := a.bus.Store()
		a.metrics.Store(uint64(max(used, 0)), uint64(max(limit, 0)))
		if info, err := a.bus.Info(ctx, bus.Events); err == nil {
			seq, _ := a.ledger.AsOf()
			a.metrics.LedgerLag(info.Last - min(seq, info.Last))
		}
	}
}

// openSocket listens for the command line; only this user may connect.
func (a *App) openSocket(path string, h http.Handler) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace socket: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("listen for the command line: %s: the path is too long for a socket; choose a shorter data directory with --data", path)
	}
	if err != nil {
		return fmt.Errorf("listen for the command line: %w", err)
	}
	a.socket = l
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("protect socket: %w", err)
	}
	a.local = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	return nil
}
