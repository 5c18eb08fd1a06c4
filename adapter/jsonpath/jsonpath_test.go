package jsonpath

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	t.Parallel()
	const doc = `{"a": {"b": [ "zero", {"c": 1.50, "d": null, "e": [1, 2]} ]}, "a.b": "dotted", "t": true, "s": "\u00e9\"", "twice": 1, "twice": 2}`
	for path, want := range map[string]string{
		"a.b.0": "zero", "a.b.1.c": "1.50", "a.b.1.d": "", "a.b.1.e": "[1, 2]", "a.b.1.e.1": "2", "a.b.2": "", "a.b.-1": "",
		"a.x.y.z": "", "t": "true", "t.x": "", "s": `é"`, "twice": "2", "": "", ".": "", "a.b.0.": "", "s.0": "",
	} {
		if got := Open([]byte(doc)).Text(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	for raw, want := range map[string]string{` "x" `: "x", "": "", "null": "", "7": "7", "[1, 2]": "[1, 2]"} {
		if got := Text([]byte(raw)); got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
	if got := Open([]byte(`[["x"]]`)).Text("0.0"); got != "x" {
		t.Errorf("an array: got %q, want x", got)
	}
	for _, odd := range []string{"", "null", "{", "[1", "7", `"x"`, `{"a":}`} {
		if n := Open([]byte(odd)); n.Object != nil || n.List != nil {
			t.Errorf("%q has members: %+v", odd, n)
		}
	}
}

func FuzzAt(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":"x"}]}`), "a.0.b")
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		if got := Open(doc).Text(path); utf8.Valid(doc) && !utf8.ValidString(got) {
			t.Errorf("%q at %q is not UTF-8", got, path)
		}
	})
}

func TestTime(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)
	n := Open([]byte(`{"a":"2026-03-14T10:26:53+01:00","b":1773480413,"c":"1773480413","d":"yesterday","e":-1,"f":"","g":1e400,
		"h":"0000-01-01T00:00:00+01:00","i":"9999-12-31T23:59:59-01:00"}`))
	for path, good := range map[string]bool{"a": true, "b": true, "c": true} {
		if got, ok := Time(n.Text(path)); !got.Equal(want) || ok != good || got.Location() != time.UTC {
			t.Errorf("%s: got %s, %v, want %s", path, got, ok, want)
		}
	}
	for path, good := range map[string]bool{"d": false, "e": false, "g": false, "h": false, "i": false, "f": true, "none": true} {
		if got, ok := Time(n.Text(path)); !got.IsZero() || ok != good {
			t.Errorf("%s: got %s, %v, want no time and %v", path, got, ok, good)
		}
	}
}

func TestWord(t *testing.T) {
	t.Parallel()
	n := Open([]byte(`{"s":"a\u00e9","n": 12345678901234567890 ,"f":1.50,"b":true,"z":null,"o":{"a":1},"l":[1],"q":"7"}`))
	for path, want := range map[string]string{"s": "aé", "n": "12345678901234567890", "f": "1.50", "b": "", "z": "", "o": "", "l": "", "l.0": "1", "q": "7", "": ""} {
		if got := n.Word(path); got != want {
			t.Errorf("%s: got %q want %q", path, got, want)
		}
	}
}

func TestMembers(t *testing.T) {
	t.Parallel()
	if got := strings.Join(Open([]byte(`{"b":1,"a":2,"id":3}`)).Members("id", "none"), " "); got != "a b" {
		t.Errorf("got %q want the two in order", got)
	}
}

func FuzzWord(f *testing.F) {
	f.Add([]byte(`{"data":{"ticket":{"id":"R-1"}}}`), "data.ticket.id")
	f.Add([]byte(`{"":1}`), "")
	f.Add([]byte(`{`), "..")
	f.Fuzz(func(t *testing.T, document []byte, path string) {
		if got := Open(document).Word(path); got != "" && !json.Valid(bytes.TrimSpace(document)) {
			t.Fatalf("read %q from what is not JSON", got)
		}
	})
}
