package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"switchboard/adapter/fault"
)

// Transport lends the client to a vendor's SDK for calls under ctx, for SDKs
// often take no context and flatten what an answer meant. A request goes below
// the client's base, whatever host the SDK wrote, with the client's credentials;
// of its headers only the Content-Type is kept. Any answer but a success is an
// error, judged as by Do.
func (c *Client) Transport(ctx context.Context) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			defer r.Body.Close()
			b, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, fault.NotDone(fmt.Errorf("read request: %w", err))
			}
			body = b
		}
		var answer []byte
		header, err := c.Do(ctx, Request{Method: r.Method, Path: r.URL.RequestURI(), Body: body, Type: r.Header.Get("Content-Type")}, &answer)
		if err != nil {
			return nil, err
		}
		return &http.Response{
			Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
			Header: header, Body: io.NopCloser(bytes.NewReader(answer)), ContentLength: int64(len(answer)), Request: r,
		}, nil
	})
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip calls t.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// Open reads path as a stream, for files; the caller closes it. A redirect to
// another host loses the credentials; when that host refuses the file the error
// is plain, for a new attempt gets a new address and our credentials are not at
// fault.
func (c *Client) Open(ctx context.Context, path string) (io.ReadCloser, error) {
	target, err := c.target(Request{Path: path})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, fault.Permanent(errors.New("build request: the address is malformed"))
	}
	host := req.URL.Host
	if c.auth != nil {
		if err := c.auth.Apply(ctx, req); err != nil {
			return nil, fmt.Errorf("obtain credentials: %w", err)
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, scrub(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	_ = resp.Body.Close() // nothing of it is read
	if resp.Request.URL.Host != host && resp.StatusCode != http.StatusNotFound {
		return nil, &fault.Status{Code: resp.StatusCode}
	}
	return nil, c.judge(resp, nil)
}
