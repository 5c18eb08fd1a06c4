package console_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"switchboard/schemas"
)

func TestAnswerGoesOutOnceAndShows(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	form := regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(b.page("/tickets/inbox/1190"))
	if form == nil {
		t.Fatal("no form")
	}
	res, _ := b.post("/tickets/inbox/1190/answer", "form", form[1], "as", "public", "text", "It flies\r\ntomorrow.", "status", "pending")
	if got, want := res.Header.Get("Location"), "/tickets/inbox/1190?done=answered#end"; res.StatusCode != http.StatusSeeOther || got != want {
		t.Fatalf("got %d to %q want 303 to %q", res.StatusCode, got, want)
	}
	wants(t, b.page("/tickets/inbox/1190?done=answered"), "It flies\ntomorrow.", "on its way", "Your answer is on the ticket.")
	res, _ = b.post("/tickets/inbox/1190/answer", "form", form[1], "as", "public", "text", "It flies\r\ntomorrow.")
	if got, want := res.Header.Get("Location"), "/tickets/inbox/1190?done=twice"; got != want {
		t.Errorf("sent twice: got %q want %q", got, want)
	}
	want := []string{"answer inbox 1190 public It flies\ntomorrow.", "update inbox 1190 status=pending"}
	if got := s.actions.log(); !slices.Equal(got, want) {
		t.Errorf("got %q want %q", got, want)
	}
	if got, want := s.actions.actors[0], (schemas.Actor{Name: "noor", Role: "agent", Source: "console"}); got != want {
		t.Errorf("actor: got %v want %v", got, want)
	}
	if !slices.Equal(s.ledger.waited, []uint64{1002}) {
		t.Errorf("waited for %v, want the last event only", s.ledger.waited)
	}
}

func TestNoteStaysInside(t *testing.T) {
	t.Parallel()
	s := open(t)
	res, _ := s.as("noor").post("/tickets/inbox/1190/answer", "as", "internal", "text", "ask the depot")
	if res.StatusCode != http.StatusSeeOther || !slices.Equal(s.actions.log(), []string{"answer inbox 1190 internal ask the depot"}) {
		t.Errorf("got %d and %q", res.StatusCode, s.actions.log())
	}
}

func TestAnswersThatCannotBeSentComeBackWithTheirText(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	for _, c := range []struct {
		name, text string
		status     int
		says       string
	}{
		{"empty", " \n ", http.StatusUnprocessableEntity, "There is no text yet."},
		{"long", strings.Repeat("ö", 20_001), http.StatusUnprocessableEntity, "longer than 20,000 characters"},
		{"huge", strings.Repeat("x", 300<<10), http.StatusRequestEntityTooLarge, "larger than 256 KB"},
	} {
		res, body := b.post("/tickets/inbox/1190/answer", "text", c.text)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d want %d", c.name, res.StatusCode, c.status)
		}
		wants(t, body, c.says)
	}
	s.actions.fails = errBroken
	res, body := b.post("/tickets/inbox/1190/answer", "text", "keep these words", "as", "internal", "form", "f1")
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("broken: got %d want 503", res.StatusCode)
	}
	wants(t, body, "It was not sent.", "keep these words", `value="internal" checked`)
	lacks(t, s.log.String(), "keep these words")
	s.actions.fails = nil
	if res, _ := b.post("/tickets/inbox/1190/answer", "text", "keep these words", "form", "f1"); res.Header.Get("Location") != "/tickets/inbox/1190?done=answered#end" {
		t.Errorf("again: got %q", res.Header.Get("Location"))
	}
}

func TestOnlyTicketsOfOursAreAnswered(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	for _, path := range []string{"/tickets/zendesk-eu/48212/answer", "/tickets/inbox/900/answer", "/tickets/inbox/900/update"} {
		if res, _ := b.post(path, "text", "hello", "status", "open"); res.StatusCode != http.StatusConflict {
			t.Errorf("%s: got %d want 409", path, res.StatusCode)
		}
	}
	if res, _ := b.post("/tickets/inbox/1190/answer", "text", "hello", "status", "closed"); res.StatusCode != http.StatusBadRequest {
		t.Errorf("status closed: got %d want 400", res.StatusCode)
	}
	if got := s.actions.log(); len(got) > 0 {
		t.Errorf("done: %q", got)
	}
}

func TestUpdateChangesWhatDiffers(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	b.post("/tickets/inbox/1190/update", "status", "open", "assignee", "noor")
	b.post("/tickets/inbox/1190/update", "status", "solved")
	b.post("/tickets/inbox/1190/update", "assignee", "")
	want := []string{"update inbox 1190 status=solved", "update inbox 1190 assignee="}
	if got := s.actions.log(); !slices.Equal(got, want) {
		t.Errorf("got %q want %q", got, want)
	}
	s.actions.fails = errBroken
	if res, _ := b.post("/tickets/inbox/1190/update", "status", "solved"); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("broken: got %d want 500", res.StatusCode)
	}
}

func TestDeadLettersAreRetriedAndClosed(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	if res, body := b.post("/dead/dead-2/dismiss", "reason", " "); res.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body, "Say in 3 to 500 characters") {
		t.Errorf("no reason: got %d", res.StatusCode)
	}
	if res, _ := b.post("/dead/dead-2/dismiss", "reason", "a test of theirs", "form", "p"); res.Header.Get("Location") != "/dead/dead-2?done=dismissed" {
		t.Errorf("dismiss: got %q", res.Header.Get("Location"))
	}
	wants(t, b.page("/dead/dead-2?done=dismissed"), "Closed by noor at 12:00", "Closed with your reason", "Read it again")
	b.post("/dead/dead-1/retry", "form", "p")
	if res, _ := b.post("/dead/dead-1/retry", "form", "p"); res.StatusCode != http.StatusConflict {
		t.Errorf("retry of what is on its way: got %d want 409", res.StatusCode)
	}
	if res, _ := b.post("/dead/none/retry"); res.StatusCode != http.StatusNotFound {
		t.Errorf("retry of nothing: got %d want 404", res.StatusCode)
	}
	want := []string{"dismiss dead-2 a test of theirs", "retry dead-1"}
	if got := s.actions.log(); !slices.Equal(got, want) {
		t.Errorf("got %q want %q", got, want)
	}
	wants(t, b.page("/dead"), "No dead letters.")
}

func TestRetryThatFailsCanBeSentAgain(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	s.actions.fails = errBroken
	if res, _ := b.post("/dead/dead-1/retry", "form", "p"); res.StatusCode != http.StatusInternalServerError {
		t.Errorf("got %d want 500", res.StatusCode)
	}
	s.actions.fails = nil
	if res, _ := b.post("/dead/dead-1/retry", "form", "p"); res.Header.Get("Location") != "/dead/dead-1?done=retried" {
		t.Errorf("got %q", res.Header.Get("Location"))
	}
}
