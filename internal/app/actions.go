package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/console"
	"switchboard/internal/delivery"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// actions are what the console and the command line do.
type actions App

func (c *actions) app() *App { return (*App)(c) }

// Answers reports whether tickets of the sink are answered in our console.
func (c *actions) Answers(name string) bool {
	s := c.app().sink(name)
	return s != nil && s.Traits.Console
}

// desk returns a sink whose tickets are worked on here.
func (c *actions) desk(name string) (*sink, error) {
	s := c.app().sink(name)
	if s == nil || !s.Traits.Console {
		return nil, fmt.Errorf("%w: tickets of %s are answered at the desk itself", console.ErrNotFound, name)
	}
	return s, nil
}

// Answer puts an agent's comment on a ticket of the built-in desk. What becomes
// of it comes back like any desk's change: durable first, then to the customer.
func (c *actions) Answer(ctx context.Context, actor schemas.Actor, name, ticket, text string, v schemas.Visibility) (uint64, error) {
	s, err := c.desk(name)
	if err != nil {
		return 0, err
	}
	comment := schemas.Comment{
		Key: "a-" + strings.ToLower(rand.Text()), Author: schemas.Author{Role: schemas.ByAgent, Name: actor.Name, ID: actor.Name},
		Visibility: v, Text: text, At: time.Now().UTC(),
	}
	if v == schemas.Public {
		comment.Change = &schemas.Change{Status: new(schemas.StatusPending)}
	}
	if _, err := s.Sink.Append(ctx, schemas.Ref{ID: ticket}, comment); err != nil {
		return 0, missing(err)
	}
	return c.next(ctx)
}

// Update changes a ticket of the built-in desk.
func (c *actions) Update(ctx context.Context, actor schemas.Actor, name, ticket string, ch schemas.Change) (uint64, error) {
	s, err := c.desk(name)
	if err != nil {
		return 0, err
	}
	if s.Updater == nil {
		return 0, fmt.Errorf("%w: %s cannot be updated", console.ErrNotFound, name)
	}
	if err := s.Updater.Update(ctx, schemas.Ref{ID: ticket}, ch); err != nil {
		return 0, missing(err)
	}
	c.app().log.Info("ticket changed in the console", "sink", name, "ticket", ticket, "by", actor.Name)
	return c.next(ctx)
}

func missing(err error) error {
	if errors.Is(err, sinks.ErrNotFound) || errors.Is(err, delivery.ErrNoLetter) || errors.Is(err, bus.ErrNotFound) {
		return fmt.Errorf("%w: %w", console.ErrNotFound, err)
	}
	return err
}

// next is the position after everything that the trail holds now: the change is
// to be seen once the ledger has come past it.
func (c *actions) next(ctx context.Context) (uint64, error) {
	info, err := c.bus.Info(ctx, bus.Events)
	return info.Last + 1, err
}

// last is the position of what was just published.
func (c *actions) last(ctx context.Context) (uint64, error) {
	info, err := c.bus.Info(ctx, bus.Events)
	return info.Last, err
}

// Retry has a dead letter tried again.
func (c *actions) Retry(ctx context.Context, actor schemas.Actor, id string) (uint64, error) {
	if err := c.delivery.Retry(ctx, actor, id); err != nil {
		return 0, missing(err)
	}
	return c.last(ctx)
}

// Dismiss closes a dead letter with a reason.
func (c *actions) Dismiss(ctx context.Context, actor schemas.Actor, id, reason string) (uint64, error) {
	if err := c.delivery.Dismiss(ctx, actor, id, reason); err != nil {
		return 0, missing(err)
	}
	return c.last(ctx)
}

// Raw returns a delivery as it was received.
func (c *actions) Raw(ctx context.Context, seq uint64) (console.Raw, error) {
	m, err := c.bus.Message(ctx, bus.Deliveries, seq)
	if err != nil {
		return console.Raw{}, missing(err)
	}
	d, err := record.DecodeDelivery(ctx, c.bus, m)
	if err != nil {
		return console.Raw{}, missing(err)
	}
	return console.Raw{Method: d.Method, URL: d.URL, Header: d.Header, Body: d.Body, Via: string(d.Via), At: d.ReceivedAt}, nil
}

// File opens a stored attachment.
func (c *actions) File(ctx context.Context, blob string) (io.ReadCloser, error) {
	r, err := c.bus.Blob(ctx, blob)
	return r, missing(err)
}

// Status says how the program itself is.
func (c *actions) Status(context.Context) console.System {
	used, limit := c.bus.Store()
	r := c.app().readiness()
	return console.System{
		Version: c.o.Version, Uptime: time.Since(c.started), DiskUsed: used, DiskLimit: limit, Memory: memory(),
		Rules: c.o.Rules.Digest, Ready: r.Ready, Problems: r.Problems,
	}
}
