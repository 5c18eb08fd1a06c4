package sinks

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"sync"

	"switchboard/schemas"
)

// Identify returns the identity by which a desk should know a requester, and an
// external id of ours for desks that keep one: "sb-" and 26 lower-case letters
// and digits, the same for the same identity. Evidence comes first, so that an
// address that was merely typed never outranks a number that a vendor proved;
// among equals an e-mail address does. A person without identities is known by
// name.
func Identify(r schemas.Requester) (best schemas.Identity, external string) {
	best = schemas.Identity{Kind: "name", Value: r.Label()}
	for i, id := range r.Identities {
		if i == 0 || rank(id) > rank(best) {
			best = id
		}
	}
	sum := sha256.Sum256([]byte(string(best.Kind) + "\x00" + best.Value))
	return best, "sb-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

func rank(id schemas.Identity) int {
	n := 0
	switch id.Evidence {
	case schemas.Attested:
		n = 4
	case schemas.Asserted:
		n = 2
	case schemas.Guessed:
	}
	if id.Kind == schemas.Email {
		n++
	}
	return n
}

// maxMemory is how many entries a Memory holds.
const maxMemory = 10_000

// A Memory keeps answers of the desk that cost a call and do not change, such as
// ids of its users. It is bounded, and nothing may depend on what it holds. Its
// zero value is empty; it is safe for concurrent use.
type Memory[K comparable, V any] struct {
	mu    sync.Mutex
	known map[K]V
}

// Get returns what is known of k, or asks and remembers the answer.
func (m *Memory[K, V]) Get(k K, ask func() (V, error)) (V, error) {
	m.mu.Lock()
	v, ok := m.known[k]
	m.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err := ask()
	if err == nil {
		m.put(k, v)
	}
	return v, err
}

func (m *Memory[K, V]) put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxMemory {
		m.known = map[K]V{}
	}
	m.known[k] = v
}

// Forget drops everything: the desk has refused something that may rest on it.
func (m *Memory[K, V]) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known = nil
}
