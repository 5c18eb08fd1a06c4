package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"switchboard/adapter/fault"
)

func TestFetch(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "":
			w.WriteHeader(http.StatusTeapot)
		case r.URL.Path == "/file":
			_, _ = io.WriteString(w, "content") // the caller may be gone
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	r, err := Fetch(t.Context(), server.Client(), server.URL+"/file?key=of-the-sender")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "content" {
		t.Errorf("read %q, error %v", b, err)
	}
	_, err = Fetch(t.Context(), server.Client(), server.URL+"/other?key=of-the-sender")
	if fault.IsAuth(err) || !fault.IsPermanent(err) || fault.StatusCode(err) != http.StatusForbidden {
		t.Errorf("a refusal: %v, want a permanent 403 that is not about our credentials", err)
	}
	server.Close()
	_, err = Fetch(t.Context(), server.Client(), server.URL+"/file?key=of-the-sender")
	if err == nil || fault.IsPermanent(err) || strings.Contains(err.Error(), "of-the-sender") {
		t.Errorf("nobody there: %v, want a plain error without the address", err)
	}
	for _, odd := range []string{"", "/file", "file:///etc/passwd", "://", "http://", "\x00"} {
		if _, err := Fetch(t.Context(), server.Client(), odd); !fault.IsPermanent(err) {
			t.Errorf("%q: %v, want a permanent error", odd, err)
		}
	}
}
