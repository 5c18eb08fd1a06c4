package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/config"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
	"switchboard/sinks/inbox"
)

// TestASecondProcessIsToldWhatToDo: the same data, a taken port.
func TestASecondProcessIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	other := newStage(t)
	other.conf.Data = s.conf.Data
	if _, err := other.build(); err == nil || !strings.Contains(err.Error(), "is in use by another switchboard") || !strings.Contains(err.Error(), "--data") {
		t.Errorf("the same data: got %v", err)
	}
	third := newStage(t)
	third.conf.Listen = s.a.listener.Addr().String()
	if _, err := third.build(); err == nil || !strings.Contains(err.Error(), third.conf.Listen) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a taken port: got %v", err)
	}
	// The first one goes on as if nothing had been.
	s.post(note{ID: "1", Conv: "a", Text: "one"})
	s.filed(1)
	if code, err := s.socket("/api/v1/ready"); err != nil || code != http.StatusOK {
		t.Errorf("the socket: got %d, %v", code, err)
	}
	long := newStage(t)
	long.conf.Data = filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if _, err := long.build(); err == nil || !strings.Contains(err.Error(), "path is too long") {
		t.Errorf("a path that no socket can have: got %v", err)
	}
}

// TestAdaptersErrorsComeTogether, with their places.
func TestAdaptersErrorsComeTogether(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	broken := channels.Define("broken", struct{}{}, func(struct{}, channels.Env) (channels.Channel, error) {
		return nil, errors.New("it wants a token")
	}, channels.Traits[struct{}]{})
	s.conf.Channels = append(s.conf.Channels,
		config.ChannelInstance{Name: "same", Kind: talkKind, Value: talkConfig{s.line}},
		config.ChannelInstance{Name: "broken", Kind: broken, Value: struct{}{}})
	box := config.SinkInstance{Name: "box", Kind: inbox.Kind, Value: *inbox.Kind.Config().(*inbox.Config)}
	second := box
	second.Name = "second"
	s.conf.Sinks = append(s.conf.Sinks, box, second)
	_, err := s.build()
	if err == nil {
		t.Fatal("it starts")
	}
	for _, want := range []string{"channels.broken: it wants a token", "channels.same: it is the same account as channels.in", "sinks.second: there is an inbox already"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nobody says %q: %v", want, err)
		}
	}
	if _, err := s.build(); err == nil || strings.Contains(err.Error(), "in use") {
		t.Errorf("a failed start holds on to the directory: %v", err)
	}
}

// TestAFullDiskIsSaidAndOver: 503 before anything is half stored, readiness fails
// and says why, and it accepts again by itself.
func TestAFullDiskIsSaidAndOver(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	s.post(note{ID: "1", Conv: "a", Text: "one"})
	s.filed(1)
	s.free.Store(100)
	ready := func() int { return s.do(http.MethodGet, "/readyz", "", nil).Code }
	s.until("readiness fails", func() bool { return ready() == http.StatusServiceUnavailable })
	if body := s.do(http.MethodGet, "/readyz", "", nil).Body.String(); !strings.Contains(body, "messages cannot be stored: the store is full") {
		t.Errorf("readyz says %s", body)
	}
	w := s.do(http.MethodPost, "/hooks/in", "", []byte(`{"ID":"2","Conv":"a","Text":"two"}`))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if got := s.left(bus.Deliveries); got != 1 {
		t.Errorf("got %d deliveries, want nothing half accepted", got)
	}
	s.free.Store(1 << 40)
	s.until("readiness is back", func() bool { return ready() == http.StatusOK })
	s.post(note{ID: "2", Conv: "a", Text: "two"})
	s.filed(2)
	if st := (*actions)(s.a).Status(t.Context()); !st.Ready || st.Version != "test" || st.Memory <= 0 || st.DiskLimit <= 0 {
		t.Errorf("got %+v", st)
	}
}

// TestABrokerThatStoresNothingIsOpenedAnew: Run says so, and the next one works.
func TestABrokerThatStoresNothingIsOpenedAnew(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var silent atomic.Bool
	s.fault = func(subject string) error {
		if silent.Load() && !strings.HasPrefix(subject, "$KV.") { // a swap would ask for ever
			return bus.ErrUnknown
		}
		return nil
	}
	s.start()
	s.post(note{ID: "0", Conv: "a", Text: "zero"})
	s.filed(1)
	s.until("all has been written", func() bool {
		_, err := s.a.bus.Bucket(bus.Cursors).Get(t.Context(), "catalogue.desk")
		floor, err2 := s.a.bus.Floor(t.Context(), "sink.desk", bus.Jobs)
		in, err3 := s.a.bus.Floor(t.Context(), "in.in", bus.Deliveries)
		return err == nil && err2 == nil && err3 == nil && floor == 1 && in == 1
	})
	silent.Store(true)
	for range 3 {
		if w := s.do(http.MethodPost, "/hooks/in", "", []byte(`{"ID":"1","Conv":"a","Text":"one"}`)); w.Code != http.StatusServiceUnavailable {
			t.Errorf("got %d, want 503", w.Code)
		}
	}
	if body := s.do(http.MethodGet, "/readyz", "", nil).Body.String(); !strings.Contains(body, "does not store") {
		t.Errorf("readyz says %s", body)
	}
	err := <-s.done
	if !errors.Is(err, ErrRestart) {
		t.Fatalf("got %v, want ErrRestart", err)
	}
	if err := s.a.Close(); err != nil {
		t.Error(err)
	}
	s.a = nil
	silent.Store(false)
	s.start()
	s.post(note{ID: "1", Conv: "a", Text: "one"})
	s.filed(2)
}

// TestReadinessNamesWhatIsWrong, and stays ready while only a desk is out.
func TestReadinessNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.shelf.refuse = func(string, string) error { return fault.Auth(&fault.Status{Code: 401, Words: "who are you"}) }
	s.start()
	s.post(note{ID: "1", Conv: "a", Text: "one"})
	var body string
	s.until("the desk is paused", func() bool {
		w := s.do(http.MethodGet, "/readyz", "", nil)
		body = w.Body.String()
		return w.Code == http.StatusOK && strings.Contains(body, "sink desk is paused") && strings.Contains(body, "who are you")
	})
	if !strings.Contains(body, `"side": "sink"`) {
		t.Errorf("readyz says %s", body)
	}
	s.until("the console is told", func() bool {
		rows, err := s.a.ledger.Health(t.Context(), time.Now())
		if err != nil {
			return false
		}
		for _, r := range rows {
			if r.Name == "desk" && r.State == "paused" {
				return true
			}
		}
		return false
	})
	if b := s.books(); !b.Balanced || b.Pending != 1 {
		t.Errorf("got %+v, want the queue kept", b)
	}
}

// TestTheInterfaceWantsItsToken, and the socket belongs to this user.
func TestTheInterfaceWantsItsToken(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	for _, token := range []string{"", "wrong", " "} {
		w := s.do(http.MethodGet, "/api/v1/audit", token, nil)
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || !strings.Contains(w.Body.String(), TokenName) {
			t.Errorf("token %q: got %d %s", token, w.Code, w.Body)
		}
	}
	if w := s.do(http.MethodGet, "/api/v1/audit", s.a.token, nil); w.Code != http.StatusOK {
		t.Errorf("the right token: got %d", w.Code)
	}
	for name, want := range map[string]os.FileMode{SocketName: 0o600, TokenName: 0o600} {
		info, err := os.Stat(filepath.Join(s.conf.Data, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v, want %o", name, info.Mode().Perm(), err, want)
		}
	}
	if code, body := s.call(http.MethodGet, "explain/nobody", nil, nil); code != http.StatusNotFound || !strings.Contains(body, "nobody") {
		t.Errorf("a story that is not there: got %d %s", code, body)
	}
	if code, body := s.call(http.MethodPost, "passwd/ada", map[string]string{"role": "agent", "password": "a long enough password"}, nil); code != http.StatusOK {
		t.Errorf("passwd: got %d %s", code, body)
	}
	for _, in := range []map[string]string{{"role": "agent", "password": "short"}, {"role": "king", "password": "a long enough password"}} {
		if code, _ := s.call(http.MethodPost, "passwd/ada", in, nil); code == http.StatusOK {
			t.Errorf("passwd %v: it was taken", in)
		}
	}
	token := s.a.token
	if err := s.halt(); err != nil {
		t.Fatal(err)
	}
	// A token file that a full disk left empty does not lock everybody out.
	if err := os.WriteFile(filepath.Join(s.conf.Data, TokenName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	if s.a.token != token {
		t.Errorf("got the token %q", s.a.token)
	}
}

// TestTheCatalogueOutlivesADeskThatIsDown.
func TestTheCatalogueOutlivesADeskThatIsDown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	a := s.start()
	got := a.sinks[0].catalogue
	s.until("it was read", func() bool { return len(got.get().Queues) == 1 })
	s.until("it was stored", func() bool {
		_, err := a.bus.Bucket(bus.Cursors).Get(t.Context(), "catalogue.desk")
		return err == nil
	})
	if c := newCatalogue(t.Context(), a.bus, "desk"); len(c.get().Queues) != 1 || c.get().Queues[0].Name != "support" {
		t.Errorf("after a restart: got %+v", c.get())
	}
	if c := newCatalogue(t.Context(), a.bus, "new"); len(c.get().Queues) != 0 {
		t.Errorf("of a desk that was never reached: got %+v", c.get())
	}
}

// TestARestoredBackupIsNoticed: the ledger knows more than the stream, or a person
// says so.
func TestARestoredBackupIsNoticed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	if s.a.recovered.Load() != 0 {
		t.Error("a fresh start counts as a restored one")
	}
	if err := s.halt(); err != nil {
		t.Fatal(err)
	}
	rules, err := config.ParseRules("rules.yaml", []byte(s.rules), s.conf.Names())
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), Options{Config: s.conf, Rules: rules, Log: telemetry.Discard(), Recovered: true})
	if err != nil {
		t.Fatal(err)
	}
	until := a.recovered.Load()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if until < time.Now().Add(s.conf.Horizon-time.Hour).Unix() {
		t.Errorf("got until %d", until)
	}
	s.start() // it is remembered
	if got := s.a.recovered.Load(); got != until {
		t.Errorf("after a restart: got %d, want %d", got, until)
	}
}

// guarded is a client as adapters get it, which may reach allowed.
func guarded(t *testing.T, allowed string) *http.Client {
	t.Helper()
	a := &App{metrics: telemetry.NewMetrics(), log: telemetry.Discard()}
	return a.client("x", struct {
		BaseURL string
		Secret  secret.Secret
		Number  int
	}{BaseURL: allowed, Secret: secret.Literal("https://secret.example/hook")})
}

// TestAddressesFromOutsideDoNotReachInside: what a customer names is reached only
// outside private networks, also after a redirect.
func TestAddressesFromOutsideDoNotReachInside(t *testing.T) {
	t.Parallel()
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("secret")) }))
	defer inside.Close()
	configured := httptest.NewServer(http.RedirectHandler(inside.URL, http.StatusFound))
	defer configured.Close()
	client := guarded(t, configured.URL)
	for _, url := range []string{inside.URL, configured.URL} { // directly, and by way of a redirect
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "private network") {
			t.Errorf("%s: got %v, want it refused", url, err)
		}
	}
	for address, refused := range map[string]bool{
		"127.0.0.1:80": true, "10.1.2.3:80": true, "192.168.1.1:80": true, "169.254.169.254:80": true, "[::1]:80": true, "[fd00::1]:80": true,
		"[::ffff:10.0.0.1]:80": true, "0.0.0.0:80": true, "224.0.0.1:80": true, "100.64.0.1:80": true, "100.127.255.254:80": true,
		"203.0.113.9:443": false, "100.128.0.1:443": false, "[2001:db8::1]:443": false, "no address": true,
	} {
		if err := refusePrivate("tcp", address, nil); (err != nil) != refused {
			t.Errorf("%s: got %v, want refused %t", address, err, refused)
		}
	}
}

// TestWritesAreNotRedirected: a write that is redirected may be done twice, and
// credentials are for the first host only.
func TestWritesAreNotRedirected(t *testing.T) {
	t.Parallel()
	var hosts []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts = append(hosts, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/from":
			http.Redirect(w, r, "/to", http.StatusTemporaryRedirect)
		}
	}))
	defer srv.Close()
	client := guarded(t, srv.URL)
	do := func(method, path string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Basic x")
		resp, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	if code, err := do(http.MethodPost, "/from"); err != nil || code != http.StatusTemporaryRedirect {
		t.Errorf("a write: got %d, %v, want the redirect itself", code, err)
	}
	if code, err := do(http.MethodGet, "/from"); err != nil || code != http.StatusOK {
		t.Errorf("a read: got %d, %v, want it followed", code, err)
	}
	if _, err := do(http.MethodGet, "/loop"); err == nil || !strings.Contains(err.Error(), "more than five times") {
		t.Errorf("a loop: got %v", err)
	}
	if hosts[0] != "POST /from Basic x" || hosts[1] != "GET /from Basic x" || hosts[2] != "GET /to Basic x" {
		t.Errorf("got %q", hosts)
	}
	via := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://desk.example/", http.NoBody)
	elsewhere := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://elsewhere.example/", http.NoBody)
	elsewhere.Header.Set("Authorization", "Basic x")
	if err := redirect(elsewhere, []*http.Request{via}); err != nil || elsewhere.Header.Get("Authorization") != "" {
		t.Errorf("got %v with %q, want the credentials left behind", err, elsewhere.Header.Get("Authorization"))
	}
}

// TestConfiguredAddressesAreReachedWhereverTheyAre.
func TestConfiguredAddressesAreReachedWhereverTheyAre(t *testing.T) {
	t.Parallel()
	got := configuredHosts(struct {
		A, B, C string
		D       secret.Secret
		E       int
	}{"http://10.0.0.1/api", "https://desk.example", "no address", secret.Literal("https://hooks.example:8443/x"), 7})
	if want := "10.0.0.1:80 desk.example:443 hooks.example:8443"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAStopWaitsForWhatIsUnderWay: a call to a desk ends before the program does.
func TestAStopWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	s.shelf.refuse = func(op, _ string) error {
		if op == "create" {
			close(entered)
			<-leave
		}
		return nil
	}
	s.start()
	s.post(note{ID: "1", Conv: "a", Text: "one"})
	<-entered
	s.stop()
	// The server ends first: nothing more comes in while the call goes on.
	for {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.a.listener.Addr().String())
		if err != nil {
			break
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-s.done:
		t.Fatalf("it ended (%v) while a call was under way", err)
	default:
	}
	close(leave)
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	if err := s.a.Close(); err != nil {
		t.Error(err)
	}
	s.a = nil
	s.shelf.mu.Lock()
	s.shelf.refuse = nil
	s.shelf.mu.Unlock()
	s.start()
	s.filed(1)
	if got := s.shelf.texts(); len(got) != 1 {
		t.Errorf("got %d tickets", len(got))
	}
}

// TestEventsOfHealthAreToldOnce: a state that lasts is one event.
func TestEventsOfHealthAreToldOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.start()
	tell := s.a.health.of("channel", "in")
	before := s.left(bus.Events)
	tell("ok", "")
	tell("degraded", "503")
	tell("degraded", "503 again")
	tell("ok", "")
	if got := s.left(bus.Events) - before; got != 2 {
		t.Errorf("got %d events, want degraded and ok", got)
	}
	if got := s.a.readiness(); !got.Ready || len(got.Problems) != 0 {
		t.Errorf("got %+v", got)
	}
	var one schemas.HealthChanged
	for _, h := range s.a.health.all() {
		if h.Name == "in" {
			one = h
		}
	}
	if one.State != "ok" || one.Side != "channel" {
		t.Errorf("got %+v", one)
	}
	s.until("the desk's backlog is known", func() bool { _, ok := s.a.health.backlog()["desk"]; return ok })
}
