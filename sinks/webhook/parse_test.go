package webhook

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
)

func TestParse(t *testing.T) {
	t.Parallel()
	ref := schemas.Ref{ID: "R-1"}
	when := time.Date(2026, 4, 7, 11, 0, 0, 0, time.UTC)
	agent := schemas.Author{Role: schemas.ByAgent, Name: "Mira"}
	for _, c := range []struct {
		name, body string
		want       sinks.Changes
		permanent  bool
	}{
		{
			name: "comment and status", body: `{"remote_id":"R-1","external_key":"sb-1","status":"pending","comment":{"id":"C-1","author":"Mira","body":"On its way.","public":true},"occurred_at":"2026-04-07T13:00:00+02:00"}`,
			want: sinks.Changes{
				Comments: []sinks.TicketComment{{Ticket: ref, Comment: schemas.Comment{ID: "C-1", Author: agent, Visibility: schemas.Public, Text: "On its way.", At: when}}},
				Tickets:  []sinks.TicketChange{{Ticket: ref, Change: schemas.Change{Status: new(schemas.StatusPending)}, At: when}},
			},
		},
		{
			name: "note of ours, without id and time", body: `{"external_key":"R-1","comment":{"key":"sb-2","author":"Mira","body":"x"}}`,
			want: sinks.Changes{Comments: []sinks.TicketComment{{Ticket: ref, Comment: schemas.Comment{ID: "msg_1", Key: "sb-2", Author: agent, Visibility: schemas.Internal, Text: "x", At: sentAt}}}},
		},
		{name: "unknown status", body: `{"remote_id":"R-1","status":"eaten"}`, want: sinks.Changes{Ignored: "neither a comment nor a known status"}},
		{name: "no ticket", body: `{"status":"open"}`, permanent: true},
		{name: "not JSON", body: `<x>`, permanent: true},
		{name: "wrong type", body: `{"remote_id":7}`, permanent: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, _ := opened(t, Config{}, &answering{})
			got, err := s.(sinks.Source).Parse(hook.Delivery{Body: []byte(c.body), ReceivedAt: sentAt, Header: http.Header{"Webhook-Id": {"msg_1"}}})
			if fault.IsPermanent(err) != c.permanent {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	s, _ := opened(t, Config{}, &answering{})
	if _, err := s.(sinks.Source).Parse(hook.Delivery{Body: []byte(`{"remote_id":"R-1","comment":{"body":"x"}}`)}); !fault.IsPermanent(err) {
		t.Errorf("a comment without any id: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"remote_id":"R-1","status":"open","comment":{"id":"1","body":"x","public":true},"occurred_at":"2026-04-07T11:00:00Z"}`))
	f.Add([]byte(`{"external_key":"sb-1","comment":null}`))
	f.Add([]byte(`[]`))
	f.Add([]byte("\x00"))
	s := &sink{}
	f.Fuzz(func(t *testing.T, body []byte) {
		d := hook.Delivery{Body: body, ReceivedAt: sentAt, Header: http.Header{"Webhook-Id": {"msg_1"}}}
		got, err := s.Parse(d)
		again, err2 := s.Parse(d)
		if (err == nil) != (err2 == nil) || !cmp.Equal(got, again) {
			t.Fatal("two answers for one delivery")
		}
		if err != nil {
			if !fault.IsPermanent(err) {
				t.Fatalf("%v: trying again cannot help", err)
			}
			return
		}
		if len(got.Comments)+len(got.Tickets) == 0 && got.Ignored == "" {
			t.Fatal("nothing, and no reason")
		}
		for _, c := range got.Comments {
			if c.Ticket.ID == "" || c.Comment.ID == "" {
				t.Fatalf("comment without ids: %+v", c)
			}
		}
	})
}
