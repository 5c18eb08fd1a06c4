// Package secret holds values that must never be printed.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

const hidden = "[secret]"

// A Secret is a resolved secret. Its zero value is empty. However it is printed,
// logged or encoded, only "[secret]" appears.
type Secret struct {
	value string
}

// Literal returns the secret with exactly this value.
func Literal(value string) Secret { return Secret{value: value} }

// Resolve reads a reference as it stands in a configuration file: "env:NAME",
// "file:PATH" (one trailing line break is dropped), or the value itself. getenv
// looks up a variable. Errors name the reference, never a value; an empty secret
// is an error, for it would switch a check off.
func Resolve(ref string, getenv func(string) (string, bool)) (Secret, error) {
	switch {
	case strings.HasPrefix(ref, "env:"):
		name := strings.TrimPrefix(ref, "env:")
		value, ok := getenv(name)
		if !ok || value == "" {
			return Secret{}, fmt.Errorf("environment variable %s is not set", name)
		}
		return Secret{value: value}, nil
	case strings.HasPrefix(ref, "file:"):
		path := strings.TrimPrefix(ref, "file:")
		b, err := os.ReadFile(path)
		if err != nil {
			return Secret{}, fmt.Errorf("read secret file: %w", err)
		}
		value := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if value == "" {
			return Secret{}, fmt.Errorf("secret file %s is empty", path)
		}
		return Secret{value: value}, nil
	case ref == "":
		return Secret{}, errors.New("secret is empty")
	default:
		return Secret{value: ref}, nil
	}
}

// Bytes returns the value. The caller must not print or store it.
func (s Secret) Bytes() []byte { return []byte(s.value) }

// Reveal returns the value as a string, for a vendor's request. The caller must
// not print or store it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == "" }

// Equal compares in constant time. An empty secret equals nothing.
func (s Secret) Equal(other string) bool {
	return s.value != "" && subtle.ConstantTimeCompare([]byte(s.value), []byte(other)) == 1
}

// String returns "[secret]", or "" for the zero value.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return hidden
}

// GoString is String, so that %#v hides too.
func (s Secret) GoString() string { return s.String() }

// Format hides the value under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) } // a failing writer is its owner's matter

// LogValue hides the value in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the value.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML hides the value.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }
