package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// A desk with one channel whose replies are sent one step at a time.
type outbox struct {
	*rig
	*sender
	t    *testing.T
	told <-chan state
}

func newOutbox(t *testing.T, f *fake, class channels.ReplyClass) *outbox {
	t.Helper()
	in := newRig(t, Options{})
	lease, err := in.bus.Lease(t.Context(), "in.sms")
	if err != nil {
		t.Fatal(err)
	}
	health, told := watched()
	c := opened("sms", f, channels.Traits[struct{}]{Reply: class})
	s := &sender{in: in.Intake, c: c, lease: lease, health: health, seen: map[string]time.Time{}}
	return &outbox{rig: in, sender: s, t: t, told: told}
}

// queue writes the record of a reply, as the delivery stage does.
func (o *outbox) queue(id string, st record.ReplyState) {
	o.t.Helper()
	data, err := json.Marshal(record.Reply{
		Schema: schemas.Version, Channel: "sms", Conv: "conv", Sink: "desk", Ticket: schemas.Ref{ID: "17"}, State: st,
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.rig.bus.Bucket(bus.Messages).Put(o.t.Context(), record.ReplyKey(id), data); err != nil {
		o.t.Fatal(err)
	}
}

func job(id string, again int) record.ReplyJob {
	return record.ReplyJob{
		Schema: schemas.Version, ID: id, Again: again,
		Reply: schemas.Reply{Key: "sb-" + id, Conversation: "+15550100", Text: "It ships today.", Files: []schemas.File{{Blob: "c/m/f"}}},
	}
}

// try hands a reply to the sender once.
func (o *outbox) try(j record.ReplyJob) error {
	o.t.Helper()
	data, err := json.Marshal(j)
	if err != nil {
		o.t.Fatal(err)
	}
	return o.handle(o.t.Context(), &bus.Msg{Data: data})
}

// after tries and returns the pause that the error asks for.
func (o *outbox) after(j record.ReplyJob) time.Duration {
	o.t.Helper()
	err := o.try(j)
	d, ok := errors.AsType[bus.Delayed](err)
	if !ok {
		o.t.Fatalf("got %v, want an error that says when to try again", err)
	}
	return d.Delay()
}

func (o *outbox) reply(id string) record.Reply {
	o.t.Helper()
	e, err := o.rig.bus.Bucket(bus.Messages).Get(o.t.Context(), record.ReplyKey(id))
	if err != nil {
		o.t.Fatal(err)
	}
	r, err := record.Decode[record.Reply](e.Value)
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}

// want checks a reply's state, and how many events and dead letters there are.
func (o *outbox) want(id string, st record.ReplyState, events, dead int) {
	o.t.Helper()
	if got := o.reply(id); got.State != st {
		o.t.Errorf("state: got %s, want %s", got.State, st)
	}
	if got := o.trail(); len(got) != events {
		o.t.Errorf("events: got %d, want %d", len(got), events)
	}
	if got := len(o.messages(o.t, bus.Dead)); got != dead {
		o.t.Errorf("dead letters: got %d, want %d", got, dead)
	}
}

// trail returns the events, each id once, as their readers see them.
func (o *outbox) trail() []schemas.Replied {
	o.t.Helper()
	var out []schemas.Replied
	seen := map[string]bool{}
	for _, m := range o.messages(o.t, bus.Events) {
		kind, id, _ := record.EventHeader(m)
		body, err := record.Decode[schemas.Replied](m.Data)
		if err != nil || kind != schemas.EventReply {
			o.t.Fatalf("event %s: %v", kind, err)
		}
		if !seen[id] {
			out = append(out, body)
		}
		seen[id] = true
	}
	return out
}

func sending(receipt schemas.Receipt, errs ...error) (f *fake, sent *[]schemas.Reply) {
	sent = new([]schemas.Reply)
	return &fake{send: func(r schemas.Reply) (schemas.Receipt, error) {
		*sent = append(*sent, r)
		if n := len(*sent); n <= len(errs) && errs[n-1] != nil {
			return schemas.Receipt{}, errs[n-1]
		}
		return receipt, nil
	}}, sent
}

func TestReplyIsSentAndReceiptsFindIt(t *testing.T) {
	t.Parallel()
	f, sent := sending(schemas.Receipt{ID: "SM1"})
	o := newOutbox(t, f, channels.Blind)
	if err := o.rig.bus.PutBlob(t.Context(), "c/m/f", []byte("file")); err != nil {
		t.Fatal(err)
	}
	o.queue("r1", record.ReplyQueued)
	for range 3 { // later copies of the job are done already
		if err := o.try(job("r1", 0)); err != nil {
			t.Fatal(err)
		}
	}
	o.want("r1", record.ReplySent, 1, 0)
	if len(*sent) != 1 {
		t.Fatalf("sent %d times, want once", len(*sent))
	}
	r := (*sent)[0]
	file, err := r.Files[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil || string(data) != "file" || r.Key != "sb-r1" || r.Text != "It ships today." {
		t.Errorf("the vendor got %+v with file %q, %v", r, data, err)
	}
	got := o.reply("r1")
	if got.Receipt.ID != "SM1" || got.Receipt.State != schemas.Sent || got.Receipt.At.IsZero() || got.By.Epoch != o.lease.Epoch() {
		t.Errorf("record: got %+v", got)
	}
	e, err := o.rig.bus.Bucket(bus.Links).Get(t.Context(), record.SentKey(o.o.Tokens.Sent("demo/4711", "SM1")))
	if err != nil || string(e.Value) != "r1" {
		t.Errorf("a receipt of SM1 finds %q, %v; want the reply", e.Value, err)
	}
	told := o.trail()[0]
	if told.Reply != "r1" || told.State != "sent" || told.Ticket.ID != "17" || len(told.Calls) != 1 || told.Calls[0].Outcome != "yes" || told.Calls[0].Key != "sb-r1" {
		t.Errorf("event: got %+v", told)
	}
	if got := within(t, "health", o.told); got.state != "ok" {
		t.Errorf("health: got %+v", got)
	}
}

func TestReplyThatCertainlyDidNotLeaveIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		err   error
		want  time.Duration
		state string
	}{
		{"not done", fault.NotDone(errBroken), time.Second, ""},
		{"rate limit", fault.NotDone(fault.RetryAfter(errBroken, 7*time.Second)), 7 * time.Second, ""},
		{"credentials", fault.Auth(errBroken), 30 * time.Second, "paused"},
	} {
		f, sent := sending(schemas.Receipt{}, tt.err)
		o := newOutbox(t, f, channels.Blind)
		o.queue("r1", record.ReplyQueued)
		if got := o.after(job("r1", 0)); got != tt.want {
			t.Errorf("%s: pause of %v, want %v", tt.name, got, tt.want)
		}
		o.want("r1", record.ReplyQueued, 0, 0)
		if tt.state != "" {
			if got := within(t, "health", o.told); got.state != tt.state {
				t.Errorf("%s: health %+v, want %s", tt.name, got, tt.state)
			}
		}
		if err := o.try(job("r1", 0)); err != nil {
			t.Errorf("%s: the next attempt: %v", tt.name, err)
		}
		o.want("r1", record.ReplySent, 1, 0)
		if got := within(t, "health", o.told); got.state != "ok" || len(*sent) != 2 {
			t.Errorf("%s: health %+v after %d attempts", tt.name, got, len(*sent))
		}
	}
}

func TestReplyThatIsRefusedIsADeadLetterAndSendAgainWorksOnce(t *testing.T) {
	t.Parallel()
	refusal := fault.Permanent(errors.New("answered 400: \"no such number\""))
	f, sent := sending(schemas.Receipt{ID: "SM2"}, refusal, refusal)
	o := newOutbox(t, f, channels.Blind)
	o.queue("r1", record.ReplyQueued)
	for range 2 {
		if err := o.try(job("r1", 0)); err != nil {
			t.Fatal(err)
		}
	}
	o.want("r1", record.ReplyFailed, 1, 1)
	letter, err := record.Decode[record.Letter](o.messages(t, bus.Dead)[0].Data)
	if err != nil || letter.Stage != record.StageReply || letter.Place != "sms" || letter.Message != "r1" || letter.Reply == nil ||
		letter.Reply.Reply.Text != "It ships today." || !strings.Contains(letter.Reason, "no such number") || letter.ID != o.reply("r1").Dead {
		t.Errorf("dead letter: got %+v, %v", letter, err)
	}
	for range 2 { // a second click is a copy
		if err := o.try(job("r1", 1)); err != nil {
			t.Fatal(err)
		}
	}
	o.want("r1", record.ReplyFailed, 2, 2)
	if len(*sent) != 2 {
		t.Fatalf("sent %d times, want once more for one click", len(*sent))
	}
	if err := o.try(job("r1", 3)); err != nil || len(*sent) != 2 { // no such decision is known
		t.Errorf("a version out of turn: %v, sent %d times", err, len(*sent))
	}
	for _, again := range []int{2, 2, 1, 0} {
		if err := o.try(job("r1", again)); err != nil {
			t.Fatal(err)
		}
	}
	o.want("r1", record.ReplySent, 3, 2)
	if len(*sent) != 3 {
		t.Errorf("sent %d times, want three", len(*sent))
	}
}

func TestReplyWithoutAClearAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		class  channels.ReplyClass
		resend bool
		state  record.ReplyState
		sent   int
	}{
		{"blind is not repeated", channels.Blind, false, record.ReplyUnknown, 1},
		{"blind, but the operator chose so", channels.Blind, true, record.ReplySent, 2},
		{"an idempotency key repeats", channels.Idempotent, false, record.ReplySent, 2},
	} {
		for _, crash := range []bool{false, true} {
			f, sent := sending(schemas.Receipt{ID: "SM3"}, errBroken)
			want := tt.sent
			o := newOutbox(t, f, tt.class)
			o.resend = tt.resend
			if crash { // another process has sent it, perhaps, and died
				o.queue("r1", record.ReplySending)
				f.send = func(r schemas.Reply) (schemas.Receipt, error) {
					*sent = append(*sent, r)
					return schemas.Receipt{ID: "SM3"}, nil
				}
				want--
			} else {
				o.queue("r1", record.ReplyQueued)
			}
			for range 4 {
				if err := o.try(job("r1", 0)); err != nil {
					if d, ok := errors.AsType[bus.Delayed](err); !ok || d.Delay() != time.Second {
						t.Fatalf("%s, crash %v: got %v", tt.name, crash, err)
					}
				}
			}
			dead := 0
			if tt.state == record.ReplyUnknown {
				dead = 1
			}
			o.want("r1", tt.state, 1, dead)
			if len(*sent) != want {
				t.Errorf("%s, crash %v: sent %d times, want %d", tt.name, crash, len(*sent), want)
			}
			for _, r := range *sent {
				if r.Key != "sb-r1" {
					t.Errorf("%s: sent under the key %s", tt.name, r.Key)
				}
			}
		}
	}
}

func TestTrackableReplyIsLookedForBeforeItIsRepeated(t *testing.T) {
	t.Parallel()
	var visible bool
	var lookErr error
	f, sent := sending(schemas.Receipt{ID: "SM5"}, errBroken)
	f.sent = func(r schemas.Reply) (schemas.Receipt, bool, error) {
		if r.Key != "sb-r1" {
			t.Errorf("looked for %s", r.Key)
		}
		return schemas.Receipt{ID: "SM4", State: schemas.Delivered}, visible, lookErr
	}
	o := newOutbox(t, f, channels.Trackable)
	o.queue("r1", record.ReplyQueued)
	if got := o.after(job("r1", 0)); got != 2*time.Second {
		t.Errorf("first look after %v", got)
	}
	o.want("r1", record.ReplySending, 0, 0)
	for range 3 {
		o.after(job("r1", 0)) // absent, but it may still come
	}
	o.seen["r1"] = time.Now().Add(-2 * replySettle)
	lookErr = errBroken
	if err := o.try(job("r1", 0)); !errors.Is(err, errBroken) {
		t.Errorf("a look that fails: got %v", err)
	}
	if len(*sent) != 1 {
		t.Fatal("it was repeated although absence was not seen")
	}
	lookErr, visible = nil, true
	if err := o.try(job("r1", 0)); err != nil {
		t.Fatal(err)
	}
	o.want("r1", record.ReplySent, 1, 0)
	if got := o.reply("r1").Receipt; got.ID != "SM4" || got.State != schemas.Delivered || len(*sent) != 1 {
		t.Errorf("adopted %+v after %d sends", got, len(*sent))
	}
	if told := o.trail()[0]; told.Calls[0].Outcome != "adopted" {
		t.Errorf("event: got %+v", told)
	}
	if len(o.seen) != 0 {
		t.Errorf("%d sightings are kept", len(o.seen))
	}
}

func TestTrackableReplyThatIsAbsentIsRepeatedWithItsKey(t *testing.T) {
	t.Parallel()
	f, sent := sending(schemas.Receipt{ID: "SM6"})
	f.sent = func(schemas.Reply) (schemas.Receipt, bool, error) { return schemas.Receipt{}, false, nil }
	o := newOutbox(t, f, channels.Trackable)
	o.queue("r1", record.ReplySending) // found after a crash
	if got := o.after(job("r1", 0)); got != 5*time.Second || len(*sent) != 0 {
		t.Errorf("pause %v, sent %d times; want to wait for it to show", got, len(*sent))
	}
	o.seen["r1"] = time.Now().Add(-replySettle)
	if err := o.try(job("r1", 0)); err != nil {
		t.Fatal(err)
	}
	o.want("r1", record.ReplySent, 1, 0)
	if len(*sent) != 1 || (*sent)[0].Key != "sb-r1" {
		t.Errorf("sent %+v", *sent)
	}
}

func TestReplyIsNotSentWithoutItsIntent(t *testing.T) {
	t.Parallel()
	f, sent := sending(schemas.Receipt{})
	o := newOutbox(t, f, channels.Blind)
	o.queue("r1", record.ReplyQueued)
	o.fail(func(subject string) error {
		if strings.HasPrefix(subject, "$KV.messages") {
			return bus.ErrFull
		}
		return nil
	})
	if err := o.try(job("r1", 0)); !errors.Is(err, bus.ErrFull) || len(*sent) != 0 {
		t.Errorf("got %v, sent %d times; want nothing sent", err, len(*sent))
	}
	// The vendor said yes, but its answer could not be written: nobody may repeat.
	writes := 0
	o.fail(func(subject string) error {
		if strings.HasPrefix(subject, "$KV.messages") {
			if writes++; writes == 2 {
				return bus.ErrFull
			}
		}
		return nil
	})
	if err := o.try(job("r1", 0)); !errors.Is(err, bus.ErrFull) || len(*sent) != 1 {
		t.Errorf("got %v, sent %d times", err, len(*sent))
	}
	o.fail(nil)
	if err := o.try(job("r1", 0)); err != nil || len(*sent) != 1 {
		t.Errorf("got %v, sent %d times; want it put to a person", err, len(*sent))
	}
	o.want("r1", record.ReplyUnknown, 1, 1)
}

func TestDeadLetterComesBeforeTheFinalState(t *testing.T) {
	t.Parallel()
	f, sent := sending(schemas.Receipt{}, errBroken)
	o := newOutbox(t, f, channels.Blind)
	o.queue("r1", record.ReplyQueued)
	for _, what := range []string{"dead.", "events."} {
		o.fail(func(subject string) error {
			if strings.HasPrefix(subject, what) {
				return bus.ErrFull
			}
			return nil
		})
		if err := o.try(job("r1", 0)); !errors.Is(err, bus.ErrFull) {
			t.Errorf("%s: got %v, want the reply unsettled", what, err)
		}
	}
	o.fail(nil)
	if err := o.try(job("r1", 0)); err != nil {
		t.Fatal(err)
	}
	o.want("r1", record.ReplyUnknown, 1, 1)
	if len(*sent) != 1 {
		t.Errorf("sent %d times, want once", len(*sent))
	}
}

func TestRepliesThatCannotBeActedOnAreSettled(t *testing.T) {
	t.Parallel()
	f, sent := sending(schemas.Receipt{})
	o := newOutbox(t, f, channels.Blind)
	if err := o.handle(t.Context(), &bus.Msg{Data: []byte("no JSON")}); err != nil {
		t.Errorf("a reply that cannot be read: got %v, and its lane would wait for ever", err)
	}
	if err := o.try(job("forgotten", 0)); err != nil {
		t.Errorf("a reply that was forgotten: got %v", err)
	}
	if _, err := o.rig.bus.Bucket(bus.Messages).Put(t.Context(), record.ReplyKey("bad"), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := o.try(job("bad", 0)); err == nil {
		t.Error("a damaged record was passed over")
	}
	if len(*sent) != 0 {
		t.Errorf("sent %d times", len(*sent))
	}
}

func TestRepliesLeaveInOrder(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 100)
	f := &fake{send: func(r schemas.Reply) (schemas.Receipt, error) {
		sent <- r.Key
		return schemas.Receipt{}, nil
	}}
	o := newOutbox(t, f, channels.Blind)
	health, _ := watched()
	const n = 10
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		o.queue(id, record.ReplyQueued)
		r, err := job(id, 0).Encode("sms", "conv")
		if err != nil {
			t.Fatal(err)
		}
		other, err := job(id, 0).Encode("another-channel", "conv")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.rig.bus.Publish(t.Context(), other, r); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := o.Replies(t.Context(), o.c, o.lease, false, health)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got, want := within(t, "a reply", sent), fmt.Sprintf("sb-r%d", i); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if err := reader.Stop(); err != nil {
		t.Error(err)
	}
	if len(sent) != 0 {
		t.Error("another channel's replies were sent too")
	}
	f.send = nil
	if r, err := o.Replies(context.Background(), opened("mute", f, channels.Traits[struct{}]{}), o.lease, false, health); r != nil || err != nil {
		t.Errorf("a channel that cannot send: got %v, %v", r, err)
	}
}
