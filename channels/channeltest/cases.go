package channeltest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/schemas"
)

type testCase struct {
	name, path string
	archive    archive
	delivery   hook.Delivery
	unsigned   bool
}

// section returns a section's text; ok says whether there is one.
func (c testCase) section(name string) (text string, ok bool) {
	for _, f := range c.archive.sections {
		if f.name == name {
			return strings.TrimSpace(string(f.data)), true
		}
	}
	return "", false
}

func readCases(t testing.TB, dir string) []testCase {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		t.Fatalf("list cases: %v", err)
	}
	var all []testCase
	for _, path := range paths {
		c, err := readCase(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all = append(all, c)
	}
	return all
}

func readCase(path string) (testCase, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return testCase{}, err
	}
	a := parseArchive(text)
	c := testCase{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, archive: a}
	if len(bytes.TrimSpace(a.comment)) == 0 {
		return testCase{}, errors.New("the case does not say what it shows")
	}
	raw := -1
	for i, f := range a.sections {
		switch f.name {
		case "delivery.http":
			raw = i
		case "unsigned":
			c.unsigned = true
		case "want.json", "error", "refused":
		default:
			return testCase{}, fmt.Errorf("unknown section %q", f.name)
		}
	}
	if raw < 0 {
		return testCase{}, errors.New("section delivery.http is missing")
	}
	c.delivery, err = readDelivery(a.sections[raw].data)
	return c, err
}

func readDelivery(raw []byte) (hook.Delivery, error) {
	raw = bytes.TrimLeft(raw, "\r\n")
	head, body, _ := bytes.Cut(raw, []byte("\n\n"))
	line, rest, _ := strings.Cut(strings.ReplaceAll(string(head), "\r\n", "\n"), "\n")
	part := strings.Fields(line)
	if len(part) != 3 || !strings.HasPrefix(part[1], "/") {
		return hook.Delivery{}, fmt.Errorf("request line %q is not like \"POST /path HTTP/1.1\"", line)
	}
	d := hook.Delivery{
		Method: part[0], URL: strings.TrimSuffix(Public, "/hooks/test") + part[1], Header: readHead(rest),
		Body: bytes.TrimSuffix(body, []byte("\n")), Via: hook.ViaWebhook, ReceivedAt: Received(),
	}
	if via := d.Header.Get("X-Sb-Via"); via != "" {
		d.Via = hook.Via(via)
	}
	if d.Header.Get("X-Sb-Body") == "base64" {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(body)), ""))
		if err != nil {
			return hook.Delivery{}, fmt.Errorf("decode body: %w", err)
		}
		d.Body = decoded
	} else if strings.HasPrefix(d.Header.Get("Content-Type"), "multipart/") {
		lf := bytes.ReplaceAll(append(d.Body, '\n'), []byte("\r\n"), []byte("\n"))
		d.Body = bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n"))
	}
	d.Header.Del("X-Sb-Via")
	d.Header.Del("X-Sb-Body")
	if d.Via == hook.ViaWebhook && len(d.Body) > 0 {
		d.Header.Set("Content-Length", strconv.Itoa(len(d.Body)))
	}
	return d, nil
}

func readHead(text string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\r"), ":"); ok {
			h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return h
}

func headText(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	return b.String()
}

// signed returns a copy of the case's delivery as its vendor would send it.
func (s *suite) signed(c testCase) hook.Delivery {
	d := clone(c.delivery)
	if s.traits.Sign != nil && !c.unsigned && d.Via == hook.ViaWebhook {
		s.traits.Sign(s.cfg, &d)
	}
	return d
}

func clone(d hook.Delivery) hook.Delivery {
	if d.Header = d.Header.Clone(); d.Header == nil {
		d.Header = http.Header{}
	}
	d.Body = bytes.Clone(d.Body)
	return d
}

func (s *suite) runCases(t *testing.T) {
	ignored := false
	for _, c := range s.cases {
		want, _ := c.section("want.json")
		ignored = ignored || strings.Contains(want, `"ignored"`)
		t.Run(c.name, func(t *testing.T) { s.runCase(t, c) })
	}
	if !ignored && !*update {
		t.Error("no case shows a delivery that is ignored")
	}
}

func (s *suite) runCase(t *testing.T, c testCase) {
	d := s.signed(c)
	refused, mustRefuse := c.section("refused")
	if hooked, ok := s.ch.(hook.Webhook); ok && d.Via == hook.ViaWebhook && (mustRefuse || !c.unsigned) {
		err := hooked.Verify(t.Context(), clone(d))
		switch {
		case mustRefuse && !errors.Is(err, hook.ErrUnverified):
			t.Errorf("verify returned %v, want an ErrUnverified", err)
		case mustRefuse && !strings.Contains(err.Error(), refused):
			t.Errorf("verify returned %q, want something with %q", err, refused)
		case !mustRefuse && err != nil:
			t.Errorf("verify refused its vendor: %v", err)
		}
		s.checkSecrets(t, "the error of Verify", err)
	}
	if mustRefuse {
		return
	}
	got, err := s.parse(t, d)
	if wantError, ok := c.section("error"); ok {
		if err == nil || !strings.Contains(err.Error(), wantError) {
			t.Errorf("parse returned %v, want something with %q", err, wantError)
		}
		return
	}
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	c.compare(t, viewOf(got))
}

func (c testCase) compare(t *testing.T, got view) {
	t.Helper()
	if *update {
		c.rewrite(t, got)
		return
	}
	text, ok := c.section("want.json")
	if !ok {
		t.Fatal("the case has none of want.json, error and refused; go test -update writes want.json")
	}
	var want view
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&want); err != nil {
		t.Fatalf("read want.json: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
}

func (c testCase) rewrite(t *testing.T, got view) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(got); err != nil {
		t.Fatalf("encode want.json: %v", err)
	}
	rest := slices.DeleteFunc(c.archive.sections, func(f section) bool { return f.name == "want.json" })
	c.archive.sections = append(rest, section{name: "want.json", data: b.Bytes()})
	if err := os.WriteFile(c.path, c.archive.format(), 0o644); err != nil { //nolint:gosec // a test case is no secret
		t.Fatalf("write case: %v", err)
	}
}

// A view is a Parsed as want.json shows it.
type view struct {
	Messages []message         `json:"messages,omitempty"`
	Receipts []schemas.Receipt `json:"receipts,omitempty"`
	Ignored  string            `json:"ignored,omitempty"`
}

type message struct {
	schemas.Message
	Attachments []attachment `json:"attachments,omitempty"`
}

type attachment struct {
	schemas.Attachment
	Data string `json:"data,omitempty"`
}

func viewOf(p channels.Parsed) view {
	v := view{Receipts: p.Receipts, Ignored: p.Ignored}
	for _, m := range p.Messages {
		shown := message{Message: m}
		for _, a := range m.Attachments {
			shown.Attachments = append(shown.Attachments, attachment{Attachment: a, Data: readable(a.Data)})
		}
		shown.Message.Attachments = nil
		v.Messages = append(v.Messages, shown)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return view{Ignored: "encode: " + err.Error()}
	}
	var back view // as want.json is read: no difference between nil and empty
	if err := json.Unmarshal(b, &back); err != nil {
		return view{Ignored: "decode: " + err.Error()}
	}
	for i := range back.Messages {
		for j := range back.Messages[i].Attachments {
			back.Messages[i].Attachments[j].Attachment.Data = nil
		}
	}
	return back
}

// readable is short text as it is, anything else as digest and size.
func readable(data []byte) string {
	plain := len(data) <= 80 && utf8.Valid(data) &&
		!bytes.ContainsFunc(data, func(r rune) bool { return unicode.IsControl(r) && r != '\n' })
	if len(data) == 0 || plain {
		return string(data)
	}
	return fmt.Sprintf("sha256:%x, %d bytes", sha256.Sum256(data), len(data))
}
