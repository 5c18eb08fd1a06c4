package sinktest

import (
	"context"
	"testing"

	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/sinks"
)

func TestAGoodDeskPasses(t *testing.T) {
	t.Parallel()
	Run(t, toyKind(sinks.Upsert), toyConfig{})
}

func TestAGoodReceiverPasses(t *testing.T) {
	t.Parallel()
	// This receiver keeps a comment per call; its sender's bytes are what is tested.
	Run(t, toyKind(sinks.ReceiverDedup), toyConfig{})
}

// TestEveryFlawIsFound shows that the parts can fail: each flaw of an adapter
// fails the part that is there for it.
func TestEveryFlawIsFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flaw, part string
		class      sinks.Class
	}{
		{"check says yes", "check tells good credentials from refused ones", sinks.Upsert},
		{"no key", "create opens one ticket under its key", sinks.Upsert},
		{"no key", "a lost answer to create leaves one ticket", sinks.Upsert},
		{"no key", "a repeated create sends the same and is the same", sinks.Upsert},
		{"finds none", "create links a follow-up", sinks.Upsert},
		{"finds none", "a lost answer to create leaves one ticket", sinks.StrongLookup},
		{"never done", "a lost answer to create leaves one ticket", sinks.Upsert},
		{"all is lost", "a lost answer to create leaves one ticket", sinks.Upsert},
		{"notes are public", "append adds comments in order", sinks.Upsert},
		{"newest first", "append adds comments in order", sinks.Upsert},
		{"no comment key", "append adds comments in order", sinks.Upsert},
		{"no comment key", "a lost answer to append leaves one comment", sinks.Upsert},
		{"never done", "a lost answer to append leaves one comment", sinks.Upsert},
		{"gone is refused", "append to a ticket that is gone", sinks.Upsert},
		{"loses files", "attach adds a file under its key", sinks.Upsert},
		{"updates pile up", "update sets what is set and a repeat nothing", sinks.Upsert},
		{"finds all", "find knows no impossible key", sinks.Upsert},
		{"changing bodies", "a repeated create sends the same and is the same", sinks.KeyWindow},
		{"changing bodies", "a receiver that deduplicates gets identical bytes", sinks.ReceiverDedup},
		{"all is lost", "answers are judged by their kind", sinks.Upsert},
		{"never done", "answers are judged by their kind", sinks.Upsert},
		{"all is lost", "no connection means not done", sinks.Upsert},
		{"hides the cancellation", "cancellation is prompt and means unknown", sinks.Upsert},
		{"believes all", "deliveries back are proven and read", sinks.Upsert},
		{"believes none", "deliveries back are proven and read", sinks.Upsert},
		{"hears nothing", "deliveries back are proven and read", sinks.Upsert},
		{"renumbers", "deliveries back are proven and read", sinks.Upsert},
		{"forgets its own", "deliveries back are proven and read", sinks.Upsert},
		{"tells its token", "answers are judged by their kind", sinks.Upsert},
		{"tells the text", "answers are judged by their kind", sinks.Upsert},
	} {
		t.Run(tt.flaw+"/"+tt.part, func(t *testing.T) {
			t.Parallel()
			s, err := newStand(t, toyKind(tt.class), toyConfig{Flaw: tt.flaw})
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			if run(t.Context(), t, s, tt.part) == nil && s.leaked() == nil {
				t.Error("the part passes, want an error")
			}
		})
	}
}

// run runs the part called name.
func run(ctx context.Context, t *testing.T, s *stand, name string) error {
	t.Helper()
	for _, p := range parts() {
		if p.name == name {
			if lacks := s.lacks(p.needs); lacks != "" {
				t.Fatalf("part %q is skipped: the toy has no %s", name, lacks)
			}
			return p.run(ctx, s)
		}
	}
	t.Fatalf("there is no part %q", name)
	return nil
}

func TestAKindWithoutAFakeIsTestedByItsOwnLookups(t *testing.T) {
	t.Parallel()
	s, err := newStand(t, toyKind(sinks.Upsert), toyConfig{})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	s.desk = nil
	for _, p := range parts() {
		if s.lacks(p.needs) != "" {
			continue
		}
		if err := p.run(t.Context(), s); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}

func TestSettingsMustExist(t *testing.T) {
	t.Parallel()
	type config struct {
		URL   string        `yaml:"url"`
		Token secret.Secret `yaml:"token"`
		Size  int           `yaml:"size"`
	}
	got, err := settle(config{}, map[string]string{"url": "https://desk.example", "token": "a-token"})
	if err != nil || got.URL != "https://desk.example" || !got.Token.Equal("a-token") {
		t.Errorf("settle: got %v, %v", got, err)
	}
	for _, name := range []string{"base", "size"} {
		if _, err := settle(config{}, map[string]string{name: "1"}); err == nil {
			t.Errorf("settle of %s: got no error", name)
		}
	}
}

var _ sandbox.Desk = (*toyDesk)(nil)
