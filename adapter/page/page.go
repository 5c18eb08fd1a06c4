// Package page is how Switchboard serves what people fill in: pages that run
// nothing but their own scripts and stand in nobody's frame, and the answers for
// programs that post to the same address. It is shared by channels that people
// write to directly.
package page

import (
	"bytes"
	"encoding/json"
	"html/template"
	"io/fs"
	"net/http"
	"strings"

	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
)

// policy lets nothing in that is not served beside the page.
const policy = "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// A Page is a template and the files beside it. It is safe for concurrent use.
type Page struct {
	files    fs.FS
	template *template.Template
}

// Must reads the template called name in files, which are embedded; it panics if
// the template is wrong.
func Must(files fs.FS, name string) *Page {
	return &Page{files: files, template: template.Must(template.ParseFS(files, name))}
}

// Answer shows view on the page.
func (p *Page) Answer(status int, view any) hook.Answer {
	var b bytes.Buffer
	if err := p.template.Execute(&b, view); err != nil {
		return hook.Text(http.StatusInternalServerError, "text/plain", "The page cannot be shown.\n")
	}
	return hook.Answer{Status: status, Body: b.Bytes(), Header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {policy}, "Cache-Control": {"no-store"},
		"X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"same-origin"},
	}}
}

// Script serves a script that stands beside the template, as something of which
// nothing is kept.
func (p *Page) Script(name string) hook.Answer {
	script, err := fs.ReadFile(p.files, name)
	a := hook.Text(http.StatusOK, "text/javascript; charset=utf-8", string(script))
	if err != nil {
		a = hook.Text(http.StatusNotFound, "text/plain", "There is no such script.\n")
	}
	a.Drop = true
	return a
}

// A Problem is a refusal for programs (RFC 9457).
type Problem struct {
	Title  string             `json:"title"`
	Status int                `json:"status"`
	Errors []formdata.Mistake `json:"errors"`
}

// Answer writes the problem.
func (p Problem) Answer() hook.Answer {
	body, _ := json.Marshal(p) // strings always encode
	return hook.Text(p.Status, "application/problem+json", string(body))
}

// Accepted tells a program under which id a message was taken, and the reference
// that the requester may quote.
func Accepted(id, reference string) hook.Answer {
	body, _ := json.Marshal(map[string]string{"id": id, "reference": reference}) // strings always encode
	return hook.Text(http.StatusAccepted, "application/json", string(body))
}

// WantsJSON reports whether a program, not a browser that shows pages, hears the
// answer to d.
func WantsJSON(d hook.Delivery) bool {
	accept := d.Header.Get("Accept")
	return strings.Contains(accept, "json") || d.Header.Get("Sec-Fetch-Mode") == "cors" ||
		strings.HasPrefix(d.Header.Get("Content-Type"), "application/json") && !strings.Contains(accept, "text/html")
}
