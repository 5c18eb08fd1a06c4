package telemetry

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// A Transport counts and times the requests of one adapter and passes its trace
// on. It logs one line per call at debug, with the host and without path, query
// or body, for vendors put secrets and people into all three. It is safe for
// concurrent use.
type Transport struct {
	// Base sends the requests.
	Base http.RoundTripper
	// Metrics and Log are told of each; Adapter is the name in the configuration.
	Metrics *Metrics
	Log     *slog.Logger
	Adapter string
}

// RoundTrip sends r through Base.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace, ok := TraceFrom(r.Context()); ok && r.Header.Get(TraceHeader) == "" {
		r = r.Clone(r.Context())
		r.Header.Set(TraceHeader, trace.Child().String())
	}
	start := time.Now()
	resp, err := t.Base.RoundTrip(r)
	took := time.Since(start)
	status := "none"
	if err == nil {
		status = strconv.Itoa(resp.StatusCode/100) + "xx"
	}
	t.Metrics.requests.WithLabelValues(t.Adapter, method(r.Method), status).Observe(took.Seconds())
	t.Log.DebugContext(r.Context(), "called vendor", "method", r.Method, "host", r.URL.Host, "status", status, "took", took)
	return resp, err
}

// method keeps the label's values few, whatever an adapter sends.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
		return m
	default:
		return "other"
	}
}
