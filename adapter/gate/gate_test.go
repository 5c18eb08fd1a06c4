package gate

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/hook"
)

var start = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

func solve(nonce string, want bool) string {
	for n := 0; ; n++ {
		if number := strconv.Itoa(n); Proves(nonce, number) == want {
			return number
		}
	}
}

func TestCheckLetsPeopleIn(t *testing.T) {
	t.Parallel()
	g := Gate{Key: []byte("key"), MinFill: 2 * time.Second}
	token := g.Token(start)
	nonce, ok := Nonce(token)
	if !ok {
		t.Fatalf("token %q has no nonce", token)
	}
	right, wrong := solve(nonce, true), solve(nonce, false)
	other := Gate{Key: []byte("other")}.Token(start)
	strict := g
	strict.Proof = true
	table := []struct {
		name         string
		gate         Gate
		token, proof string
		after        time.Duration
		want         Reason
	}{
		{"no proof", g, token, "", time.Minute, ""},
		{"proof", g, token, right, time.Minute, ""},
		{"just in time", g, token, "", 2 * time.Second, ""},
		{"a day later", g, token, "", Life, ""},
		{"wrong proof", g, token, wrong, time.Minute, WrongProof},
		{"long proof", g, token, strings.Repeat("1", 13), time.Minute, WrongProof},
		{"proof wanted", strict, token, "", time.Minute, Unproven},
		{"proof wanted and given", strict, token, right, time.Minute, ""},
		{"too quick", g, token, right, time.Second, TooQuick},
		{"too late", g, token, right, Life + time.Second, Expired},
		{"from the future", g, token, right, -2 * time.Minute, Expired},
		{"other key", g, other, "", time.Minute, Expired},
		{"no key", Gate{}, Gate{}.Token(start), "", time.Minute, Expired},
		{"no token", g, "", "", time.Minute, ""},
		{"no token where proof is wanted", strict, "", "", time.Minute, Expired},
		{"lower case nonce", g, strings.ToLower(token), "", time.Minute, Expired},
		{"cut", g, token[:len(token)-1], "", time.Minute, Expired},
		{"other time", g, "1" + token, "", time.Minute, Expired},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := row.gate.Check(row.token, row.proof, start.Add(row.after)); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestTokensDiffer(t *testing.T) {
	t.Parallel()
	g := Gate{Key: []byte("key")}
	if one, two := g.Token(start), g.Token(start); one == two {
		t.Error("two pages got one token")
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	o := Origins{"https://shop.example"}
	const public = "https://intake.shop.example/form/website"
	d := func(header ...string) hook.Delivery {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return hook.Delivery{URL: "http://localhost:8080/form/website", Header: h}
	}
	table := []struct {
		name    string
		d       hook.Delivery
		trusted bool
		allowed string
	}{
		{"no page", d(), true, ""},
		{"listed", d("Origin", "https://shop.example"), true, "https://shop.example"},
		{"public", d("Origin", "https://intake.shop.example"), true, ""},
		{"as called", d("Origin", "http://localhost:8080"), true, ""},
		{"by the browser's word", d("Origin", "http://127.0.0.1:8080", "Sec-Fetch-Site", "same-origin"), true, ""},
		{"same site", d("Origin", "https://evil.shop.example", "Sec-Fetch-Site", "same-site"), false, ""},
		{"longer", d("Origin", "https://shop.example.evil.example"), false, ""},
		{"hidden", d("Origin", "null"), false, ""},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if got := o.Trust(row.d, public); got != row.trusted {
				t.Errorf("trusted %v, want %v", got, row.trusted)
			}
			a := o.Allow(row.d, hook.Text(200, "text/plain", ""))
			if got := a.Header.Get("Access-Control-Allow-Origin"); got != row.allowed || a.Header.Get("Vary") != "Origin" {
				t.Errorf("allowed %q, want %q", got, row.allowed)
			}
		})
	}
	if errs := (Origins{"https://shop.example", "shop.example", "ftp://shop.example", "https://shop.example/", "*", "%"}).Check(); len(errs) != 5 {
		t.Errorf("found %v, want 5 mistakes", errs)
	}
}
