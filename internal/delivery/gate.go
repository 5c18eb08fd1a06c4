package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"switchboard/adapter/fault"
)

// A gate holds all calls to a desk back while calling makes no sense: it asked us
// to wait, it is out, or it refuses our credentials.
type gate struct {
	k  *desk
	mu sync.Mutex
	// until is when calls may go on; failures counts failed calls in a row.
	until    time.Time
	failures int
	// paused says that credentials are refused; probed is the last Check.
	paused bool
	probed time.Time
	state  string
}

// How a gate behaves.
const (
	outageAfter = 5 // failures in a row before the whole desk is given a rest
	outageMost  = 30 * time.Second
	probeEvery  = 10 * time.Second
	checkWithin = 15 * time.Second
)

func newGate(k *desk) *gate { return &gate{k: k} }

// enter returns nil when a call may start, else when to come again.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	now := time.Now()
	if wait := g.until.Sub(now); wait > 0 {
		g.mu.Unlock()
		return later{errors.New("the desk is given time"), wait}
	}
	if !g.paused {
		g.mu.Unlock()
		return nil
	}
	if now.Sub(g.probed) < probeEvery {
		wait := probeEvery - now.Sub(g.probed)
		g.mu.Unlock()
		return later{errors.New("the desk refuses our credentials"), wait}
	}
	g.probed = now
	g.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	if err := g.k.s.Sink.Check(ctx); err != nil {
		return later{err, probeEvery}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = false
	g.k.o.Metrics.Resumed(g.k.s.Name)
	g.tell("ok", "")
	return nil
}

// result learns from how a call ended.
func (g *gate) result(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil, fault.IsPermanent(err):
		g.failures = 0
		g.tell("ok", "")
		return
	case fault.IsAuth(err):
		if !g.paused {
			g.paused, g.probed = true, time.Now()
			g.k.o.Metrics.Paused(g.k.s.Name)
			g.k.log.Error("the desk refuses our credentials: its queue is kept and goes on when they work again", "err", err)
		}
		g.tell("paused", err.Error())
		return
	}
	if d, ok := fault.After(err); ok {
		g.hold(d)
		g.tell("degraded", err.Error())
		return
	}
	g.failures++
	if g.failures >= outageAfter {
		g.hold(min(time.Second<<min(g.failures/outageAfter-1, 5), outageMost))
		g.tell("down", err.Error())
	}
}

func (g *gate) hold(d time.Duration) {
	if until := time.Now().Add(d); until.After(g.until) {
		g.until = until
	}
}

// tell reports a change of state, once.
func (g *gate) tell(state, reason string) {
	if g.state == state {
		return
	}
	g.state = state
	g.k.health(state, reason)
}
