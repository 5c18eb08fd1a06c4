package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"
)

func open(t testing.TB, dir string, d Durability) *Bus {
	t.Helper()
	b, err := Open(context.Background(), Options{Dir: dir, Durability: d, Log: slog.New(slog.DiscardHandler), Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReaderKeepsOrderInALaneAndResumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, Disk)
	const lanes, each = 7, 30
	var records []Record
	for i := range each {
		for l := range lanes {
			records = append(records, Record{Subject: fmt.Sprintf("jobs.desk.c%d", l), Data: []byte(strconv.Itoa(i))})
		}
	}
	if _, err := b.Publish(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	got := map[string][]string{}
	count := 0
	half, all := make(chan struct{}), make(chan struct{})
	handler := func(_ context.Context, m *Msg) error {
		if m.Attempt == 1 && string(m.Data) == "3" {
			return errors.New("not yet")
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(got[m.Subject]); n > 0 && got[m.Subject][n-1] == string(m.Data) {
			return nil // seen before the restart, settled but not yet in the checkpoint
		}
		got[m.Subject] = append(got[m.Subject], string(m.Data))
		count++
		if count == lanes*each/2 {
			close(half)
		}
		if count == lanes*each {
			close(all)
		}
		return nil
	}
	cfg := ReaderConfig{
		Unit: "test", Stream: Jobs, Subjects: []string{"jobs.desk.>"}, HeadersOnly: true, Workers: 4,
		Keys: func(m *Msg) []string { return []string{m.Subject} }, Retry: func(int) time.Duration { return time.Millisecond },
	}
	r, err := b.Handle(t.Context(), cfg, handler)
	if err != nil {
		t.Fatal(err)
	}
	<-half
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, Disk)
	defer b.Close()
	if r, err = b.Handle(t.Context(), cfg, handler); err != nil {
		t.Fatal(err)
	}
	<-all
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	for subject, values := range got {
		for i, v := range values {
			if v != strconv.Itoa(i) {
				t.Fatalf("%s: got %v", subject, values)
			}
		}
	}
	if floor, err := b.Floor(t.Context(), "test", Jobs); err != nil || floor != lanes*each {
		t.Errorf("floor after the stop: got %d, %v; want %d", floor, err, lanes*each)
	}
}

func BenchmarkBus(b *testing.B) {
	for _, d := range []Durability{OS, Disk} {
		for _, callers := range []int{64, 256} {
			b.Run(fmt.Sprintf("publish/%s/%d", d, callers), func(b *testing.B) {
				bus := open(b, b.TempDir(), d)
				defer bus.Close()
				data := make([]byte, 1000)
				b.SetParallelism(callers / 2)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := bus.Publish(context.Background(), Record{Subject: "jobs.a.b", Data: data}); err != nil {
							b.Error(err)
						}
					}
				})
			})
		}
		b.Run(fmt.Sprintf("consume/%s", d), func(b *testing.B) {
			bus := open(b, b.TempDir(), d)
			defer bus.Close()
			records := make([]Record, 1000)
			for i := range records {
				records[i] = Record{Subject: "jobs.a.c" + strconv.Itoa(i%100), Data: make([]byte, 1000)}
			}
			for n := 0; n < b.N; n += 1000 {
				if _, err := bus.Publish(context.Background(), records...); err != nil {
					b.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			wg.Add((b.N + 999) / 1000 * 1000)
			b.ResetTimer()
			r, err := bus.Handle(context.Background(), ReaderConfig{Unit: "x", Stream: Jobs, Keys: func(m *Msg) []string { return []string{m.Subject} }},
				func(context.Context, *Msg) error { wg.Done(); return nil })
			if err != nil {
				b.Fatal(err)
			}
			wg.Wait()
			b.StopTimer()
			_ = r.Stop()
		})
		b.Run(fmt.Sprintf("create/%s", d), func(b *testing.B) {
			bus := open(b, b.TempDir(), d)
			defer bus.Close()
			k := bus.Bucket(Messages)
			run := strconv.FormatInt(time.Now().UnixNano(), 36)
			var mu sync.Mutex
			n := 0
			b.SetParallelism(64)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					mu.Lock()
					n++
					key := run + strconv.Itoa(n)
					mu.Unlock()
					if _, err := k.Create(context.Background(), key, []byte(key)); err != nil {
						b.Error(err)
					}
					if _, err := k.Get(context.Background(), key); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
