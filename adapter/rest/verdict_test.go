package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"switchboard/adapter/fault"
)

func TestMeaningCorrectsSingleStatuses(t *testing.T) {
	t.Parallel()
	code := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(<-code) }))
	defer server.Close()
	means := Meaning{http.StatusForbidden: fault.Permanent, http.StatusNotFound: fault.Auth}
	c := New(server.Client(), server.URL, WithVerdict(means.Verdict))
	for _, row := range []struct {
		code            int
		permanent, auth bool
	}{{403, true, false}, {404, false, true}, {401, false, true}, {422, true, false}, {500, false, false}} {
		code <- row.code
		err := c.Get(t.Context(), "/", nil)
		code <- row.code
		_, opened := c.Open(t.Context(), "/")
		for _, err := range []error{err, opened} {
			if fault.IsPermanent(err) != row.permanent || fault.IsAuth(err) != row.auth || fault.StatusCode(err) != row.code {
				t.Errorf("%d: %v, permanent %v, auth %v", row.code, err, fault.IsPermanent(err), fault.IsAuth(err))
			}
		}
	}
	if plain := errors.New("no status"); means.Verdict(plain) != plain { //nolint:errorlint // it is the same error
		t.Error("an error without a status was changed")
	}
}

func TestWaitInTheBody(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Duration{
		`{"parameters":{"retry_after":35}}`:    35 * time.Second,
		`{"parameters":{"retry_after":"1.5"}}`: 1500 * time.Millisecond,
		`{"parameters":{"retry_after":-1}}`:    5 * time.Second,
		`{"parameters":{"retry_after":1e9}}`:   5 * time.Second,
		`<html>`:                               5 * time.Second,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(body)) // the caller may be gone
		}))
		err := New(server.Client(), server.URL, WithWait("parameters.retry_after")).Get(t.Context(), "/", nil)
		if after, ok := fault.After(err); !ok || after != want || !fault.IsNotDone(err) {
			t.Errorf("%s: again after %s, error %v, want %s", body, after, err, want)
		}
		server.Close()
	}
}

func TestWithoutRedirectsTakesThemForAnswers(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			t.Errorf("%s was asked", r.URL.Path)
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	defer server.Close()
	h := server.Client()
	if err := New(WithoutRedirects(h), server.URL).Post(t.Context(), "/", nil, nil); fault.StatusCode(err) != http.StatusFound || !fault.IsPermanent(err) {
		t.Errorf("got %v, want the 302", err)
	}
	if h.CheckRedirect != nil {
		t.Error("the lent client was changed")
	}
}
