package hook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // vendors sign with it
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
)

// HMACSHA256 checks that signature is the HMAC-SHA256 of body under key, in hex
// or base64, with or without "sha256=" before it. An empty key verifies nothing.
func HMACSHA256(key, body []byte, signature string) error {
	return mac(sha256.New, key, body, strings.TrimPrefix(signature, "sha256="))
}

// HMACSHA1 is HMACSHA256 with SHA-1 and "sha1=".
func HMACSHA1(key, body []byte, signature string) error {
	return mac(sha1.New, key, body, strings.TrimPrefix(signature, "sha1="))
}

// HMACSHA512 is HMACSHA256 with SHA-512 and "sha512=".
func HMACSHA512(key, body []byte, signature string) error {
	return mac(sha512.New, key, body, strings.TrimPrefix(signature, "sha512="))
}

func mac(h func() hash.Hash, key, body []byte, signature string) error {
	if len(key) == 0 {
		return fmt.Errorf("%w: no key", ErrUnverified)
	}
	if signature == "" {
		return fmt.Errorf("%w: signature is missing", ErrUnverified)
	}
	m := hmac.New(h, key)
	m.Write(body)
	want := m.Sum(nil)
	if got, err := hex.DecodeString(signature); err == nil && hmac.Equal(got, want) {
		return nil
	}
	if got, err := base64.StdEncoding.DecodeString(signature); err == nil && hmac.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%w: signature does not match", ErrUnverified)
}

// Ed25519 checks a raw signature under a public key of 32 bytes. A key of zeros
// verifies nothing: under that point every fourth message has a known signature.
func Ed25519(key, body, signature []byte) error {
	if len(key) != ed25519.PublicKeySize || len(signature) != ed25519.SignatureSize ||
		bytes.Equal(key, make([]byte, ed25519.PublicKeySize)) || !ed25519.Verify(key, body, signature) {
		return fmt.Errorf("%w: signature does not match", ErrUnverified)
	}
	return nil
}

// Fresh checks that a signed time, in Unix seconds or as RFC 3339 has it, lies
// within tolerance of now, in both directions.
func Fresh(stamp string, now time.Time, tolerance time.Duration) error {
	at, err := time.Parse(time.RFC3339, stamp)
	if n, nerr := strconv.ParseInt(stamp, 10, 64); nerr == nil {
		at, err = time.Unix(n, 0), nil
	}
	if err != nil {
		return fmt.Errorf("%w: timestamp is missing or not a time", ErrUnverified)
	}
	if d := now.Sub(at); d > tolerance || d < -tolerance {
		return fmt.Errorf("%w: timestamp is %s off", ErrUnverified, d.Abs().Round(time.Second))
	}
	return nil
}

// Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks.
const (
	standardTolerance = 5 * time.Minute
	standardPrefix    = "whsec_"
	standardPublic    = "whpk_"
)

// StandardKey reads a Standard Webhooks secret: "whsec_" and base64 for HMAC,
// "whpk_" and base64 for an Ed25519 public key, or raw bytes of any other form.
func StandardKey(value []byte) (key []byte, public bool, err error) {
	s := string(value)
	if rest, ok := strings.CutPrefix(s, standardPublic); ok {
		key, err = base64.StdEncoding.DecodeString(rest)
		if err == nil && len(key) != ed25519.PublicKeySize {
			err = fmt.Errorf("public key has %d bytes, want %d", len(key), ed25519.PublicKeySize)
		}
		return key, true, err
	}
	if rest, ok := strings.CutPrefix(s, standardPrefix); ok {
		key, err = base64.StdEncoding.DecodeString(rest)
		return key, false, err
	}
	return value, false, nil
}

// StandardWebhook checks the signature of d by the Standard Webhooks scheme:
// headers webhook-id, webhook-timestamp and webhook-signature (or the svix-
// names), signatures v1 (HMAC-SHA256) and v1a (Ed25519), a window of 5 minutes
// in both directions. Any one match suffices; unknown versions are skipped.
func StandardWebhook(secret []byte, d Delivery) error {
	key, public, err := StandardKey(secret)
	if err != nil || len(key) == 0 {
		return fmt.Errorf("%w: the configured key cannot be used", ErrUnverified)
	}
	get := func(name string) string {
		if v := d.Header.Get("Webhook-" + name); v != "" {
			return v
		}
		return d.Header.Get("Svix-" + name)
	}
	id, stamp := get("Id"), get("Timestamp")
	if id == "" {
		return fmt.Errorf("%w: webhook-id is missing", ErrUnverified)
	}
	if err := Fresh(stamp, d.ReceivedAt, standardTolerance); err != nil {
		return err
	}
	signed := append([]byte(id+"."+stamp+"."), d.Body...)
	for one := range strings.FieldsSeq(get("Signature")) {
		version, value, _ := strings.Cut(one, ",")
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			continue
		}
		if version == "v1" && !public && hmac.Equal(raw, standardMAC(key, signed)) {
			return nil
		}
		if version == "v1a" && public && Ed25519(key, signed, raw) == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: no signature matches", ErrUnverified)
}

// StandardID is the id under which a Standard Webhook was sent, as valid UTF-8; ""
// of a delivery without one.
func StandardID(d Delivery) string {
	id := d.Header.Get("Webhook-Id")
	if id == "" {
		id = d.Header.Get("Svix-Id")
	}
	return strings.ToValidUTF8(id, "\uFFFD")
}

// SignStandardWebhook sets the three headers on d under an HMAC secret, as of
// d.ReceivedAt.
func SignStandardWebhook(secret []byte, id string, d *Delivery) error {
	key, public, err := StandardKey(secret)
	if err != nil {
		return fmt.Errorf("read webhook secret: %w", err)
	}
	if public || len(key) == 0 {
		return fmt.Errorf("read webhook secret: %s is needed to sign", standardPrefix)
	}
	stamp := strconv.FormatInt(d.ReceivedAt.Unix(), 10)
	d.Header.Set("Webhook-Id", id)
	d.Header.Set("Webhook-Timestamp", stamp)
	signed := append([]byte(id+"."+stamp+"."), d.Body...)
	d.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(standardMAC(key, signed)))
	return nil
}

func standardMAC(key, signed []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(signed)
	return m.Sum(nil)
}
