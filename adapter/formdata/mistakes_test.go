package formdata

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

func TestWrongNamesEveryMistake(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		known    map[string]string
		required []string
		want     Mistakes
	}{
		{"complete", map[string]string{"message": "hi", "email": "a@b.example"}, []string{"email"}, nil},
		{"nothing", nil, []string{"subject", "email"}, Mistakes{{"message", "missing"}, {"email", "missing"}, {"subject", "missing"}}},
		{"no address", map[string]string{"message": "hi", "email": "a@b"}, []string{"email"}, Mistakes{{"email", "not_an_address"}}},
		{"no address, which nobody needs", map[string]string{"message": "hi", "email": "a@b"}, nil, nil},
		{"blank", map[string]string{"message": " \n"}, nil, Mistakes{{"message", "missing"}}},
	} {
		got := Answers{Known: row.known}.Wrong(row.required)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", row.name, diff)
		}
		if m := got.Of("phone"); m != nil {
			t.Errorf("%s: the phone is wrong: %+v", row.name, m)
		}
		if len(got) > 0 && *got.Of(got[0].Field) != got[0] {
			t.Errorf("%s: got %+v of %s", row.name, got.Of(got[0].Field), got[0].Field)
		}
	}
}

func TestNamesCheck(t *testing.T) {
	t.Parallel()
	if errs := (Names{}).Check([]string{"email", "shoe_size", "hat"}); len(errs) != 2 {
		t.Errorf("got %v, want two", errs)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]int{"image/png": http.StatusUnsupportedMediaType, "application/json": http.StatusBadRequest} {
		_, err := Read(kind, []byte("{"), "message")
		if status, why := Unreadable(err); status != want || why.Reason == "" {
			t.Errorf("%s: status %d, %+v, want %d", kind, status, why, want)
		}
	}
}

func TestSumIsOfContentAndTenMinutes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 4, 7, 9, 31, 0, 0, time.UTC)
	one := &Form{Fields: []schemas.Field{{Name: "message", Value: "hi"}}, Files: []schemas.Attachment{{Name: "a", Data: []byte("x")}}}
	two := &Form{Fields: one.Fields, Files: []schemas.Attachment{{Name: "a", Data: []byte("y")}}}
	if !bytes.Equal(one.Sum(at), one.Sum(at.Add(8*time.Minute))) {
		t.Error("a double click has another sum")
	}
	if bytes.Equal(one.Sum(at), one.Sum(at.Add(9*time.Minute))) || bytes.Equal(one.Sum(at), two.Sum(at)) {
		t.Error("another time or another file has the same sum")
	}
}

func TestPathsReadADocument(t *testing.T) {
	t.Parallel()
	p := Paths{
		ID: "nr", Conversation: "thread", Text: "parts.1", Subject: "title", Name: "who.0", Email: "who.1", Phone: "who.2", SentAt: "ts", Attachments: "files",
	}
	d := p.Read(json.RawMessage(`{"nr":7,"thread":"t","parts":["no","In\u0007 stock?"],"title":"Petrel\nkit","who":["Ines","ines@falk.example","+4915510000017"],
		"ts":"2026-03-14T10:20:00+01:00","tier":"gold","files":[{"name":"a.txt","data":"aGk="},{"name":"lost"}]}`), "", "tier", "nowhere")
	m := d.Message(d.ID, d.Answers)
	want := schemas.Message{
		VendorID: "7", Conversation: "7", Subject: "Petrel kit", Text: "In stock?", Fields: []schemas.Field{{Name: "tier", Value: "gold"}},
		Requester: schemas.Requester{Name: "Ines", Identities: []schemas.Identity{
			{Kind: schemas.Email, Value: "ines@falk.example", Evidence: schemas.Asserted},
			{Kind: schemas.Phone, Value: "+4915510000017", Evidence: schemas.Asserted},
		}},
		Attachments: []schemas.Attachment{{Name: "a.txt", Size: 2, Data: []byte("hi")}},
		Degraded: []string{
			"control characters were removed", "line breaks in a field of one line became spaces", "an attachment has neither data nor an address: lost",
		},
	}
	if diff := cmp.Diff(want, m); diff != "" || d.Conversation != "t" || d.SentAt.Unix() != 1773480000 {
		t.Errorf("conversation %q, sent at %s (-want +got):\n%s", d.Conversation, d.SentAt, diff)
	}
}

func TestPathsTimeOfTheSender(t *testing.T) {
	t.Parallel()
	p := Paths{SentAt: "ts"}
	if d := p.Read(json.RawMessage(`{}`), "2026-03-14T09:20:00Z"); d.SentAt.Unix() != 1773480000 || len(d.Degraded) != 0 {
		t.Errorf("got %s, %q", d.SentAt, d.Degraded)
	}
	if d := p.Read(json.RawMessage(`{"ts":"soon"}`), "2026-03-14T09:20:00Z"); !d.SentAt.IsZero() || len(d.Degraded) != 1 {
		t.Errorf("got %s, %q, want a note", d.SentAt, d.Degraded)
	}
}
