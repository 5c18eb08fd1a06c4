package twilio_test

import (
	"errors"
	"net/http"
	"testing"

	"switchboard/adapter/hook"
	"switchboard/adapter/twilio"
)

func twilioForm(url, body string) hook.Delivery {
	return hook.Delivery{
		Method: http.MethodPost, URL: url, Body: []byte(body),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	}
}

// The signatures were computed with openssl over the text that the comment names.
func TestTwilioKnowsTheVendorsText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, url, body, signature string }{
		// https://shop.example/in?x=1Body1 + 1From+49155
		{"decoded values", "https://shop.example/in?x=1", "From=%2B49155&Body=1+%2B+1", "d1SeMAWp3KYacjPJS0dXLpUGeA0="},
		// https://shop.example/inA1BA2AB1aZ
		{"distinct values of a key, sorted; keys by byte", "https://shop.example/in", "Z=&A=2&A=1B&A=2&AB1=a", "pHkuHYjAyydys4sytEhfAXo4sRs="},
		// https://shop.example:443/inA1
		{"signed with the default port", "https://shop.example/in", "A=1", "2plLPKXgpd4k5nULzYrZ42OrZ7A="},
		// https://shop.example/inA1
		{"signed without the port", "https://shop.example:8443/in", "A=1", "BxuRt460EKo5ms/U5gk7hgXpuB4="},
		// http://[2001:db8::1]:80/inA1
		{"IPv6 without a port", "http://[2001:db8::1]/in", "A=1", "Rh13LeadBge+v/JeUFC3hmYcPJI="},
		// http://[2001:db8::1]/inA1
		{"IPv6 with a port", "http://[2001:db8::1]:9000/in", "A=1", "r9xD9zzu0hlZewuFlE1T4rBswsU="},
	} {
		d := twilioForm(row.url, row.body)
		d.Header.Set("X-Twilio-Signature", row.signature)
		if err := twilio.Verify(d, []byte("token")); err != nil {
			t.Errorf("%s: %v, want it accepted", row.name, err)
		}
	}
}

func TestTwilioRefuses(t *testing.T) {
	t.Parallel()
	good := twilioForm("https://shop.example/in", "A=1&A=2")
	twilio.Sign([]byte("token"), &good)
	json := hook.Delivery{Method: http.MethodPost, URL: "https://shop.example/in?x=1", Body: []byte(`{"a":1}`), Header: http.Header{"Content-Type": {"application/json"}}}
	twilio.Sign([]byte("token"), &json)
	if err := errors.Join(twilio.Verify(good, []byte("token")), twilio.Verify(json, nil, []byte("token"))); err != nil {
		t.Fatalf("refused what was signed: %v", err)
	}
	for _, row := range []struct {
		name   string
		change func(d *hook.Delivery)
		of     hook.Delivery
		token  string
	}{
		{"another token", func(*hook.Delivery) {}, good, "other"},
		{"an empty token", func(*hook.Delivery) {}, good, ""},
		{"a second value of a key altered", func(d *hook.Delivery) { d.Body = []byte("A=1&A=3") }, good, "token"},
		{"a value left out", func(d *hook.Delivery) { d.Body = []byte("A=1") }, good, "token"},
		{"another path", func(d *hook.Delivery) { d.URL += "x" }, good, "token"},
		{"http for https", func(d *hook.Delivery) { d.URL = "http://shop.example/in" }, good, "token"},
		{"no form", func(d *hook.Delivery) { d.Body = []byte("%zz") }, good, "token"},
		{"another JSON body", func(d *hook.Delivery) { d.Body = []byte(`{"a":2}`) }, json, "token"},
		{"a form under a JSON signature", func(d *hook.Delivery) {
			d.Body = []byte("A=1")
			d.Header = d.Header.Clone()
			d.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}, json, "token"},
		{"no signature", func(d *hook.Delivery) { d.Header = nil }, good, "token"},
		{"an address that does not parse", func(d *hook.Delivery) { d.URL = "https://[" }, good, "token"},
	} {
		d := row.of
		row.change(&d)
		if err := twilio.Verify(d, []byte(row.token)); !errors.Is(err, hook.ErrUnverified) {
			t.Errorf("%s: got %v, want ErrUnverified", row.name, err)
		}
	}
}

func TestSignTwilioLeavesAloneWhatIsNoForm(t *testing.T) {
	t.Parallel()
	d := hook.Delivery{URL: "https://shop.example/in", Body: []byte("%zz")}
	if twilio.Sign([]byte("token"), &d); d.Header.Get("X-Twilio-Signature") != "" {
		t.Error("a body that is no form was signed")
	}
}
