package cloudevents

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/hook"
)

func delivery(body string, header ...string) hook.Delivery {
	d := hook.Delivery{Method: http.MethodPost, Header: http.Header{}, Body: []byte(body)}
	for i := 0; i < len(header); i += 2 {
		d.Header.Set(header[i], header[i+1])
	}
	return d
}

func binary(body string, header ...string) hook.Delivery {
	return delivery(body, append([]string{"Ce-Specversion", "1.0", "Ce-Id", "1", "Ce-Source", "/shop", "Ce-Type", "asked"}, header...)...)
}

func TestRead(t *testing.T) {
	t.Parallel()
	const one = `{"specversion":"1.0","id":"1","source":"/shop","type":"asked","subject":null`
	base := Event{SpecVersion: "1.0", ID: "1", Source: "/shop", Type: "asked"}
	with := func(change func(e *Event)) Event {
		e := base
		change(&e)
		return e
	}
	structured := []string{"Content-Type", "Application/CloudEvents+JSON; charset=UTF-8"}
	table := []struct {
		name string
		d    hook.Delivery
		mode Mode
		want []Event
	}{
		{"structured", delivery(one+`,"data":{"text":"hi"}}`, structured...), Structured, []Event{with(func(e *Event) { e.Data = json.RawMessage(`{"text":"hi"}`) })}},
		{"base64", delivery(one+`,"data_base64":"aGk="}`, structured...), Structured, []Event{with(func(e *Event) { e.Data = json.RawMessage(`"hi"`) })}},
		{"no data", delivery(one+`}`, structured...), Structured, []Event{base}},
		{"batch", delivery(`[`+one+`},`+one+`}]`, "Content-Type", "application/cloudevents-batch+json"), Batched, []Event{base, base}},
		{"empty batch", delivery(`[]`, "Content-Type", "application/cloudevents-batch+json"), Batched, []Event{}},
		{"binary", binary(`{"text":"hi"}`, "Ce-Subject", `"Euro%20%E2%82%AC \"q\""`, "Ce-Time", "2026-03-14T09:26:53Z"), Binary, []Event{with(func(e *Event) {
			e.Data, e.Subject, e.Time = json.RawMessage(`{"text":"hi"}`), `Euro € "q"`, "2026-03-14T09:26:53Z"
		})}},
		{"binary text", binary("caf\xe9"), Binary, []Event{with(func(e *Event) { e.Data = json.RawMessage(`"caf` + "\uFFFD" + `"`) })}},
		{"once decoded", binary("1", "Ce-Subject", "100%2525"), Binary, []Event{with(func(e *Event) { e.Data, e.Subject = json.RawMessage("1"), "100%25" })}},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := ModeOf(row.d); got != row.mode {
				t.Errorf("mode %d, want %d", got, row.mode)
			}
			got, err := Read(row.d)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	many := "[" + strings.TrimSuffix(strings.Repeat(`{},`, MaxBatch+1), ",") + "]"
	for name, d := range map[string]hook.Delivery{
		"plain JSON":   delivery(`{"specversion":"1.0"}`, "Content-Type", "application/json"),
		"XML":          delivery(`<x/>`, "Content-Type", "application/cloudevents+xml"),
		"cut":          delivery(`{"id":`, "Content-Type", "application/cloudevents+json"),
		"no id":        delivery(`{"specversion":"1.0","source":"/","type":"t"}`, "Content-Type", "application/cloudevents+json"),
		"numeric id":   delivery(`{"specversion":"1.0","source":"/","type":"t","id":1}`, "Content-Type", "application/cloudevents+json"),
		"null in one":  delivery(`[null]`, "Content-Type", "application/cloudevents-batch+json"),
		"too many":     delivery(many, "Content-Type", "application/cloudevents-batch+json"),
		"half escape":  binary("1", "Ce-Subject", "50%"),
		"overlong":     binary("1", "Ce-Subject", "%C0%A0"),
		"latin header": binary("1", "Ce-Subject", "caf\xe9"),
	} {
		if got, err := Read(d); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
	if got := ModeOf(delivery("", "Content-Type", "application/cloudevents-batch+avro")); got != Unknown {
		t.Errorf("a batch in Avro: mode %d, want Unknown", got)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	e := Event{ID: "1", Source: "/shop", Subject: "order 7"}
	if e.Key() != "event /shop 1" || e.Thread() != "/shop order 7" || (Event{}).Key() != "" || (Event{Source: "/"}).Thread() != "" {
		t.Errorf("key %q, thread %q; of nothing %q, %q", e.Key(), e.Thread(), Event{}.Key(), Event{Source: "/"}.Thread())
	}
}

func TestHandshake(t *testing.T) {
	t.Parallel()
	d := delivery("", "WebHook-Request-Origin", "events.example")
	if _, ok := Handshake(d); ok {
		t.Error("a POST passes for a handshake")
	}
	d.Method = http.MethodOptions
	a, ok := Handshake(d)
	if !ok || !a.Drop || a.Header.Get("WebHook-Allowed-Origin") != "events.example" || a.Header.Get("WebHook-Allowed-Rate") != "*" {
		t.Errorf("answered %+v, %v", a, ok)
	}
	if _, ok := Handshake(hook.Delivery{Method: http.MethodOptions}); ok {
		t.Error("a bare OPTIONS passes for a handshake")
	}
}

// TestReadsSharedEvents reads recordings that belong to others.
func TestReadsSharedEvents(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "cloudevents")
	file, err := os.ReadFile(filepath.Join(dir, "http-cases.json"))
	if err != nil {
		t.Skipf("the shared recordings are not beside the project: %v", err)
	}
	var all struct {
		Cases []struct {
			Name     string
			Headers  map[string]string
			Body     string
			BodyFile string `json:"body_file"`
			Expect   struct{ Mode, ID, Source, Type string }
		}
	}
	if err := json.Unmarshal(file, &all); err != nil {
		t.Fatal(err)
	}
	modes := map[string]Mode{"binary": Binary, "structured": Structured, "batch": Batched, "none": None}
	for _, c := range all.Cases {
		d := delivery(c.Body)
		for name, value := range c.Headers {
			d.Header.Set(name, value)
		}
		if c.BodyFile != "" {
			if d.Body, err = os.ReadFile(filepath.Join(dir, c.BodyFile)); err != nil {
				t.Fatal(err)
			}
		}
		if got := ModeOf(d); got != modes[c.Expect.Mode] {
			t.Errorf("%s: mode %d, want %s", c.Name, got, c.Expect.Mode)
		}
		if c.Expect.Mode == "none" {
			continue
		}
		if got, err := Read(d); err != nil || got[0].ID != c.Expect.ID {
			t.Errorf("%s: got %+v, error %v", c.Name, got, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("application/cloudevents-batch+json", "a%20b", []byte(`[{"specversion":"1.0","id":"1","source":"/","type":"t","data_base64":"AA=="}]`))
	f.Add("application/json", `"\""`, []byte("\xff"))
	f.Fuzz(func(t *testing.T, kind, subject string, body []byte) {
		events, err := Read(binary(string(body), "Content-Type", kind, "Ce-Subject", subject))
		for _, e := range events {
			if err != nil || len(e.Data) > 0 && !json.Valid(e.Data) {
				t.Errorf("error %v with data %q", err, e.Data)
			}
		}
	})
}

func TestReadAnyTakesPlainJSON(t *testing.T) {
	t.Parallel()
	events, err := ReadAny(delivery(`{"text":"hi"}`))
	if err != nil || len(events) != 1 || events[0].Key() != "" || string(events[0].Data) != `{"text":"hi"}` {
		t.Errorf("got %+v, error %v, want the body alone", events, err)
	}
	if _, err := ReadAny(delivery(`{"text"`)); err == nil {
		t.Error("what is no JSON was read")
	}
	events, err = ReadAny(delivery("[1]", "Ce-Specversion", "1.0", "Ce-Id", "7", "Ce-Source", "/shop", "Ce-Type", "order"))
	if err != nil || len(events) != 1 || events[0].ID != "7" {
		t.Errorf("got %+v, error %v, want the event", events, err)
	}
}
