package intake

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds the memory of the limits; see forget.
const maxAddresses = 20000

// addressLimits are token buckets per address (IPv6: per /64).
type addressLimits struct {
	every   rate.Limit
	burst   int
	refill  time.Duration // after which an empty bucket is full again
	mu      sync.Mutex
	buckets map[netip.Prefix]*addressLimit
}

type addressLimit struct {
	limiter *rate.Limiter
	used    time.Time
}

// newAddressLimits lets an address send n times per span, a third of them at once.
func newAddressLimits(n int, per time.Duration) *addressLimits {
	burst := max(n/3, 1)
	return &addressLimits{
		every: rate.Limit(float64(n) / per.Seconds()), burst: burst, refill: per * time.Duration(burst) / time.Duration(n),
		buckets: map[netip.Prefix]*addressLimit{},
	}
}

func (l *addressLimits) allow(a netip.Addr, now time.Time) bool {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	key, err := a.Prefix(bits)
	if err != nil {
		key = netip.Prefix{} // an unknown address shares one bucket
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[key]
	if b == nil {
		if len(l.buckets) >= maxAddresses {
			l.forget(now)
		}
		b = &addressLimit{limiter: rate.NewLimiter(l.every, l.burst)}
		l.buckets[key] = b
	}
	b.used = now
	return b.limiter.AllowN(now, 1)
}

// forget drops the addresses that were quiet until their buckets were full again.
// When none was, all go rather than memory.
func (l *addressLimits) forget(now time.Time) {
	for key, b := range l.buckets {
		if now.Sub(b.used) >= l.refill {
			delete(l.buckets, key)
		}
	}
	if len(l.buckets) >= maxAddresses {
		clear(l.buckets)
	}
}
