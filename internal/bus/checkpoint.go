package bus

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// A checkpoint is where a reader resumes: everything up to Floor is settled, and
// the ranges above it. It is a hint: lost progress is read again and found done.
type checkpoint struct {
	Schema int `json:"schema"`
	// Created is the stream's creation time: another one means another stream.
	Created time.Time   `json:"created"`
	Floor   uint64      `json:"floor"`
	Ranges  [][2]uint64 `json:"ranges,omitempty"`
}

// maxRanges is how many settled ranges a checkpoint holds; beyond, the floor alone.
const maxRanges = 4096

// settledIn reports whether the checkpoint knows seq as settled. Calls must come
// with rising sequences: ranges that were passed are dropped.
func (c *checkpoint) settledIn(seq uint64) bool {
	if seq <= c.Floor {
		return true
	}
	for len(c.Ranges) > 0 && c.Ranges[0][1] < seq {
		c.Ranges = c.Ranges[1:]
	}
	return len(c.Ranges) > 0 && c.Ranges[0][0] <= seq
}

// A ledgerOfTasks keeps the tasks that a reader has taken in, in order, until
// they are settled without a gap.
type ledgerOfTasks struct {
	floor   uint64
	tasks   []*task
	changed bool
}

func (l *ledgerOfTasks) add(t *task) { l.tasks = append(l.tasks, t) }

// skip notes a message that was settled before this process.
func (l *ledgerOfTasks) skip(seq uint64) {
	if len(l.tasks) == 0 {
		l.floor = max(l.floor, seq)
		return
	}
	l.tasks = append(l.tasks, &task{msg: &Msg{Seq: seq}, settled: true})
}

func (l *ledgerOfTasks) settle(t *task) {
	t.settled = true
	l.changed = true
	n := 0
	for n < len(l.tasks) && l.tasks[n].settled {
		l.floor = l.tasks[n].msg.Seq
		l.tasks[n] = nil
		n++
	}
	l.tasks = l.tasks[n:]
	if len(l.tasks) == 0 {
		l.tasks = nil // let go of the memory of a backlog
	}
}

func (l *ledgerOfTasks) checkpoint(created time.Time) checkpoint {
	c := checkpoint{Schema: 1, Created: created, Floor: l.floor}
	open := false
	for _, t := range l.tasks {
		switch {
		case !t.settled:
			open = false
		case open:
			c.Ranges[len(c.Ranges)-1][1] = t.msg.Seq
		case len(c.Ranges) == maxRanges:
			c.Ranges = nil
			return c
		default:
			c.Ranges = append(c.Ranges, [2]uint64{t.msg.Seq, t.msg.Seq})
			open = true
		}
	}
	return c
}

func (b *Bus) loadCheckpoint(ctx context.Context, unit string, created time.Time) (checkpoint, error) {
	e, err := b.Bucket(Cursors).Get(ctx, "read."+unit)
	if errors.Is(err, ErrNotFound) {
		return checkpoint{Created: created}, nil
	}
	if err != nil {
		return checkpoint{}, err
	}
	var c checkpoint
	if err := json.Unmarshal(e.Value, &c); err != nil || !c.Created.Equal(created) {
		b.log.Warn("a reader starts from the beginning: its checkpoint belongs to another stream", "unit", unit)
		return checkpoint{Created: created}, nil
	}
	return c, nil
}

func (b *Bus) saveCheckpoint(ctx context.Context, unit string, c checkpoint) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = b.Bucket(Cursors).Put(ctx, "read."+unit, data)
	return err
}

// Floor returns up to where a reader has settled everything, as of its last
// checkpoint; 0 when it never ran.
func (b *Bus) Floor(ctx context.Context, unit, stream string) (uint64, error) {
	info, err := b.Info(ctx, stream)
	if err != nil {
		return 0, err
	}
	c, err := b.loadCheckpoint(ctx, unit, info.Created)
	return c.Floor, err
}
