package page_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
	"switchboard/adapter/page"
)

func files() fstest.MapFS {
	return fstest.MapFS{
		"ask.html": {Data: []byte(`<h1>{{.Title}}</h1>{{if .Broken}}{{.Nowhere}}{{end}}`)}, "ask.js": {Data: []byte("prove()")},
	}
}

type view struct {
	Title  string
	Broken bool
}

func TestAnswerEscapesAndForbidsTheRest(t *testing.T) {
	t.Parallel()
	a := page.Must(files(), "ask.html").Answer(http.StatusOK, view{Title: "<b>Ask us</b>"})
	if a.Status != http.StatusOK || string(a.Body) != "<h1>&lt;b&gt;Ask us&lt;/b&gt;</h1>" {
		t.Errorf("status %d, body %s", a.Status, a.Body)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "frame-ancestors 'none'", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.Header.Get(name); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %q in it", name, got, want)
		}
	}
}

func TestAnswerOfABrokenTemplate(t *testing.T) {
	t.Parallel()
	if a := page.Must(files(), "ask.html").Answer(http.StatusOK, view{Broken: true}); a.Status != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", a.Status)
	}
}

func TestMustPanicsWithoutATemplate(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a page without its template was made")
		}
	}()
	page.Must(files(), "other.html")
}

func TestScript(t *testing.T) {
	t.Parallel()
	p := page.Must(files(), "ask.html")
	if a := p.Script("ask.js"); !a.Drop || a.Status != http.StatusOK || string(a.Body) != "prove()" {
		t.Errorf("got %+v", a)
	}
	if a := p.Script("other.js"); !a.Drop || a.Status != http.StatusNotFound {
		t.Errorf("a script that is not there: %+v", a)
	}
}

func TestAnswersForPrograms(t *testing.T) {
	t.Parallel()
	a := page.Problem{Title: "Not accepted.", Status: 422, Errors: formdata.Mistakes{{Field: "email", Reason: "missing"}}}.Answer()
	const want = `{"title":"Not accepted.","status":422,"errors":[{"field":"email","reason":"missing"}]}`
	if a.Status != 422 || string(a.Body) != want || a.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, header %v, body %s", a.Status, a.Header, a.Body)
	}
	var said map[string]string
	if a = page.Accepted("page-1", "ABCD-EFGH"); json.Unmarshal(a.Body, &said) != nil || said["id"] != "page-1" || a.Status != http.StatusAccepted {
		t.Errorf("status %d, body %s", a.Status, a.Body)
	}
}

func TestWantsJSON(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, accept, mode, kind string
		want                     bool
	}{
		{"a browser's form", "text/html,*/*", "navigate", "multipart/form-data", false},
		{"a script of a page", "*/*", "cors", "multipart/form-data", true},
		{"who asks for it", "application/json", "", "text/plain", true},
		{"who sends it", "", "", "application/json", true},
		{"who sends it and wants a page", "text/html", "", "application/json", false},
		{"anybody", "", "", "", false},
	} {
		d := hook.Delivery{Header: http.Header{"Accept": {row.accept}, "Sec-Fetch-Mode": {row.mode}, "Content-Type": {row.kind}}}
		if got := page.WantsJSON(d); got != row.want {
			t.Errorf("%s: got %v", row.name, got)
		}
	}
}
