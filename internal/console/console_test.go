package console_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/internal/console"
)

// site is a console that is served, and what it stands on.
type site struct {
	t        *testing.T
	url      string
	ledger   *fakeLedger
	actions  *fakeActions
	accounts *fakeAccounts
	console  *console.Console
	log      *safeBuffer

	mu  sync.Mutex
	now time.Time
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

const password = "a long enough password"

func open(t *testing.T, change ...func(*console.Options)) *site {
	t.Helper()
	l, a := shop()
	s := &site{t: t, ledger: l, actions: a, accounts: newAccounts(), log: &safeBuffer{}, now: noon}
	opts := console.Options{
		Ledger: l, Actions: a, Accounts: s.accounts, Log: slog.New(slog.NewTextHandler(s.log, nil)), Name: "Kestrel Hobby", Zone: time.UTC, Now: s.clock,
		Channels: []console.Instance{
			{Name: "shop-sms", Kind: "twiliosms", Title: "Twilio SMS"},
			{Name: "telegram", Kind: "telegram"},
			{Name: "website", Kind: "form", Page: "/form/website"},
			{Name: "partners", Kind: "webhook", Sample: `curl localhost:8080/hooks/partners -d '{"text": "hello"}'`},
		},
		Sinks: []console.Instance{{Name: "inbox", Kind: "inbox", Title: "built in"}, {Name: "zendesk-eu", Kind: "zendesk", Title: "Zendesk"}},
	}
	for _, f := range change {
		f(&opts)
	}
	s.console = console.New(opts)
	for name, role := range map[string]console.Role{"ruth": console.Admin, "noor": console.Agent, "vera": console.Viewer} {
		if err := s.console.SetPassword(t.Context(), name, role, password); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(s.console)
	t.Cleanup(server.Close)
	t.Cleanup(s.console.Close)
	s.url = server.URL
	return s
}

// browser is a visitor with cookies who follows no redirect by itself.
type browser struct {
	*site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// as returns a browser that has signed in.
func (s *site) as(name string) *browser {
	s.t.Helper()
	b := s.browser()
	if res, _ := b.post("/login", "user", name, "password", password); res.StatusCode != http.StatusSeeOther {
		s.t.Fatalf("sign in as %s: got %d want 303", name, res.StatusCode)
	}
	return b
}

func (b *browser) do(req *http.Request) (*http.Response, string) {
	b.t.Helper()
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(body)
}

func (b *browser) request(method, path string, body io.Reader) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return req
}

func (b *browser) get(path string) (*http.Response, string) {
	b.t.Helper()
	return b.do(b.request(http.MethodGet, path, nil))
}

func (b *browser) post(path string, pairs ...string) (*http.Response, string) {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	req := b.request(http.MethodPost, path, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(req)
}

// page gets a page that must be there.
func (b *browser) page(path string) string {
	b.t.Helper()
	res, body := b.get(path)
	if res.StatusCode != http.StatusOK {
		b.t.Fatalf("GET %s: got %d want 200:\n%s", path, res.StatusCode, body)
	}
	return body
}

func wants(t *testing.T, body string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func lacks(t *testing.T, body string, none ...string) {
	t.Helper()
	for _, bad := range none {
		if i := strings.Index(body, bad); i >= 0 {
			t.Errorf("page has %q: …%s…", bad, body[max(0, i-80):min(len(body), i+80)])
		}
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
