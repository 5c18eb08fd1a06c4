package torture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/config"
)

// Senders are the vendors: they sign, hand in, and send the same message again
// until they hear a yes.
type senders struct {
	w     *world
	every time.Duration
	began time.Time
	seed  uint64

	wg    sync.WaitGroup
	stop  chan struct{}
	turn  atomic.Int64 // messages begun, each has its time
	convs atomic.Int64

	mu       sync.Mutex
	accepted map[mark]bool // and whether it brought a file
	refused  []string
	// started is when the server was started anew and has not said yes since.
	started time.Time
	waits   []time.Duration
}

// A mark is what a message carries in its text: its conversation, and its number
// in it from 1.
type mark struct {
	conv string
	n    int
}

func (m mark) String() string { return fmt.Sprintf("[%s/%d]", m.conv, m.n) }

// fileName is what the file of a message is called, if it has one.
func fileName(m mark) string { return fmt.Sprintf("flight-log-%s-%d.txt", m.conv, m.n) }

// parseMark finds the mark at the beginning of a text.
func parseMark(text string) (mark, bool) {
	inside, _, ok := strings.Cut(strings.TrimPrefix(text, "["), "]")
	conv, number, slash := strings.Cut(inside, "/")
	n, err := strconv.Atoi(number)
	return mark{conv, n}, ok && slash && err == nil && strings.HasPrefix(text, "[")
}

func newSenders(w *world, rate float64, seed uint64) *senders {
	return &senders{
		w: w, every: time.Duration(float64(time.Second) / rate), began: time.Now(), seed: seed,
		stop: make(chan struct{}), accepted: map[mark]bool{},
	}
}

// start lets n senders send, in turn over the channels.
func (s *senders) start(n int) {
	for i := range n {
		channel := s.w.conf.Channels[i%len(s.w.conf.Channels)]
		random := rand.New(rand.NewPCG(s.seed, uint64(i))) //nolint:gosec // made-up messages, not secrets
		s.wg.Go(func() { s.send(channel, random) })
	}
}

// finish lets every conversation that has begun end, and returns when all has
// been accepted.
func (s *senders) finish() {
	close(s.stop)
	s.wg.Wait()
}

func (s *senders) send(channel config.ChannelInstance, random *rand.Rand) {
	for {
		select {
		case <-s.stop:
			return
		case <-s.w.ctx.Done():
			return
		default:
		}
		conv, length := s.convs.Add(1), 1
		// A form has no conversations; elsewhere every sixth customer writes more.
		if !channel.Kind.Traits().Form && random.IntN(6) == 0 {
			length = 5 + random.IntN(5)
		}
		for n := 1; n <= length; n++ {
			if !s.deliver(channel, random, conv, n) {
				return
			}
		}
	}
}

// deliver hands one message in when its time has come, and again until it hears a
// yes; some are sent once more, as vendors do.
func (s *senders) deliver(channel config.ChannelInstance, random *rand.Rand, conv int64, n int) bool {
	due := s.began.Add(time.Duration(s.turn.Add(1)) * s.every)
	if d := time.Until(due); d > 0 && !wait(s.w.ctx, d) {
		return false
	}
	m := mark{fmt.Sprintf("%s-%d", channel.Name, conv), n}
	d := s.sign(channel, m, conv, random)
	for {
		status, err := s.post(d)
		switch {
		case err == nil && status/100 == 2:
			s.yes(m, bytes.Contains(d.Body, []byte(fileName(m))))
			if random.IntN(25) == 0 {
				_, _ = s.post(d) // a vendor's repeat, which nobody waits for
			}
			return true
		case err == nil && status/100 == 4:
			s.mu.Lock()
			s.refused = append(s.refused, fmt.Sprintf("%s %v: %d", channel.Name, m, status))
			s.mu.Unlock()
			return false
		}
		if !wait(s.w.ctx, 25*time.Millisecond) {
			return false
		}
	}
}

// sign makes the message as the vendor would.
func (s *senders) sign(channel config.ChannelInstance, m mark, conv int64, random *rand.Rand) hook.Delivery {
	traits := channel.Kind.Traits()
	text := []string{
		"Where is my order 1234?", "My Finch does not bind to the receiver", "URGENT the pack is swollen", "Thank you, that did it",
		"Can you send the 25 mm mount?", "ok",
	}[random.IntN(6)]
	from, path := fmt.Sprintf("pilot%d@hangar.example", conv), "/hooks/"+channel.Name
	switch {
	case traits.Form:
		path = "/form/" + channel.Name
	case channel.Kind.Name() == "twilio-sms":
		from = fmt.Sprintf("+4477009%05d", conv)
	case channel.Kind.Name() == "telegram":
		from = strconv.FormatInt(700_000_000+conv, 10)
	}
	d := traits.Sample(channel.Value, channels.Sample{
		ID: strconv.FormatInt(conv*100+int64(m.n), 10), From: from, Name: fmt.Sprintf("Pilot %d", conv), Subject: "Hangar talk",
		Text: m.String() + " " + text, At: time.Now().UTC(),
	})
	if channel.Kind.Name() == "webhook" && random.IntN(5) == 0 {
		d.Body = fmt.Appendf(bytes.TrimSuffix(d.Body, []byte("}")), `,"attachments":[{"name":%q,"type":"text/plain","data":"ZmxpZ2h0IGxvZw=="}]}`, fileName(m))
	}
	d.URL, d.ReceivedAt = s.w.conf.PublicURL+path, time.Now().UTC()
	if traits.Sign != nil {
		traits.Sign(channel.Value, &d)
	}
	d.URL = s.w.url + path
	return d
}

func (s *senders) post(d hook.Delivery) (int, error) {
	ctx, cancel := context.WithTimeout(s.w.ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, d.Method, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		return 0, err
	}
	r.Header = d.Header.Clone()
	resp, err := s.w.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (s *senders) yes(m mark, file bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accepted[m] = file
	if !s.started.IsZero() {
		s.waits = append(s.waits, time.Since(s.started))
		s.started = time.Time{}
	}
}

// restarting begins to wait for the first yes.
func (s *senders) restarting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = time.Now()
}

// count is how many messages were accepted.
func (s *senders) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// recovery is how long senders waited for the first yes after a restart, at a
// quantile.
func (s *senders) recovery(q float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waits) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.waits))
	return sorted[int(q*float64(len(sorted)-1))]
}
