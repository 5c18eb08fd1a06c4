package hook

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"

	"switchboard/adapter/secret"
)

func TestHMACVerifiesWhatItSigns(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"sha1", "sha256", "sha512"} {
		h := HMAC{Secret: secret.Literal("hangar"), Header: "X-Sig", Prefix: "v=", Algorithm: algorithm}
		d := Delivery{Header: http.Header{}, Body: []byte("body")}
		if h.Sign(&d); h.Check() != nil || h.Verify(d) != nil {
			t.Errorf("%s: check %v, verify %v", algorithm, h.Check(), h.Verify(d))
		}
		raw, err := hex.DecodeString(d.Header.Get("X-Sig")[2:])
		if err != nil {
			t.Fatal(err)
		}
		d.Header.Set("X-Sig", base64.StdEncoding.EncodeToString(raw))
		if err := h.Verify(d); err != nil {
			t.Errorf("%s in base64 without a prefix: %v", algorithm, err)
		}
		d.Body = []byte("other")
		if err := h.Verify(d); !errors.Is(err, ErrUnverified) {
			t.Errorf("%s of another body: %v", algorithm, err)
		}
		h.Secret = secret.Secret{}
		if h.Sign(&d); !errors.Is(h.Verify(d), ErrUnverified) {
			t.Errorf("%s under an empty key: %v", algorithm, h.Verify(d))
		}
	}
	odd := HMAC{Secret: secret.Literal("hangar"), Header: "X-Sig", Algorithm: "md5"}
	d := Delivery{Header: http.Header{}}
	if odd.Sign(&d); odd.Check() == nil || !errors.Is(odd.Verify(d), ErrUnverified) || len(d.Header) != 0 {
		t.Errorf("md5: check %v, verify %v, header %v", odd.Check(), odd.Verify(d), d.Header)
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	token := secret.Literal("hangar-token")
	for value, good := range map[string]bool{
		"Bearer hangar-token": true, "bearer  hangar-token ": true, "Bearer hangar-toke": false, "Basic hangar-token": false,
		"hangar-token": false, "": false, "Bearer ": false, "Bearer": false,
	} {
		d := Delivery{Header: http.Header{"Authorization": {value}}}
		if err := Bearer(token, d); (err == nil) != good || err != nil && !errors.Is(err, ErrUnverified) {
			t.Errorf("%q: %v", value, err)
		}
	}
	if err := Bearer(secret.Secret{}, Delivery{Header: http.Header{"Authorization": {"Bearer "}}}); err == nil {
		t.Error("an empty token verifies an empty one")
	}
}
