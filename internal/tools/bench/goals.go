package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// coldStart measures P15 and the idle half of P14, at the default durability.
func (b *bench) coldStart() error {
	const starts = 7
	took, bare := make([]time.Duration, starts), make([]time.Duration, starts)
	var idle, idleBare float64
	for i := range starts {
		started := time.Now()
		p, err := self(b.ctx, "bare")
		if err != nil {
			return err
		}
		bare[i], err = b.first(p, started)
		if err != nil {
			return errors.Join(err, p.stop())
		}
		if idleBare, err = p.memory("VmRSS"); err != nil {
			return err
		}
		if err := p.stop(); err != nil {
			return err
		}
		config, err := b.install("disk", "http://127.0.0.1:9", inFlight)
		if err != nil {
			return err
		}
		started = time.Now()
		if p, err = start(b.ctx, b.binary, "serve", "--config", config); err != nil {
			return err
		}
		if i == 0 && b.wants("P14") {
			// A fresh installation that nobody has written to yet.
			if err := wait(b.ctx, 3*time.Second); err != nil {
				return err
			}
			if idle, err = p.memory("VmRSS"); err != nil {
				return err
			}
		}
		took[i], err = b.first(p, started)
		if err := errors.Join(err, p.stop()); err != nil {
			return err
		}
	}
	took, bare = took[1:], bare[1:] // the first one waited for its memory to settle
	cold, coldBare := percentile(took, 50), percentile(bare, 50)
	if b.wants("P15") {
		b.add(result{
			goal: "P15", what: "cold start of a fresh installation to the first accepted webhook, `disk`, median of 6", threshold: "≤ 0.5 s",
			measured: fmt.Sprintf("%.2f s", cold.Seconds()), baseline: fmt.Sprintf("%.3f s: bare net/http server", coldBare.Seconds()),
			met: cold <= 500*time.Millisecond,
		})
	}
	if b.wants("P14") {
		b.add(result{
			goal: "P14", what: "RSS of an idle fresh installation", threshold: "≤ 60 MB", measured: fmt.Sprintf("%.0f MB", idle),
			baseline: fmt.Sprintf("%.0f MB: bare net/http server", idleBare), met: idle <= 60,
		})
	}
	return nil
}

// first posts one message and returns how long after started it was accepted.
func (b *bench) first(p *process, started time.Time) (time.Duration, error) {
	l := &load{host: p.host(), path: "/hooks/in", n: new(atomic.Uint64)}
	n, _, err := l.closed(b.ctx, 1, 1, 0)
	if err == nil && n != 1 {
		err = errors.New("the first message was not accepted")
	}
	return time.Since(started), err
}

// cost is the processor time per 1,000 messages of a child under a closed load of
// count messages; after waits until all work is done.
func (b *bench) cost(p *process, l *load, count int, after func(accepted int) error) (float64, error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	accepted, _, err := l.closed(b.ctx, connections, count, 0)
	if err != nil {
		return 0, err
	}
	if err := after(accepted); err != nil {
		return 0, err
	}
	now, err := p.cpu()
	return (now - before) * 1000 / float64(accepted), err
}

// atOS measures P4, P5, P6 and the loaded half of P14.
func (b *bench) atOS() (err error) {
	r, err := b.rig("os", 0, inFlight)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	bare, err := self(b.ctx, "bare")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.stop()) }()
	bareLoad := &load{host: bare.host(), path: "/", n: new(atomic.Uint64)}
	drained := func(accepted int) error {
		r.sent += accepted
		_, _, err := r.drain(b.ctx)
		return err
	}
	if _, err := b.cost(r.process, r.load, 2000, drained); err != nil { // warms up
		return err
	}
	var m measures
	for range b.rounds {
		if b.wants("P4", "P14") {
			c, err := b.cost(r.process, r.load, 10_000, drained)
			if err != nil {
				return err
			}
			m.costs = append(m.costs, c)
			c, err = b.cost(bare, bareLoad, 10_000, func(int) error { return bare.rest(b.ctx) })
			if err != nil {
				return err
			}
			m.bareCosts = append(m.bareCosts, c)
		}
		if b.wants("P5", "P6") {
			if err := b.latency(r, bareLoad, &m); err != nil {
				return err
			}
		}
	}
	if m.peak, err = r.memory("VmHWM"); err != nil {
		return err
	}
	if m.barePeak, err = bare.memory("VmHWM"); err != nil {
		return err
	}
	b.reportOS(m)
	return nil
}

// measures are what the rounds brought, one value each.
type measures struct {
	costs, bareCosts             []float64
	accept, bareAccept, p50, p99 []time.Duration
	peak, barePeak               float64
}

func (b *bench) reportOS(m measures) {
	if b.wants("P4") {
		b.add(result{
			goal: "P4", what: "CPU seconds per 1,000 messages, webhook in to ticket (10 keywords, 50 rules, dedup, ledger), `os`", threshold: "≤ 0.25",
			measured: spread("%.3f", m.costs), baseline: fmt.Sprintf("%.3f: bare net/http, same load", median(m.bareCosts)), met: median(m.costs) <= 0.25,
		})
	}
	if b.wants("P14") {
		b.add(result{
			goal: "P14", what: "peak RSS under P4's load", threshold: "≤ 250 MB", measured: fmt.Sprintf("%.0f MB", m.peak),
			baseline: fmt.Sprintf("%.0f MB: bare net/http server", m.barePeak), met: m.peak <= 250,
		})
	}
	if b.wants("P5", "P6") {
		base := fmt.Sprintf("%s: bare net/http, same load", ms(percentile(m.bareAccept, 50)))
		b.add(result{
			goal: "P5", what: "accept p99 at 500/s, from the moment a message is due, `os`", threshold: "≤ 5 ms",
			measured: spreadMS(m.accept), baseline: base, met: percentile(m.accept, 50) <= 5*time.Millisecond,
		}, result{
			goal: "P6", what: fmt.Sprintf("end-to-end p99 at 500/s, from due to the desk's hands, `os` (p50 %s)", ms(percentile(m.p50, 50))), threshold: "≤ 10 ms",
			measured: spreadMS(m.p99), baseline: base, met: percentile(m.p99, 50) <= 10*time.Millisecond,
		})
	}
}

// latency runs 500 messages a second for 10 s through the program and through the
// bare server, and appends the percentiles of the round.
func (b *bench) latency(r *rig, bare *load, m *measures) error {
	const rate, span = 500, 10 * time.Second
	took, err := r.load.open(b.ctx, rate, span)
	if err != nil {
		return err
	}
	r.sent += len(took)
	s, _, err := r.drain(b.ctx)
	if err != nil {
		return err
	}
	m.accept, m.p50, m.p99 = append(m.accept, percentile(took, 99)), append(m.p50, s.P50), append(m.p99, s.P99)
	if bare == nil {
		return nil
	}
	took, err = bare.open(b.ctx, rate, span)
	m.bareAccept = append(m.bareAccept, percentile(took, 99))
	return err
}

// slowDesk measures P7 and P8.
func (b *bench) slowDesk() error {
	const burst = 3 * time.Second
	var ratios, fast, slow, delivered []float64
	for range b.rounds {
		quick, _, err := b.burst(0, burst)
		if err != nil {
			return err
		}
		late, rate, err := b.burst(50*time.Millisecond, burst)
		if err != nil {
			return err
		}
		fast, slow, ratios = append(fast, quick), append(slow, late), append(ratios, late/quick)
		delivered = append(delivered, rate/(inFlight/0.05))
	}
	b.add(result{
		goal: "P7", what: "accepted/s with a 50 ms desk / with a 0 ms desk, whole program, `os`", threshold: "≥ 0.9", measured: spread("%.2f", ratios),
		baseline: fmt.Sprintf("%.0f/s with 0 ms, %.0f/s with 50 ms", median(fast), median(slow)), met: median(ratios) >= 0.9,
	}, result{
		goal: "P8", what: fmt.Sprintf("tickets/s with a 50 ms desk / what %d calls in flight can do", inFlight), threshold: "≥ 0.9", measured: spread("%.2f", delivered),
		baseline: fmt.Sprintf("%.0f/s is the bound", inFlight/0.05), met: median(delivered) >= 0.9,
	})
	return nil
}

// burst sends as fast as answers come, then lets the desk catch up. It returns how
// many were accepted, and how many became tickets, per second.
func (b *bench) burst(delay, span time.Duration) (accepted, delivered float64, err error) {
	r, err := b.rig("os", delay, inFlight)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	count, took, err := r.load.closed(b.ctx, connections, 0, span)
	if err != nil {
		return 0, 0, err
	}
	r.sent = count
	if delay > 0 {
		before, err := r.stats(b.ctx, "")
		if err != nil {
			return 0, 0, err
		}
		started := time.Now()
		if err := wait(b.ctx, 3*time.Second); err != nil {
			return 0, 0, err
		}
		after, err := r.stats(b.ctx, "")
		if err != nil {
			return 0, 0, err
		}
		if after.Distinct >= count-inFlight {
			return 0, 0, errors.New("the backlog was gone before its drain was measured")
		}
		delivered = float64(after.Distinct-before.Distinct) / time.Since(started).Seconds()
	}
	_, _, err = r.drain(b.ctx)
	return float64(count) / took.Seconds(), delivered, err
}

// diskInFlight is how many calls P17's sink may have under way: each is filed by
// four commits one after the other, which many share.
const diskInFlight = 256

// atDisk measures P17.
func (b *bench) atDisk() (err error) {
	r, err := b.rig("disk", 0, diskInFlight)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	var rates []float64
	var m measures
	for range b.rounds {
		started := time.Now()
		if r.sent, _, err = r.load.closed(b.ctx, 4*connections, 12_000, 0); err != nil {
			return err
		}
		sent := r.sent
		_, last, err := r.drain(b.ctx)
		if err != nil {
			return err
		}
		rates = append(rates, float64(sent)/last.Sub(started).Seconds())
		if err := b.latency(r, nil, &m); err != nil {
			return err
		}
	}
	single, err := b.fsyncs()
	if err != nil {
		return err
	}
	base := fmt.Sprintf("%.0f/s: 1 KB appended and fsynced one by one to a file", single)
	b.add(result{
		goal: "P17", what: fmt.Sprintf("messages/s end to end at `disk`, drained, %d calls in flight", diskInFlight), threshold: "≥ 3,000/s", measured: spread("%.0f/s", rates),
		baseline: base, met: median(rates) >= 3000,
	}, result{
		goal: "P17", what: fmt.Sprintf("end-to-end p99 at 500/s at `disk` (p50 %s, accept p99 %s)", ms(percentile(m.p50, 50)), ms(percentile(m.accept, 50))), threshold: "≤ 50 ms",
		measured: spreadMS(m.p99), baseline: base, met: percentile(m.p99, 50) <= 50*time.Millisecond,
	})
	return nil
}

// fsyncs is how many records a second this disk takes when each waits for its own
// fsync.
func (b *bench) fsyncs() (float64, error) {
	f, err := os.CreateTemp(b.dir, "fsync") //nolint:usetesting // a program, not a test
	if err != nil {
		return 0, err
	}
	defer f.Close()
	record := slices.Repeat([]byte{'.'}, 1024)
	n, started := 0, time.Now()
	for time.Since(started) < 2*time.Second {
		if _, err := f.Write(record); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n) / time.Since(started).Seconds(), nil
}
