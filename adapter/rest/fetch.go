package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"switchboard/adapter/fault"
)

// Fetch opens a file at an address that somebody gave us, without credentials;
// the caller closes it. Its host knows nothing of ours, so its refusal is
// permanent and says nothing about them.
func Fetch(ctx context.Context, h *http.Client, address string) (io.ReadCloser, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fault.Permanent(errors.New("the address of the file is malformed"))
	}
	r, err := New(h, u.Scheme+"://"+u.Host).Open(ctx, address)
	if fault.IsAuth(err) {
		err = fault.Permanent(&fault.Status{Code: fault.StatusCode(err)})
	}
	return r, err
}
