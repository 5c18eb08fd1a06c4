package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
)

// What the scripted desk says.
var (
	errLost = errors.New("the connection broke off")
	errGone = errors.New("this process is dead")
)

// An act is how one call goes: what is committed, and what the caller hears.
type act func(commit func()) error

// refuse commits nothing and answers err.
func refuse(err error) act { return func(func()) error { return err } }

// lostAfter commits, and the answer is lost.
func lostAfter(commit func()) error { commit(); return errLost }

// lostBefore commits nothing, and the caller cannot know.
func lostBefore(func()) error { return errLost }

// late commits some time after the caller was told of a time-out.
func late(d time.Duration) act {
	return func(commit func()) error { time.AfterFunc(d, commit); return errLost }
}

// A scripted desk is a helpdesk in memory: of any class, with faults per call.
// What it holds outlives the processes that call it, as a real desk's does.
type scripted struct {
	class sinks.Class
	// window is how many creates of other keys a key is remembered for (KeyWindow);
	// lag is how late a look-up sees a write (LaggingLookup).
	forgets bool
	lag     time.Duration

	mu      sync.Mutex
	script  map[string][]act // of the next calls, by operation
	tickets []*shelved
	next    int
	calls   []string // operation and key, in order
	errs    []string // broken promises of the caller
	// onCall is asked before anything is done, with the lock not held.
	onCall func(op, key string)
	// misunderstands makes Find answer with every ticket there is.
	misunderstands bool
}

// A shelved ticket is what the desk holds.
type shelved struct {
	schemas.Ticket
	ref          schemas.Ref
	at           time.Time
	closed, gone bool
	comments     []shelvedComment
	changes      []schemas.Change
}

type shelvedComment struct {
	id   string
	at   time.Time
	op   string
	body []byte
	said schemas.Comment
	file string
}

func newScripted(class sinks.Class) *scripted {
	return &scripted{class: class, script: map[string][]act{}}
}

// plan makes the next calls of op go as told; later ones succeed.
func (s *scripted) plan(op string, acts ...act) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script[op] = append(s.script[op], acts...)
}

// do runs one call by the script.
func (s *scripted) do(op, key string, commit func()) error {
	s.mu.Lock()
	s.calls = append(s.calls, op+" "+key)
	a := act(func(commit func()) error { commit(); return nil })
	if acts := s.script[op]; len(acts) > 0 {
		a, s.script[op] = acts[0], acts[1:]
	}
	on := s.onCall
	s.mu.Unlock()
	if on != nil {
		on(op, key)
	}
	return a(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		commit()
	})
}

// A line is one process's connection to the desk: it dies with the process.
type line struct {
	*scripted
	dead func() bool
}

func (l line) alive() error {
	if l.dead() {
		return errGone
	}
	return nil
}

func (l line) Check(context.Context) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.do("check", "", func() {})
}

func (l line) Create(_ context.Context, t schemas.Ticket) (ref schemas.Ref, err error) {
	if err := l.alive(); err != nil {
		return ref, err
	}
	var made schemas.Ref // a late commit still writes it
	err = l.do("create", t.Key, func() { made = l.commit(t) })
	l.mu.Lock()
	defer l.mu.Unlock()
	return made, err
}

func (s *scripted) commit(t schemas.Ticket) schemas.Ref {
	dedups := s.class == sinks.Upsert || s.class == sinks.ReceiverDedup || s.class == sinks.KeyWindow && !s.forgets
	for _, old := range s.tickets {
		if old.Key != t.Key || !dedups {
			continue
		}
		if s.class == sinks.ReceiverDedup && !bytes.Equal(body(old.Ticket), body(t)) {
			s.errs = append(s.errs, "a repeat of "+t.Key+" has other bytes")
		}
		return old.ref
	}
	s.next++
	ref := schemas.Ref{ID: strconv.Itoa(s.next), URL: "https://desk.example/" + strconv.Itoa(s.next)}
	s.tickets = append(s.tickets, &shelved{Ticket: t, ref: ref, at: time.Now()})
	return ref
}

func body(v any) []byte {
	b, _ := json.Marshal(v) // our own types
	return b
}

func (s *scripted) find(id string) *shelved {
	i := slices.IndexFunc(s.tickets, func(t *shelved) bool { return t.ref.ID == id })
	if i < 0 {
		return nil
	}
	return s.tickets[i]
}

func (l line) Append(_ context.Context, ref schemas.Ref, c schemas.Comment) (id string, err error) {
	if err := l.alive(); err != nil {
		return "", err
	}
	return l.add("append", ref, c.Key, shelvedComment{op: "append", body: body(c), said: c})
}

func (l line) Attach(_ context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	if err := l.alive(); err != nil {
		return "", err
	}
	r, err := f.Open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return "", err
	}
	said := schemas.Comment{Files: []schemas.File{f}}
	return l.add("attach", ref, f.Key, shelvedComment{op: "attach", body: body(f), said: said, file: f.Name + "=" + string(content)})
}

func (s *scripted) add(op string, ref schemas.Ref, key string, c shelvedComment) (id string, err error) {
	var state error
	var made string // a late commit still writes it
	err = s.do(op, key, func() {
		t := s.find(ref.ID)
		switch {
		case t == nil || t.gone:
			state = sinks.ErrNotFound
			return
		case t.closed:
			state = fmt.Errorf("desk: %w", sinks.ErrClosed)
			return
		}
		if s.class != sinks.StrongLookup && s.class != sinks.LaggingLookup && (s.class != sinks.KeyWindow || !s.forgets) {
			for _, old := range t.comments {
				if keyOf(old) == key {
					if s.class == sinks.ReceiverDedup && !bytes.Equal(old.body, c.body) {
						s.errs = append(s.errs, "a repeat of "+key+" has other bytes")
					}
					made = old.id
					return
				}
			}
		}
		s.next++
		c.id, c.at = strconv.Itoa(s.next), time.Now()
		made = c.id
		t.comments = append(t.comments, c)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	return made, errors.Join(err, state)
}

func keyOf(c shelvedComment) string {
	if len(c.said.Files) > 0 && c.said.Key == "" {
		return c.said.Files[0].Key
	}
	return c.said.Key
}

func (l line) Find(_ context.Context, key string) (out []sinks.Candidate, err error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	err = l.do("find", key, func() {
		for _, t := range l.tickets {
			if time.Since(t.at) >= l.lag && (l.misunderstands || t.Key == key) {
				out = append(out, sinks.Candidate{Ref: t.ref, Key: t.Key})
			}
		}
	})
	return out, err
}

func (l line) Thread(_ context.Context, ref schemas.Ref) (out []schemas.Comment, err error) {
	if err := l.alive(); err != nil {
		return nil, err
	}
	var state error
	err = l.do("thread", ref.ID, func() {
		t := l.find(ref.ID)
		if t == nil || t.gone {
			state = sinks.ErrNotFound
			return
		}
		for _, c := range t.comments {
			if time.Since(c.at) >= l.lag {
				said := c.said
				said.ID = c.id
				out = append(out, said)
			}
		}
	})
	return out, errors.Join(err, state)
}

func (l line) Update(_ context.Context, ref schemas.Ref, ch schemas.Change) error {
	if err := l.alive(); err != nil {
		return err
	}
	return l.do("update", ref.ID, func() {
		if t := l.find(ref.ID); t != nil {
			t.changes = append(t.changes, ch)
		}
	})
}

// Parse reads what the tests say happened at the desk: sinks.Changes as JSON.
func (l line) Parse(d hook.Delivery) (out sinks.Changes, err error) {
	switch string(d.Body) {
	case "panic":
		panic("a bug")
	case "nonsense":
		return out, fault.Permanentf("decode event")
	}
	err = json.Unmarshal(d.Body, &out)
	return out, err
}

// opened is the desk as a sink, with what its class can do.
func (s *scripted) opened(dead func() bool, traits sinks.Traits[any]) *sinks.Opened {
	l := line{s, dead}
	traits.Create, traits.Append = s.class, s.class
	o := &sinks.Opened{Name: "desk", Traits: traits, Sink: l, Source: l}
	if s.class != sinks.ReceiverDedup {
		o.Finder, o.Threader, o.Attacher, o.Updater = l, l, l, l
	}
	return o
}

// state does something to the desk's store.
func (s *scripted) state(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// called counts calls of an operation.
func (s *scripted) called(op string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if c == op || len(c) > len(op) && c[:len(op)+1] == op+" " {
			n++
		}
	}
	return n
}

// said are the customers' texts of a ticket, the opening first, then comments by
// the requester; notes are in brackets, files as name=content.
func (t *shelved) said() []string {
	out := []string{t.Text}
	for _, f := range t.Files {
		out = append(out, f.Name+"="+f.Key)
	}
	for _, c := range t.comments {
		switch {
		case c.op == "attach":
			out = append(out, c.file)
		case c.said.Visibility == schemas.Internal:
			out = append(out, "["+c.said.Text+"]")
		default:
			out = append(out, c.said.Text)
			for _, f := range c.said.Files {
				out = append(out, f.Name+"="+f.Key)
			}
		}
	}
	return out
}
