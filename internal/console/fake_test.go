package console_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"switchboard/internal/console"
	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// noon is the time of the made-up shop Kestrel Hobby.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

// fakeLedger is a ledger in memory. Its fields may be set before use.
type fakeLedger struct {
	mu      sync.Mutex
	flow    []ledger.FlowRow // newest first
	stories map[string]ledger.Story
	tickets []ledger.TicketView
	dead    []ledger.DeadRow
	health  []ledger.HealthRow
	counts  ledger.Counts
	subs    []chan struct{}
	waited  []uint64
	fails   error
}

func (f *fakeLedger) Flow(_ context.Context, q ledger.FlowQuery) ([]ledger.FlowRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return nil, f.fails
	}
	var out []ledger.FlowRow
	skip := q.Before != ""
	for _, r := range f.flow {
		if skip {
			skip = r.ID != q.Before
			continue
		}
		text := strings.ToLower(r.ID + " " + r.Requester + " " + r.Preview + " " + r.Ticket.ID)
		if strings.Contains(text, strings.ToLower(q.Text)) && (q.Channel == "" || q.Channel == r.Channel) &&
			(q.Outcome == "" || q.Outcome == r.Outcome) && (q.Sink == "" || q.Sink == r.Sink) && r.Seq > q.After {
			out = append(out, r)
		}
	}
	if q.After > 0 {
		slices.SortFunc(out, func(a, b ledger.FlowRow) int { return int(a.Seq) - int(b.Seq) })
	}
	return out[:min(len(out), q.Limit)], nil
}

func (f *fakeLedger) Story(_ context.Context, id string) (ledger.Story, error) {
	s, ok := f.stories[id]
	if !ok {
		return s, ledger.ErrNotFound
	}
	return s, nil
}

func (f *fakeLedger) Tickets(_ context.Context, q ledger.TicketQuery) ([]ledger.TicketRow, int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []ledger.TicketRow
	for _, t := range f.tickets {
		open := t.Status != schemas.StatusSolved && t.Status != schemas.StatusClosed
		if (q.Open || q.NeedsAnswer) && !open || q.NeedsAnswer && !t.Waiting || q.Assignee != "" && q.Assignee != t.Assignee ||
			q.Status != "" && q.Status != t.Status || q.Sink != "" && q.Sink != t.Sink ||
			!strings.Contains(strings.ToLower(t.Subject+t.LastWords+t.Ticket.ID), strings.ToLower(q.Text)) {
			continue
		}
		out = append(out, t.TicketRow)
	}
	n := len(out)
	out = out[min(q.Offset, n):]
	return out[:min(len(out), q.Limit)], n, nil
}

func (f *fakeLedger) Ticket(_ context.Context, sink, id string) (ledger.TicketView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tickets {
		if t.Sink == sink && t.Ticket.ID == id {
			t.Entries = slices.Clone(t.Entries)
			return t, nil
		}
	}
	return ledger.TicketView{}, ledger.ErrNotFound
}

func (f *fakeLedger) Timeline(_ context.Context, id string) ([]ledger.Entry, schemas.Requester, error) {
	for _, t := range f.tickets {
		if t.RequesterID == id {
			return t.Entries, t.Person, nil
		}
	}
	return nil, schemas.Requester{}, ledger.ErrNotFound
}

func (f *fakeLedger) Dead(_ context.Context, state string) ([]ledger.DeadRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []ledger.DeadRow
	for _, d := range f.dead {
		if d.State == state {
			out = append(out, d)
		}
	}
	return out, nil
}

func (f *fakeLedger) DeadLetter(_ context.Context, id string) (ledger.DeadRow, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.dead {
		if d.ID == id {
			return d, nil
		}
	}
	return ledger.DeadRow{}, ledger.ErrNotFound
}

func (f *fakeLedger) Health(context.Context, time.Time) ([]ledger.HealthRow, error) {
	return f.health, nil
}

func (f *fakeLedger) Counts(context.Context, time.Time) (ledger.Counts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts, nil
}

func (f *fakeLedger) Wait(_ context.Context, seq uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited = append(f.waited, seq)
	return nil
}

func (f *fakeLedger) Subscribe() (<-chan struct{}, func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan struct{}, 1)
	f.subs = append(f.subs, ch)
	return ch, func() {}
}

// add puts a row on top, or in the place of the one with its id, and tells.
func (f *fakeLedger) add(r ledger.FlowRow) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Seq = max(r.Seq, 1)
	for i := range f.flow {
		r.Seq = max(r.Seq, f.flow[i].Seq+1)
	}
	if i := slices.IndexFunc(f.flow, func(o ledger.FlowRow) bool { return o.ID == r.ID }); i >= 0 {
		f.flow[i] = r
	} else {
		f.flow = slices.Insert(f.flow, 0, r)
	}
	f.counts.Accepted, f.counts.Filed = f.counts.Accepted+1, f.counts.Filed+1
	for _, ch := range f.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// fakeActions does what it is told to the ledger, at once.
type fakeActions struct {
	mu      sync.Mutex
	ledger  *fakeLedger
	raw     map[uint64]console.Raw
	files   map[string]string
	done    []string
	actors  []schemas.Actor
	fails   error
	problem []string
}

func (f *fakeActions) did(actor schemas.Actor, what ...string) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return 0, f.fails
	}
	f.done, f.actors = append(f.done, strings.Join(what, " ")), append(f.actors, actor)
	return uint64(1000 + len(f.done)), nil
}

func (f *fakeActions) log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.done)
}

func (f *fakeActions) Answer(_ context.Context, actor schemas.Actor, sink, ticket, text string, v schemas.Visibility) (uint64, error) {
	seq, err := f.did(actor, "answer", sink, ticket, string(v), text)
	if err != nil {
		return 0, err
	}
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	for i := range f.ledger.tickets {
		if t := &f.ledger.tickets[i]; t.Sink == sink && t.Ticket.ID == ticket {
			e := ledger.Entry{At: noon, Kind: "reply", Author: actor.Name, Role: schemas.ByAgent, Channel: "shop-sms", Text: text, Visibility: v, State: "queued"}
			if v == schemas.Internal {
				e.Kind, e.State, e.Channel = "note", "", ""
			}
			t.Entries, t.Waiting = append(t.Entries, e), false
		}
	}
	return seq, nil
}

func (f *fakeActions) Update(_ context.Context, actor schemas.Actor, sink, ticket string, ch schemas.Change) (uint64, error) {
	what := []string{"update", sink, ticket}
	if ch.Status != nil {
		what = append(what, "status="+string(*ch.Status))
	}
	if ch.Assignee != nil {
		what = append(what, "assignee="+*ch.Assignee)
	}
	return f.did(actor, what...)
}

func (f *fakeActions) Retry(_ context.Context, actor schemas.Actor, id string) (uint64, error) {
	seq, err := f.did(actor, "retry", id)
	f.setDead(id, "retried", actor.Name, err)
	return seq, err
}

func (f *fakeActions) Dismiss(_ context.Context, actor schemas.Actor, id, reason string) (uint64, error) {
	seq, err := f.did(actor, "dismiss", id, reason)
	f.setDead(id, "dismissed", actor.Name, err)
	return seq, err
}

func (f *fakeActions) setDead(id, state, actor string, err error) {
	if err != nil {
		return
	}
	f.ledger.mu.Lock()
	defer f.ledger.mu.Unlock()
	for i := range f.ledger.dead {
		if f.ledger.dead[i].ID == id {
			f.ledger.dead[i].State, f.ledger.dead[i].Actor, f.ledger.dead[i].Acted = state, actor, noon
		}
	}
}

func (f *fakeActions) Raw(_ context.Context, delivery uint64) (console.Raw, error) {
	raw, ok := f.raw[delivery]
	if !ok {
		return raw, console.ErrNotFound
	}
	return raw, nil
}

func (f *fakeActions) File(_ context.Context, blob string) (io.ReadCloser, error) {
	s, ok := f.files[blob]
	if !ok {
		return nil, console.ErrNotFound
	}
	return io.NopCloser(strings.NewReader(s)), nil
}

func (f *fakeActions) Status(context.Context) console.System {
	return console.System{
		Version: "0.1.0", Uptime: 26 * time.Hour, DiskUsed: 412_000_000, DiskLimit: 20_000_000_000, Memory: 61_000_000,
		Rules: "9f3c1ab27744aa", Ready: len(f.problem) == 0, Problems: f.problem,
	}
}

func (f *fakeActions) Answers(sink string) bool { return sink == "inbox" }

// fakeAccounts is a bucket in memory.
type fakeAccounts struct {
	mu   sync.Mutex
	rev  uint64
	data map[string]record
}

type record struct {
	value []byte
	rev   uint64
}

func newAccounts() *fakeAccounts { return &fakeAccounts{data: map[string]record{}} }

func (f *fakeAccounts) Get(_ context.Context, key string) ([]byte, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.data[key]
	if !ok {
		return nil, 0, console.ErrNotFound
	}
	return bytes.Clone(r.value), r.rev, nil
}

func (f *fakeAccounts) Create(_ context.Context, key string, value []byte) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.data[key]; ok {
		return 0, console.ErrConflict
	}
	return f.put(key, value), nil
}

func (f *fakeAccounts) put(key string, value []byte) uint64 {
	f.rev++
	f.data[key] = record{bytes.Clone(value), f.rev}
	return f.rev
}

func (f *fakeAccounts) Update(_ context.Context, key string, value []byte, rev uint64) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data[key].rev != rev {
		return 0, console.ErrConflict
	}
	return f.put(key, value), nil
}

func (f *fakeAccounts) Delete(_ context.Context, key string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.data, key)
	return nil
}

func (f *fakeAccounts) List(_ context.Context, prefix string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var keys []string
	for key := range f.data {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// dump is all that is stored, for what must not be in it.
func (f *fakeAccounts) dump() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for key, r := range f.data {
		b.WriteString(key + " ")
		b.Write(r.value)
	}
	return b.String()
}

var errBroken = errors.New("broker is gone")

var header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Secret": {"sha256:5b1f"}}
