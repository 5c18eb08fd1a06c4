package sandbox

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"
)

// Dials are the faults of a fake. All probabilities are from 0 to 1 and are
// drawn anew for every request. The zero value is a vendor in good health.
type Dials struct {
	// LatencyMin and LatencyMax bound a uniformly drawn wait before the answer.
	LatencyMin time.Duration `json:"latency_min"`
	LatencyMax time.Duration `json:"latency_max"`
	// TooMany answers 429 with RetryAfter seconds, before anything is done.
	TooMany    float64 `json:"too_many"`
	RetryAfter int     `json:"retry_after"`
	// ErrorBefore answers 500 before anything is done, ErrorAfter after it was.
	ErrorBefore float64 `json:"error_before"`
	ErrorAfter  float64 `json:"error_after"`
	// DropBefore and DropAfter cut the connection instead of answering.
	DropBefore float64 `json:"drop_before"`
	DropAfter  float64 `json:"drop_after"`
	// Down answers 503 to everything.
	Down bool `json:"down"`
	// Unauthorized answers 401 to everything.
	Unauthorized bool `json:"unauthorized"`
	// SearchLag is how long a fake's search does not see what was written; a fake
	// reads it through Board.SearchLag.
	SearchLag time.Duration `json:"search_lag"`
}

// A Board holds the dials of one fake; they can be turned while it serves.
type Board struct {
	mu    sync.Mutex
	dials Dials
	rand  *rand.Rand
}

// NewBoard returns a board in good health whose faults follow seed.
func NewBoard(seed uint64) *Board {
	return &Board{rand: rand.New(rand.NewPCG(seed, seed))} //nolint:gosec // faults, not secrets
}

// Set turns the dials.
func (b *Board) Set(d Dials) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dials = d
}

// Dials returns how they stand.
func (b *Board) Dials() Dials {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dials
}

// SearchLag returns the dial of that name.
func (b *Board) SearchLag() time.Duration { return b.Dials().SearchLag }

type faults struct {
	wait                                           time.Duration
	down, unauthorized, tooMany                    bool
	errorBefore, errorAfter, dropBefore, dropAfter bool
	retryAfter                                     int
}

func (b *Board) draw() faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.dials
	hit := func(p float64) bool { return p > 0 && b.rand.Float64() < p }
	f := faults{
		wait: d.LatencyMin, down: d.Down, unauthorized: d.Unauthorized, retryAfter: d.RetryAfter,
		tooMany: hit(d.TooMany), errorBefore: hit(d.ErrorBefore), errorAfter: hit(d.ErrorAfter),
		dropBefore: hit(d.DropBefore), dropAfter: hit(d.DropAfter),
	}
	if d.LatencyMax > d.LatencyMin {
		f.wait += time.Duration(b.rand.Int64N(int64(d.LatencyMax - d.LatencyMin)))
	}
	return f
}

// Wrap puts the faults around a fake. Requests below /_sandbox/ of the fake pass
// untouched: GET and PUT /_sandbox/dials read and turn the dials, GET
// /_sandbox/tickets and /_sandbox/sent read the store, POST /_sandbox/comment
// ({ticket, agent, text, public}) lets an agent speak.
func (b *Board) Wrap(f Fake) http.Handler {
	control := http.NewServeMux()
	control.HandleFunc("GET /_sandbox/dials", func(w http.ResponseWriter, _ *http.Request) { reply(w, b.Dials()) })
	control.HandleFunc("PUT /_sandbox/dials", func(w http.ResponseWriter, r *http.Request) {
		var d Dials
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&d); err != nil {
			http.Error(w, fmt.Sprintf("read dials: %v", err), http.StatusBadRequest)
			return
		}
		b.Set(d)
		reply(w, d)
	})
	if desk, ok := f.(Desk); ok {
		control.HandleFunc("GET /_sandbox/tickets", func(w http.ResponseWriter, _ *http.Request) { reply(w, desk.Tickets()) })
		control.HandleFunc("POST /_sandbox/comment", func(w http.ResponseWriter, r *http.Request) {
			var in struct {
				Ticket, Agent, Text string
				Public              bool
			}
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
				http.Error(w, fmt.Sprintf("read comment: %v", err), http.StatusBadRequest)
				return
			}
			id := desk.Comment(in.Ticket, in.Agent, in.Text, in.Public)
			if id == "" {
				http.Error(w, fmt.Sprintf("no ticket %q", in.Ticket), http.StatusNotFound)
				return
			}
			reply(w, map[string]string{"id": id})
		})
	}
	if phone, ok := f.(Phone); ok {
		control.HandleFunc("GET /_sandbox/sent", func(w http.ResponseWriter, _ *http.Request) { reply(w, phone.Sent()) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.Path) >= 10 && r.URL.Path[:10] == "/_sandbox/" {
			control.ServeHTTP(w, r)
			return
		}
		b.serve(f, w, r)
	})
}

func (b *Board) serve(f http.Handler, w http.ResponseWriter, r *http.Request) {
	fault := b.draw()
	if fault.wait > 0 {
		select {
		case <-time.After(fault.wait):
		case <-r.Context().Done(): // the vendor goes on without the caller
		}
	}
	switch {
	case fault.dropBefore:
		panic(http.ErrAbortHandler)
	case fault.down:
		http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
		return
	case fault.unauthorized:
		http.Error(w, "invalid credentials", http.StatusUnauthorized)
		return
	case fault.tooMany:
		w.Header().Set("Retry-After", strconv.Itoa(fault.retryAfter))
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	case fault.errorBefore:
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	if !fault.errorAfter && !fault.dropAfter {
		f.ServeHTTP(w, r)
		return
	}
	f.ServeHTTP(httptest.NewRecorder(), r)
	if fault.dropAfter {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "internal error", http.StatusInternalServerError)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader is gone
}
