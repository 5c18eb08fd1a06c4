package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var errNotYet = errors.New("not yet")

func bySubject(m *Msg) []string { return []string{m.Subject} }

func atOnce(int) time.Duration { return 0 }

// read starts a reader that the end of the test stops.
func read(t *testing.T, b *Bus, cfg ReaderConfig, handler func(context.Context, *Msg) error) *Reader {
	t.Helper()
	if cfg.Unit == "" {
		cfg.Unit = "r"
	}
	if cfg.Stream == "" {
		cfg.Stream = Jobs
	}
	r, err := b.Handle(t.Context(), cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return r
}

func TestReaderHandsOverTheWholeMessage(t *testing.T) {
	t.Parallel()
	for _, headersOnly := range []bool{false, true} {
		b := open(t, t.TempDir(), OS)
		shut(t, b)
		if _, err := b.Publish(t.Context(), Record{Subject: "jobs.desk.c1", Header: map[string]string{"Sb-Band": "3", "ce-id": "x"}, Data: []byte("body")}); err != nil {
			t.Fatal(err)
		}
		got := make(chan *Msg, 1)
		read(t, b, ReaderConfig{HeadersOnly: headersOnly}, func(_ context.Context, m *Msg) error {
			got <- m
			return nil
		})
		m := within(t, "the message", got)
		if m.Subject != "jobs.desk.c1" || string(m.Data) != "body" || m.Seq != 1 || m.Attempt != 1 || m.Header["Sb-Band"] != "3" || m.Header["ce-id"] != "x" {
			t.Errorf("headers only %v: got %+v", headersOnly, m)
		}
		if stored, err := b.Message(t.Context(), Jobs, 1); err != nil || !stored.At.Equal(m.At) {
			t.Errorf("time: got %v, want %v, %v", m.At, stored.At, err)
		}
	}
}

func TestReaderTriesAgainInPlace(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.x", "jobs.x", "jobs.y")
	var mu sync.Mutex
	var lane []string
	others, all := make(chan struct{}, 1), make(chan struct{})
	pauses := make(chan int, 10)
	cfg := ReaderConfig{Keys: bySubject, Retry: func(attempt int) time.Duration {
		pauses <- attempt
		return 0
	}}
	read(t, b, cfg, func(_ context.Context, m *Msg) error {
		if m.Subject == "jobs.y" {
			others <- struct{}{}
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		lane = append(lane, fmt.Sprintf("%d/%d", m.Seq, m.Attempt))
		if m.Seq == 1 && m.Attempt == 2 {
			panic("a handler's bug")
		}
		if m.Seq == 1 && m.Attempt < 4 {
			return errNotYet
		}
		if m.Seq == 2 {
			close(all)
		}
		return nil
	})
	within(t, "another lane", others)
	within(t, "the lane goes on", all)
	if want := []string{"1/1", "1/2", "1/3", "1/4", "2/1"}; !slices.Equal(lane, want) {
		t.Errorf("got %v, want %v", lane, want)
	}
	if got, want := []int{<-pauses, <-pauses, <-pauses}, []int{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("pauses were asked for attempts %v, want %v", got, want)
	}
}

type laterError struct{ error }

func (laterError) Delay() time.Duration { return time.Millisecond }

func TestReaderObeysADelay(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.x")
	second := make(chan struct{})
	cfg := ReaderConfig{Retry: func(int) time.Duration {
		t.Error("the error said when, but the reader asked for a pause")
		return time.Hour
	}}
	read(t, b, cfg, func(_ context.Context, m *Msg) error {
		if m.Attempt == 1 {
			return fmt.Errorf("send reply: %w", laterError{errNotYet})
		}
		close(second)
		return nil
	})
	within(t, "the second attempt", second)
}

func TestReaderRetriesWithAWaitingLaneHoldingNoWorker(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.stuck", "jobs.fine")
	fine := make(chan struct{})
	cfg := ReaderConfig{Workers: 1, Keys: bySubject, Retry: func(int) time.Duration { return time.Hour }}
	r := read(t, b, cfg, func(_ context.Context, m *Msg) error {
		if m.Subject == "jobs.stuck" {
			return errNotYet
		}
		close(fine)
		return nil
	})
	within(t, "the other lane", fine)
	eventually(t, "one is left inside", func() bool { inside, beyond := r.Waiting(); return inside == 1 && beyond == 0 })
	if r.Floor() != 0 {
		t.Errorf("floor: got %d, want 0, below the message that waits", r.Floor())
	}
}

func TestReaderStaysWithinItsWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		cfg     ReaderConfig
		sizes   []int
		inside  int
		workers int
	}{
		{"count", ReaderConfig{Window: 3}, slices.Repeat([]int{1}, 10), 3, 64},
		{"bytes", ReaderConfig{WindowBytes: 1000}, slices.Repeat([]int{400}, 10), 2, 64},
		{"one beyond the bytes alone", ReaderConfig{WindowBytes: 1000}, []int{5000, 10, 10}, 1, 64},
		{"workers", ReaderConfig{Workers: 2}, slices.Repeat([]int{1}, 10), 10, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := open(t, t.TempDir(), OS)
			shut(t, b)
			for i, size := range tt.sizes {
				if _, err := b.Publish(t.Context(), Record{Subject: "jobs.c" + strconv.Itoa(i), Data: make([]byte, size)}); err != nil {
					t.Fatal(err)
				}
			}
			var running, most atomic.Int64
			gate, ran := make(chan struct{}), make(chan struct{}, len(tt.sizes))
			r := read(t, b, tt.cfg, func(context.Context, *Msg) error {
				most.Store(max(most.Load(), running.Add(1)))
				ran <- struct{}{}
				<-gate
				running.Add(-1)
				return nil
			})
			for range min(tt.inside, tt.workers) {
				within(t, "the window fills", ran)
			}
			eventually(t, "the window is full", func() bool { inside, _ := r.Waiting(); return inside == tt.inside })
			close(gate)
			for range len(tt.sizes) - min(tt.inside, tt.workers) {
				within(t, "the rest runs", ran)
			}
			eventually(t, "all is settled", func() bool { return r.Floor() == uint64(len(tt.sizes)) })
			if got := most.Load(); got > int64(min(tt.inside, tt.workers)) {
				t.Errorf("%d ran at once, want at most %d", got, min(tt.inside, tt.workers))
			}
		})
	}
}

func TestReaderRanksWhatWaits(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	send := func(bands ...string) {
		for _, band := range bands {
			if _, err := b.Publish(t.Context(), Record{Subject: "jobs.c" + band, Header: map[string]string{"Sb-Band": band}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	send("0")
	gate, started := make(chan struct{}), make(chan struct{})
	var got []string
	all := make(chan struct{})
	cfg := ReaderConfig{Workers: 1, Keys: bySubject, Rank: func(m *Msg) (int, string) {
		band, _ := strconv.Atoi(m.Header["Sb-Band"])
		return band, "a"
	}}
	r := read(t, b, cfg, func(_ context.Context, m *Msg) error {
		if len(got) == 0 {
			close(started)
			<-gate
		}
		if got = append(got, m.Header["Sb-Band"]); len(got) == 6 {
			close(all)
		}
		return nil
	})
	within(t, "the first runs", started)
	send("1", "3", "2", "9", "-4")
	eventually(t, "all are inside", func() bool { inside, _ := r.Waiting(); return inside == 6 })
	close(gate)
	within(t, "all run", all)
	if want := []string{"0", "3", "9", "2", "1", "-4"}; !slices.Equal(got, want) {
		t.Errorf("got bands %v, want %v", got, want)
	}
}

func TestReaderPassesOverWhatWasPurgedMeanwhile(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.x", "jobs.x", "jobs.x")
	gate, first := make(chan struct{}), make(chan struct{})
	var seen []uint64
	r := read(t, b, ReaderConfig{HeadersOnly: true, Keys: bySubject}, func(_ context.Context, m *Msg) error {
		if m.Seq == 1 {
			close(first)
			<-gate
		}
		seen = append(seen, m.Seq)
		return nil
	})
	within(t, "the first runs", first)
	eventually(t, "all are inside", func() bool { inside, _ := r.Waiting(); return inside == 3 })
	if err := b.Remove(t.Context(), Jobs, 2); err != nil {
		t.Fatal(err)
	}
	close(gate)
	eventually(t, "all is settled", func() bool { return r.Floor() == 3 })
	if want := []uint64{1, 3}; !slices.Equal(seen, want) {
		t.Errorf("ran %v, want %v", seen, want)
	}
}

func TestReadersRunLanesOneAtATimeAndInOrder(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	const n = 600
	records := make([]Record, n)
	for i := range records { // two lanes each, as a mail that joins two threads
		records[i] = Record{Subject: fmt.Sprintf("jobs.%d.%d", i%7, i%5)}
	}
	if _, err := b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	busy, last := map[string]bool{}, map[string]uint64{}
	count := 0
	all := make(chan struct{})
	keysOf := func(m *Msg) []string {
		return []string{"a" + m.Subject[:len("jobs.0")], "b" + m.Subject[len("jobs.0"):]}
	}
	cfg := ReaderConfig{Keys: keysOf, Workers: 8, Window: 100, Retry: atOnce}
	read(t, b, cfg, func(_ context.Context, m *Msg) error {
		mu.Lock()
		for _, k := range keysOf(m) {
			if busy[k] {
				t.Errorf("two at once in lane %s", k)
			}
			if m.Seq < last[k] {
				t.Errorf("lane %s: %d after %d", k, m.Seq, last[k])
			}
			busy[k], last[k] = true, m.Seq
		}
		mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		for _, k := range keysOf(m) {
			busy[k] = false
		}
		if m.Attempt == 1 && m.Seq%11 == 0 {
			return errNotYet
		}
		if count++; count == n {
			close(all)
		}
		return nil
	})
	within(t, "all run", all)
}

func TestStopWhileMessagesFlowLosesNone(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	const n = 2000
	go func() {
		for i := range n {
			if _, err := b.Publish(context.Background(), Record{Subject: fmt.Sprintf("jobs.c%d", i%20)}); err != nil {
				t.Error(err)
			}
		}
	}()
	var mu sync.Mutex
	done := map[uint64]int{}
	var underWay atomic.Int64
	cfg := ReaderConfig{Unit: "r", Stream: Jobs, Keys: bySubject, Workers: 8, Retry: atOnce}
	for stops := 1; len(done) < n; stops++ {
		r, err := b.Handle(t.Context(), cfg, func(ctx context.Context, m *Msg) error {
			underWay.Add(1)
			defer underWay.Add(-1)
			if ctx.Err() != nil {
				t.Error("the context of a handler under way has ended")
			}
			mu.Lock()
			defer mu.Unlock()
			if m.Seq%13 == 0 && m.Attempt == 1 {
				return errNotYet
			}
			done[m.Seq]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "some run", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(done) >= min(n, stops*150)
		})
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if underWay.Load() != 0 {
			t.Fatal("Stop returned while a handler was under way")
		}
	}
	for seq := range uint64(n) {
		if done[seq+1] != 1 {
			t.Errorf("%d ran %d times to its end: a graceful stop repeats nothing", seq+1, done[seq+1])
		}
	}
	if got := slices.Max(slices.Collect(maps.Keys(done))); got != n {
		t.Errorf("last: got %d", got)
	}
}

func TestStopEndsALaneThatWaits(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.x")
	tried := make(chan struct{}, 10)
	cfg := ReaderConfig{Unit: "r", Stream: Jobs, Retry: func(int) time.Duration { return time.Hour }}
	r, err := b.Handle(t.Context(), cfg, func(context.Context, *Msg) error {
		tried <- struct{}{}
		return errNotYet
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the first attempt", tried)
	for range 2 {
		if err := r.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	if floor, err := b.Floor(t.Context(), "r", Jobs); err != nil || floor != 0 {
		t.Errorf("floor: got %d, %v; want the message to come again", floor, err)
	}
}

func TestReaderWritesItsCheckpointWhileItRuns(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.x", "jobs.y")
	r := read(t, b, ReaderConfig{Unit: "live"}, func(context.Context, *Msg) error { return nil })
	eventually(t, "the checkpoint follows", func() bool {
		floor, err := b.Floor(t.Context(), "live", Jobs)
		return err == nil && floor == 2 && r.Floor() == 2
	})
}

func TestDefaultRetryDoublesToHalfAMinute(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond, 10: 30 * time.Second, 1000: 30 * time.Second} {
		if got := defaultRetry(attempt); got != want {
			t.Errorf("attempt %d: got %v, want %v", attempt, got, want)
		}
	}
}
