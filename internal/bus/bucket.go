package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A Bucket keeps one record per key. Keys are letters, digits, "-", "_", "/",
// "=" and "." between non-empty parts. It is safe for concurrent use.
type Bucket struct {
	b    *Bus
	name string
}

// An Entry is a record of a bucket.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	At       time.Time
}

// Bucket returns the bucket called name, one of the names of this package.
func (b *Bus) Bucket(name string) *Bucket { return &Bucket{b: b, name: name} }

func (k *Bucket) subject(key string) string { return "$KV." + k.name + "." + key }

// valid reports whether a key is one: keys come from people too (a user's name).
func valid(key string) bool {
	if key == "" || key[0] == '.' || key[len(key)-1] == '.' || strings.Contains(key, "..") {
		return false
	}
	return strings.IndexFunc(key, func(r rune) bool {
		return r > '~' || r <= ' ' || r == '*' || r == '>'
	}) < 0
}

// Get returns the newest record of a key, or ErrNotFound; what is no key has none.
func (k *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	if !valid(key) {
		return Entry{}, fmt.Errorf("read %s: %w", k.name, ErrNotFound)
	}
	if e, ok := k.b.recent[bucketStream(k.name)].get(k.subject(key)); ok {
		e.Key = key
		return e, nil
	}
	m, err := k.b.view(bucketStream(k.name)).GetLastMsgForSubject(ctx, k.subject(key))
	if err != nil {
		return Entry{}, fmt.Errorf("read %s/%s: %w", k.name, key, translate(err))
	}
	return Entry{Key: key, Value: m.Data, Revision: m.Sequence, At: m.Time}, nil
}

// Create writes a key that must not exist, or answers ErrConflict. The answer is
// definite unless it is ErrUnknown, ErrFull or ErrClosed; value must contain
// something unique to the writer, for a lost answer is resolved by comparing.
func (k *Bucket) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	return k.swap(ctx, key, value, 0)
}

// Update writes a key that must be at revision, or answers ErrConflict; see
// Create.
func (k *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return k.swap(ctx, key, value, revision)
}

// Put writes a key whatever it held.
func (k *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.write(ctx, key, value, noExpectation)
}

// swap repeats a compare-and-swap whose answer was lost with the same expected
// revision until the answer is definite. Reading alone proves nothing, for the
// write may still be on its way; after a conflict an equal value is ours.
func (k *Bucket) swap(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	lost := false
	for {
		got, err := k.write(ctx, key, value, revision)
		switch {
		case err == nil:
			return got, nil
		case errors.Is(err, ErrUnknown) && ctx.Err() == nil:
			lost = true
			continue
		case errors.Is(err, ErrConflict) && lost:
			e, readErr := k.Get(ctx, key)
			if readErr == nil && bytes.Equal(e.Value, value) {
				return e.Revision, nil
			}
		}
		return 0, err
	}
}

func (k *Bucket) write(ctx context.Context, key string, value []byte, expect uint64) (uint64, error) {
	if !valid(key) {
		return 0, fmt.Errorf("write %s: %q is no key", k.name, key)
	}
	p := k.b.submit(bucketStream(k.name), Record{Subject: k.subject(key), Data: value}, expect)
	revision, err := p.wait(ctx)
	if err != nil {
		return 0, fmt.Errorf("write %s/%s: %w", k.name, key, err)
	}
	return revision, nil
}

// A Write is one of several that Apply sends together. Revision is 0 for a key
// that must not exist; Any writes whatever the key held.
type Write struct {
	Key      string
	Value    []byte
	Revision uint64
	Any      bool
}

// Apply sends several writes of one bucket at once, without waiting in between,
// and returns their revisions. They are not one transaction: on an error some
// may be there. Keys must differ.
func (k *Bucket) Apply(ctx context.Context, writes ...Write) ([]uint64, error) {
	for _, w := range writes {
		if !valid(w.Key) {
			return nil, fmt.Errorf("write %s: %q is no key", k.name, w.Key)
		}
	}
	pending := make([]*pendingWrite, len(writes))
	for i, w := range writes {
		expect := w.Revision
		if w.Any {
			expect = noExpectation
		}
		pending[i] = k.b.submit(bucketStream(k.name), Record{Subject: k.subject(w.Key), Data: w.Value}, expect)
	}
	revisions := make([]uint64, len(writes))
	var errs []error
	for i, p := range pending {
		revision, err := p.wait(ctx)
		if errors.Is(err, ErrUnknown) && ctx.Err() == nil && !writes[i].Any {
			revision, err = k.swap(ctx, writes[i].Key, writes[i].Value, writes[i].Revision)
			if errors.Is(err, ErrConflict) {
				if e, readErr := k.Get(ctx, writes[i].Key); readErr == nil && bytes.Equal(e.Value, writes[i].Value) {
					revision, err = e.Revision, nil
				}
			}
		}
		revisions[i] = revision
		if err != nil {
			errs = append(errs, fmt.Errorf("write %s/%s: %w", k.name, writes[i].Key, err))
		}
	}
	return revisions, errors.Join(errs...)
}

// Delete removes a key and every trace of its value. A key that is not there is
// no error, and what is no key is not there.
func (k *Bucket) Delete(ctx context.Context, key string) error {
	if !valid(key) {
		return nil
	}
	return k.purge(ctx, key)
}

// DeletePrefix removes every key below prefix, a whole number of its parts.
func (k *Bucket) DeletePrefix(ctx context.Context, prefix string) error {
	if !valid(prefix) {
		return nil
	}
	return k.purge(ctx, prefix+".>")
}

func (k *Bucket) purge(ctx context.Context, pattern string) error {
	if err := k.b.fault(k.subject(pattern)); err != nil {
		return fmt.Errorf("delete %s/%s: %w", k.name, pattern, err)
	}
	stream := bucketStream(k.name)
	defer k.b.recent[stream].removing()()
	err := k.b.streams[stream].Purge(ctx, jetstream.WithPurgeSubject(k.subject(pattern)))
	if err != nil {
		return fmt.Errorf("delete %s/%s: %w", k.name, pattern, translate(err))
	}
	return nil
}

// Each calls f for every record whose key begins with prefix, a whole number of
// parts ("" for all), in the order of their revisions; it ends with f's first
// error. Records written meanwhile may be missed.
func (k *Bucket) Each(ctx context.Context, prefix string, f func(Entry) error) error {
	filter := k.subject(">")
	if prefix != "" {
		filter = k.subject(prefix + ".>")
	}
	start := len(k.subject(""))
	return k.b.Scan(ctx, Range{Stream: bucketStream(k.name), Subjects: []string{filter}, Latest: true}, func(m *Msg) error {
		return f(Entry{Key: strings.Clone(m.Subject[start:]), Value: m.Data, Revision: m.Seq, At: m.At})
	})
}
