package cmd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"switchboard/internal/app"
)

func randomText() string { return rand.Text() }

// A client speaks to the running process.
type client struct {
	http  *http.Client
	base  string
	token string
	where string
}

// connect finds the running process: by --url and a token, else by the socket in
// the data directory.
func (c *cli) connect() (*client, error) {
	if c.url != "" {
		token := c.token
		if token == "" {
			token, _ = c.getenv("SWITCHBOARD_TOKEN")
		}
		if token == "" {
			return nil, usage{fmt.Errorf("--url needs --token: it is in %s of the data directory there", app.TokenName)}
		}
		return &client{http: &http.Client{Timeout: 15 * time.Minute}, base: strings.TrimRight(c.url, "/"), token: token, where: c.url}, nil
	}
	data := c.data
	if data == "" {
		conf, err := c.load()
		if err != nil {
			return nil, err
		}
		data = conf.Data
	}
	path := filepath.Join(data, app.SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &client{http: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://switchboard", where: path}, nil
}

// do calls the interface and reads the answer into out.
func (cl *client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, cl.base+"/api/v1/"+path, body)
	if err != nil {
		return usage{err}
	}
	if cl.token != "" {
		r.Header.Set("Authorization", "Bearer "+cl.token)
	}
	resp, err := cl.http.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("reach switchboard at %s: %w; is it running, with the same --data?", cl.where, err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var p struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(answer, &p) != nil || p.Detail == "" {
			p.Detail = resp.Status
		}
		return errors.New(p.Detail)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

func (c *cli) print(v any) error {
	e := json.NewEncoder(c.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
