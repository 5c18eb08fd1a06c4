package intake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
)

// poller adds a channel that is polled and returns its source.
func poller(in *rig, f *fake) *source {
	in.AddChannel(opened("mail", f, channels.Traits[struct{}]{PollEvery: time.Hour}), 0, 0)
	return in.source("mail")
}

// cursor returns the stored cursor, "" for none.
func cursor(t *testing.T, in *rig) string {
	t.Helper()
	e, err := in.bus.Bucket(bus.Cursors).Get(t.Context(), "poll.mail")
	if err != nil && !errors.Is(err, bus.ErrNotFound) {
		t.Fatal(err)
	}
	return string(e.Value)
}

func TestPollMovesItsCursorOnceAllIsDurable(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	var asked []string
	at := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	s := poller(in, &fake{poll: func(_ context.Context, from string) (hook.Page, error) {
		asked = append(asked, from)
		return hook.Page{Next: from + "x", More: true, Deliveries: []hook.Delivery{
			{Body: []byte("one"), ReceivedAt: at}, {Body: []byte("two")},
		}}, nil
	}})
	for _, what := range []string{"deliveries", "$KV.cursors"} {
		in.fail(func(subject string) error {
			if strings.HasPrefix(subject, what) {
				return bus.ErrFull
			}
			return nil
		})
		if _, err := in.pollOnce(t.Context(), s); !errors.Is(err, bus.ErrFull) {
			t.Errorf("%s cannot be stored: got %v, want ErrFull", what, err)
		}
		if got := cursor(t, in); got != "" {
			t.Errorf("%s was not stored, but the cursor moved to %q", what, got)
		}
	}
	in.fail(nil)
	before := len(in.deliveries(t))
	if more, err := in.pollOnce(t.Context(), s); err != nil || !more {
		t.Errorf("got more %v, %v", more, err)
	}
	if got := cursor(t, in); got != "x" {
		t.Errorf("cursor: got %q, want x", got)
	}
	if _, err := in.pollOnce(t.Context(), s); err != nil || asked[len(asked)-1] != "x" {
		t.Errorf("the next poll asks from %q, %v; want the stored cursor", asked[len(asked)-1], err)
	}
	got := in.deliveries(t)[before:]
	if len(got) != 4 || string(got[0].Body) != "one" || string(got[1].Body) != "two" {
		t.Fatalf("got %d deliveries, want the pages in order", len(got))
	}
	if got[0].Via != hook.ViaPoll || !got[0].ReceivedAt.Equal(at) || got[1].ReceivedAt.IsZero() {
		t.Errorf("got %+v and %+v; want the vendor's time, or else ours", got[0], got[1])
	}
}

func TestPollThatFindsNothingNewWritesNothing(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	s := poller(in, &fake{poll: func(_ context.Context, from string) (hook.Page, error) {
		return hook.Page{Next: "same"}, nil
	}})
	for range 3 {
		if more, err := in.pollOnce(t.Context(), s); err != nil || more {
			t.Fatalf("got more %v, %v", more, err)
		}
	}
	e, err := in.bus.Bucket(bus.Cursors).Get(t.Context(), "poll.mail")
	info, infoErr := in.bus.Info(t.Context(), "KV_"+bus.Cursors)
	if err != nil || infoErr != nil || e.Revision != info.Last || info.Last != 1 {
		t.Errorf("the cursor was written %d times, %v, %v; want once", info.Last, err, infoErr)
	}
}

func TestPollRunsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	polled := make(chan string)
	answers := make(chan error)
	s := poller(in, &fake{poll: func(ctx context.Context, from string) (hook.Page, error) {
		select {
		case polled <- from:
		case <-ctx.Done():
			return hook.Page{}, ctx.Err()
		}
		err := <-answers
		return hook.Page{Next: from + "x", More: from == ""}, err
	}})
	health, told := watched()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.Poll(ctx, "mail", health)
		in.Poll(ctx, "nobody", health) // ends at once
	}()
	step := func(want string, err error, wantState string) {
		t.Helper()
		if got := within(t, "a poll", polled); got != want {
			t.Errorf("polled from %q, want %q", got, want)
		}
		answers <- err
		if got := within(t, "health", told); got.state != wantState || (got.reason == "") != (err == nil) {
			t.Errorf("health: got %+v, want %s", got, wantState)
		}
	}
	step("", nil, "ok")
	step("x", nil, "ok") // at once, for there was more
	s.wake <- struct{}{}
	step("xx", errBroken, "degraded") // after a wake, for the pause is an hour
	step("xxx"[:2], fault.Auth(errBroken), "paused")
	within(t, "the poll after the pause of a failure", polled)
	cancel()
	answers <- nil
	within(t, "the end", done)
}

func TestPollWaitsWhileNothingCanBeStored(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	s := poller(in, &fake{poll: func(context.Context, string) (hook.Page, error) {
		t.Error("the vendor was asked for what cannot be stored")
		return hook.Page{}, nil
	}})
	if err := in.bus.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.pollOnce(t.Context(), s); err == nil {
		t.Error("a poll over a closed bus")
	}
}

func TestBackoffObeysTheFault(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		attempt   int
		err       error
		low, high time.Duration
	}{
		{1, errBroken, 500 * time.Millisecond, time.Second},
		{2, errBroken, time.Second, 2 * time.Second},
		{5, fault.Auth(errBroken), 8 * time.Second, 16 * time.Second},
		{9, errBroken, 128 * time.Second, 256 * time.Second},
		{10, errBroken, 150 * time.Second, 5 * time.Minute},
		{1 << 40, errBroken, 150 * time.Second, 5 * time.Minute},
		{1, fault.RetryAfter(errBroken, 90*time.Second), 90 * time.Second, 90 * time.Second},
		{1, fmt.Errorf("poll: %w", fault.NotDone(fault.RetryAfter(errBroken, time.Hour))), time.Hour, time.Hour},
		{10, fault.RetryAfter(errBroken, time.Second), 150 * time.Second, 5 * time.Minute},
		{1, nil, 500 * time.Millisecond, time.Second},
	} {
		for range 50 {
			if got := backoff(tt.attempt, tt.err); got < tt.low || got > tt.high {
				t.Errorf("attempt %d after %v: got %v, want %v to %v", tt.attempt, tt.err, got, tt.low, tt.high)
			}
		}
	}
}

func TestStreamEmitsOnlyWhatIsDurable(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	answers := make(chan error, 10)
	breaks := make(chan error)
	f := &fake{stream: func(ctx context.Context, emit func(hook.Delivery) error) error {
		answers <- emit(hook.Delivery{Body: []byte("hello")})
		select {
		case err := <-breaks:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}
	c := opened("chat", f, channels.Traits[struct{}]{})
	in.AddChannel(c, 0, 0)
	health, told := watched()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.Stream(ctx, c, health)
		in.Stream(ctx, opened("unknown", f, channels.Traits[struct{}]{}), health) // ends at once
	}()
	if err := within(t, "an answer to emit", answers); err != nil {
		t.Fatal(err)
	}
	got := in.deliveries(t)
	if len(got) != 1 || string(got[0].Body) != "hello" || got[0].Via != hook.ViaStream || got[0].ReceivedAt.IsZero() {
		t.Fatalf("when emit has returned: got %+v", got)
	}
	if got := within(t, "health", told); got != (state{"ok", ""}) {
		t.Errorf("health: got %+v", got)
	}
	in.fail(func(string) error { return bus.ErrFull })
	breaks <- nil
	if got := within(t, "health", told); got.state != "degraded" || got.reason == "" || strings.Contains(got.reason, "nil") {
		t.Errorf("a connection that ended without a word: got %+v", got)
	}
	if err := within(t, "an answer to emit, after the backoff", answers); !errors.Is(err, bus.ErrFull) {
		t.Errorf("emit that cannot store: got %v, want ErrFull, so that nothing is acknowledged", err)
	}
	within(t, "health", told)
	breaks <- fault.Auth(errBroken)
	if got := within(t, "health", told); got.state != "paused" || got.reason != errBroken.Error() {
		t.Errorf("refused credentials: got %+v", got)
	}
	cancel()
	within(t, "the end", done)
	if got := in.deliveries(t); len(got) != 1 {
		t.Errorf("%d deliveries, want one", len(got))
	}
}
