package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"
)

// span is how long each side of a comparison runs.
const span = time.Second

// rate runs f from so many callers at once for the span and returns how often it
// ended per second.
func rate(tb testing.TB, callers int, f func() error) float64 {
	tb.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	started := time.Now()
	for range callers {
		wg.Go(func() {
			for time.Since(started) < span {
				if err := f(); err != nil {
					tb.Error(err)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(n.Load()) / time.Since(started).Seconds()
}

// compare reports what ours does beside what the bare client does.
func compare(b *testing.B, ours, bare float64) {
	b.Helper()
	b.ReportMetric(ours, "ours/s")
	b.ReportMetric(bare, "bare/s")
	b.ReportMetric(ours/bare, "ratio")
}

// BenchmarkGroupCommit is P9: publishes that share their fsyncs, and publishes that
// do not, by 256 callers.
func BenchmarkGroupCommit(b *testing.B) {
	for range b.N {
		bus := open(b, b.TempDir(), Disk)
		body := make([]byte, 1024)
		bare := rate(b, 256, func() error {
			_, err := bus.js.Publish(context.Background(), "deliveries.in.shop", body)
			return err
		})
		ours := rate(b, 256, func() error {
			_, err := bus.Publish(context.Background(), Record{Subject: "deliveries.in.shop", Data: body})
			return err
		})
		compare(b, ours, bare)
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkPublisher is the first half of P10, 64 callers.
func BenchmarkPublisher(b *testing.B) {
	for range b.N {
		bus := open(b, b.TempDir(), OS)
		body := make([]byte, 1024)
		bare := rate(b, 64, func() error {
			_, err := bus.js.Publish(context.Background(), "deliveries.in.shop", body)
			return err
		})
		publisher := bus.Publisher()
		ours := rate(b, 64, func() error {
			return publisher.Publish("deliveries.in.shop", message.NewMessage("", body))
		})
		compare(b, ours, bare)
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkRouter is the second half of P10: a backlog of 60,000 messages of 1 KB
// through lanes, Router and middlewares, and through the client's own Consume.
func BenchmarkRouter(b *testing.B) {
	const backlog = 60_000
	for range b.N {
		bus := open(b, b.TempDir(), OS)
		records := make([]Record, 1000)
		for i := range records {
			records[i] = Record{Subject: "deliveries.in.shop", Header: map[string]string{"Sb-Message": fmt.Sprint("m", i)}, Data: make([]byte, 1024)}
		}
		for range backlog / len(records) {
			if _, err := bus.Publish(context.Background(), records...); err != nil {
				b.Fatal(err)
			}
		}
		bare := consumeBare(b, bus, backlog)
		var left atomic.Int64
		left.Store(backlog)
		done := make(chan struct{})
		started := time.Now()
		r, err := bus.Handle(context.Background(), ReaderConfig{
			Unit: "bench", Stream: Deliveries, Subjects: []string{"deliveries.in.shop"},
			Keys: func(m *Msg) []string { return []string{m.Header["Sb-Message"]} },
		}, func(context.Context, *Msg) error {
			if left.Add(-1) == 0 {
				close(done)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		<-done
		compare(b, backlog/time.Since(started).Seconds(), bare)
		if err := r.Stop(); err != nil {
			b.Error(err)
		}
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}
}

func consumeBare(b *testing.B, bus *Bus, backlog int64) float64 {
	b.Helper()
	c, err := bus.streams[Deliveries].CreateConsumer(context.Background(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	left, done := atomic.Int64{}, make(chan struct{})
	left.Store(backlog)
	started := time.Now()
	consume, err := c.Consume(func(m jetstream.Msg) {
		if err := m.Ack(); err != nil {
			b.Error(err)
		}
		if left.Add(-1) == 0 {
			close(done)
		}
	}, jetstream.PullMaxMessages(500))
	if err != nil {
		b.Fatal(err)
	}
	<-done
	took := time.Since(started)
	consume.Stop()
	return float64(backlog) / took.Seconds()
}
