package bus

import (
	"strconv"
	"sync"
	"time"
)

// recent remembers what this process wrote last to one stream, so that a stage need
// not ask the broker for what the stage before it wrote a moment ago: of a bucket
// the newest record of each key, of JOBS the bodies by sequence.
//
// It is there only with an embedded broker that nobody else can reach. Then what is
// remembered is the newest, because all writes pass here, and their answers come in
// the broker's order. A write without a clear yes, and every removal, makes it
// forget: who does not find a thing here asks the broker. A nil recent remembers
// nothing.
type recent struct {
	mu sync.Mutex
	// What is not written anew moves from young to old, and then out.
	young, old map[string]Entry
	size       int
	// removals tells a write that a removal came between it and its answer.
	removals uint64
}

// recentBytes is how large young grows.
const recentBytes = 4 << 20

// newRecents are the streams of which a stage reads what another has just written.
func newRecents() map[string]*recent {
	all := map[string]*recent{}
	for _, stream := range []string{Jobs, bucketStream(Messages), bucketStream(Links)} {
		all[stream] = &recent{young: map[string]Entry{}}
	}
	return all
}

// sequenceKey is the key of a message of a stream that is no bucket.
func sequenceKey(seq uint64) string { return strconv.FormatUint(seq, 10) }

// begin returns what a write holds until its end.
func (r *recent) begin() (removals uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.removals
}

// ended takes note of the end of a write.
func (r *recent) ended(p *pendingWrite) {
	key := p.msg.Subject
	if stream, _ := streamOf(key); stream == Jobs { // a bucket's subject is no stream's
		key = sequenceKey(p.seq)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.err != nil || p.removals != r.removals {
		delete(r.young, key)
		delete(r.old, key)
		return
	}
	if e, ok := r.find(key); ok && e.Revision > p.seq {
		return
	}
	r.young[key] = Entry{Value: p.msg.Data, Revision: p.seq, At: time.Now().UTC()}
	if r.size += len(key) + len(p.msg.Data) + 64; r.size > recentBytes {
		r.young, r.old, r.size = map[string]Entry{}, r.young, 0
	}
}

func (r *recent) find(key string) (Entry, bool) {
	e, ok := r.young[key]
	if !ok {
		e, ok = r.old[key]
	}
	return e, ok
}

// get returns what is remembered under a subject or a sequenceKey. Nobody may
// change its value.
func (r *recent) get(key string) (Entry, bool) {
	if r == nil {
		return Entry{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(key)
}

// removing forgets everything now, and again when the removal has been done, by the
// function that it returns.
func (r *recent) removing() func() {
	if r == nil {
		return func() {}
	}
	forget := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.removals++
		r.young, r.old, r.size = map[string]Entry{}, nil, 0
	}
	forget()
	return forget
}
