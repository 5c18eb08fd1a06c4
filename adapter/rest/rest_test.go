package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/secret"
)

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestCallsSendAndRead(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, `{"said":"`+r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Content-Type")+" "+strings.ReplaceAll(string(body), `"`, `'`)+`"}`)
	})
	c := New(s.Client(), s.URL+"/api/")
	type in struct {
		A int `json:"a"`
	}
	var out struct{ Said string }
	for _, tt := range []struct {
		name string
		call func() error
		want string
	}{
		{"get", func() error { return c.Get(t.Context(), "/x?y=1", &out) }, "GET /api/x?y=1  "},
		{"post", func() error { return c.Post(t.Context(), "/x", in{1}, &out) }, "POST /api/x application/json {'a':1}"},
		{"put", func() error { return c.Put(t.Context(), "/x", in{2}, &out) }, "PUT /api/x application/json {'a':2}"},
		{"raw body and query", func() error {
			_, err := c.Do(t.Context(), Request{Method: "POST", Path: "/x?a=1", Query: url.Values{"b": {"2 3"}}, Body: []byte("raw"), Type: "text/plain"}, &out)
			return err
		}, "POST /api/x?a=1&b=2+3 text/plain raw"},
		{"absolute address of the vendor", func() error { return c.Get(t.Context(), s.URL+"/next", &out) }, "GET /next  "},
	} {
		if err := tt.call(); err != nil || out.Said != tt.want {
			t.Errorf("%s: got %q, %v, want %q", tt.name, out.Said, err, tt.want)
		}
	}
	var raw []byte
	if err := c.Get(t.Context(), "/x", &raw); err != nil || !strings.HasPrefix(string(raw), "{") {
		t.Errorf("raw answer: got %q, %v", raw, err)
	}
	if err := c.Get(t.Context(), "https://elsewhere.example/x", &out); !fault.IsPermanent(err) {
		t.Errorf("address of somebody else: got %v, want a permanent fault", err)
	}
	if err := c.Post(t.Context(), "/x", func() {}, nil); !fault.IsPermanent(err) {
		t.Errorf("body that has no JSON: got %v, want a permanent fault", err)
	}
	if _, err := c.Do(t.Context(), Request{Method: "BAD METHOD", Path: "/x"}, nil); !fault.IsPermanent(err) {
		t.Errorf("malformed method: got %v, want a permanent fault", err)
	}
}

func TestASuccessThatCannotBeReadIsUnknown(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"id":`) },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"id":1`)
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Repeat(" ", maxAnswer+1))
		},
	} {
		s := serve(t, h)
		var out struct{ ID int }
		err := New(s.Client(), s.URL).Post(t.Context(), "/", out, &out)
		if err == nil || fault.IsNotDone(err) || fault.IsPermanent(err) {
			t.Errorf("%s: got %v, want a plain error", name, err)
		}
	}
}

func TestWithoutAConnectionNothingWasDone(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	err := New(&http.Client{}, s.URL+"/secret-path").Post(t.Context(), "/token-in-path", nil, nil)
	if !fault.IsNotDone(err) || fault.IsPermanent(err) || strings.Contains(err.Error(), "token-in-path") {
		t.Errorf("got %v, want not done, without the address", err)
	}
}

func TestAConnectionForTheTokenIsNotTheCalls(t *testing.T) {
	t.Parallel()
	tokens := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"access_token":"a"}`) })
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := New(&http.Client{}, gone.URL, WithAuth(JSONCredentials(tokens.Client(), tokens.URL, map[string]string{})))
	if err := c.Post(t.Context(), "/", nil, nil); !fault.IsNotDone(err) {
		t.Errorf("got %v, want not done: only the token's connection was made", err)
	}
}

func TestAHangUpIsUnknown(t *testing.T) {
	t.Parallel()
	s := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	err := New(s.Client(), s.URL).Post(t.Context(), "/", nil, nil)
	if err == nil || fault.IsNotDone(err) {
		t.Errorf("got %v, want unknown", err)
	}
}

func TestWordsOfTheVendor(t *testing.T) {
	t.Parallel()
	own := WithWords(func(b []byte) string { return strings.TrimPrefix(string(b), "E:") })
	for _, tt := range []struct {
		name, body, want string
		options          []Option
	}{
		{"plain", "  slow\n down ", "slow down", nil},
		{"empty", "", "", nil},
		{"own reader", "E:because", "because", []Option{own}},
		{"a page", "\n<html><body>secret words</body>", HTMLPage, nil},
		{"code and description", `{"error":"RecordInvalid","description":"not valid"}`, "RecordInvalid; not valid", nil},
		{"nested", `{"error":{"title":"Too big","message":"50 MB","extra":"customer's words"}}`, "Too big; 50 MB", nil},
		{"fields", `{"details":{"status":[{"description":"is closed","error":"Locked","value":"customer's words"}]}}`, "status: is closed; status: Locked", nil},
		{"list of errors", `{"errors":[{"field":"email","message":"is taken","value":"customer's words"}]}`, "is taken", nil},
		{"errors by field", `{"errorMessages":["no"],"errors":{"summary":"is required"}}`, "no; summary: is required", nil},
		{"what it quotes", `{"message":"ada@customers.example (+49 30 1234567) is unknown, code 21610"}`, "… (+49 30 … is unknown, code 21610", nil},
		{"nothing told", `{"ticket":{"text":"customer's words"}}`, "an answer without an explanation", nil},
		{"numbers only", `[1,2,null,true]`, "an answer without an explanation", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = io.WriteString(w, tt.body)
			})
			err := New(s.Client(), s.URL, tt.options...).Get(t.Context(), "/", nil)
			status, ok := errors.AsType[*fault.Status](err)
			if !ok || status.Words != tt.want {
				t.Errorf("got %v, want words %q", err, tt.want)
			}
		})
	}
}

func TestFixedCredentials(t *testing.T) {
	t.Parallel()
	for want, auth := range map[string]Auth{
		"Basic a2ltOnB3": Basic("kim", secret.Literal("pw")),
		"Bearer tok":     Bearer(secret.Literal("tok")),
	} {
		calls := 0
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			calls++
			if r.Header.Get("Authorization") != want {
				t.Errorf("got %q, want %q", r.Header.Get("Authorization"), want)
			}
			w.WriteHeader(http.StatusUnauthorized)
		})
		if err := New(s.Client(), s.URL, WithAuth(auth)).Get(t.Context(), "/", nil); !fault.IsAuth(err) || calls != 1 {
			t.Errorf("got %v after %d calls, want refused credentials after 1", err, calls)
		}
	}
}

// vendor grants numbered tokens and takes only the newest.
type vendor struct {
	granted atomic.Int64
	refuse  func(http.ResponseWriter)
	body    atomic.Value
}

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		body, _ := io.ReadAll(r.Body)
		v.body.Store(string(body))
		if v.refuse != nil {
			v.refuse(w)
			return
		}
		n := v.granted.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"t`+string(rune('0'+n))+`","token_type":"bearer","expires_in":3600}`)
		return
	}
	if r.Header.Get("Authorization") != "Bearer t"+string(rune('0'+v.granted.Load())) {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func both(h *http.Client, base string) map[string]Auth {
	return map[string]Auth{
		"form": ClientCredentials(h, base+"/token", "switchboard", secret.Literal("s3cret-of-a-test"), "read"),
		"json": JSONCredentials(h, base+"/token", map[string]string{"client_id": "switchboard", "client_secret": "s3cret-of-a-test"}),
	}
}

func TestTokensAreFetchedOnceAndRenewed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"form", "json"} {
		v := &vendor{}
		s := httptest.NewServer(v)
		t.Cleanup(s.Close)
		c := New(s.Client(), s.URL, WithAuth(both(s.Client(), s.URL)[name]))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := c.Get(t.Context(), "/", nil); err != nil {
					t.Errorf("%s: get: %v", name, err)
				}
			})
		}
		wg.Wait()
		if got := v.granted.Load(); got != 1 {
			t.Errorf("%s: got %d tokens for 8 calls, want 1", name, got)
		}
		if body, _ := v.body.Load().(string); strings.HasPrefix(body, "{") != (name == "json") || !strings.Contains(body, "switchboard") {
			t.Errorf("%s: the token was asked for with %d bytes of another form", name, len(body))
		}
		v.granted.Add(1) // the vendor has withdrawn the token that we hold
		if err := c.Get(t.Context(), "/", nil); err != nil || v.granted.Load() != 3 {
			t.Errorf("%s: get with a withdrawn token: got %v and token %d, want a renewal", name, err, v.granted.Load())
		}
	}
}

func TestRefusedTokensSayNoSecret(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, name := range []string{"form", "json"} {
		for _, tt := range []struct {
			what   string
			refuse func(http.ResponseWriter)
			auth   bool
		}{
			{"wrong secret", answer(401, `{"error":"invalid_client","error_description":"s3cret-of-a-test is wrong"}`), true},
			{"wrong request", answer(400, `{"error":"invalid_request s3cret"}`), true},
			{"too many", answer(429, `{}`), false},
			{"an outage", answer(503, `s3cret-of-a-test`), false},
			{"nothing", answer(200, `{}`), false},
			{"hang-up", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, false},
		} {
			s := httptest.NewServer(&vendor{refuse: tt.refuse})
			t.Cleanup(s.Close)
			err := New(s.Client(), s.URL, WithAuth(both(s.Client(), s.URL)[name])).Post(t.Context(), "/", nil, nil)
			if err == nil || fault.IsAuth(err) != tt.auth || !fault.IsNotDone(err) || fault.IsPermanent(err) || strings.Contains(err.Error(), "s3cret-of") {
				t.Errorf("%s, %s: got %v, want auth=%t, not done and no secret", name, tt.what, err, tt.auth)
			}
		}
	}
}

func TestWaitingForATokenEndsWithTheContext(t *testing.T) {
	t.Parallel()
	a := newTokens(nil)
	a.busy <- struct{}{} // somebody else is fetching
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://desk.example", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Apply(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("apply: got %v, want context.Canceled", err)
	}
	if !a.Refused() {
		t.Error("refused while another fetches: want another attempt")
	}
}

func TestThePacerKeepsWithinTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewPacer("zendesk-ratelimit-")
		if _, _, ok := p.Quota(""); ok {
			t.Error("a fresh pacer knows a limit")
		}
		h := http.Header{}
		h.Set("Ratelimit-Limit", "700")
		h.Set("Ratelimit-Remaining", "2")
		h.Set("Ratelimit-Reset", "30")
		h.Set("Zendesk-Ratelimit-Tickets-Update", "total=20; remaining=1; resets=47")
		h.Set("Zendesk-Ratelimit-Strange", "nothing to read")
		p.learn("", h, nil, time.Now())
		if left, limit, ok := p.Quota("tickets-update"); left != 1 || limit != 20 || !ok {
			t.Errorf("quota: got %d of %d, %t, want 1 of 20", left, limit, ok)
		}
		if err := p.admit("tickets-update", time.Now()); err != nil {
			t.Errorf("first: got %v", err)
		}
		err := p.admit("tickets-update", time.Now())
		if d, ok := fault.After(err); d != 47*time.Second || !ok || !fault.IsNotDone(err) {
			t.Errorf("second: got %v, want 47s to wait", err)
		}
		if err := p.admit("other", time.Now()); err != nil {
			t.Errorf("another bucket: got %v", err)
		}
		if err := p.admit("other", time.Now()); !fault.IsNotDone(err) {
			t.Errorf("the whole account is used up: got %v, want not done", err)
		}
		time.Sleep(31 * time.Second) //nolint:forbidigo // in a synctest bubble
		if err := p.admit("other", time.Now()); err != nil {
			t.Errorf("after the account's window: got %v", err)
		}
		if err := p.admit("tickets-update", time.Now()); err == nil {
			t.Error("before the bucket's window is over: got none")
		}
		time.Sleep(17 * time.Second) //nolint:forbidigo // in a synctest bubble
		if err := p.admit("tickets-update", time.Now()); err != nil {
			t.Errorf("after the bucket's window: got %v", err)
		}
	})
}

func TestThePacerBelievesTheLowerFigure(t *testing.T) {
	t.Parallel()
	p, now := NewPacer(""), time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, left := range []string{"5", "9"} { // the second answer overtook the first
		h := http.Header{}
		h.Set("X-Rate-Limit-Remaining", left)
		p.learn("", h, nil, now)
	}
	if left, _, _ := p.Quota(""); left != 5 {
		t.Errorf("got %d left, want 5", left)
	}
}

func TestA429ClosesTheRightBucket(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	tooMany := fault.FromResponse(429, http.Header{"Retry-After": {"135"}}, "", now)
	p := NewPacer("Zendesk-Ratelimit-")
	p.learn("users", http.Header{}, tooMany, now)
	if d, _ := fault.After(p.admit("users", now)); d != 135*time.Second {
		t.Errorf("a 429 without a name: got %s to wait, want 135s for the call's bucket", d)
	}
	p = NewPacer("Zendesk-Ratelimit-")
	h := http.Header{"Zendesk-Ratelimit-Per-Ticket-Updates": {"total=30; remaining=0; resets=135"}, "Zendesk-Ratelimit-Tickets-Update": {"total=20; remaining=9; resets=40"}}
	p.learn("tickets-update", h, tooMany, now)
	if err := p.admit("tickets-update", now); err != nil {
		t.Errorf("a 429 for one ticket: got %v, want the other tickets' updates to go on", err)
	}
}

func TestThePacerHoldsCallsBack(t *testing.T) {
	t.Parallel()
	calls := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		w.Header().Set("Ratelimit-Remaining", "0")
		w.Header().Set("Ratelimit-Reset", "60")
	})
	c := New(s.Client(), s.URL, WithPacer(NewPacer("")))
	if err := c.Get(t.Context(), "/", nil); err != nil {
		t.Fatalf("first: %v", err)
	}
	if err := c.Get(t.Context(), "/", nil); !fault.IsNotDone(err) || calls != 1 {
		t.Errorf("second: got %v after %d calls, want it held back", err, calls)
	}
}
