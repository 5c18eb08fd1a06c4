package rest

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/jsonpath"
)

// WithVerdict lets an adapter correct what a vendor means otherwise than others
// do: f gets the error of every answer that is no success, judged by
// fault.FromResponse, and returns what it is.
func WithVerdict(f func(err error) error) Option { return func(c *Client) { c.verdict = f } }

// WithoutRedirects returns a client like h that takes a redirect for the answer.
// A redirected POST becomes a GET at somebody else's address and reads as done,
// and the address that it came from, with what is secret in it, goes along.
func WithoutRedirects(h *http.Client) *http.Client {
	own := *h
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// WithWait names the number of seconds, as a dotted path into the body of a 429,
// that a vendor says there to wait, for not every proxy keeps its header.
func WithWait(path string) Option { return func(c *Client) { c.wait = path } }

// judge is fault.FromResponse, the wait in the body, and the adapter's verdict.
func (c *Client) judge(resp *http.Response, answer []byte) error {
	err := fault.FromResponse(resp.StatusCode, resp.Header, c.explain(answer), time.Now())
	if resp.StatusCode == http.StatusTooManyRequests && c.wait != "" {
		if n, bad := strconv.ParseFloat(jsonpath.Open(answer).Word(c.wait), 64); bad == nil && n >= 0 && n <= 3600 {
			err = fault.RetryAfter(err, time.Duration(n*float64(time.Second)))
		}
	}
	return c.verdict(err)
}

// A Meaning says for single statuses what kind of fault they are at a vendor.
type Meaning map[int]func(error) error

// Verdict is for WithVerdict.
func (m Meaning) Verdict(err error) error {
	s, ok := errors.AsType[*fault.Status](err)
	if ok && m[s.Code] != nil {
		return m[s.Code](s)
	}
	return err
}
