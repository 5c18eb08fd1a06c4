package delivery

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// made is what a message becomes on a desk with these traits.
func made(m schemas.Message, d schemas.Decision, s *sinks.Opened) (*turn, schemas.Ticket) {
	s.Name = "desk"
	k := &desk{s: s}
	k.o.FileURL = func(mid string, n int) string { return "https://files.example/" + mid + "/" + string(rune('0'+n)) }
	t := &turn{k: k, mid: "m1", job: record.Job{Message: m, Decision: d}}
	return t, t.ticket(&record.Doing{Op: opCreate, Key: "sb-x"})
}

func TestTextsFitTheDesk(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]schemas.Message{
		"long":            {Text: strings.Repeat("Wörter 🛩 ", 5000), Subject: strings.Repeat("s", 500)},
		"long, with much": {Text: strings.Repeat("x", 5000), Fields: slices.Repeat([]schemas.Field{{Name: "order", Value: strings.Repeat("9", 90)}}, 50)},
		"fields alone":    {Fields: slices.Repeat([]schemas.Field{{Name: "order", Value: strings.Repeat("9", 90)}}, 50)},
		"exactly":         {Text: strings.Repeat("x", 300)},
	} {
		_, got := made(m, schemas.Decision{}, &sinks.Opened{Traits: sinks.Traits[any]{MaxText: 300, MaxSubject: 50}})
		if n := utf8.RuneCountInString(got.Text); n > 300 || !utf8.ValidString(got.Text) {
			t.Errorf("%s: the text has %d characters, want at most 300", name, n)
		}
		if n := utf8.RuneCountInString(got.Subject); n > 50 || n == 0 {
			t.Errorf("%s: the subject has %d characters, want 1 to 50", name, n)
		}
		if cutOff := name != "exactly"; cutOff != strings.Contains(got.Text, "[cut:") {
			t.Errorf("%s: it says that it was cut: %t, want %t", name, !cutOff, cutOff)
		}
	}
}

func TestATicketSaysWhatTheCustomerCouldNot(t *testing.T) {
	t.Parallel()
	m := schemas.Message{
		Text: "see files\n\n", Edits: "6", Fields: []schemas.Field{{Name: "Order", Value: "1234"}}, Degraded: []string{"the date is odd"},
		Attachments: []schemas.Attachment{
			{Name: "gone.jpg", Missing: "it was deleted"},
			{Name: "big.mov", Size: 5000, Blob: "b"},
			{Size: 10, Blob: "c"},
		},
	}
	_, got := made(m, schemas.Decision{}, &sinks.Opened{Traits: sinks.Traits[any]{MaxFile: 1000}})
	for _, want := range []string{
		"see files\n\n--\n", "edited an earlier message", "Order: 1234", `"gone.jpg" is missing: it was deleted`,
		`"big.mov", 5000 bytes https://files.example/m1/1`, `"file-3", 10 bytes https://files.example/m1/2`, "Note: the date is odd",
	} {
		if !strings.Contains(got.Text, want) {
			t.Errorf("the text does not say %q:\n%s", want, got.Text)
		}
	}
}

func TestATicketIsNeverAnonymousOrEmpty(t *testing.T) {
	t.Parallel()
	_, got := made(schemas.Message{Kind: "form", Channel: "website", Conversation: "visitor-7"}, schemas.Decision{}, &sinks.Opened{})
	if got.Text != "(no text)" || got.Subject != "Message from unknown by website" || got.Priority != schemas.PriorityNormal {
		t.Errorf("got %+v", got)
	}
	if len(got.Requester.Identities) != 1 || got.Requester.Identities[0].Value != "visitor-7" || got.Requester.Name == "" {
		t.Errorf("S-17: got requester %+v", got.Requester)
	}
	_, got = made(schemas.Message{Text: strings.Repeat("first words ", 20)}, schemas.Decision{Priority: schemas.PriorityUrgent}, &sinks.Opened{})
	if !strings.HasPrefix(got.Subject, "first words") || utf8.RuneCountInString(got.Subject) > 80 || got.Priority != schemas.PriorityUrgent {
		t.Errorf("got %q, %s", got.Subject, got.Priority)
	}
}

func TestTagsStayWithinTheDesksNumber(t *testing.T) {
	t.Parallel()
	d := schemas.Decision{Tags: []string{"a", "b", "c"}}
	_, got := made(schemas.Message{}, d, &sinks.Opened{Traits: sinks.Traits[any]{MaxTags: 2}})
	if len(got.Tags) != 2 || len(d.Tags) != 3 {
		t.Errorf("got %q of %q", got.Tags, d.Tags)
	}
}

func TestOnlyStoredFilesThatFitAreSent(t *testing.T) {
	t.Parallel()
	m := schemas.Message{Attachments: []schemas.Attachment{{Name: "a", Blob: "1", Size: 10}, {Name: "b", Missing: "no"}, {Name: "c", Blob: "3", Size: 10_000}, {Name: "d"}}}
	turn, _ := made(m, schemas.Decision{}, &sinks.Opened{Traits: sinks.Traits[any]{MaxFile: 100, Create: sinks.ReceiverDedup}})
	if got := turn.files(); len(got) != 1 || got[0].Name != "a" || got[0].Key != record.CommentKey("desk", "m1", 1) {
		t.Errorf("got %+v, want the one that fits, under its part's key", got)
	}
	for _, part := range []int{0, 2, 3, 4, 5} {
		if _, ok := turn.attachment(part); ok {
			t.Errorf("part %d is a file", part)
		}
	}
}
