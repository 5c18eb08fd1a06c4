package bus

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
)

// sequences scans a range.
func sequences(t *testing.T, b *Bus, r Range) []uint64 {
	t.Helper()
	var got []uint64
	if err := b.Scan(t.Context(), r, func(m *Msg) error {
		got = append(got, m.Seq)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestScanGivesTheRangeInOrder(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "events.a", "events.b", "events.a", "events.c", "events.b")
	for _, tt := range []struct {
		name string
		r    Range
		want []uint64
	}{
		{"all", Range{}, []uint64{1, 2, 3, 4, 5}},
		{"from a sequence", Range{From: 4}, []uint64{4, 5}},
		{"beyond the end", Range{From: 6}, nil},
		{"a subject", Range{Subjects: []string{"events.b"}}, []uint64{2, 5}},
		{"subjects from a sequence", Range{Subjects: []string{"events.b", "events.c"}, From: 3}, []uint64{4, 5}},
		{"no such subject", Range{Subjects: []string{"events.z"}}, nil},
		{"newest of each", Range{Latest: true}, []uint64{3, 4, 5}},
	} {
		tt.r.Stream = Events
		if got := sequences(t, b, tt.r); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	if err := b.Scan(t.Context(), Range{Stream: Events, HeadersOnly: true}, func(m *Msg) error {
		if len(m.Data) != 0 {
			t.Errorf("headers only: got a body of %d bytes", len(m.Data))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	stop := errors.New("enough")
	n := 0
	if err := b.Scan(t.Context(), Range{Stream: Events}, func(*Msg) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("an error of f: got %v after %d calls", err, n)
	}
	info, err := b.streams[Events].Info(t.Context())
	if err != nil || info.State.Consumers != 0 {
		t.Errorf("the scans have left %d consumers in the broker, %v", info.State.Consumers, err)
	}
}

func TestScanEndsWhenTheRestIsPurgedMeanwhile(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	const n, gone = 1500, 501
	subjects := make([]string, n)
	for i := range subjects {
		subjects[i] = "jobs.kept"
		if i >= gone {
			subjects[i] = "jobs.gone"
		}
	}
	publish(t, b, subjects...)
	kept := 0
	err := b.Scan(t.Context(), Range{Stream: Jobs}, func(m *Msg) error {
		if m.Subject == "jobs.kept" {
			kept++
		}
		if m.Seq == 1 {
			return b.Purge(t.Context(), Jobs, "jobs.gone")
		}
		return nil
	})
	if err != nil || kept != gone {
		t.Errorf("got %d messages, %v; want %d", kept, err, gone)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, slices.Repeat([]string{"jobs.a"}, 2000)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calls := 0
	err := b.Scan(ctx, Range{Stream: Jobs}, func(*Msg) error {
		calls++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls == 2000 {
		t.Errorf("got %v after %d calls, want the end of the context", err, calls)
	}
}

func TestRemoveEraseAndPurge(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	publish(t, b, "jobs.desk.a", "jobs.desk.b", "jobs.desk.a", "jobs.other.a", "jobs.desk.c")
	ctx := t.Context()
	for range 2 { // the second finds it gone
		if err := b.Remove(ctx, Jobs, 2); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := b.Erase(ctx, Jobs, 5); err != nil {
			t.Errorf("erase: %v", err)
		}
		if err := b.Purge(ctx, Jobs, "jobs.*.a"); err != nil {
			t.Errorf("purge: %v", err)
		}
	}
	for _, seq := range []uint64{1, 2, 3, 4, 5, 99} {
		if _, err := b.Message(ctx, Jobs, seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("message %d: got %v, want ErrNotFound", seq, err)
		}
	}
	info, err := b.Info(ctx, Jobs)
	if err != nil || info.Messages != 0 || info.Last != 5 || info.Created.IsZero() {
		t.Errorf("got %+v, %v", info, err)
	}
	if seqs := publish(t, b, "jobs.desk.d"); seqs[0] != 6 {
		t.Errorf("the next sequence: got %d, want 6", seqs[0])
	}
}

func TestBatchesFollowTheStream(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	subjects := slices.Repeat([]string{"events.a"}, 25)
	publish(t, b, subjects...)
	for _, tt := range []struct {
		from uint64
		most int
	}{{0, 10}, {1, 10}, {8, 10}, {3, 1}, {20, 1000}} {
		ctx, cancel := context.WithCancel(t.Context())
		next := max(tt.from, 1)
		err := b.Batches(ctx, Events, tt.from, tt.most, func(batch []*Msg) error {
			if len(batch) == 0 || len(batch) > tt.most {
				t.Errorf("from %d: a batch of %d, want 1 to %d", tt.from, len(batch), tt.most)
			}
			for _, m := range batch {
				if m.Seq != next {
					t.Errorf("from %d: got %d, want %d", tt.from, m.Seq, next)
				}
				next = m.Seq + 1
			}
			if next == 26 { // all that there was: what is new follows
				if _, err := b.Publish(ctx, Record{Subject: "events.new"}); err != nil {
					return err
				}
			}
			if batch[len(batch)-1].Subject == "events.new" {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("from %d: got %v, want the end of the context", tt.from, err)
		}
		cancel()
		if err := b.Remove(t.Context(), Events, next-1); err != nil {
			t.Fatal(err)
		}
		if err := b.streams[Events].Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.js.DeleteStream(t.Context(), Events); err != nil {
			t.Fatal(err)
		}
		if err := b.ensure(t.Context(), t.Context()); err != nil {
			t.Fatal(err)
		}
		publish(t, b, subjects...)
	}
	stop := errors.New("enough")
	if err := b.Batches(t.Context(), Events, 0, 10, func([]*Msg) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of f: got %v", err)
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	ctx := t.Context()
	if names, err := b.BlobNames(ctx, ""); err != nil || len(names) != 0 {
		t.Errorf("at first: got %v, %v", names, err)
	}
	large := make([]byte, 300<<10)
	for i := range large {
		large[i] = byte(i * 7)
	}
	for name, data := range map[string][]byte{"c1/m1/a": []byte("old"), "c1/m2/b": large, "c2/m3/c": {}} {
		if err := b.PutBlob(ctx, name, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.PutBlob(ctx, "c1/m1/a", []byte("new")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{"c1/m1/a": []byte("new"), "c1/m2/b": large, "c2/m3/c": {}} {
		if got, err := b.ReadBlob(ctx, name); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %d bytes, %v; want %d", name, len(got), err, len(want))
		}
		r, err := b.Blob(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s opened: got %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
	for prefix, want := range map[string][]string{"c1/": {"c1/m1/a", "c1/m2/b"}, "": {"c1/m1/a", "c1/m2/b", "c2/m3/c"}, "c9/": nil} {
		names, err := b.BlobNames(ctx, prefix)
		slices.Sort(names)
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("names below %q: got %v, %v; want %v", prefix, names, err, want)
		}
	}
	for range 2 { // the second finds it gone
		if err := b.DeleteBlob(ctx, "c1/m2/b"); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := b.ReadBlob(ctx, "c1/m2/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("read what is deleted: got %v, want ErrNotFound", err)
	}
	if _, err := b.Blob(ctx, "c1/m2/b"); !errors.Is(err, ErrNotFound) {
		t.Errorf("open what is deleted: got %v, want ErrNotFound", err)
	}
	if names, err := b.BlobNames(ctx, "c1/m2"); err != nil || len(names) != 0 {
		t.Errorf("names of what is deleted: got %v, %v", names, err)
	}
	if err := b.PutBlob(ctx, "", nil); err == nil {
		t.Error("a blob without a name was taken")
	}
}

func TestReadingAClosedBusFails(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	publish(t, b, "jobs.a")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Info":      func() error { _, err := b.Info(ctx, Jobs); return err },
		"Message":   func() error { _, err := b.Message(ctx, Jobs, 1); return err },
		"Scan":      func() error { return b.Scan(ctx, Range{Stream: Jobs}, func(*Msg) error { return nil }) },
		"Batches":   func() error { return b.Batches(ctx, Jobs, 1, 1, func([]*Msg) error { return nil }) },
		"Purge":     func() error { return b.Purge(ctx, Jobs, "jobs.a") },
		"Get":       func() error { _, err := b.Bucket(Links).Get(ctx, "k"); return err },
		"Delete":    func() error { return b.Bucket(Links).Delete(ctx, "k") },
		"Each":      func() error { return b.Bucket(Links).Each(ctx, "", func(Entry) error { return nil }) },
		"Floor":     func() error { _, err := b.Floor(ctx, "r", Jobs); return err },
		"PutBlob":   func() error { return b.PutBlob(ctx, "a", nil) },
		"Blob":      func() error { _, err := b.Blob(ctx, "a"); return err },
		"BlobNames": func() error { _, err := b.BlobNames(ctx, ""); return err },
		"DelBlob":   func() error { return b.DeleteBlob(ctx, "a") },
		"Lease":     func() error { _, err := b.Lease(ctx, "in.form"); return err },
		"Handle": func() error {
			_, err := b.Handle(ctx, ReaderConfig{Unit: "r", Stream: Jobs}, func(context.Context, *Msg) error { return nil })
			return err
		},
		"Remove": func() error { return b.Remove(ctx, Jobs, 1) },
		"Erase":  func() error { return b.Erase(ctx, Jobs, 1) },
	} {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}
