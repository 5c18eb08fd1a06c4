package cmd

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"switchboard/channels"
	"switchboard/channels/all"
	"switchboard/internal/app"
	"switchboard/internal/config"
	"switchboard/internal/ledger"
	desks "switchboard/sinks/all"
)

// run runs one command to its end.
func run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	o, e := newScreen(), newScreen()
	c := &cli{
		kinds: Kinds{Channels: all.Kinds(), Sinks: desks.Kinds()}, out: o, err: e,
		getenv: func(string) (string, bool) { return "", false },
	}
	code = c.main(t.Context(), args)
	return code, o.String(), e.String()
}

// ok runs a command that must succeed in silence and returns what it prints.
func ok(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := run(t, args...)
	if code != 0 || errs != "" {
		t.Fatalf("switchboard %s: exit %d: %s", strings.Join(args, " "), code, errs)
	}
	return out
}

// write puts a file into a fresh directory and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckSaysEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	good := write(t, "switchboard.yaml", "channels:\n  website: { kind: form }\nsinks:\n  inbox: { kind: inbox }\n")
	if got, want := ok(t, "check", "--config", good), "the configuration is right: 1 channels, 1 sinks\n"; got != want {
		t.Errorf("a right file: got %q, want %q", got, want)
	}
	var v verdict
	if err := json.Unmarshal([]byte(ok(t, "check", "--json", "--config", good)), &v); err != nil || !v.OK || v.Channels != 1 || v.Sinks != 1 {
		t.Errorf("a right file as JSON: got %+v, %v", v, err)
	}

	bad := write(t, "switchboard.yaml", "listn: \":8080\"\nchannels:\n  website: { kind: fax }\n  sms: { kind: twilio-sms, auth_token: \"env:NOT_SET\" }\nsinks:\n  inbox: { kind: inbox }\n")
	code, out, errs := run(t, "check", "--config", bad)
	if code != 1 || out != "" {
		t.Errorf("a wrong file: got exit %d and %q", code, out)
	}
	want := []string{
		bad + ":1:1: listn: unknown key; did you mean listen?",
		bad + ":3:20: channels.website.kind: no kind \"fax\"; there are form, telegram, twilio-sms, webhook",
		bad + ":4:3: channels.sms.account_sid: required",
		bad + ":4:40: channels.sms.auth_token: environment variable NOT_SET is not set",
	}
	lines := strings.Split(strings.TrimSpace(errs), "\n")
	for _, w := range want {
		if !strings.Contains(errs, w) {
			t.Errorf("nobody says %q:\n%s", w, errs)
		}
	}
	if len(lines) != len(want) {
		t.Errorf("got %d lines, want %d:\n%s", len(lines), len(want), errs)
	}
	if code, out, _ := run(t, "check", "--json", "--config", bad); code != 1 || json.Unmarshal([]byte(out), &v) != nil || v.OK || len(v.Problems) != len(want) {
		t.Errorf("a wrong file as JSON: got exit %d, %s", code, out)
	}

	rules := write(t, "rules.yaml", "route: { sink: nowhere }\n")
	ruled := write(t, "switchboard.yaml", "rules: "+rules+"\nchannels:\n  website: { kind: form }\nsinks:\n  inbox: { kind: inbox }\n")
	if code, _, errs := run(t, "check", "--config", ruled); code != 1 || errs != rules+":1:16: route.sink: no sink \"nowhere\"; there is only inbox\n" {
		t.Errorf("wrong rules: got exit %d and %q", code, errs)
	}
	for name, path := range map[string]string{"no file": "nowhere.yaml", "no rules": write(t, "switchboard.yaml", "rules: nowhere.yaml\nchannels:\n  website: { kind: form }\nsinks:\n  inbox: { kind: inbox }\n")} {
		if code, _, errs := run(t, "check", "--config", path); code != 2 || !strings.Contains(errs, "nowhere.yaml") || !strings.HasPrefix(errs, "switchboard: ") {
			t.Errorf("%s: got exit %d and %q", name, code, errs)
		}
	}
	// serve refuses the same files with the same words.
	if code, _, again := run(t, "serve", "--config", bad); code != 1 || again != errs {
		t.Errorf("serve: got exit %d and %q, want what check said", code, again)
	}
}

func TestTheCommandLineSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	nowhere := t.TempDir()
	for _, tt := range []struct {
		args []string
		code int
		errs string
	}{
		{[]string{"frobnicate"}, 2, `switchboard: unknown command "frobnicate" for "switchboard"` + "\n"},
		{[]string{"explain"}, 2, "switchboard: accepts 1 arg(s), received 0\n"},
		{[]string{"audit", "--nonsense"}, 2, "switchboard: unknown flag: --nonsense\n"},
		{[]string{"audit", "--url", "http://127.0.0.1:1"}, 2, "switchboard: --url needs --token: it is in api.token of the data directory there\n"},
		{[]string{"audit", "--data", nowhere}, 1, "is it running, with the same --data?\n"},
		{[]string{"dead", "show", "x", "--data", nowhere}, 1, "is it running, with the same --data?\n"},
		{[]string{"passwd", "ada", "--data", nowhere}, 2, "no password was given on standard input"},
		{[]string{"sandbox", "send", "fax"}, 2, `no channel "fax"; there are website, shop-sms, shop-telegram, shop-orders` + "\n"},
		{[]string{"sandbox", "--listen", "nonsense"}, 1, "choose another address with --listen\n"},
		{[]string{"serve", "--listen", "nonsense", "--data", nowhere}, 1, "choose another address with --listen\n"},
	} {
		code, _, errs := run(t, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.errs) {
			t.Errorf("switchboard %s: got exit %d and %q, want %d and %q", strings.Join(tt.args, " "), code, errs, tt.code, tt.errs)
		}
		if strings.Contains(errs, "goroutine") {
			t.Errorf("switchboard %s prints a stack", strings.Join(tt.args, " "))
		}
	}
}

func TestVersionAndCompletion(t *testing.T) {
	t.Parallel()
	var v struct{ Version string }
	if err := json.Unmarshal([]byte(ok(t, "version", "--json")), &v); err != nil || v.Version == "" {
		t.Errorf("got %+v, %v", v, err)
	}
	if got := ok(t, "version"); got != "switchboard "+v.Version+"\n" {
		t.Errorf("got %q", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if got := ok(t, "completion", shell); !strings.Contains(got, "switchboard") {
			t.Errorf("%s: got %.100q", shell, got)
		}
	}
	if _, got, _ := run(t, "__complete", "dead", ""); !strings.Contains(got, "retry") {
		t.Errorf("completing dead: got %q", got)
	}
	if got := ok(t, "--help"); !strings.Contains(got, "sandbox") {
		t.Errorf("help: got %q", got)
	}
}

// shop starts a switchboard on the sandbox's configuration, with nobody at the
// vendors' end, and returns where it listens.
func shop(t *testing.T) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if got := ok(t, "sandbox", "init"); !strings.Contains(got, "wrote switchboard.yaml") || !strings.Contains(got, "wrote rules.yaml") {
		t.Errorf("init: got %q", got)
	}
	if code, _, errs := run(t, "sandbox", "init"); code != 1 || !strings.Contains(errs, "nothing was changed") {
		t.Errorf("a second init: got exit %d, %q", code, errs)
	}
	code, got, warned := run(t, "check")
	if code != 0 || got != "the configuration is right: 4 channels, 2 sinks\n" || strings.Count(warned, "warning: ") != strings.Count(warned, "\n") {
		t.Errorf("check of what init wrote: got exit %d, %q, %q", code, got, warned)
	}
	out := start(t, "serve", "--listen", "127.0.0.1:0")
	return out.until(t, `console +(http://\S+)/`)
}

// asked runs a command until its output says text: the ledger follows the events.
func asked(t *testing.T, text string, args ...string) string {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		code, out, errs := run(t, args...)
		if code == 0 && strings.Contains(out, text) {
			return out
		}
		if time.Now().After(end) {
			t.Fatalf("switchboard %s never says %q: exit %d, %s%s", strings.Join(args, " "), text, code, out, errs)
		}
	}
}

// books asks for the books until they are as want says.
func books(t *testing.T, want func(app.Books) bool) app.Books {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for {
		var b app.Books
		if err := json.Unmarshal([]byte(ok(t, "audit", "--json")), &b); err != nil {
			t.Fatal(err)
		}
		if want(b) || time.Now().After(end) {
			return b
		}
	}
}

func TestAMessagesLifeOnTheCommandLine(t *testing.T) {
	url := shop(t)
	send := []string{"sandbox", "send", "shop-orders", "--to", url, "--id", "ord-7", "--name", "Priya Nair", "--subject", "Late", "--text", "Warranty for my Petrel?"}
	for range 2 {
		if got := ok(t, send...); !strings.HasPrefix(got, "200 ") && !strings.HasPrefix(got, "202 ") && !strings.HasPrefix(got, "204 ") {
			t.Fatalf("send: got %q", got)
		}
	}
	if b := books(t, func(b app.Books) bool { return b.Filed == 1 && b.Duplicate == 1 }); !b.Balanced || b.Received != 2 {
		t.Fatalf("got %+v", b)
	}
	if got := ok(t, "audit"); !strings.Contains(got, "1  on a ticket") || !strings.HasSuffix(got, "The books balance; 1 tickets.\n") {
		t.Errorf("audit: got %q", got)
	}
	var story ledger.Story
	asked(t, "was the same message and was dropped", "explain", "ord-7")
	asked(t, "opened ticket", "explain", "ord-7")
	told := ok(t, "explain", "ord-7", "--json")
	if err := json.Unmarshal([]byte(told), &story); err != nil || story.Ticket.ID == "" || len(story.Duplicates) != 1 {
		t.Errorf("explain --json: got %s, %v", told, err)
	}
	told = ok(t, "explain", story.ID)
	for _, want := range []string{"from shop-orders (webhook)", "Priya Nair", "warranty", "workshop", "was the same message and was dropped", "opened ticket " + story.Ticket.ID + " on inbox", "outcome"} {
		if !strings.Contains(told, want) {
			t.Errorf("explain does not say %q:\n%s", want, told)
		}
	}
	if code, _, errs := run(t, "explain", "nobody"); code != 1 || !strings.Contains(errs, "nobody") {
		t.Errorf("explain of nothing: got exit %d, %q", code, errs)
	}
	token, err := os.ReadFile(filepath.Join("data", app.TokenName))
	if err != nil {
		t.Fatal(err)
	}
	if got := ok(t, "audit", "--url", url, "--token", strings.TrimSpace(string(token))); !strings.Contains(got, "The books balance") {
		t.Errorf("audit from elsewhere: got %q", got)
	}
	if code, _, errs := run(t, "audit", "--url", url, "--token", "wrong"); code != 1 || !strings.Contains(errs, app.TokenName) {
		t.Errorf("a wrong token: got exit %d, %q", code, errs)
	}
	if got := ok(t, "forget", story.Conversation); !strings.Contains(got, "forgotten: 1 messages, 2 deliveries") || !strings.Contains(got, "backups") {
		t.Errorf("forget: got %q", got)
	}
	if code, _, _ := run(t, "forget", story.Conversation+"x"); code != 1 {
		t.Errorf("forget of nobody: got exit %d", code)
	}
	if got := ok(t, "audit"); !strings.Contains(got, "1  forgotten on request") {
		t.Errorf("audit: got %q", got)
	}
}

func TestDeadLettersOnTheCommandLine(t *testing.T) {
	url := shop(t)
	if got := ok(t, "dead", "list"); got != "no dead letters\n" {
		t.Errorf("at first: got %q", got)
	}
	conf, err := config.Load("switchboard.yaml", config.Options{ChannelKinds: all.Kinds(), SinkKinds: desks.Kinds(), Getenv: os.LookupEnv}) //nolint:forbidigo // a command's own
	if err != nil {
		t.Fatal(err)
	}
	d, err := signed(conf, "shop-orders", url, channels.Sample{ID: "x", From: "a@b.example", At: time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	d.Body = []byte(`{"id":"x","text":`)
	ch, _ := conf.Channel("shop-orders")
	ch.Kind.Traits().Sign(ch.Value, &d)
	if code, answer, err := post(context.Background(), &http.Client{}, d); err != nil || code >= 300 {
		t.Fatalf("got %d %s, %v: what is signed and unreadable is accepted", code, answer, err)
	}
	if b := books(t, func(b app.Books) bool { return b.Dead == 1 }); b.Dead != 1 {
		t.Fatalf("got %+v", b)
	}
	var rows []ledger.DeadRow
	if err := json.Unmarshal([]byte(asked(t, "shop-orders", "dead", "list", "--json")), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("got %+v, %v", rows, err)
	}
	if got := ok(t, "dead", "list"); !strings.Contains(got, rows[0].ID) || !strings.Contains(got, "shop-orders") {
		t.Errorf("list: got %q", got)
	}
	if got := ok(t, "dead", "show", rows[0].ID); !strings.Contains(got, "pipeline, shop-orders") || !strings.HasSuffix(got, "\n{\"id\":\"x\",\"text\":\n") {
		t.Errorf("show: got %q", got)
	}
	if got := ok(t, "dead", "show", rows[0].ID, "--json"); !strings.Contains(got, `"place": "shop-orders"`) {
		t.Errorf("show --json: got %q", got)
	}
	if got := ok(t, "dead", "retry", rows[0].ID); got != "it is on its way again\n" {
		t.Errorf("retry: got %q", got)
	}
	if b := books(t, func(b app.Books) bool { return b.Dead == 2 }); b.Dead != 2 || !b.Balanced {
		t.Errorf("after the retry: got %+v", b)
	}
	for _, args := range [][]string{{"dead", "show", "nobody"}, {"dead", "retry", "nobody"}} {
		if code, _, errs := run(t, args...); code != 1 || !strings.Contains(errs, "there is no such dead letter") {
			t.Errorf("%v: got exit %d, %q", args, code, errs)
		}
	}
	if got := ok(t, "dead"); !strings.Contains(got, "retry") {
		t.Errorf("dead alone: got %q", got)
	}
}

func TestSendPrintsACommand(t *testing.T) {
	t.Chdir(t.TempDir())
	got := ok(t, "sandbox", "send", "shop-telegram", "--text", "It's broken", "--to", "http://localhost:9/", "--curl")
	if !regexp.MustCompile(`^curl -i -X POST .*-H 'X-Telegram-Bot-Api-Secret-Token: sandbox-secret-token'.* --data-binary '.*It'\\''s broken.*' 'http://localhost:9/hooks/shop-telegram'\n$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
	if code, _, errs := run(t, "sandbox", "send", "shop-sms", "--to", "http://127.0.0.1:1"); code != 1 || errs == "" {
		t.Errorf("nobody there: got exit %d, %q", code, errs)
	}
}

func TestTheSandboxPlaysItsVendors(t *testing.T) {
	t.Chdir(t.TempDir())
	out := start(t, "sandbox", "--listen", "127.0.0.1:0")
	base := out.until(t, `zendesk-eu +(http://\S+)`)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/_sandbox/tickets", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}
