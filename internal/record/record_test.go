package record

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"switchboard/internal/bus"
	"switchboard/schemas"
)

// stored is a record as its reader gets it.
func stored(r bus.Record) *bus.Msg {
	return &bus.Msg{Subject: r.Subject, Header: r.Header, Data: r.Data}
}

func TestJobRoundTrip(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 9, 30, 0, 123, time.UTC)
	want := Job{
		Schema: schemas.Version, Conv: "conv", Delivery: 7, Version: 1,
		Message: schemas.Message{ID: "mid", Channel: "shop-sms", Text: "Where is my <glider> & \u2028 kit?", SentAt: at},
		Class:   schemas.Classification{Urgency: schemas.UrgencyCritical}, Decision: schemas.Decision{Sink: "desk"},
	}
	r, err := want.Encode("00-trace-01")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[Job](r.Data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	m := stored(r)
	band, channel := JobRank(m)
	if r.Subject != "jobs.desk.conv" || band != 3 || channel != "shop-sms" || JobMessage(m) != "mid" || Trace(m) != "00-trace-01" || IsForget(m) {
		t.Errorf("got %s, band %d, channel %s, headers %v", r.Subject, band, channel, r.Header)
	}
	if r.Header[hKind] != "message" || r.Header[hVersion] != "1" || r.Header[hGroup] != "" {
		t.Errorf("headers: got %v", r.Header)
	}
	want.Version, want.Message.Group = 2, "album"
	if r, err = want.Encode(""); err != nil {
		t.Fatal(err)
	}
	if _, traced := r.Header[hTrace]; r.Header[hKind] != "retry" || r.Header[hVersion] != "2" || r.Header[hGroup] != "album" || traced {
		t.Errorf("headers of a retry: got %v", r.Header)
	}
}

func TestJobRankWithoutHeadersIsOrdinary(t *testing.T) {
	t.Parallel()
	for _, h := range []map[string]string{nil, {hBand: ""}, {hBand: "high"}} {
		if band, channel := JobRank(&bus.Msg{Header: h}); band != 1 || channel != "" {
			t.Errorf("%v: got band %d of channel %q", h, band, channel)
		}
	}
}

func TestForgetRecordIsInItsLane(t *testing.T) {
	t.Parallel()
	m := stored(ForgetRecord("desk", "conv"))
	if band, _ := JobRank(m); !IsForget(m) || m.Subject != JobSubject("desk", "conv") || band != 3 {
		t.Errorf("got %+v", m)
	}
}

func TestReplyAndLetterRoundTrip(t *testing.T) {
	t.Parallel()
	job := ReplyJob{Schema: schemas.Version, ID: "rid", Again: 2, Reply: schemas.Reply{Key: "sb-k", Text: "It ships today."}}
	r, err := job.Encode("shop-sms", "conv")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[ReplyJob](r.Data)
	if err != nil || r.Subject != "replies.shop-sms.conv" || JobMessage(stored(r)) != "rid" {
		t.Errorf("got %s with %v, %v", r.Subject, r.Header, err)
	}
	if diff := cmp.Diff(job, got); diff != "" {
		t.Error(diff)
	}
	letter := Letter{
		Schema: schemas.Version, ID: "lid", Stage: StageReply, Place: "shop-sms", Conv: "conv", Message: "rid", Reason: "refused",
		At: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC), Reply: &job, Header: map[string]string{"a": "b"}, Body: []byte{0, 0xff},
	}
	if r, err = letter.Encode(); err != nil {
		t.Fatal(err)
	}
	back, err := Decode[Letter](r.Data)
	if err != nil || r.Subject != "dead.reply.shop-sms.conv" || LetterIDOf(stored(r)) != "lid" {
		t.Errorf("got %s with %v, %v", r.Subject, r.Header, err)
	}
	if diff := cmp.Diff(letter, back); diff != "" {
		t.Error(diff)
	}
	letter.Conv = ""
	if r, err = letter.Encode(); err != nil || r.Subject != "dead.reply.shop-sms.-" {
		t.Errorf("without a conversation: got %s, %v", r.Subject, err)
	}
}

func TestEventIsACloudEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 11, 0, 0, 1000, time.FixedZone("CEST", 7200))
	body := schemas.DeliveryEnded{Channel: "form", Reason: "spam", At: at.UTC()}
	r, err := Event(schemas.EventRefused, "conv", "e1", at, body)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"ce-specversion": "1.0", "ce-id": "e1", "ce-type": "switchboard.delivery.refused", "ce-source": "/switchboard",
		"ce-time": "2026-05-04T09:00:00.000001Z", "content-type": "application/json",
	}
	if diff := cmp.Diff(want, r.Header); diff != "" {
		t.Error(diff)
	}
	if got, err := Decode[schemas.DeliveryEnded](r.Data); err != nil || got != body || r.Subject != "events.conv" {
		t.Errorf("got %s %+v, %v", r.Subject, got, err)
	}
	kind, id, when := EventHeader(stored(r))
	if kind != schemas.EventRefused || id != "e1" || !when.Equal(at) {
		t.Errorf("headers say %s %s %v", kind, id, when)
	}
	m := stored(r)
	m.Header["ce-time"], m.At = "yesterday", at.Add(time.Hour)
	if _, _, when := EventHeader(m); !when.Equal(m.At) {
		t.Errorf("a time that cannot be read: got %v, want the broker's", when)
	}
	if r, err = Event(schemas.EventHealth, "", "e2", at, body); err != nil || r.Subject != "events.-" {
		t.Errorf("without a conversation: got %s, %v", r.Subject, err)
	}
	if _, err := Event(schemas.EventHealth, "", "e3", at, math.NaN()); err == nil {
		t.Error("a body that is no JSON was taken")
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "{", `{"version":"x"}`} {
		if _, err := Decode[Message]([]byte(data)); err == nil || !strings.HasPrefix(err.Error(), "decode record: ") {
			t.Errorf("%q: got %v", data, err)
		}
	}
}

func TestKeysAreApart(t *testing.T) {
	t.Parallel()
	got := []string{
		LinkKey("desk", "conv"), TicketKeyOf("desk", "tok"), StickyKey("conv"), SentKey("tok"), ReplyKey("rid"),
		InSubject("form"), BackSubject("desk"), RawBlob("id"), JobSubject("desk", "conv"), ReplySubject("form", "conv"),
	}
	want := []string{
		"c.desk.conv", "t.desk.tok", "s.conv", "v.tok", "rrid", "deliveries.in.form", "deliveries.back.desk", "raw/id",
		"jobs.desk.conv", "replies.form.conv",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLastKnowsItsMessages(t *testing.T) {
	t.Parallel()
	var none *Last
	last := &Last{Mids: []string{"a", "b"}}
	if none.Has("a") || !last.Has("b") || last.Has("c") {
		t.Errorf("got %v %v %v", none.Has("a"), last.Has("b"), last.Has("c"))
	}
}

// Records are read back by later versions: what is written must come back whole.
func FuzzRecordsRoundTrip(f *testing.F) {
	f.Add("desk", "text with \x00 and \u2028", uint64(7), 3, int64(1780000000))
	f.Add("", "", uint64(math.MaxUint64), -1, int64(0))
	f.Fuzz(func(t *testing.T, sink, text string, n uint64, version int, unix int64) {
		sink, text = strings.ToValidUTF8(sink, ""), strings.ToValidUTF8(text, "")
		at := time.Unix(unix%(1<<33), 0).UTC()
		roundTrip(t, Message{
			Schema: version, Creator: n, Conv: text, Version: version, DecidedAt: at, Rules: text, By: By{Epoch: n, N: n},
			Sinks: map[string]AtSink{sink: {State: Dead, Version: version, Ticket: text, Dead: text, At: at}},
		})
		roundTrip(t, Link{
			Schema: version, Ticket: schemas.Ref{ID: text}, Last: &Last{Mids: []string{text}, Opened: true},
			Doing:  &Doing{Mids: []string{sink, text}, Op: "create", Key: text, Epoch: n, At: at, Follows: &schemas.Ref{ID: sink}},
			Writer: &Writer{Conv: text, Channel: sink}, Gap: []string{text}, Forgotten: true,
		})
		roundTrip(t, Reply{Creator: n, Channel: sink, Conv: text, State: ReplySending, Again: version, Receipt: schemas.Receipt{ID: text, At: at}})
		roundTrip(t, Ticket{Root: text, Ref: schemas.Ref{ID: sink}})
		roundTrip(t, Sticky{Sinks: []string{sink}, Mid: text})
	})
}

func roundTrip[T any](t *testing.T, want T) {
	t.Helper()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode[T](data)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s comes back changed: %s", reflect.TypeFor[T](), diff)
	}
}
