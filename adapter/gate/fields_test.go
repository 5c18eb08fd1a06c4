package gate

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"switchboard/adapter/hook"
)

func TestNewReadsTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		minFill time.Duration
		proof   string
		work    int
		always  bool
		words   []string
	}{
		{"off", time.Second, "off", 0, false, nil},
		{"javascript", 0, "javascript", Bits, false, nil},
		{"required", Life / 2, "required", Bits, true, nil},
		{"both wrong", -1, "maybe", Bits, false, []string{"min_fill: want", `proof_of_work: no "maybe"`}},
		{"too long", Life, "off", 0, false, []string{"min_fill: want"}},
	} {
		g, err := New([]byte("key"), row.minFill, row.proof)
		if g.Work() != row.work || g.Proof != row.always || (err == nil) != (row.words == nil) {
			t.Errorf("%s: %+v, error %v", row.name, g, err)
		}
		for _, want := range row.words {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", row.name, err, want)
			}
		}
	}
}

func TestTrapped(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		fields map[string]string
		want   bool
	}{
		{"nothing", nil, false},
		{"a trap anywhere", map[string]string{"_gotcha": "x"}, true},
		{"another", map[string]string{"_honey": "x"}, true},
		{"the website of a business", map[string]string{"website": "https://shop.example"}, false},
		{"the page's website", map[string]string{"website": "https://shop.example", TokenField: "t"}, true},
	} {
		if got := Trapped(row.fields); got != row.want {
			t.Errorf("%s: got %v", row.name, got)
		}
	}
	for _, name := range []string{"_gotcha", "_honey", "website", TokenField, ProofField, KeyField} {
		if !strings.Contains(strings.Join(Fields(), " "), name) {
			t.Errorf("%s is not among the gate's fields", name)
		}
	}
}

// TestIdentifyNeverChanges holds ids that messages have been stored under.
func TestIdentifyNeverChanges(t *testing.T) {
	t.Parallel()
	sum := func(at time.Time) []byte { return []byte(at.Format(time.TimeOnly)) }
	token := "x." + strings.Repeat("A", 26) + ".y"
	for _, row := range []struct{ name, token, key, want string }{
		{"page", token, "k1", "page-AAAAAAAAAAAAAAAAAAAAAAAAAA"},
		{"key", "forged", "k1", "key-" + digest([]byte("k1"))},
		{"content", "", "", "same-" + digest([]byte("09:26:53"))},
	} {
		if got := Identify(row.token, row.key, sum, start); got != row.want {
			t.Errorf("%s: got %q want %q", row.name, got, row.want)
		}
	}
	// The first half of the SHA-256 of "k1", by sha256sum.
	if got := digest([]byte("k1")); got != "6ab9f1eb8f7d3388f4f9d586f66e99fd" {
		t.Errorf("digest is %q", got)
	}
	if got := Reference("page-1"); got != "B2ZD-NZIN" {
		t.Errorf("reference is %q", got)
	}
}

func TestPreflight(t *testing.T) {
	t.Parallel()
	o := Origins{"https://shop.example"}
	for from, want := range map[string]string{"https://shop.example": "https://shop.example", "https://evil.example": ""} {
		a := o.Preflight(hook.Delivery{Header: http.Header{"Origin": {from}}})
		if !a.Drop || a.Status != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != want || a.Header.Get("Access-Control-Allow-Methods") != "POST" {
			t.Errorf("%s: got %+v", from, a)
		}
	}
}
