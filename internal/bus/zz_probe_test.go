package bus

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestProbePurgeDuringScan(t *testing.T) {
	for _, from := range []int{1001, 1002, 501, 1400} {
	b := open(t, t.TempDir(), OS)
	var rs []Record
	for i := range 1500 {
		rs = append(rs, Record{Subject: fmt.Sprintf("jobs.a.c%d", i)})
	}
	if _, err := b.Publish(t.Context(), rs...); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	n := 0
	err := b.Scan(ctx, Range{Stream: Jobs}, func(m *Msg) error {
		n++
		if n == 1 {
			for i := from; i < 1500; i++ {
				if err := b.Purge(ctx, Jobs, fmt.Sprintf("jobs.a.c%d", i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	fmt.Println("scan", from, n, err)
	cancel()
	b.Close()
	}
}
