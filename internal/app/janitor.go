package app

import (
	"context"
	"errors"
	"strings"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// What the janitor removes, and when (docs/protocol.md §8). Nothing that is
// pending is ever removed, neither by age nor by size nor by the clock.
const (
	keepDeliveries = 30 * 24 * time.Hour
	keepJobs       = 7 * 24 * time.Hour
	keepLinks      = 400 * 24 * time.Hour
	keepEvents     = 365 * 24 * time.Hour
	janitorEvery   = 24 * time.Hour
	janitorFirst   = 10 * time.Minute
)

// runJanitor finishes forgettings that were cut off and removes, daily, what is
// old and settled.
func (a *App) runJanitor(ctx context.Context, _ *bus.Lease) error {
	for wait := janitorFirst; ; wait = janitorEvery {
		if err := a.resumeForgetting(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("a forgetting is not finished", "err", err)
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil
		}
		sane, err := a.clockIsSane(ctx)
		if err == nil && sane {
			err = a.clean(ctx, time.Now())
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("cleaning up broke off; it goes on tomorrow", "err", err)
		}
	}
}

func (a *App) resumeForgetting(ctx context.Context) error {
	var convs []string
	err := a.bus.Bucket(bus.Cursors).Each(ctx, "forget", func(e bus.Entry) error {
		convs = append(convs, strings.TrimPrefix(e.Key, "forget."))
		return nil
	})
	for _, conv := range convs {
		_, forgetErr := a.Forget(ctx, schemas.System, conv)
		err = errors.Join(err, forgetErr)
	}
	return err
}

// clockIsSane lets a clock that has jumped ahead by more than a day since the
// last run prove itself an hour of monotonic time later.
func (a *App) clockIsSane(ctx context.Context) (bool, error) {
	bucket := a.bus.Bucket(bus.Cursors)
	read := func() (time.Time, error) {
		e, err := bucket.Get(ctx, "meta.janitor")
		if errors.Is(err, bus.ErrNotFound) {
			return time.Now(), nil
		}
		return e.At, err
	}
	last, err := read()
	if err != nil {
		return false, err
	}
	if ahead := time.Since(last); ahead > 2*janitorEvery {
		before := time.Now()
		pause(ctx, time.Hour)
		if drift := time.Now().Round(0).Sub(before.Round(0)) - time.Since(before); drift.Abs() > time.Minute {
			a.log.Warn("the clock jumps: nothing is removed today", "drift", drift)
			return false, nil
		}
	}
	_, err = bucket.Put(ctx, "meta.janitor", []byte(a.o.Version))
	return true, err
}

// clean removes what is old and settled as of now.
func (a *App) clean(ctx context.Context, now time.Time) error {
	return errors.Join(a.cleanDeliveries(ctx, now), a.cleanQueues(ctx, now), a.cleanMessages(ctx, now), a.cleanLinks(ctx, now), a.cleanEvents(ctx, now))
}

func (a *App) cleanDeliveries(ctx context.Context, now time.Time) error {
	pending := map[uint64]bool{}
	err := a.bus.Bucket(bus.Messages).Each(ctx, "", func(e bus.Entry) error {
		rec, err := record.Decode[record.Message](e.Value)
		if err != nil {
			return err
		}
		for _, at := range rec.Sinks {
			if at.State == record.Pending {
				pending[rec.Creator] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	floors, err := a.floors(ctx, bus.Deliveries)
	if err != nil {
		return err
	}
	return a.removeOld(ctx, bus.Deliveries, now.Add(-keepDeliveries), func(m *bus.Msg) bool {
		floor, known := floors[m.Subject]
		return known && m.Seq <= floor && !pending[m.Seq]
	})
}

// floors returns up to where each subject of deliveries is settled.
func (a *App) floors(ctx context.Context, stream string) (map[string]uint64, error) {
	out := map[string]uint64{}
	for _, c := range a.channels {
		floor, err := a.bus.Floor(ctx, "in."+c.Name, stream)
		if err != nil {
			return nil, err
		}
		out[record.InSubject(c.Name)] = floor
	}
	for _, s := range a.sinks {
		floor, err := a.bus.Floor(ctx, "back."+s.Name, stream)
		if err != nil {
			return nil, err
		}
		out[record.BackSubject(s.Name)] = floor
	}
	return out, nil
}

// removeOld removes messages that were stored before a time, as long as settled
// agrees, with the blobs of their bodies.
func (a *App) removeOld(ctx context.Context, stream string, before time.Time, settled func(*bus.Msg) bool) error {
	var old []*bus.Msg
	stop := errors.New("the rest is younger")
	err := a.bus.Scan(ctx, bus.Range{Stream: stream, HeadersOnly: true}, func(m *bus.Msg) error {
		if m.At.After(before) {
			return stop
		}
		if settled(m) {
			old = append(old, m)
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	for _, m := range old {
		if blob := record.BlobOf(m); blob != "" {
			if err := a.bus.DeleteBlob(ctx, blob); err != nil {
				return err
			}
		}
		if err := a.bus.Remove(ctx, stream, m.Seq); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) cleanQueues(ctx context.Context, now time.Time) error {
	floors := map[string]uint64{}
	for _, s := range a.sinks {
		floor, err := a.bus.Floor(ctx, "sink."+s.Name, bus.Jobs)
		if err != nil {
			return err
		}
		floors["jobs."+s.Name+"."] = floor
	}
	for _, c := range a.channels {
		floor, err := a.bus.Floor(ctx, "out."+c.Name, bus.Replies)
		if err != nil {
			return err
		}
		floors["replies."+c.Name+"."] = floor
	}
	settled := func(m *bus.Msg) bool {
		for prefix, floor := range floors {
			if strings.HasPrefix(m.Subject, prefix) {
				return m.Seq <= floor
			}
		}
		return false // of a sink that is no longer configured: kept
	}
	before := now.Add(-keepJobs)
	return errors.Join(a.removeOld(ctx, bus.Jobs, before, settled), a.removeOld(ctx, bus.Replies, before, settled))
}

// cleanMessages removes records of messages past the horizon, with their blobs.
func (a *App) cleanMessages(ctx context.Context, now time.Time) error {
	messages := a.bus.Bucket(bus.Messages)
	var mids, blobs []string
	err := messages.Each(ctx, "", func(e bus.Entry) error {
		if now.Sub(e.At) < a.o.Config.Horizon {
			return nil
		}
		rec, keep, err := waiting(e)
		if err != nil || keep {
			return err
		}
		mids = append(mids, e.Key)
		for _, f := range rec.Files {
			if f.Blob != "" {
				blobs = append(blobs, f.Blob)
			}
		}
		return nil
	})
	for _, name := range blobs {
		err = errors.Join(err, a.bus.DeleteBlob(ctx, name))
	}
	for _, mid := range mids {
		err = errors.Join(err, messages.Delete(ctx, mid))
	}
	return err
}

// cleanLinks removes links that nobody has written to for more than a year, and
// what led to them.
func (a *App) cleanLinks(ctx context.Context, now time.Time) error {
	links := a.bus.Bucket(bus.Links)
	var keys []string
	alive := map[string]bool{} // conversations whose link stays
	err := links.Each(ctx, "c", func(e bus.Entry) error {
		l, err := record.Decode[record.Link](e.Value)
		if err != nil {
			return err
		}
		if now.Sub(e.At) < keepLinks || l.Doing != nil {
			alive[e.Key[strings.LastIndexByte(e.Key, '.')+1:]] = true
			return nil
		}
		keys = append(keys, e.Key)
		return nil
	})
	if err != nil {
		return err
	}
	// What leads to a conversation is written once and lives as long as its link.
	err = links.Each(ctx, "", func(e bus.Entry) error {
		if now.Sub(e.At) < keepLinks || strings.HasPrefix(e.Key, "c.") || alive[strings.TrimPrefix(e.Key, "s.")] {
			return nil
		}
		if strings.HasPrefix(e.Key, "t.") {
			if t, err := record.Decode[record.Ticket](e.Value); err != nil || alive[t.Root] {
				return err
			}
		}
		keys = append(keys, e.Key)
		return nil
	})
	for _, key := range keys {
		err = errors.Join(err, links.Delete(ctx, key))
	}
	return err
}

// waiting reads a record and reports whether somebody still needs it: a sink that
// has not filed the message, a person who may want its dead letter tried again,
// or a channel that has not sent the reply.
func waiting(e bus.Entry) (rec record.Message, keep bool, err error) {
	if isReply(e.Key) {
		r, err := record.Decode[record.Reply](e.Value)
		return rec, r.State != record.ReplySent && (r.State != record.ReplyFailed || r.Dead != ""), err
	}
	rec, err = record.Decode[record.Message](e.Value)
	for _, at := range rec.Sinks {
		keep = keep || at.State == record.Pending || at.State == record.Dead && !at.Answered
	}
	return rec, keep, err
}

// isReply tells a reply's record from a message's by its key.
func isReply(key string) bool { return len(key) == 27 && key[0] == 'r' }

func (a *App) cleanEvents(ctx context.Context, now time.Time) error {
	projected, _ := a.ledger.AsOf()
	return a.removeOld(ctx, bus.Events, now.Add(-keepEvents), func(m *bus.Msg) bool { return m.Seq <= projected })
}
