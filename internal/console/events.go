package console

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/internal/ledger"
)

const (
	// maxStreams bounds the open event streams of one console.
	maxStreams = 256
	// breath is the least time between two looks at the ledger for one stream.
	breath = 250 * time.Millisecond
	// beat is how often a stream shows that it lives and asks whether its session does.
	beat = 20 * time.Second
	// patience is how long a browser may take to accept what is written.
	patience = 15 * time.Second
)

// stream is one browser that listens.
type stream struct {
	c    *Console
	w    io.Writer
	ctl  *http.ResponseController
	r    *http.Request
	v    *visitor
	q    ledger.FlowQuery
	last uint64
	// told is what each part was when it was last sent.
	told map[string]string
}

// events sends rows and parts of the flow as they change, finished, until the
// browser leaves, the session ends or the console closes.
func (c *Console) events(w http.ResponseWriter, r *http.Request, v *visitor) error {
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many open consoles", http.StatusServiceUnavailable)
		return nil
	}
	s := &stream{c: c, w: w, ctl: http.NewResponseController(w), r: r, v: v, q: flowQuery(r.URL.Query()), told: map[string]string{}}
	if !v.Reads() {
		s.q.Text = strings.TrimPrefix(s.q.Text, "#")
	}
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = r.URL.Query().Get("after")
	}
	// What is no number begins at the beginning.
	s.last, _ = strconv.ParseUint(after, 10, 64)
	changed, end := c.opts.Ledger.Subscribe()
	defer end()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	// The connection may be used again.
	defer func() { _ = s.ctl.SetWriteDeadline(time.Time{}) }()
	if err := s.run(changed); err != nil && r.Context().Err() == nil {
		c.opts.Log.Debug("event stream ended", "user", v.Name, "err", err)
	}
	return nil // the answer has begun; there is no page for an error any more
}

func (s *stream) run(changed <-chan struct{}) error {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	if err := s.write("retry: 2000\n\n"); err != nil {
		return err
	}
	for {
		if err := s.tell(); err != nil {
			return err
		}
		select {
		case <-s.r.Context().Done():
			return s.r.Context().Err()
		case <-s.c.stop:
			return nil
		case <-ticker.C:
			v, err := s.c.visitor(s.r)
			if err != nil || *v != *s.v {
				return errors.Join(errors.New("session is over"), err)
			}
			if err := s.write(": alive\n\n"); err != nil {
				return err
			}
		case _, ok := <-changed:
			if !ok {
				return nil
			}
			if err := s.rest(); err != nil {
				return err
			}
		}
	}
}

// rest lets changes gather.
func (s *stream) rest() error {
	t := time.NewTimer(breath)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.c.stop:
		return nil
	case <-s.r.Context().Done():
		return s.r.Context().Err()
	}
}

// tell sends the rows that are new or changed since last, and the parts that
// look different.
func (s *stream) tell() error {
	for {
		q := s.q
		q.Before, q.After = "", s.last
		rows, err := s.c.opts.Ledger.Flow(s.r.Context(), q)
		if err != nil {
			return fmt.Errorf("read flow: %w", err)
		}
		fromStart := s.last == 0
		if fromStart { // after nothing come the newest, newest first
			slices.Reverse(rows)
		}
		for _, row := range rows {
			if err := s.row(row); err != nil {
				return err
			}
		}
		if fromStart || len(rows) < s.q.Limit {
			return s.parts()
		}
	}
}

func (s *stream) row(row ledger.FlowRow) error {
	s.last = max(s.last, row.Seq)
	row, ok := visible(s.v, s.q, row)
	if !ok {
		return nil
	}
	html, err := s.c.fragment("flow", "row", row)
	if err != nil {
		return err
	}
	return s.write("id: " + strconv.FormatUint(s.last, 10) + "\nevent: row\ndata: " + html + "\n\n")
}

func (s *stream) parts() error {
	parts, err := s.c.parts(s.r)
	if err != nil {
		return err
	}
	nav, err := s.c.navigation(s.r.Context())
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		data any
	}{{"verdict", parts}, {"lanes", parts}, {"pipe", parts}, {"count-tickets", nav}, {"count-dead", nav}, {"count-health", nav}, {"books", nav}} {
		html, err := s.c.fragment("flow", part.name, part.data)
		if err != nil {
			return err
		}
		if s.told[part.name] == html {
			continue
		}
		s.told[part.name] = html
		if err := s.write("event: part\ndata: " + html + "\n\n"); err != nil {
			return err
		}
	}
	return nil
}

// write sends at once, and gives up on a browser that does not take it.
func (s *stream) write(text string) error {
	// Not every writer has deadlines; a stream without one still ends with its request.
	if err := s.ctl.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := io.Copy(s.w, strings.NewReader(text)); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return s.ctl.Flush()
}
