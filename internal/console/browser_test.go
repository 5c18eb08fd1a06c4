package console_test

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"switchboard/internal/ledger"
)

var shots = flag.String("shots", "", "keep the browser's screenshots in this directory")

// tab is a page of a real browser.
type tab struct {
	*site
	ctx context.Context
	dir string
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no chromium in PATH: the console is not looked at in a browser")
	return ""
}

func (s *site) tab() *tab {
	s.t.Helper()
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(chromium(s.t)), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.UserDataDir(s.t.TempDir()), chromedp.WindowSize(1440, 900), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true))
	s.t.Cleanup(cancel)
	ctx, end := chromedp.NewContext(alloc)
	s.t.Cleanup(end)
	if err := chromedp.Do(ctx); err != nil { // the first call must not carry a timeout
		s.t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, 3*time.Minute)
	s.t.Cleanup(stop)
	dir := *shots
	if dir == "" {
		dir = s.t.TempDir()
	}
	return &tab{s, ctx, dir}
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(path string) { b.t.Helper(); b.do(chromedp.Navigate(b.url + path)) }

// press clicks and waits for the page that follows.
func (b *tab) press(css string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Click(chromedp.CSS(css)))); err != nil {
		b.t.Fatalf("press %s: %v", css, err)
	}
}

// until waits until a JavaScript expression holds.
func (b *tab) until(expr string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expr)); err != nil {
		b.t.Fatalf("until %s: %v", expr, err)
	}
}

func (b *tab) ask(expr string) string {
	b.t.Helper()
	got, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("String("+expr+")"))
	if err != nil {
		b.t.Fatalf("ask %s: %v", expr, err)
	}
	return got
}

func (b *tab) shot(name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// look sets the colours and the size of the screen.
func (b *tab) look(scheme string, width, height int64) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(width, height))
}

func (b *tab) signIn(name string) {
	b.t.Helper()
	b.open("/login")
	b.do(chromedp.SendKeys(chromedp.ID("u"), name), chromedp.SendKeys(chromedp.ID("p"), password))
	b.press("button.pri")
}

// walk are the pages that are looked at.
var walk = map[string]string{
	"flow": "/", "message": "/messages/m-sms?raw", "evil": "/messages/m-evil", "ignored": "/messages/d77", "tickets": "/tickets", "ticket": "/tickets/inbox/1190", "desk-ticket": "/tickets/zendesk-eu/48212",
	"person": "/people/p%2F41", "dead": "/dead", "letter": "/dead/dead-1", "health": "/health", "missing": "/nowhere", "none": "/?q=canpoy",
}

func TestPagesLookRightInABrowser(t *testing.T) {
	s := open(t)
	b := s.tab()
	b.open("/login")
	b.shot("login-light")
	b.do(chromedp.SendKeys(chromedp.ID("u"), "noor"), chromedp.SendKeys(chromedp.ID("p"), "wrong"))
	b.press("button.pri")
	b.shot("login-refused-light")
	b.do(chromedp.SendKeys(chromedp.ID("p"), password))
	b.press("button.pri")
	b.look("light", 1440, 2600)
	b.open("/messages/m-sms")
	b.shot("story-light")
	for _, view := range []struct {
		name, scheme  string
		width, height int64
	}{{"light", "light", 1440, 900}, {"dark", "dark", 1440, 900}, {"phone-light", "light", 390, 844}, {"phone-dark", "dark", 390, 844}, {"narrow", "light", 320, 640}} {
		b.look(view.scheme, view.width, view.height)
		for name, path := range walk {
			b.open(path)
			b.shot(name + "-" + view.name)
			if got := b.ask("document.documentElement.scrollWidth <= innerWidth"); got != "true" {
				t.Errorf("%s in %s scrolls sideways: %s of %d", path, view.name, b.ask("document.documentElement.scrollWidth"), view.width)
			}
			if got := b.ask("document.querySelectorAll('h1').length"); got != "1" {
				t.Errorf("%s: got %s headings of the first rank want 1", path, got)
			}
			if got := b.ask("[...document.querySelectorAll('use')].filter(u => !document.querySelector(u.getAttribute('href'))).length"); got != "0" {
				t.Errorf("%s: %s symbols are missing", path, got)
			}
			if got := b.ask("[...document.querySelectorAll('input:not([type=hidden]),select,textarea')].filter(e => !e.labels.length).length"); got != "0" {
				t.Errorf("%s: %s fields have no label", path, got)
			}
			if got := b.ask("document.querySelectorAll('[id]').length - new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"); got != "0" {
				t.Errorf("%s: %s ids are there twice", path, got)
			}
		}
	}
}

func TestBrowserAnswersAndListens(t *testing.T) {
	s := open(t)
	b := s.tab()
	b.signIn("noor")
	b.until("document.querySelector('[data-live-state]').textContent.includes('Live')")
	s.ledger.add(ledger.FlowRow{ID: "m-new", At: noon, Channel: "telegram", Requester: "Ada Holm", Preview: "Does it float?", Outcome: ledger.OutcomeWaiting, Sink: "inbox"})
	b.until("document.querySelector('tbody tr').id === 'm-m-new'")
	b.until("document.getElementById('pipe').textContent.includes('1,235')")
	b.do(chromedp.KeyEvent("j")) // focus pauses the feed
	b.until("document.activeElement.textContent === 'Ada Holm' && document.querySelector('[data-live-state]').textContent.includes('Paused')")
	s.ledger.add(ledger.FlowRow{ID: "m-later", At: noon, Channel: "telegram", Requester: "Bo Lie", Outcome: ledger.OutcomeWaiting})
	b.until("document.querySelector('[data-live-state]').textContent.includes('1 waiting')")
	if got := b.ask("document.querySelector('tbody tr').id"); got != "m-m-new" {
		t.Errorf("a row moved under the reader: got %s on top", got)
	}
	b.do(chromedp.KeyEvent("p"))
	b.until("document.querySelector('tbody tr').id === 'm-m-later'")
	b.do(chromedp.KeyEvent("?"))
	b.until("document.getElementById('keys').open")
	b.shot("keys")
	b.open("/tickets/inbox/1190")
	b.do(chromedp.KeyEvent("r"))
	b.until("document.activeElement.id === 'a'")
	b.do(chromedp.SetValue(chromedp.ID("a"), "It flies tomorrow."))
	b.press(".answer .pri")
	b.until("document.querySelector('.thread').textContent.includes('It flies tomorrow.')")
	b.shot("answered")
	if got := s.actions.log(); len(got) != 1 || got[0] != "answer inbox 1190 public It flies tomorrow." {
		t.Errorf("got %q", got)
	}
	b.open("/dead")
	b.press("#d-dead-1 form[action$=retry] button")
	b.until("document.querySelector('h1').textContent === 'Dead letter'")
	b.press(".out button")
	if got := b.ask("location.pathname"); got != "/login" {
		t.Errorf("after sign-out: got %s want /login", got)
	}
}

func TestFirstMessageReplacesTheFirstPage(t *testing.T) {
	s := open(t)
	s.ledger.flow, s.ledger.counts = nil, ledger.Counts{}
	b := s.tab()
	b.signIn("ruth")
	b.shot("empty-light")
	b.look("dark", 390, 844)
	b.shot("empty-phone-dark")
	arrive := chromedp.Func(func(context.Context, *chromedp.Target) error {
		s.ledger.add(ledger.FlowRow{ID: "m-first", At: noon, Channel: "website", Requester: "Ada Holm", Preview: "Does it float?", Outcome: ledger.OutcomeFiled, Opened: true, Sink: "inbox"})
		return nil
	})
	if _, err := chromedp.Run(b.ctx, chromedp.WaitEvent(page.LoadEventFired, nil, arrive)); err != nil {
		t.Fatal(err)
	}
	if got := b.ask("document.querySelector('tbody').textContent"); !strings.Contains(got, "Ada Holm") {
		t.Errorf("got %q", got)
	}
}
