package bus

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestCheckpointKnowsExactlyWhatWasSettled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var book ledgerOfTasks
		var all, open []*task
		seq := uint64(0)
		settled := map[uint64]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				seq += rapid.Uint64Range(1, 3).Draw(t, "gap") // others' messages lie between
				task := &task{msg: &Msg{Seq: seq}}
				book.add(task)
				all, open = append(all, task), append(open, task)
			},
			"skip": func(t *rapid.T) {
				seq += rapid.Uint64Range(1, 3).Draw(t, "gap")
				book.skip(seq)
				all = append(all, &task{msg: &Msg{Seq: seq}})
				settled[seq] = true
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				book.settle(open[i])
				settled[open[i].msg.Seq] = true
				open = slices.Delete(open, i, i+1)
			},
			"": func(t *rapid.T) {
				data, err := json.Marshal(book.checkpoint(time.Now()))
				if err != nil {
					t.Fatal(err)
				}
				var c checkpoint
				if err := json.Unmarshal(data, &c); err != nil {
					t.Fatal(err)
				}
				for _, task := range all {
					if got := c.settledIn(task.msg.Seq); got != settled[task.msg.Seq] {
						t.Fatalf("settledIn(%d) of %s: got %v", task.msg.Seq, data, got)
					}
				}
			},
		})
	})
}

func TestCheckpointWithTooManyRangesIsTheFloorAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ ranges, want int }{{maxRanges, maxRanges}, {maxRanges + 1, 0}} {
		var book ledgerOfTasks
		var every []*task
		for seq := range uint64(2*tt.ranges + 3) {
			task := &task{msg: &Msg{Seq: seq + 1}}
			book.add(task)
			every = append(every, task)
		}
		book.settle(every[0])
		for i := range tt.ranges {
			book.settle(every[2*i+2])
		}
		if c := book.checkpoint(time.Now()); c.Floor != 1 || len(c.Ranges) != tt.want {
			t.Errorf("%d ranges: got floor %d and %d ranges, want 1 and %d", tt.ranges, c.Floor, len(c.Ranges), tt.want)
		}
	}
}

func TestReaderSkipsTheRangesOfItsCheckpoint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, OS)
	publish(t, b, "jobs.desk.a", "jobs.desk.b", "jobs.desk.c", "jobs.desk.d", "jobs.other.x", "jobs.desk.e")
	cfg := ReaderConfig{Unit: "r", Stream: Jobs, Subjects: []string{"jobs.desk.>"}, Keys: bySubject}
	release, rest := make(chan struct{}), make(chan string, 10)
	r, err := b.Handle(t.Context(), cfg, func(_ context.Context, m *Msg) error {
		if m.Subject == "jobs.desk.b" {
			<-release
			return errNotYet // b is open when the reader stops
		}
		rest <- m.Subject
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		within(t, "the others run", rest)
	}
	eventually(t, "a is settled", func() bool { return r.Floor() == 1 })
	close(release)
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, OS)
	shut(t, b)
	if floor, err := b.Floor(t.Context(), "r", Jobs); err != nil || floor != 1 {
		t.Errorf("floor: got %d, %v; want 1, below the open message", floor, err)
	}
	if floor, err := b.Floor(t.Context(), "never ran", Jobs); err != nil || floor != 0 {
		t.Errorf("floor of a reader that never ran: got %d, %v", floor, err)
	}
	publish(t, b, "jobs.desk.f")
	got := make(chan string, 10)
	r, err = b.Handle(t.Context(), cfg, func(_ context.Context, m *Msg) error {
		got <- m.Subject
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := []string{within(t, "b", got), within(t, "f", got)}
	slices.Sort(seen)
	if want := []string{"jobs.desk.b", "jobs.desk.f"}; !slices.Equal(seen, want) {
		t.Errorf("after the restart: got %v, want %v alone", seen, want)
	}
	eventually(t, "all is settled", func() bool { return r.Floor() == 7 })
	if err := r.Stop(); err != nil {
		t.Fatal(err)
	}
	if len(got) > 0 {
		t.Errorf("%s ran twice", <-got)
	}
}

func TestReaderStartsOverOnANewStream(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	cfg := ReaderConfig{Unit: "r", Stream: Jobs}
	run := func(want int) {
		t.Helper()
		got := make(chan uint64, 10)
		r, err := b.Handle(t.Context(), cfg, func(_ context.Context, m *Msg) error {
			got <- m.Seq
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range want {
			within(t, "a message", got)
		}
		if err := r.Stop(); err != nil {
			t.Fatal(err)
		}
		if floor, err := b.Floor(t.Context(), "r", Jobs); err != nil || floor != uint64(want) || len(got) > 0 {
			t.Errorf("floor: got %d, %v; want %d", floor, err, want)
		}
	}
	publish(t, b, "jobs.a", "jobs.b", "jobs.c")
	run(3)
	if err := b.js.DeleteStream(t.Context(), Jobs); err != nil {
		t.Fatal(err)
	}
	if err := b.ensure(t.Context(), t.Context()); err != nil {
		t.Fatal(err)
	}
	if floor, err := b.Floor(t.Context(), "r", Jobs); err != nil || floor != 0 {
		t.Errorf("floor on a new stream: got %d, %v; want 0", floor, err)
	}
	publish(t, b, "jobs.d", "jobs.e")
	run(2)
	if _, err := b.Bucket(Cursors).Put(t.Context(), "read.r", []byte("not JSON")); err != nil {
		t.Fatal(err)
	}
	run(2) // a damaged checkpoint is a hint that is lost
}
