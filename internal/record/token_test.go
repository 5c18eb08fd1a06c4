package record

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"switchboard/internal/bus"
)

// counting returns tokens under the key 0, 1, 2 … 31.
func counting() Tokens {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	return NewTokens(key)
}

// An id that changes orphans every conversation, ticket and reply of every
// installation: these never change. They were computed by another program.
func TestIDsNeverChange(t *testing.T) {
	t.Parallel()
	k := counting()
	mid, digest := strings.Repeat("a", 26), strings.Repeat("b", 26)
	for _, tt := range []struct{ name, got, want string }{
		{"message", k.Message("twilio-sms/AC0001", "SM0001"), "blrn7ke6ytygf3zuy63rp4fjgy"},
		{"variant", k.Variant(mid, digest), "5szkmzp5lmcnw3cpewlwqrycea"},
		{"conversation", k.Conversation("twilio-sms/AC0001", "+15550100"), "45xboylq7hsisdx7fijqocjxwy"},
		{"ticket", k.Ticket("zendesk-eu", "35436"), "aduqnv7iathixpw6p527k4d5jm"},
		{"reply", k.Reply("zendesk-eu", "90210"), "34tk5pfb6a2rmzmfmmxlmpfhmq"},
		{"sent", k.Sent("twilio-sms/AC0001", "SM0002"), "5uscrnxtwfocaw7kdcfiq2no44"},
		{"derived secret", hex.EncodeToString(k.Derive("channel", "form")), "802c4b8c9aad4c73ef982655e8b1d5ba8f36c458a0025161bb37deae7cbb5ae6"},
		{"ticket key", TicketKey("zendesk-eu", mid), "sb-m4ob4dsyj3bhlmbuwrcx6hadf4"},
		{"comment key", CommentKey("zendesk-eu", mid, 0), "sb-t7q4z4jo7dxlrdz66yrqsys4da"},
		{"comment key of a file", CommentKey("zendesk-eu", mid, 12), "sb-mzp3dgftoxhi4rruz7kal5qjea"},
		{"digest", Digest("decided", "x", "1"), "32d4wsyxcbiv2h2vbygg6chqay"},
		{"letter", LetterID(StageReply, "shop-sms", "r1", 2), "pvz5ld7n2vse4x6hcpo47mrroe"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestTokensAreStableDistinctAndKeyed(t *testing.T) {
	t.Parallel()
	k, other := counting(), NewTokens([]byte("another key of thirty-two bytes!"))
	form := regexp.MustCompile(`^[a-z2-7]{26}$`)
	parts := rapid.SliceOfN(rapid.String(), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if got := k.Token(a...); !form.MatchString(got) || got != counting().Token(a...) || got == other.Token(a...) {
			t.Fatalf("token of %q: got %s", a, got)
		}
		if same := slices.Equal(a, b); (k.Token(a...) == k.Token(b...)) != same || (Digest(a...) == Digest(b...)) != same {
			t.Fatalf("%q and %q share a token or a digest", a, b)
		}
		if !form.MatchString(Digest(a...)) || len(k.Derive(a...)) != 32 {
			t.Fatalf("digest %s, derived %d bytes", Digest(a...), len(k.Derive(a...)))
		}
	})
}

func TestTokensOfDifferentThingsDiffer(t *testing.T) {
	t.Parallel()
	k := counting()
	seen := map[string]string{}
	for name, id := range map[string]string{
		"message": k.Message("x", "y"), "variant": k.Variant("x", "y"), "conversation": k.Conversation("x", "y"),
		"ticket": k.Ticket("x", "y"), "reply": k.Reply("x", "y"), "sent": k.Sent("x", "y"),
		"shifted": k.Message("xy", ""), "shifted back": k.Message("", "xy"),
		"ticket key": TicketKey("x", "y"), "comment key": CommentKey("x", "y", 0), "file key": CommentKey("x", "y", 1),
		"ticket key of another sink": TicketKey("z", "y"), "comment key of another message": CommentKey("x", "z", 0),
		"letter": LetterID("x", "y", "z", 1), "letter of a later version": LetterID("x", "y", "z", 2),
	} {
		if seen[id] != "" {
			t.Errorf("%s and %s are both %s", name, seen[id], id)
		}
		seen[id] = name
		if strings.Contains(name, "key") != strings.HasPrefix(id, "sb-") {
			t.Errorf("%s is %s", name, id)
		}
	}
}

func open(t *testing.T, dir string) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Options{Dir: dir, Durability: bus.OS, Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInstallationsKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	var wg sync.WaitGroup
	got := make([]string, 8)
	for i := range got { // several instances start at once
		wg.Go(func() {
			k, err := OpenTokens(t.Context(), b)
			if err != nil {
				t.Error(err)
			}
			got[i] = k.Token("x")
		})
	}
	wg.Wait()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	k, err := OpenTokens(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range got {
		if token != k.Token("x") {
			t.Errorf("tokens %v, and after a restart %s: the key is not one", got, k.Token("x"))
		}
	}
	fresh := open(t, t.TempDir())
	if f, err := OpenTokens(t.Context(), fresh); err != nil || f.Token("x") == k.Token("x") {
		t.Errorf("two installations have one key, %v", err)
	}
	if err := fresh.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.Bucket(bus.Cursors).Put(t.Context(), "meta.key", []byte("short")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(t.Context(), b); err == nil || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("a damaged key: got %v, want an error rather than a new key", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenTokens(t.Context(), b); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("over a closed bus: got %v", err)
	}
}
