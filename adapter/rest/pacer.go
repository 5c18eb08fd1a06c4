package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchboard/adapter/fault"
)

// A Pacer keeps calls within a vendor's limits, bucket by bucket, as the vendor
// tells them in the headers of its answers: the RateLimit fields of the IETF
// draft (limit, remaining, reset in seconds), their X-RateLimit forms, and
// per-bucket headers of the form "total=20; remaining=3; resets=47". It is safe
// for concurrent use.
type Pacer struct {
	// prefix starts the names of per-bucket headers, in canonical form.
	prefix  string
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	limit, remaining int
	reset            time.Time
}

// NewPacer returns a pacer that reads per-bucket headers whose names begin with
// prefix; the rest of the name, in lower case, names the bucket. "" reads none.
func NewPacer(prefix string) *Pacer {
	return &Pacer{prefix: http.CanonicalHeaderKey(prefix), buckets: map[string]*bucket{}}
}

// Quota returns how many calls of a bucket are left, of how many; ok is false
// until the vendor has said so. The bucket "" is the whole account.
func (p *Pacer) Quota(name string) (remaining, limit int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.buckets[name]
	if b == nil {
		return 0, 0, false
	}
	return b.remaining, b.limit, true
}

func (p *Pacer) admit(name string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := []string{""}
	if name != "" {
		names = append(names, name)
	}
	for _, n := range names {
		b := p.buckets[n]
		if b == nil {
			continue
		}
		if !now.Before(b.reset) {
			delete(p.buckets, n) // the window is over; the next answer tells anew
			continue
		}
		if b.remaining <= 0 {
			return fault.NotDone(fault.RetryAfter(errors.New("the vendor's limit is used up"), b.reset.Sub(now)))
		}
	}
	for _, n := range names {
		if b := p.buckets[n]; b != nil {
			b.remaining--
		}
	}
	return nil
}

func (p *Pacer) learn(name string, h http.Header, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := func(names ...string) (int, bool) {
		for _, n := range names {
			if v, err := strconv.Atoi(strings.TrimSpace(h.Get(n))); err == nil {
				return v, true
			}
		}
		return 0, false
	}
	remaining, ok := first("Ratelimit-Remaining", "X-Ratelimit-Remaining", "X-Rate-Limit-Remaining")
	if ok {
		limit, _ := first("Ratelimit-Limit", "X-Ratelimit-Limit", "X-Rate-Limit")
		reset, known := first("Ratelimit-Reset", "X-Ratelimit-Reset")
		if !known || reset > 3600 {
			reset = 60
		}
		p.set("", remaining, limit, now.Add(time.Duration(reset)*time.Second))
	}
	told := false
	for key, values := range h {
		if p.prefix == "" || len(values) == 0 || !strings.HasPrefix(key, p.prefix) {
			continue
		}
		if total, remaining, resets, ok := parseBucket(values[0]); ok {
			told = told || remaining <= 0
			p.set(strings.ToLower(strings.TrimPrefix(key, p.prefix)), remaining, total, now.Add(time.Duration(resets)*time.Second))
		}
	}
	// A vendor that names the bucket that is empty (one ticket's, say) has not
	// closed the call's whole bucket.
	if fault.StatusCode(err) == http.StatusTooManyRequests && !told {
		if d, ok := fault.After(err); ok {
			p.set(name, 0, 0, now.Add(d))
		}
	}
}

// set believes the lower figure while a window lasts, for answers overtake one
// another.
func (p *Pacer) set(name string, remaining, limit int, reset time.Time) {
	if b := p.buckets[name]; b != nil && reset.Sub(b.reset).Abs() < 2*time.Second {
		b.remaining = min(b.remaining, remaining)
		return
	}
	p.buckets[name] = &bucket{limit: limit, remaining: remaining, reset: reset}
}

func parseBucket(value string) (total, remaining, resets int, ok bool) {
	for part := range strings.SplitSeq(value, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(strings.TrimSpace(v))
		if err != nil {
			continue
		}
		switch name {
		case "total":
			total = n
		case "remaining":
			remaining, ok = n, true
		case "resets":
			resets = n
		}
	}
	return total, remaining, resets, ok
}
