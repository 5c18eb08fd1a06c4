package twilio

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio signs with it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"switchboard/adapter/hook"
)

const header = "X-Twilio-Signature"

// Verify checks the signature of Twilio's webhooks, of whatever product, under
// any of the account's tokens; empty ones verify nothing. Twilio signs the
// address as it called it, now with the default port and now without any,
// followed by the form's parameters; of a JSON body it signs the digest that is
// in the address. There is no time in it, so a replay is not noticed here.
// https://www.twilio.com/docs/usage/security
func Verify(d hook.Delivery, tokens ...[]byte) error {
	signed, err := params(d)
	if err != nil {
		return err
	}
	for _, token := range tokens {
		for _, address := range []string{d.URL, otherPort(d.URL)} {
			if hook.HMACSHA1(token, []byte(address+signed), d.Header.Get(header)) == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: no signature matches", hook.ErrUnverified)
}

// Sign signs d as Twilio does before it calls d.URL; a JSON body's digest
// is added to the address.
func Sign(token []byte, d *hook.Delivery) {
	if strings.Contains(d.Header.Get("Content-Type"), "json") {
		sum := sha256.Sum256(d.Body)
		sep := "?"
		if strings.Contains(d.URL, "?") {
			sep = "&"
		}
		d.URL += sep + "bodySHA256=" + hex.EncodeToString(sum[:])
	}
	signed, err := params(*d)
	if err != nil {
		return // no form, so Twilio never sends it
	}
	m := hmac.New(sha1.New, token)
	m.Write([]byte(d.URL + signed))
	if d.Header == nil {
		d.Header = http.Header{}
	}
	d.Header.Set(header, base64.StdEncoding.EncodeToString(m.Sum(nil)))
}

// params returns what is appended to the address: every key, sorted,
// followed by each of its distinct values, sorted. Nothing for a body that is no
// form: its digest is checked instead.
func params(d hook.Delivery) (string, error) {
	if want := d.Query().Get("bodySHA256"); want != "" && !strings.Contains(d.Header.Get("Content-Type"), "urlencoded") {
		if sum := sha256.Sum256(d.Body); !hmac.Equal([]byte(hex.EncodeToString(sum[:])), []byte(strings.ToLower(want))) {
			return "", fmt.Errorf("%w: the body does not match its digest", hook.ErrUnverified)
		}
		return "", nil
	}
	form, err := url.ParseQuery(string(d.Body))
	if err != nil {
		return "", fmt.Errorf("%w: the body is not a form", hook.ErrUnverified)
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(form)) {
		for _, value := range slices.Compact(slices.Sorted(slices.Values(form[key]))) {
			b.WriteString(key + value)
		}
	}
	return b.String(), nil
}

// otherPort returns the address without its port, or else with the default one;
// the rest of the text is not encoded anew.
func otherPort(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	host := u.Host + map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
	if u.Port() != "" {
		host = strings.TrimSuffix(u.Host, ":"+u.Port())
	}
	return strings.Replace(address, u.Host, host, 1)
}
