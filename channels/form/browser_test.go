package form

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"switchboard/adapter/hook"
	"switchboard/channels/channeltest"
)

// served is the channel behind a server, as the host puts it there, with a clock
// that runs a minute ahead for every submission.
func served(t *testing.T, c *channel, accepted chan<- hook.Delivery) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/assets/") {
			return // the console's, for looks only
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read body: %v", err)
		}
		d := hook.Delivery{
			Method: r.Method, URL: "http://" + r.Host + r.URL.String(), Header: r.Header, Body: body,
			Via: hook.ViaWebhook, ReceivedAt: channeltest.Received(),
		}
		if r.Method == http.MethodPost {
			d.ReceivedAt = d.ReceivedAt.Add(time.Minute)
			accepted <- d
		}
		a := answer(t, c, d)
		maps.Copy(w.Header(), a.Header)
		w.WriteHeader(a.Status)
		_, _ = w.Write(a.Body) // the browser may be gone
	}))
	t.Cleanup(server.Close)
	return server.URL + "/form/website"
}

// TestBrowserProvesItsWork fills in the page in Chromium: the script must find a
// proof, within the page's own policy, where the form requires one.
func TestBrowserProvesItsWork(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skipf("there is no Chromium to try the page in: %v", err)
	}
	cfg := config()
	cfg.Proof = "required"
	c := opened(t, cfg)
	accepted := make(chan hook.Delivery, 4)
	address := served(t, c, accepted)
	alloc, stop := chromedp.NewExecAllocator(t.Context(),
		append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath(path))...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(address)); err != nil {
		t.Fatalf("open the page: %v", err)
	}
	limited, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	err = chromedp.Do(limited,
		chromedp.SendKeys("#message", "My Petrel’s wing joiner was cracked. ✈️"),
		chromedp.SendKeys("#email", "aoife@kerrigan.example"),
		chromedp.SendKeys("#name", "Aoife"),
		chromedp.Click("button"),
		chromedp.WaitVisible(".big"),
	)
	if err != nil {
		t.Fatalf("send the page: %v", err)
	}
	p, err := c.Parse(<-accepted)
	if err != nil || len(p.Messages) != 1 || p.Messages[0].Text != "My Petrel’s wing joiner was cracked. ✈️" {
		t.Fatalf("parsed %+v, error %v", p, err)
	}
	shown, err := chromedp.Run(limited, chromedp.Evaluate[string](`document.querySelector('.big').textContent`))
	if want := p.Messages[0].Fields[0].Value; err != nil || shown != want {
		t.Errorf("the page shows the number %q, error %v, want %q", shown, err, want)
	}
	if len(accepted) != 0 {
		t.Error("the page was sent twice")
	}
}
