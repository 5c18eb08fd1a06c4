package sinktest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	"switchboard/adapter/sandbox"
)

// A gate stands before the fake: it records requests and spoils answers.
type gate struct {
	next  http.Handler
	board *sandbox.Board

	mu    sync.Mutex
	seen  []request
	spoil func(n int) spoiled // of the n-th request since arm, from 0
	held  chan struct{}
}

// A request is what the fake was sent.
type request struct {
	method, url string
	header      http.Header
	body        []byte
}

// spoiled says what happens to a request.
type spoiled struct {
	// lost handles it and cuts the connection, broken handles it and answers 500;
	// status answers at once without handling it; hold never answers.
	lost, broken, hold bool
	status             int
}

// arm starts to count anew and to spoil; nil lets everything pass.
func (g *gate) arm(spoil func(n int) spoiled) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen, g.spoil, g.held = nil, spoil, make(chan struct{}, 64)
}

// requests returns what came since arm.
func (g *gate) requests() []request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]request(nil), g.seen...)
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.mu.Lock()
	n := len(g.seen)
	g.seen = append(g.seen, request{r.Method, r.URL.String(), r.Header.Clone(), body})
	var s spoiled
	if g.spoil != nil {
		s = g.spoil(n)
	}
	held := g.held
	g.mu.Unlock()
	switch {
	case s.hold:
		held <- struct{}{}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case s.status != 0:
		w.Header().Set("Retry-After", "7")
		http.Error(w, "not today", s.status)
	case s.lost:
		g.next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case s.broken:
		g.next.ServeHTTP(httptest.NewRecorder(), r)
		http.Error(w, "internal error", http.StatusInternalServerError)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// only spoils the n-th request.
func only(n int, s spoiled) func(int) spoiled {
	return func(i int) spoiled {
		if i == n {
			return s
		}
		return spoiled{}
	}
}

// every spoils all.
func every(s spoiled) func(int) spoiled { return func(int) spoiled { return s } }
