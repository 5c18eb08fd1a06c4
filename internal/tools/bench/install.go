package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build makes the release binary and weighs it (P16).
func (b *bench) build() error {
	cmd := exec.CommandContext(b.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.binary, "./cmd/switchboard")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the release binary: %w", err)
	}
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	bare, err := os.Stat(path)
	if err != nil {
		return err
	}
	if b.wants("P16") {
		size := float64(info.Size()) / (1 << 20)
		b.add(result{
			goal: "P16", what: "stripped binary", threshold: "≤ 60 MB", measured: fmt.Sprintf("%.1f MB", size),
			baseline: fmt.Sprintf("%.1f MB: this benchmark, not stripped, broker and one channel inside", float64(bare.Size())/(1<<20)), met: size <= 60,
		})
	}
	return nil
}

const configuration = `listen: "127.0.0.1:0"
data: data
durability: %s
rules: rules.yaml
log: { level: warn }
channels:
  in: { kind: webhook, token: "file:token" }
sinks:
  desk: { kind: webhook, url: %q, secret: "file:secret", concurrency: %d }
`

// signing is the key between the program and the fake desk.
const signing = "whsec_c3dpdGNoYm9hcmQgYmVuY2htYXJrIHNlY3JldA=="

// install writes a configuration into a folder of its own and returns its path.
func (b *bench) install(durability, desk string, calls int) (string, error) {
	b.starts++
	dir := filepath.Join(b.dir, fmt.Sprint("installation-", b.starts))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "switchboard.yaml")
	for name, content := range map[string]string{
		path: fmt.Sprintf(configuration, durability, desk+"/tickets", calls), filepath.Join(dir, "rules.yaml"): rules(),
		filepath.Join(dir, "token"): token, filepath.Join(dir, "secret"): signing,
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return path, nil
}

// rules is a file of 50 rules over a vocabulary of 10 keywords. The last rule is
// the first that matches, so that every message meets all of them.
func rules() string {
	var y strings.Builder
	y.WriteString("vocabulary:\n")
	for i, words := range []string{
		`"order status", "where is my order"`, `"tracking number"`, `refund, "money back"`, `"warranty*"`, `"does not bind"`,
		`complaint, ridiculous`, `"battery*", lipo`, `invoice`, `"spare part*"`, `propeller`,
	} {
		fmt.Fprintf(&y, "  keyword_%d: { category: category_%d, terms: [%s] }\n", i, i%4, words)
	}
	y.WriteString("route:\n  name: default\n  sink: desk\n  queue: support\n  routes:\n")
	for i := range 48 {
		fmt.Fprintf(&y, "    - { name: business %d, when: { requester.domain: [firm%d.example], text: [\"contract %d\"] }, queue: b2b }\n", i, i, i)
	}
	y.WriteString("    - { name: tracked, when: { keyword: [keyword_1] }, queue: logistics, set: { tags: [parcel] } }\n")
	return y.String()
}
