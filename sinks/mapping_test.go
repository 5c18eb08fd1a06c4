package sinks

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

func catalogue() schemas.Catalogue {
	return schemas.Catalogue{
		Queues: []schemas.Named{{ID: "71", Name: "Repairs"}},
		Agents: []schemas.Named{{ID: "81", Name: "Kim Rudder"}},
		Fields: []schemas.FieldKind{
			{ID: "91", Name: "Product area", Type: "tagger", Options: []schemas.Named{{ID: "area_gliders", Name: "Gliders, large"}, {ID: "area_motors", Name: "Motors"}}},
			{ID: "92", Name: "Order number", Type: "text"},
		},
	}
}

func TestMappingPlacesByNameAndID(t *testing.T) {
	t.Parallel()
	m := Mapping{
		Fields: map[string]string{"area": "product_area", "tier": "93", "lost": "Renamed away"},
		Queues: map[string]string{"workshop": "repairs"},
	}
	got := m.Place(catalogue(), schemas.Change{
		Queue: new("workshop"), Assignee: new("kim rudder"),
		Fields: []schemas.Field{
			{Name: "area", Value: "gliders, large"},
			{Name: "area", Value: "Motors, Gliders"},
			{Name: "area", Value: "motors,area_motors"},
			{Name: "order-number", Value: "A 17"},
			{Name: "tier", Value: "gold"},
			{Name: "lost", Value: "x"},
			{Name: "empty"},
		},
	})
	c := catalogue()
	want := Placed{
		Queue: "71", Assignee: "81",
		Fields: []PlacedField{
			{c.Fields[0], []string{"area_gliders"}},
			{c.Fields[0], []string{"area_motors", "area_motors"}},
			{c.Fields[1], []string{"A 17"}},
			{schemas.FieldKind{ID: "93"}, []string{"gold"}},
		},
		Left: []string{"area: Motors, Gliders", "lost: x"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("place (-want +got):\n%s", diff)
	}
}

func TestMappingWithoutCatalogueLosesNothing(t *testing.T) {
	t.Parallel()
	got := Mapping{Queues: map[string]string{"b": "72"}}.Place(schemas.Catalogue{}, schemas.Change{
		Queue: new("b"), Assignee: new("Kim"), Fields: []schemas.Field{{Name: "tier", Value: "gold"}},
	})
	want := Placed{Queue: "72", Left: []string{"Assignee: Kim", "tier: gold"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("place (-want +got):\n%s", diff)
	}
}

func TestMappingCheckNamesEveryUnknown(t *testing.T) {
	t.Parallel()
	bad := Mapping{Fields: map[string]string{"a": "Nowhere", "b": "Order number"}, Queues: map[string]string{"q": "Nobody"}}
	err := bad.Check(catalogue())
	if err == nil || strings.Count(err.Error(), "the desk has no") != 2 {
		t.Errorf("check: got %v, want two unknown names", err)
	}
	if err := (Mapping{Fields: map[string]string{"b": "order_number"}}).Check(catalogue()); err != nil {
		t.Errorf("check of known names: got %v, want none", err)
	}
}

func TestPlaceTicketTakesCategoryWhereItIsMapped(t *testing.T) {
	t.Parallel()
	ticket := schemas.Ticket{Queue: "Nowhere", Category: "motors", Severity: "2"}
	p := Mapping{Fields: map[string]string{"category": "Product area"}}.PlaceTicket(catalogue(), ticket)
	if len(p.Fields) != 1 || p.Fields[0].Values[0] != "area_motors" || p.Assignee != "" {
		t.Errorf("place ticket: got %+v, want the category alone", p)
	}
	if plain, rich := p.Body("hello", ""); plain != "hello\n\nQueue: Nowhere" || rich != "" {
		t.Errorf("body of a text: got %q and %q", plain, rich)
	}
	if plain, rich := p.Body("hello", "<p>hello</p>"); plain != "" || rich != "<p>hello</p><p>Queue: Nowhere</p>" {
		t.Errorf("body of HTML: got %q and %q", plain, rich)
	}
	if plain, _ := (Placed{}).Body("hello", ""); plain != "hello" {
		t.Errorf("body with nothing left: got %q", plain)
	}
}

func TestIdentifyPrefersEvidenceThenMail(t *testing.T) {
	t.Parallel()
	phone := schemas.Identity{Kind: schemas.Phone, Value: "+493012345", Evidence: schemas.Attested}
	typed := schemas.Identity{Kind: schemas.Email, Value: "kim@shop.example", Evidence: schemas.Asserted}
	proven := schemas.Identity{Kind: schemas.Email, Value: "kim@shop.example", Evidence: schemas.Attested}
	for _, tt := range []struct {
		name string
		in   []schemas.Identity
		want schemas.Identity
	}{
		{"a typed address does not outrank a proven number", []schemas.Identity{phone, typed}, phone},
		{"a proven address comes before a proven number", []schemas.Identity{phone, proven}, proven},
		{"alone", []schemas.Identity{typed}, typed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, _ := Identify(schemas.Requester{Identities: tt.in}); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	_, one := Identify(schemas.Requester{Identities: []schemas.Identity{phone}})
	_, other := Identify(schemas.Requester{Identities: []schemas.Identity{typed}})
	_, nobody := Identify(schemas.Requester{Name: "Kim"})
	if one == other || len(one) != 29 || nobody == "" {
		t.Errorf("external ids: got %q, %q and %q, want distinct ones of 29 characters", one, other, nobody)
	}
}

func TestMemoryAsksOnceAndForgets(t *testing.T) {
	t.Parallel()
	var m Memory[string, int]
	asked := 0
	ask := func() (int, error) { asked++; return asked, nil }
	for range 3 {
		if v, err := m.Get("a", ask); v != 1 || err != nil {
			t.Fatalf("get: got %d, %v, want 1", v, err)
		}
	}
	if _, err := m.Get("b", func() (int, error) { return 0, errors.New("no") }); err == nil {
		t.Error("get of what cannot be had: got no error")
	}
	m.Forget()
	if v, _ := m.Get("a", ask); v != 2 {
		t.Errorf("get after forgetting: got %d, want 2", v)
	}
	for i := range 2 * maxMemory {
		m.put(strconv.Itoa(i), i)
	}
	if len(m.known) > maxMemory {
		t.Errorf("memory: got %d entries, want at most %d", len(m.known), maxMemory)
	}
}

func TestPlacedFieldValueFollowsItsType(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind, text string
		want       any
	}{
		{"many", "a", []string{"a"}},
		{"flag", "true", true},
		{"flag", "perhaps", "perhaps"},
		{"text", "true", "true"},
	} {
		f := PlacedField{schemas.FieldKind{Type: tt.kind}, []string{tt.text}}
		if diff := cmp.Diff(tt.want, f.Value("many", "flag")); diff != "" {
			t.Errorf("value of %s %q (-want +got):\n%s", tt.kind, tt.text, diff)
		}
	}
}

func TestTagsAreTame(t *testing.T) {
	t.Parallel()
	got := Tags("-:", []string{"Model Aircraft", "model  aircraft"}, []string{"größe:XL", " ", "a-b/c!"})
	if diff := cmp.Diff([]string{"model_aircraft", "größe:xl", "a-b_c"}, got); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if Visibility(true) != schemas.Public || Visibility(false) != schemas.Internal {
		t.Error("visibility: public and internal are mixed up")
	}
}

func TestReadFileIsBounded(t *testing.T) {
	t.Parallel()
	f := schemas.File{Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("12345")), nil }}
	if b, err := ReadFile(f, 5); err != nil || string(b) != "12345" {
		t.Errorf("read: got %q, %v", b, err)
	}
	if _, err := ReadFile(f, 4); err == nil {
		t.Error("read of a larger file: got no error")
	}
	f.Open = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	if _, err := ReadFile(f, 5); err == nil {
		t.Error("read of a missing file: got no error")
	}
}
