package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A process is a child that says on its standard output where it listens.
type process struct {
	cmd *exec.Cmd
	url string
}

// start runs a child and waits for the line that holds its address.
func start(ctx context.Context, path string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 40 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if i := strings.Index(lines.Text(), "http://"); i >= 0 {
			p.url = strings.TrimSuffix(strings.TrimSpace(lines.Text()[i:]), "/")
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the child
			return p, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s ended before it listened", filepath.Base(path)), cmd.Wait())
}

// self starts this binary under another command.
func self(ctx context.Context, args ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, path, args...)
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.cmd.Wait(); err != nil && p.cmd.ProcessState.ExitCode() != -1 {
		return err
	}
	return nil
}

func (p *process) host() string { return strings.TrimPrefix(p.url, "http://") }

// ticks is Linux's USER_HZ, the unit of times in /proc.
const ticks = 100

// cpu returns the seconds of processor time that the child has used.
func (p *process) cpu() (float64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; utime and stime are the 12th and
	// 13th field after it.
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, errors.New("read processor time: fewer fields than expected")
	}
	var sum float64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, err
		}
		sum += n / ticks
	}
	return sum, nil
}

// memory returns a line of /proc/<pid>/status in MB: VmRSS or VmHWM.
func (p *process) memory(line string) (float64, error) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, err
	}
	for l := range strings.SplitSeq(string(status), "\n") {
		if value, ok := strings.CutPrefix(l, line+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("read memory: no %s", line)
}

// rest waits until the child has nothing left to do.
func (p *process) rest(ctx context.Context) error {
	for last := -1.0; ; {
		now, err := p.cpu()
		if err != nil {
			return err
		}
		if last >= 0 && now-last <= 0.03 {
			return nil
		}
		last = now
		if err := wait(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A rig is the program under test with a desk of its own.
type rig struct {
	*process
	desk *process
	load *load
	http *http.Client
	sent int // accepted since the last check
}

// inFlight is how many calls the program may have under way at the desk, but for
// P17.
const inFlight = 64

// rig starts a desk and a fresh installation of the program before it.
func (b *bench) rig(durability string, delay time.Duration, calls int) (*rig, error) {
	d, err := self(b.ctx, "desk", "-delay", delay.String())
	if err != nil {
		return nil, err
	}
	config, err := b.install(durability, d.url, calls)
	if err != nil {
		return nil, err
	}
	p, err := start(b.ctx, b.binary, "serve", "--config", config)
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return &rig{
		process: p, desk: d, http: &http.Client{Timeout: 10 * time.Second},
		load: &load{host: p.host(), path: "/hooks/in", n: new(atomic.Uint64)},
	}, nil
}

func (r *rig) close() error { return errors.Join(r.process.stop(), r.desk.stop()) }

func (r *rig) stats(ctx context.Context, query string) (s deskStats, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.desk.url+"/stats"+query, http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// patience is how long the desk may see nothing new before messages count as lost.
const patience = 20 * time.Second

// drain waits until every accepted message is on a ticket and makes sure that
// nothing was lost or doubled; then the desk counts anew. It returns when the last
// one arrived.
func (r *rig) drain(ctx context.Context) (deskStats, time.Time, error) {
	last, since := -1, time.Now()
	for {
		s, err := r.stats(ctx, "")
		if err != nil {
			return s, since, err
		}
		if s.Distinct != last {
			last, since = s.Distinct, time.Now()
		}
		if s.Distinct >= r.sent || time.Since(since) > patience {
			break
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return s, since, err
		}
	}
	if err := r.rest(ctx); err != nil { // a double would come now
		return deskStats{}, since, err
	}
	s, err := r.stats(ctx, "?waits")
	if err != nil {
		return s, since, err
	}
	if s.Distinct != r.sent || s.Doubled > 0 {
		return s, since, fmt.Errorf("void: %d accepted, %d on a ticket, %d doubled", r.sent, s.Distinct, s.Doubled)
	}
	r.sent = 0
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.desk.url+"/reset", http.NoBody)
	if err != nil {
		return s, since, err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return s, since, err
	}
	return s, since, resp.Body.Close()
}
