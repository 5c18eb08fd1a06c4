package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// token opens the webhook of the program under test.
const token = "bench-token-0123456789"

// connections is how many senders a load has.
const connections = 64

// A load sends messages of about 1 KB over connections that stay open. It writes
// requests itself, because net/http's client costs more than the server measured.
type load struct {
	host string // host:port
	path string
	n    *atomic.Uint64 // number of the last message made
}

// filler makes a message about 1 KB; two of its words are in the vocabulary.
var filler = strings.Repeat("the parcel with the balsa ribs and the spar has not come yet, ", 12) +
	"can you look up the tracking number? I would like a refund otherwise."

// request appends a message with a number of its own, sent at t.
func (l *load) request(dst []byte, t time.Time) []byte {
	n := l.n.Add(1)
	body := fmt.Appendf(nil, `{"id":"m%d","subject":"Order %d","from":{"name":"Ilse Brandt","email":"ilse%d@brandt.example"},"text":"%s%d:%d; %s"}`,
		n, n, n%5000, marker, n, t.UnixNano(), filler)
	dst = fmt.Appendf(dst, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		l.path, l.host, token, len(body))
	return append(dst, body...)
}

// A sender is one connection.
type sender struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
}

func dial(ctx context.Context, host string) (*sender, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &sender{conn: c, r: bufio.NewReaderSize(c, 4096)}, nil
}

// post sends one message and returns the status of the answer.
func (s *sender) post(l *load, t time.Time) (int, error) {
	s.buf = l.request(s.buf[:0], t)
	if _, err := s.conn.Write(s.buf); err != nil {
		return 0, err
	}
	line, err := s.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 {
		return 0, errors.New("no HTTP answer")
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, err
	}
	length := 0
	for {
		line, err = s.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if textproto.CanonicalMIMEHeaderKey(string(name)) == "Content-Length" {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	_, err = s.r.Discard(length)
	return status, err
}

// each runs f once for every sender, at the same time.
func (l *load) each(ctx context.Context, senders int, f func(s *sender, i int) error) error {
	errs := make([]error, senders)
	var wg sync.WaitGroup
	for i := range senders {
		s, err := dial(ctx, l.host)
		if err != nil {
			return err
		}
		wg.Go(func() {
			errs[i] = errors.Join(f(s, i), s.conn.Close())
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// closed sends as fast as answers come, until count are accepted or, with count 0,
// for the span. It returns how many were accepted and in what time.
func (l *load) closed(ctx context.Context, senders, count int, span time.Duration) (int, time.Duration, error) {
	var accepted, begun atomic.Int64
	started := time.Now()
	err := l.each(ctx, senders, func(s *sender, _ int) error {
		for ctx.Err() == nil {
			if count > 0 && begun.Add(1) > int64(count) || count == 0 && time.Since(started) > span {
				return nil
			}
			status, err := s.post(l, time.Now())
			if err != nil {
				return err
			}
			if status/100 != 2 {
				return fmt.Errorf("the program answered %d", status)
			}
			accepted.Add(1)
		}
		return ctx.Err()
	})
	return int(accepted.Load()), time.Since(started), err
}

// open sends at a fixed rate, whatever the answers do, and returns how long each
// took from the moment it was due.
func (l *load) open(ctx context.Context, perSecond int, span time.Duration) ([]time.Duration, error) {
	count := int(span.Seconds() * float64(perSecond))
	took := make([]time.Duration, count)
	started := time.Now().Add(10 * time.Millisecond)
	err := l.each(ctx, connections, func(s *sender, i int) error {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for n := i; n < count; n += connections {
			due := started.Add(time.Duration(n) * time.Second / time.Duration(perSecond))
			timer.Reset(time.Until(due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			status, err := s.post(l, due)
			if err != nil {
				return err
			}
			if status/100 != 2 {
				return fmt.Errorf("the program answered %d", status)
			}
			took[n] = time.Since(due)
		}
		return nil
	})
	return took, err
}
