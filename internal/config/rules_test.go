package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"switchboard/channels"
	"switchboard/router"
	"switchboard/schemas"
)

const shopRules = `
vocabulary:
  order_status: { category: orders, terms: ["order status", "where is my order", "wo ist meine bestellung"] }
  warranty:     { category: warranty, terms: [warranty, "garantie*"] }
  complaint:    { urgency: high, terms: [complaint, unacceptable] }
  urgent:       { urgency: critical, terms: [urgent, asap], unless: ["not urgent", "no rush"] }
  year:         { category: dates, terms: 2026 }
route:
  sink: desk-eu
  queue: support
  routes:
    - name: everything of importance
      when: { urgency: [high, critical] }
      continue: true
      sink: inbox
    - name: angry and urgent
      when: { urgency: critical, category: [orders, warranty] }
      queue: escalations
      priority: urgent
      severity: 1
      type: incident
      assignee: anna
    - name: business customers
      when: { requester.domain: [acme.example], not: { channel: website } }
      set: { tags: [b2b], fields: { customer_tier: enterprise, a: 1 } }
      routes:
        - when: { any: [{ text: Größe }, { subject: size }, { keyword: year, attachments: false }] }
          queue: sizes
    - when: { all: [{ kind: form }, { requester.email: eve@home.example }, { requester.name: eve }] }
      suppress: blocked
`

func parseRules(t *testing.T, text string) *Rules {
	t.Helper()
	r, err := ParseRules("rules.yaml", []byte(text), testNames)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func decide(r *Rules, m schemas.Message) []schemas.Decision {
	class := r.Classifier.Classify(m)
	return r.Tree.Match(router.Facts{Message: &m, Class: &class})
}

func from(address string) schemas.Requester {
	return schemas.Requester{Name: "Eve Example", Identities: []schemas.Identity{{Kind: schemas.Email, Value: address}}}
}

func TestRulesDecide(t *testing.T) {
	t.Parallel()
	r := parseRules(t, shopRules)
	root := schemas.RuleRef{Name: "default", Line: 8}
	business := schemas.RuleRef{Name: "business customers", Line: 23, Why: "requester.domain acme.example, not (channel website)"}
	fields := []schemas.Field{{Name: "a", Value: "1"}, {Name: "customer_tier", Value: "enterprise"}}
	for _, test := range []struct {
		name string
		in   schemas.Message
		want []schemas.Decision
	}{
		{"default", schemas.Message{Text: "hello"}, []schemas.Decision{{Sink: "desk-eu", Queue: "support", Path: []schemas.RuleRef{root}}}},
		{"urgent order", schemas.Message{Text: "URGENT where is my order 1234?"}, []schemas.Decision{
			{Sink: "inbox", Queue: "support", Path: []schemas.RuleRef{root, {Name: "everything of importance", Line: 12, Why: "urgency critical"}}},
			{
				Sink: "desk-eu", Queue: "escalations", Priority: schemas.PriorityUrgent, Severity: "1", Type: "incident", Assignee: "anna",
				Path: []schemas.RuleRef{root, {Name: "angry and urgent", Line: 16, Why: "urgency critical, category orders"}},
			},
		}},
		{"business", schemas.Message{Channel: "shop-sms", Text: "hello", Requester: from("eve@acme.example")}, []schemas.Decision{
			{Sink: "desk-eu", Queue: "support", Tags: []string{"b2b"}, Fields: fields, Path: []schemas.RuleRef{root, business}},
		}},
		{"nameless", schemas.Message{Channel: "shop-sms", Text: "Welche GROSSE?", Requester: from("eve@acme.example")}, []schemas.Decision{
			{
				Sink: "desk-eu", Queue: "sizes", Tags: []string{"b2b"}, Fields: fields,
				Path: []schemas.RuleRef{root, business, {Name: "route.routes[2].routes[0]", Line: 27, Why: `text has "Größe"`}},
			},
		}},
		{"nameless by number", schemas.Message{Channel: "shop-sms", Text: "in 2026", Requester: from("eve@acme.example")}, []schemas.Decision{
			{
				Sink: "desk-eu", Queue: "sizes", Tags: []string{"b2b"}, Fields: fields,
				Path: []schemas.RuleRef{root, business, {Name: "route.routes[2].routes[0]", Line: 27, Why: "keyword year, no attachments"}},
			},
		}},
		{"suppressed", schemas.Message{Kind: "form", Requester: from("Eve@home.example")}, []schemas.Decision{
			{
				Sink: "-", Drop: "blocked", Queue: "support",
				Path: []schemas.RuleRef{root, {Name: "route.routes[3]", Line: 29, Why: `kind form, requester.email eve@home.example, requester.name has "eve"`}},
			},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, decide(r, test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRulesKeepTheirSource(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte(shopRules), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := LoadRules(path, testNames)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(shopRules))
	if want := hex.EncodeToString(sum[:])[:12]; r.Digest != want || string(r.Source) != shopRules || r.File != path {
		t.Errorf("got %s of %s, want %s of the whole file", r.Digest, r.File, want)
	}
	if diff := cmp.Diff([]string{"desk-eu", "inbox"}, r.Tree.Sinks()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"orders", "warranty", "dates"}, r.Classifier.Categories()); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultRules(t *testing.T) {
	t.Parallel()
	r, err := LoadRules("", Names{Sinks: []string{"inbox"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"URGENT! Where is my order?": "inbox urgent urgent", "a complaint": "inbox support high", "hello": "inbox support ",
	} {
		d := decide(r, schemas.Message{Text: text})
		if got := d[0].Sink + " " + d[0].Queue + " " + string(d[0].Priority); len(d) != 1 || got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestRulesWithoutTheirSinkAreRefused(t *testing.T) {
	t.Parallel()
	_, err := LoadRules("", Names{Sinks: []string{"desk"}})
	if err == nil || !strings.Contains(err.Error(), `route.sink: no sink "inbox"; there is only desk`) {
		t.Errorf("got %v", err)
	}
}

func TestHugeFileIsRefused(t *testing.T) {
	t.Parallel()
	_, err := ParseRules("rules.yaml", bytes.Repeat([]byte("# \n"), 400_000), testNames)
	if err == nil || err.Error() != "rules.yaml: the file is larger than 1MiB" {
		t.Errorf("got %v", err)
	}
}

func TestMuchThatIsWrongIsNotAllListed(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&text, "key%d: x\n", i)
	}
	_, err := ParseRules("rules.yaml", []byte(text.String()), testNames)
	list, _ := errors.AsType[Diagnostics](err)
	if len(list) != 501 || !strings.HasSuffix(list[0].Message, "more is wrong than is listed here") {
		t.Errorf("got %d diagnostics, want 500 and a last word", len(list))
	}
}

func TestDeepFileIsRefused(t *testing.T) {
	t.Parallel()
	for _, open := range []string{"[", "{a: ", "- "} {
		_, err := ParseRules("rules.yaml", []byte("route: "+strings.Repeat(open, 20_000)), testNames)
		if err == nil {
			t.Errorf("got no error for 20,000 of %q", open)
		}
	}
}

// instance reads YAML as a JSON Schema validator wants it.
func instance(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func resolve(t *testing.T, text []byte) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSchemasAgreeWithTheReader(t *testing.T) {
	t.Parallel()
	config, rules, err := Schemas(options(), nil)
	if err != nil {
		t.Fatal(err)
	}
	configSchema, rulesSchema := resolve(t, config), resolve(t, rules)
	for _, test := range []struct {
		name, text string
		schema     *jsonschema.Resolved
		ok         bool
	}{
		{"default", string(defaultConfig), configSchema, true},
		{"pager", `
listen: ":1"
horizon: 5w1d
store_limit: 1.5GiB
nats: { url: "nats://a", replicas: 3 }
log: { level: warn }
channels:
  a: { kind: pager, number: 5, token: "env:X", origins: x, several: [{ key: a }], maybe: { key: b }, rate_limit: 5/s, nested: { key: x }, net: 10.0.0.0/8 }
sinks: { b: { kind: helpdesk, subdomain: x, settle: 3s, after_dead: hold } }`, configSchema, true},
		{"unknown key", strings.Replace(string(defaultConfig), "listen:", "lisen:", 1), configSchema, false},
		{"unknown option", `{ channels: { a: { kind: form, titel: x } }, sinks: { b: { kind: inbox } } }`, configSchema, false},
		{"unknown kind", `{ channels: { a: { kind: frm } }, sinks: { b: { kind: inbox } } }`, configSchema, false},
		{"missing option", `{ channels: { a: { kind: form } }, sinks: { b: { kind: helpdesk } } }`, configSchema, false},
		{"no channels", `{ channels: {}, sinks: { b: { kind: inbox } } }`, configSchema, false},
		{"bad name", `{ channels: { A B: { kind: form } }, sinks: { b: { kind: inbox } } }`, configSchema, false},
		{"bad duration", `{ horizon: soon, channels: { a: { kind: form } }, sinks: { b: { kind: inbox } } }`, configSchema, false},
		{"default rules", string(defaultRules), rulesSchema, true},
		{"shop rules", shopRules, rulesSchema, true},
		{"bad priority", "route: { sink: a, priority: critical }", rulesSchema, false},
		{"deep unknown key", "route: { sink: a, routes: [{ routes: [{ when: { any: [{ txt: a }] } }] }] }", rulesSchema, false},
	} {
		if err := test.schema.Validate(instance(t, test.text)); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want valid %v", test.name, err, test.ok)
		}
	}
}

func TestSchemasCarryDefaultsAndComments(t *testing.T) {
	t.Parallel()
	const field = "switchboard/internal/config."
	config, rules, err := Schemas(options(), map[string]string{
		field + "Config.Listen": "Where to listen.", field + "pagerConfig.Wait": "How long.", field + "condition.Domain": "Whose.",
	})
	if err != nil {
		t.Fatal(err)
	}
	var s, r jsonschema.Schema
	if json.Unmarshal(config, &s) != nil || json.Unmarshal(rules, &r) != nil {
		t.Fatal("the schemas are not JSON")
	}
	pager := s.Properties["channels"].AdditionalProperties.OneOf[0].Properties
	got := []string{
		s.Properties["listen"].Description, string(s.Properties["listen"].Default), string(s.Properties["horizon"].Default),
		pager["wait"].Description, string(pager["wait"].Default), strings.Join(strings.Fields(string(pager["origins"].Default)), " "), string(pager["token"].Default),
		r.Defs["internal-config.condition"].Properties["requester.domain"].Description,
	}
	want := []string{"Where to listen.", `":8080"`, `"35d"`, "How long.", `"1s"`, "[ \"https://a.example\" ]", "", "Whose."}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSchemasRefuseWhatNoFileCanSet(t *testing.T) {
	t.Parallel()
	type odd struct {
		C chan int `yaml:"c"`
	}
	o := options()
	o.ChannelKinds = append(o.ChannelKinds, channels.Define("odd", odd{}, openChannel, channels.Traits[odd]{}))
	if _, _, err := Schemas(o, nil); err == nil {
		t.Error("got no error for a channel of Go in a Config")
	}
}

// FuzzLoad: no panic, no hang; a file is taken or every line of the error has a place.
func FuzzLoad(f *testing.F) {
	for _, text := range seeds(f, "switchboard.yaml") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		if bytes.Contains(source, []byte("file:")) {
			t.Skip("reads files")
		}
		o := options()
		o.ReadFile = func(string) ([]byte, error) { return source, nil }
		c, err := Load("f.yaml", o)
		if err == nil && (len(c.Channels) == 0 || len(c.Sinks) == 0) {
			t.Fatal("taken without channels or sinks")
		}
		checkDiagnostics(t, err)
	})
}

// FuzzRules: no panic, no hang; rules that are taken decide.
func FuzzRules(f *testing.F) {
	f.Add([]byte(shopRules))
	for _, text := range seeds(f, "rules.yaml") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		r, err := ParseRules("f.yaml", source, testNames)
		checkDiagnostics(t, err)
		if err == nil && len(decide(r, schemas.Message{Subject: "Urgent", Text: "where is my order", Requester: from("a@b.example")})) == 0 {
			t.Fatal("no decision")
		}
	})
}

func seeds(f *testing.F, name string) [][]byte {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatalf("got %d seeds: %v", len(files), err)
	}
	out := [][]byte{defaultConfig, defaultRules}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		given, _, _ := strings.Cut(string(content), "-- want --\n")
		if m := inputFile.FindStringSubmatch(given); m != nil && m[1] == name {
			out = append(out, []byte(m[2]))
		}
	}
	return out
}

func checkDiagnostics(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	list, ok := err.(Diagnostics) //nolint:errorlint // nothing may wrap it
	if !ok || len(list) == 0 {
		t.Fatalf("got %v, want diagnostics", err)
	}
	for _, d := range list {
		if d.Message == "" || d.Line < 0 || d.Line > 0 && d.Col < 1 {
			t.Fatalf("diagnostic without a place or words: %+v", d)
		}
	}
}
