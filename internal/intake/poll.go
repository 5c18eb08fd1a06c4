package intake

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/telemetry"
)

// Health is told how a channel or a sink does; reason is "" when it does well.
type Health func(state, reason string)

// Poll asks the source of that name for deliveries until ctx ends. It needs the
// unit's lease. The cursor moves only once every delivery of a page is durable.
func (in *Intake) Poll(ctx context.Context, name string, health Health) {
	s := in.source(name)
	if s == nil || s.poller == nil {
		return
	}
	log := in.o.Log.With("channel", name)
	for attempt := 0; ctx.Err() == nil; {
		more, err := in.pollOnce(ctx, s)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			attempt++
			health(condition(err), err.Error())
			log.Warn("poll failed", "attempt", attempt, "err", err)
			in.pause(ctx, s, backoff(attempt, err), false)
			continue
		}
		attempt = 0
		health("ok", "")
		if !more {
			in.pause(ctx, s, s.every, true)
		}
	}
}

func (in *Intake) pollOnce(ctx context.Context, s *source) (more bool, err error) {
	cursors := in.o.Bus.Bucket(bus.Cursors)
	key := "poll." + s.name
	cursor := ""
	e, err := cursors.Get(ctx, key)
	switch {
	case err == nil:
		cursor = string(e.Value)
	case !errors.Is(err, bus.ErrNotFound):
		return false, err
	}
	if err := in.o.Bus.Ready(); err != nil {
		return false, err // nothing moves while nothing can be stored
	}
	page, err := s.poller.Poll(ctx, cursor)
	if err != nil {
		return false, fmt.Errorf("poll: %w", err)
	}
	started := time.Now()
	records := make([]bus.Record, len(page.Deliveries))
	for i, d := range page.Deliveries {
		d.Via = hook.ViaPoll
		if d.ReceivedAt.IsZero() {
			d.ReceivedAt = started.UTC()
		}
		if records[i], err = in.encode(ctx, s, d, telemetry.NewTrace().String()); err != nil {
			return false, fmt.Errorf("store delivery: %w", err)
		}
	}
	if _, err := in.o.Bus.Publish(ctx, records...); err != nil {
		return false, fmt.Errorf("store deliveries: %w", err)
	}
	for range records {
		in.o.Metrics.Accepted(s.name, time.Since(started))
	}
	if page.Next != cursor {
		if _, err := cursors.Put(ctx, key, []byte(page.Next)); err != nil {
			return false, fmt.Errorf("store cursor: %w", err)
		}
	}
	return page.More, nil
}

// pause waits for d, or for a wake where wakeable.
func (in *Intake) pause(ctx context.Context, s *source, d time.Duration, wakeable bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	wake := s.wake
	if !wakeable {
		wake = nil
	}
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-wake:
	}
}

// condition is the state that a failed poll or stream puts its source in.
func condition(err error) string {
	if fault.IsAuth(err) {
		return "paused" // until somebody mends the credentials
	}
	return "degraded"
}

// backoff doubles from a second to five minutes, with jitter, and never less
// than the vendor asks for.
func backoff(attempt int, err error) time.Duration {
	d := min(time.Second<<min(attempt-1, 9), 5*time.Minute)
	d = d/2 + rand.N(d/2+1) //nolint:gosec // jitter, not a secret
	if after, ok := fault.After(err); ok {
		d = max(d, after)
	}
	return d
}

// Stream holds the channel's connection open until ctx ends; see Poll.
func (in *Intake) Stream(ctx context.Context, c *channels.Opened, health Health) {
	s := in.source(c.Name)
	if s == nil || c.Streamer == nil {
		return
	}
	log := in.o.Log.With("channel", c.Name)
	for attempt := 1; ctx.Err() == nil; attempt++ {
		started := time.Now()
		err := c.Streamer.Stream(ctx, func(d hook.Delivery) error {
			d.Via, d.ReceivedAt = hook.ViaStream, time.Now().UTC()
			health("ok", "")
			return in.keep(ctx, s, d, telemetry.NewTrace().String())
		})
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > time.Minute {
			attempt = 1
		}
		if err == nil {
			err = errors.New("the connection ended")
		}
		health(condition(err), err.Error())
		log.Warn("stream broke off", "attempt", attempt, "err", err)
		in.pause(ctx, s, backoff(attempt, err), false)
	}
}
