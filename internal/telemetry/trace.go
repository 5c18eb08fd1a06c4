package telemetry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
)

// TraceHeader is the header, of a request and of a message in a stream, that
// carries a Trace (W3C Trace Context, https://www.w3.org/TR/trace-context/).
const TraceHeader = "traceparent"

// traceLen is the length of version 00: 2-32-16-2 hexadecimal digits with dashes.
const traceLen = 2 + 1 + 32 + 1 + 16 + 1 + 2

// errTrace says that a header is not a trace; the caller starts a new one.
var errTrace = errors.New("not a traceparent")

// A Trace joins the steps of one message: an id of the whole, and one of the
// step that is its parent. The zero value is no trace.
type Trace struct {
	id      [16]byte
	parent  [8]byte
	flags   byte
	present bool
}

// NewTrace starts a trace, marked as sampled.
func NewTrace() Trace {
	t := Trace{flags: 1, present: true}
	_, _ = rand.Read(t.id[:]) // never fails since Go 1.24
	return t.Child()
}

// ParseTrace reads a traceparent header. Of versions later than 00 it reads what
// 00 has, as the standard wants it.
func ParseTrace(s string) (Trace, error) {
	if len(s) < traceLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return Trace{}, errTrace
	}
	version, ok := octets(s[0:2])
	if !ok || version[0] == 0xff || version[0] == 0 && len(s) != traceLen || len(s) > traceLen && s[traceLen] != '-' {
		return Trace{}, errTrace
	}
	id, ok1 := octets(s[3:35])
	parent, ok2 := octets(s[36:52])
	flags, ok3 := octets(s[53:55])
	if !ok1 || !ok2 || !ok3 {
		return Trace{}, errTrace
	}
	t := Trace{id: [16]byte(id), parent: [8]byte(parent), flags: flags[0], present: true}
	if t.id == [16]byte{} || t.parent == [8]byte{} {
		return Trace{}, errTrace
	}
	return t, nil
}

// octets decodes lower-case hexadecimal digits, the only ones the standard allows.
func octets(s string) ([]byte, bool) {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return nil, false
		}
	}
	b, err := hex.DecodeString(s)
	return b, err == nil
}

// ContinueTrace returns a step below the trace in header, or a new trace where
// there is none that can be read.
func ContinueTrace(header string) Trace {
	t, err := ParseTrace(header)
	if err != nil {
		return NewTrace()
	}
	return t.Child()
}

// Child returns a step below t: the same trace with a parent id of its own.
func (t Trace) Child() Trace {
	_, _ = rand.Read(t.parent[:]) // never fails since Go 1.24
	return t
}

// ID returns the id of the whole trace in hexadecimal, "" for the zero value.
func (t Trace) ID() string {
	if !t.present {
		return ""
	}
	return hex.EncodeToString(t.id[:])
}

// String returns the header's value, "" for the zero value.
func (t Trace) String() string {
	if !t.present {
		return ""
	}
	return "00-" + t.ID() + "-" + hex.EncodeToString(t.parent[:]) + "-" + hex.EncodeToString([]byte{t.flags})
}

type traceKey struct{}

// WithTrace returns a context that carries t.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom returns the trace that ctx carries, and whether there is one.
func TraceFrom(ctx context.Context) (Trace, bool) {
	t, ok := ctx.Value(traceKey{}).(Trace)
	return t, ok && t.present
}
