package console_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// event is one event of a stream.
type event struct{ id, name, data string }

// listen opens the event stream and returns its events as they come.
func (b *browser) listen(path, last string) <-chan event {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	req := b.request(http.MethodGet, path, nil).WithContext(ctx)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	res, err := b.client.Do(req)
	if err != nil {
		cancel()
		b.t.Fatal(err)
	}
	if got, want := res.Header.Get("Content-Type"), "text/event-stream"; got != want {
		b.t.Fatalf("type: got %q want %q", got, want)
	}
	events := make(chan event, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		read(res.Body, events)
	}()
	b.t.Cleanup(func() { cancel(); _ = res.Body.Close(); <-done })
	return events
}

func read(body io.Reader, events chan<- event) {
	var e event
	for lines := bufio.NewScanner(body); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				events <- e
			}
			e = event{}
		}
	}
}

// next returns the next event that has want in its data.
func next(t *testing.T, events <-chan event, want string) event {
	t.Helper()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				t.Fatalf("stream ended before %q", want)
			}
			if strings.Contains(e.data, want) {
				return e
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("nothing with %q came", want)
		}
	}
}

func TestEventsBringRowsAndParts(t *testing.T) {
	t.Parallel()
	s := open(t)
	events := s.as("noor").listen("/events?after=90", "")
	for _, part := range []string{`<p class="verdict" id="verdict">`, `<div class="lanes" id="lanes">`, `<dl class="pipe" id="pipe"`, `id="n-tickets"`, `id="n-dead"`, `id="n-health"`, `id="books-foot"`} {
		if e := next(t, events, part); e.name != "part" {
			t.Errorf("%s: got event %q want part", part, e.name)
		}
	}
	s.ledger.add(ledger.FlowRow{ID: "m-new", At: noon, Channel: "telegram", Requester: "Ada Holm", Preview: "Does  it\nfloat? " + evilText, Outcome: ledger.OutcomeWaiting, Sink: "inbox"})
	e := next(t, events, `<tr id="m-m-new"`)
	if e.name != "row" || e.id != "91" || strings.Contains(e.data, "<script>") {
		t.Errorf("got %+v", e)
	}
	if e := next(t, events, `id="pipe"`); !strings.Contains(e.data, "1,235") {
		t.Errorf("pipe: got %s", e.data)
	}
	s.ledger.add(ledger.FlowRow{ID: "m-new", At: noon, Channel: "telegram", Requester: "Ada Holm", Outcome: ledger.OutcomeFiled, Opened: true, Sink: "inbox", Ticket: schemas.Ref{ID: "1191"}})
	if e := next(t, events, `<tr id="m-m-new"`); !strings.Contains(e.data, "/tickets/inbox/1191") {
		t.Errorf("row: got %s", e.data)
	}
	s.console.Close()
	for e := range events {
		t.Logf("after close: %+v", e)
	}
}

func TestEventsGoOnWhereTheBrowserWas(t *testing.T) {
	t.Parallel()
	s := open(t)
	events := s.as("vera").listen("/events?after=90", "80")
	for _, id := range []string{"m-add", "m-dup", "m-sms"} {
		e := next(t, events, "<tr")
		if !strings.Contains(e.data, `id="m-`+id+`"`) {
			t.Errorf("got %s want %s", e.data, id)
		}
		lacks(t, e.data, "Osprey", "Tobias", "canopy")
	}
}

func TestEventsBeginWithTheNewestWhereNothingWas(t *testing.T) {
	t.Parallel()
	events := open(t).as("noor").listen("/events?channel=website", "")
	for _, id := range []string{"m-drop", "m-dead", "m-wait", "m-evil"} {
		if e := next(t, events, "<tr"); !strings.Contains(e.data, `id="m-`+id+`"`) {
			t.Errorf("got %s want %s", e.data, id)
		}
	}
}
