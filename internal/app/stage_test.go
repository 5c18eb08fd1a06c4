package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/config"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks"
)

// A note is the body of a delivery to the channel "talk".
type note struct {
	ID, Conv, Text, File string
	Receipt              string `json:",omitempty"`
}

// A line is the other end of the channel "talk": what was sent to customers.
type line struct {
	mu   sync.Mutex
	sent []schemas.Reply
	err  error
}

func (l *line) replies() []schemas.Reply {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]schemas.Reply(nil), l.sent...)
}

type talkConfig struct{ Line *line }

type talk struct {
	name string
	line *line
}

func (c talk) Account() string                           { return "talk" }
func (talk) Check(context.Context) error                 { return nil }
func (talk) Verify(context.Context, hook.Delivery) error { return nil }
func (talk) Answer(hook.Delivery) hook.Answer            { return hook.OK }

func (talk) Parse(d hook.Delivery) (channels.Parsed, error) {
	var n note
	if err := json.Unmarshal(d.Body, &n); err != nil {
		return channels.Parsed{}, fault.Permanentf("decode: %w", err)
	}
	switch {
	case n.Receipt != "":
		return channels.Parsed{Receipts: []schemas.Receipt{{ID: n.ID, State: schemas.ReceiptState(n.Receipt), At: d.ReceivedAt}}}, nil
	case n.ID == "":
		return channels.Parsed{Ignored: "an empty note"}, nil
	}
	m := schemas.Message{
		VendorID: n.ID, Conversation: n.Conv, Text: n.Text,
		Requester: schemas.Requester{Name: "Grace Okafor", Identities: []schemas.Identity{{Kind: schemas.Email, Value: n.Conv + "@okafor.example", Evidence: schemas.Attested}}},
	}
	if n.File != "" {
		m.Attachments = []schemas.Attachment{{Name: "note.txt", Type: "text/plain", Data: []byte(n.File)}}
	}
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

func (c talk) Send(_ context.Context, r schemas.Reply) (schemas.Receipt, error) {
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	if c.line.err != nil {
		return schemas.Receipt{}, c.line.err
	}
	c.line.sent = append(c.line.sent, r)
	return schemas.Receipt{ID: "V" + strconv.Itoa(len(c.line.sent))}, nil
}

var talkKind = channels.Define("talk", talkConfig{}, func(c talkConfig, env channels.Env) (channels.Channel, error) {
	return talk{env.Name, c.Line}, nil
}, channels.Traits[talkConfig]{Reply: channels.Idempotent, MaxText: 1000})

// A shelf is a desk in memory that outlives the processes which call it.
type shelf struct {
	mu      sync.Mutex
	tickets []*shelved
	// refuse, if not nil, answers a call instead of the desk.
	refuse func(op, key string) error
	closed atomic.Int64
}

type shelved struct {
	key, subject string
	texts        []string
	keys         map[string]string
}

func (s *shelf) say(op, key string) error {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(op, key)
}

func (s *shelf) Check(context.Context) error { return nil }

func (s *shelf) Close() error { s.closed.Add(1); return nil }

func (s *shelf) Create(_ context.Context, t schemas.Ticket) (schemas.Ref, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.say("create", t.Key); err != nil {
		return schemas.Ref{}, err
	}
	for i, old := range s.tickets {
		if old.key == t.Key {
			return schemas.Ref{ID: strconv.Itoa(i + 1)}, nil
		}
	}
	s.tickets = append(s.tickets, &shelved{key: t.Key, subject: t.Subject, texts: []string{t.Text}, keys: map[string]string{}})
	return schemas.Ref{ID: strconv.Itoa(len(s.tickets))}, nil
}

func (s *shelf) add(op string, ref schemas.Ref, key, text string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.say(op, key); err != nil {
		return "", err
	}
	n, err := strconv.Atoi(ref.ID)
	if err != nil || n < 1 || n > len(s.tickets) {
		return "", sinks.ErrNotFound
	}
	t := s.tickets[n-1]
	if id, ok := t.keys[key]; ok {
		return id, nil
	}
	id := ref.ID + "." + strconv.Itoa(len(t.texts))
	t.texts, t.keys[key] = append(t.texts, text), id
	return id, nil
}

func (s *shelf) Append(_ context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	return s.add("append", ref, c.Key, c.Text)
}

func (s *shelf) Attach(_ context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	content, err := sinks.ReadFile(f, 1<<20)
	if err != nil {
		return "", err
	}
	return s.add("attach", ref, f.Key, f.Name+"="+string(content))
}

func (s *shelf) Catalogue(context.Context) (schemas.Catalogue, error) {
	return schemas.Catalogue{Queues: []schemas.Named{{ID: "7", Name: "support"}}}, nil
}

func (s *shelf) Parse(d hook.Delivery) (out sinks.Changes, err error) {
	err = json.Unmarshal(d.Body, &out)
	return out, err
}

func (s *shelf) Verify(context.Context, hook.Delivery) error { return nil }
func (s *shelf) Answer(hook.Delivery) hook.Answer            { return hook.OK }

// texts are what the tickets say, oldest first.
func (s *shelf) texts() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([][]string, len(s.tickets))
	for i, t := range s.tickets {
		out[i] = append([]string(nil), t.texts...)
	}
	return out
}

type shelfConfig struct{ Shelf *shelf }

var shelfKind = sinks.Define("shelf", shelfConfig{}, func(c shelfConfig, _ sinks.Env) (sinks.Sink, error) { return c.Shelf, nil },
	sinks.Traits[shelfConfig]{Create: sinks.Upsert, Append: sinks.Upsert, Settle: 50 * time.Millisecond})

// A stage is a data directory and the program over it, which can be started anew.
type stage struct {
	t     *testing.T
	conf  *config.Config
	rules string
	shelf *shelf
	line  *line
	free  atomic.Int64
	fault func(string) error
	a     *App
	stop  context.CancelFunc
	done  chan error
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, shelf: &shelf{}, line: &line{}}
	s.free.Store(1 << 40)
	s.conf = &config.Config{
		Listen: "127.0.0.1:0", Data: t.TempDir(), Durability: config.OS, Horizon: 35 * 24 * time.Hour,
		Channels: []config.ChannelInstance{{Name: "in", Kind: talkKind, Value: talkConfig{s.line}}},
		Sinks:    []config.SinkInstance{{Name: "desk", Kind: shelfKind, Value: shelfConfig{s.shelf}}},
	}
	s.rules = "route: { sink: desk }\n"
	t.Cleanup(func() {
		if err := s.halt(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return s
}

// build makes the program without running it.
func (s *stage) build() (*App, error) {
	s.t.Helper()
	rules, err := config.ParseRules("rules.yaml", []byte(s.rules), s.conf.Names())
	if err != nil {
		s.t.Fatal(err)
	}
	return New(s.t.Context(), Options{
		Config: s.conf, Rules: rules, Log: telemetry.Discard(), Version: "test", Reserve: 1 << 20,
		FreeSpace: func(string) (int64, error) { return s.free.Load(), nil },
		Fault: func(subject string) error {
			if s.fault == nil {
				return nil
			}
			return s.fault(subject)
		},
	})
}

func (s *stage) start() *App {
	s.t.Helper()
	a, err := s.build()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	s.a, s.stop, s.done = a, stop, make(chan error, 1)
	go func() { s.done <- a.Run(ctx) }()
	return a
}

// halt stops the program gracefully and returns how Run ended.
func (s *stage) halt() error {
	s.t.Helper()
	if s.a == nil {
		return nil
	}
	s.stop()
	err := <-s.done
	if closeErr := s.a.Close(); closeErr != nil {
		s.t.Errorf("close: %v", closeErr)
	}
	s.a = nil
	return err
}

func (s *stage) restart() *App {
	s.t.Helper()
	if err := s.halt(); err != nil {
		s.t.Errorf("run: %v", err)
	}
	return s.start()
}

// do sends a request to the program's handler.
func (s *stage) do(method, path, token string, body []byte) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, bytes.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	s.a.server.Handler.ServeHTTP(w, r)
	return w
}

// post hands a note in and fails the test unless it is accepted.
func (s *stage) post(notes ...note) {
	s.t.Helper()
	for _, n := range notes {
		body, err := json.Marshal(n)
		if err != nil {
			s.t.Fatal(err)
		}
		if w := s.do(http.MethodPost, "/hooks/in", "", body); w.Code != http.StatusOK {
			s.t.Fatalf("POST %s: got %d %s", body, w.Code, w.Body)
		}
	}
}

// tell hands in what happened at the desk.
func (s *stage) tell(c sinks.Changes) {
	s.t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		s.t.Fatal(err)
	}
	if w := s.do(http.MethodPost, "/hooks/desk", "", body); w.Code != http.StatusOK {
		s.t.Fatalf("POST %s: got %d %s", body, w.Code, w.Body)
	}
}

// patience bounds a wait of a test for what must come.
const patience = time.Minute

// until waits until ok holds, looking whenever the ledger has moved, and now and
// then for what no ledger tells.
func (s *stage) until(what string, ok func() bool) {
	s.t.Helper()
	moved, end := s.a.ledger.Subscribe()
	defer end()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-moved:
		case <-tick.C:
		case <-limit.C:
			s.t.Fatalf("it never came to this: %s; the books say %+v", what, s.books())
		}
	}
}

func (s *stage) books() Books {
	s.t.Helper()
	b, err := s.a.Audit(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// filed waits until n messages are on tickets, as the ledger tells.
func (s *stage) filed(n int) {
	s.t.Helper()
	s.until(fmt.Sprint(n, " messages filed"), func() bool {
		c, err := s.a.ledger.Counts(s.t.Context(), time.Time{})
		return err == nil && c.Filed >= n
	})
}

// conv is the token of a customer's conversation.
func (s *stage) conv(key string) string { return s.a.tokens.Conversation("talk/talk", key) }

func (s *stage) mid(id string) string { return s.a.tokens.Message("talk/talk", id) }

// call speaks to the interface over the socket and decodes the answer.
func (s *stage) call(method, path string, in, out any) (int, string) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.a.local.Handler.ServeHTTP(w, httptest.NewRequestWithContext(s.t.Context(), method, "/api/v1/"+path, bytes.NewReader(body)))
	if out != nil && w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			s.t.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
		}
	}
	return w.Code, w.Body.String()
}

// agent comments on a ticket at the desk.
func agent(ticket, id, text string, v schemas.Visibility) sinks.Changes {
	return sinks.Changes{Comments: []sinks.TicketComment{{Ticket: schemas.Ref{ID: ticket}, Comment: schemas.Comment{
		ID: id, Author: schemas.Author{Role: schemas.ByAgent, Name: "Kim Rudder"}, Visibility: v, Text: text,
	}}}}
}

// socket asks over the real socket.
func (s *stage) socket(path string) (int, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: dialSocket(filepath.Join(s.conf.Data, SocketName))}}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://switchboard"+path, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

var errDesk = errors.New("the desk is out")

// contains reports whether any part of the tickets says text.
func contains(texts [][]string, text string) bool {
	for _, t := range texts {
		if strings.Contains(strings.Join(t, "\n"), text) {
			return true
		}
	}
	return false
}
