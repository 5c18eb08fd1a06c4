package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"switchboard/internal/ledger"
)

//go:embed templates/*.html
var templateFiles embed.FS

// shell is what every page has around its content. Views embed it.
type shell struct {
	Title string
	// Here is the entry of the navigation that the page belongs to.
	Here    string
	Visitor *visitor
	Nav     navView
	// Live pages get every symbol: rows that come later may need any of them.
	Live bool
	// Asset returns the address of an asset.
	Asset func(name string) string
	// Done is what the last action did, in words.
	Done string
	// Form is the nonce of the forms on the page.
	Form string
}

func (s *shell) base() *shell { return s }

// A view is what a page's template is given.
type view interface{ base() *shell }

// navView is what the navigation counts.
type navView struct {
	Tickets, Dead, Warnings int
	Books                   booksView
}

// booksView says whether everything accepted is accounted for.
type booksView struct {
	ledger.Counts
	// Missing is what is accepted and in no account, or too much in them.
	Missing int
}

func books(n ledger.Counts) booksView {
	return booksView{Counts: n, Missing: n.Accepted - n.Filed - n.Duplicate - n.Ignored - n.Dead - n.Dropped - n.Waiting - n.Forgotten}
}

// navCache keeps the counts of the navigation for navAge.
type navCache struct {
	mu   sync.Mutex
	view navView
	at   time.Time
}

const navAge = 2 * time.Second

// navigation returns the counts that stand beside every page.
func (c *Console) navigation(ctx context.Context) (navView, error) {
	c.nav.mu.Lock()
	defer c.nav.mu.Unlock()
	now := c.opts.Now()
	if age := now.Sub(c.nav.at); !c.nav.at.IsZero() && age >= 0 && age < navAge {
		return c.nav.view, nil
	}
	var v navView
	_, n, err := c.opts.Ledger.Tickets(ctx, ledger.TicketQuery{NeedsAnswer: true, Limit: 1})
	if err != nil {
		return v, fmt.Errorf("count tickets: %w", err)
	}
	letters, err := c.opts.Ledger.Dead(ctx, deadWaiting)
	if err != nil {
		return v, fmt.Errorf("count dead letters: %w", err)
	}
	rows, err := c.opts.Ledger.Health(ctx, now)
	if err != nil {
		return v, fmt.Errorf("read health: %w", err)
	}
	counts, err := c.opts.Ledger.Counts(ctx, time.Time{})
	if err != nil {
		return v, fmt.Errorf("read books: %w", err)
	}
	v = navView{Tickets: n, Dead: len(letters), Warnings: len(troubled(rows)), Books: books(counts)}
	c.nav.view, c.nav.at = v, now
	return v, nil
}

// stale makes the next page count anew.
func (c *Console) stale() {
	c.nav.mu.Lock()
	defer c.nav.mu.Unlock()
	c.nav.at = time.Time{}
}

// A handler answers one kind of request. What it returns becomes an error page.
type handler func(w http.ResponseWriter, r *http.Request, v *visitor) error

// public serves h to everybody.
func (c *Console) public(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r, &visitor{}); err != nil {
			c.fail(w, r, &visitor{}, err)
		}
	})
}

// page serves h to those who have signed in and have the role.
func (c *Console) page(least Role, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visitor(r)
		if errors.Is(err, ErrNotFound) {
			c.signIn(w, r)
			return
		}
		if v == nil {
			v = &visitor{}
		}
		if err == nil && !v.Role.may(least) {
			err = &refusal{
				status: http.StatusForbidden, title: "Not for your role",
				words: fmt.Sprintf("This needs the role %s. You are %s.", least, v.Role), next: "An admin of the console can change that.",
			}
		}
		if err == nil {
			err = h(w, r, v)
		}
		if err != nil {
			c.fail(w, r, v, err)
		}
	})
}

// signIn sends a browser to the sign-in, and back afterwards where that is safe.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/events" {
		http.Error(w, "sign in first", http.StatusUnauthorized)
		return
	}
	to := "/login"
	if next := localPath(r.URL.RequestURI()); r.Method == http.MethodGet && next != "/" {
		to += "?next=" + url.QueryEscape(next)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// doneWords are what pages say after an action, by the word in their address.
var doneWords = map[string]string{
	"answered":  "Your answer is on the ticket. How far it has come to the customer stands beneath it.",
	"noted":     "Noted. The customer does not see it.",
	"updated":   "Changed.",
	"retried":   "On its way again.",
	"dismissed": "Closed with your reason. It stays here and can be retried.",
	"twice":     "That form was sent twice; it was done once.",
}

// shell returns the frame of a page for v.
func (c *Console) shell(r *http.Request, v *visitor, here, title string) (shell, error) {
	nav, err := c.navigation(r.Context())
	if err != nil {
		return shell{}, err
	}
	return shell{Title: title, Here: here, Visitor: v, Nav: nav, Done: doneWords[r.URL.Query().Get("done")], Form: newToken()}, nil
}

// bare returns the frame of a page without navigation.
func bare(title string) shell { return shell{Title: title} }

var (
	iconUse  = regexp.MustCompile(`href="#i-([a-z]+)"`)
	iconHome = []byte(`<svg hidden id="icons"></svg>`)
)

// render draws a page whole before the first byte leaves, so that an error is
// never half a page.
func (c *Console) render(w http.ResponseWriter, status int, page string, v view) error {
	s := v.base()
	s.Asset = c.assetURL
	var b bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&b, "page", v); err != nil {
		return fmt.Errorf("draw %s: %w", page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	// The browser may be gone; there is nobody left to tell.
	_, _ = w.Write(c.inline(b.Bytes(), s.Live))
	return nil
}

// inline puts the symbols that a page uses once at its top.
func (c *Console) inline(page []byte, all bool) []byte {
	used := map[string]bool{}
	for _, m := range iconUse.FindAllSubmatch(page, -1) {
		used[string(m[1])] = true
	}
	var b strings.Builder
	b.WriteString("<svg hidden>")
	for _, name := range symbolNames(c.symbols) {
		if all || used[name] {
			b.WriteString(c.symbols[name])
		}
	}
	b.WriteString("</svg>")
	return bytes.Replace(page, iconHome, []byte(b.String()), 1)
}

// fragment draws one named template of a page, in one line.
func (c *Console) fragment(page, name string, data any) (string, error) {
	var b bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("draw %s of %s: %w", name, page, err)
	}
	return strings.Join(strings.Fields(b.String()), " "), nil
}

// mustPages reads the embedded templates: each page is the base with its own
// content.
func mustPages(funcs template.FuncMap) map[string]*template.Template {
	base := template.Must(template.New("base").Funcs(funcs).ParseFS(templateFiles, "templates/base.html", "templates/parts.html"))
	pages := map[string]*template.Template{}
	files, err := templateFiles.ReadDir("templates")
	if err != nil {
		panic(err) // embedded
	}
	for _, f := range files {
		name, _ := strings.CutSuffix(f.Name(), ".html")
		if name == "base" || name == "parts" {
			continue
		}
		pages[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+f.Name()))
	}
	return pages
}

// settle waits a moment until the ledger shows what was done at seq, so that the
// page that follows shows it too.
func (c *Console) settle(ctx context.Context, seq uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := c.opts.Ledger.Wait(ctx, seq); err != nil {
		c.opts.Log.Debug("ledger not there yet", "seq", seq, "err", err)
	}
	c.stale()
}
