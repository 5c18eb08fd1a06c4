package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/nats-io/nats.go/jetstream"
)

// ReaderConfig says how to read a stream.
type ReaderConfig struct {
	// Unit names the reader and its checkpoint.
	Unit     string
	Stream   string
	Subjects []string
	// HeadersOnly keeps only headers in memory while messages wait; the body is
	// read when its turn comes.
	HeadersOnly bool
	// Keys names the lanes of a message; it is called in the order of the stream,
	// by one goroutine. No keys: the message runs as soon as there is room.
	Keys func(*Msg) []string
	// Rank returns the message's band (0 to 3) and channel; nil means band 1.
	Rank func(*Msg) (band int, channel string)
	// Workers is how many handlers run at once; 0 means 64.
	Workers int
	// Window is how many messages may be taken in, WindowBytes how large they may
	// be together; 0 means 512 and 64 MiB.
	Window      int
	WindowBytes int
	// Retry is the pause before an attempt, counted from 1, after a failure that
	// does not say one itself; nil means 100 ms doubling to 30 s.
	Retry func(attempt int) time.Duration
}

// A Delayed error says when its message should be tried again.
type Delayed interface {
	error
	Delay() time.Duration
}

// A Reader runs a handler over a stream: in order within each lane, again and in
// place after an error, at least once. Watermill's Router drives it.
type Reader struct {
	b      *Bus
	cfg    ReaderConfig
	sub    *subscriber
	router *message.Router
	done   chan struct{}
	err    error
}

// handlerTimeout is how long Stop waits for handlers under way.
const handlerTimeout = time.Minute

// Handle starts a reader. The handler's nil settles the message; an error tries
// it again in place, and its lane waits. ctx of the handler outlives Stop until
// the handler returns. Stop must be called.
func (b *Bus) Handle(ctx context.Context, cfg ReaderConfig, handler func(context.Context, *Msg) error) (*Reader, error) {
	if cfg.Workers == 0 {
		cfg.Workers = 64
	}
	if cfg.Window == 0 {
		cfg.Window = 512
	}
	if cfg.WindowBytes == 0 {
		cfg.WindowBytes = 64 << 20
	}
	if cfg.Retry == nil {
		cfg.Retry = defaultRetry
	}
	sub, err := b.newSubscriber(ctx, cfg)
	if err != nil {
		return nil, err
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: handlerTimeout}, watermill.NopLogger{})
	if err != nil {
		return nil, fmt.Errorf("start reader %s: %w", cfg.Unit, err)
	}
	router.AddMiddleware(middleware.Recoverer, delay)
	router.AddConsumerHandler(cfg.Unit, cfg.Unit, sub, func(m *message.Message) error {
		return handler(m.Context(), fromWatermill(m))
	})
	r := &Reader{b: b, cfg: cfg, sub: sub, router: router, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = router.Run(context.WithoutCancel(ctx))
	}()
	select {
	case <-router.Running():
	case <-r.done:
		return nil, fmt.Errorf("start reader %s: %w", cfg.Unit, r.err)
	}
	return r, nil
}

// Stop takes no new message, waits for handlers under way, writes the checkpoint
// and returns.
func (r *Reader) Stop() error {
	err := r.sub.Close()
	closeErr := r.router.Close()
	<-r.done
	return errors.Join(err, closeErr, r.err)
}

// Waiting returns how many messages the reader has taken in and not settled, and
// how many of the stream it has not yet taken in.
func (r *Reader) Waiting() (inside int, beyond uint64) { return r.sub.waiting() }

// Floor returns up to where everything is settled.
func (r *Reader) Floor() uint64 { return r.sub.floorNow() }

func defaultRetry(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(attempt-1, 10), 30*time.Second)
}

// Metadata keys that carry what Watermill's message has no field for.
const (
	metaSubject = "sb.subject"
	metaSeq     = "sb.seq"
	metaAt      = "sb.at"
	metaAttempt = "sb.attempt"
	metaDelay   = "sb.delay"
)

// delay writes into the metadata when a failed message should be tried again;
// the subscriber reads it.
func delay(h message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := h(m)
		if d, ok := errors.AsType[Delayed](err); ok {
			m.Metadata.Set(metaDelay, strconv.FormatInt(int64(d.Delay()), 10))
		}
		return out, err
	}
}

func toWatermill(ctx context.Context, m *Msg) *message.Message {
	meta := make(message.Metadata, len(m.Header)+5)
	maps.Copy(meta, m.Header)
	seq := strconv.FormatUint(m.Seq, 10)
	meta[metaSubject], meta[metaSeq] = m.Subject, seq
	meta[metaAt] = strconv.FormatInt(m.At.UnixNano(), 10)
	meta[metaAttempt] = strconv.Itoa(m.Attempt)
	w := message.NewMessageWithContext(ctx, seq, m.Data)
	w.Metadata = meta
	return w
}

func fromWatermill(m *message.Message) *Msg {
	seq, _ := strconv.ParseUint(m.Metadata[metaSeq], 10, 64) // written by toWatermill
	at, _ := strconv.ParseInt(m.Metadata[metaAt], 10, 64)
	attempt, _ := strconv.Atoi(m.Metadata[metaAttempt])
	return &Msg{Subject: m.Metadata[metaSubject], Header: m.Metadata, Data: m.Payload, Seq: seq, At: time.Unix(0, at).UTC(), Attempt: attempt}
}

// A subscriber is a Watermill Subscriber over an ordered consumer from a
// checkpoint of our own. Ack settles a message, Nack tries it again in place.
type subscriber struct {
	b   *Bus
	cfg ReaderConfig
	log *slog.Logger

	created time.Time
	from    checkpoint
	out     chan *message.Message
	stop    context.CancelFunc // ends taking in and starting
	life    context.Context    // ends taking in and starting
	work    context.Context    // outlives life until work under way has ended
	taking  sync.WaitGroup     // the goroutines that take in, start and save
	running sync.WaitGroup     // one for each message under way

	mu     sync.Mutex
	room   *sync.Cond // signalled when the window or a worker frees up
	sched  *schedule
	book   ledgerOfTasks
	inside int
	bytes  int
	busy   int
	beyond uint64
	closed bool
}

func (b *Bus) newSubscriber(ctx context.Context, cfg ReaderConfig) (*subscriber, error) {
	info, err := b.Info(ctx, cfg.Stream)
	if err != nil {
		return nil, err
	}
	from, err := b.loadCheckpoint(ctx, cfg.Unit, info.Created)
	if err != nil {
		return nil, fmt.Errorf("start reader %s: %w", cfg.Unit, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &subscriber{
		b: b, cfg: cfg, log: b.log.With("reader", cfg.Unit), created: info.Created, from: from,
		out: make(chan *message.Message), stop: stop, life: life, work: context.WithoutCancel(ctx), sched: newSchedule(),
	}
	s.book.floor = from.Floor
	s.room = sync.NewCond(&s.mu)
	return s, nil
}

// Subscribe starts taking in and returns the channel that the Router reads. It
// is called once.
func (s *subscriber) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	s.taking.Go(s.takeIn)
	s.taking.Go(s.start)
	s.taking.Go(s.save)
	return s.out, nil
}

// Close takes no new message, waits for those under way and writes the
// checkpoint. The channel is closed only when nobody can send any more.
func (s *subscriber) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.stop()
	s.room.Broadcast()
	s.mu.Unlock()
	s.taking.Wait()
	s.running.Wait()
	close(s.out)
	return s.b.saveCheckpoint(s.work, s.cfg.Unit, s.snapshot())
}

func (s *subscriber) snapshot() checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.changed = false
	c := s.book.checkpoint(s.created)
	// What was settled before this process and is not reached yet stays settled.
	for _, r := range s.from.Ranges {
		if r[1] > c.Floor && len(c.Ranges) < maxRanges {
			c.Ranges = append(c.Ranges, r)
		}
	}
	return c
}

func (s *subscriber) waiting() (int, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inside, s.beyond
}

func (s *subscriber) floorNow() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book.floor
}

// takeIn reads the stream into the lanes while there is room; it starts anew
// from the last message taken when the broker breaks off.
func (s *subscriber) takeIn() {
	at := s.from.Floor
	for attempt := 1; s.life.Err() == nil; attempt++ {
		last, err := s.consume(at)
		if last > at {
			at, attempt = last, 1
		}
		if err != nil && s.life.Err() == nil {
			s.log.Warn("reading broke off", "err", err)
		}
		wait(s.life, defaultRetry(attempt))
	}
}

func (s *subscriber) consume(after uint64) (last uint64, err error) {
	cfg := jetstream.OrderedConsumerConfig{
		FilterSubjects: s.cfg.Subjects, HeadersOnly: s.cfg.HeadersOnly,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	}
	cons, err := s.b.streams[s.cfg.Stream].OrderedConsumer(s.life, cfg)
	if err != nil {
		return after, translate(err)
	}
	msgs, err := cons.Messages(jetstream.PullMaxMessages(min(s.cfg.Window, 1000)))
	if err != nil {
		return after, translate(err)
	}
	defer msgs.Stop()
	last = after
	for {
		m, err := next(s.life, msgs)
		if err != nil {
			return last, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return last, err
		}
		if !s.admit(toMsg(m, meta), meta.NumPending) {
			return last, nil
		}
		last = meta.Sequence.Stream
	}
}

// admit puts a message into its lanes, waiting for room; false when closing.
func (s *subscriber) admit(m *Msg, beyond uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beyond = beyond
	if s.from.settledIn(m.Seq) {
		s.book.skip(m.Seq)
		return true
	}
	t := &task{msg: m, band: 1, size: len(m.Data)}
	for !s.closed && s.inside > 0 && (s.inside >= s.cfg.Window || s.bytes+t.size > s.cfg.WindowBytes) {
		s.room.Wait()
	}
	if s.closed {
		return false
	}
	if s.cfg.Rank != nil {
		t.band, t.channel = s.cfg.Rank(m)
		t.band = min(max(t.band, 0), bands-1)
	}
	var keys []string
	if s.cfg.Keys != nil {
		s.mu.Unlock()
		keys = s.cfg.Keys(m)
		s.mu.Lock()
	}
	s.inside++
	s.bytes += t.size
	s.book.add(t)
	s.sched.add(t, keys)
	s.room.Broadcast()
	return true
}

// start hands ready messages to the Router while workers are free.
func (s *subscriber) start() {
	for {
		s.mu.Lock()
		var t *task
		for !s.closed {
			if s.busy < s.cfg.Workers {
				if t = s.sched.next(); t != nil {
					break
				}
			}
			s.room.Wait()
		}
		if t == nil {
			s.mu.Unlock()
			return
		}
		s.busy++
		s.running.Add(1)
		s.mu.Unlock()
		go s.run(t)
	}
}

// run gives one message to the Router and settles it, or has it tried again. It
// is the only one that touches t while it is under way.
func (s *subscriber) run(t *task) {
	defer s.running.Done()
	t.attempt++
	pause, settled := s.attempt(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	if settled {
		s.book.settle(t)
		s.sched.done(t)
		s.inside--
		s.bytes -= t.size
	} else {
		// The lane waits without holding a worker.
		time.AfterFunc(pause, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if !s.closed {
				s.sched.again(t)
				s.room.Broadcast()
			}
		})
	}
	s.room.Broadcast()
}

func (s *subscriber) attempt(t *task) (pause time.Duration, settled bool) {
	m := *t.msg
	m.Attempt = t.attempt
	if e, ok := s.b.recent[s.cfg.Stream].get(sequenceKey(m.Seq)); ok {
		m.Data = e.Value
	} else if s.cfg.HeadersOnly {
		whole, err := s.b.Message(s.work, s.cfg.Stream, m.Seq)
		if errors.Is(err, ErrNotFound) {
			return 0, true // purged meanwhile: forgotten or removed by the janitor
		}
		if err != nil {
			return s.cfg.Retry(t.attempt), false
		}
		m.Data = whole.Data
	}
	ctx, cancel := context.WithCancel(s.work)
	defer cancel()
	w := toWatermill(ctx, &m)
	s.out <- w
	select {
	case <-w.Acked():
		return 0, true
	case <-w.Nacked():
		if n, err := strconv.ParseInt(w.Metadata.Get(metaDelay), 10, 64); err == nil {
			return time.Duration(n), false
		}
		return s.cfg.Retry(t.attempt), false
	}
}

// Checkpoints are written this often; large ones less so.
const (
	saveEvery = 100 * time.Millisecond
	saveLarge = time.Second
)

func (s *subscriber) save() {
	every := saveEvery
	for wait(s.life, every) {
		s.mu.Lock()
		changed := s.book.changed
		s.mu.Unlock()
		if !changed {
			continue
		}
		c := s.snapshot()
		every = saveEvery
		if len(c.Ranges) > 256 {
			every = saveLarge // a large checkpoint is dear, a lost one only means more reading
		}
		if err := s.b.saveCheckpoint(s.work, s.cfg.Unit, c); err != nil {
			s.log.Warn("checkpoint was not written", "err", err)
		}
	}
}

// wait returns false when ctx ends before d has passed.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
