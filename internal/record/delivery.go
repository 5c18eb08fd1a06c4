package record

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"switchboard/adapter/hook"
	"switchboard/internal/bus"
)

// Headers of records.
const (
	hMethod   = "Sb-Method"
	hURL      = "Sb-Url"
	hVia      = "Sb-Via"
	hReceived = "Sb-Received"
	hHeader   = "Sb-Header"
	hBlob     = "Sb-Blob"
	hReplay   = "Sb-Replay"
	hMessage  = "Sb-Message"
	hBand     = "Sb-Band"
	hChannel  = "Sb-Channel"
	hKind     = "Sb-Kind"
	hVersion  = "Sb-Version"
	hGroup    = "Sb-Group"
	hTrace    = "Traceparent"
)

// InlineLimit is the largest body, in bytes, that a delivery carries itself;
// larger ones go to the blobs first, because brokers limit a message to 1 MiB.
const InlineLimit = 256 << 10

// InSubject and BackSubject are where deliveries of a channel and of a desk go.
func InSubject(channel string) string { return "deliveries.in." + channel }

// BackSubject is InSubject for what comes back from a sink.
func BackSubject(sink string) string { return "deliveries.back." + sink }

// RawBlob names the blob of a delivery's body.
func RawBlob(id string) string { return "raw/" + id }

// EncodeDelivery returns the record of a delivery. blob names the body's blob,
// "" while the body is inline; trace is a W3C traceparent or "".
func EncodeDelivery(subject string, d hook.Delivery, blob, trace string) (bus.Record, error) {
	header, err := json.Marshal(d.Header)
	if err != nil {
		return bus.Record{}, fmt.Errorf("encode delivery: %w", err)
	}
	r := bus.Record{Subject: subject, Data: d.Body, Header: map[string]string{
		hMethod: d.Method, hURL: d.URL, hVia: string(d.Via), hHeader: string(header),
		hReceived: d.ReceivedAt.UTC().Format(time.RFC3339Nano),
	}}
	if blob != "" {
		r.Header[hBlob], r.Data = blob, nil
	}
	if trace != "" {
		r.Header[hTrace] = trace
	}
	return r, nil
}

// DecodeDelivery reads a delivery, its body from the blobs where it is there.
func DecodeDelivery(ctx context.Context, b *bus.Bus, m *bus.Msg) (hook.Delivery, error) {
	d := hook.Delivery{Method: m.Header[hMethod], URL: m.Header[hURL], Via: hook.Via(m.Header[hVia]), Body: m.Data, Header: http.Header{}}
	if h := m.Header[hHeader]; h != "" {
		if err := json.Unmarshal([]byte(h), &d.Header); err != nil {
			return d, fmt.Errorf("decode delivery: %w", err)
		}
	}
	received, err := time.Parse(time.RFC3339Nano, m.Header[hReceived])
	if err != nil {
		return d, fmt.Errorf("decode delivery: %w", err)
	}
	d.ReceivedAt = received
	if blob := m.Header[hBlob]; blob != "" {
		body, err := b.ReadBlob(ctx, blob)
		if err != nil {
			return d, err
		}
		d.Body = body
	}
	return d, nil
}

// BlobOf returns the blob that holds a delivery's body, or "".
func BlobOf(m *bus.Msg) string { return m.Header[hBlob] }

// Trace returns the traceparent that a message carries, or "".
func Trace(m *bus.Msg) string { return m.Header[hTrace] }

// Replayed returns the sequence of the delivery that this one copies, "" for an
// original.
func Replayed(m *bus.Msg) string { return m.Header[hReplay] }

// MarkReplay makes a record the copy of an earlier delivery.
func MarkReplay(r *bus.Record, of string) { r.Header[hReplay] = of }

// SetBlob makes name the blob of a delivery's body.
func SetBlob(r *bus.Record, name string) { r.Header[hBlob] = name }
