package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// openCounting opens a bus that groups its commits and tells how large they are.
func openCounting(t *testing.T) (b *Bus, groups func() []int) {
	t.Helper()
	var mu sync.Mutex
	var sizes []int
	b, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Reserve: 1 << 20, Batch: func(size int) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, size)
	}})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	return b, func() []int {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(sizes)
	}
}

// gatherOnly puts a committer that only gathers in the place of a stream's own.
func gatherOnly(b *Bus, stream string) *committer {
	c := &committer{b: b, stream: stream, group: true, wake: make(chan struct{}, 1)}
	b.committers[stream] = c
	return c
}

func TestGroupIsOneCommitWithSequencesInOrder(t *testing.T) {
	t.Parallel()
	b, groups := openCounting(t)
	c := gatherOnly(b, Jobs)
	var writes []*pendingWrite
	for i := range 40 {
		r := Record{Subject: "jobs.desk.c" + strconv.Itoa(i%3), Header: map[string]string{"Sb-N": strconv.Itoa(i)}, Data: []byte(strconv.Itoa(i))}
		writes = append(writes, b.submit(Jobs, r, noExpectation))
	}
	c.commit(c.take())
	if got := groups(); !slices.Equal(got, []int{40}) {
		t.Errorf("commits: got %v, want one of 40", got)
	}
	for i, w := range writes {
		seq, err := w.wait(t.Context())
		if err != nil || seq != uint64(i+1) {
			t.Fatalf("write %d: got sequence %d, %v", i, seq, err)
		}
		m, err := b.Message(t.Context(), Jobs, seq)
		if err != nil || string(m.Data) != strconv.Itoa(i) || m.Header["Sb-N"] != strconv.Itoa(i) {
			t.Fatalf("message %d: got %+v, %v", seq, m, err)
		}
	}
}

func TestRejectedGroupGivesEachItsOwnAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		conflict bool
		oversize bool
	}{
		{"a conflict", true, false},
		{"an oversized member", false, true},
		{"both", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, groups := openCounting(t)
			k := b.Bucket(Messages)
			if _, err := k.Create(t.Context(), "taken", []byte("first")); err != nil {
				t.Fatal(err)
			}
			c := gatherOnly(b, bucketStream(Messages))
			submit := func(key string, value []byte, expect uint64) *pendingWrite {
				return b.submit(c.stream, Record{Subject: k.subject(key), Data: value}, expect)
			}
			good := map[string]*pendingWrite{}
			var taken, large *pendingWrite
			for i := range 14 {
				switch {
				case i == 5 && tt.conflict:
					taken = submit("taken", []byte("second"), 0)
				case i == 9 && tt.oversize:
					large = submit("large", make([]byte, 9<<20), 0)
				default:
					key := fmt.Sprintf("k%d", i)
					good[key] = submit(key, []byte(key), 0)
				}
			}
			for group := c.take(); len(group) > 0; group = c.take() {
				c.commit(group)
			}
			for key, w := range good {
				revision, err := w.wait(t.Context())
				if err != nil {
					t.Errorf("%s beside a bad member: %v", key, err)
					continue
				}
				if e, err := k.Get(t.Context(), key); err != nil || string(e.Value) != key || e.Revision != revision {
					t.Errorf("%s: got %+v, %v; want revision %d", key, e, err, revision)
				}
			}
			if taken != nil {
				if _, err := taken.wait(t.Context()); !errors.Is(err, ErrConflict) {
					t.Errorf("the conflict: got %v, want ErrConflict", err)
				}
				if e, err := k.Get(t.Context(), "taken"); err != nil || string(e.Value) != "first" {
					t.Errorf("the taken key: got %q, %v", e.Value, err)
				}
			}
			if large != nil {
				if _, err := large.wait(t.Context()); !errors.Is(err, nats.ErrMaxPayload) {
					t.Errorf("the oversized member: got %v, want %v", err, nats.ErrMaxPayload)
				}
			}
			if info, err := b.Info(t.Context(), c.stream); err != nil || info.Messages != uint64(len(good)+1) {
				t.Errorf("records: got %+v, %v; want each good one once", info, err)
			}
			for _, n := range groups() {
				if n >= 5 && tt.conflict && !tt.oversize {
					t.Errorf("a rejected group counts as a commit of %d", n)
				}
			}
		})
	}
}

func TestGroupsHoldOneWritePerKeyAndStayInBounds(t *testing.T) {
	t.Parallel()
	write := func(subject string, size int) *pendingWrite {
		return &pendingWrite{msg: &nats.Msg{Subject: subject}, size: size}
	}
	for _, tt := range []struct {
		name   string
		stream string
		queue  []*pendingWrite
		want   []int
	}{
		{"one key twice", "KV_links", []*pendingWrite{write("a", 1), write("b", 1), write("a", 1), write("b", 1), write("a", 1)}, []int{2, 2, 1}},
		{"one subject of a stream twice", Jobs, []*pendingWrite{write("a", 1), write("a", 1)}, []int{2}},
		{"bytes", Jobs, []*pendingWrite{write("a", maxGroupBytes-1), write("b", 1), write("c", 1)}, []int{2, 1}},
		{"one larger than a group", Jobs, []*pendingWrite{write("a", 2*maxGroupBytes), write("b", 1)}, []int{1, 1}},
		{"count", Jobs, slices.Repeat([]*pendingWrite{write("a", 1)}, 2*maxGroup+3), []int{maxGroup, maxGroup, 3}},
	} {
		c := &committer{stream: tt.stream, queue: slices.Clone(tt.queue)}
		var got []int
		var all []*pendingWrite
		for group := c.take(); len(group) > 0; group = c.take() {
			got, all = append(got, len(group)), append(all, group...)
		}
		if !slices.Equal(got, tt.want) || !slices.Equal(all, tt.queue) {
			t.Errorf("%s: got groups of %v, want %v, in order", tt.name, got, tt.want)
		}
	}
}

func TestConcurrentSwapsOfOneKeyHaveOneWinnerEach(t *testing.T) {
	t.Parallel()
	for _, d := range []Durability{Disk, OS} {
		b := open(t, t.TempDir(), d)
		shut(t, b)
		k := b.Bucket(Links)
		const writers, rounds = 30, 10
		var revision uint64
		for round := range rounds {
			var wg sync.WaitGroup
			won := make(chan uint64, writers)
			for w := range writers {
				wg.Go(func() {
					got, err := k.Update(t.Context(), "c.desk.x", fmt.Appendf(nil, "%d/%d", round, w), revision)
					switch {
					case err == nil:
						won <- got
					case !errors.Is(err, ErrConflict):
						t.Errorf("%s: got %v, want ErrConflict", d, err)
					}
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%s, round %d: %d winners", d, round, len(won))
			}
			revision = <-won
		}
	}
}

func TestPublishReturnsSequencesInOrder(t *testing.T) {
	t.Parallel()
	for _, d := range []Durability{Disk, OS} {
		b := open(t, t.TempDir(), d)
		shut(t, b)
		var wg sync.WaitGroup
		for caller := range 8 {
			wg.Go(func() {
				records := make([]Record, 100)
				for i := range records {
					records[i] = Record{Subject: fmt.Sprintf("events.c%d", caller), Data: []byte(strconv.Itoa(i))}
				}
				seqs, err := b.Publish(t.Context(), records...)
				if err != nil {
					t.Error(err)
				}
				for i, seq := range seqs {
					m, err := b.Message(t.Context(), Events, seq)
					if err != nil || m.Subject != records[i].Subject || string(m.Data) != strconv.Itoa(i) || i > 0 && seq <= seqs[i-1] {
						t.Errorf("%s: sequence %d of record %d: got %+v, %v", d, seq, i, m, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestPublishFindsTheStreamOrRefuses(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	for subject, stream := range map[string]string{
		"deliveries.in.form": Deliveries, "jobs.desk.c": Jobs, "replies.form.c": Replies, "events.-": Events,
		"dead.reply.form.-": Dead, "due.sla": Timers,
	} {
		publish(t, b, subject)
		if info, err := b.Info(t.Context(), stream); err != nil || info.Messages != 1 {
			t.Errorf("%s: %s holds %d messages, %v", subject, stream, info.Messages, err)
		}
	}
	if stream, err := streamOf("timer.sla.1"); err != nil || stream != Timers {
		t.Errorf("timers: got %q, %v", stream, err)
	}
	for _, subject := range []string{"", "job", "$KV.links.x", "secret words"} {
		if _, err := b.Publish(t.Context(), Record{Subject: subject}); err == nil {
			t.Errorf("subject %q was taken", subject)
		}
	}
	if seqs, err := b.Publish(t.Context()); err != nil || len(seqs) != 0 {
		t.Errorf("nothing: got %v, %v", seqs, err)
	}
}

func TestPublishOnlyBoundsTheWaitByItsContext(t *testing.T) {
	t.Parallel()
	for _, d := range []Durability{Disk, OS} {
		b := open(t, t.TempDir(), d)
		shut(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		unsure := 0
		for range 50 {
			_, err := b.Publish(ctx, Record{Subject: "jobs.desk.c1"})
			if err == nil {
				continue
			}
			unsure++
			if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: got %v, want ErrUnknown", d, err)
			}
			if strings.Contains(err.Error(), "c1") {
				t.Fatalf("the error names the conversation: %v", err)
			}
		}
		if unsure == 0 {
			t.Errorf("%s: the context bounds nothing", d)
		}
		eventually(t, "all are stored nevertheless", func() bool {
			info, err := b.Info(t.Context(), Jobs)
			return err == nil && info.Messages == 50
		})
	}
}

func TestPublisherIsAWatermillPublisher(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	p := b.Publisher()
	one, two := message.NewMessage("1", []byte("one")), message.NewMessage("2", []byte("two"))
	one.Metadata.Set("ce-id", "e1")
	if err := p.Publish("events.c1", one, two); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil { // as the Router does when a handler stops
		t.Fatal(err)
	}
	if err := p.Publish("events.c1", message.NewMessage("3", []byte("three"))); err != nil {
		t.Errorf("after Close: %v", err)
	}
	var got []string
	err := b.Scan(t.Context(), Range{Stream: Events}, func(m *Msg) error {
		got = append(got, string(m.Data)+m.Header["ce-id"])
		return nil
	})
	if want := []string{"onee1", "two", "three"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if err := p.Publish("nowhere", one); err == nil {
		t.Error("a topic without a stream was taken")
	}
	if err := p.Publish("events.c1", message.NewMessage("4", make([]byte, 9<<20))); err == nil {
		t.Error("a message beyond every limit was taken")
	}
}

func TestReadAck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		data string
		seq  uint64
		want error
	}{
		{`{"stream":"JOBS","seq":7}`, 7, nil},
		{`{"stream":"JOBS", "seq": 18446744073709551615, "domain":"x"}`, 18446744073709551615, nil},
		{`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"JOBS","seq":0}`, 0, ErrConflict},
		{`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`, 0, ErrFull},
		{``, 0, errNoStream},
		{`{"stream":"JOBS","seq":}`, 0, ErrUnknown},
		{`{"stream":"JOBS","seq":18446744073709551616}`, 0, ErrUnknown},
		{`{`, 0, ErrUnknown},
		{`{}`, 0, ErrUnknown},
	} {
		seq, err := readAck(&nats.Msg{Data: []byte(tt.data)})
		if err = translate(err); seq != tt.seq || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %d, %v; want %d, %v", tt.data, seq, err, tt.seq, tt.want)
		}
	}
}

func TestWriteWithoutAnAnswerIsUnknown(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	lost := &pendingWrite{done: make(chan struct{}), since: time.Now().Add(-answerWithin)}
	young := &pendingWrite{done: make(chan struct{}), since: time.Now().Add(time.Hour)}
	b.acks.mu.Lock()
	b.acks.waiting[1<<40], b.acks.waiting[1<<40+1] = lost, young
	b.acks.mu.Unlock()
	b.acks.hear(&nats.Msg{Subject: b.acks.prefix + "not a number", Data: []byte(`{"seq":1}`)}) // is nobody's
	if _, err := lost.wait(t.Context()); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	select {
	case <-young.done:
		t.Error("a write whose answer may still come was ended")
	default:
	}
	if b.broken.Load() != 1 {
		t.Errorf("%d writes without an answer are counted, want one", b.broken.Load())
	}
}

func TestWriteThatNoStreamTakesIsADefiniteNo(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	if err := b.js.DeleteStream(t.Context(), Jobs); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), Record{Subject: "jobs.desk.c1"}); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want a definite no", err)
	}
}
