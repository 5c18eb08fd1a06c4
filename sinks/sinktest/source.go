package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
)

// listens lets an agent and us speak at the desk and reads what comes back.
func listens(ctx context.Context, s *stand) error {
	t := ticket("listens", schemas.Email)
	ref, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	poller, polls := s.sink.(hook.Poller)
	var start hook.Page
	if polls {
		if start, err = poller.Poll(ctx, ""); s.note(err) != nil {
			return fmt.Errorf("first poll: %w", err)
		}
	}
	own := map[string]bool{}
	for _, c := range []schemas.Comment{
		comment("own words", by(t.Requester), schemas.Public),
		comment("own note", schemas.Author{Role: schemas.BySwitchboard}, schemas.Internal),
	} {
		id, err := s.append(ctx, ref, c)
		if err != nil {
			return fmt.Errorf("append: %w", err)
		}
		own[id], own[c.Key] = true, true
	}
	said := s.desk.Comment(ref.ID, "Kim", "We send a new receiver.", true)
	if said == "" {
		return errors.New("the fake did not take an agent's comment")
	}
	deliveries, err := s.deliveries(ctx, poller, start.Next)
	if err != nil {
		return err
	}
	heard := false
	for _, d := range deliveries {
		changes, err := s.read(d)
		if err != nil {
			return err
		}
		for _, c := range changes.Comments {
			switch {
			case c.Comment.ID == "":
				return errors.New("a comment from the desk has no id")
			case c.Comment.ID == said:
				heard = true
				if c.Ticket.ID != ref.ID || c.Comment.Author.Role != schemas.ByAgent || c.Comment.Visibility != schemas.Public || c.Comment.Text == "" {
					return errors.New("the agent's comment was read with another ticket, author, visibility or without text")
				}
			case c.Comment.Author.Role == schemas.ByRequester: // the host passes on what agents say
			case !own[c.Comment.ID] && !own[c.Comment.Key] && c.Comment.Key != t.Key:
				return fmt.Errorf("comment %s from the desk is ours and cannot be recognised", c.Comment.ID)
			}
		}
	}
	if !heard {
		return fmt.Errorf("the agent's comment %s is in none of %d deliveries", said, len(deliveries))
	}
	return s.tolerates()
}

// deliveries collects what the desk has to say and proves what came by webhook.
func (s *stand) deliveries(ctx context.Context, poller hook.Poller, cursor string) ([]hook.Delivery, error) {
	var all []hook.Delivery
	if poller != nil {
		for more := true; more; {
			page, err := poller.Poll(ctx, cursor)
			if s.note(err) != nil {
				return nil, fmt.Errorf("poll: %w", err)
			}
			all = append(all, page.Deliveries...)
			cursor, more = page.Next, page.More
		}
	}
	w, ok := s.sink.(hook.Webhook)
	if !ok {
		return all, nil
	}
	teller, ok := s.desk.(events)
	if !ok || s.traits.Sign == nil {
		return nil, errors.New("a sink with a webhook needs a fake with Events and the trait Sign")
	}
	for _, d := range teller.Events() {
		d.ReceivedAt = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
		signed, err := s.proves(ctx, w, d)
		if err != nil {
			return nil, err
		}
		all = append(all, signed)
	}
	return all, nil
}

// proves signs d and holds Verify to what it must accept and refuse.
func (s *stand) proves(ctx context.Context, w hook.Webhook, d hook.Delivery) (hook.Delivery, error) {
	sign := func(at time.Time) hook.Delivery {
		c := d
		c.Header, c.Body, c.ReceivedAt = d.Header.Clone(), bytes.Clone(d.Body), at
		if c.Header == nil {
			c.Header = http.Header{}
		}
		s.traits.Sign(s.cfg, &c)
		return c
	}
	good := sign(d.ReceivedAt)
	if err := s.note(w.Verify(ctx, good)); err != nil {
		return good, fmt.Errorf("verify a signed delivery: %w", err)
	}
	if a := w.Answer(good); a.Status < 200 || a.Status > 299 || a.Drop {
		return good, fmt.Errorf("answer to a signed delivery: status %d, drop %t", a.Status, a.Drop)
	}
	refuse := func(what string, c hook.Delivery) error {
		if err := s.note(w.Verify(ctx, c)); !errors.Is(err, hook.ErrUnverified) {
			return fmt.Errorf("verify a delivery that is %s: got %w, want ErrUnverified", what, got(err))
		}
		return nil
	}
	bad := []error{refuse("unsigned", d)}
	altered := sign(d.ReceivedAt)
	altered.Body = append(altered.Body, ' ')
	bad = append(bad, refuse("altered", altered))
	for name, values := range good.Header {
		if slices.Equal(values, d.Header[name]) {
			continue
		}
		forged := sign(d.ReceivedAt)
		other := "x"
		if strings.HasPrefix(values[0], other) {
			other = "y"
		}
		forged.Header.Set(name, other+values[0][1:])
		bad = append(bad, refuse("forged in "+name, forged))
	}
	if later := sign(d.ReceivedAt.Add(time.Hour)); !reflect.DeepEqual(later.Header, good.Header) {
		stale := sign(d.ReceivedAt)
		stale.ReceivedAt = stale.ReceivedAt.Add(time.Hour)
		bad = append(bad, refuse("stale", stale))
	}
	return good, errors.Join(bad...)
}

// read parses twice and wants the same.
func (s *stand) read(d hook.Delivery) (sinks.Changes, error) {
	source := s.sink.(sinks.Source)
	one, err := source.Parse(d)
	if s.note(err) != nil {
		return one, fmt.Errorf("parse: %w", err)
	}
	two, err := source.Parse(d)
	if err != nil || !reflect.DeepEqual(one, two) {
		return one, errors.New("parse again: the answer differs")
	}
	if len(one.Comments)+len(one.Tickets) == 0 && one.Ignored == "" {
		return one, errors.New("parse: nothing, and no reason")
	}
	return one, nil
}

// tolerates parses what is not the vendor's.
func (s *stand) tolerates() error {
	for _, body := range []string{"", "{", "[]", "null", "\x00", `{"type":"unheard.of"}`} {
		c, err := s.sink.(sinks.Source).Parse(hook.Delivery{Method: "POST", Body: []byte(body)})
		if s.note(err) == nil && (c.Ignored == "" || len(c.Comments)+len(c.Tickets) > 0) {
			return fmt.Errorf("parse %q: got changes or no reason, want an error or a reason", body)
		}
	}
	return nil
}
