package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"switchboard/internal/telemetry"
)

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]telemetry.Format{"": telemetry.Auto, "auto": telemetry.Auto, "text": telemetry.Text, "json": telemetry.JSON} {
		if got, err := telemetry.ParseFormat(in); err != nil || got != want {
			t.Errorf("ParseFormat(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := telemetry.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "auto, text, json") {
		t.Errorf("ParseFormat(xml) = %v; want an error that lists the formats", err)
	}
}

func TestLoggerWritesUTCAndTrace(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, telemetry.JSON, nil).With("channel", "shop-sms").WithGroup("call")
	trace := telemetry.NewTrace()
	log.InfoContext(telemetry.WithTrace(t.Context(), trace), "sent", "attempt", 2)

	var line struct {
		Time    string
		Msg     string
		Channel string
		Call    struct {
			Attempt int
			Trace   string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("decode %s: %v", out.String(), err)
	}
	if !strings.HasSuffix(line.Time, "Z") {
		t.Errorf("time is %q; want UTC", line.Time)
	}
	got := []string{line.Msg, line.Channel, line.Call.Trace}
	if diff := cmp.Diff([]string{"sent", "shop-sms", trace.ID()}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoggerObeysLevel(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var level slog.LevelVar
	log := telemetry.NewLogger(&out, telemetry.Text, &level)
	log.Debug("first")
	level.Set(slog.LevelDebug)
	log.Debug("second")
	if got := out.String(); strings.Contains(got, "first") || !strings.Contains(got, "msg=second") {
		t.Errorf("got %q; want the second line alone", got)
	}
}

func TestAutoIsPlainOffTerminals(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	telemetry.NewLogger(f, telemetry.Auto, nil).Warn("low on disk", "free", 12)
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := `level=WARN msg="low on disk" free=12`; !strings.Contains(string(got), want) {
		t.Errorf("got %q; want %q in it", got, want)
	}
}

func TestDiscardIsDisabled(t *testing.T) {
	t.Parallel()
	if telemetry.Discard().Enabled(t.Context(), slog.LevelError) {
		t.Error("a discarding logger is enabled")
	}
}

func TestMetricsArePublishedUnderTheirNames(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.Accepted("shop-sms", 2*time.Millisecond)
	m.Refused("shop-sms", telemetry.Unverified)
	m.Message("shop-sms", "decided")
	m.Message("shop-sms", "duplicate")
	m.Filed("desk", time.Second)
	m.Call("desk", "create", "yes", 30*time.Millisecond)
	m.Dead("delivery")
	m.Reply("shop-sms", "sent")
	m.Backlog("desk", 7)
	m.Paused("desk")
	m.LedgerLag(3)
	m.Store(10, 100)
	m.Batch(42)

	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	got := rec.Body.String()
	for _, want := range []string{
		`switchboard_deliveries_accepted_total{channel="shop-sms"} 1`,
		`switchboard_accept_seconds_count{channel="shop-sms"} 1`,
		`switchboard_deliveries_refused_total{channel="shop-sms",reason="unverified"} 1`,
		`switchboard_messages_total{channel="shop-sms",outcome="decided"} 1`,
		`switchboard_duplicates_total{channel="shop-sms"} 1`,
		`switchboard_jobs_filed_total{sink="desk"} 1`,
		`switchboard_end_to_end_seconds_sum{sink="desk"} 1`,
		`switchboard_call_seconds_count{op="create",outcome="yes",sink="desk"} 1`,
		`switchboard_dead_total{stage="delivery"} 1`,
		`switchboard_replies_total{channel="shop-sms",state="sent"} 1`,
		`switchboard_backlog_jobs{sink="desk"} 7`,
		`switchboard_paused_sinks{sink="desk"} 1`,
		"switchboard_ledger_lag_events 3",
		"switchboard_store_bytes 10",
		"switchboard_store_limit_bytes 100",
		`switchboard_broker_batch_messages_bucket{le="50"} 1`,
		"go_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "switchboard_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestEveryMetricIsExplained holds docs/operate.md to the metrics that there are.
func TestEveryMetricIsExplained(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile(filepath.Join("..", "..", "docs", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	descriptions := make(chan *prometheus.Desc, 100)
	telemetry.Nop().Registry().Describe(descriptions)
	close(descriptions)
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	known := map[string]bool{}
	for d := range descriptions {
		m := name.FindStringSubmatch(d.String())
		known[m[1]] = true
		if !strings.Contains(string(docs), "`"+m[1]+"`") {
			t.Errorf("docs/operate.md does not explain %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("`(switchboard_[a-z_]+)").FindAllStringSubmatch(string(docs), -1) {
		if !known[m[1]] {
			t.Errorf("docs/operate.md explains %s, which there is not", m[1])
		}
	}
}

func TestResumedClearsPaused(t *testing.T) {
	t.Parallel()
	m := telemetry.Nop()
	m.Paused("desk")
	m.Resumed("desk")
	if got := scrape(t, m); !slices.Contains(got, `switchboard_paused_sinks{sink="desk"} 0`) {
		t.Errorf("got %q; want the sink not paused", got)
	}
}

func scrape(t *testing.T, m *telemetry.Metrics) []string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return strings.Split(rec.Body.String(), "\n")
}

func TestTransportCountsAndKeepsQuiet(t *testing.T) {
	t.Parallel()
	header := make(chan string, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header <- r.Header.Get(telemetry.TraceHeader)
		w.WriteHeader(http.StatusTeapot)
	}))
	defer srv.Close()

	var out bytes.Buffer
	m := telemetry.Nop()
	client := &http.Client{Transport: &telemetry.Transport{
		Base: srv.Client().Transport, Metrics: m, Adapter: "desk",
		Log: telemetry.NewLogger(&out, telemetry.Text, slog.LevelDebug),
	}}
	trace := telemetry.NewTrace()
	req, err := http.NewRequestWithContext(telemetry.WithTrace(t.Context(), trace), "PURGE", srv.URL+"/bot-hidden/x?key=hidden", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // empty

	sent, err := telemetry.ParseTrace(<-header)
	if err != nil || sent.ID() != trace.ID() || sent == trace {
		t.Errorf("vendor got trace %v, %v; want a child of %v", sent, err, trace)
	}
	want := `switchboard_vendor_request_seconds_count{adapter="desk",method="other",status="4xx"} 1`
	if got := scrape(t, m); !slices.Contains(got, want) {
		t.Errorf("metrics lack %s", want)
	}
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "called vendor") {
		t.Errorf("log line %q; want one without the path", got)
	}
}

func TestTransportReportsNoAnswer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	m := telemetry.Nop()
	client := &http.Client{Transport: &telemetry.Transport{
		Base: srv.Client().Transport, Metrics: m, Adapter: "desk", Log: telemetry.Discard(),
	}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close() // unexpected
		t.Fatal("a closed server answered")
	}
	want := `switchboard_vendor_request_seconds_count{adapter="desk",method="GET",status="none"} 1`
	if got := scrape(t, m); !slices.Contains(got, want) {
		t.Errorf("metrics lack %s", want)
	}
}
