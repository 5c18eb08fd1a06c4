package bus

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tasks puts tasks into a schedule: their sequences count from 1.
type tasks struct {
	s   *schedule
	seq uint64
}

func (q *tasks) add(band int, channel string, keys ...string) *task {
	q.seq++
	t := &task{msg: &Msg{Seq: q.seq}, band: band, channel: channel}
	q.s.add(t, keys)
	return t
}

// order runs everything, one at a time, and returns the sequences.
func (q *tasks) order() []uint64 {
	var got []uint64
	for t := q.s.next(); t != nil; t = q.s.next() {
		got = append(got, t.msg.Seq)
		q.s.done(t)
	}
	return got
}

func TestUrgencyPicksLanesAndReordersNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fill func(q *tasks)
		want []uint64
	}{
		{"oldest first", func(q *tasks) { q.add(1, "a", "x"); q.add(1, "a", "y"); q.add(1, "a", "z") }, []uint64{1, 2, 3}},
		{"highest band first", func(q *tasks) { q.add(0, "a", "x"); q.add(3, "a", "y"); q.add(2, "a", "z") }, []uint64{2, 3, 1}},
		{"an urgent one lifts the head of its lane", func(q *tasks) {
			q.add(1, "a", "x")
			q.add(2, "a", "y")
			q.add(0, "a", "x")
			q.add(3, "a", "x") // 1, 3 and 4 before 2
		}, []uint64{1, 3, 4, 2}},
		{"the lift ends with the urgent one", func(q *tasks) {
			q.add(1, "a", "x")
			q.add(3, "a", "x")
			q.add(1, "a", "x")
			q.add(2, "a", "y")
		}, []uint64{1, 2, 4, 3}},
		{"channels in turn", func(q *tasks) {
			for _, c := range []string{"a", "a", "a", "a", "b", "c", "b"} {
				q.add(1, c, fmt.Sprint(q.seq))
			}
		}, []uint64{5, 6, 1, 7, 2, 3, 4}},
		{"no lanes at all", func(q *tasks) { q.add(1, "a"); q.add(1, "a"); q.add(3, "a") }, []uint64{3, 1, 2}},
		{"two lanes wait for both", func(q *tasks) {
			q.add(0, "a", "x")
			q.add(1, "a", "y")
			q.add(3, "a", "x", "y") // lifts 1 and 2
			q.add(2, "a", "z")
			q.add(1, "a", "y")
		}, []uint64{1, 2, 3, 4, 5}},
	} {
		q := &tasks{s: newSchedule()}
		tt.fill(q)
		if got := q.order(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if len(q.s.lanes) != 0 {
			t.Errorf("%s: %d lanes are kept", tt.name, len(q.s.lanes))
		}
	}
}

func TestOneChannelDoesNotStarveAnother(t *testing.T) {
	t.Parallel()
	q := &tasks{s: newSchedule()}
	for range 1000 {
		q.add(1, "loud", fmt.Sprint(q.seq))
	}
	quiet := q.add(1, "quiet", "q")
	for turn := 1; ; turn++ {
		got := q.s.next()
		if got == quiet {
			return
		}
		if turn == 2 {
			t.Fatal("the quiet channel waits for more than one of the loud one's")
		}
		q.add(1, "loud", fmt.Sprint(q.seq)) // and it goes on
		q.s.done(got)
	}
}

// A model of the schedule: every task that is not done, oldest first.
type model struct {
	t       *rapid.T
	q       tasks
	open    []*task
	keys    map[*task][]string
	running map[*task]bool
}

func share(a, b []string) bool {
	return slices.ContainsFunc(a, func(k string) bool { return slices.Contains(b, k) })
}

// startable are the tasks that are the oldest of all their lanes.
func (m *model) startable() []*task {
	var out []*task
	for i, t := range m.open {
		blocked := slices.ContainsFunc(m.open[:i], func(older *task) bool { return share(m.keys[older], m.keys[t]) })
		if !blocked && !m.running[t] {
			out = append(out, t)
		}
	}
	return out
}

// rank is the highest band that waits in any lane of t.
func (m *model) rank(t *task) int {
	top := t.band
	for _, other := range m.open {
		if share(m.keys[other], m.keys[t]) {
			top = max(top, other.band)
		}
	}
	return top
}

func (m *model) add() {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"u", "v", "w", "x", "y"}), 0, 3, rapid.ID).Draw(m.t, "keys")
	t := m.q.add(rapid.IntRange(0, bands-1).Draw(m.t, "band"), rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.t, "channel"), keys...)
	m.open = append(m.open, t)
	m.keys[t] = keys
}

func (m *model) next() {
	can := m.startable()
	got := m.q.s.next()
	if got == nil {
		if len(can) > 0 {
			m.t.Fatalf("nothing runs though %d could: starved", len(can))
		}
		return
	}
	if !slices.Contains(can, got) {
		m.t.Fatalf("%d runs though an older one of its lanes is not done, or it runs already", got.msg.Seq)
	}
	for _, other := range can {
		if m.rank(other) > m.rank(got) {
			m.t.Fatalf("%d of rank %d runs before %d of rank %d", got.msg.Seq, m.rank(got), other.msg.Seq, m.rank(other))
		}
		if m.rank(other) == m.rank(got) && other.channel == got.channel && other.msg.Seq < got.msg.Seq {
			m.t.Fatalf("%d runs before the older %d of its channel", got.msg.Seq, other.msg.Seq)
		}
	}
	m.running[got] = true
}

// pick is one of the tasks that run, nil when none does.
func (m *model) pick() *task {
	var run []*task
	for _, t := range m.open {
		if m.running[t] {
			run = append(run, t)
		}
	}
	if len(run) == 0 {
		return nil
	}
	return rapid.SampledFrom(run).Draw(m.t, "task")
}

func (m *model) done() {
	if t := m.pick(); t != nil {
		delete(m.running, t)
		m.open = slices.DeleteFunc(m.open, func(o *task) bool { return o == t })
		m.q.s.done(t)
	}
}

func (m *model) again() {
	if t := m.pick(); t != nil {
		delete(m.running, t)
		m.q.s.again(t)
	}
}

func TestScheduleKeepsItsPromises(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, q: tasks{s: newSchedule()}, keys: map[*task][]string{}, running: map[*task]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) { m.add() }, "next": func(*rapid.T) { m.next() },
			"done": func(*rapid.T) { m.done() }, "again": func(*rapid.T) { m.again() },
		})
		for len(m.open) > 0 { // what is left runs to its end: nothing is stuck
			m.next()
			m.done()
		}
		if len(m.q.s.lanes) != 0 {
			t.Fatalf("%d lanes are kept though all is done", len(m.q.s.lanes))
		}
	})
}
