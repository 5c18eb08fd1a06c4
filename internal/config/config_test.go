package config

import (
	"errors"
	"flag"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/sinks"
)

var update = flag.Bool("update", false, "rewrite the wanted diagnostics in testdata")

// pagerConfig has one field of every type that adapters use.
type pagerConfig struct {
	Number  string                   `yaml:"number" required:"true"`
	Token   secret.Secret            `yaml:"token" required:"true"`
	Headers map[string]secret.Secret `yaml:"headers"`
	Origins []string                 `yaml:"origins"`
	Wait    time.Duration            `yaml:"wait"`
	Most    Size                     `yaml:"most"`
	Poll    bool                     `yaml:"poll"`
	Ratio   float64                  `yaml:"ratio"`
	Small   int8                     `yaml:"small"`
	Count   uint                     `yaml:"count"`
	Net     netip.Prefix             `yaml:"net"`
	Nested  nested                   `yaml:"nested"`
	Several []nested                 `yaml:"several"`
	Maybe   *nested                  `yaml:"maybe"`
	BaseURL string                   `yaml:"base_url"`
}

type nested struct {
	Key   string            `yaml:"key" required:"true"`
	Names map[string]string `yaml:"names"`
}

type formConfig struct {
	Title string `yaml:"title"`
}

type webhookConfig struct {
	Token secret.Secret `yaml:"token" required:"true"`
}

type deskConfig struct {
	Subdomain string `yaml:"subdomain" required:"true"`
}

type inboxConfig struct {
	Prefix string `yaml:"prefix"`
}

func openChannel[C any](C, channels.Env) (channels.Channel, error) {
	return nil, errors.New("not here")
}

func openSink[C any](C, sinks.Env) (sinks.Sink, error) { return nil, errors.New("not here") }

func options() Options {
	return Options{
		ChannelKinds: []channels.Kind{
			channels.Define("pager", pagerConfig{Origins: []string{"https://a.example"}, Wait: time.Second, BaseURL: "https://pager.example"},
				openChannel, channels.Traits[pagerConfig]{}),
			channels.Define("form", formConfig{Title: "Ask us"}, openChannel, channels.Traits[formConfig]{Form: true}),
			channels.Define("webhook", webhookConfig{}, openChannel, channels.Traits[webhookConfig]{}),
			channels.Define("postbox", formConfig{}, openChannel, channels.Traits[formConfig]{Mail: true}),
		},
		SinkKinds: []sinks.Kind{
			sinks.Define("inbox", inboxConfig{Prefix: "T"}, openSink, sinks.Traits[inboxConfig]{}),
			sinks.Define("helpdesk", deskConfig{}, openSink, sinks.Traits[deskConfig]{}),
		},
		Getenv: func(name string) (string, bool) {
			return "value of the pager's token", name == "PAGER_TOKEN"
		},
	}
}

var testNames = Names{
	Channels: []string{"website", "shop-sms"}, Sinks: []string{"inbox", "desk-eu", "desk-us"}, Kinds: []string{"form", "pager"},
}

// inputFile is the first file of a case: its name, its content.
var inputFile = regexp.MustCompile(`(?s)-- (\S+) --\n(.*)$`)

// TestDiagnostics runs the cases in testdata: a switchboard.yaml or a rules.yaml
// and all that is to be said about it.
func TestDiagnostics(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil || len(files) < 20 {
		t.Fatalf("got %d cases (%v), want at least 20", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			given, want, ok := strings.Cut(string(content), "-- want --\n")
			m := inputFile.FindStringSubmatch(given)
			if !ok || m == nil {
				t.Fatal("a case has a file to read, and what is wanted at its end")
			}
			got := diagnose(t, m[1], []byte(m[2])) + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(given+"-- want --\n"+got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("a secret was repeated")
			}
		})
	}
}

// diagnose is all that is said about a file, error or not.
func diagnose(t *testing.T, name string, source []byte) string {
	t.Helper()
	var warnings Diagnostics
	var err error
	if name == "rules.yaml" {
		var r *Rules
		if r, err = ParseRules(name, source, testNames); err == nil {
			warnings = r.Warnings
		}
	} else {
		o := options()
		o.ReadFile = func(string) ([]byte, error) { return source, nil }
		var c *Config
		if c, err = Load(name, o); err == nil {
			warnings = c.Warnings
		}
	}
	if err != nil {
		if _, ok := errors.AsType[Diagnostics](err); !ok {
			t.Fatalf("got %v, want diagnostics", err)
		}
		return err.Error()
	}
	return warnings.Error()
}

func load(t *testing.T, text string) *Config {
	t.Helper()
	o := options()
	o.ReadFile = func(string) ([]byte, error) { return []byte(text), nil }
	c, err := Load(filepath.Join("conf", "switchboard.yaml"), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const whole = `
listen: 127.0.0.1:9000
public_url: https://intake.shop.example/
trusted_proxies: [10.0.0.0/8, "::1/128"]
data: state
durability: os
rules: rules.yaml
horizon: 5w1d2h
log: { format: json, level: warn }
store_limit: 1.5GiB
channels:
  shop-sms: &sms
    kind: pager
    number: +4930123
    token: env:PAGER_TOKEN
    headers: { X-Key: "env:PAGER_TOKEN" }
    origins: https://b.example
    wait: 1m30s
    most: 25MiB
    poll: true
    ratio: 0.5
    small: -3
    count: 7
    net: 10.0.0.0/8
    nested: { key: 5, names: { a: b } }
    several: [{ key: x }, { key: y }]
    maybe: { key: z }
    rate_limit: 30/m
    replies: { on_unknown: resend }
  other-sms: { <<: *sms, number: "110", replies: {} }
  letters: { kind: postbox, realm: shop }
sinks:
  inbox: { kind: inbox }
  desk-eu: { kind: helpdesk, subdomain: shop, settle: 2s, after_dead: hold, concurrency: 4 }
`

func TestLoadEverything(t *testing.T) {
	t.Parallel()
	c := load(t, whole)
	if len(c.Warnings) > 0 {
		t.Errorf("got warnings %v, want none", c.Warnings)
	}
	sms, _ := c.Channel("shop-sms")
	value := sms.Value.(pagerConfig)
	if got := value.Token.Reveal(); got != "value of the pager's token" {
		t.Errorf("got token %q", got)
	}
	if got := value.Headers["X-Key"]; got.IsZero() {
		t.Error("the secret in the map was not resolved")
	}
	value.Token, value.Headers = secret.Secret{}, nil
	wantPager := pagerConfig{
		Number: "+4930123", Origins: []string{"https://b.example"}, Wait: 90 * time.Second, Most: 25 << 20, Poll: true, Ratio: 0.5,
		Small: -3, Count: 7, Net: netip.MustParsePrefix("10.0.0.0/8"), Nested: nested{Key: "5", Names: map[string]string{"a": "b"}},
		Several: []nested{{Key: "x"}, {Key: "y"}}, Maybe: &nested{Key: "z"}, BaseURL: "https://pager.example",
	}
	same := cmp.Options{cmp.Comparer(func(a, b secret.Secret) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff(wantPager, value, same); diff != "" {
		t.Error(diff)
	}
}

func TestLoadCommonOptions(t *testing.T) {
	t.Parallel()
	c := load(t, whole)
	sms, _ := c.Channel("shop-sms")
	wantCommon := ChannelCommon{RateLimit: Rate{N: 30, Per: time.Minute}, Replies: Replies{OnUnknown: Resend}}
	if diff := cmp.Diff(wantCommon, sms.Common); diff != "" {
		t.Error(diff)
	}
	other, _ := c.Channel("other-sms")
	if got := other.Value.(pagerConfig); got.Number != "110" || !got.Poll {
		t.Errorf("got %q, %v: want its own number and the merged poll", got.Number, got.Poll)
	}
	desk, _ := c.Sink("desk-eu")
	if diff := cmp.Diff(SinkCommon{Settle: 2 * time.Second, AfterDead: HoldLane, Concurrency: 4}, desk.Common); diff != "" {
		t.Error(diff)
	}
	if desk.Line != 34 || desk.Kind.Name() != "helpdesk" {
		t.Errorf("got %s on line %d, want helpdesk on line 34", desk.Kind.Name(), desk.Line)
	}
}

func TestLoadTopLevel(t *testing.T) {
	t.Parallel()
	c := load(t, whole)
	got := []any{c.Listen, c.PublicURL, c.Data, c.Durability, c.Rules, c.Horizon, c.Log.Format, c.Log.Level.String(), c.StoreLimit.String(), len(c.TrustedProxies)}
	want := []any{
		"127.0.0.1:9000", "https://intake.shop.example", "conf/state", OS, "conf/rules.yaml",
		36*24*time.Hour + 2*time.Hour, "json", "WARN", "1536MiB", 2,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	names := Names{
		Channels: []string{"shop-sms", "other-sms", "letters"}, Sinks: []string{"inbox", "desk-eu"},
		Kinds: []string{"pager", "form", "webhook", "postbox"},
	}
	if diff := cmp.Diff(names, c.Names()); diff != "" {
		t.Error(diff)
	}
}

func TestLoadKeepsDefaultsOfKind(t *testing.T) {
	t.Parallel()
	for range 2 { // what the first reading sets must not leak into the second
		c := load(t, `
channels:
  a: { kind: pager, number: 1, token: env:PAGER_TOKEN, origins: [https://x.example] }
  b: { kind: pager, number: 2, token: env:PAGER_TOKEN }
sinks: { inbox: { kind: inbox } }
`)
		b, _ := c.Channel("b")
		if diff := cmp.Diff([]string{"https://a.example"}, b.Value.(pagerConfig).Origins); diff != "" {
			t.Error(diff)
		}
		if b.Common.Replies.OnUnknown != Hold {
			t.Errorf("got %q, want hold", b.Common.Replies.OnUnknown)
		}
	}
}

func TestLoadSecretFileIsBesideTheConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := "channels: { w: { kind: webhook, token: file:token } }\nsinks: { inbox: { kind: inbox } }\n"
	path := filepath.Join(dir, "switchboard.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, options())
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Channels[0].Value.(webhookConfig).Token.Reveal(); got != "from a file" {
		t.Errorf("got %q", got)
	}
}

func TestLoadMissingFile(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml"), options()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	if _, err := LoadRules(filepath.Join(t.TempDir(), "none.yaml"), testNames); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestDefaultHoldsWithoutFiles(t *testing.T) {
	t.Parallel()
	c, err := Default(options(), secret.Literal("made at the first start"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"website", "webhook"}, c.Names().Channels); diff != "" {
		t.Error(diff)
	}
	hook, _ := c.Channel("webhook")
	if got := hook.Value.(webhookConfig).Token.Reveal(); got != "made at the first start" {
		t.Errorf("got token %q", got)
	}
	if c.File != "" || c.Rules != "" || len(c.Warnings) > 0 {
		t.Errorf("got file %q, rules %q, warnings %v; want none", c.File, c.Rules, c.Warnings)
	}
	if _, err := LoadRules(c.Rules, c.Names()); err != nil {
		t.Error(err)
	}
}

func TestDefaultNeedsItsKinds(t *testing.T) {
	t.Parallel()
	if _, err := Default(Options{}, secret.Literal("x")); err == nil {
		t.Error("got no error for a binary without the kinds")
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"4096": 4096, "25MiB": 25 << 20, "10MB": 10e6, "1.5KiB": 1536, "2 GB": 2e9, "7B": 7, "0": 0, "1TiB": 1 << 40,
		"": -1, "MiB": -1, "-1": -1, "1e9": -1, "1XB": -1, "0x10": -1, "99999999999TiB": -1, "NaN": -1, "1_000": -1, "inf": -1,
	} {
		got := Size(-1)
		if err := got.UnmarshalText([]byte(text)); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	if got := Size(1536).String() + " " + Size(1000).String() + " " + Size(0).String(); got != "1536 1000 0" {
		t.Errorf("got %s", got)
	}
}

func TestRateAndDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5/s": "5/1s", "30/m": "30/1m", "100/15m": "100/15m", "1/d": "1/1d",
		"": "", "5": "", "0/s": "", "x/s": "", "5/": "", "5/0s": "", "5/-1s": "", "-5/s": "",
	} {
		var got Rate
		if err := got.UnmarshalText([]byte(text)); (err == nil) != (want != "") || got.String() != want {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"30m": 30 * time.Minute, "1d": 24 * time.Hour, "2w1d": 15 * 24 * time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute, "0s": 0,
		"": -1, "-1s": -1, "+1s": -1, "5": -1, "d": -1, "1d1w": -1, "1.5d": -1, "65535w": -1, "15250w2562047h": -1, "1x": -1,
	} {
		if got, err := parseDuration(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestMeant(t *testing.T) {
	t.Parallel()
	known := []string{"bot_token", "base_url", "poll"}
	for word, want := range map[string]string{
		"bot_tokn": "; did you mean bot_token?", "BOT_TOKEN": "; did you mean bot_token?", "opll": "; did you mean poll?",
		"zzzzzzzz": "; there are bot_token, base_url, poll", strings.Repeat("x", 90): "; there are bot_token, base_url, poll",
	} {
		if got := meant(word, known); got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
	if got := meant("x", nil) + meant("what", []string{"one"}); got != "; there is only one" {
		t.Errorf("got %q", got)
	}
}
