package inbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"switchboard/adapter/fault"
	"switchboard/schemas"
	"switchboard/sinks"
)

// queued waits until n writes wait behind the leader.
func queued(t *testing.T, g *group, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		g.mu.Lock()
		have := len(g.queue)
		g.mu.Unlock()
		if have == n {
			return
		}
		runtime.Gosched()
	}
}

// stuck starts a leader that stays in its transaction until release is called,
// and returns where its outcome appears.
func stuck(t *testing.T, ctx context.Context, s *sink) (release func(), outcome <-chan error) {
	t.Helper()
	in, out, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		done <- s.run(ctx, func(context.Context, *batch) error {
			once.Do(func() { close(in); <-out })
			return nil
		})
	}()
	<-in
	return func() { close(out) }, done
}

func TestOneFailedWriteTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	s, _ := desk(t, database(t), "inbox")
	ref := create(t, s, "sb-1")
	release, outcome := stuck(t, t.Context(), s)
	broken := errors.New("broken")
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.run(t.Context(), func(ctx context.Context, b *batch) error {
			b.comment++
			if _, err := b.tx.ExecContext(ctx, `INSERT INTO inbox_comments (id, ticket, schema, doc) VALUES ($1, 1001, 1, '{}')`, b.comment); err != nil {
				t.Error(err)
			}
			return broken
		})
		if !errors.Is(err, broken) || !fault.IsNotDone(err) {
			t.Errorf("error %v, want broken and not done", err)
		}
	})
	wg.Go(func() {
		_, err := s.Append(t.Context(), schemas.Ref{ID: "T-7"}, said("sb-2", schemas.ByRequester, "x"))
		if !errors.Is(err, sinks.ErrNotFound) {
			t.Error(err)
		}
	})
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.Append(t.Context(), ref, said(fmt.Sprintf("sb-c%d", i), schemas.ByRequester, "x")); err != nil {
				t.Error(err)
			}
		})
	}
	queued(t, &s.group, 22)
	release()
	wg.Wait()
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	thread, err := s.Thread(t.Context(), ref)
	if err != nil || len(thread) != 20 || thread[19].ID != "20" {
		t.Errorf("thread has %d entries, want 20 numbered without gaps: %v", len(thread), err)
	}
}

func TestCancelledLeaderHandsItsFollowersOn(t *testing.T) {
	t.Parallel()
	s, _ := desk(t, database(t), "inbox")
	create(t, s, "sb-0")
	ctx, cancel := context.WithCancel(t.Context())
	left, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	calls := 0
	own := &write{done: make(chan error, 1), do: func(context.Context, *batch) error {
		if calls++; calls > 1 {
			return nil
		}
		leave()
		if err := <-gone; !errors.Is(err, context.Canceled) || fault.IsNotDone(err) {
			t.Errorf("who leaves while its write is under way: %v, want cancelled and unknown", err)
		}
		cancel()
		return nil
	}}
	s.turn <- struct{}{} // the test leads
	s.queue = append(s.queue, own)
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() { create(t, s, fmt.Sprintf("sb-%d", i+1)) })
	}
	queued(t, &s.group, 6)
	go func() {
		_, err := s.Create(left, ticket("sb-gone"))
		gone <- err
	}()
	queued(t, &s.group, 7)
	s.lead(ctx)
	queued(t, &s.group, 6)
	<-s.turn
	wg.Wait()
	if err := <-own.done; err != nil || calls != 2 {
		t.Errorf("the cancelled leader's write ran %d times: %v; want twice and done", calls, err)
	}
	if found, err := s.Find(t.Context(), "sb-gone"); err != nil || found != nil {
		t.Errorf("the write nobody waits for any more was repeated: %v, %v", found, err)
	}
	if got := create(t, s, "sb-next"); got.ID != "T-1007" {
		t.Errorf("next ticket is %s, want T-1007", got.ID)
	}
}

func TestWhoLeavesTheQueueIsNotServed(t *testing.T) {
	t.Parallel()
	s, _ := desk(t, database(t), "inbox")
	create(t, s, "sb-0")
	release, outcome := stuck(t, t.Context(), s)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := s.Create(ctx, ticket("sb-1"))
		gone <- err
	}()
	queued(t, &s.group, 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || !fault.IsNotDone(err) {
		t.Errorf("who leaves before its turn: %v, want cancelled and not done", err)
	}
	release()
	if err := <-outcome; err != nil {
		t.Error(err)
	}
	if found, err := s.Find(t.Context(), "sb-1"); err != nil || found != nil {
		t.Errorf("it was served: %v, %v", found, err)
	}
}
