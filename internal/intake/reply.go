package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/adapter/fault"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// Replies runs the way out of one channel: it hands the replies of REPLIES to
// the channel's Send by the steps R3 to R7 of docs/protocol.md §7. It needs the
// channel's lease; the caller stops the reader.
func (in *Intake) Replies(ctx context.Context, c *channels.Opened, lease *bus.Lease, resend bool, health Health) (*bus.Reader, error) {
	if c.Sender == nil {
		return nil, nil
	}
	s := &sender{in: in, c: c, lease: lease, resend: resend, health: health, seen: map[string]time.Time{}}
	return in.o.Bus.Handle(ctx, bus.ReaderConfig{
		Unit: "out." + c.Name, Stream: bus.Replies, Subjects: []string{"replies." + c.Name + ".>"}, Workers: 16,
		Keys: func(m *bus.Msg) []string { return []string{m.Subject} },
	}, s.handle)
}

// replySettle is how long a trackable channel may take to show what it sent.
const replySettle = time.Minute

type sender struct {
	in     *Intake
	c      *channels.Opened
	lease  *bus.Lease
	resend bool
	health Health
	n      atomic.Uint64

	mu   sync.Mutex
	seen map[string]time.Time // when this process first found a reply in "sending"
}

// since returns how long this process has known of a reply that broke off; the
// clock is monotonic, and a predecessor's is not asked.
func (s *sender) since(id string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, ok := s.seen[id]
	if !ok {
		first = time.Now()
		s.seen[id] = first
	}
	return time.Since(first)
}

func (s *sender) over(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, id)
}

// A later is an error that says when to try again.
type later struct {
	error
	d time.Duration
}

func (l later) Delay() time.Duration { return l.d }
func (l later) Unwrap() error        { return l.error }

func (s *sender) handle(ctx context.Context, m *bus.Msg) error {
	job, err := record.Decode[record.ReplyJob](m.Data)
	if err != nil {
		s.in.o.Log.Error("a reply cannot be read", "channel", s.c.Name, "seq", m.Seq, "err", err)
		return nil
	}
	key := record.ReplyKey(job.ID)
	bucket := s.in.o.Bus.Bucket(bus.Messages)
	e, err := bucket.Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return nil // forgotten meanwhile
	}
	if err != nil {
		return err
	}
	rec, err := record.Decode[record.Reply](e.Value)
	if err != nil {
		return err
	}
	switch rec.State {
	case record.ReplySent:
		return s.tell(ctx, job, rec, "", nil)
	case record.ReplyUnknown, record.ReplyFailed:
		if job.Again != rec.Again+1 {
			return s.tell(ctx, job, rec, "", nil)
		}
		rec.Again = job.Again
	case record.ReplySending:
		return s.recover(ctx, job, rec, e.Revision)
	}
	return s.send(ctx, job, rec, e.Revision)
}

// swap writes the record and returns its new revision.
func (s *sender) swap(ctx context.Context, id string, rec record.Reply, revision uint64) (uint64, error) {
	rec.By = record.By{Epoch: s.lease.Epoch(), N: s.n.Add(1)}
	data, err := json.Marshal(rec)
	if err != nil {
		return 0, err
	}
	return s.in.o.Bus.Bucket(bus.Messages).Update(ctx, record.ReplyKey(id), data, revision)
}

// send writes the intent, sends, and writes what came of it.
func (s *sender) send(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64) error {
	if !s.lease.Start() {
		return errors.New("the lease was not renewed in time")
	}
	rec.State = record.ReplySending
	revision, err := s.swap(ctx, job.ID, rec, revision)
	if err != nil {
		return err
	}
	started := time.Now()
	callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	receipt, err := s.c.Sender.Send(callCtx, s.open(ctx, job.Reply))
	cancel()
	call := schemas.Call{Op: "send", Key: job.Reply.Key, At: started.UTC(), Took: time.Since(started), Outcome: outcome(err), Words: words(err)}
	switch {
	case err == nil:
		s.health("ok", "")
		return s.sent(ctx, job, rec, revision, receipt, call)
	case fault.IsAuth(err):
		s.health("paused", err.Error())
		return s.requeue(ctx, job, rec, revision, err, 30*time.Second)
	case fault.IsPermanent(err):
		return s.end(ctx, job, rec, revision, record.ReplyFailed, err.Error(), &call)
	case fault.IsNotDone(err):
		wait := time.Second
		if after, ok := fault.After(err); ok {
			wait = after
		}
		return s.requeue(ctx, job, rec, revision, err, wait)
	}
	return s.unclear(ctx, job, rec, revision, err, &call)
}

func (s *sender) requeue(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64, cause error, wait time.Duration) error {
	rec.State = record.ReplyQueued
	if _, err := s.swap(ctx, job.ID, rec, revision); err != nil {
		return err
	}
	return later{cause, wait}
}

// unclear decides on a reply that may or may not have left.
func (s *sender) unclear(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64, cause error, call *schemas.Call) error {
	switch {
	case s.c.Traits.Reply == channels.Idempotent:
		return s.requeue(ctx, job, rec, revision, cause, time.Second)
	case s.c.Tracker != nil:
		return later{cause, 2 * time.Second} // stays "sending"; recover looks
	case s.resend:
		return s.requeue(ctx, job, rec, revision, cause, time.Second)
	default:
		return s.end(ctx, job, rec, revision, record.ReplyUnknown, "we cannot tell whether this reached the customer: "+cause.Error(), call)
	}
}

// recover handles a reply found in "sending": after a crash, or after an answer
// that was not clear.
func (s *sender) recover(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64) error {
	if s.c.Tracker == nil {
		return s.unclear(ctx, job, rec, revision, errors.New("the sending broke off"), nil)
	}
	known := s.since(job.ID)
	started := time.Now()
	receipt, found, err := s.c.Tracker.Sent(ctx, job.Reply)
	switch {
	case err != nil:
		return fmt.Errorf("look whether the reply has left: %w", err)
	case found:
		s.over(job.ID)
		return s.sent(ctx, job, rec, revision, receipt, schemas.Call{Op: "track", Key: job.Reply.Key, At: started.UTC(), Took: time.Since(started), Outcome: "adopted"})
	case known < replySettle:
		return later{errors.New("the reply is not to be seen yet"), 5 * time.Second}
	default:
		s.over(job.ID)
		return s.send(ctx, job, rec, revision)
	}
}

func (s *sender) sent(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64, receipt schemas.Receipt, call schemas.Call) error {
	if receipt.State == "" {
		receipt.State = schemas.Sent
	}
	if receipt.At.IsZero() {
		receipt.At = time.Now().UTC()
	}
	token := s.in.o.Tokens.Sent(s.c.Scope(s.in.o.Realm), receipt.ID)
	if receipt.ID != "" {
		if _, err := s.in.o.Bus.Bucket(bus.Links).Put(ctx, record.SentKey(token), []byte(job.ID)); err != nil {
			return err
		}
	}
	rec.State, rec.Receipt = record.ReplySent, receipt
	if _, err := s.swap(ctx, job.ID, rec, revision); err != nil {
		return err
	}
	s.over(job.ID)
	s.in.o.Metrics.Reply(s.c.Name, "sent")
	return s.tell(ctx, job, rec, "", &call)
}

// end writes a dead letter and then the final state.
func (s *sender) end(ctx context.Context, job record.ReplyJob, rec record.Reply, revision uint64, state record.ReplyState, reason string, call *schemas.Call) error {
	now := time.Now().UTC()
	letter := record.Letter{
		Schema: schemas.Version, ID: record.LetterID(record.StageReply, s.c.Name, job.ID, rec.Again), Stage: record.StageReply,
		Place: s.c.Name, Conv: rec.Conv, Message: job.ID, Version: rec.Again, Reason: reason, At: now, Reply: &job,
	}
	r, err := letter.Encode()
	if err != nil {
		return err
	}
	if _, err := s.in.o.Bus.Publish(ctx, r); err != nil {
		return err
	}
	rec.State, rec.Dead = state, letter.ID
	if _, err := s.swap(ctx, job.ID, rec, revision); err != nil {
		return err
	}
	s.in.o.Metrics.Reply(s.c.Name, string(state))
	s.in.o.Metrics.Dead(record.StageReply)
	return s.tell(ctx, job, rec, reason, call)
}

func (s *sender) tell(ctx context.Context, job record.ReplyJob, rec record.Reply, reason string, call *schemas.Call) error {
	body := schemas.Replied{
		Reply: job.ID, Channel: rec.Channel, Sink: rec.Sink, Ticket: rec.Ticket, Conversation: rec.Conv,
		State: string(rec.State), Reason: reason, Dead: rec.Dead, Receipt: rec.Receipt, At: time.Now().UTC(),
	}
	if call != nil {
		body.Calls = []schemas.Call{*call}
	}
	id := record.Digest("reply", job.ID, string(rec.State), strconv.Itoa(rec.Again))
	e, err := record.Event(schemas.EventReply, rec.Conv, id, body.At, body)
	if err != nil {
		return err
	}
	_, err = s.in.o.Bus.Publish(ctx, e)
	return err
}

// open gives the files of a reply their content.
func (s *sender) open(ctx context.Context, r schemas.Reply) schemas.Reply {
	for i := range r.Files {
		blob := r.Files[i].Blob
		r.Files[i].Open = func() (io.ReadCloser, error) { return s.in.o.Bus.Blob(ctx, blob) }
	}
	return r
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "yes"
	case fault.IsNotDone(err):
		return "no"
	default:
		return "unknown"
	}
}

func words(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
