package form

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/formdata"
	"switchboard/adapter/gate"
	"switchboard/adapter/hook"
	"switchboard/adapter/page"
	"switchboard/channels"
	"switchboard/channels/channeltest"
)

func config() Config {
	cfg := *Kind.Config().(*Config)
	cfg.Origins = []string{"https://larkandspar.example"}
	return cfg
}

func Test(t *testing.T) { channeltest.Run(t, Kind, config()) }

func TestMappedNames(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Account, cfg.Fields.Message, cfg.Fields.Name = "lark", "Nachricht", "Wer"
	c := opened(t, cfg)
	d := post("application/x-www-form-urlencoded", "nachricht=Hallo&wer=Ines&message=left&first_name=also+left")
	p, err := c.Parse(d)
	if err != nil {
		t.Fatal(err)
	}
	m := p.Messages[0]
	if m.Text != "Hallo" || m.Requester.Name != "Ines" || len(m.Fields) != 3 || c.Account() != "lark" {
		t.Errorf("got %+v", m)
	}
}

func FuzzParse(f *testing.F) { channeltest.FuzzParse(f, Kind, config()) }

func opened(t *testing.T, cfg Config) *channel {
	t.Helper()
	ch, err := Kind.Open(cfg, channeltest.Env(nil))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return ch.(*channel)
}

func post(kind, body string) hook.Delivery {
	return hook.Delivery{
		Method: http.MethodPost, URL: "https://intake.shop.example/form/test", Body: []byte(body), Via: hook.ViaWebhook,
		ReceivedAt: channeltest.Received(), Header: http.Header{"Content-Type": {kind}, "Accept": {"text/html"}},
	}
}

func get(path string) hook.Delivery {
	return hook.Delivery{
		Method: http.MethodGet, URL: "https://intake.shop.example/form/test" + path, Via: hook.ViaWebhook,
		ReceivedAt: channeltest.Received(), Header: http.Header{"Accept": {"text/html"}},
	}
}

// shown returns the page's token and the proof of work that a browser finds for it.
func shown(t *testing.T, c *channel) (token, proof string) {
	t.Helper()
	if err := c.Verify(t.Context(), get("")); err != nil {
		t.Fatalf("the page is refused: %v", err)
	}
	a := c.Answer(get(""))
	found := regexp.MustCompile(`name="sb_token" value="([^"]+)"`).FindSubmatch(a.Body)
	if found == nil || !a.Drop || a.Status != http.StatusOK {
		t.Fatalf("status %d, drop %v, no token in\n%s", a.Status, a.Drop, a.Body)
	}
	nonce, _ := gate.Nonce(string(found[1]))
	for n := 0; ; n++ {
		if number := strconv.Itoa(n); gate.Proves(nonce, number) {
			return string(found[1]), number
		}
	}
}

func filled(token, proof string) url.Values {
	return url.Values{
		"message": {"My Petrel’s wing joiner was cracked."}, "email": {"aoife@kerrigan.example"}, "name": {"Aoife Kerrigan"},
		"sb_token": {token}, "sb_proof": {proof}, "website": {""},
	}
}

func answer(t *testing.T, c *channel, d hook.Delivery) hook.Answer {
	t.Helper()
	err := c.Verify(t.Context(), d)
	if refused, ok := errors.AsType[*hook.Refused](err); ok {
		return refused.Answer
	}
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return c.Answer(d)
}

func TestPageKeepsProgramsOut(t *testing.T) {
	t.Parallel()
	table := []struct {
		name, mode string
		change     func(v url.Values)
		after      time.Duration
		want       int
		words      string
	}{
		{"a person", "javascript", nil, time.Minute, 200, "Sent, and safe with us"},
		{"a person without JavaScript", "javascript", func(v url.Values) { v.Del("sb_proof") }, time.Minute, 200, "Sent, and safe"},
		{"a wrong proof", "javascript", func(v url.Values) { v.Set("sb_proof", "x") }, time.Minute, 403, "check in your browser"},
		{"a proof that nobody wants", "off", func(v url.Values) { v.Set("sb_proof", "") }, time.Minute, 200, "Sent"},
		{"no proof where it is required", "required", func(v url.Values) { v.Set("sb_proof", "") }, time.Minute, 403, "needs JavaScript"},
		{"a proof where it is required", "required", nil, time.Minute, 200, "Sent"},
		{"no page where it is required", "required", func(v url.Values) { v.Del("sb_token") }, time.Minute, 403, "open for too long"},
		{"no page", "javascript", func(v url.Values) { v.Del("sb_token") }, time.Minute, 200, "Sent"},
		{"a program's speed", "javascript", nil, time.Second, 403, "as quick as only programs"},
		{"yesterday's page", "javascript", nil, 25 * time.Hour, 403, "open for too long"},
		{"a forged page", "javascript", func(v url.Values) { v.Set("sb_token", "1"+v.Get("sb_token")) }, time.Minute, 403, "open for too long"},
		{"a filled trap", "javascript", func(v url.Values) { v.Set("website", "https://cheap.example") }, time.Minute, 200, "Sent, and safe with us"},
		{"no message", "javascript", func(v url.Values) { v.Del("message") }, time.Minute, 422, `id="message-error"`},
		{"no address", "javascript", func(v url.Values) { v.Set("email", "aoife@kerrigan") }, time.Minute, 422, `value="aoife@kerrigan" aria-describedby="email-hint email-error" aria-invalid="true"`},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.Proof = row.mode
			c := opened(t, cfg)
			v := filled(shown(t, c))
			if row.change != nil {
				row.change(v)
			}
			d := post("application/x-www-form-urlencoded", v.Encode())
			d.ReceivedAt = d.ReceivedAt.Add(row.after)
			a := answer(t, c, d)
			if a.Status != row.want || !strings.Contains(string(a.Body), row.words) {
				t.Errorf("status %d, want %d and %q in\n%s", a.Status, row.want, row.words, a.Body)
			}
			if a.Status >= 400 && !strings.Contains(string(a.Body), "Aoife Kerrigan") {
				t.Error("the page has forgotten what was written")
			}
			if got := a.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'self';") {
				t.Errorf("policy %q", got)
			}
		})
	}
}

func TestOnePageIsOneMessage(t *testing.T) {
	t.Parallel()
	c := opened(t, config())
	v := filled(shown(t, c))
	id := func() string {
		p, err := c.Parse(post("application/x-www-form-urlencoded", v.Encode()))
		if err != nil || len(p.Messages) != 1 {
			t.Fatalf("parsed %+v, error %v", p, err)
		}
		return p.Messages[0].VendorID
	}
	first := id()
	v.Set("message", "pressed twice, with another word")
	if second := id(); first != second || !strings.HasPrefix(first, "page-") {
		t.Errorf("one page gave %q and %q", first, second)
	}
	v = filled(shown(t, c))
	if other := id(); other == first {
		t.Errorf("two pages gave %q", other)
	}
}

func TestEqualPostsAreOneMessageForTenMinutes(t *testing.T) {
	t.Parallel()
	c := opened(t, config())
	id := func(body string, after time.Duration, key string) string {
		d := post("application/json", body)
		d.ReceivedAt = d.ReceivedAt.Add(after)
		d.Header.Set("Idempotency-Key", key)
		p, err := c.Parse(d)
		if err != nil {
			t.Fatal(err)
		}
		return p.Messages[0].VendorID
	}
	one := id(`{"email":"a@b.example","message":"hi"}`, 0, "")
	if again := id(` {"email":"a@b.example", "message":"hi\n"}`, 2*time.Minute, ""); again != one {
		t.Errorf("a double click gave %q and %q", one, again)
	}
	if later := id(`{"email":"a@b.example","message":"hi"}`, time.Hour, ""); later == one {
		t.Error("an hour later it is still the same message")
	}
	if other := id(`{"email":"a@b.example","message":"ho"}`, 0, ""); other == one {
		t.Error("another text is the same message")
	}
	keyed := id(`{"email":"a@b.example","message":"hi"}`, 0, "k1")
	if again := id(`{"email":"a@b.example","message":"ho"}`, time.Hour, "k1"); again != keyed || keyed == one {
		t.Errorf("one key gave %q and %q, none %q", keyed, again, one)
	}
	if field := id(`{"email":"a@b.example","message":"ho","submission_id":"k1"}`, 0, ""); field != keyed {
		t.Errorf("the key as a field gave %q, as a header %q", field, keyed)
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	c := opened(t, config())
	const good = `{"email":"a@b.example","message":"hi"}`
	table := []struct {
		name, origin, site string
		want               int
		allowed            string
	}{
		{"none", "", "", 202, ""},
		{"our own", "https://intake.shop.example", "", 202, ""},
		{"listed", "https://larkandspar.example", "cross-site", 202, "https://larkandspar.example"},
		{"strange", "https://evil.example", "cross-site", 403, ""},
		{"hidden", "null", "cross-site", 403, ""},
		{"ours by the browser's word", "http://127.0.0.1:8080", "same-origin", 202, ""},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := post("application/json", good)
			d.Header.Set("Accept", "application/json")
			if row.origin != "" {
				d.Header.Set("Origin", row.origin)
			}
			d.Header.Set("Sec-Fetch-Site", row.site)
			a := answer(t, c, d)
			if a.Status != row.want || a.Header.Get("Access-Control-Allow-Origin") != row.allowed || a.Header.Get("Vary") != "Origin" {
				t.Errorf("status %d, header %v, want %d and %q", a.Status, a.Header, row.want, row.allowed)
			}
			d.Method, d.Body = http.MethodOptions, nil
			if a := answer(t, c, d); !a.Drop || a.Header.Get("Access-Control-Allow-Origin") != row.allowed {
				t.Errorf("preflight: drop %v, header %v, want %q", a.Drop, a.Header, row.allowed)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	cfg := config()
	c := opened(t, cfg)
	cfg.Thanks = "https://larkandspar.example/thanks"
	thankful := opened(t, cfg)
	good := post("application/x-www-form-urlencoded", "email=a%40b.example&message=hi")
	if a := answer(t, thankful, good); a.Status != http.StatusSeeOther || a.Header.Get("Location") != cfg.Thanks {
		t.Errorf("with thanks: status %d, header %v", a.Status, a.Header)
	}
	good.Header.Set("Sec-Fetch-Mode", "cors")
	p, err := c.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ ID, Reference string }
	if a := answer(t, thankful, good); a.Status != http.StatusAccepted || json.Unmarshal(a.Body, &said) != nil || said.ID != p.Messages[0].VendorID {
		t.Errorf("to a script: status %d, body %s", a.Status, a.Body)
	}
	if fields := p.Messages[0].Fields; fields[len(fields)-1].Value != said.Reference || len(said.Reference) != 9 {
		t.Errorf("the requester was told %q, the message says %+v", said.Reference, fields)
	}
	bad := post("application/json", `{"message":" "}`)
	bad.Header.Del("Accept")
	a := answer(t, c, bad)
	var wrong page.Problem
	if err := json.Unmarshal(a.Body, &wrong); err != nil {
		t.Fatal(err)
	}
	if want := []formdata.Mistake{{Field: "message", Reason: "missing"}, {Field: "email", Reason: "missing"}}; a.Status != 422 || !slices.Equal(wrong.Errors, want) {
		t.Errorf("status %d, %+v, want 422 and %+v", a.Status, wrong, want)
	}
	for kind, want := range map[string]int{"application/json": 400, "multipart/form-data; boundary=b": 400, "image/png": 415, "": 415} {
		if a := answer(t, c, post(kind, "\x89{")); a.Status != want {
			t.Errorf("%q: status %d, want %d", kind, a.Status, want)
		}
	}
}

func TestPageServesItsScript(t *testing.T) {
	t.Parallel()
	c := opened(t, config())
	a := answer(t, c, get("?asset=form.js"))
	if !a.Drop || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/javascript") || !strings.Contains(string(a.Body), "sb_proof") {
		t.Errorf("drop %v, header %v", a.Drop, a.Header)
	}
	page := string(answer(t, c, get("")).Body)
	for _, never := range []string{"<style", "style=", "onclick", "<no value>", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page holds %q, which its policy forbids or nobody wants", never)
		}
	}
}

func TestPageEscapesWhatItRepeats(t *testing.T) {
	t.Parallel()
	c := opened(t, config())
	v := url.Values{"message": {"</textarea><script>alert(1)</script>"}, "name": {`"><img src=x>`}, `x"><b>`: {"<i>"}}
	page := string(answer(t, c, post("application/x-www-form-urlencoded", v.Encode())).Body)
	for _, never := range []string{"<script>alert", "<img", "<i>", "<b>&", `x"><b>`} {
		if strings.Contains(page, never) {
			t.Errorf("the page repeats %q as markup", never)
		}
	}
}

func TestOpenNamesEveryMistake(t *testing.T) {
	t.Parallel()
	cfg := Config{
		Origins: []string{"shop.example", "https://shop.example/contact"}, Require: []string{"shoe_size"},
		Thanks: "javascript:alert(1)", MinFill: 48 * time.Hour, Proof: "maybe",
	}
	_, err := Kind.Open(cfg, channels.Env{})
	if err == nil {
		t.Fatal("it opened")
	}
	for _, want := range []string{`"shop.example"`, "/contact", "shoe_size", "thanks:", "min_fill:", "maybe"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if err := opened(t, config()).Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}
