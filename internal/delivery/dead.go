package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// bury makes the message a dead letter: X1 to X5 of docs/protocol.md §7. The
// conversation goes on and says so, or stops, by after_dead.
func (t *turn) bury(ctx context.Context, cause error) error {
	now := time.Now().UTC()
	job := t.job
	letter := record.Letter{
		Schema: schemas.Version, ID: record.LetterID(record.StageDelivery, t.k.s.Name, t.mid, t.job.Version),
		Stage: record.StageDelivery, Place: t.k.s.Name, Conv: t.job.Conv, Message: t.mid, Delivery: t.job.Delivery,
		Version: t.job.Version, Reason: cause.Error(), At: now, Job: &job,
	}
	r, err := letter.Encode()
	if err != nil {
		return err
	}
	if _, err := t.k.o.Bus.Publish(ctx, r); err != nil {
		return err
	}
	err = t.k.mark(ctx, t.mid, t.rec, t.recRevision, func(rec *record.Message) bool {
		at := rec.Sinks[t.k.s.Name]
		if at.State != record.Pending {
			return false
		}
		at.State, at.Dead, at.At = record.Dead, letter.ID, now
		rec.Sinks[t.k.s.Name] = at
		return true
	})
	if err != nil {
		return err
	}
	t.k.o.Metrics.Dead(record.StageDelivery)
	return t.endBurial(ctx, letter)
}

// buried ends a burial that a crash may have broken off after X2.
func (t *turn) buried(ctx context.Context, at record.AtSink) (err error) {
	letter, err := (&Delivery{o: t.k.o}).Letter(ctx, at.Dead)
	if errors.Is(err, ErrNoLetter) {
		return nil // closed and removed long ago
	}
	if err != nil {
		return err
	}
	if t.link, t.revision, err = t.k.link(ctx, t.job.Conv); err != nil {
		return err
	}
	return t.endBurial(ctx, letter)
}

// endBurial is X3 and X4. A link that is about another message by now has had X3.
func (t *turn) endBurial(ctx context.Context, letter record.Letter) error {
	if t.link.Doing != nil && slices.Contains(t.link.Doing.Mids, t.mid) {
		t.link.Doing = nil
		if !slices.Contains(t.link.Gap, t.mid) {
			t.link.Gap = append(t.link.Gap, t.mid)
		}
		if _, err := t.k.putLink(ctx, t.job.Conv, t.link, t.revision, false); err != nil {
			return err
		}
	}
	return t.k.publish(ctx, schemas.EventDead, t.job.Conv, record.Digest("dead", letter.ID), schemas.Trouble{
		Message: t.mid, Conversation: t.job.Conv, Sink: t.k.s.Name, Job: t.m.Seq, Version: letter.Version,
		Reason: letter.Reason, Attempt: t.m.Attempt, Dead: letter.ID, Calls: t.k.callsOf(t.mid), At: letter.At,
	})
}

// ErrNoLetter says that there is no dead letter of that id.
var ErrNoLetter = errors.New("there is no such dead letter")

// Letter returns a dead letter.
func (d *Delivery) Letter(ctx context.Context, id string) (record.Letter, error) {
	var found *record.Letter
	stop := errors.New("found")
	err := d.o.Bus.Scan(ctx, bus.Range{Stream: bus.Dead}, func(m *bus.Msg) error {
		if record.LetterIDOf(m) != id {
			return nil
		}
		l, err := record.Decode[record.Letter](m.Data)
		if err != nil {
			return err
		}
		found = &l
		return stop
	})
	if err != nil && !errors.Is(err, stop) {
		return record.Letter{}, err
	}
	if found == nil {
		return record.Letter{}, fmt.Errorf("%w: %s", ErrNoLetter, id)
	}
	return *found, nil
}

// Retry has a dead letter tried again, on a person's word: a job of the next
// version, a copy of the delivery, or the reply once more. A second click is a
// copy that is dropped.
func (d *Delivery) Retry(ctx context.Context, actor schemas.Actor, id string) error {
	l, err := d.Letter(ctx, id)
	if err != nil {
		return err
	}
	r, err := d.request(ctx, l, actor)
	if err != nil {
		return err
	}
	event, err := d.requested(l, "retry", actor)
	if err != nil {
		return err
	}
	if _, err = d.o.Bus.Publish(ctx, event, r); err != nil {
		return err
	}
	return d.answered(ctx, l)
}

// answered notes with the message that a person has decided on its dead letter,
// so that a lane that was held behind it goes on.
func (d *Delivery) answered(ctx context.Context, l record.Letter) error {
	if l.Job == nil {
		return nil
	}
	bucket := d.o.Bus.Bucket(bus.Messages)
	for {
		e, err := bucket.Get(ctx, l.Message)
		if errors.Is(err, bus.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		rec, err := record.Decode[record.Message](e.Value)
		if err != nil {
			return err
		}
		at := rec.Sinks[l.Place]
		if at.State != record.Dead || at.Dead != l.ID || at.Answered {
			return nil
		}
		at.Answered = true
		rec.Sinks[l.Place] = at
		data, err := json.Marshal(rec)
		if err != nil {
			return err
		}
		if _, err = bucket.Update(ctx, l.Message, data, e.Revision); !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
}

// request is what asks for another attempt.
func (d *Delivery) request(ctx context.Context, l record.Letter, actor schemas.Actor) (bus.Record, error) {
	switch {
	case l.Job != nil:
		job := *l.Job
		job.Version, job.Actor = l.Version+1, &actor
		return job.Encode("")
	case l.Reply != nil:
		again := *l.Reply
		again.Again = l.Version + 1
		return again.Encode(l.Place, l.Conv)
	}
	r := bus.Record{Subject: record.InSubject(l.Place), Header: map[string]string{}, Data: l.Body}
	if d.o.Channel(l.Place) == nil {
		r.Subject = record.BackSubject(l.Place) // names are unique over channels and sinks
	}
	for k, v := range l.Header {
		if len(k) < 3 || k[:3] != "sb." {
			r.Header[k] = v
		}
	}
	record.MarkReplay(&r, strconv.FormatUint(l.Delivery, 10))
	if l.Blob == "" {
		return r, nil
	}
	body, err := d.o.Bus.ReadBlob(ctx, l.Blob)
	if err != nil {
		return r, err
	}
	name := record.RawBlob(record.Digest("replay", l.ID))
	record.SetBlob(&r, name)
	return r, d.o.Bus.PutBlob(ctx, name, body)
}

// Dismiss closes a dead letter with a reason; nothing is sent again.
func (d *Delivery) Dismiss(ctx context.Context, actor schemas.Actor, id, reason string) error {
	l, err := d.Letter(ctx, id)
	if err != nil {
		return err
	}
	event, err := d.requested(l, "dismiss", actor)
	if err != nil {
		return err
	}
	d.o.Log.Info("a dead letter was dismissed", "dead", id, "by", actor.Name, "reason_given", reason != "")
	if _, err = d.o.Bus.Publish(ctx, event); err != nil {
		return err
	}
	return d.answered(ctx, l)
}

func (d *Delivery) requested(l record.Letter, action string, actor schemas.Actor) (bus.Record, error) {
	body := schemas.Requested{
		Dead: l.ID, Message: l.Message, Conversation: l.Conv, Version: l.Version + 1, Action: action, Actor: actor, At: time.Now().UTC(),
	}
	if l.Stage == record.StageDelivery {
		body.Sink = l.Place
	}
	id := record.Digest("requested", l.ID, action, strconv.Itoa(body.Version), body.At.String())
	return record.Event(schemas.EventRetry, l.Conv, id, body.At, body)
}
