package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
)

func TestTransportCarriesAnSDKsCall(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		_, _ = io.WriteString(w, strings.Join([]string{r.Method, r.RequestURI, string(body), r.Header.Get("Content-Type"), user, password, r.Header.Get("X-Sdk")}, "|"))
	}))
	defer server.Close()
	c := rest.New(server.Client(), server.URL+"/below", rest.WithAuth(rest.Basic("shop", secret.Literal("hush"))))
	sdk := http.Client{Transport: c.Transport(t.Context())}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.vendor.example/v1/send?a=1%202", strings.NewReader("x=1"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("X-Sdk", "5")
	resp, err := sdk.Do(req)
	if err != nil {
		t.Fatalf("send: %v", err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	if want := "POST|/below/v1/send?a=1%202|x=1|application/x-www-form-urlencoded|shop|hush|"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTransportKeepsTheKindOfFailure(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "slower", http.StatusTooManyRequests)
	}))
	defer server.Close()
	get := func(ctx context.Context) error {
		sdk := http.Client{Transport: rest.New(server.Client(), server.URL).Transport(ctx)}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.vendor.example/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := sdk.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if after, ok := fault.After(get(t.Context())); !ok || after != 7*time.Second {
		t.Errorf("got a wait of %s, %v, want 7s", after, ok)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context canceled", err)
	}
}

func TestOpenReadsAFile(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _, ok := r.BasicAuth()
		switch r.URL.Path {
		case "/file":
			_, _ = io.WriteString(w, "content")
		case "/moved":
			http.Redirect(w, r, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/store", http.StatusFound)
		case "/expired":
			http.Redirect(w, r, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/forbidden", http.StatusFound)
		case "/store":
			if ok {
				t.Error("another host saw the credentials")
			}
			_, _ = io.WriteString(w, "stored")
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	c := rest.New(server.Client(), server.URL, rest.WithAuth(rest.Basic("shop", secret.Literal("hush"))))
	for path, want := range map[string]string{"/file": "content", "/moved": "stored"} {
		r, err := c.Open(t.Context(), path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("%s: got %q, error %v, want %q", path, got, err, want)
		}
		_ = r.Close()
	}
	for _, row := range []struct {
		path  string
		holds func(error) bool
	}{
		{"/gone", fault.IsPermanent},
		{"/forbidden", fault.IsAuth},
		{"/expired", func(err error) bool { return fault.StatusCode(err) == http.StatusForbidden && !fault.IsNotDone(err) }},
		{"https://other.example/file", fault.IsPermanent},
	} {
		if _, err := c.Open(t.Context(), row.path); err == nil || !row.holds(err) {
			t.Errorf("%s: got %v", row.path, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Open(ctx, "/file"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, want context canceled", err)
	}
}
