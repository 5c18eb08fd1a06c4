package bus

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// eventually waits until cond holds, or fails the test.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !cond() {
		if !wait(ctx, 2*time.Millisecond) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// within fails the test when c is not closed or sent to in good time.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	var zero T
	select {
	case v := <-c:
		return v
	case <-timeout.C:
		t.Fatalf("never happened: %s", what)
		return zero
	}
}

// shut closes a bus at the end of a test.
func shut(t testing.TB, b *Bus) {
	t.Helper()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}

// publish stores records with these subjects and returns their sequences.
func publish(t testing.TB, b *Bus, subjects ...string) []uint64 {
	t.Helper()
	records := make([]Record, len(subjects))
	for i, s := range subjects {
		records[i] = Record{Subject: s, Data: []byte(s)}
	}
	seqs, err := b.Publish(context.Background(), records...)
	if err != nil {
		t.Fatal(err)
	}
	return seqs
}
