package form

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"switchboard/adapter/gate"
	"switchboard/adapter/hook"
)

// policy lets nothing in that is not served beside the page.
const policy = "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

//go:embed form.html form.js
var files embed.FS

// A mistake is what somebody has to mend; Field is our name of the field, "" for
// the whole form. The page says the Reason in words.
type mistake struct {
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// A problem is a refusal for programs (RFC 9457).
type problem struct {
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Errors []mistake `json:"errors"`
}

// A view is what the pages show.
type view struct {
	Config
	submission
	Sent  bool
	Wrong []mistake
	Token string
	Bits  int
}

// Needs reports whether a field has to be filled in.
func (v view) Needs(name string) bool { return name == "message" || slices.Contains(v.Require, name) }

// Mistake returns what is wrong with a field, nil if nothing is.
func (v view) Mistake(name string) *mistake {
	i := slices.IndexFunc(v.Wrong, func(m mistake) bool { return m.Field == name })
	if i < 0 {
		return nil
	}
	return &v.Wrong[i]
}

// Input is how the page calls a field.
func (v view) Input(name string) string { return v.Config.Fields.Of(name)[0] }

func (c *channel) page(d hook.Delivery, status int, v view) hook.Answer {
	v.Config, v.Token = c.cfg, c.gate.Token(d.ReceivedAt)
	if c.cfg.Proof != "off" {
		v.Bits = gate.Bits
	}
	var b bytes.Buffer
	if err := c.pages.Execute(&b, v); err != nil {
		return hook.Text(http.StatusInternalServerError, "text/plain", "The page cannot be shown.\n")
	}
	return hook.Answer{Status: status, Body: b.Bytes(), Header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {policy}, "Cache-Control": {"no-store"},
		"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"same-origin"},
	}}
}

func (c *channel) Answer(d hook.Delivery) hook.Answer {
	a := hook.Answer{Status: http.StatusNoContent, Header: http.Header{}}
	switch {
	case d.Method == http.MethodPost:
		s, _ := c.read(d) // Verify has read it without an error
		return c.thank(d, s)
	case d.Method == http.MethodOptions:
		a.Header.Set("Access-Control-Allow-Methods", "POST")
		a.Header.Set("Access-Control-Allow-Headers", "Content-Type, Idempotency-Key")
		a = c.cfg.Origins.Allow(d, a)
	case !d.Query().Has("asset"):
		a = c.page(d, http.StatusOK, view{})
	default:
		script, _ := files.ReadFile("form.js") // it is embedded
		a = hook.Text(http.StatusOK, "text/javascript; charset=utf-8", string(script))
	}
	a.Drop = true
	return a
}

func (c *channel) thank(d hook.Delivery, s submission) hook.Answer {
	switch {
	case wantsJSON(d):
		body, _ := json.Marshal(map[string]string{"id": s.id, "reference": s.Reference()}) // strings always encode
		return c.cfg.Origins.Allow(d, hook.Text(http.StatusAccepted, "application/json", string(body)))
	case c.cfg.Thanks != "":
		return hook.Answer{Status: http.StatusSeeOther, Header: http.Header{"Location": {c.cfg.Thanks}}}
	}
	return c.page(d, http.StatusOK, view{Sent: true, submission: s})
}

func (c *channel) refuse(d hook.Delivery, status int, s submission, wrong ...mistake) error {
	a := c.page(d, status, view{Wrong: wrong, submission: s})
	if wantsJSON(d) {
		body, _ := json.Marshal(problem{"The message was not accepted.", status, wrong}) // strings always encode
		a = c.cfg.Origins.Allow(d, hook.Text(status, "application/problem+json", string(body)))
	}
	return &hook.Refused{Answer: a, Reason: fmt.Sprintf("form is refused with status %d: %s", status, wrong[0].Reason)}
}

func wantsJSON(d hook.Delivery) bool {
	accept := d.Header.Get("Accept")
	return strings.Contains(accept, "json") || d.Header.Get("Sec-Fetch-Mode") == "cors" ||
		strings.HasPrefix(d.Header.Get("Content-Type"), "application/json") && !strings.Contains(accept, "text/html")
}
