package cmd

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"switchboard/channels/all"
	desks "switchboard/sinks/all"
)

var shots = flag.String("shots", "", "keep the browser's screenshots in this directory")

// A screen collects what a command prints.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
	new chan struct{}
}

func newScreen() *screen { return &screen{new: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.new <- struct{}{}:
	default:
	}
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// until waits until the screen shows what re matches, and returns its first group.
func (s *screen) until(t *testing.T, re string) string {
	t.Helper()
	want := regexp.MustCompile(re)
	for {
		if m := want.FindStringSubmatch(s.String()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-s.new:
		case <-t.Context().Done():
			t.Fatalf("the screen never showed %s:\n%s", re, s)
		}
	}
}

func testCLI(out *screen) *cli {
	return &cli{
		kinds: Kinds{Channels: all.Kinds(), Sinks: desks.Kinds()}, out: out, err: out,
		getenv: func(string) (string, bool) { return "", false },
	}
}

// start runs a command until the test ends.
func start(t *testing.T, args ...string) *screen {
	t.Helper()
	out := newScreen()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() { done <- testCLI(out).main(ctx, args) }()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("switchboard %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
	})
	return out
}

func TestDemoShowsAMorningInTheConsole(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium in PATH: the demo is not looked at in a browser")
	}
	data := t.TempDir()
	out := start(t, "serve", "--demo", "--listen", "127.0.0.1:0", "--data", data)
	url := out.until(t, `console +(http://\S+)/`)
	password := out.until(t, `as admin with (\S+)`)

	alloc, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.Headless,
		chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1440, 1000),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true))
	defer cancel()
	ctx, end := chromedp.NewContext(alloc)
	defer end()
	if err := chromedp.Do(ctx); err != nil { // the first call must not carry a timeout
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatal(err)
		}
	}
	until := func(expr string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](expr)); err != nil {
			t.Fatalf("until %s: %v", expr, err)
		}
	}
	press := func(css string) {
		t.Helper()
		if _, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(css)))); err != nil {
			t.Fatalf("press %s: %v", css, err)
		}
	}
	shot := func(name string) {
		t.Helper()
		if *shots == "" {
			return
		}
		png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	do(chromedp.Navigate(url+"/login"), chromedp.SendKeys(chromedp.ID("u"), "admin"), chromedp.SendKeys(chromedp.ID("p"), password))
	press("button.pri")
	until("document.body.textContent.includes('Marta Lindqvist')")
	out.until(t, `(morning is played)`)
	until("document.body.textContent.includes('Yusuf Demir')")
	shot("demo-flow")
	do(chromedp.Navigate(url + "/tickets"))
	shot("demo-tickets")
	until("document.body.textContent.includes('Swollen 3S pack')")
	for name, path := range map[string]string{"demo-dead": "/dead", "demo-health": "/health", "demo-form": "/form/website"} {
		do(chromedp.Navigate(url + path))
		shot(name)
	}

	// The agent answers in the built-in desk; the answer goes out by Telegram.
	do(chromedp.Navigate(url + "/tickets?sink=inbox"))
	href, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("tbody tr")].find(r => r.textContent.includes("Bruno")).querySelector("a").href`))
	if err != nil {
		t.Fatal(err)
	}
	do(chromedp.Navigate(href))
	shot("demo-ticket")
	do(chromedp.SetValue(chromedp.ID("a"), "Send it in, the warranty covers the servo."))
	press(".answer .pri")
	until("document.querySelector('.thread').textContent.includes('the warranty covers the servo')")
	for {
		do(chromedp.Navigate(href))
		got, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("document.querySelector('.thread .ok') !== null"))
		if err != nil {
			t.Fatal(err)
		}
		if got {
			break
		}
	}
	shot("demo-answered")

	// The customer uses the form like a person, by hand.
	do(chromedp.Navigate(url+"/form/website"), chromedp.SendKeys(chromedp.CSS("[name=email]"), "ada@holm.example"),
		chromedp.SendKeys(chromedp.CSS("textarea"), "Does the Petrel float?"))
	shot("demo-form-filled")

	audit := start(t, "audit", "--data", data)
	audit.until(t, `(The books balance)`)
}
