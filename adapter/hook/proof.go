package hook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // senders sign with it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"switchboard/adapter/secret"
)

// Bearer checks "Authorization: Bearer …". An empty token verifies nothing.
func Bearer(token secret.Secret, d Delivery) error {
	scheme, value, _ := strings.Cut(d.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || !token.Equal(strings.TrimSpace(value)) {
		return fmt.Errorf("%w: the bearer token is missing or wrong", ErrUnverified)
	}
	return nil
}

// An HMAC is a signature over the raw body in a header, in hex or base64, as
// many senders have it.
type HMAC struct {
	// Secret is the key.
	Secret secret.Secret `yaml:"secret"`
	// Header carries the signature.
	Header string `yaml:"header"`
	// Prefix stands before the signature.
	Prefix string `yaml:"prefix"`
	// Algorithm is sha1, sha256 or sha512.
	Algorithm string `yaml:"algorithm"`
}

// Check says what is wrong with the configuration.
func (h HMAC) Check() error {
	if h.Header == "" || h.verifier() == nil {
		return errors.New("hmac: want a header, and sha1, sha256 or sha512 as algorithm")
	}
	return nil
}

// Verify checks the signature of d.
func (h HMAC) Verify(d Delivery) error {
	verify := h.verifier()
	if verify == nil {
		return fmt.Errorf("%w: the configured algorithm cannot be used", ErrUnverified)
	}
	return verify(h.Secret.Bytes(), d.Body, strings.TrimPrefix(d.Header.Get(h.Header), h.Prefix))
}

func (h HMAC) verifier() func(key, body []byte, signature string) error {
	switch h.Algorithm {
	case "sha1":
		return HMACSHA1
	case "sha256":
		return HMACSHA256
	case "sha512":
		return HMACSHA512
	}
	return nil
}

// Sign sets the signature, in hex. Without a usable algorithm it sets none.
func (h HMAC) Sign(d *Delivery) {
	m := hmac.New(sha256.New, h.Secret.Bytes())
	switch h.Algorithm {
	case "sha1":
		m = hmac.New(sha1.New, h.Secret.Bytes())
	case "sha512":
		m = hmac.New(sha512.New, h.Secret.Bytes())
	case "sha256":
	default:
		return
	}
	m.Write(d.Body)
	d.Header.Set(h.Header, h.Prefix+hex.EncodeToString(m.Sum(nil)))
}
