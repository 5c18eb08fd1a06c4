// Package torture proves "accepted is durable, exactly one ticket, in order" on
// the real program: the binary runs as a process of its own and is killed at
// random moments, the desk is another process and has the last word.
package torture

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var (
	long = flag.Bool("torture.run", false, "run for as long, as fast and with as many kills as the promise is stated for") //nolint:gochecknoglobals // a flag of the test
	seed = flag.Uint64("torture.seed", 1, "seed of the moments of the kills and of the messages")                          //nolint:gochecknoglobals // a flag of the test
)

// A plan is how hard one run is.
type plan struct {
	kills int
	// least and most bound the life of a process between two kills.
	least, most time.Duration
	// rate is how many messages a second the senders want to hand in.
	rate        float64
	senders     int
	concurrency int
}

func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	bin := build(t)
	t.Run("killed at random moments", func(t *testing.T) { testKills(t, bin) })
	if *long {
		return // the machine is wanted for one thing at a time
	}
	t.Run("the desk does it and answers 500 or nothing", func(t *testing.T) { testLostAnswers(t, bin) })
}

// testKills is I1 to I11 of docs/protocol.md §10 from outside.
func testKills(t *testing.T, bin string) {
	t.Parallel()
	p := plan{kills: 5, least: 300 * time.Millisecond, most: 1800 * time.Millisecond, rate: 80, senders: 16, concurrency: 24}
	if *long {
		p = plan{kills: 50, least: 200 * time.Millisecond, most: 2700 * time.Millisecond, rate: 230, senders: 64, concurrency: 80}
	}
	w := newWorld(t, bin, p.concurrency)
	w.dial(dials{LatencyMin: 50 * time.Millisecond, LatencyMax: 200 * time.Millisecond})
	w.start()
	w.awaitReady()

	began := time.Now()
	s := newSenders(w, p.rate, *seed)
	s.start(p.senders)
	random := rand.New(rand.NewPCG(*seed, 50)) //nolint:gosec // moments, not secrets
	unfinished := make([]int, 0, p.kills)
	for range p.kills {
		w.pause(p.least + time.Duration(random.Int64N(int64(p.most-p.least))))
		accepted := s.count()
		w.kill()
		// The desk goes on for a moment, so this counts less than was unfinished.
		unfinished = append(unfinished, accepted-w.filed())
		s.restarting()
		w.start()
	}
	s.finish()
	sent := time.Since(began)
	books := w.drain(s.count())
	took := time.Since(began)

	v := judge(w.tickets(), s)
	slices.Sort(unfinished)
	loaded := 0
	for _, n := range unfinished {
		if n >= 100 {
			loaded++
		}
	}
	rate := float64(s.count()) / sent.Seconds()
	t.Logf("torture: messages=%d files=%d accepted/s=%.0f conversations=%d kills=%d unfinished median=%d max=%d (>=100 at %d kills) "+
		"lost=%d doubled=%d misordered=%d sending=%.1fs drained after=%.1fs, first yes after a restart: median %.2fs max %.2fs",
		s.count(), v.files, rate, v.conversations, p.kills, unfinished[len(unfinished)/2], unfinished[len(unfinished)-1], loaded,
		len(v.lost), len(v.doubled), len(v.misordered), sent.Seconds(), (took - sent).Seconds(), s.recovery(0.5).Seconds(), s.recovery(1).Seconds())
	v.report(t)
	w.agree(books, v)
	if !*long {
		return
	}
	for what, missed := range map[string]bool{
		"at least 200 accepted messages a second":           rate < 200,
		"at most two minutes":                               took > 2*time.Minute,
		"at least 30 conversations of five or more":         v.conversations < 30,
		"at least 100 unfinished jobs at half of the kills": loaded*2 < p.kills,
	} {
		if missed {
			t.Errorf("the run was easier than the promise: not %s", what)
		}
	}
}

// testLostAnswers is F-D6: the desk commits, and the answer is lost.
func testLostAnswers(t *testing.T, bin string) {
	t.Parallel()
	w := newWorld(t, bin, 24)
	w.dial(dials{LatencyMax: 20 * time.Millisecond, ErrorAfter: 0.3, DropAfter: 0.1, DropBefore: 0.1})
	w.start()
	w.awaitReady()
	s := newSenders(w, 60, *seed)
	s.start(16)
	w.pause(2 * time.Second)
	s.finish()
	for w.filed() < s.count()/2 {
		w.pause(100 * time.Millisecond)
	}
	w.dial(dials{})
	books := w.drain(s.count())
	v := judge(w.tickets(), s)
	unclear := w.metric(`switchboard_call_seconds_count`, `outcome="unknown"`)
	t.Logf("lost answers: messages=%d conversations=%d calls without a clear answer=%.0f lost=%d doubled=%d misordered=%d",
		s.count(), v.conversations, unclear, len(v.lost), len(v.doubled), len(v.misordered))
	if unclear == 0 {
		t.Error("no answer was lost: the test tested nothing")
	}
	v.report(t)
	w.agree(books, v)
}

// pause waits for d, or fails when the test's time is over.
func (w *world) pause(d time.Duration) {
	w.t.Helper()
	if !wait(w.ctx, d) {
		w.t.Fatal("the time of the test is over; the end of the server's log:\n" + w.tail())
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// configuration is the shop: four channels and one desk, played by the sandbox.
func configuration(listen, desk string, concurrency int) string {
	return fmt.Sprintf(`listen: %q
public_url: https://intake.larkandspar.example
data: data
rules: rules.yaml
durability: disk
channels:
  website: { kind: form, rate_limit: 100000/s }
  shop-orders: { kind: webhook, secret: whsec_dG9ydHVyZS1vcmRlcnMtc2VjcmV0LTAwMDE= }
  shop-sms:
    kind: twilio-sms
    account_sid: AC00000000000000000000000000000007
    auth_token: torture-auth-token
    from: "+442079460100"
    base_url: %[2]s/shop-sms
  shop-telegram:
    kind: telegram
    mode: webhook
    bot_token: "7000000007:torture-bot-token"
    secret_token: torture-secret-token
    base_url: %[2]s/shop-telegram
sinks:
  zendesk-eu:
    kind: zendesk
    subdomain: larkandspar
    base_url: %[2]s/zendesk-eu
    client_id: switchboard
    client_secret: sandbox-client-secret
    settle: 1s
    concurrency: %[3]d
`, listen, desk, concurrency)
}

const rules = `route:
  name: everything
  sink: zendesk-eu
  queue: Support
  routes:
    - name: urgent
      when: { urgency: critical }
      queue: Escalations
      priority: urgent
`

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }
