package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// A world is a data directory, a desk, and the processes that come and go.
type world struct {
	t        *testing.T
	dir      string
	desk     *scripted
	set      Settings
	traits   sinks.Traits[any]
	channels map[string]*channels.Opened
	sent     []record.Job
	life     *life
}

// A life is one process: its bus, its readers, and how it ends.
type life struct {
	b       *bus.Bus
	d       *Delivery
	tokens  record.Tokens
	readers []*bus.Reader
	trail   *trail
	health  []string

	// dies is the number of the durable write that never happens, counted from the
	// arming; after it nothing is written and the desk is not reached.
	dies   atomic.Int64
	writes atomic.Int64
	dead   atomic.Bool
	died   chan struct{}
	names  []string
	mu     sync.Mutex
}

func newWorld(t *testing.T, class sinks.Class) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), desk: newScripted(class), channels: map[string]*channels.Opened{},
		set:    Settings{Settle: 200 * time.Millisecond, Concurrency: 8},
		traits: sinks.Traits[any]{Window: 200 * time.Millisecond, Settle: time.Minute, Concurrency: 64},
	}
	if class == sinks.KeyWindow {
		w.traits.Window = time.Hour
	}
	w.desk.onCall = w.intended
	t.Cleanup(func() {
		w.stop()
		w.desk.mu.Lock()
		defer w.desk.mu.Unlock()
		for _, e := range w.desk.errs {
			t.Error(e)
		}
	})
	return w
}

// open makes a new process over the directory, which reads nothing yet.
func (w *world) open() *life {
	w.t.Helper()
	l := &life{died: make(chan struct{})}
	b, err := bus.Open(w.t.Context(), bus.Options{Dir: w.dir, Durability: bus.OS, Reserve: 1 << 20, Log: telemetry.Discard(), Fault: l.fault})
	if err != nil {
		w.t.Fatal(err)
	}
	l.b = b
	if l.tokens, err = record.OpenTokens(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	l.d = New(Options{
		Bus: b, Tokens: l.tokens, Metrics: telemetry.NewMetrics(), Log: telemetry.Discard(),
		Channel: func(name string) *channels.Opened { return w.channels[name] },
		FileURL: func(mid string, n int) string { return "https://files.example/" + mid + "/" + strconv.Itoa(n) },
	})
	l.trail = newTrail(w.t, b)
	w.life = l
	return l
}

// start makes a new process that delivers.
func (w *world) start() *life {
	w.t.Helper()
	l := w.life
	if l == nil {
		l = w.open()
	}
	lease, err := l.b.Lease(w.t.Context(), JobsUnit("desk"))
	if err != nil {
		w.t.Fatal(err)
	}
	l.readers, err = l.d.Run(w.t.Context(), w.desk.opened(l.dead.Load, w.traits), w.set, lease, func(state, _ string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.health = append(l.health, state)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// stop ends the process; one that has died leaves no checkpoint.
func (w *world) stop() {
	w.t.Helper()
	l := w.life
	if l == nil {
		return
	}
	w.life = nil
	l.trail.stop()
	for _, r := range l.readers {
		if err := r.Stop(); err != nil && !l.dead.Load() {
			w.t.Errorf("stop reader: %v", err)
		}
	}
	if err := l.b.Close(); err != nil {
		w.t.Errorf("close bus: %v", err)
	}
}

// restart is stop and start.
func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

var errDead = fmt.Errorf("%w: it was killed", bus.ErrClosed)

// fault counts durable writes, and kills.
func (l *life) fault(subject string) error {
	if l.dead.Load() {
		return errDead
	}
	if strings.HasPrefix(subject, "$KV.cursors.") {
		return nil // checkpoints are hints
	}
	n, at := l.writes.Add(1), l.dies.Load()
	l.mu.Lock()
	l.names = append(l.names, subject)
	l.mu.Unlock()
	if at > 0 && n == at {
		l.kill()
		return errDead
	}
	return nil
}

func (l *life) kill() {
	if !l.dead.Swap(true) {
		close(l.died)
	}
}

// arm kills the process in place of its nth durable write from now on.
func (l *life) arm(n int64) {
	l.writes.Store(0)
	l.mu.Lock()
	l.names = nil
	l.mu.Unlock()
	l.dies.Store(n)
}

// intended is I7: the desk is never written to without a durable intent that
// names the key.
func (w *world) intended(op, key string) {
	if op != "create" && op != "append" && op != "attach" {
		return
	}
	l := w.life
	if l == nil || l.dead.Load() {
		return
	}
	found := false
	err := l.b.Bucket(bus.Links).Each(context.Background(), "c", func(e bus.Entry) error {
		link, err := record.Decode[record.Link](e.Value)
		if err == nil && link.Doing != nil && link.Doing.Key == key && link.Doing.Op == op {
			found = true
		}
		return err
	})
	if err != nil || !found {
		w.desk.state(func() {
			w.desk.errs = append(w.desk.errs, fmt.Sprintf("I7: %s %s without a durable intent (%v)", op, key, err))
		})
	}
}

// A mail is one message that a test sends.
type mail struct {
	id, conv, text string
	edit           func(*schemas.Message, *schemas.Decision)
}

// conv is the token of a conversation.
func (w *world) conv(name string) string { return w.life.tokens.Conversation("form/shop", name) }

func (w *world) mid(id string) string { return w.life.tokens.Message("form/shop", id) }

// job is what the pipeline would have made of m.
func (w *world) job(m mail) record.Job {
	now := time.Now().UTC()
	msg := schemas.Message{
		Schema: schemas.Version, ID: w.mid(m.id), Channel: "shop", Kind: "form", VendorID: m.id, Conversation: m.conv,
		ReceivedAt: now, Subject: "About " + m.conv, Text: m.text,
		Requester: schemas.Requester{Name: "Ilse Brandt", Identities: []schemas.Identity{{Kind: schemas.Email, Value: "ilse@brandt.example", Evidence: schemas.Asserted}}},
	}
	d := schemas.Decision{Sink: "desk", Queue: "support", Tags: []string{"one", "two", "three"}}
	if m.edit != nil {
		m.edit(&msg, &d)
	}
	return record.Job{Schema: schemas.Version, Message: msg, Conv: w.conv(m.conv), Delivery: uint64(len(w.sent) + 1), Version: 1, Decision: d}
}

// send stores the decision and the job of a message, as the pipeline does.
func (w *world) send(mails ...mail) {
	w.t.Helper()
	for _, m := range mails {
		job := w.job(m)
		for i := range job.Message.Attachments {
			w.keep(&job.Message, job.Conv, i)
		}
		rec := record.Message{
			Schema: schemas.Version, Creator: job.Delivery, Conv: job.Conv, Channel: "shop", Files: job.Message.Attachments,
			Decisions: []schemas.Decision{job.Decision}, Version: 1, DecidedAt: time.Now().UTC(),
			Sinks: map[string]record.AtSink{"desk": {State: record.Pending, Version: 1, Band: 1}},
		}
		data, err := json.Marshal(rec)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.life.b.Bucket(bus.Messages).Create(w.t.Context(), job.Message.ID, data); err != nil {
			w.t.Fatal(err)
		}
		w.post(job)
	}
}

// post publishes a job.
func (w *world) post(job record.Job) {
	w.t.Helper()
	r, err := job.Encode("")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.life.b.Publish(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	w.sent = append(w.sent, job)
}

// keep stores the content of an attachment.
func (w *world) keep(m *schemas.Message, conv string, i int) {
	w.t.Helper()
	a := &m.Attachments[i]
	if a.Data == nil {
		return
	}
	sum := sha256.Sum256(a.Data)
	a.SHA256, a.Size = hex.EncodeToString(sum[:]), int64(len(a.Data))
	a.Blob = conv + "/" + m.ID + "/" + a.SHA256
	if err := w.life.b.PutBlob(w.t.Context(), a.Blob, a.Data); err != nil {
		w.t.Fatal(err)
	}
	a.Data = nil
}

// record reads messages/<mid>.
func (w *world) record(id string) record.Message {
	w.t.Helper()
	e, err := w.life.b.Bucket(bus.Messages).Get(w.t.Context(), w.mid(id))
	if err != nil {
		w.t.Fatal(err)
	}
	rec, err := record.Decode[record.Message](e.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return rec
}

// link reads the link of a conversation, the zero one where there is none.
func (w *world) link(conv string) record.Link {
	w.t.Helper()
	e, err := w.life.b.Bucket(bus.Links).Get(w.t.Context(), record.LinkKey("desk", w.conv(conv)))
	if errors.Is(err, bus.ErrNotFound) {
		return record.Link{}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := record.Decode[record.Link](e.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// back hands in what happened at the desk.
func (w *world) back(changes sinks.Changes) {
	w.t.Helper()
	data, err := json.Marshal(changes)
	if err != nil {
		w.t.Fatal(err)
	}
	w.backRaw(data)
}

func (w *world) backRaw(data []byte) {
	w.t.Helper()
	r, err := record.EncodeDelivery(record.BackSubject("desk"), hook.Delivery{Method: "POST", URL: "https://in.example/hooks/desk", Body: data, ReceivedAt: time.Now()}, "", "")
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.life.b.Publish(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

// filed waits until the trail tells so many messages filed.
func (w *world) filed(n int) {
	w.t.Helper()
	w.life.trail.until(func(es []told) bool { return len(ids(es, schemas.EventFiled)) >= n })
}

// says waits until the trail holds n events of a type, by id.
func (w *world) says(t schemas.EventType, n int) []told {
	w.t.Helper()
	return w.life.trail.until(func(es []told) bool { return len(ids(es, t)) >= n })
}

// exactly compares what the desk holds: one list of texts for each ticket.
func (w *world) exactly(want ...[]string) {
	w.t.Helper()
	w.desk.mu.Lock()
	defer w.desk.mu.Unlock()
	var got [][]string
	for _, t := range w.desk.tickets {
		got = append(got, t.said())
	}
	if !slices.EqualFunc(got, want, slices.Equal) {
		w.t.Errorf("the desk holds %q, want %q\ncalls: %q", got, want, w.desk.calls)
	}
}

// settledWell checks what must hold at rest: every message filed once (I4), no
// intent left over (I9), every ticket findable from the desk's side, one event
// of each message (I3).
func (w *world) settledWell(es []told, messages ...string) {
	w.t.Helper()
	for _, id := range messages {
		at := w.record(id).Sinks["desk"]
		if at.State != record.Filed || at.Ticket == "" {
			w.t.Errorf("I4: message %s is %q on ticket %q", id, at.State, at.Ticket)
		}
		n := 0
		for ce := range ids(es, schemas.EventFiled) {
			for _, e := range es {
				if e.id == ce && decode[schemas.Filed](w.t, e).Message == w.mid(id) {
					n++
					break
				}
			}
		}
		if n != 1 {
			w.t.Errorf("I3: %d different events tell that %s is filed", n, id)
		}
	}
	err := w.life.b.Bucket(bus.Links).Each(w.t.Context(), "c", func(e bus.Entry) error {
		l, err := record.Decode[record.Link](e.Value)
		if err != nil {
			return err
		}
		if l.Doing != nil {
			w.t.Errorf("I9: an intent is left over: %+v", *l.Doing)
		}
		conv := strings.TrimPrefix(e.Key, "c.desk.")
		if l.Ticket.ID == "" {
			return nil
		}
		back, err := w.life.b.Bucket(bus.Links).Get(w.t.Context(), record.TicketKeyOf("desk", w.life.tokens.Ticket("desk", l.Ticket.ID)))
		if err != nil {
			w.t.Errorf("ticket %s does not find its conversation: %v", l.Ticket.ID, err)
			return nil
		}
		if root, err := record.Decode[record.Ticket](back.Value); err != nil || root.Root != conv {
			w.t.Errorf("ticket %s finds %q, want %q (%v)", l.Ticket.ID, root.Root, conv, err)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}
