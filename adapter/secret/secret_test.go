package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"switchboard/adapter/secret"
)

const value = "tail-rotor-7"

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{"plain": value, "line": value + "\r\n", "lines": value + "\n\n", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"TOKEN": value, "BLANK": ""}[name]
		return v, ok
	}
	for _, c := range []struct{ name, ref, want, err string }{
		{name: "literal", ref: value, want: value},
		{name: "literal with a colon", ref: "user:" + value, want: "user:" + value},
		{name: "variable", ref: "env:TOKEN", want: value},
		{name: "file", ref: "file:" + filepath.Join(dir, "plain"), want: value},
		{name: "one line break is dropped", ref: "file:" + filepath.Join(dir, "line"), want: value},
		{name: "and no more", ref: "file:" + filepath.Join(dir, "lines"), want: value + "\n"},
		{name: "unset variable", ref: "env:NOBODY", err: "NOBODY"},
		{name: "blank variable", ref: "env:BLANK", err: "BLANK"},
		{name: "missing file", ref: "file:" + filepath.Join(dir, "nobody"), err: "nobody"},
		{name: "empty file", ref: "file:" + filepath.Join(dir, "empty"), err: "empty"},
		{name: "nothing", ref: "", err: "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := secret.Resolve(c.ref, env)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !got.IsZero() {
					t.Errorf("got %v, want an error that names %s", err, c.err)
				}
				return
			}
			if err != nil || got.Reveal() != c.want || string(got.Bytes()) != c.want {
				t.Errorf("got %q, %v, want %q", got.Reveal(), err, c.want)
			}
		})
	}
}

func TestNothingPrintsIt(t *testing.T) {
	t.Parallel()
	s := secret.Literal(value)
	config := struct {
		Token secret.Secret `json:"token" yaml:"token"`
		Map   map[string]secret.Secret
	}{s, map[string]secret.Secret{"x": s}}
	var said []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s"} {
		said = append(said, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s), fmt.Sprintf(verb, config), fmt.Errorf("open: "+verb, config).Error())
	}
	asJSON, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("opened", "token", s, "config", config)
	slog.New(slog.NewTextHandler(&log, nil)).Info("opened", "token", s, "config", config)
	said = append(said, string(asJSON), string(asYAML), log.String(), s.String(), s.GoString())
	hex := fmt.Sprintf("%x", value)
	for _, text := range said {
		if strings.Contains(text, value) || strings.Contains(strings.ToLower(text), hex) {
			t.Errorf("the value appears in %s", text)
		}
		if !strings.Contains(text, "[secret]") {
			t.Errorf("%s does not say that there is a secret", text)
		}
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	t.Parallel()
	var zero secret.Secret
	if !zero.IsZero() || zero.String() != "" || fmt.Sprint(zero) != "" || len(zero.Bytes()) != 0 {
		t.Errorf("zero value is %q", fmt.Sprint(zero))
	}
	if secret.Literal(value).IsZero() {
		t.Error("a secret is zero")
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		have, other string
		want        bool
	}{
		{value, value, true},
		{value, value + " ", false},
		{value, "", false},
		{value, strings.ToUpper(value), false},
		{"", "", false},
	} {
		if got := secret.Literal(c.have).Equal(c.other); got != c.want {
			t.Errorf("Equal of %q and %q is %t", c.have, c.other, got)
		}
	}
}
