package intake

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

func TestWebhookKeepsTheDeliveryAsReceived(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{PublicURL: "https://intake.shop.example"})
	var verified hook.Delivery
	f := &fake{
		verify: func(d hook.Delivery) error { verified = d; return nil },
		answer: func(hook.Delivery) hook.Answer { return hook.Text(http.StatusAccepted, "text/xml", "<Response/>") },
	}
	in.AddChannel(opened("shop-sms", f, channels.Traits[struct{}]{}), 0, 0)
	r := request(http.MethodPost, "http://10.0.0.5:8080/hooks/shop-sms?a=1&b=%20x", "Body=Where+is+my+glider")
	r.Header.Set("X-Demo-Signature", "s1")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	resp, body := post(t, in.Handler(), r)
	if resp.StatusCode != http.StatusAccepted || body != "<Response/>" || resp.Header.Get("Content-Type") != "text/xml" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("answer: got %d %q %v", resp.StatusCode, body, resp.Header)
	}
	got := in.deliveries(t)
	if len(got) != 1 {
		t.Fatalf("%d deliveries, want one", len(got))
	}
	d := got[0]
	if d.Method != http.MethodPost || string(d.Body) != "Body=Where+is+my+glider" || d.Via != hook.ViaWebhook || d.Header.Get("X-Demo-Signature") != "s1" || d.ReceivedAt.IsZero() {
		t.Errorf("got %+v", d)
	}
	if want := "https://intake.shop.example/hooks/shop-sms?a=1&b=%20x"; d.URL != want || verified.URL != want {
		t.Errorf("URL: stored %s, verified %s; want %s, as the vendor signs it", d.URL, verified.URL, want)
	}
	m := in.messages(t, bus.Deliveries)[0]
	if m.Subject != "deliveries.in.shop-sms" || !strings.Contains(record.Trace(m), "0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("subject %s, trace %q", m.Subject, record.Trace(m))
	}
}

func TestPublicURLWithoutASettingIsTheRequests(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	r := request(http.MethodGet, "/hooks/x?q=1", "")
	r.Host = "intake.shop.example"
	if got, want := in.publicURL(r), "http://intake.shop.example/hooks/x?q=1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	secure := httptest.NewRequest(http.MethodGet, "https://intake.shop.example/hooks/x", nil)
	if got, want := in.publicURL(secure), "https://intake.shop.example/hooks/x"; got != want {
		t.Errorf("over TLS: got %s, want %s", got, want)
	}
	if _, err := New(Options{PublicURL: "http://a b.example/"}); err == nil {
		t.Error("an address that is none was taken")
	}
}

func TestWebhookRefuses(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	reject := func(err error) *fake { return &fake{verify: func(hook.Delivery) error { return err }} }
	in.AddChannel(opened("forged", reject(hook.ErrUnverified), channels.Traits[struct{}]{}), 0, 0)
	in.AddChannel(opened("own-status", reject(hook.ErrUnverified), channels.Traits[struct{}]{RefuseStatus: 403}), 0, 0)
	in.AddChannel(opened("own-page", reject(&hook.Refused{Answer: hook.Text(422, "text/html", "name is missing"), Reason: "no name"}), channels.Traits[struct{}]{}), 0, 0)
	in.AddChannel(opened("no-keys", reject(errBroken), channels.Traits[struct{}]{}), 0, 0)
	in.AddChannel(opened("small", &fake{}, channels.Traits[struct{}]{MaxBody: 10}), 0, 0)
	in.AddChannel(opened("fine", &fake{}, channels.Traits[struct{}]{}), 0, 0)
	noHook := opened("polled", &fake{}, channels.Traits[struct{}]{})
	noHook.Webhook = nil
	in.AddChannel(noHook, 0, 0)
	cut := request(http.MethodPost, "/hooks/fine", "")
	cut.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, tt := range []struct {
		name  string
		r     *http.Request
		want  int
		retry string
	}{
		{"forged", request(http.MethodPost, "/hooks/forged", "x"), 401, ""},
		{"the kind's own status", request(http.MethodPost, "/hooks/own-status", "x"), 403, ""},
		{"an answer of its own", request(http.MethodPost, "/hooks/own-page", "x"), 422, ""},
		{"keys that cannot be reached", request(http.MethodPost, "/hooks/no-keys", "x"), 503, "5"},
		{"too large", request(http.MethodPost, "/hooks/small", "01234567890"), 413, ""},
		{"cut off", cut, 400, ""},
		{"nobody", request(http.MethodPost, "/hooks/nobody", "x"), 404, ""},
		{"no webhook", request(http.MethodPost, "/hooks/polled", "x"), 404, ""},
		{"no form", request(http.MethodPost, "/form/fine", "x"), 404, ""},
		{"elsewhere", request(http.MethodPost, "/hooks/fine/x", "x"), 404, ""},
	} {
		resp, body := post(t, in.Handler(), tt.r)
		if resp.StatusCode != tt.want || resp.Header.Get("Retry-After") != tt.retry {
			t.Errorf("%s: got %d, Retry-After %q; want %d, %q", tt.name, resp.StatusCode, resp.Header.Get("Retry-After"), tt.want, tt.retry)
		}
		if strings.Contains(body, errBroken.Error()) {
			t.Errorf("%s: the answer tells a stranger why: %q", tt.name, body)
		}
	}
	if got := in.deliveries(t); len(got) != 0 {
		t.Errorf("%d deliveries were kept", len(got))
	}
	events := in.messages(t, bus.Events)
	if len(events) != 1 {
		t.Fatalf("%d events, want one of the delivery that was too large", len(events))
	}
	kind, _, _ := record.EventHeader(events[0])
	told, err := record.Decode[schemas.DeliveryEnded](events[0].Data)
	if err != nil || kind != schemas.EventRefused || told.Channel != "small" || !strings.Contains(told.Reason, "10 bytes") {
		t.Errorf("event: got %s %+v, %v", kind, told, err)
	}
	if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/small", "0123456789")); resp.StatusCode != 200 {
		t.Errorf("a body of just the limit: got %d", resp.StatusCode)
	}
}

func TestWebhookIsNotTakenWhenItCannotBeStored(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	in.AddChannel(opened("shop", &fake{}, channels.Traits[struct{}]{}), 0, 0)
	for _, body := range []string{"small", strings.Repeat("x", record.InlineLimit+1)} {
		in.fail(func(subject string) error {
			if strings.HasPrefix(subject, "deliveries") || strings.HasPrefix(subject, "blobs") {
				return bus.ErrFull
			}
			return nil
		})
		resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", body))
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("a full broker: got %d, Retry-After %q; want 503 and when to try again", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		in.fail(nil)
	}
	if got := in.deliveries(t); len(got) != 0 {
		t.Errorf("%d deliveries were kept", len(got))
	}
	if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", "again")); resp.StatusCode != 200 || len(in.deliveries(t)) != 1 {
		t.Errorf("with room again: got %d", resp.StatusCode)
	}
}

func TestWebhookOfACallerThatHungUpIsStored(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	in.AddChannel(opened("shop", &fake{verify: func(hook.Delivery) error { cancel(); return nil }}, channels.Traits[struct{}]{}), 0, 0)
	resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", "x").WithContext(ctx))
	if got := in.deliveries(t); resp.StatusCode != 200 || len(got) != 1 {
		t.Errorf("got %d and %d deliveries, want it stored all the same", resp.StatusCode, len(got))
	}
}

func TestHandshakesAndWakesKeepNothing(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	answers := map[string]hook.Answer{
		"challenge": {Status: 200, Body: []byte("42"), Drop: true},
		"mail":      {Status: 204, Wake: true},
		"nothing":   {},
	}
	f := &fake{answer: func(d hook.Delivery) hook.Answer { return answers[string(d.Body)] }}
	in.AddChannel(opened("shop", f, channels.Traits[struct{}]{}), 0, 0)
	s := in.source("shop")
	if resp, body := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", "challenge")); resp.StatusCode != 200 || body != "42" || len(s.wake) != 0 {
		t.Errorf("handshake: got %d %q, wakes %d", resp.StatusCode, body, len(s.wake))
	}
	for range 3 { // a burst of news is one poll
		if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", "mail")); resp.StatusCode != 204 {
			t.Errorf("wake: got %d", resp.StatusCode)
		}
	}
	if len(s.wake) != 1 {
		t.Errorf("wakes: got %d, want one poll", len(s.wake))
	}
	if got := in.deliveries(t); len(got) != 0 {
		t.Errorf("%d deliveries were kept", len(got))
	}
	if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", "nothing")); resp.StatusCode != 200 {
		t.Errorf("an answer without a status: got %d, want 200", resp.StatusCode)
	}
	in.Wake("nobody") // is no panic
}

func TestSecretsAreDigestedBeforeTheyAreStored(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	var verified hook.Delivery
	f := &fake{verify: func(d hook.Delivery) error { verified = d; return nil }}
	in.AddChannel(opened("shop", f, channels.Traits[struct{}]{Secrets: []string{"X-Token"}, SecretParams: []string{"key"}}), 0, 0)
	for range 2 {
		r := request(http.MethodPost, "/hooks/shop?key=s3cret&shop=7&key=s3cret2", "body")
		r.Header.Set("x-token", "s3cret-token")
		r.Header.Set("Authorization", "Bearer s3cret")
		r.Header.Set("Cookie", "session=s3cret")
		r.Header.Set("Proxy-Authorization", "s3cret")
		r.Header.Set("X-Other", "plain")
		if resp, _ := post(t, in.Handler(), r); resp.StatusCode != 200 {
			t.Fatalf("got %d", resp.StatusCode)
		}
	}
	if verified.Header.Get("X-Token") != "s3cret-token" || verified.Query().Get("key") != "s3cret" {
		t.Errorf("Verify saw %v of %s, want the secrets themselves", verified.Header, verified.URL)
	}
	for _, m := range in.messages(t, bus.Deliveries) {
		for k, v := range m.Header {
			if strings.Contains(v, "s3cret") {
				t.Errorf("a secret is stored in %s: %s", k, v)
			}
		}
	}
	got := in.deliveries(t)
	for _, name := range []string{"X-Token", "Authorization", "Cookie", "Proxy-Authorization"} {
		if v := got[0].Header.Get(name); !strings.HasPrefix(v, "digest:") || v != got[1].Header.Get(name) {
			t.Errorf("%s: got %q and %q, want the same digest", name, v, got[1].Header.Get(name))
		}
	}
	if q := got[0].Query(); q.Get("shop") != "7" || !strings.HasPrefix(q.Get("key"), "digest:") || got[0].Header.Get("X-Other") != "plain" {
		t.Errorf("what is no secret: got %v %v", q, got[0].Header)
	}
}

func TestLargeBodiesGoToTheBlobs(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	in.AddChannel(opened("shop", &fake{}, channels.Traits[struct{}]{MaxBody: 4 << 20}), 0, 0)
	large := strings.Repeat("glider ", 3<<20/7)
	for _, body := range []string{large, strings.Repeat("y", record.InlineLimit)} {
		if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/shop", body)); resp.StatusCode != 200 {
			t.Fatalf("got %d", resp.StatusCode)
		}
	}
	got, raw := in.deliveries(t), in.messages(t, bus.Deliveries)
	if string(got[0].Body) != large || record.BlobOf(raw[0]) == "" || len(raw[0].Data) != 0 {
		t.Errorf("a large body: %d bytes came back, blob %q, %d bytes inline", len(got[0].Body), record.BlobOf(raw[0]), len(raw[0].Data))
	}
	if record.BlobOf(raw[1]) != "" || len(got[1].Body) != record.InlineLimit {
		t.Error("a body of just the limit is not inline")
	}
}

func TestSinksComeBackTheSameWay(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{})
	source := struct{ sinks.Source }{}
	in.AddSink(&sinks.Opened{Name: "desk", Source: source, Webhook: &fake{}, Traits: sinks.Traits[any]{MaxBody: 100, Secrets: []string{"X-Desk"}}})
	in.AddSink(&sinks.Opened{Name: "deaf", Source: source})
	in.AddSink(&sinks.Opened{Name: "blind", Webhook: &fake{}})
	r := request(http.MethodPost, "/hooks/desk", "changed")
	r.Header.Set("X-Desk", "s3cret")
	if resp, _ := post(t, in.Handler(), r); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
	got := in.messages(t, bus.Deliveries)
	if len(got) != 1 || got[0].Subject != "deliveries.back.desk" || strings.Contains(in.deliveries(t)[0].Header.Get("X-Desk"), "s3cret") {
		t.Errorf("got %+v", got)
	}
	for _, name := range []string{"deaf", "blind"} {
		if resp, _ := post(t, in.Handler(), request(http.MethodPost, "/hooks/"+name, "x")); resp.StatusCode != 404 {
			t.Errorf("%s: got %d, want 404", name, resp.StatusCode)
		}
	}
}

func TestFormsAreLimitedPerAddress(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	in.AddChannel(opened("form", &fake{}, channels.Traits[struct{}]{Form: true}), 0, 0)
	in.AddChannel(opened("hook", &fake{}, channels.Traits[struct{}]{}), 0, 0)
	in.AddChannel(opened("slow", &fake{}, channels.Traits[struct{}]{}), 2, time.Hour)
	from := func(path, peer, forwarded, method string) *http.Response {
		r := request(method, path, "x")
		r.RemoteAddr = peer
		if forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		resp, _ := post(t, in.Handler(), r)
		return resp
	}
	var resp *http.Response
	for range formRate {
		if resp = from("/form/form", "198.51.100.7:1", "", http.MethodPost); resp.StatusCode == http.StatusTooManyRequests {
			break
		}
	}
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a burst of a minute's posts: got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	for name, got := range map[string]*http.Response{
		"another address":        from("/form/form", "198.51.100.8:1", "", http.MethodPost),
		"reading the form":       from("/form/form", "198.51.100.7:2", "", http.MethodGet),
		"no form, no limit":      from("/hooks/hook", "198.51.100.7:2", "", http.MethodPost),
		"behind a trusted proxy": from("/form/form", "10.1.2.3:1", "203.0.113.9, 10.9.9.9", http.MethodPost),
	} {
		if got.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200", name, got.StatusCode)
		}
	}
	if got := from("/form/form", "198.51.100.7:3", "203.0.113.1", http.MethodPost).StatusCode; got != http.StatusTooManyRequests {
		t.Errorf("a stranger that names another address: got %d, want 429", got)
	}
	if got := from("/form/form", "10.1.2.3:1", "203.0.113.250, 198.51.100.7", http.MethodPost).StatusCode; got != http.StatusTooManyRequests {
		t.Errorf("the limited address behind a trusted proxy, with a made-up hop before it: got %d, want 429", got)
	}
	if first, second := from("/hooks/slow", "[2001:db8::1]:1", "", http.MethodPost), from("/hooks/slow", "[2001:db8::ffff]:1", "", http.MethodPost); first.StatusCode != 200 || second.StatusCode != 429 {
		t.Errorf("two addresses of one /64: got %d, %d; want one limit", first.StatusCode, second.StatusCode)
	}
	if got := from("/hooks/slow", "[2001:db8:0:1::1]:1", "", http.MethodPost).StatusCode; got != 200 {
		t.Errorf("another /64: got %d, want 200", got)
	}
}

func TestAddressIsTheRequestersAsFarAsProxiesTell(t *testing.T) {
	t.Parallel()
	in := newRig(t, Options{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, tt := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"198.51.100.7:1", nil, "198.51.100.7"},
		{"198.51.100.7:1", []string{"203.0.113.1"}, "198.51.100.7"},
		{"10.0.0.1:1", nil, "10.0.0.1"},
		{"10.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"6.6.6.6, 203.0.113.1"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"6.6.6.6", "203.0.113.1,10.0.0.2"}, "203.0.113.1"},
		{"10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
		{"10.0.0.1:1", []string{"unknown, 10.0.0.3"}, "10.0.0.3"},
		{"[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"@", nil, "invalid IP"},
	} {
		r := request(http.MethodPost, "/form/x", "")
		r.RemoteAddr = tt.peer
		r.Header["X-Forwarded-For"] = tt.forwarded
		if got := in.address(r).String(); got != tt.want {
			t.Errorf("%s for %v: got %s, want %s", tt.peer, tt.forwarded, got, tt.want)
		}
	}
}

func TestLimitsRefillAndForget(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	l := newAddressLimits(6, time.Hour) // two at once, one more every ten minutes
	a := netip.MustParseAddr("198.51.100.7")
	for i, want := range []bool{true, true, false} {
		if got := l.allow(a, now); got != want {
			t.Errorf("post %d at once: got %t, want %t", i+1, got, want)
		}
	}
	if l.allow(a, now.Add(9*time.Minute)) || !l.allow(a, now.Add(10*time.Minute)) {
		t.Error("want one more after ten minutes, no sooner")
	}
	other := netip.MustParseAddr("10.0.0.0")
	for range maxAddresses + 10 {
		l.allow(other, now.Add(12*time.Minute))
		other = other.Next()
	}
	if len(l.buckets) > maxAddresses {
		t.Errorf("%d addresses are kept", len(l.buckets))
	}
	l = newAddressLimits(6, time.Hour)
	for range maxAddresses - 1 {
		l.allow(other, now)
		other = other.Next()
	}
	l.allow(a, now.Add(10*time.Minute))
	l.allow(a, now.Add(10*time.Minute))
	l.allow(other, now.Add(20*time.Minute)) // makes room
	if len(l.buckets) != 2 || l.allow(a, now.Add(19*time.Minute)) {
		t.Errorf("%d addresses are kept; want those whose buckets are not full again", len(l.buckets))
	}
	one := newAddressLimits(1, time.Minute)
	if !one.allow(netip.Addr{}, now) || one.allow(netip.Addr{}, now) {
		t.Error("unknown addresses share one bucket of one")
	}
}
