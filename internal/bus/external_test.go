package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// broker starts a broker of its own with a listener on the loopback interface.
func broker(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, MaxPayload: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the broker does not start")
	}
	return s
}

// reach opens a bus on an external broker, its leases ten times as fast.
func reach(t *testing.T, url string) *Bus {
	t.Helper()
	b, err := Open(t.Context(), Options{URL: url, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.times = leaseTimes{renew: 100 * time.Millisecond, start: 700 * time.Millisecond, lapse: 1500 * time.Millisecond}
	shut(t, b)
	return b
}

// A wire is a connection to a broker that can be made to lose what passes.
type wire struct {
	url    string
	target string
	mu     sync.Mutex
	on     []byte            // cut when this passes to the broker; nil: never
	after  bool              // whether the broker still gets it and answers
	drop   bool              // what the broker says next is lost with the connection
	frozen chan struct{}     // closed when what passes waits no more; nil: nothing waits
	conns  map[net.Conn]bool // of both sides
	wg     sync.WaitGroup
}

func newWire(t *testing.T, s *server.Server) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own listener
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: "nats://" + l.Addr().String(), target: s.Addr().String(), conns: map[net.Conn]bool{}}
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.carry(c)
		}
	})
	t.Cleanup(func() {
		w.thaw()
		_ = l.Close()
		w.hangUp()
		w.wg.Wait()
	})
	return w
}

func (w *wire) carry(client net.Conn) {
	broker, err := net.Dial("tcp", w.target) //nolint:noctx // a test's own connection
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.conns[client], w.conns[broker] = true, true
	w.mu.Unlock()
	w.wg.Go(func() { w.pump(client, broker, true) })
	w.wg.Go(func() { w.pump(broker, client, false) })
}

func (w *wire) pump(from, to net.Conn, toBroker bool) {
	defer from.Close() //nolint:errcheck // it has ended
	defer to.Close()   //nolint:errcheck // it has ended
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		frozen := w.frozen
		ends := w.drop && !toBroker
		if toBroker && w.on != nil && bytes.Contains(buf[:n], w.on) {
			w.on, ends = nil, !w.after
			w.drop = w.after // before the answer can come
		}
		if ends {
			w.drop = false
			w.mu.Unlock()
			return
		}
		if w.drop {
			_, _ = to.Write(buf[:n])
			n = 0
		}
		w.mu.Unlock()
		if frozen != nil {
			<-frozen
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut loses the connection when what passes to the broker holds these bytes: the
// broker may still get them, but its answer is lost.
func (w *wire) cut(on string, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.after = []byte(on), after
}

func (w *wire) freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = make(chan struct{})
}

func (w *wire) thaw() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.frozen != nil {
		close(w.frozen)
		w.frozen = nil
	}
}

func (w *wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

func TestExternalBrokerDoesWhatTheEmbeddedOneDoes(t *testing.T) {
	t.Parallel()
	b := reach(t, broker(t).ClientURL())
	if b.Embedded() || b.Ready() != nil || b.Broken() {
		t.Errorf("embedded %v, ready %v, broken %v", b.Embedded(), b.Ready(), b.Broken())
	}
	if used, limit := b.Store(); used != 0 || limit != 0 {
		t.Errorf("store: got %d of %d, want zeros", used, limit)
	}
	for _, name := range []string{Deliveries, bucketStream(Messages), bucketStream(Links)} {
		info, err := b.streams[name].Info(t.Context())
		if err != nil || info.Config.AllowDirect {
			t.Errorf("%s: any replica may answer, perhaps with an old record (%v)", name, err)
		}
	}
	k := b.Bucket(Messages)
	revision, err := k.Create(t.Context(), "m", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Update(t.Context(), "m", []byte("2"), revision+1); !errors.Is(err, ErrConflict) {
		t.Errorf("a stale update: got %v, want ErrConflict", err)
	}
	if err := b.PutBlob(t.Context(), "c/m/x", []byte("blob")); err != nil {
		t.Error(err)
	}
	publish(t, b, "jobs.x", "jobs.y")
	got := make(chan uint64, 2)
	read(t, b, ReaderConfig{}, func(_ context.Context, m *Msg) error { got <- m.Seq; return nil })
	within(t, "a message", got)
	within(t, "another", got)
	if _, err := b.Publish(t.Context(), Record{Subject: "jobs.x", Data: make([]byte, MaxRecord-len("jobs.x"))}); err != nil {
		t.Errorf("the largest record: %v", err)
	}
	if _, err := b.Publish(t.Context(), Record{Subject: "jobs.x", Data: make([]byte, 2<<20)}); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("one beyond the broker's limit: got %v, want a definite no", err)
	}
}

func TestOpenWithoutABrokerFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only its port is wanted
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if _, err := Open(t.Context(), Options{URL: "nats://" + l.Addr().String(), Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("nobody listens there")
	}
	if _, err := Open(t.Context(), Options{URL: broker(t).ClientURL(), CredentialsData: []byte("no creds"), Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("credentials that cannot be read were taken")
	}
	if _, err := Open(t.Context(), Options{URL: broker(t).ClientURL(), Replicas: 3, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("three replicas on one server were taken")
	}
}

func TestLostAnswersAreResolved(t *testing.T) {
	t.Parallel()
	s := broker(t)
	direct := reach(t, s.ClientURL())
	for _, after := range []bool{true, false} {
		for _, call := range []string{"create", "update", "apply"} {
			w := newWire(t, s)
			b := reach(t, w.url)
			key := call + map[bool]string{true: "-stored", false: "-lost"}[after]
			k, expect := b.Bucket(Links), uint64(0)
			if call == "update" {
				var err error
				if expect, err = direct.Bucket(Links).Put(t.Context(), key, []byte("before")); err != nil {
					t.Fatal(err)
				}
			}
			before, err := direct.Info(t.Context(), bucketStream(Links))
			if err != nil {
				t.Fatal(err)
			}
			w.cut("$KV.links."+key, after)
			var revision uint64
			switch call {
			case "apply":
				var revisions []uint64
				revisions, err = k.Apply(t.Context(), Write{Key: key, Value: []byte("mine")})
				revision = revisions[0]
			default:
				revision, err = k.swap(t.Context(), key, []byte("mine"), expect)
			}
			if err != nil || revision != before.Last+1 {
				t.Errorf("%s: got revision %d, %v; want %d", key, revision, err, before.Last+1)
			}
			if e, err := direct.Bucket(Links).Get(t.Context(), key); err != nil || string(e.Value) != "mine" || e.Revision != revision {
				t.Errorf("%s: got %+v, %v", key, e, err)
			}
			if info, err := direct.Info(t.Context(), bucketStream(Links)); err != nil || info.Last != before.Last+1 {
				t.Errorf("%s: written %d times, %v", key, info.Last-before.Last, err)
			}
		}
	}
}

func TestLostAnswerAfterAnotherWriterIsAConflict(t *testing.T) {
	t.Parallel()
	s := broker(t)
	direct := reach(t, s.ClientURL())
	if _, err := direct.Bucket(Links).Create(t.Context(), "c.desk.x", []byte("theirs")); err != nil {
		t.Fatal(err)
	}
	for _, after := range []bool{true, false} {
		w := newWire(t, s)
		b := reach(t, w.url)
		w.cut("$KV.links.c.desk.x", after)
		if _, err := b.Bucket(Links).Create(t.Context(), "c.desk.x", []byte("mine")); !errors.Is(err, ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
	}
}

func TestLostAnswerOfAPublishIsUnknown(t *testing.T) {
	t.Parallel()
	s := broker(t)
	w := newWire(t, s)
	b := reach(t, w.url)
	w.cut("deliveries.in.form", true)
	if _, err := b.Publish(t.Context(), Record{Subject: "deliveries.in.form"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown: it is there", err)
	}
	eventually(t, "the connection comes back by itself", func() bool { return b.Ready() == nil })
	if info, err := b.Info(t.Context(), Deliveries); err != nil || info.Messages != 1 {
		t.Errorf("got %+v, %v", info, err)
	}
}

func TestReaderSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	s := broker(t)
	w := newWire(t, s)
	b, direct := reach(t, w.url), reach(t, s.ClientURL())
	got := make(chan uint64, 10)
	read(t, b, ReaderConfig{Retry: atOnce}, func(_ context.Context, m *Msg) error { got <- m.Seq; return nil })
	publish(t, direct, "jobs.x")
	within(t, "the first", got)
	w.hangUp()
	eventually(t, "the bus notices", func() bool { return b.Ready() != nil })
	publish(t, direct, "jobs.y", "jobs.z")
	seen := map[uint64]int{}
	for len(seen) < 2 {
		seen[within(t, "the others", got)]++
	}
	if seen[2] != 1 || seen[3] != 1 {
		t.Errorf("got %v, want the second and the third once", seen)
	}
}

// lease takes a lease or fails the test.
func lease(t *testing.T, b *Bus, unit string) *Lease {
	t.Helper()
	l, err := b.Lease(t.Context(), unit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.Release(ctx) // its bus may be gone
	})
	return l
}

// lost reports whether a lease is lost now.
func lost(l *Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// wanting waits for a lease in the background.
func wanting(t *testing.T, b *Bus, unit string) <-chan *Lease {
	t.Helper()
	got := make(chan *Lease, 1)
	go func() {
		l, err := b.Lease(t.Context(), unit)
		if err != nil {
			close(got)
			return
		}
		got <- l
	}()
	return got
}

func TestLeaseHasOneOwnerAndReleaseHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	s := broker(t)
	a, b := reach(t, s.ClientURL()), reach(t, s.ClientURL())
	b.times.lapse = time.Hour // so that only a release hands over
	first := lease(t, a, "sink.desk")
	if !first.Start() || lost(first) {
		t.Fatal("a fresh lease is none")
	}
	other := lease(t, b, "in.form") // units are apart
	second := wanting(t, b, "sink.desk")
	revision := func() uint64 {
		e, err := a.Bucket(Cursors).Get(t.Context(), "lease.sink.desk")
		if err != nil {
			t.Fatal(err)
		}
		return e.Revision
	}
	from := revision()
	eventually(t, "the owner renews", func() bool { return revision() > from+3 })
	if len(second) > 0 {
		t.Fatal("a second owner beside the first")
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !lost(first) {
		t.Error("a released lease is not lost")
	}
	l := within(t, "the other takes over at once", second)
	if l == nil || l.Epoch() <= first.Epoch() || !l.Start() {
		t.Fatalf("got %+v after epoch %d", l, first.Epoch())
	}
	for _, l := range []*Lease{l, other} {
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestLeaseOfALiveOwnerIsNotTaken(t *testing.T) {
	t.Parallel()
	s := broker(t)
	a, b := reach(t, s.ClientURL()), reach(t, s.ClientURL())
	first := lease(t, a, "timers")
	ctx, cancel := context.WithTimeout(t.Context(), 2*b.times.lapse)
	defer cancel()
	if l, err := b.Lease(ctx, "timers"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v; want to wait for the owner", l, err)
	}
	if lost(first) {
		t.Error("the owner has lost it")
	}
}

func TestLeaseOfADeadOwnerLapses(t *testing.T) {
	t.Parallel()
	s := broker(t)
	a, b := reach(t, s.ClientURL()), reach(t, s.ClientURL())
	first := lease(t, a, "ledger")
	first.stop() // as a process that is gone
	l := within(t, "take-over", wanting(t, b, "ledger"))
	if l == nil || l.Epoch() <= first.Epoch() {
		t.Fatalf("got %+v after epoch %d", l, first.Epoch())
	}
	if err := first.Release(t.Context()); err != nil { // late, and it must not take it away
		t.Error(err)
	}
	if lost(l) {
		t.Error("a stale owner's release has ended the lease")
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFrozenOwnerStartsNothingAndHearsOfItsLoss(t *testing.T) {
	t.Parallel()
	s := broker(t)
	w := newWire(t, s)
	a, b := reach(t, w.url), reach(t, s.ClientURL())
	first := lease(t, a, "in.form")
	w.freeze()
	eventually(t, "the owner starts nothing", func() bool { return !first.Start() })
	within(t, "the owner knows that another may own it, without an answer from the broker", first.Lost())
	l := within(t, "take-over", wanting(t, b, "in.form"))
	w.thaw()
	if first.Start() {
		t.Error("a lost lease starts again")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := first.Release(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if lost(l) || !l.Start() {
		t.Error("the new owner has lost it")
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOwnerThatWasOvertakenHearsOfIt(t *testing.T) {
	t.Parallel()
	s := broker(t)
	a := reach(t, s.ClientURL())
	first := lease(t, a, "janitor")
	if _, err := a.Bucket(Cursors).Put(t.Context(), "lease.janitor", []byte(`{"owner":"another"}`)); err != nil {
		t.Fatal(err)
	}
	within(t, "the conflict of the next renewal", first.Lost())
}

func TestEmbeddedLeaseIsHadAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, OS)
	first, err := b.Lease(t.Context(), "sink.desk")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil { // without a release, as after kill -9
		t.Fatal(err)
	}
	b = open(t, dir, OS)
	shut(t, b)
	b.times.lapse = time.Hour
	second := lease(t, b, "sink.desk")
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epochs: got %d after %d", second.Epoch(), first.Epoch())
	}
	second.renewed.Store(int64(-time.Hour))
	if !second.Start() || lost(second) {
		t.Error("the lock on the directory proves that nobody else owns it")
	}
	if err := second.Release(t.Context()); err != nil {
		t.Error(err)
	}
	if !lost(second) {
		t.Error("a released lease is not lost")
	}
}
