package bus

import (
	"container/heap"
)

// bands is how many levels of urgency the scheduler knows.
const bands = 4

// A task is one message on its way through the lanes it belongs to. It is ready
// once it is the head of all of them.
type task struct {
	msg     *Msg
	size    int
	lanes   []*lane
	band    int
	channel string
	blocked int // how many of its lanes have another head
	// rank is the band of the ready queue that holds it, index its place there;
	// index is -1 while it is not in a queue.
	rank, index int
	running     bool
	settled     bool
	attempt     int
}

// A lane is the order of one key: its tasks run one at a time, oldest first.
type lane struct {
	key   string
	tasks []*task
	// waiting counts the tasks of each band, the head included.
	waiting [bands]int
}

func (l *lane) top() int {
	for b := bands - 1; b > 0; b-- {
		if l.waiting[b] > 0 {
			return b
		}
	}
	return 0
}

// A schedule holds tasks in lanes and says which runs next: the highest band
// waiting anywhere in a lane first, then channels in turn, then the oldest. So
// urgency never overtakes inside a lane. It is not safe for concurrent use.
type schedule struct {
	lanes map[string]*lane
	ready [bands]readyQueue
}

func newSchedule() *schedule {
	s := &schedule{lanes: map[string]*lane{}}
	for i := range s.ready {
		s.ready[i].channels = map[string]*channelQueue{}
	}
	return s
}

// add puts a task at the end of the lanes with these keys, which differ.
func (s *schedule) add(t *task, keys []string) {
	t.index = -1
	for _, key := range keys {
		l := s.lanes[key]
		if l == nil {
			l = &lane{key: key}
			s.lanes[key] = l
		}
		if len(l.tasks) > 0 {
			t.blocked++
		}
		l.tasks = append(l.tasks, t)
		l.waiting[t.band]++
		t.lanes = append(t.lanes, l)
		// A more urgent task lifts the head that it waits for.
		if head := l.tasks[0]; head != t && head.index >= 0 && l.top() > head.rank {
			s.unqueue(head)
			s.queue(head)
		}
	}
	if t.blocked == 0 {
		s.queue(t)
	}
}

func (s *schedule) queue(t *task) {
	t.rank = t.band
	for _, l := range t.lanes {
		t.rank = max(t.rank, l.top())
	}
	s.ready[t.rank].push(t)
}

func (s *schedule) unqueue(t *task) { s.ready[t.rank].remove(t) }

// next takes the task that runs next, nil when none is ready.
func (s *schedule) next() *task {
	for b := bands - 1; b >= 0; b-- {
		if t := s.ready[b].pop(); t != nil {
			t.running = true
			return t
		}
	}
	return nil
}

// again makes a task that ran ready once more, at the head of its lanes.
func (s *schedule) again(t *task) {
	t.running = false
	s.queue(t)
}

// done takes a task that ran out of its lanes and readies what waited for it.
func (s *schedule) done(t *task) {
	t.running = false
	for _, l := range t.lanes {
		l.tasks[0] = nil
		l.tasks = l.tasks[1:]
		l.waiting[t.band]--
		if len(l.tasks) == 0 {
			delete(s.lanes, l.key)
			continue
		}
		head := l.tasks[0]
		head.blocked--
		if head.blocked == 0 {
			s.queue(head)
		}
	}
}

// A readyQueue holds the ready tasks of one band, channel by channel.
type readyQueue struct {
	channels map[string]*channelQueue
	ring     []*channelQueue
	turn     int
}

type channelQueue struct {
	name  string
	tasks taskHeap
}

func (q *readyQueue) push(t *task) {
	c := q.channels[t.channel]
	if c == nil {
		c = &channelQueue{name: t.channel}
		q.channels[t.channel] = c
		q.ring = append(q.ring, c)
	}
	heap.Push(&c.tasks, t)
}

func (q *readyQueue) pop() *task {
	for range q.ring {
		q.turn++
		if c := q.ring[q.turn%len(q.ring)]; len(c.tasks) > 0 {
			return heap.Pop(&c.tasks).(*task)
		}
	}
	return nil
}

func (q *readyQueue) remove(t *task) { heap.Remove(&q.channels[t.channel].tasks, t.index) }

// taskHeap orders tasks by sequence, oldest first.
type taskHeap []*task

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].msg.Seq < h[j].msg.Seq }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends x, a *task.
func (h *taskHeap) Push(x any) {
	t := x.(*task)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop takes the last task off.
func (h *taskHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
