package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Refusal is why a delivery was not taken.
type Refusal string

// Refusals. Unverified: the signature is missing, wrong or stale. Full: the store
// has no room, or the broker does not acknowledge.
const (
	Unverified Refusal = "unverified"
	TooLarge   Refusal = "too_large"
	Full       Refusal = "full"
	TooMany    Refusal = "too_many"
	Unreadable Refusal = "unreadable"
)

// Metrics count and time what the host does. Label values are names from the
// configuration or words from a short list, never a customer's or a vendor's.
// It is safe for concurrent use; make it with NewMetrics or Nop.
type Metrics struct {
	registry *prometheus.Registry

	accepted, refused, messages, duplicates *prometheus.CounterVec
	filed, dead, replies                    *prometheus.CounterVec

	accept, endToEnd, calls, requests *prometheus.HistogramVec

	backlog, paused *prometheus.GaugeVec

	ledgerLag, storeBytes, storeLimit prometheus.Gauge

	batch prometheus.Histogram
}

// NewMetrics returns metrics of their own registry, with those of the process
// and of the Go runtime.
func NewMetrics() *Metrics {
	m := Nop()
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Nop returns metrics that nobody scrapes, for tests and short commands.
func Nop() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.counters()
	m.timers()
	m.gauges()
	return m
}

func (m *Metrics) counters() {
	m.accepted = m.counter("deliveries_accepted_total", "Deliveries made durable.", "channel")
	m.refused = m.counter("deliveries_refused_total", "Deliveries not taken, by reason.", "channel", "reason")
	m.messages = m.counter("messages_total", "Messages and message-less deliveries, by outcome of the pipeline.", "channel", "outcome")
	m.duplicates = m.counter("duplicates_total", "Messages that the vendor sent again.", "channel")
	m.filed = m.counter("jobs_filed_total", "Jobs that reached a ticket.", "sink")
	m.dead = m.counter("dead_total", "Dead letters, by stage.", "stage")
	m.replies = m.counter("replies_total", "Replies to customers, by the state they reached.", "channel", "state")
}

func (m *Metrics) timers() {
	fast := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
	slow := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	long := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 60, 300, 1800, 3600}
	m.accept = m.timer("accept_seconds", "From the first byte of a delivery to its durable copy.", fast, "channel")
	m.endToEnd = m.timer("end_to_end_seconds", "From the receipt of a message to its entry on a ticket.", long, "sink")
	m.calls = m.timer("call_seconds", "Operations at a desk, by how they ended.", slow, "sink", "op", "outcome")
	m.requests = m.timer("vendor_request_seconds", "HTTP requests to vendors, by class of status.", slow, "adapter", "method", "status")
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "switchboard", Name: "broker_batch_messages", Help: "Records that one commit to the broker held.",
		Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 250, 500},
	})
	m.registry.MustRegister(m.batch)
}

func (m *Metrics) gauges() {
	m.backlog = m.gaugeVec("backlog_jobs", "Jobs that wait for a sink.", "sink")
	m.paused = m.gaugeVec("paused_sinks", "1 while the sink is paused, else 0.", "sink")
	m.ledgerLag = m.gauge("ledger_lag_events", "Events that the ledger has not projected yet.")
	m.storeBytes = m.gauge("store_bytes", "Bytes that the embedded broker's store holds.")
	m.storeLimit = m.gauge("store_limit_bytes", "Bytes at which the store refuses more.")
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "switchboard", Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) timer(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "switchboard", Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(h)
	return h
}

func (m *Metrics) gaugeVec(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "switchboard", Name: name, Help: help}, labels)
	m.registry.MustRegister(g)
	return g
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "switchboard", Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

// Handler serves /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Registry is where further collectors go, and what a test gathers from.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Accepted counts a delivery made durable, took after its first byte.
func (m *Metrics) Accepted(channel string, took time.Duration) {
	m.accepted.WithLabelValues(channel).Inc()
	m.accept.WithLabelValues(channel).Observe(took.Seconds())
}

// Refused counts a delivery that was not taken.
func (m *Metrics) Refused(channel string, why Refusal) {
	m.refused.WithLabelValues(channel, string(why)).Inc()
}

// Message counts what the pipeline made of a message, or of a delivery without
// one: decided, dropped, duplicate, ignored or dead.
func (m *Metrics) Message(channel, outcome string) {
	m.messages.WithLabelValues(channel, outcome).Inc()
	if outcome == "duplicate" {
		m.duplicates.WithLabelValues(channel).Inc()
	}
}

// Filed counts a job that reached a ticket, took after the message was received.
func (m *Metrics) Filed(sink string, took time.Duration) {
	m.filed.WithLabelValues(sink).Inc()
	m.endToEnd.WithLabelValues(sink).Observe(took.Seconds())
}

// Call times one operation at a desk; outcome is that of schemas.Call.
func (m *Metrics) Call(sink, op, outcome string, took time.Duration) {
	m.calls.WithLabelValues(sink, op, outcome).Observe(took.Seconds())
}

// Dead counts a dead letter of a stage: pipeline, delivery or reply.
func (m *Metrics) Dead(stage string) { m.dead.WithLabelValues(stage).Inc() }

// Reply counts a reply that reached a state: queued, sent, unknown or failed.
func (m *Metrics) Reply(channel, state string) { m.replies.WithLabelValues(channel, state).Inc() }

// Backlog says how many jobs wait for a sink.
func (m *Metrics) Backlog(sink string, jobs int) { m.backlog.WithLabelValues(sink).Set(float64(jobs)) }

// Paused says that a sink was paused; Resumed that it runs.
func (m *Metrics) Paused(sink string) { m.paused.WithLabelValues(sink).Set(1) }

// Resumed says that a sink runs.
func (m *Metrics) Resumed(sink string) { m.paused.WithLabelValues(sink).Set(0) }

// LedgerLag says how many events the ledger has not projected yet.
func (m *Metrics) LedgerLag(events uint64) { m.ledgerLag.Set(float64(events)) }

// Store says how full the embedded broker's store is.
func (m *Metrics) Store(bytes, limit uint64) {
	m.storeBytes.Set(float64(bytes))
	m.storeLimit.Set(float64(limit))
}

// Batch counts the records of one commit to the broker.
func (m *Metrics) Batch(records int) { m.batch.Observe(float64(records)) }
