package zendesk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/sinks"
	"switchboard/sinks/sinktest"
)

// TestRequestsFollowTheDescription holds every request of the conformance suite
// to the vendor's OpenAPI description, strictly: what that does not know is refused.
func TestRequestsFollowTheDescription(t *testing.T) {
	d := newDescription(t)
	kind := sinks.Define("zendesk", Config{}, open, sinks.Traits[Config]{
		Create: sinks.KeyWindow, Append: sinks.StrongLookup, Sign: sign,
		Fake: func(c Config, b *sandbox.Board) sandbox.Desk { return checked{newFake(c, b), d} },
	})
	t.Run("suite", func(t *testing.T) {
		sinktest.Run(t, kind, oauth())
	})
	t.Run("everything a ticket can say", func(t *testing.T) {
		s := openWith(t, mapped(), func(c Config, b *sandbox.Board) sandbox.Desk { return checked{newFake(c, b), d} })
		fullLife(t, s)
	})
	for _, problem := range d.problems {
		t.Error(problem)
	}
	for _, want := range []string{
		"POST /oauth/tokens", "GET /api/v2/users/me", "POST /api/v2/tickets", "GET /api/v2/tickets", "PUT /api/v2/tickets/{ticket_id}",
		"GET /api/v2/tickets/{ticket_id}", "GET /api/v2/tickets/{ticket_id}/audits", "POST /api/v2/uploads",
		"POST /api/v2/users/create_or_update", "GET /api/v2/ticket_fields", "GET /api/v2/groups", "GET /api/v2/users",
	} {
		if d.seen[want] == 0 {
			t.Errorf("no request was checked against %s", want)
		}
	}
}

func oauth() Config {
	return Config{
		Subdomain: "aeroshop", ClientID: "switchboard", ClientSecret: secret.Literal("oauth-secret-of-a-test"),
		Scopes: []string{"read", "write"}, WebhookSecret: secret.Literal("webhook-secret-of-a-test"),
	}
}

// checked is the fake behind the description.
type checked struct {
	sandbox.Desk
	d *description
}

func (c checked) Events() []hook.Delivery {
	return c.Desk.(interface{ Events() []hook.Delivery }).Events()
}

func (c checked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.d.check(r, body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.Desk.ServeHTTP(w, r)
}

// description is the vendor's OpenAPI file and what did not agree with it.
type description struct {
	doc *openapi3.T

	mu       sync.Mutex
	seen     map[string]int
	problems []string
	bodies   map[string]*openapi3.Schema
}

// documented are properties that the description lacks and the vendor documents
// elsewhere, by the place of their object ("POST /tickets ticket").
var documented = map[string]map[string]*openapi3.Schema{
	// "Creating tickets": an inline requester is made or matched by e-mail; metadata
	// is kept in the audit as metadata.custom.
	"POST /api/v2/tickets ticket": {
		"requester": object(map[string]*openapi3.Schema{"name": openapi3.NewStringSchema(), "email": openapi3.NewStringSchema()}),
		"metadata":  openapi3.NewObjectSchema().WithAnyAdditionalProperties(),
	},
	// "Adding tags without overwriting": additional_tags and remove_tags; metadata as above.
	"PUT /api/v2/tickets/{ticket_id} ticket": {
		"additional_tags": openapi3.NewArraySchema().WithItems(openapi3.NewStringSchema()),
		"remove_tags":     openapi3.NewArraySchema().WithItems(openapi3.NewStringSchema()),
		"metadata":        openapi3.NewObjectSchema().WithAnyAdditionalProperties(),
	},
	// "Create or update user": skip_verify_email stands in the operation's text only;
	// phone is a property of the user object, which the input leaves open.
	"POST /api/v2/users/create_or_update user": {
		"phone": openapi3.NewStringSchema(), "skip_verify_email": openapi3.NewBoolSchema(),
	},
}

// documentedItems replaces the items of an array: the description puts the
// definition of a field where its value belongs ("Setting custom field values").
var documentedItems = map[string]*openapi3.Schema{
	"custom_fields": object(map[string]*openapi3.Schema{"id": openapi3.NewInt64Schema(), "value": {}}),
}

// documentedQuery are parameters that the description mentions in prose only:
// cursor pagination, and several roles at once.
var documentedQuery = []string{"page[size]", "page[after]", "role[]"}

func object(properties map[string]*openapi3.Schema) *openapi3.Schema {
	return openapi3.NewObjectSchema().WithProperties(properties).WithoutAdditionalProperties()
}

func newDescription(t *testing.T) *description {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "specs", "zendesk.openapi.yaml")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the vendor's description is absent, and in CI it must not be")
		}
		t.Skip("the vendor's description is not beside this checkout")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		t.Fatalf("load the description: %v", err)
	}
	return &description{doc: doc, seen: map[string]int{}, bodies: map[string]*openapi3.Schema{}}
}

func (d *description) check(r *http.Request, body []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	problem := func(format string, args ...any) {
		d.problems = append(d.problems, r.Method+" "+r.URL.Path+": "+fmt.Sprintf(format, args...))
	}
	// The vendor serves every path with and without .json; the description has it without.
	path := strings.TrimSuffix(r.URL.Path, ".json")
	template, item := d.find(path)
	op := item.GetOperation(r.Method)
	if op == nil {
		problem("not in the description")
		return
	}
	name := r.Method + " " + template
	d.seen[name]++
	for key, values := range r.URL.Query() {
		i := slices.IndexFunc(append(item.Parameters, op.Parameters...), func(p *openapi3.ParameterRef) bool {
			return p.Value.In == "query" && p.Value.Name == key
		})
		switch {
		case i >= 0:
			if err := append(item.Parameters, op.Parameters...)[i].Value.Schema.Value.VisitJSON(values[0]); err != nil {
				problem("query %s: %v", key, err)
			}
		case !slices.Contains(documentedQuery, key):
			problem("query parameter %s is not in the description", key)
		}
	}
	if op.RequestBody == nil {
		if len(body) > 0 {
			problem("has a body that the description does not know")
		}
		return
	}
	media := op.RequestBody.Value.Content.Get(r.Header.Get("Content-Type"))
	switch {
	case media == nil:
		problem("content type %q is not in the description", r.Header.Get("Content-Type"))
	case r.Header.Get("Content-Type") == "application/json":
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			problem("body: %v", err)
			return
		}
		if d.bodies[name] == nil {
			d.bodies[name] = strict(name, media.Schema.Value)
		}
		if err := d.bodies[name].VisitJSON(v, openapi3.VisitAsRequest(), openapi3.MultiErrors()); err != nil {
			problem("body: %v", err)
		}
	}
}

// find returns the path of the description that fits, the most literal first.
func (d *description) find(path string) (string, *openapi3.PathItem) {
	if item := d.doc.Paths.Value(path); item != nil {
		return path, item
	}
	want := strings.Split(path, "/")
	for _, template := range d.doc.Paths.InMatchingOrder() {
		parts := strings.Split(template, "/")
		fits := len(parts) == len(want)
		for i := range parts {
			fits = fits && (parts[i] == want[i] || strings.HasPrefix(parts[i], "{"))
		}
		if fits {
			return template, d.doc.Paths.Value(template)
		}
	}
	return path, &openapi3.PathItem{}
}

// strict merges what s is composed of and closes every object in it. place is
// the operation and the way of property names to s.
func strict(place string, s *openapi3.Schema) *openapi3.Schema {
	out := *s
	out.AllOf, out.AnyOf, out.OneOf, out.Example = nil, nil, nil, nil
	out.Properties = openapi3.Schemas{}
	merge(&out, s)
	for name, p := range out.Properties {
		if items := documentedItems[name]; items != nil {
			out.Properties[name] = openapi3.NewSchemaRef("", openapi3.NewArraySchema().WithItems(items))
			continue
		}
		out.Properties[name] = openapi3.NewSchemaRef("", strict(place+" "+name, p.Value))
	}
	for name, extra := range documented[place] {
		out.Properties[name] = openapi3.NewSchemaRef("", extra)
	}
	if out.Items != nil {
		out.Items = openapi3.NewSchemaRef("", strict(place+"[]", out.Items.Value))
	}
	if len(out.Properties) > 0 {
		out.AdditionalProperties = openapi3.AdditionalProperties{Has: new(false)}
	}
	return &out
}

func merge(out, s *openapi3.Schema) {
	maps.Copy(out.Properties, s.Properties)
	if out.Type == nil {
		out.Type = s.Type
	}
	for _, part := range s.AllOf {
		merge(out, part.Value)
		out.Required = append(out.Required, part.Value.Required...)
	}
	for _, part := range append(s.AnyOf, s.OneOf...) {
		merge(out, part.Value) // which of the alternatives is meant, the vendor leaves open
	}
}

// TestTheDescriptionRefuses shows that the check above can fail.
func TestTheDescriptionRefuses(t *testing.T) {
	t.Parallel()
	d := newDescription(t)
	for _, tt := range []struct{ name, method, url, body string }{
		{"an unknown property", "POST", "/api/v2/tickets.json", `{"ticket":{"subjekt":"x"}}`},
		{"an unknown property within", "POST", "/api/v2/tickets.json", `{"ticket":{"comment":{"text":"x"}}}`},
		{"a wrong type", "PUT", "/api/v2/tickets/4.json", `{"ticket":{"comment":{"body":"x","public":"yes"}}}`},
		{"a wrong word", "PUT", "/api/v2/tickets/4.json", `{"ticket":{"status":"on_hold"}}`},
		{"a property that is the desk's to set", "POST", "/api/v2/tickets.json", `{"ticket":{"comment":{"id":7}}}`},
		{"a tagger's value without its field", "POST", "/api/v2/tickets.json", `{"ticket":{"custom_fields":[{"name":"x"}]}}`},
		{"an unknown parameter", "GET", "/api/v2/tickets.json?key=sb", ""},
		{"an unknown path", "GET", "/api/v2/tickts.json", ""},
		{"an unknown property of a user", "POST", "/api/v2/users/create_or_update.json", `{"user":{"nick":"x"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, "https://aeroshop.zendesk.com"+tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			before := len(d.problems)
			d.check(r, []byte(tt.body))
			if len(d.problems) == before {
				t.Error("got no problem, want one")
			}
		})
	}
}
