package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestBucketComparesAndSwaps(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	k := b.Bucket(Messages)
	ctx := t.Context()
	if _, err := k.Get(ctx, "m1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key that is not there: got %v, want ErrNotFound", err)
	}
	first, err := k.Create(ctx, "m1", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Create(ctx, "m1", []byte("other")); !errors.Is(err, ErrConflict) {
		t.Errorf("a second Create: got %v, want ErrConflict", err)
	}
	if _, err := k.Create(ctx, "m1", []byte("one")); !errors.Is(err, ErrConflict) {
		t.Errorf("a second Create of an equal value, no answer lost: got %v, want ErrConflict", err)
	}
	second, err := k.Update(ctx, "m1", []byte("two"), first)
	if err != nil || second <= first {
		t.Fatalf("update: got %d, %v", second, err)
	}
	if _, err := k.Update(ctx, "m1", []byte("stale"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("a stale Update: got %v, want ErrConflict", err)
	}
	e, err := k.Get(ctx, "m1")
	if err != nil || string(e.Value) != "two" || e.Revision != second || e.Key != "m1" || e.At.IsZero() {
		t.Errorf("got %+v, %v", e, err)
	}
	third, err := k.Put(ctx, "m1", []byte("three"))
	if err != nil || third <= second {
		t.Errorf("put: got %d, %v", third, err)
	}
	if _, err := b.Bucket(Links).Get(ctx, "m1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another bucket has the key: %v", err)
	}
	if err := k.Delete(ctx, "m1"); err != nil {
		t.Fatal(err)
	}
	if err := k.Delete(ctx, "m1"); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
	if _, err := k.Get(ctx, "m1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Delete: got %v, want ErrNotFound", err)
	}
	if info, err := b.Info(ctx, bucketStream(Messages)); err != nil || info.Messages != 0 {
		t.Errorf("a trace stays: %+v, %v", info, err)
	}
	if _, err := k.Create(ctx, "m1", []byte("anew")); err != nil {
		t.Errorf("create after Delete: %v", err)
	}
}

func TestBucketRefusesWhatIsNoKey(t *testing.T) {
	t.Parallel()
	for key, good := range map[string]bool{
		"a": true, "c.desk.x": true, "user/anna=1_-": true, "A9": true,
		"": false, ".": false, "a.": false, ".a": false, "a..b": false, "*": false, ">": false, "a.*": false, "a.>": false,
		"a b": false, "a\tb": false, "a\nb": false, "a\x00": false, "a\x7f": false, "ä": false, "a\u00a0b": false,
	} {
		if valid(key) != good {
			t.Errorf("valid(%q) is %v", key, !good)
		}
	}
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	k := b.Bucket(Accounts)
	ctx := t.Context()
	if _, err := k.Put(ctx, "user.anna", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "*", ">", "user.*", "user.>", "user.", "a b"} {
		if _, err := k.Get(ctx, key); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get(%q): got %v, want ErrNotFound", key, err)
		}
		if _, err := k.Create(ctx, key, nil); err == nil {
			t.Errorf("Create(%q) was taken", key)
		}
		if _, err := k.Put(ctx, key, nil); err == nil {
			t.Errorf("Put(%q) was taken", key)
		}
		if _, err := k.Apply(ctx, Write{Key: "fine", Any: true}, Write{Key: key, Any: true}); err == nil {
			t.Errorf("Apply(%q) was taken", key)
		}
		if err := k.Delete(ctx, key); err != nil {
			t.Errorf("Delete(%q): got %v, want nothing to do", key, err)
		}
		if err := k.DeletePrefix(ctx, key); err != nil {
			t.Errorf("DeletePrefix(%q): got %v, want nothing to do", key, err)
		}
	}
	if got := keys(t, k, ""); !slices.Equal(got, []string{"user.anna"}) {
		t.Errorf("keys: got %v, want the one there was", got)
	}
}

// keys lists the keys of a bucket below prefix.
func keys(t *testing.T, k *Bucket, prefix string) []string {
	t.Helper()
	var got []string
	if err := k.Each(t.Context(), prefix, func(e Entry) error {
		got = append(got, e.Key)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBucketEachFollowsRevisions(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	k := b.Bucket(Links)
	for _, key := range []string{"c.desk.1", "c.desk.2", "c.other.1", "c", "cc.x", "t.desk.1", "c.desk.1"} {
		if _, err := k.Put(t.Context(), key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		prefix string
		want   []string
	}{
		{"", []string{"c.desk.2", "c.other.1", "c", "cc.x", "t.desk.1", "c.desk.1"}},
		{"c", []string{"c.desk.2", "c.other.1", "c.desk.1"}},
		{"c.desk", []string{"c.desk.2", "c.desk.1"}},
		{"nothing", nil},
	} {
		if got := keys(t, k, tt.prefix); !slices.Equal(got, tt.want) {
			t.Errorf("below %q: got %v, want %v", tt.prefix, got, tt.want)
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := k.Each(t.Context(), "", func(Entry) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Errorf("an error of f: got %v after %d calls", err, n)
	}
	if err := k.DeletePrefix(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	if got, want := keys(t, k, ""), []string{"c", "cc.x", "t.desk.1"}; !slices.Equal(got, want) {
		t.Errorf("after DeletePrefix: got %v, want %v", got, want)
	}
}

func TestApplyAnswersForEachWrite(t *testing.T) {
	t.Parallel()
	for _, d := range []Durability{Disk, OS} {
		b := open(t, t.TempDir(), d)
		shut(t, b)
		k := b.Bucket(Messages)
		ctx := t.Context()
		old, err := k.Create(ctx, "old", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		revisions, err := k.Apply(ctx, Write{Key: "new", Value: []byte("n")}, Write{Key: "old", Value: []byte("2"), Revision: old}, Write{Key: "any", Any: true})
		if err != nil || len(revisions) != 3 {
			t.Fatalf("%s: got %v, %v", d, revisions, err)
		}
		for i, key := range []string{"new", "old", "any"} {
			if e, err := k.Get(ctx, key); err != nil || e.Revision != revisions[i] {
				t.Errorf("%s: %s: got %+v, %v; want revision %d", d, key, e, err, revisions[i])
			}
		}
		_, err = k.Apply(ctx, Write{Key: "old", Value: []byte("3"), Revision: old}, Write{Key: "next", Value: []byte("x")})
		if !errors.Is(err, ErrConflict) {
			t.Errorf("%s: a stale one among them: got %v, want ErrConflict", d, err)
		}
		if e, err := k.Get(ctx, "next"); err != nil || string(e.Value) != "x" {
			t.Errorf("%s: the good one beside it: got %+v, %v", d, e, err)
		}
		if e, err := k.Get(ctx, "old"); err != nil || string(e.Value) != "2" {
			t.Errorf("%s: the stale one: got %+v, %v", d, e, err)
		}
	}
}

func TestWritesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, Disk)
	revisions := map[string]uint64{}
	for i := range 30 {
		key := fmt.Sprintf("m%d", i)
		revision, err := b.Bucket(Messages).Create(t.Context(), key, []byte(key))
		if err != nil {
			t.Fatal(err)
		}
		revisions[key] = revision
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, Disk)
	shut(t, b)
	for key, revision := range revisions {
		if e, err := b.Bucket(Messages).Get(context.Background(), key); err != nil || e.Revision != revision || string(e.Value) != key {
			t.Errorf("%s: got %+v, %v; want revision %d", key, e, err, revision)
		}
	}
}
