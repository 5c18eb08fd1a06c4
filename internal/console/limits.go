package console

import (
	"net/netip"
	"sync"
	"time"
)

// limiter counts refused sign-ins per name and address, and per address, in a
// bounded table.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	tries map[string]*tries
}

type tries struct {
	n     int
	until time.Time
}

const (
	triesPerName    = 5
	triesPerAddress = 40
	// pause is how long the counts of refused tries last.
	pause     = time.Minute
	maxTables = 4096
)

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, tries: map[string]*tries{}}
}

// take counts one try before it is judged. It returns how many are left, or for
// how long there are none.
func (l *limiter) take(name, address string) (left int, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	byAddress := l.entry("\x00"+network(address), now)
	byName := l.entry(name+"\x00"+network(address), now)
	for _, t := range []struct {
		*tries
		max int
	}{{byAddress, triesPerAddress}, {byName, triesPerName}} {
		if t.n >= t.max {
			return 0, t.until.Sub(now)
		}
	}
	byAddress.n++
	byName.n++
	return min(triesPerName-byName.n, triesPerAddress-byAddress.n), 0
}

// forgive forgets the tries of who has now signed in.
func (l *limiter) forgive(name, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tries, name+"\x00"+network(address))
	if t := l.tries["\x00"+network(address)]; t != nil && t.n > 0 {
		t.n--
	}
}

// entry returns the count under key, beginning anew when its time is over.
func (l *limiter) entry(key string, now time.Time) *tries {
	t := l.tries[key]
	if t != nil && now.Before(t.until) {
		return t
	}
	if t == nil && len(l.tries) >= maxTables {
		l.evict(now)
	}
	t = &tries{until: now.Add(pause)}
	l.tries[key] = t
	return t
}

// evict removes what is over, and else the count that would be over first.
func (l *limiter) evict(now time.Time) {
	var oldest string
	for key, t := range l.tries {
		if !now.Before(t.until) {
			delete(l.tries, key)
		} else if oldest == "" || t.until.Before(l.tries[oldest].until) {
			oldest = key
		}
	}
	if len(l.tries) >= maxTables {
		delete(l.tries, oldest)
	}
}

// network is what one party can be told by: the address, or the /64 of an IPv6 one.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// nonces remembers the last forms that were acted on, so that a form sent twice
// acts once.
type nonces struct {
	mu    sync.Mutex
	seen  map[string]bool
	order []string
	next  int
}

func newNonces(size int) *nonces {
	return &nonces{seen: make(map[string]bool, size), order: make([]string, size)}
}

// claim reports whether the form is new. An empty nonce always is.
func (n *nonces) claim(nonce string) bool {
	if nonce == "" {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.seen[nonce] {
		return false
	}
	delete(n.seen, n.order[n.next])
	n.order[n.next], n.seen[nonce] = nonce, true
	n.next = (n.next + 1) % len(n.order)
	return true
}

// release lets a form be sent again whose action was not done.
func (n *nonces) release(nonce string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.seen, nonce)
}
