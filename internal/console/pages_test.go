package console_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"switchboard/internal/console"
	"switchboard/internal/ledger"
)

func TestFlowGivesTheVerdictFromTheNumbers(t *testing.T) {
	t.Parallel()
	body := open(t).as("noor").page("/")
	wants(t, body, "Half of the messages reach their desk within 1.4 s.", "2 wait for a desk.", `<a href="/health#partners">partners</a> is down`,
		"1,234 = 1,200 &#43; 20 &#43; 10 &#43; 2 &#43; 2", "Books balance", "1,234 accepted, every one accounted for", `data-live="/events?after=90"`,
		"Marit Oden", "opened", `<a href="/tickets/inbox/1190">#1190</a>`, "added to", "dropped, twice sent", "recorded, no ticket", "dropped by a rule",
		"waiting", "angry and urgent", "6.4 s", "11:59:50", "19 Nov 10:00", `href="#i-telegram"`, `<symbol id="i-telegram"`)
	lacks(t, body, "/reports", "/rules", "style=", "<style", "onclick", "ZgotmplZ")
}

func TestBooksThatDoNotBalanceAreSaid(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.ledger.counts.Filed -= 3
	body := s.as("noor").page("/")
	wants(t, body, "Books do not balance", "3 not accounted for", "1,234 ≠ 1,197")
}

func TestFlowNarrowsAndPages(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	body := b.page("/?channel=website&outcome=dead")
	wants(t, body, "Lena Fjord", "Show all")
	lacks(t, body, "Marit Oden")
	wants(t, b.page("/?q=canpoy"), "No message says “canpoy”", `/tickets?v=all&amp;q=canpoy`)
	for i := range 60 {
		row := s.ledger.flow[2]
		row.ID = "more-" + strings.Repeat("x", i+1)
		s.ledger.flow = append(s.ledger.flow, row)
	}
	first := b.page("/")
	older := regexp.MustCompile(`href="(/\?before=[^"]+)"`).FindStringSubmatch(first)
	if older == nil {
		t.Fatal("no link to earlier messages")
	}
	body = b.page(older[1])
	wants(t, body, "Newest")
	lacks(t, body, "data-live=", `id="m-m-sms"`)
}

func TestFirstRunSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.ledger.flow, s.ledger.counts = nil, ledger.Counts{}
	wants(t, s.as("ruth").page("/"), "Switchboard is running. Send yourself a message.", `<a href="/form/website">the contact form</a>`,
		"curl localhost:8080/hooks/partners", `data-first="/events"`, "nothing accepted yet")
}

func TestMessageTellsItsWholeStory(t *testing.T) {
	t.Parallel()
	body := open(t).as("noor").page("/messages/m-sms")
	wants(t, body,
		"Became ticket <a href=\"/tickets/inbox/1190\">#1190</a> on inbox", `because rule <a href="#rule">angry and urgent</a> matched`,
		"we looked before repeating, so there is one ticket", "The vendor sent it once more",
		"The vendor called <code>/hooks/shop-sms</code> with 37 bytes", "delivery 41", "20 Nov 2026, 11:59:50.000",
		`<mark class="ev cat">URGENT<sup>a</sup></mark>`, `<mark class="ev cat">where is my order<sup>b</sup></mark>`, "<b>order_status</b>", "term <code>tail</code> in the subject",
		"line 31", "urgency is critical; category is orders", "<code>9f3c1ab277</code>", "queue <b>escalations</b>", "priority <b>urgent</b>",
		"create ticket: no answer within 5s", "no clear answer", "found, not done twice", "600 ms", `title="sb-k7q2mx4tn3h5c6d2e8f9g1a2b3"`, "sb-k7q2mx4t…", "Through the console, as admin.",
		"Delivery 43 holds the same message as delivery 41", "ruth asked to retry it", "tail.jpg, 214 KB", "the vendor no longer had it",
		"switchboard explain m-sms", "Show the raw delivery", `<svg class="ch"`, "went to open the ticket.")
	lacks(t, body, "MessageSid=SM41", "bad_span<sup>")
}

func TestRawDeliveryIsBehindAClick(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	wants(t, b.page("/messages/m-sms?raw"), "POST /hooks/shop-sms?to=sha256:77aa HTTP/1.1", "MessageSid=SM41", "X-Secret: sha256:5b1f")
	res, body := b.get("/messages/m-sms/raw")
	wants(t, body, "MessageSid=SM41")
	if got, want := res.Header.Get("Content-Disposition"), "attachment; filename=delivery-41.http"; got != want {
		t.Errorf("disposition: got %q want %q", got, want)
	}
	if got, want := res.Header.Get("Content-Type"), "application/octet-stream"; got != want {
		t.Errorf("type: got %q want %q", got, want)
	}
}

func TestDeliveriesWithoutMessageHaveStories(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	wants(t, b.page("/messages/d77"), "No ticket is needed: a poll was answered", "No message in it", "The raw delivery 77 is no longer kept.")
	wants(t, b.page("/messages/d80"), "It could not be read", "Could not be read", `<a href="/dead/dead-2">dead letter</a>`)
}

func TestAttachmentsAreDownloads(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	res, body := b.get("/messages/m-evil/files/0")
	if body != "JPEG bytes" || res.Header.Get("X-Evil") != "" || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") ||
		res.Header.Get("Content-Type") != "application/octet-stream" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("got %q with %v", body, res.Header)
	}
	for _, path := range []string{"/messages/m-sms/files/1", "/messages/m-sms/files/2", "/messages/m-sms/files/-1", "/messages/m-sms/files/x", "/messages/none/files/0"} {
		if res, _ := b.get(path); res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d want 404", path, res.StatusCode)
		}
	}
}

func TestTicketsHaveViewsThatCount(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	body := b.page("/tickets")
	wants(t, body, "<b>2 tickets need an answer</b>, 3 open.", "Needs an answer <span>2</span>", "Mine <span>1</span>", "Waits for customer <span>1</span>", "All <span>5</span>",
		"Cracked canopy", "Photo of the cracked canopy", "nobody", "1 min ago", "needs an answer", "1 to 2 of 2")
	lacks(t, body, "Finch does not bind")
	wants(t, b.page("/tickets?v=waits"), "Finch does not bind", "pending")
	wants(t, b.page("/tickets?v=all&q=canpoy"), "No ticket says “canpoy”")
	wants(t, b.page("/tickets?v=all&sink=zendesk-eu&order=newest"), "Charger lead", "Show all")
	for range 60 {
		s.ledger.tickets = append(s.ledger.tickets, s.ledger.tickets[4])
	}
	body = b.page("/tickets?v=all")
	wants(t, body, "1 to 50 of 65", `href="/tickets?from=50&amp;v=all"`)
	wants(t, b.page("/tickets?v=all&from=50"), "51 to 65 of 65", ">Back<")
}

func TestTicketShowsThreadAndPerson(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	body := b.page("/tickets/inbox/1190")
	wants(t, body, "Tail servo lost, order 7731", "the customer waits since 11:59", "URGENT my Osprey", `href="/messages/m-sms"`, "Why here?", `href="/messages/m-sms/files/0"`,
		"note, the customer does not see it", "Courier says", "delivered", "took the ticket", "4790000041", "verified", "as they wrote it",
		`href="/people/p%2F41"`, "#48102", "It goes out on the channel they wrote on", `<option value="pending">`)
	body = b.page("/tickets/zendesk-eu/48212")
	wants(t, body, "Answers to this ticket are written on zendesk-eu", "https://desk.kestrel.example/tickets/48212")
	lacks(t, body, "<textarea", `action="/tickets/`)
	wants(t, b.page("/tickets/inbox/900"), "This ticket is closed.")
}

func TestPersonHasATimeline(t *testing.T) {
	t.Parallel()
	wants(t, open(t).as("noor").page("/people/p%2F41"), "<h1>Marit Oden</h1>", "2 messages on 2 channels, 1 answer, since 11:40.", `<a href="/tickets/inbox/1190">#1190</a>`, "marit@oden.example", "URGENT my Osprey")
}

func TestDeadLettersQuoteTheVendor(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	body := b.page("/dead")
	wants(t, body, "2 messages could not go on.", "The oldest died 4 h ago.", "lena.@fjord.example is not properly formatted", "tried once", "Retry", "Read it again", "Close with a reason", "Mended <span>1</span>")
	lacks(t, body, "Spare rotor")
	wants(t, b.page("/dead?v=mended"), "Spare rotor", "Mended by ruth")
	wants(t, b.page("/dead?v=dismissed"), "Nothing here")
	wants(t, b.page("/dead/dead-3"), "Mended by ruth at 19 Nov 16:00")
}

func TestHealthNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	body := b.page("/health")
	wants(t, body, "2 things to look at:", `<a href="#partners">partners</a> is down, <a href="#zendesk-eu">zendesk-eu</a> is slowed`, "answers 401 since 11:12", "8 s ago",
		"1.4 s", "6.2 s", "412 MB of 20 GB", "61 MB", "up 26 h", "0.1.0", "Twilio SMS", "on a ticket", "1,200")
	s.actions.problem = []string{"The disk is nearly full."}
	wants(t, b.page("/health"), "The disk is nearly full.")
	s.ledger.health = nil
	s.actions.problem = nil
	wants(t, b.page("/health"), "Messages come in and go out. Nothing needs you.", "None is configured.")
}

func TestCustomersTextIsEscapedEverywhere(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.ledger.tickets[1].Subject, s.ledger.tickets[1].LastWords, s.ledger.tickets[1].Tags = evilText, evilText, []string{evilText}
	s.ledger.tickets[1].Ticket.URL = "javascript:alert(1)"
	s.ledger.tickets[1].Entries = append(s.ledger.tickets[1].Entries, ledger.Entry{Kind: "message", Author: evilText, Text: evilText, Channel: evilText, Message: `x" onload="y`})
	s.ledger.dead[0].Preview, s.ledger.dead[0].Reason = evilText, evilText
	b := s.as("noor")
	for _, path := range []string{"/", "/messages/m-evil?raw", "/tickets", "/tickets/zendesk-eu/48212", "/people/p42", "/dead", "/dead/dead-1", "/?q=" + `%3Cscript%3Ealert(%22x%22)`, "/tickets?q=%3Cscript%3Ealert(%22x%22)"} {
		body := b.page(path)
		lacks(t, body, "<script>alert", "<img src=x", `onload="y`, `href="javascript:`, "<b>Mallory")
	}
	wants(t, b.page("/messages/m-evil"), "&lt;script&gt;alert")
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	b := open(t).as("noor")
	for _, path := range []string{"/messages/none", "/tickets/inbox/none", "/people/none", "/dead/none", "/nowhere", "/reports"} {
		res, body := b.get(path)
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d want 404", path, res.StatusCode)
		}
		wants(t, body, "Nothing here", `<nav class="nav"`)
	}
}

func TestOurFaultIsLoggedUnderACodeAndShowsNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	b := s.as("noor")
	s.ledger.fails = errBroken
	res, body := b.get("/?q=secretword")
	if res.StatusCode != http.StatusInternalServerError {
		t.Fatalf("got %d want 500", res.StatusCode)
	}
	code := regexp.MustCompile(`err-[a-z0-9_-]{6}`).FindString(body)
	if code == "" || !strings.Contains(s.log.String(), code) {
		t.Errorf("code %q is not in the log: %s", code, s.log)
	}
	lacks(t, body, errBroken.Error())
	lacks(t, s.log.String(), "secretword")
}

func TestAssetsRevalidateByHash(t *testing.T) {
	t.Parallel()
	b := open(t).browser()
	for name, kind := range map[string]string{"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		res, body := b.get("/assets/" + name)
		if res.StatusCode != http.StatusOK || body == "" || res.Header.Get("Content-Type") != kind {
			t.Fatalf("%s: got %d, type %q", name, res.StatusCode, res.Header.Get("Content-Type"))
		}
		tag := res.Header.Get("ETag")
		req := b.request(http.MethodGet, "/assets/"+name, nil)
		req.Header.Set("If-None-Match", tag)
		if res, _ := b.do(req); res.StatusCode != http.StatusNotModified {
			t.Errorf("%s again: got %d want 304", name, res.StatusCode)
		}
		res, _ = b.get("/assets/" + name + "?v=" + strings.Trim(tag, `"`))
		if !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s by hash: got %q", name, res.Header.Get("Cache-Control"))
		}
	}
	if res, _ := b.get("/assets/none.css"); res.StatusCode != http.StatusNotFound {
		t.Errorf("got %d want 404", res.StatusCode)
	}
}

func TestPagesForbidWhatTheyDoNotNeed(t *testing.T) {
	t.Parallel()
	res, _ := open(t).as("noor").get("/")
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "same-origin", "Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
	} {
		if got := res.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q want %q", name, got, want)
		}
	}
}

func TestTemplatesHoldToThePolicy(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("templates", "*.html"))
	if err != nil || len(files) < 10 {
		t.Fatalf("got %d templates, %v", len(files), err)
	}
	bad := regexp.MustCompile(`(?i)\sstyle=|<style|\son[a-z]+=|<script(?: type="module" src=")?[^>]*[^"]>|javascript:|https?://`)
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := bad.Find(b); got != nil {
			t.Errorf("%s has %q", name, got)
		}
	}
}

func TestTimesAreInTheShopsZone(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CET", 3600)
	wants(t, open(t, func(o *console.Options) { o.Zone = zone }).as("noor").page("/"), "12:59:50", `datetime="2026-11-20T11:59:50Z"`)
}
