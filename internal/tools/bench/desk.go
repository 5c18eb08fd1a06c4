package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// marker begins the number and the time that a message carries through to the desk.
const marker = "bench:"

// A desk is the fake helpdesk: it keeps which message came under which keys.
type desk struct {
	delay time.Duration

	mu      sync.Mutex
	keys    map[string]string // by Webhook-Id, the answer
	seen    map[uint64]bool   // by the message's number
	doubled int
	repeats int
	waits   []time.Duration // from the time in the message to its arrival
}

// deskStats is what the desk tells of itself.
type deskStats struct {
	// Distinct messages have a ticket; Doubled are tickets beyond the first of one.
	Distinct int `json:"distinct"`
	Doubled  int `json:"doubled"`
	// Repeats came again under the key they had, and made no second ticket.
	Repeats int           `json:"repeats"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
}

func serveDesk(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("desk", flag.ContinueOnError)
	d := &desk{keys: map[string]string{}, seen: map[uint64]bool{}}
	flags.DurationVar(&d.delay, "delay", 0, "how long a ticket takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tickets", d.take)
	mux.HandleFunc("GET /tickets", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /stats", d.stats)
	mux.HandleFunc("POST /reset", d.reset)
	return serveChild(ctx, mux)
}

// serveChild serves on a free port, which it writes to the standard output, until
// ctx ends.
func serveChild(ctx context.Context, h http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("http://" + l.Addr().String() + "\n"); err != nil {
		return err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = s.Close() }) // the process ends with it
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

func (d *desk) take(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller hung up
	}
	n, sent, ok := read(body)
	if !ok {
		http.Error(w, "no message of the benchmark", http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Webhook-Id")
	d.mu.Lock()
	answer, known := d.keys[key]
	if known {
		d.repeats++
	} else {
		answer = `{"id":"T` + strconv.Itoa(len(d.keys)+1) + `"}`
		d.keys[key] = answer
		if d.seen[n] {
			d.doubled++
		}
		d.seen[n] = true
		d.waits = append(d.waits, arrived.Sub(sent))
	}
	d.mu.Unlock()
	if d.delay > 0 {
		<-time.After(d.delay)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer) // a caller that hung up looks again
}

// read finds the number and the time of the message in a ticket.
func read(body []byte) (n uint64, sent time.Time, ok bool) {
	_, after, ok := bytes.Cut(body, []byte(marker))
	if !ok {
		return 0, sent, false
	}
	number, rest, _ := bytes.Cut(after, []byte(":"))
	ns, _, _ := bytes.Cut(rest, []byte(";"))
	n, err := strconv.ParseUint(string(number), 10, 64)
	at, atErr := strconv.ParseInt(string(ns), 10, 64)
	return n, time.Unix(0, at), err == nil && atErr == nil
}

// stats answers with the counts, and for ?waits with the percentiles.
func (d *desk) stats(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	s := deskStats{Distinct: len(d.seen), Doubled: d.doubled, Repeats: d.repeats}
	var waits []time.Duration
	if r.URL.Query().Has("waits") {
		waits = slices.Clone(d.waits)
	}
	d.mu.Unlock()
	s.P50, s.P99 = percentile(waits, 50), percentile(waits, 99)
	_ = json.NewEncoder(w).Encode(s) // a caller that hung up hears nothing
}

func (d *desk) reset(http.ResponseWriter, *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waits, d.repeats, d.doubled = nil, 0, 0
	clear(d.seen)
}

// percentile returns the smallest value that p percent do not exceed; it sorts in
// place.
func percentile(values []time.Duration, p int) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min((len(values)*p+99)/100, len(values))-1]
}
