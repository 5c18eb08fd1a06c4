package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// wrote is a write to a key that ended at a revision.
func (r *recent) wrote(key, value string, revision, removals uint64, err error) {
	r.ended(&pendingWrite{msg: &nats.Msg{Subject: key, Data: []byte(value)}, seq: revision, err: err, removals: removals})
}

func TestRecent(t *testing.T) {
	t.Parallel()
	const key = "$KV.links.a"
	for _, c := range []struct {
		name string
		do   func(r *recent)
		want string
	}{
		{"nothing", func(*recent) {}, ""},
		{"the last write", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			r.wrote(key, "new", 2, 0, nil)
		}, "new"},
		{"the higher revision, whichever is heard first", func(r *recent) {
			r.wrote(key, "new", 2, 0, nil)
			r.wrote(key, "old", 1, 0, nil)
		}, "new"},
		{"nothing after a conflict, for somebody else wrote", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			r.wrote(key, "new", 0, 0, ErrConflict)
		}, ""},
		{"nothing after a lost answer, for it may be there", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			r.wrote(key, "new", 0, 0, ErrUnknown)
		}, ""},
		{"nothing after a removal", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			r.removing()()
		}, ""},
		{"nothing that was under way during a removal", func(r *recent) {
			begun := r.begin()
			r.removing()()
			r.wrote(key, "old", 1, begun, nil)
		}, ""},
		{"nothing that ended within a removal", func(r *recent) {
			done := r.removing()
			r.wrote(key, "old", 1, r.begin(), nil)
			done()
		}, ""},
		{"what was written after a removal", func(r *recent) {
			r.removing()()
			r.wrote(key, "new", 2, r.begin(), nil)
		}, "new"},
		{"what a little was written after", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			r.wrote("$KV.links.large", string(make([]byte, recentBytes)), 2, 0, nil)
		}, "old"},
		{"nothing that much was written after", func(r *recent) {
			r.wrote(key, "old", 1, 0, nil)
			for i := range 3 {
				r.wrote(fmt.Sprint("$KV.links.large", i), string(make([]byte, recentBytes)), 2, 0, nil)
			}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRecents()[bucketStream(Links)]
			c.do(r)
			if e, ok := r.get(key); string(e.Value) != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %t, want %q", e.Value, ok, c.want)
			}
		})
	}
}

func TestBucketRemembersOnlyWhatHolds(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	k, ctx := b.Bucket(Links), t.Context()
	if _, err := k.Create(ctx, "c.desk.a", []byte("one")); err != nil {
		t.Fatal(err)
	}
	e, err := k.Get(ctx, "c.desk.a")
	if err != nil || string(e.Value) != "one" || e.Key != "c.desk.a" {
		t.Fatalf("got %+v, %v, want one", e, err)
	}
	// Past the bus, as nobody does: what is remembered now is wrong.
	if _, err := b.js.Publish(ctx, "$KV.links.c.desk.a", []byte("two")); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Update(ctx, "c.desk.a", []byte("three"), e.Revision); !errors.Is(err, ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if e, err = k.Get(ctx, "c.desk.a"); err != nil || string(e.Value) != "two" {
		t.Errorf("after a conflict: got %q, %v, want two", e.Value, err)
	}
	if _, err := k.Update(ctx, "c.desk.a", []byte("four"), e.Revision); err != nil {
		t.Fatal(err)
	}
	if err := k.DeletePrefix(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(ctx, "c.desk.a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a removal: got %v, want none", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestReaderTakesRememberedBodiesAndNoPurgedOnes(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	ctx := t.Context()
	seqs, err := b.Publish(ctx, Record{Subject: "jobs.desk.a", Data: []byte("a")}, Record{Subject: "jobs.desk.b", Data: []byte("b")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a", "b"} {
		if e, ok := b.recent[Jobs].get(sequenceKey(seqs[i])); !ok || string(e.Value) != want {
			t.Errorf("got %q, %t, want %q", e.Value, ok, want)
		}
	}
	if err := b.Purge(ctx, Jobs, "jobs.*.a"); err != nil {
		t.Fatal(err)
	}
	if e, ok := b.recent[Jobs].get(sequenceKey(seqs[0])); ok {
		t.Errorf("a purged body is still there: %q", e.Value)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
