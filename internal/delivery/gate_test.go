package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// credentials is a desk of which only Check is asked.
type credentials struct {
	sinks.Sink
	mu     sync.Mutex
	err    error
	checks int
}

func (c *credentials) Check(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checks++
	return c.err
}

func newTestGate(c *credentials) (*gate, *[]string) {
	var states []string
	k := &desk{
		o: Options{Metrics: telemetry.NewMetrics()}, s: &sinks.Opened{Name: "desk", Sink: c}, log: telemetry.Discard(),
		health: func(state, _ string) { states = append(states, state) },
	}
	return newGate(k), &states
}

// waitAt is how long enter says to wait, 0 when a call may start.
func waitAt(t *testing.T, g *gate) time.Duration {
	t.Helper()
	err := g.enter(t.Context())
	if err == nil {
		return 0
	}
	d, ok := errors.AsType[later](err)
	if !ok || d.Unwrap() == nil {
		t.Fatalf("got %v, want an error that says when", err)
	}
	return d.Delay()
}

// TestRefusedCredentialsPauseUntilACheckPasses: the queue is kept, the desk is
// asked now and then, and goes on by itself.
func TestRefusedCredentialsPauseUntilACheckPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &credentials{err: errors.New("401")}
		g, states := newTestGate(c)
		g.result(fault.Auth(errors.New("401")))
		g.result(fault.Auth(errors.New("401")))
		if got := waitAt(t, g); got != probeEvery || c.checks != 0 {
			t.Errorf("at once: got to wait %s after %d checks, want %s and none", got, c.checks, probeEvery)
		}
		time.Sleep(probeEvery) //nolint:forbidigo // in a bubble
		if got := waitAt(t, g); got != probeEvery || c.checks != 1 {
			t.Errorf("after a while: got to wait %s after %d checks", got, c.checks)
		}
		if got := waitAt(t, g); got != probeEvery || c.checks != 1 {
			t.Errorf("again at once: got to wait %s after %d checks, want no further check", got, c.checks)
		}
		c.err = nil
		time.Sleep(probeEvery) //nolint:forbidigo // in a bubble
		if got := waitAt(t, g); got != 0 {
			t.Errorf("mended: got to wait %s", got)
		}
		if got := waitAt(t, g); got != 0 || c.checks != 2 {
			t.Errorf("afterwards: got to wait %s after %d checks, want none and 2", got, c.checks)
		}
		if want := []string{"paused", "ok"}; !slices.Equal(*states, want) {
			t.Errorf("got states %q, want %q", *states, want)
		}
	})
}

// TestTheVendorsPauseHoldsForTheWholeDesk: 429 with Retry-After.
func TestTheVendorsPauseHoldsForTheWholeDesk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, states := newTestGate(&credentials{})
		g.result(fault.RetryAfter(fault.NotDone(errors.New("429")), 7*time.Second))
		g.result(fault.RetryAfter(fault.NotDone(errors.New("429")), time.Second)) // of another call: no shorter
		if got := waitAt(t, g); got != 7*time.Second {
			t.Errorf("got to wait %s, want 7s", got)
		}
		time.Sleep(7 * time.Second) //nolint:forbidigo // in a bubble
		if got := waitAt(t, g); got != 0 {
			t.Errorf("afterwards: got to wait %s", got)
		}
		g.result(nil)
		if want := []string{"degraded", "ok"}; !slices.Equal(*states, want) {
			t.Errorf("got states %q, want %q", *states, want)
		}
	})
}

// TestAnOutageRestsTheDeskEverLonger, and one success ends it. A refusal is an
// answer: the desk is there.
func TestAnOutageRestsTheDeskEverLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g, states := newTestGate(&credentials{})
		for range outageAfter - 1 {
			g.result(errors.New("500"))
		}
		g.result(fault.Permanent(errors.New("422")))
		for range outageAfter - 1 {
			g.result(errors.New("500"))
		}
		if got := waitAt(t, g); got != 0 {
			t.Errorf("a few failures: got to wait %s", got)
		}
		last := time.Duration(0)
		for range 40 {
			g.result(errors.New("500"))
			got := waitAt(t, g)
			if got < last || got > outageMost || got == 0 {
				t.Fatalf("got to wait %s after %s, want ever longer, at most %s", got, last, outageMost)
			}
			last = got
			time.Sleep(got) //nolint:forbidigo // in a bubble
		}
		if last != outageMost {
			t.Errorf("got %s in the end, want %s", last, outageMost)
		}
		g.result(nil)
		if got := waitAt(t, g); got != 0 {
			t.Errorf("after a success: got to wait %s", got)
		}
		if want := []string{"ok", "down", "ok"}; !slices.Equal(*states, want) {
			t.Errorf("got states %q, want %q", *states, want)
		}
	})
}

// TestAPausedDeskKeepsItsQueue: the message is neither lost nor dead, and a
// restart asks the desk anew.
func TestAPausedDeskKeepsItsQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sinks.StrongLookup)
	w.set.Settle = time.Millisecond
	w.desk.plan("create", refuse(fault.Auth(&fault.Status{Code: 401})))
	w.start()
	w.send(mail{id: "1", conv: "a", text: "one"})
	w.says(schemas.EventRetrying, 1)
	if at := w.record("1").Sinks["desk"].State; at != "pending" || len(w.letters()) != 0 {
		t.Errorf("got %s and %d dead letters, want it pending", at, len(w.letters()))
	}
	w.restart()
	w.filed(1)
	w.exactly([]string{"one"})
}

// TestWhatATicketAnswersIsNotTheDesksHealth: a closed ticket says nothing on others.
func TestWhatATicketAnswersIsNotTheDesksHealth(t *testing.T) {
	t.Parallel()
	for _, err := range []error{sinks.ErrClosed, sinks.ErrNotFound, context.Canceled} {
		if got := gateView(err); got != nil {
			t.Errorf("%v: got %v, want none", err, got)
		}
	}
	if gateView(errLost) == nil {
		t.Error("a lost answer is hidden from the gate")
	}
}
