package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"switchboard/adapter/fault"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

func canceled(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// TestFilesAreKeptOrTheirAbsenceIsSaid: carried, fetched, too large in every way,
// gone for good, without content, of unknown type, empty.
func TestFilesAreKeptOrTheirAbsenceIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.max = 100
	var tries atomic.Int64
	w.shop.fetch = func(ref string) (io.ReadCloser, error) {
		switch ref {
		case "gone":
			return nil, fault.Permanentf("410")
		case "huge":
			return content(strings.Repeat("x", 101))
		case "empty":
			return content("")
		case "shaky":
			switch tries.Add(1) {
			case 1:
				return nil, errors.New("502")
			case 2:
				return io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), nil
			}
			return content("at last")
		}
		return content("\x89PNG\r\n\x1a\n")
	}
	w.start()
	m := said("1", "a", "files")
	m.Attachments = []schemas.Attachment{
		{Name: "carried.txt", Type: "text/plain"},
		{Name: "large.txt"},
		{Ref: "png"},
		{Ref: "png", Type: "application/octet-stream"},
		{Ref: "gone"},
		{Ref: "huge"},
		{Ref: "png", Size: 5000},
		{},
		{Missing: "the vendor removed it"},
		{Ref: "empty"},
		{Ref: "shaky"},
	}
	w.deliver(parcel{Messages: []schemas.Message{m}, Data: map[int][][]byte{0: {[]byte("balsa"), []byte(strings.Repeat("x", 101))}}})
	got := says[schemas.Decided](w, schemas.EventDecided, 1)[0].Message.Attachments
	for i, want := range []string{
		"balsa", "!larger than 100 bytes", "\x89PNG\r\n\x1a\n", "\x89PNG\r\n\x1a\n", "!410", "!larger than 100 bytes", "!larger than 100 bytes",
		"!no content", "!the vendor removed it", "", "at last",
	} {
		a := got[i]
		missing, gone := strings.CutPrefix(want, "!")
		switch {
		case gone && (!strings.Contains(a.Missing, missing) || a.Blob != ""):
			t.Errorf("file %d: got %+v, want it missing: %s", i, a, missing)
		case !gone && (a.Missing != "" || string(w.blob(a.Blob)) != want || a.Size != int64(len(want))):
			t.Errorf("file %d: got %+v, want %q", i, a, want)
		}
	}
	if got[2].Type != "image/png" || got[3].Type != "image/png" || got[0].Type != "text/plain" {
		t.Errorf("got types %q, %q, %q", got[0].Type, got[2].Type, got[3].Type)
	}
	if job := w.jobs()[0]; len(job.Message.Attachments) != len(got) || job.Message.Attachments[0].Blob != got[0].Blob {
		t.Errorf("the job carries %+v", job.Message.Attachments)
	}
}

// TestAChannelThatCannotFetchSaysSo.
func TestAChannelThatCannotFetchSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	m := said("1", "a", "files")
	m.Attachments = []schemas.Attachment{{Ref: "x"}}
	w.deliver(one(m))
	if got := says[schemas.Decided](w, schemas.EventDecided, 1)[0].Message.Attachments[0]; !strings.Contains(got.Missing, "cannot fetch") {
		t.Errorf("got %+v", got)
	}
}

// TestOnlySoManyFiles: a thousand attachments are a recorded outcome.
func TestOnlySoManyFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	m := said("1", "a", "files")
	data := make([][]byte, 1000)
	for i := range data {
		m.Attachments = append(m.Attachments, schemas.Attachment{Name: fmt.Sprint(i)})
		data[i] = []byte("x")
	}
	w.deliver(parcel{Messages: []schemas.Message{m}, Data: map[int][][]byte{0: data}})
	got := says[schemas.Decided](w, schemas.EventDecided, 1)[0].Message.Attachments
	kept := slices.IndexFunc(got, func(a schemas.Attachment) bool { return a.Missing != "" })
	if kept != maxFiles || len(got) != 1000 {
		t.Errorf("got %d of %d files, want %d", kept, len(got), maxFiles)
	}
}

// TestAFileThatNeverComesIsGivenUp: no step waits for ever; until then the
// delivery waits, and only its own conversation with it.
func TestAFileThatNeverComesIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.shop.fetch = func(string) (io.ReadCloser, error) { return nil, errors.New("502") }
	w.open()
	r := &run{p: w.p, c: w.opened, scope: "/account"}
	m := said("1", "a", "files")
	m.Attachments = []schemas.Attachment{{Ref: "x"}}
	if err := r.keepFiles(t.Context(), &bus.Msg{At: time.Now()}, &m, "conv"); err == nil || m.Attachments[0].Missing != "" {
		t.Errorf("at first: got %v and %+v, want to wait", err, m.Attachments[0])
	}
	if err := r.keepFiles(t.Context(), &bus.Msg{At: time.Now().Add(-mediaPatience)}, &m, "conv"); err != nil || !strings.Contains(m.Attachments[0].Missing, "502") {
		t.Errorf("after %s: got %v and %+v, want the vendor's words", mediaPatience, err, m.Attachments[0])
	}
	w.start()
	slow := said("2", "slow", "waits")
	slow.Attachments = []schemas.Attachment{{Ref: "x"}}
	w.deliver(one(slow))
	w.deliver(one(said("3", "quick", "does not")))
	w.deliver(one(said("4", "slow", "waits behind")))
	if got := says[schemas.Decided](w, schemas.EventDecided, 1)[0]; got.Message.VendorID != "3" {
		t.Errorf("got %s decided first, want another conversation's", got.Message.VendorID)
	}
}

// TestHugeTextsFitARecord: whatever the text is made of, job and event stay below
// what every broker takes, and say that they were cut.
func TestHugeTextsFitARecord(t *testing.T) {
	t.Parallel()
	fields := make([]schemas.Field, 2000)
	for i := range fields {
		fields[i] = schemas.Field{Name: fmt.Sprint("f", i), Value: strings.Repeat("v", 2000)}
	}
	for name, m := range map[string]schemas.Message{
		"plain":   {Text: strings.Repeat("Wörter 🛩 ", 200_000), HTML: strings.Repeat("<b>x</b>", 200_000)},
		"escaped": {Text: strings.Repeat("\x01", 900_000), Subject: strings.Repeat("\x02", 300_000)},
		"fields":  {Text: "short", Fields: fields},
		"field":   {Text: "short", Fields: []schemas.Field{{Name: "essay", Value: strings.Repeat("\x01", 900_000)}}},
		"html":    {Text: "short", HTML: strings.Repeat("<i>y</i>", 300_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).start()
			base := said("1", "a", "")
			m.VendorID, m.Conversation, m.Requester = base.VendorID, base.Conversation, base.Requester
			body, err := json.Marshal(one(m))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.b.PutBlob(t.Context(), "raw/1", body); err != nil {
				t.Fatal(err)
			}
			w.raw(nil, "raw/1")
			says[schemas.Decided](w, schemas.EventDecided, 1)
			for _, stream := range []string{bus.Jobs, bus.Events} {
				w.scan(stream, func(m *bus.Msg) error {
					size := len(m.Data) + len(m.Subject)
					for k, v := range m.Header {
						size += len(k) + len(v) + 4
					}
					if size > bus.MaxRecord {
						t.Errorf("%s: a record has %d bytes, want at most %d", stream, size, bus.MaxRecord)
					}
					return nil
				})
			}
			if job := w.jobs()[0].Message; len(job.Degraded) == 0 {
				t.Error("the job does not say that it was cut")
			}
		})
	}
}

// TestReceiptsGoForwardOnly: news of a reply find it, never take it back, and a
// vendor's word on a message proves that it was sent (I12).
func TestReceiptsGoForwardOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t).start()
	reply := func(rid, vendor string, rec record.Reply) {
		data, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.b.Bucket(bus.Messages).Create(t.Context(), record.ReplyKey(rid), data); err != nil {
			t.Fatal(err)
		}
		if _, err := w.b.Bucket(bus.Links).Put(t.Context(), record.SentKey(w.p.o.Tokens.Sent("/account", vendor)), []byte(rid)); err != nil {
			t.Fatal(err)
		}
	}
	state := func(rid string) record.Reply {
		e, err := w.b.Bucket(bus.Messages).Get(t.Context(), record.ReplyKey(rid))
		if err != nil {
			t.Fatal(err)
		}
		rec, err := record.Decode[record.Reply](e.Value)
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	reply("sent", "SM1", record.Reply{Conv: "c", State: record.ReplySent, Receipt: schemas.Receipt{ID: "SM1", State: schemas.Sent}})
	reply("under-way", "SM2", record.Reply{Conv: "c", State: record.ReplySending})
	n := 0
	news := func(id string, s schemas.ReceiptState) schemas.Receipted {
		w.deliver(parcel{Receipts: []schemas.Receipt{{ID: id, State: s, Reason: "words", At: time.Now()}}})
		n++
		return says[schemas.Receipted](w, schemas.EventReceipt, n)[n-1]
	}
	for _, step := range []struct{ told, want schemas.ReceiptState }{
		{schemas.Read, schemas.Read},
		{schemas.Delivered, schemas.Read},
		{schemas.Sent, schemas.Read},
		{"odd", schemas.Read},
		{schemas.Failed, schemas.Failed},
		{schemas.Read, schemas.Failed},
	} {
		e := news("SM1", step.told)
		if got := state("sent").Receipt.State; got != step.want || e.Reply != "sent" || e.Conversation != "c" {
			t.Errorf("told %s: got %s of %q, want %s", step.told, got, e.Reply, step.want)
		}
	}
	if got := state("sent"); got.State != record.ReplyFailed || got.Receipt.Reason != "words" || got.Receipt.ID != "SM1" {
		t.Errorf("got %+v, want it failed with the vendor's words", got)
	}
	// The receipt overtakes the write that says "sent": it must not end as unknown.
	news("SM2", schemas.Delivered)
	if got := state("under-way"); got.State != record.ReplySent || got.Receipt.ID != "SM2" {
		t.Errorf("got %+v, want it sent", got)
	}
	if e := news("SM9", schemas.Read); e.Reply != "" || e.Conversation != "" {
		t.Errorf("news of a stranger: got %+v", e)
	}
	if err := w.b.Bucket(bus.Messages).Delete(t.Context(), record.ReplyKey("sent")); err != nil {
		t.Fatal(err)
	}
	if e := news("SM1", schemas.Read); e.Conversation != "" {
		t.Errorf("news of a forgotten reply: got %+v", e)
	}
}
