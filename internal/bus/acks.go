package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// acks hears the broker's answers to single publishes, on one subscription for
// all of them: a future per write with a timer of its own costs more than the
// write.
type acks struct {
	b      *Bus
	prefix string

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]*pendingWrite
	closed  bool
}

// sweepEvery is how often writes without an answer are looked for.
const sweepEvery = time.Second

// errNoStream says that no broker took the write: nothing is stored.
var errNoStream = errors.New("no broker takes the write now")

func (b *Bus) openAcks(ctx context.Context) error {
	a := &acks{b: b, prefix: nats.NewInbox() + ".", waiting: map[uint64]*pendingWrite{}}
	if _, err := b.nc.Subscribe(a.prefix+"*", a.hear); err != nil {
		return err
	}
	// Answers to what was sent before go nowhere; what was not sent yet still is.
	b.nc.SetDisconnectErrHandler(func(*nats.Conn, error) { a.end(ErrUnknown, false) })
	b.acks = a
	b.wg.Go(func() { a.sweep(ctx) })
	return nil
}

// send publishes a write; its answer, or the lack of one, ends it.
func (a *acks) send(p *pendingWrite) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		p.finish(0, ErrClosed)
		return
	}
	a.next++
	id := a.next
	p.since = time.Now()
	a.waiting[id] = p
	a.mu.Unlock()
	m := *p.msg
	m.Reply = a.prefix + strconv.FormatUint(id, 36)
	if err := a.b.nc.PublishMsg(&m); err != nil {
		if a.take(id) != nil {
			p.finish(0, a.b.judge(err))
		}
	}
}

// take ends the wait of a write; nil when somebody else has.
func (a *acks) take(id uint64) *pendingWrite {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.waiting[id]
	delete(a.waiting, id)
	return p
}

func (a *acks) hear(m *nats.Msg) {
	id, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.prefix), 36, 64)
	if err != nil {
		return
	}
	p := a.take(id)
	if p == nil {
		return
	}
	seq, err := readAck(m)
	p.finish(seq, a.b.judge(err))
}

// readAck reads the answer to a publish: {"stream":"JOBS","seq":7}, or an error.
func readAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 {
		return 0, errNoStream // the status "no responders"
	}
	if !bytes.Contains(m.Data, []byte(`"error"`)) {
		if _, rest, ok := bytes.Cut(m.Data, []byte(`"seq":`)); ok {
			digits := rest
			if end := bytes.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != ' ' }); end >= 0 {
				digits = rest[:end]
			}
			if seq, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 10, 64); err == nil {
				return seq, nil
			}
		}
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil || answer.Error == nil {
		return 0, ErrUnknown
	}
	return 0, answer.Error
}

// sweep ends writes whose answer does not come.
func (a *acks) sweep(ctx context.Context) {
	for wait(ctx, sweepEvery) {
		var late []*pendingWrite
		a.mu.Lock()
		for id, p := range a.waiting {
			if time.Since(p.since) > answerWithin {
				late = append(late, p)
				delete(a.waiting, id)
			}
		}
		a.mu.Unlock()
		for _, p := range late {
			p.finish(0, a.b.judge(ErrUnknown))
		}
	}
	a.end(ErrClosed, true)
}

// end ends every write that waits.
func (a *acks) end(err error, closed bool) {
	a.mu.Lock()
	left := a.waiting
	a.waiting = map[uint64]*pendingWrite{}
	a.closed = a.closed || closed
	a.mu.Unlock()
	if len(left) > 0 {
		err = a.b.judge(err) // one thing happened, however many writes waited
	}
	for _, p := range left {
		p.finish(0, err)
	}
}
