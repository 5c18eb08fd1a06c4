package app

import (
	"context"
	"maps"
	"sync"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// health knows how every channel and sink does, and tells the trail of changes.
type health struct {
	a       *App
	mu      sync.Mutex
	states  map[[2]string]schemas.HealthChanged
	readers map[string]*bus.Reader
}

func newHealth(a *App) *health {
	return &health{a: a, states: map[[2]string]schemas.HealthChanged{}, readers: map[string]*bus.Reader{}}
}

// of returns the function by which one channel or sink reports.
func (h *health) of(side, name string) func(state, reason string) {
	return func(state, reason string) {
		key := [2]string{side, name}
		now := schemas.HealthChanged{Side: side, Name: name, State: state, Reason: reason, At: time.Now().UTC()}
		h.mu.Lock()
		old, known := h.states[key]
		h.states[key] = now
		h.mu.Unlock()
		if old.State == state || (!known && state == "ok") {
			return
		}
		h.a.log.Warn("health changed", "side", side, "name", name, "state", state, "reason", reason)
		e, err := record.Event(schemas.EventHealth, "", record.Digest("health", side, name, now.At.String()), now.At, now)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err = h.a.bus.Publish(ctx, e)
		}
		if err != nil {
			h.a.log.Warn("a change of health was not told", "err", err)
		}
	}
}

// all returns the states that are known.
func (h *health) all() []schemas.HealthChanged {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]schemas.HealthChanged, 0, len(h.states))
	for s := range maps.Values(h.states) {
		out = append(out, s)
	}
	return out
}

// watch makes the reader of a sink's jobs known, nil forgets it.
func (h *health) watch(sink string, r *bus.Reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r == nil {
		delete(h.readers, sink)
		return
	}
	h.readers[sink] = r
}

// backlog returns how many jobs wait for each sink that runs here.
func (h *health) backlog() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]int{}
	for name, r := range h.readers {
		inside, beyond := r.Waiting()
		out[name] = inside + int(min(beyond, 1<<40)) //nolint:gosec // bounded above
	}
	return out
}
