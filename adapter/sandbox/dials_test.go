package sandbox_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/sandbox"
)

// desk is the smallest fake: it counts what reaches it.
type desk struct{ served atomic.Int64 }

func (d *desk) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	d.served.Add(1)
	w.WriteHeader(http.StatusCreated)
}

func (d *desk) Settings(base string) map[string]string { return map[string]string{"base_url": base} }

func (d *desk) Tickets() []sandbox.Ticket {
	return []sandbox.Ticket{{ID: "1", Key: "sb-1", Subject: "Prop nut lost"}}
}

func (d *desk) Comment(ticket, agent, text string, public bool) string {
	if ticket != "1" || agent != "Mira" || text != "Sent." || !public {
		return ""
	}
	return "c1"
}

// phone is a fake of the other kind.
type phone struct{ http.Handler }

func (phone) Settings(string) map[string]string { return nil }
func (phone) Sent() []sandbox.Sent {
	return []sandbox.Sent{{ID: "s1", Conversation: "7", Text: "Hello"}}
}

// call serves one request and returns the answer; cut says that the connection
// was cut instead.
func call(h http.Handler, method, path, body string) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() {
		if r := recover(); r != nil {
			err, ok := r.(error)
			cut = ok && errors.Is(err, http.ErrAbortHandler)
		}
	}()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w, false
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		dials  sandbox.Dials
		status int
		cut    bool
		served int64
	}{
		{name: "good health", status: 201, served: 1},
		{name: "too many", dials: sandbox.Dials{TooMany: 1, RetryAfter: 7}, status: 429},
		{name: "error before", dials: sandbox.Dials{ErrorBefore: 1}, status: 500},
		{name: "error after", dials: sandbox.Dials{ErrorAfter: 1}, status: 500, served: 1},
		{name: "drop before", dials: sandbox.Dials{DropBefore: 1}, cut: true},
		{name: "drop after", dials: sandbox.Dials{DropAfter: 1}, cut: true, served: 1},
		{name: "down", dials: sandbox.Dials{Down: true}, status: 503},
		{name: "unauthorized", dials: sandbox.Dials{Unauthorized: true}, status: 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			board, d := sandbox.NewBoard(1), &desk{}
			board.Set(c.dials)
			w, cut := call(board.Wrap(d), http.MethodPost, "/tickets", "")
			if cut != c.cut || !cut && w.Code != c.status || d.served.Load() != c.served {
				t.Errorf("got %d, cut %t, served %d; want %d, %t, %d", w.Code, cut, d.served.Load(), c.status, c.cut, c.served)
			}
			if c.dials.RetryAfter != 0 && w.Header().Get("Retry-After") != "7" {
				t.Errorf("Retry-After is %q, want 7", w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestFaultsFollowTheSeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (codes []int) {
		board := sandbox.NewBoard(seed)
		board.Set(sandbox.Dials{ErrorBefore: 0.5})
		h := board.Wrap(&desk{})
		for range 64 {
			w, _ := call(h, http.MethodPost, "/tickets", "")
			codes = append(codes, w.Code)
		}
		return codes
	}
	if diff := cmp.Diff(run(7), run(7)); diff != "" {
		t.Errorf("one seed, two runs: %s", diff)
	}
	if cmp.Equal(run(7), run(8)) {
		t.Error("two seeds give the same faults")
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		board := sandbox.NewBoard(1)
		board.Set(sandbox.Dials{LatencyMin: time.Second, LatencyMax: 2 * time.Second, SearchLag: time.Minute})
		h, start := board.Wrap(&desk{}), time.Now()
		if w, _ := call(h, http.MethodPost, "/tickets", ""); w.Code != http.StatusCreated {
			t.Errorf("got %d", w.Code)
		}
		if took := time.Since(start); took < time.Second || took >= 2*time.Second {
			t.Errorf("took %s, want between 1s and 2s", took)
		}
		if board.SearchLag() != time.Minute {
			t.Errorf("search lag %s", board.SearchLag())
		}
	})
}

func TestControlPassesTheFaults(t *testing.T) {
	t.Parallel()
	board, d := sandbox.NewBoard(1), &desk{}
	h := board.Wrap(d)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"PUT", "/_sandbox/dials", `{"down":true,"retry_after":3}`, 200, `"down":true`},
		{"GET", "/_sandbox/dials", "", 200, `"retry_after":3`},
		{"PUT", "/_sandbox/dials", `{`, 400, "read dials"},
		{"POST", "/tickets", "", 503, "maintenance"},
		{"GET", "/_sandbox/tickets", "", 200, `"key":"sb-1"`},
		{"POST", "/_sandbox/comment", `{"ticket":"1","agent":"Mira","text":"Sent.","public":true}`, 200, `"id":"c1"`},
		{"POST", "/_sandbox/comment", `{"ticket":"2"}`, 404, `no ticket "2"`},
		{"POST", "/_sandbox/comment", `[`, 400, "read comment"},
		{"GET", "/_sandbox/sent", "", 404, ""},
	} {
		w, _ := call(h, c.method, c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: got %d %s, want %d and %s", c.method, c.path, w.Code, w.Body, c.status, c.want)
		}
	}
	if d.served.Load() != 0 {
		t.Error("the control reached the fake")
	}
	if !board.Dials().Down {
		t.Error("the dials were not turned")
	}
}

func TestPhoneTellsWhatWasSent(t *testing.T) {
	t.Parallel()
	h := sandbox.NewBoard(1).Wrap(phone{http.NotFoundHandler()})
	w, _ := call(h, http.MethodGet, "/_sandbox/sent", "")
	var got []sandbox.Sent
	if err := json.NewDecoder(io.LimitReader(w.Body, 1<<16)).Decode(&got); err != nil || len(got) != 1 || got[0].Text != "Hello" {
		t.Errorf("got %v, %v", got, err)
	}
	if w, _ := call(h, http.MethodGet, "/_sandbox/tickets", ""); w.Code != http.StatusNotFound {
		t.Errorf("a phone has tickets: %d", w.Code)
	}
}
