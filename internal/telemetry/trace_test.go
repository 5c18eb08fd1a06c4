package telemetry_test

import (
	"testing"

	"switchboard/internal/telemetry"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParseTrace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"example", example, true},
		{"not sampled", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true},
		{"later version with more", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what", true},
		{"empty", "", false},
		{"short", example[:54], false},
		{"version 00 with more", example + "-what", false},
		{"later version without a dash", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01what", false},
		{"version ff", "ff" + example[2:], false},
		{"upper case", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
		{"zero trace", "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
		{"zero parent", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false},
		{"no dash", "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false},
		{"bad flags", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := telemetry.ParseTrace(tt.in)
			if (err == nil) != tt.ok {
				t.Fatalf("ParseTrace(%q) = %v, %v; want ok %t", tt.in, got, err, tt.ok)
			}
			if tt.ok && got.ID() != "4bf92f3577b34da6a3ce929d0e0e4736" {
				t.Errorf("got id %s", got.ID())
			}
		})
	}
}

func TestTraceRoundTrip(t *testing.T) {
	t.Parallel()
	got, err := telemetry.ParseTrace(example)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != example {
		t.Errorf("got %s want %s", got, example)
	}
	child := got.Child()
	if child.ID() != got.ID() || child.String() == got.String() {
		t.Errorf("child of %s is %s; want the same trace with another parent", got, child)
	}
}

func TestContinueTrace(t *testing.T) {
	t.Parallel()
	if got := telemetry.ContinueTrace(example); got.ID() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Errorf("got %s; want the trace of the header", got)
	}
	fresh := telemetry.ContinueTrace("nonsense")
	if _, err := telemetry.ParseTrace(fresh.String()); err != nil {
		t.Errorf("a new trace %q does not parse: %v", fresh, err)
	}
}

func TestZeroTraceIsNone(t *testing.T) {
	t.Parallel()
	var none telemetry.Trace
	if none.String() != "" || none.ID() != "" {
		t.Errorf("got %q, %q; want nothing", none.String(), none.ID())
	}
	if _, ok := telemetry.TraceFrom(telemetry.WithTrace(t.Context(), none)); ok {
		t.Error("a context with the zero trace carries one")
	}
	if _, ok := telemetry.TraceFrom(t.Context()); ok {
		t.Error("an empty context carries a trace")
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add(example)
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		trace, err := telemetry.ParseTrace(s)
		if err != nil {
			return
		}
		again, err := telemetry.ParseTrace(trace.String())
		if err != nil || again != trace {
			t.Errorf("%q became %q, which reads as %v, %v", s, trace, again, err)
		}
	})
}
