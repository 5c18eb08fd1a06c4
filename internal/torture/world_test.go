package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/sandbox"
	channelkinds "switchboard/channels/all"
	"switchboard/internal/app"
	"switchboard/internal/config"
	sinkkinds "switchboard/sinks/all"
)

type dials = sandbox.Dials

// A world is one Switchboard and one desk, each a process of its own.
type world struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // the time of the test, which all of it shares
	bin string
	dir string
	// url is the server, desk the sandbox.
	url, desk string
	conf      *config.Config
	http      *http.Client
	server    *exec.Cmd
	log       *os.File
}

// build makes the program as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "switchboard")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "switchboard/cmd/switchboard")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func newWorld(t *testing.T, bin string, concurrency int) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, bin: bin, dir: t.TempDir(), http: &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 512, MaxIdleConnsPerHost: 256},
	}}
	listen, desk := freePort(t), freePort(t)
	w.url, w.desk = "http://"+listen, "http://"+desk
	w.write("switchboard.yaml", configuration(listen, w.desk, concurrency))
	w.write("rules.yaml", rules)
	var err error
	w.conf, err = config.Load(w.path("switchboard.yaml"), config.Options{
		ChannelKinds: channelkinds.Kinds(), SinkKinds: sinkkinds.Kinds(), Getenv: func(string) (string, bool) { return "", false },
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.log, err = os.Create(w.path("server.log")); err != nil {
		t.Fatal(err)
	}
	sandbox := exec.CommandContext(ctx, bin, "sandbox", "--config", w.path("switchboard.yaml"), "--listen", desk)
	sandbox.Stderr = w.log
	if err := sandbox.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.server != nil {
			w.kill()
		}
		_ = sandbox.Process.Kill() // it has nothing to save
		_ = sandbox.Wait()
		_ = w.log.Close()
		w.http.CloseIdleConnections()
	})
	for w.get(w.desk+"/zendesk-eu/_sandbox/dials") == nil {
		w.pause(20 * time.Millisecond)
	}
	return w
}

func freePort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// start starts the server; it does not wait for it.
func (w *world) start() {
	w.t.Helper()
	w.server = exec.CommandContext(w.ctx, w.bin, "serve", "--config", w.path("switchboard.yaml"))
	w.server.Stdout, w.server.Stderr = w.log, w.log
	if err := w.server.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// kill is kill -9.
func (w *world) kill() {
	w.t.Helper()
	err := w.server.Process.Kill()
	_ = w.server.Wait() // says that it was killed
	if errors.Is(err, os.ErrProcessDone) && w.ctx.Err() == nil {
		w.t.Fatal("the server had ended by itself:\n" + w.tail())
	}
	w.server = nil
}

func (w *world) awaitReady() {
	w.t.Helper()
	for w.get(w.url+"/healthz") == nil {
		w.pause(20 * time.Millisecond)
	}
}

// get returns the body of a 200, else nil.
func (w *world) get(url string) []byte {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, http.MethodGet, url, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil
	}
	return body
}

// must is get from the desk, which is never down.
func (w *world) must(url string) []byte {
	w.t.Helper()
	body := w.get(url)
	if body == nil {
		w.t.Fatalf("GET %s: no answer", url)
	}
	return body
}

func (w *world) dial(d dials) {
	w.t.Helper()
	body, err := json.Marshal(d)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(w.ctx, http.MethodPut, w.desk+"/zendesk-eu/_sandbox/dials", bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.http.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close() // nothing is read from it
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("turn the dials: got %d", resp.StatusCode)
	}
}

// filed counts the messages on all tickets of the desk; each begins with its mark.
func (w *world) filed() int {
	w.t.Helper()
	return bytes.Count(w.must(w.desk+"/zendesk-eu/_sandbox/tickets"), []byte(`"text":"[`))
}

// tickets is the desk's own store.
func (w *world) tickets() []sandbox.Ticket {
	w.t.Helper()
	var all []sandbox.Ticket
	if err := json.Unmarshal(w.must(w.desk+"/zendesk-eu/_sandbox/tickets"), &all); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// drain waits until the desk has n messages, or gets no more, and nothing is
// pending, and returns what the books then say.
func (w *world) drain(n int) app.Books {
	w.t.Helper()
	// An audit reads everything: it is worth its time when the desk has it all, or
	// gets nothing more.
	const still = 20
	for last, same := -1, 0; last < n && same < still; same++ {
		if now := w.filed(); now != last {
			last, same = now, 0
		}
		w.pause(100 * time.Millisecond)
	}
	for {
		cmd := exec.CommandContext(w.ctx, w.bin, "audit", "--json", "--config", w.path("switchboard.yaml"))
		cmd.Stderr = w.log
		out, err := cmd.Output() // fails when the books do not balance, and prints them all the same
		var books app.Books
		if decodeErr := json.Unmarshal(out, &books); decodeErr != nil {
			w.t.Fatalf("audit: %v, %v\n%s", err, decodeErr, w.tail())
		}
		if books.Pending == 0 {
			return books
		}
		w.pause(200 * time.Millisecond)
	}
}

// agree compares the books with the desk.
func (w *world) agree(books app.Books, v verdict) {
	w.t.Helper()
	if !books.Balanced || books.Filed != v.entries || books.Tickets != v.tickets || books.Dead+books.Dropped+books.Ignored > 0 {
		w.t.Errorf("the audit and the desk disagree: got %+v; want %d filed on %d tickets, nothing dead, dropped or ignored", books, v.entries, v.tickets)
	}
}

// metric adds up the samples of a metric that have a label.
func (w *world) metric(name, label string) (sum float64) {
	w.t.Helper()
	for line := range strings.Lines(string(w.must(w.url + "/metrics"))) {
		if strings.HasPrefix(line, name) && strings.Contains(line, label) {
			fields := strings.Fields(line)
			n, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				w.t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// tail is the end of what the server said.
func (w *world) tail() string {
	log, err := os.ReadFile(w.path("server.log"))
	if err != nil {
		return err.Error()
	}
	return string(log[max(len(log)-8000, 0):])
}
