// Package rest is JSON over HTTP as adapters need it: it sends, reads a bounded
// answer, and judges every outcome by the kinds of package fault.
package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"switchboard/adapter/fault"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 8 << 20

// A Client speaks to one vendor below one base address. It is safe for
// concurrent use and immutable after New.
type Client struct {
	http    *http.Client
	base    string
	auth    Auth
	words   func(body []byte) string
	verdict func(err error) error
	wait    string
	pacer   *Pacer
}

// An Auth puts credentials on a request. A refusal of the vendor (401) makes it
// forget what it has cached through Refused, which says whether another attempt
// has a chance.
type Auth interface {
	Apply(ctx context.Context, r *http.Request) error
	Refused() bool
}

// An Option changes a client at New.
type Option func(*Client)

// WithAuth puts credentials on every request.
func WithAuth(a Auth) Option { return func(c *Client) { c.auth = a } }

// WithWords says how to find the vendor's explanation in the body of an error
// answer; "" falls back to what JSON bodies usually call it, and to the first 200
// bytes of a plain text.
func WithWords(f func(body []byte) string) Option { return func(c *Client) { c.words = f } }

// WithPacer learns the vendor's limits from the headers of its answers and
// refuses calls, NotDone and with a time to wait, that would exceed them.
func WithPacer(p *Pacer) Option { return func(c *Client) { c.pacer = p } }

// New returns a client that sends through h to addresses below base.
func New(h *http.Client, base string, options ...Option) *Client {
	c := &Client{http: h, base: strings.TrimRight(base, "/"), verdict: func(err error) error { return err }}
	for _, o := range options {
		o(c)
	}
	return c
}

// A Request is one call. Path is below the base, or an absolute URL of the same
// host as the base.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	// In is sent as JSON, unless Body is set, which is sent as it is with Type.
	In   any
	Body []byte
	Type string
	// Bucket names the vendor's limit that the call counts against, for the pacer.
	Bucket string
}

// Get reads path into out; out may be nil.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodGet, Path: path}, out)
	return err
}

// Post sends in as JSON and reads the answer into out; either may be nil.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodPost, Path: path, In: in}, out)
	return err
}

// Put is Post with the method PUT.
func (c *Client) Put(ctx context.Context, path string, in, out any) error {
	_, err := c.Do(ctx, Request{Method: http.MethodPut, Path: path, In: in}, out)
	return err
}

// Do sends r and reads the answer into out, if out is not nil and the answer has
// a body. It returns the answer's header even with an error, when there was an
// answer. A 401 is repeated once if the credentials can be renewed. Errors: a
// complete answer is judged by fault.FromResponse; a call that obtained no
// connection is NotDone; an unreadable answer of a success is plain, for the
// request was done.
func (c *Client) Do(ctx context.Context, r Request, out any) (http.Header, error) {
	body, kind := r.Body, r.Type
	if r.In != nil && r.Body == nil {
		b, err := json.Marshal(r.In)
		if err != nil {
			return nil, fault.Permanentf("encode request: %w", err)
		}
		body, kind = b, "application/json"
	}
	target, err := c.target(r)
	if err != nil {
		return nil, err
	}
	if c.pacer != nil {
		if err := c.pacer.admit(r.Bucket, time.Now()); err != nil {
			return nil, err
		}
	}
	header, err := c.send(ctx, r, target, body, kind, out)
	if fault.StatusCode(err) == http.StatusUnauthorized && c.auth != nil && c.auth.Refused() {
		header, err = c.send(ctx, r, target, body, kind, out)
	}
	if c.pacer != nil && header != nil {
		c.pacer.learn(r.Bucket, header, err, time.Now())
	}
	return header, err
}

func (c *Client) target(r Request) (string, error) {
	target := c.base + r.Path
	if strings.HasPrefix(r.Path, "https://") || strings.HasPrefix(r.Path, "http://") {
		base, err := url.Parse(c.base)
		if err != nil {
			return "", fault.Permanentf("read base address: %w", err)
		}
		u, err := url.Parse(r.Path)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			return "", fault.Permanent(errors.New("address is not the vendor's"))
		}
		target = r.Path
	}
	if len(r.Query) > 0 {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + r.Query.Encode()
	}
	return target, nil
}

func (c *Client) send(ctx context.Context, r Request, target string, body []byte, kind string, out any) (http.Header, error) {
	var connected bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	req, err := http.NewRequestWithContext(traced, r.Method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fault.Permanent(errors.New("build request: the address or the method is malformed"))
	}
	if len(body) == 0 {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	maps.Copy(req.Header, r.Header)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	if c.auth != nil {
		// Not under the trace: the connection that fetches a token is not this call's.
		if err := c.auth.Apply(ctx, req); err != nil {
			return nil, fault.NotDone(fmt.Errorf("obtain credentials: %w", err))
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		err = scrub(err)
		if !connected {
			err = fault.NotDone(err)
		}
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.Header, c.judge(resp, answer)
	}
	if err != nil {
		return resp.Header, fmt.Errorf("read answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return resp.Header, fmt.Errorf("read answer: larger than %d bytes", maxAnswer)
	}
	return resp.Header, decode(answer, out)
}

func decode(answer []byte, out any) error {
	if out == nil || len(bytes.TrimSpace(answer)) == 0 {
		return nil
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}

// HTMLPage is what an error's words say of a page of HTML: it comes from the
// vendor's edge, not from the API, whatever its status.
const HTMLPage = "an HTML page"

// explain finds the vendor's words: by the client's own reader, else what a JSON
// body says under the usual names, else the beginning of a plain text. E-mail
// addresses and long numbers are left out, for vendors quote what they refuse.
func (c *Client) explain(body []byte) string {
	body = bytes.TrimSpace(body)
	if bytes.HasPrefix(body, []byte("<")) {
		return HTMLPage
	}
	said := ""
	if c.words != nil {
		said = c.words(body)
	}
	if said == "" {
		if said = explanations(body); said == "" {
			said = string(body[:min(len(body), 200)])
		}
	}
	all := strings.Fields(strings.ToValidUTF8(said, ""))
	for i, w := range all {
		if strings.Contains(w, "@") || digits(w) > 5 {
			all[i] = "…"
		}
	}
	return strings.Join(all, " ")
}

func digits(s string) int {
	n := 0
	for _, r := range s {
		if '0' <= r && r <= '9' {
			n++
		}
	}
	return n
}

// scrub drops the address from a transport's error, for vendors put secrets
// into paths and queries.
func scrub(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", strings.ToLower(u.Op), u.Err)
	}
	return err
}
