package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"switchboard/internal/console"
)

func TestNobodySeesAPageWithoutSigningIn(t *testing.T) {
	t.Parallel()
	b := open(t).browser()
	for path, want := range map[string]string{"/": "/login", "/tickets?v=all": "/login?next=%2Ftickets%3Fv%3Dall", "/messages/m-sms/raw": "/login?next=%2Fmessages%2Fm-sms%2Fraw", "/nowhere": "/login?next=%2Fnowhere"} {
		res, body := b.get(path)
		if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || got != want {
			t.Errorf("%s: got %d to %q want 303 to %q", path, res.StatusCode, got, want)
		}
		lacks(t, body, "Marit")
	}
	if res, _ := b.get("/events"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("/events: got %d want 401", res.StatusCode)
	}
	if res, _ := b.post("/dead/dead-1/retry"); res.Header.Get("Location") != "/login" {
		t.Errorf("post: got %q", res.Header.Get("Location"))
	}
}

func TestSigningInOpensASessionThatLeaksNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.browser()
	wants(t, b.page("/login?next=/dead"), "Console of Kestrel Hobby", `value="/dead"`)
	res, _ := b.post("/login", "user", " Noor ", "password", password, "next", "/dead")
	if got := res.Header.Get("Location"); got != "/dead" {
		t.Errorf("next: got %q want /dead", got)
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Secure || len(c.Value) < 43 {
		t.Errorf("cookie: got %+v", c)
	}
	if dump := s.accounts.dump(); strings.Contains(dump, c.Value) || strings.Contains(dump, password) || !strings.Contains(dump, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("stored: %s", dump)
	}
	if res, _ := b.get("/login"); res.StatusCode != http.StatusSeeOther {
		t.Errorf("sign-in when signed in: got %d want 303", res.StatusCode)
	}
	b.post("/logout")
	b.client.Jar.SetCookies(mustURL(t, s.url), []*http.Cookie{c}) // a copy of the cookie is worth nothing
	if res, _ := b.get("/"); res.Header.Get("Location") != "/login" {
		t.Errorf("after sign-out: got %d", res.StatusCode)
	}
}

func TestSigningInNeverLeavesTheConsole(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, next := range []string{"//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/login", "\t//evil.example", ""} {
		res, _ := s.browser().post("/login", "user", "noor", "password", password, "next", next)
		if got := res.Header.Get("Location"); got != "/" {
			t.Errorf("next %q: got %q want /", next, got)
		}
	}
}

func TestWrongPasswordsPause(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.browser()
	for i := range 5 {
		res, body := b.post("/login", "user", "noor", "password", "wrong")
		if res.StatusCode != http.StatusUnauthorized {
			t.Fatalf("try %d: got %d want 401", i+1, res.StatusCode)
		}
		if i == 0 {
			wants(t, body, "4 tries left, then a pause of a minute.", `value="noor"`)
			lacks(t, body, "wrong")
		}
	}
	res, body := b.post("/login", "user", "noor", "password", password)
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %d want 429", res.StatusCode)
	}
	wants(t, body, "Too many tries. Wait 1 min")
	if res, _ := b.post("/login", "user", "ruth", "password", password); res.StatusCode != http.StatusSeeOther {
		t.Errorf("another name: got %d want 303", res.StatusCode)
	}
	s.pass(61 * time.Second)
	if res, _ := b.post("/login", "user", "noor", "password", password); res.StatusCode != http.StatusSeeOther {
		t.Errorf("after the pause: got %d want 303", res.StatusCode)
	}
}

func TestUnknownNamesLookLikeWrongPasswords(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.browser()
	for _, name := range []string{"nobody", "", "../x", strings.Repeat("a", 80), "no or"} {
		res, body := b.post("/login", "user", name, "password", "x")
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: got %d want 401", name, res.StatusCode)
		}
		wants(t, body, "That name and password do not go together.")
		s.pass(2 * time.Minute)
	}
}

func TestOneAddressCannotTryEveryName(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *console.Options) {
		o.Address = func(r *http.Request) string { return r.Header.Get("X-Test-Address") }
	})
	try := func(address, name string) int {
		b := s.browser()
		req := b.request(http.MethodPost, "/login", strings.NewReader(url.Values{"user": {name}, "password": {"x"}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("X-Test-Address", address)
		res, _ := b.do(req)
		return res.StatusCode
	}
	for i := range 40 {
		if got := try(fmt.Sprintf("2001:db8::%x", i+1), fmt.Sprintf("name%d", i)); got != http.StatusUnauthorized {
			t.Fatalf("try %d: got %d want 401", i, got)
		}
	}
	if got := try("2001:db8::ffff", "other"); got != http.StatusTooManyRequests {
		t.Errorf("same network: got %d want 429", got)
	}
	if got := try("2001:db8:1::1", "other"); got != http.StatusUnauthorized {
		t.Errorf("other network: got %d want 401", got)
	}
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	t.Run("after 12 idle hours", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		b := s.as("noor")
		s.pass(11 * time.Hour)
		b.page("/dead")
		s.pass(11 * time.Hour)
		b.page("/dead")
		s.pass(13 * time.Hour)
		if res, _ := b.get("/dead"); res.StatusCode != http.StatusSeeOther {
			t.Errorf("got %d want 303", res.StatusCode)
		}
	})
	t.Run("after a week", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		b := s.as("noor")
		for range 16 {
			s.pass(10 * time.Hour)
			b.page("/dead")
		}
		s.pass(10 * time.Hour)
		if res, _ := b.get("/dead"); res.StatusCode != http.StatusSeeOther {
			t.Errorf("got %d want 303", res.StatusCode)
		}
	})
	t.Run("with a new password", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		b := s.as("noor")
		if err := s.console.SetPassword(t.Context(), "noor", "", "another long password"); err != nil {
			t.Fatal(err)
		}
		if res, _ := b.get("/dead"); res.StatusCode != http.StatusSeeOther {
			t.Errorf("got %d want 303", res.StatusCode)
		}
	})
	t.Run("and are swept", func(t *testing.T) {
		t.Parallel()
		s := open(t)
		s.as("noor")
		s.pass(13 * time.Hour)
		s.as("ruth")
		if keys, _ := s.accounts.List(t.Context(), "session."); len(keys) != 1 {
			t.Errorf("got %d sessions want 1", len(keys))
		}
	})
}

func TestViewersCannotAct(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("vera")
	for _, path := range []string{"/tickets/inbox/1190/answer", "/tickets/inbox/1190/update", "/dead/dead-1/retry", "/dead/dead-1/dismiss"} {
		res, body := b.post(path, "text", "hello", "status", "solved", "reason", "because")
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d want 403", path, res.StatusCode)
		}
		wants(t, body, "This needs the role agent. You are viewer.")
	}
	for _, path := range []string{"/messages/m-sms/raw", "/messages/m-sms/files/0"} {
		if res, _ := b.get(path); res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: got %d want 403", path, res.StatusCode)
		}
	}
	if got := s.actions.log(); len(got) > 0 {
		t.Errorf("done: %q", got)
	}
	lacks(t, b.page("/tickets/inbox/1190"), `<form class="answer"`, "Mark solved", "Take it")
	lacks(t, b.page("/dead"), "/retry", "/dismiss")
}

func TestViewersDoNotReadCustomers(t *testing.T) {
	t.Parallel()
	b := open(t).as("vera")
	for _, path := range []string{"/", "/messages/m-sms?raw", "/tickets?v=all", "/tickets/inbox/1190", "/people/p%2F41", "/dead", "/dead/dead-1", "/dead?v=mended"} {
		lacks(t, b.page(path), "Osprey", "glider", "7731", "Marit", "Oden", "4790000041", "oden.example", "lena.", "tail.jpg", "charger hums", "present for Friday", "house number", "SM41", "Mallory", "quoted", "alert", "Spare rotor")
	}
	wants(t, b.page("/messages/m-sms"), "M. O.", `<mark class="ev cat">••••••<sup>a</sup></mark>`, "angry and urgent", "Its bytes can be read by agents and admins", "with 37 bytes")
}

func TestViewersCannotSearchWhatTheyMayNotRead(t *testing.T) {
	t.Parallel()
	b := open(t).as("vera")
	wants(t, b.page("/?q=osprey"), "No message says")
	wants(t, b.page("/?q=m-sms"), `id="m-m-sms"`)
	wants(t, b.page("/?q=%231190"), `id="m-m-sms"`)
	wants(t, b.page("/tickets?v=all&q=servo"), "No ticket says")
	wants(t, b.page("/tickets?v=all&q=1190"), "#1190")
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	for name, header := range map[string]http.Header{
		"fetch metadata": {"Sec-Fetch-Site": {"cross-site"}},
		"same site":      {"Sec-Fetch-Site": {"same-site"}},
		"origin":         {"Origin": {"https://evil.example"}},
	} {
		for _, path := range []string{"/tickets/inbox/1190/answer", "/logout", "/login"} {
			req := b.request(http.MethodPost, path, strings.NewReader("text=hello"))
			req.Header = header.Clone()
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if res, body := b.do(req); res.StatusCode != http.StatusForbidden || !strings.Contains(body, "Sent from another site") {
				t.Errorf("%s to %s: got %d want 403", name, path, res.StatusCode)
			}
		}
	}
	if got := s.actions.log(); len(got) > 0 {
		t.Errorf("done: %q", got)
	}
	b.page("/dead") // still signed in
}

func TestCookiesAreSecureWhereTheConsoleIs(t *testing.T) {
	t.Parallel()
	s := open(t, func(o *console.Options) { o.PublicURL = &url.URL{Scheme: "https", Host: "desk.kestrel.example"} })
	for host, want := range map[string]bool{"desk.kestrel.example": true, "": false} {
		b := s.browser()
		req := b.request(http.MethodPost, "/login", strings.NewReader(url.Values{"user": {"noor"}, "password": {password}}.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Host = host
		res, _ := b.do(req)
		if got := res.Cookies()[0].Secure; got != want {
			t.Errorf("host %q: got secure %v want %v", host, got, want)
		}
	}
}

func TestFirstPasswordIsMadeOnce(t *testing.T) {
	t.Parallel()
	l, a := shop()
	accounts := newAccounts()
	c := console.New(console.Options{Ledger: l, Actions: a, Accounts: accounts})
	first, created, err := c.EnsureAdmin(t.Context())
	if err != nil || !created || len(first) != 23 {
		t.Fatalf("got %q, %v, %v", first, created, err)
	}
	if strings.Contains(accounts.dump(), first) {
		t.Error("the password is stored")
	}
	if again, created, err := c.EnsureAdmin(t.Context()); again != "" || created || err != nil {
		t.Errorf("again: got %q, %v, %v", again, created, err)
	}
}

func TestSetPasswordRefusesWhatIsNoUser(t *testing.T) {
	t.Parallel()
	c := open(t).console
	for _, bad := range []struct {
		name     string
		role     console.Role
		password string
	}{{"", "agent", password}, {"a b", "agent", password}, {"-x", "agent", password}, {"noor", "king", password}, {"noor", "agent", "short"}, {"noor", "agent", strings.Repeat("x", 1025)}} {
		if err := c.SetPassword(t.Context(), bad.name, bad.role, bad.password); err == nil {
			t.Errorf("%q, %q: no error", bad.name, bad.role)
		} else if bad.password != "short" && strings.Contains(err.Error(), bad.password) {
			t.Errorf("the error has the password: %v", err)
		}
	}
	if err := c.SetPassword(t.Context(), "New.Person", "", password); err != nil {
		t.Error(err)
	}
}
