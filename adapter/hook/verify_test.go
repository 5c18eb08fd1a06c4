package hook_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"testing"
	"time"

	"switchboard/adapter/hook"
)

// The vectors were made with the openssl command line, not with this package.
const (
	macKey     = "aeromodel-shop"
	signedBody = `{"order":4711}`
	sha256Hex  = "1d1fe7cf6e15612f35864088f975519455b51c795786b3a715fd1f6287de6716"
	sha256B64  = "HR/nz24VYS81hkCI+XVRlFW1HHlXhrOnFf0fYofeZxY="
	sha1Hex    = "6e1608dc84ca0504fb12bbe3720339ed8d799bd2"
	sha512Hex  = "dbe27d130c96f27d32680487c9bce67fa0b724acd6e210ab1804970556109d48" +
		"f51a87c29ba9c6fcd3ae20c8149fdf1e3275e3fa1ae311c34f2abfec8c16a7df"
	sha1B64 = "bhYI3ITKBQT7ErvjcgM57Y15m9I="

	standardID      = "msg_skylark"
	standardStamp   = "1775554200" // 2026-04-07 09:30:00 UTC
	standardSecret  = "whsec_YmFsc2EsIGNvdmVyaW5nIGZpbG0gYW5kIGRvcGUgMSE="
	standardMAC     = "UVea03vdJCBAC/Z+2PYD5aGOVVT/o5tgyJxBOeNlAQA="
	standardPublic  = "whpk_NcbUDCWem9HRhYuEhxD0FaP1U8p7WrySVXEWhC0aCnk="
	standardEd25519 = "RpvlOQftNHjirjT7Y4JnvHW1BTdXY2+L8x3uUPMt2UJlKDbt1hC7nVeUkkG7YvM+V5TLW9+0MCJLwQauKfk8AA=="
)

var standardTime = time.Unix(1775554200, 0)

// refused wants err to be ErrUnverified exactly when ok is false.
func refused(t *testing.T, err error, ok bool) {
	t.Helper()
	if ok && err != nil {
		t.Errorf("got %v, want it verified", err)
	}
	if !ok && !errors.Is(err, hook.ErrUnverified) {
		t.Errorf("got %v, want ErrUnverified", err)
	}
}

func TestHMAC(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		check          func(key, body []byte, signature string) error
		key, body, sig string
		ok             bool
	}{
		{"hex", hook.HMACSHA256, macKey, signedBody, sha256Hex, true},
		{"prefixed hex", hook.HMACSHA256, macKey, signedBody, "sha256=" + sha256Hex, true},
		{"base64", hook.HMACSHA256, macKey, signedBody, sha256B64, true},
		{"SHA-1 hex", hook.HMACSHA1, macKey, signedBody, sha1Hex, true},
		{"SHA-1 prefixed", hook.HMACSHA1, macKey, signedBody, "sha1=" + sha1Hex, true},
		{"SHA-1 base64", hook.HMACSHA1, macKey, signedBody, sha1B64, true},
		{"SHA-512", hook.HMACSHA512, macKey, signedBody, "sha512=" + sha512Hex, true},
		{"SHA-512 under SHA-256", hook.HMACSHA512, macKey, signedBody, sha256Hex, false},
		{"missing", hook.HMACSHA256, macKey, signedBody, "", false},
		{"prefix alone", hook.HMACSHA256, macKey, signedBody, "sha256=", false},
		{"altered body", hook.HMACSHA256, macKey, signedBody + " ", sha256Hex, false},
		{"other key", hook.HMACSHA256, macKey + "2", signedBody, sha256Hex, false},
		{"no key", hook.HMACSHA256, "", signedBody, sha256Hex, false},
		{"cut short", hook.HMACSHA256, macKey, signedBody, sha256Hex[:32], false},
		{"last digit", hook.HMACSHA256, macKey, signedBody, sha256Hex[:63] + "7", false},
		{"neither hex nor base64", hook.HMACSHA256, macKey, signedBody, "?!", false},
		{"another hash", hook.HMACSHA256, macKey, signedBody, sha1Hex, false},
		{"SHA-1 under its neighbour's prefix", hook.HMACSHA1, macKey, signedBody, "sha256=" + sha1Hex, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refused(t, c.check([]byte(c.key), []byte(c.body), c.sig), c.ok)
		})
	}
}

func TestEd25519(t *testing.T) {
	t.Parallel()
	key, _, err := hook.StandardKey([]byte(standardPublic))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(standardEd25519)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(standardID + "." + standardStamp + "." + signedBody)
	refused(t, hook.Ed25519(key, body, signature), true)
	refused(t, hook.Ed25519(key, body[1:], signature), false)
	refused(t, hook.Ed25519(key[1:], body, signature), false)
	refused(t, hook.Ed25519(nil, body, signature), false)
	refused(t, hook.Ed25519(key, body, signature[1:]), false)
	refused(t, hook.Ed25519(key, body, nil), false)
	refused(t, hook.Ed25519(make([]byte, ed25519.PublicKeySize), body, make([]byte, ed25519.SignatureSize)), false)
}

func TestFresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stamp string
		off         time.Duration
		ok          bool
	}{
		{"now", standardStamp, 0, true},
		{"as old as may be", standardStamp, time.Minute, true},
		{"as new as may be", standardStamp, -time.Minute, true},
		{"too old", standardStamp, time.Minute + time.Second, false},
		{"from the future", standardStamp, -time.Minute - time.Second, false},
		{"RFC 3339", "2026-04-07T11:30:00+02:00", 0, true},
		{"RFC 3339, too old", "2026-04-07T11:30:00+02:00", time.Minute + time.Second, false},
		{"missing", "", 0, false},
		{"not a number", "2026-04-07", 0, false},
		{"fraction", standardStamp + ".5", 0, false},
		{"milliseconds", standardStamp + "000", 0, false},
		{"out of range", "99999999999999999999", 0, false},
		{"most negative", "-9223372036854775808", 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refused(t, hook.Fresh(c.stamp, standardTime.Add(c.off), time.Minute), c.ok)
		})
	}
}

func standard(names, signature string) hook.Delivery {
	d := hook.Delivery{Header: http.Header{}, Body: []byte(signedBody), ReceivedAt: standardTime}
	d.Header.Set(names+"-Id", standardID)
	d.Header.Set(names+"-Timestamp", standardStamp)
	d.Header.Set(names+"-Signature", signature)
	return d
}

func TestStandardWebhook(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, secret string
		d            hook.Delivery
		ok           bool
	}{
		{"HMAC", standardSecret, standard("Webhook", "v1,"+standardMAC), true},
		{"svix names", standardSecret, standard("Svix", "v1,"+standardMAC), true},
		{"raw secret", "balsa, covering film and dope 1!", standard("Webhook", "v1,"+standardMAC), true},
		{"Ed25519", standardPublic, standard("Webhook", "v1a,"+standardEd25519), true},
		{"second of three while rotating", standardSecret, standard("Webhook", "v1,AAAA v1,"+standardMAC+" v9,x"), true},
		{"no signature", standardSecret, standard("Webhook", ""), false},
		{"no version", standardSecret, standard("Webhook", standardMAC), false},
		{"unknown version", standardSecret, standard("Webhook", "v2,"+standardMAC), false},
		{"not base64", standardSecret, standard("Webhook", "v1,???"), false},
		{"HMAC keyed with the public key", standardPublic, standard("Webhook", "v1,"+standardMAC), false},
		{"Ed25519 under an HMAC secret", standardSecret, standard("Webhook", "v1a,"+standardEd25519), false},
		{"other secret", "whsec_AAAA", standard("Webhook", "v1,"+standardMAC), false},
		{"empty secret", "", standard("Webhook", "v1,"+standardMAC), false},
		{"empty whsec_", "whsec_", standard("Webhook", "v1,"+standardMAC), false},
		{"secret is not base64", "whsec_?", standard("Webhook", "v1,"+standardMAC), false},
		{"short public key", "whpk_AAAA", standard("Webhook", "v1a,"+standardEd25519), false},
		{"nothing at all", standardSecret, hook.Delivery{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refused(t, hook.StandardWebhook([]byte(c.secret), c.d), c.ok)
		})
	}
}

func TestStandardWebhookCoversEverythingSigned(t *testing.T) {
	t.Parallel()
	for name, alter := range map[string]func(d *hook.Delivery){
		"body":      func(d *hook.Delivery) { d.Body = []byte(`{"order":4712}`) },
		"id":        func(d *hook.Delivery) { d.Header.Set("Webhook-Id", "msg_other") },
		"no id":     func(d *hook.Delivery) { d.Header.Del("Webhook-Id") },
		"timestamp": func(d *hook.Delivery) { d.Header.Set("Webhook-Timestamp", "1775554201") },
		"no time":   func(d *hook.Delivery) { d.Header.Del("Webhook-Timestamp") },
		"old":       func(d *hook.Delivery) { d.ReceivedAt = standardTime.Add(5*time.Minute + time.Second) },
		"early":     func(d *hook.Delivery) { d.ReceivedAt = standardTime.Add(-5*time.Minute - time.Second) },
		// The boundary between the signed parts must not move.
		"shifted": func(d *hook.Delivery) {
			d.Header.Set("Webhook-Id", standardID+"."+standardStamp)
			d.Header.Set("Webhook-Timestamp", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := standard("Webhook", "v1,"+standardMAC)
			alter(&d)
			refused(t, hook.StandardWebhook([]byte(standardSecret), d), false)
		})
	}
}

func TestSignStandardWebhook(t *testing.T) {
	t.Parallel()
	d := hook.Delivery{Header: http.Header{}, Body: []byte(signedBody), ReceivedAt: standardTime.Add(300 * time.Millisecond)}
	if err := hook.SignStandardWebhook([]byte(standardSecret), standardID, &d); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Webhook-Id": standardID, "Webhook-Timestamp": standardStamp, "Webhook-Signature": "v1," + standardMAC,
	} {
		if got := d.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, secret := range []string{"", "whsec_", "whsec_?", standardPublic, "whpk_AAAA"} {
		if err := hook.SignStandardWebhook([]byte(secret), standardID, &d); err == nil {
			t.Errorf("signed with %q", secret)
		}
	}
}

func FuzzStandardWebhook(f *testing.F) {
	f.Add(standardID, standardStamp, "v1,"+standardMAC, signedBody)
	f.Add("", "", "", "")
	f.Add("x", "-9223372036854775808", "v1, v1a,= ,", "\x00")
	f.Fuzz(func(t *testing.T, id, stamp, signature, body string) {
		d := hook.Delivery{Header: http.Header{}, Body: []byte(body), ReceivedAt: standardTime}
		d.Header.Set("Webhook-Id", id)
		d.Header.Set("Webhook-Timestamp", stamp)
		d.Header.Set("Webhook-Signature", signature)
		err := hook.StandardWebhook([]byte(standardSecret), d)
		if err != nil && !errors.Is(err, hook.ErrUnverified) {
			t.Fatalf("%v is not ErrUnverified", err)
		}
		// Only the seed's three parts are known to be signed with this key.
		if err == nil && (id != standardID || body != signedBody) {
			t.Fatalf("a forgery passed: %q %q %q", id, stamp, signature)
		}
		if err := hook.SignStandardWebhook([]byte(standardSecret), "msg_own", &d); err != nil {
			t.Fatal(err)
		}
		if err := hook.StandardWebhook([]byte(standardSecret), d); err != nil {
			t.Fatalf("what we sign we refuse: %v", err)
		}
	})
}

func FuzzHMAC(f *testing.F) {
	f.Add(signedBody, sha256Hex)
	f.Add("", "sha256=")
	f.Add("x", "====")
	f.Fuzz(func(t *testing.T, body, signature string) {
		for _, check := range []func(key, body []byte, signature string) error{hook.HMACSHA256, hook.HMACSHA1} {
			err := check([]byte(macKey), []byte(body), signature)
			if err == nil && body != signedBody {
				t.Fatalf("a forgery passed: %q", signature)
			}
			if err != nil && !errors.Is(err, hook.ErrUnverified) {
				t.Fatalf("%v is not ErrUnverified", err)
			}
		}
	})
}
