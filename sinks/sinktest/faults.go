package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/sandbox"
	"switchboard/schemas"
	"switchboard/sinks"
)

// losses are the ways in which the answer to a write that was done is lost.
func losses() map[string]spoiled {
	return map[string]spoiled{"cut off": {lost: true}, "500 after": {broken: true}}
}

// createLost loses the answer to each request that a create makes, one after
// the other, and recovers as the host does.
func createLost(ctx context.Context, s *stand) error {
	for _, kind := range []schemas.IdentityKind{schemas.Email, schemas.Phone} {
		n, err := s.length(func() error {
			_, err := s.opened(ctx, ticket("measure-"+string(kind), kind))
			return err
		})
		if err != nil {
			return err
		}
		for name, loss := range losses() {
			for i := range n {
				t := ticket(fmt.Sprintf("lost-%s-%s-%d", kind, name[:3], i), kind)
				s.gate.arm(only(i, loss))
				_, err := s.create(ctx, t)
				if err := s.verdict(ctx, t.Key, err); err != nil {
					return fmt.Errorf("create, answer %d of %d %s: %w", i+1, n, name, err)
				}
				s.gate.arm(nil)
				if err := s.recovered(ctx, t, err); err != nil {
					return fmt.Errorf("create, answer %d of %d %s: %w", i+1, n, name, err)
				}
			}
		}
	}
	return s.dialled(ctx)
}

// length counts the requests of one undisturbed call.
func (s *stand) length(call func() error) (int, error) {
	s.gate.arm(nil)
	err := call()
	return len(s.gate.requests()), err
}

// verdict compares what the sink says with what the desk did.
func (s *stand) verdict(ctx context.Context, key string, err error) error {
	ids, lookup := s.tickets(ctx, key)
	switch {
	case lookup != nil:
		return lookup
	case err == nil && len(ids) != 1:
		return fmt.Errorf("create says yes, the desk has %d tickets", len(ids))
	case fault.IsNotDone(err) && len(ids) > 0:
		return fmt.Errorf("create says not done, the desk has the ticket: %w", err)
	}
	return nil
}

// recovered does as the host after an unknown outcome (protocol §6) and counts.
func (s *stand) recovered(ctx context.Context, t schemas.Ticket, err error) error {
	finder, _ := s.sink.(sinks.Finder)
	var ref schemas.Ref
	for attempt := 0; attempt < 4 && (err != nil || ref.ID == ""); attempt++ {
		if finder != nil && s.traits.Create != sinks.KeyWindow || attempt > 0 && finder != nil {
			found, ferr := finder.Find(ctx, t.Key)
			if s.note(ferr) != nil {
				return fmt.Errorf("find: %w", ferr)
			}
			for _, c := range found {
				if c.Key == t.Key && ref.ID == "" {
					ref, err = c.Ref, nil
				}
			}
			if ref.ID != "" {
				break
			}
		}
		ref, err = s.create(ctx, t)
	}
	if err != nil {
		return fmt.Errorf("repeat: %w", err)
	}
	if finder != nil {
		found, err := finder.Find(ctx, t.Key)
		if s.note(err) != nil {
			return fmt.Errorf("find: %w", err)
		}
		if !slices.ContainsFunc(found, func(c sinks.Candidate) bool { return c.Key == t.Key && c.Ref.ID == ref.ID }) {
			return fmt.Errorf("find does not know ticket %s under its key", ref.ID)
		}
	}
	return s.exactly(ctx, t.Key, ref.ID)
}

// dialled is the same with the sandbox's dials, as people turn them.
func (s *stand) dialled(ctx context.Context) error {
	for name, d := range map[string]sandbox.Dials{
		"error-after": {ErrorAfter: 1}, "drop-after": {DropAfter: 1}, "drop-before": {DropBefore: 1}, "error-before": {ErrorBefore: 1},
	} {
		t := ticket("dial-"+name, schemas.Email)
		s.gate.board.Set(d)
		_, err := s.create(ctx, t)
		if err == nil {
			return fmt.Errorf("create under %s: got no error", name)
		}
		if e := unknown(err); e != nil {
			return fmt.Errorf("create under %s: %w", name, e)
		}
		s.gate.board.Set(sandbox.Dials{})
		if err := s.recovered(ctx, t, err); err != nil {
			return fmt.Errorf("create under %s: %w", name, err)
		}
	}
	return nil
}

func appendLost(ctx context.Context, s *stand) error {
	return s.entryLost(ctx, "append", func(ref schemas.Ref, name string) (string, error) {
		c := comment(name, by(person(name, schemas.Email)), schemas.Public)
		_, err := s.append(ctx, ref, c)
		return c.Key, err
	})
}

func attachLost(ctx context.Context, s *stand) error {
	return s.entryLost(ctx, "attach", func(ref schemas.Ref, name string) (string, error) {
		f := file(name)
		_, err := s.attach(ctx, ref, f)
		return f.Key, err
	})
}

// entryLost loses the answer to each request of a write on a ticket. write
// returns the key it used.
func (s *stand) entryLost(ctx context.Context, op string, write func(ref schemas.Ref, name string) (string, error)) error {
	ref, err := s.opened(ctx, ticket(op+"-lost", schemas.Email))
	if err != nil {
		return err
	}
	n, err := s.length(func() error { _, err := write(ref, op+"-measure"); return err })
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	for name, loss := range losses() {
		for i := range n {
			what := fmt.Sprintf("%s-%s-%d", op, name[:3], i)
			s.gate.arm(only(i, loss))
			key, err := write(ref, what)
			s.gate.arm(nil)
			count, lookup := s.entries(ctx, ref, key)
			if lookup != nil {
				return lookup
			}
			if err != nil && fault.IsNotDone(err) && count > 0 {
				return fmt.Errorf("%s, answer %d of %d %s: says not done, the desk has it: %w", op, i+1, n, name, err)
			}
			if count == 0 {
				if err == nil {
					return fmt.Errorf("%s, answer %d of %d %s: says yes, the desk has nothing", op, i+1, n, name)
				}
				if _, err := write(ref, what); err != nil {
					return fmt.Errorf("repeat %s: %w", op, err)
				}
			}
			if err := s.once(ctx, ref, key); err != nil {
				return fmt.Errorf("%s, answer %d of %d %s: %w", op, i+1, n, name, err)
			}
		}
	}
	return nil
}

// entries counts the entries of a ticket that carry key.
func (s *stand) entries(ctx context.Context, ref schemas.Ref, key string) (int, error) {
	all, err := s.sink.(sinks.Threader).Thread(ctx, ref)
	if s.note(err) != nil {
		return 0, fmt.Errorf("thread: %w", err)
	}
	n := 0
	for _, c := range all {
		if c.Key == key {
			n++
		}
	}
	return n, nil
}

// once wants one entry under key.
func (s *stand) once(ctx context.Context, ref schemas.Ref, key string) error {
	n, err := s.entries(ctx, ref, key)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d entries carry the key, want 1", n)
	}
	return err
}

// repeats holds for the classes whose create may be repeated without looking.
func repeats(ctx context.Context, s *stand) error {
	if s.traits.Create != sinks.Upsert && s.traits.Create != sinks.KeyWindow {
		return nil // such a desk would make a second ticket; the host looks first
	}
	t := ticket("repeats", schemas.Phone)
	s.gate.arm(nil)
	first, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	one := s.gate.requests()
	// A new process knows nothing of the first: no token, no cache.
	if s.sink, err = s.kind.Open(s.cfg, s.env); err != nil {
		return err
	}
	if err := s.note(s.sink.Check(ctx)); err != nil {
		return err
	}
	s.gate.arm(nil)
	second, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	if first.ID != second.ID {
		return fmt.Errorf("repeat: got ticket %s, want %s", second.ID, first.ID)
	}
	two := s.gate.requests()
	if a, b := one[len(one)-1], two[len(two)-1]; !bytes.Equal(a.body, b.body) {
		return errors.New("repeat: the body is not the same to the byte")
	}
	return s.exactly(ctx, t.Key, first.ID)
}

func identical(ctx context.Context, s *stand) error {
	for _, unwanted := range []reflect.Type{
		reflect.TypeFor[sinks.Finder](), reflect.TypeFor[sinks.Threader](), reflect.TypeFor[sinks.Updater](),
	} {
		if reflect.TypeOf(s.sink).Implements(unwanted) {
			return fmt.Errorf("a desk whose receiver deduplicates has a %s", unwanted.Name())
		}
	}
	t := ticket("identical", schemas.Email)
	t.Files = []schemas.File{file("identical")}
	s.gate.arm(nil)
	ref, err := s.opened(ctx, t)
	if err != nil {
		return err
	}
	if _, err := s.opened(ctx, t); err != nil {
		return err
	}
	c := comment("identical", by(t.Requester), schemas.Public)
	for range 2 {
		if _, err := s.append(ctx, ref, c); err != nil {
			return fmt.Errorf("append: %w", err)
		}
	}
	all := s.gate.requests()
	if len(all)%4 != 0 || len(all) == 0 {
		return fmt.Errorf("two creates and two appends made %d requests", len(all))
	}
	n := len(all) / 4
	for i, r := range append(all[:n:n], all[2*n:3*n]...) {
		again := all[n+i]
		if i >= n {
			again = all[2*n+i]
		}
		if r.method != again.method || r.url != again.url || !bytes.Equal(r.body, again.body) {
			return fmt.Errorf("request %d and its repeat differ", i+1)
		}
	}
	ids, err := s.tickets(ctx, t.Key)
	if err == nil && len(ids) != 1 {
		err = fmt.Errorf("the receiver has %d tickets, want 1", len(ids))
	}
	return err
}

// judges answers every write with one status and asks what the sink makes of it.
func judges(ctx context.Context, s *stand) error {
	ref, err := s.opened(ctx, ticket("judges", schemas.Email))
	if err != nil {
		return err
	}
	for _, one := range []struct {
		status int
		right  func(error) bool
		want   string
	}{
		{401, fault.IsAuth, "auth"},
		{403, fault.IsAuth, "auth"},
		{408, isPlain, "plain"},
		{409, isPlain, "plain"},
		{500, isPlain, "plain"},
		{502, isPlain, "plain"},
		{503, isPlain, "plain"},
		{422, fault.IsPermanent, "permanent"},
		{429, isSlowDown, "not done, after 7s"},
	} {
		s.gate.arm(nil)
		// A vendor that said 429 is left alone for a while by a sink with a pacer.
		if s.sink, err = s.kind.Open(s.cfg, s.env); err != nil {
			return err
		}
		if err := s.note(s.sink.Check(ctx)); err != nil {
			return err
		}
		s.gate.arm(every(spoiled{status: one.status}))
		_, err := s.create(ctx, ticket("judged", schemas.Email))
		if !one.right(err) {
			return fmt.Errorf("create answered %d: got %w, want %s", one.status, got(err), one.want)
		}
		_, err = s.append(ctx, ref, comment("judged", by(person("judges", schemas.Email)), schemas.Public))
		if !one.right(err) {
			return fmt.Errorf("append answered %d: got %w, want %s", one.status, got(err), one.want)
		}
	}
	return nil
}

func isPlain(err error) bool { return err != nil && unknown(err) == nil }

func isSlowDown(err error) bool {
	d, ok := fault.After(err)
	return ok && d > 0 && d <= 7*time.Second && fault.IsNotDone(err) && !fault.IsPermanent(err) && !fault.IsAuth(err)
}

func unreachable(ctx context.Context, s *stand) error {
	server := httptest.NewServer(s.gate)
	base := server.URL
	server.Close()
	cfg, err := resettle(s.cfg, s.desk.Settings(base))
	if err != nil {
		return err
	}
	if s.sink, err = s.kind.Open(cfg, s.env); err != nil {
		return err
	}
	_, err = s.create(ctx, ticket("unreachable", schemas.Email))
	if !fault.IsNotDone(err) || fault.IsPermanent(err) || fault.IsAuth(err) {
		return fmt.Errorf("create without a connection: got %w, want not done", got(err))
	}
	return nil
}

// resettle is settle for a configuration whose type is known at run time only.
func resettle(cfg any, settings map[string]string) (any, error) {
	p := reflect.New(reflect.TypeOf(cfg))
	p.Elem().Set(reflect.ValueOf(cfg))
	err := point(p.Elem(), settings)
	return p.Elem().Interface(), err
}

func cancelled(ctx context.Context, s *stand) error {
	if err := s.note(s.sink.Check(ctx)); err != nil {
		return err
	}
	s.gate.arm(every(spoiled{hold: true}))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := s.create(ctx, ticket("cancelled", schemas.Email))
		done <- err
	}()
	select {
	case <-s.gate.held:
	case err := <-done:
		return fmt.Errorf("create returned before it was cancelled: %w", err)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("create cancelled under way: got %w, want context.Canceled", got(err))
		}
		return unknown(err)
	case <-time.After(20 * time.Second):
		return errors.New("create did not return after its context ended")
	}
}
