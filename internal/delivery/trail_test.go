package delivery

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// A told is one event.
type told struct {
	seq      uint64
	kind     schemas.EventType
	id, conv string
	data     []byte
}

// A trail collects the events of a stream as they come.
type trail struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	all    []told
	more   chan struct{}
}

func newTrail(t *testing.T, b *bus.Bus) *trail {
	ctx, cancel := context.WithCancel(t.Context())
	tr := &trail{t: t, cancel: cancel, done: make(chan struct{}), more: make(chan struct{})}
	go func() {
		defer close(tr.done)
		_ = b.Batches(ctx, bus.Events, 0, 1, func(ms []*bus.Msg) error { // ends with ctx
			tr.mu.Lock()
			defer tr.mu.Unlock()
			for _, m := range ms {
				kind, id, _ := record.EventHeader(m)
				tr.all = append(tr.all, told{m.Seq, kind, id, strings.TrimPrefix(m.Subject, "events."), m.Data})
			}
			close(tr.more)
			tr.more = make(chan struct{})
			return nil
		})
	}()
	return tr
}

func (tr *trail) stop() {
	tr.cancel()
	<-tr.done
}

// patience bounds a wait of a test for what must come.
const patience = 60 * time.Second

// until waits until the trail is as ok wants it.
func (tr *trail) until(ok func([]told) bool) []told {
	tr.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		tr.mu.Lock()
		all, more := slices.Clone(tr.all), tr.more
		tr.mu.Unlock()
		if ok(all) {
			return all
		}
		select {
		case <-more:
		case <-limit.C:
			var lines []string
			for _, e := range all {
				lines = append(lines, string(e.kind)+" "+string(e.data))
			}
			tr.t.Fatalf("the trail never told it; it says\n%s", strings.Join(lines, "\n"))
		}
	}
}

// ids are the different ids of the events of a type.
func ids(es []told, t schemas.EventType) map[string]bool {
	out := map[string]bool{}
	for _, e := range es {
		if e.kind == t {
			out[e.id] = true
		}
	}
	return out
}

func decode[T any](t *testing.T, e told) T {
	t.Helper()
	v, err := record.Decode[T](e.data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// only returns the bodies of the events of a type, repeats left out.
func only[T any](t *testing.T, es []told, kind schemas.EventType) []T {
	t.Helper()
	var out []T
	seen := map[string]bool{}
	for _, e := range es {
		if e.kind == kind && !seen[e.id] {
			seen[e.id] = true
			out = append(out, decode[T](t, e))
		}
	}
	return out
}
