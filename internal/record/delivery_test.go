package record

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"switchboard/adapter/hook"
	"switchboard/internal/bus"
)

func TestDeliveryRoundTripThroughTheBroker(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	want := hook.Delivery{
		Method: http.MethodPost, URL: "https://intake.shop.example/hooks/form?a=1&b=%0a", Body: []byte{0, 1, 0xff, '\n'}, Via: hook.ViaWebhook,
		Header:     http.Header{"X-Two": {"one", "two"}, "X-Odd": {" a: b\tc ", ""}, "X-Name": {"Käthe \u2028"}},
		ReceivedAt: time.Date(2026, 5, 4, 9, 0, 0, 123456789, time.UTC),
	}
	inline, err := EncodeDelivery(InSubject("form"), want, "", "00-trace-01")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.PutBlob(t.Context(), RawBlob("x"), want.Body); err != nil {
		t.Fatal(err)
	}
	large, err := EncodeDelivery(InSubject("form"), want, RawBlob("x"), "")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := EncodeDelivery(InSubject("form"), want, "", "")
	if err != nil {
		t.Fatal(err)
	}
	moved.Data = nil
	SetBlob(&moved, RawBlob("x"))
	MarkReplay(&moved, "17")
	seqs, err := b.Publish(t.Context(), inline, large, moved)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct{ trace, blob, replay string }{{"00-trace-01", "", ""}, {"", "raw/x", ""}, {"", "raw/x", "17"}} {
		m, err := b.Message(t.Context(), bus.Deliveries, seqs[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDelivery(t.Context(), b, m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record %d: %s", i, diff)
		}
		if Trace(m) != tt.trace || BlobOf(m) != tt.blob || Replayed(m) != tt.replay {
			t.Errorf("record %d: trace %q, blob %q, replay of %q; want %+v", i, Trace(m), BlobOf(m), Replayed(m), tt)
		}
	}
	if err := b.DeleteBlob(t.Context(), RawBlob("x")); err != nil {
		t.Fatal(err)
	}
	m, err := b.Message(t.Context(), bus.Deliveries, seqs[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeDelivery(t.Context(), b, m); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("a body that is gone: got %v, want ErrNotFound rather than an empty delivery", err)
	}
}

func TestDamagedDeliveriesAreErrors(t *testing.T) {
	t.Parallel()
	for _, h := range []map[string]string{
		nil, {hReceived: "today"}, {hReceived: "2026-05-04T09:00:00Z", hHeader: "{"}, {hReceived: "2026-05-04T09:00:00Z", hHeader: `["x"]`},
	} {
		if _, err := DecodeDelivery(t.Context(), nil, &bus.Msg{Header: h}); err == nil || !strings.HasPrefix(err.Error(), "decode delivery: ") {
			t.Errorf("%v: got %v", h, err)
		}
	}
}

func FuzzDeliveryRoundTrip(f *testing.F) {
	f.Add("POST", "/hooks/form?x=1", "X-Signature", "a\r\nb", []byte("body"), int64(1780000000123456789))
	f.Add("", "", "", "", []byte(nil), int64(0))
	f.Fuzz(func(t *testing.T, method, url, name, value string, body []byte, nanos int64) {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			t.Skip("JSON keeps text only")
		}
		want := hook.Delivery{
			Method: method, URL: url, Header: http.Header{name: {value, value}}, Body: body, Via: hook.ViaPoll,
			ReceivedAt: time.Unix(0, nanos).UTC(),
		}
		r, err := EncodeDelivery(InSubject("form"), want, "", "")
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range r.Header {
			if k != hMethod && k != hURL && strings.ContainsAny(v, "\r\n") {
				t.Errorf("%s would break the broker's header: %q", k, v)
			}
		}
		got, err := DecodeDelivery(t.Context(), nil, stored(r))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" || !bytes.Equal(body, got.Body) {
			t.Error(diff)
		}
	})
}

func FuzzDecodeDelivery(f *testing.F) {
	f.Add("POST", "2026-05-04T09:00:00Z", `{"A":["b"]}`, []byte("x"))
	f.Add("", "", "null", []byte(nil))
	f.Fuzz(func(t *testing.T, method, received, header string, body []byte) {
		d, err := DecodeDelivery(t.Context(), nil, &bus.Msg{Header: map[string]string{hMethod: method, hReceived: received, hHeader: header}, Data: body})
		if err == nil && (d.Method != method || !bytes.Equal(d.Body, body)) {
			t.Errorf("got %+v", d)
		}
	})
}
