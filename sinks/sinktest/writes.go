package sinktest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"switchboard/adapter/fault"
	"switchboard/schemas"
	"switchboard/sinks"
)

func checks(ctx context.Context, s *stand) error {
	if err := s.note(s.sink.Check(ctx)); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	s.gate.arm(every(spoiled{status: 401}))
	if err := s.note(s.sink.Check(ctx)); !fault.IsAuth(err) {
		return fmt.Errorf("check with refused credentials: got %w, want an auth fault", got(err))
	}
	s.gate.arm(nil)
	if err := s.note(s.sink.Check(ctx)); err != nil {
		return fmt.Errorf("check after the credentials work again: %w", err)
	}
	return nil
}

func creates(ctx context.Context, s *stand) error {
	for _, kind := range []schemas.IdentityKind{schemas.Email, schemas.Phone, "telegram"} {
		t := ticket("create-"+string(kind), kind)
		ref, err := s.opened(ctx, t)
		if err != nil {
			return err
		}
		if err := s.exactly(ctx, t.Key, ref.ID); err != nil {
			return fmt.Errorf("create for a requester with %s: %w", kind, err)
		}
		if s.desk == nil {
			continue
		}
		got, err := s.stored(ref.ID)
		if err != nil {
			return err
		}
		if !strings.Contains(got.Subject, "does not bind") || len(got.Comments) == 0 || !strings.Contains(got.Comments[0].Text, words) {
			return fmt.Errorf("create: the desk's ticket lacks the subject or the customer's words")
		}
		if got.Requester == "" {
			return fmt.Errorf("create: the desk's ticket has no requester")
		}
	}
	return nil
}

func follows(ctx context.Context, s *stand) error {
	old, err := s.opened(ctx, ticket("old", schemas.Email))
	if err != nil {
		return err
	}
	if err := s.note(s.sink.(sinks.Updater).Update(ctx, old, schemas.Change{Status: new(schemas.StatusClosed)})); err != nil {
		return fmt.Errorf("close the ticket: %w", err)
	}
	_, err = s.append(ctx, old, comment("too late", by(person("old", schemas.Email)), schemas.Public))
	if err != nil && !errors.Is(err, sinks.ErrClosed) {
		return fmt.Errorf("append to a closed ticket: got %w, want ErrClosed or none", got(err))
	}
	next := ticket("next", schemas.Email)
	next.Follows = &old
	ref, err := s.opened(ctx, next)
	if err != nil {
		return err
	}
	if ref.ID == old.ID {
		return fmt.Errorf("a follow-up is the old ticket %s", old.ID)
	}
	found, err := s.sink.(sinks.Finder).Find(ctx, next.Key)
	if s.note(err) != nil {
		return fmt.Errorf("find the follow-up: %w", err)
	}
	if !slices.ContainsFunc(found, func(c sinks.Candidate) bool { return c.Key == next.Key && c.Ref.ID == ref.ID }) {
		return fmt.Errorf("find the follow-up by its own key: got %v, want %s", found, ref.ID)
	}
	return nil
}

func appends(ctx context.Context, s *stand) error {
	who := person("appends", schemas.Email)
	t := ticket("appends", schemas.Email)
	ref, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	all := []schemas.Comment{
		comment("asks", by(who), schemas.Public),
		comment("another person asks", by(person("other", schemas.Phone)), schemas.Public),
		comment("answers", schemas.Author{Role: schemas.ByAgent, Name: "Kim"}, schemas.Public),
		comment("notes", schemas.Author{Role: schemas.BySwitchboard, Name: "Switchboard"}, schemas.Internal),
	}
	_, threads := s.sink.(sinks.Threader)
	seen := map[string]bool{}
	for _, c := range all {
		id, err := s.append(ctx, ref, c)
		if err != nil {
			return fmt.Errorf("append as %s: %w", c.Author.Role, err)
		}
		if threads && (id == "" || seen[id]) {
			return fmt.Errorf("append as %s: got id %q, want one of its own", c.Author.Role, id)
		}
		seen[id] = true
	}
	if s.desk != nil {
		if err := s.storedInOrder(ref.ID, all); err != nil {
			return err
		}
	}
	if !threads {
		return nil
	}
	got, err := s.sink.(sinks.Threader).Thread(ctx, ref)
	if s.note(err) != nil {
		return fmt.Errorf("thread: %w", err)
	}
	at := 0
	for _, c := range got {
		if at < len(all) && c.Key == all[at].Key {
			if !seen[c.ID] || c.Visibility != all[at].Visibility || !strings.Contains(c.Text, all[at].Text) {
				return fmt.Errorf("thread: entry %s has another id, visibility or text than was appended", c.Key)
			}
			at++
		}
	}
	if at != len(all) {
		return fmt.Errorf("thread: got %d of %d comments in order and under their keys", at, len(all))
	}
	return nil
}

// storedInOrder looks into the fake's store for the comments.
func (s *stand) storedInOrder(id string, want []schemas.Comment) error {
	got, err := s.stored(id)
	if err != nil {
		return err
	}
	at := 0
	for _, c := range got.Comments {
		if at < len(want) && strings.Contains(c.Text, want[at].Text) {
			if c.Public != (want[at].Visibility == schemas.Public) {
				return fmt.Errorf("append: comment %q is public=%t at the desk", want[at].Key, c.Public)
			}
			at++
		}
	}
	if at != len(want) {
		return fmt.Errorf("append: the desk has %d of %d comments in order", at, len(want))
	}
	return nil
}

func gone(ctx context.Context, s *stand) error {
	ref, err := s.opened(ctx, ticket("gone", schemas.Email))
	if err != nil {
		return err
	}
	ref.ID = "9" + ref.ID
	if _, err = s.append(ctx, ref, comment("into the void", by(person("gone", schemas.Email)), schemas.Public)); !errors.Is(err, sinks.ErrNotFound) {
		return fmt.Errorf("append to a ticket that does not exist: got %w, want ErrNotFound", got(err))
	}
	return nil
}

func attaches(ctx context.Context, s *stand) error {
	ref, err := s.opened(ctx, ticket("attaches", schemas.Email))
	if err != nil {
		return err
	}
	id, err := s.attach(ctx, ref, file("wing"))
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if id == "" {
		return errors.New("attach: got no id")
	}
	if err := s.once(ctx, ref, file("wing").Key); err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	if s.desk == nil {
		return nil
	}
	got, err := s.stored(ref.ID)
	if err != nil {
		return err
	}
	for _, c := range got.Comments {
		if slices.Contains(c.Files, "wing.txt") {
			return nil
		}
	}
	return errors.New("attach: the desk has no file wing.txt")
}

func updates(ctx context.Context, s *stand) error {
	ref, err := s.opened(ctx, ticket("updates", schemas.Email))
	if err != nil {
		return err
	}
	u := s.sink.(sinks.Updater)
	before := s.snapshot(ref.ID)
	ch := schemas.Change{Status: new(schemas.StatusPending), Priority: new(schemas.PriorityUrgent), AddTags: []string{"vip"}}
	if err := s.note(u.Update(ctx, ref, ch)); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	once := s.snapshot(ref.ID)
	if s.desk != nil && reflect.DeepEqual(before, once) {
		return errors.New("update: the desk's ticket has not changed")
	}
	if err := s.note(u.Update(ctx, ref, ch)); err != nil {
		return fmt.Errorf("update again: %w", err)
	}
	if twice := s.snapshot(ref.ID); !reflect.DeepEqual(once, twice) {
		return errors.New("update again: the repeat changed the desk's ticket")
	}
	if err := s.note(u.Update(ctx, ref, schemas.Change{})); err != nil {
		return fmt.Errorf("update of nothing: %w", err)
	}
	if after := s.snapshot(ref.ID); !reflect.DeepEqual(once, after) {
		return errors.New("update of nothing: it changed the desk's ticket")
	}
	return nil
}

// snapshot is the fake's ticket, or nothing without a fake.
func (s *stand) snapshot(id string) any {
	if s.desk == nil {
		return nil
	}
	t, _ := s.stored(id) // a missing ticket differs from a stored one
	return t
}

func findsNothing(ctx context.Context, s *stand) error {
	if _, err := s.opened(ctx, ticket("a neighbour", schemas.Email)); err != nil {
		return err
	}
	none := key("nobody ever had this")
	found, err := s.sink.(sinks.Finder).Find(ctx, none)
	if s.note(err) != nil {
		return fmt.Errorf("find: %w", err)
	}
	if slices.ContainsFunc(found, func(c sinks.Candidate) bool { return c.Key == none }) {
		return errors.New("find: an impossible key was found")
	}
	return nil
}
