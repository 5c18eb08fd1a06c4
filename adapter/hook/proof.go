package hook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // senders sign with it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
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

// A Proof is how senders of many makes prove themselves: by exactly one of
// secret, token and hmac.secret.
type Proof struct {
	// Secret is that of Standard Webhooks: whsec_… to sign with, or the sender's
	// public key whpk_….
	Secret secret.Secret `yaml:"secret"`
	// Token is sent as "Authorization: Bearer …".
	Token secret.Secret `yaml:"token"`
	// HMAC is any other signature over the body.
	HMAC HMAC `yaml:"hmac"`
}

// Check says what is wrong with the configuration.
func (p Proof) Check() error {
	errs := []error{p.HMAC.Check()}
	if set := slices.DeleteFunc([]secret.Secret{p.Secret, p.Token, p.HMAC.Secret}, secret.Secret.IsZero); len(set) != 1 {
		errs = append(errs, fmt.Errorf("secret, token, hmac.secret: want exactly one of them, so that nobody else can send; %d are set", len(set)))
	}
	if _, _, err := StandardKey(p.Secret.Bytes()); err != nil {
		errs = append(errs, errors.New("secret: want whsec_ or whpk_ and base64"))
	}
	return errors.Join(errs...)
}

// Verify checks d in the configured way.
func (p Proof) Verify(d Delivery) error {
	switch {
	case !p.Secret.IsZero():
		return StandardWebhook(p.Secret.Bytes(), d)
	case !p.HMAC.Secret.IsZero():
		return p.HMAC.Verify(d)
	}
	return Bearer(p.Token, d)
}
