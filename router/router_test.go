package router_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"switchboard/router"
	"switchboard/schemas"
)

// fold is enough for tests; the program uses the classifier's.
func fold(dst []byte, s string) []byte {
	for w := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		dst = append(append(dst, w...), ' ')
	}
	return dst
}

func compile(t testing.TB, root router.Rule) *router.Tree {
	t.Helper()
	tree, err := router.Compile(root, fold)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func message() router.Facts {
	return router.Facts{
		Message: &schemas.Message{
			Channel: "website", Kind: "form", Subject: "Broken servo", Text: "The servo of my glider is broken.\nWhere is my order?",
			Requester: schemas.Requester{Name: "Anna Example", Identities: []schemas.Identity{
				{Kind: schemas.Phone, Value: "+4930123"},
				{Kind: schemas.Email, Value: "Anna@Shop.Acme.example"},
				{Kind: schemas.Email, Value: "anna@home.example"},
			}},
			Attachments: []schemas.Attachment{{Name: "a.jpg"}},
		},
		Class: &schemas.Classification{
			Urgency: schemas.UrgencyHigh, Category: "technical", Keywords: []schemas.Keyword{{Name: "troubleshooting"}},
		},
	}
}

// A conditionCase is a condition and why it holds for message, "" if it does not.
type conditionCase struct {
	name string
	when router.Condition
	why  string
}

func conditionCases() []conditionCase {
	yes, no := router.Condition{Channel: []string{"website"}}, router.Condition{Channel: []string{"shop-sms"}}
	return []conditionCase{
		{"channel", router.Condition{Channel: []string{"shop-sms", "website"}}, "channel website"},
		{"other channel", no, ""},
		{"kind", router.Condition{Kind: []string{"form"}}, "kind form"},
		{"case matters for names", router.Condition{Kind: []string{"Form"}}, ""},
		{"word", router.Condition{Text: []string{"GLIDER"}}, `text has "GLIDER"`},
		{"phrase over lines", router.Condition{Text: []string{"no", "broken where is"}}, `text has "broken where is"`},
		{"part of a word", router.Condition{Text: []string{"glide", "lider", "oken where"}}, ""},
		{"phrase without words", router.Condition{Text: []string{"?!"}}, ""},
		{"first and last word", router.Condition{Subject: []string{"servo"}}, `subject has "servo"`},
		{"subject is not text", router.Condition{Subject: []string{"glider"}}, ""},
		{"domain", router.Condition{Domain: []string{"acme.example", "shop.ACME.example"}}, "requester.domain shop.ACME.example"},
		{"second address", router.Condition{Domain: []string{"home.example"}}, "requester.domain home.example"},
		{"domain below", router.Condition{Domain: []string{"*.acme.example"}}, "requester.domain *.acme.example"},
		{"domain itself is not below", router.Condition{Domain: []string{"*.home.example"}}, ""},
		{"end of a domain", router.Condition{Domain: []string{"me.example"}}, ""},
		{"below is not the end of a word", router.Condition{Domain: []string{"*.me.example"}}, ""},
		{"email", router.Condition{Email: []string{"anna@shop.acme.example"}}, "requester.email anna@shop.acme.example"},
		{"phone is no email", router.Condition{Email: []string{"+4930123"}}, ""},
		{"name", router.Condition{Name: []string{"anna"}}, `requester.name has "anna"`},
		{"urgency", router.Condition{Urgency: []schemas.Urgency{"critical", "high"}}, "urgency high"},
		{"category", router.Condition{Category: []string{"technical"}}, "category technical"},
		{"keyword", router.Condition{Keyword: []string{"warranty", "troubleshooting"}}, "keyword troubleshooting"},
		{"no keyword", router.Condition{Keyword: []string{"warranty"}}, ""},
		{"attachments", router.Condition{Attachments: new(true)}, "has attachments"},
		{"no attachments", router.Condition{Attachments: new(false)}, ""},
		{"several keys", router.Condition{Channel: []string{"website"}, Kind: []string{"form"}}, "channel website, kind form"},
		{"several keys, one wrong", router.Condition{Channel: []string{"website"}, Kind: []string{"sms"}}, ""},
		{"all", router.Condition{All: []router.Condition{yes, {Text: []string{"glider"}}}}, `channel website, text has "glider"`},
		{"all, one wrong", router.Condition{All: []router.Condition{yes, no}}, ""},
		{"any", router.Condition{Any: []router.Condition{no, yes}}, "channel website"},
		{"any of none right", router.Condition{Any: []router.Condition{no, no}}, ""},
		{"any with one that always holds", router.Condition{Any: []router.Condition{no, {}}}, "always"},
		{"not", router.Condition{Not: &no}, "not (channel shop-sms)"},
		{"not, wrongly", router.Condition{Not: &yes}, ""},
		{"not always", router.Condition{Not: &router.Condition{}}, ""},
		{
			"not of much",
			router.Condition{Not: &router.Condition{
				Kind: []string{"a", "b"}, Text: []string{"x"}, Subject: []string{"y"}, Domain: []string{"d"}, Email: []string{"e"}, Name: []string{"n"},
				Urgency: []schemas.Urgency{"low"}, Category: []string{"c"}, Keyword: []string{"k"}, Attachments: new(false),
				All: []router.Condition{yes}, Any: []router.Condition{no, {}}, Not: &yes,
			}},
			`not (kind a or b, text has "x", subject has "y", requester.domain d, requester.email e, requester.name has "n", ` +
				`urgency low, category c, keyword k, no attachments, channel website, (channel shop-sms) or (always), not (channel website))`,
		},
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	for _, test := range conditionCases() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			tree := compile(t, router.Rule{Name: "root", Sink: "other", Routes: []router.Rule{{Name: "rule", Line: 7, When: test.when, Sink: "hit"}}})
			got := tree.Match(message())
			if test.why == "" {
				if len(got) != 1 || got[0].Sink != "other" {
					t.Fatalf("got %v, want the default", got)
				}
				return
			}
			want := []schemas.RuleRef{{Name: "root"}, {Name: "rule", Line: 7, Why: test.why}}
			if diff := cmp.Diff(want, got[0].Path); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// say makes a condition that holds if the text has the word.
func say(word string) router.Condition { return router.Condition{Text: []string{word}} }

func match(t *testing.T, root router.Rule, text string) []schemas.Decision {
	t.Helper()
	return compile(t, root).Match(router.Facts{Message: &schemas.Message{Text: text}, Class: &schemas.Classification{}})
}

func TestMatchInheritsAndOverrides(t *testing.T) {
	t.Parallel()
	root := router.Rule{
		Name: "root", Line: 1, Sink: "desk", Queue: "support", Priority: schemas.PriorityNormal, Assignee: "anna", Type: "question", Severity: "3",
		Tags: []string{"all"}, Fields: []schemas.Field{{Name: "tier", Value: "basic"}, {Name: "shop", Value: "one"}},
		Routes: []router.Rule{{
			Name: "business", Line: 2, When: say("acme"), Tags: []string{"b2b", "all"}, Fields: []schemas.Field{{Name: "tier", Value: "gold"}, {Name: "new", Value: "x"}},
			Routes: []router.Rule{{
				Name: "now", Line: 3, When: say("now"), Sink: "phone", Queue: "oncall", Priority: schemas.PriorityUrgent, Assignee: "ben", Type: "incident", Severity: "1",
			}},
		}},
	}
	want := []schemas.Decision{{
		Sink: "phone", Queue: "oncall", Priority: schemas.PriorityUrgent, Assignee: "ben", Type: "incident", Severity: "1",
		Tags: []string{"all", "b2b"}, Fields: []schemas.Field{{Name: "tier", Value: "gold"}, {Name: "shop", Value: "one"}, {Name: "new", Value: "x"}},
		Path: []schemas.RuleRef{
			{Name: "root", Line: 1}, {Name: "business", Line: 2, Why: `text has "acme"`}, {Name: "now", Line: 3, Why: `text has "now"`},
		},
	}}
	if diff := cmp.Diff(want, match(t, root, "acme wants it now")); diff != "" {
		t.Error(diff)
	}
	got := match(t, root, "hello")
	if diff := cmp.Diff([]schemas.Field{{Name: "tier", Value: "basic"}, {Name: "shop", Value: "one"}}, got[0].Fields); diff != "" {
		t.Error("a child changed its parent: " + diff)
	}
}

func TestMatchFallsBackToParent(t *testing.T) {
	t.Parallel()
	root := router.Rule{Name: "root", Sink: "a", Routes: []router.Rule{
		{Name: "one", When: say("one"), Sink: "b", Routes: []router.Rule{{Name: "deep", When: say("deep"), Sink: "c"}}},
		{Name: "two", When: say("one"), Sink: "d"},
	}}
	for text, want := range map[string]string{"": "a", "one": "b", "one deep": "c", "deep": "a"} {
		if got := sinks(match(t, root, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func sinks(ds []schemas.Decision) string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Sink)
	}
	return strings.Join(out, " ")
}

func TestMatchContinues(t *testing.T) {
	t.Parallel()
	root := router.Rule{Name: "root", Sink: "desk", Routes: []router.Rule{
		{Name: "copy", When: say("copy"), Sink: "archive", Continue: true},
		{Name: "tagged", When: say("tag"), Tags: []string{"t"}, Continue: true},
		{Name: "phone", When: say("phone"), Sink: "phone"},
		{Name: "never", When: say("phone"), Sink: "never"},
		{Name: "spam", When: say("spam"), Drop: "spam"},
	}}
	for text, want := range map[string]string{
		"":                "desk",
		"copy":            "archive desk", // nothing ended it, so the default still gets it
		"copy phone":      "archive phone",
		"copy tag phone":  "archive desk phone",
		"copy tag":        "archive desk",
		"spam":            "-",
		"copy spam":       "archive",
		"phone spam copy": "archive phone",
	} {
		if got := sinks(match(t, root, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
	got := match(t, root, "tag")
	if len(got) != 1 || got[0].Path[1].Name != "tagged" || len(got[0].Tags) != 1 {
		t.Errorf("got %v, want the first decision for the sink", got)
	}
}

func TestMatchDrops(t *testing.T) {
	t.Parallel()
	root := router.Rule{Name: "root", Drop: "closed", Routes: []router.Rule{
		{Name: "vip", When: say("vip"), Sink: "desk", Routes: []router.Rule{
			{Name: "spam", When: say("spam"), Drop: "spam", Routes: []router.Rule{{Name: "sub", When: say("sub")}}},
		}},
	}}
	for text, want := range map[string]string{"": "- closed", "vip": "desk ", "vip spam": "- spam", "vip spam sub": "- spam"} {
		got := match(t, root, text)
		if s := got[0].Sink + " " + got[0].Drop; len(got) != 1 || s != want {
			t.Errorf("%q: got %q, want %q", text, s, want)
		}
	}
}

func TestCompileNeedsADefault(t *testing.T) {
	t.Parallel()
	if _, err := router.Compile(router.Rule{Name: "root", Queue: "q"}, fold); err == nil {
		t.Error("got no error for a root without a sink")
	}
}

func TestSinks(t *testing.T) {
	t.Parallel()
	tree := compile(t, router.Rule{Sink: "a", Routes: []router.Rule{
		{Sink: "b", Routes: []router.Rule{{Queue: "q"}, {Sink: "a"}}}, {Drop: "no"}, {Sink: "c"},
	}})
	if diff := cmp.Diff([]string{"a", "b", "c"}, tree.Sinks()); diff != "" {
		t.Error(diff)
	}
}

func TestMatchIsSafeForConcurrentUseAndSharesNothing(t *testing.T) {
	t.Parallel()
	tree := compile(t, router.Rule{Name: "root", Sink: "a", Tags: []string{"x"}, Routes: []router.Rule{{When: say("long"), Sink: "b"}}})
	long := strings.Repeat("very ", 40_000) + "long"
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			text, want := "short", "a"
			if i%2 == 0 {
				text, want = long, "b"
			}
			for range 20 {
				got := tree.Match(router.Facts{Message: &schemas.Message{Text: text}, Class: &schemas.Classification{}})
				if sinks(got) != want || got[0].Tags[0] != "x" {
					t.Errorf("got %v, want %s", got, want)
				}
				got[0].Tags[0], got[0].Path[0].Name = "mine", "mine"
			}
		})
	}
	group.Wait()
}

// rules makes n rules of five clauses that do not match, and the facts.
func rules(n int, when func(i int) router.Condition) router.Rule {
	root := router.Rule{Name: "root", Sink: "desk"}
	for i := range n {
		root.Routes = append(root.Routes, router.Rule{Name: fmt.Sprint(i), When: when(i), Sink: "other"})
	}
	return root
}

// BenchmarkMatch shows what one more rule costs: ns/rule.
func BenchmarkMatch(b *testing.B) {
	const n = 1000
	for name, when := range map[string]func(int) router.Condition{
		"five clauses": func(i int) router.Condition {
			return router.Condition{
				Kind: []string{"sms", "form"}, Urgency: []schemas.Urgency{"critical", "high"}, Category: []string{"orders", "technical"},
				Domain: []string{"*.acme.example"}, Keyword: []string{fmt.Sprint("k", i)},
			}
		},
		"channel": func(i int) router.Condition { return router.Condition{Channel: []string{fmt.Sprint("c", i)}} },
		"text":    func(i int) router.Condition { return router.Condition{Text: []string{fmt.Sprint("word", i)}} },
	} {
		b.Run(name, func(b *testing.B) {
			tree := compile(b, rules(n, when))
			f := message()
			f.Message.Text = strings.Repeat("The servo of my glider is broken. ", 30)
			b.ReportAllocs()
			for b.Loop() {
				tree.Match(f)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/rule")
		})
	}
}

// TestConditionsAllocateNothing: all that Match allocates is its answer, however
// many rules it asks.
func TestConditionsAllocateNothing(t *testing.T) {
	f := message()
	count := func(n int) float64 {
		tree := compile(t, rules(n, func(i int) router.Condition {
			return router.Condition{
				Channel: []string{"website"}, Text: []string{"glider"}, Name: []string{"anna"}, Domain: []string{"*.acme.example"},
				Not: &router.Condition{Keyword: []string{"warranty"}}, Subject: []string{fmt.Sprint("none", i)},
			}
		}))
		return testing.AllocsPerRun(50, func() { tree.Match(f) })
	}
	// The pool of words may lose some; a condition that allocated would do so 500 times.
	if few, many := count(1), count(500); many > few+20 {
		t.Errorf("got %v allocations for 500 rules, %v for one", many, few)
	}
}
