package classify_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/classify"
	"switchboard/schemas"
)

func terms(t testing.TB, texts ...string) []classify.Term {
	t.Helper()
	out := make([]classify.Term, len(texts))
	for i, s := range texts {
		if err := out[i].UnmarshalText([]byte(s)); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	}
	return out
}

func compile(t testing.TB, entries ...classify.Entry) *classify.Classifier {
	t.Helper()
	c, err := classify.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// found is what was matched, as it stands in the message.
func found(m schemas.Message, c schemas.Classification) []string {
	var out []string
	for _, k := range c.Keywords {
		text := m.Text
		if k.In == "subject" {
			text = m.Subject
		}
		out = append(out, fmt.Sprintf("%s/%s: %s", k.Name, k.Term, text[k.Start:k.End]))
	}
	return out
}

func TestClassifyFindsTerms(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, term, text string
		want             string // what stands in the text, "" for nothing
	}{
		{"whole word", "warranty", "My Warranty!", "Warranty"},
		{"not inside a word", "arm", "warm alarm army", ""},
		{"phrase", "order status", "the ORDER status?", "ORDER status"},
		{"phrase over lines and punctuation", "order status", "order -\n status", "order -\n status"},
		{"phrase is not broken by its first word", "order order status", "order order order status", "order order status"},
		{"half a phrase", "order status", "order the status", ""},
		{"apostrophes are all the same", "won't start", "It won’t start", "won’t start"},
		{"accents", "resume", "Résumé", "Résumé"},
		{"accents in the term", "rückgabe", "RUCKGABE", "RUCKGABE"},
		{"decomposed", "café", "cafe\u0301 noir", "cafe\u0301"},
		{"sharp s", "straße", "STRASSE", "STRASSE"},
		{"turkish dots", "istanbul", "İSTANBUL ıstanbul", "İSTANBUL"},
		{"greek final sigma", "ΛΟΓΟΣ", "λόγος", "λόγος"},
		{"cyrillic", "заказ", "где мой ЗАКАЗ?", "ЗАКАЗ"},
		{"fullwidth", "urgent", "ＵＲＧＥＮＴ", "ＵＲＧＥＮＴ"},
		{"mathematical letters", "urgent", "𝐮𝐫𝐠𝐞𝐧𝐭!", "𝐮𝐫𝐠𝐞𝐧𝐭"},
		{"ligature", "fix it", "ﬁx it", "ﬁx it"},
		{"hangul taken apart", "주문", "\u110c\u116e\u1106\u116e\u11ab", "\u110c\u116e\u1106\u116e\u11ab"},
		{"zero width joiners", "urgent", "ur\u200dge\u200bnt\u00ad", "ur\u200dge\u200bnt\u00ad"},
		{"invalid bytes end words", "urgent", "\xffurgent\xfe", "urgent"},
		{"invalid bytes inside break words", "urgent", "urg\xffent", ""},
		{"NUL", "urgent", "\x00urgent\x00", "urgent"},
		{"emoji", "urgent", "🚨urgent🚨", "urgent"},
		{"prefix", "garantie*", "Garantiefall", "Garantiefall"},
		{"prefix is whole", "garantie*", "Garantie", "Garantie"},
		{"prefix is longer than the word", "garantie*", "Garant", ""},
		{"prefix in a phrase", "is broken* now", "it is brokenish now", "is brokenish now"},
		{"prefix not inside a word", "ant*", "plant plants", ""},
		{"prefix of an endless word", "war*", "war" + strings.Repeat("x", 200), "war" + strings.Repeat("x", 200)},
		{"an endless word is no word", strings.Repeat("x", 64), strings.Repeat("x", 65), ""},
		{"longest word", strings.Repeat("x", 64), strings.Repeat("X", 64), strings.Repeat("X", 64)},
		{"digits", "error 404", "Error 404", "Error 404"},
		{"underscore separates", "order status", "order_status", "order_status"},
		{"empty", "urgent", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := compile(t, classify.Entry{Name: "e", Terms: terms(t, test.term)})
			m := schemas.Message{Text: test.text}
			var want []string
			if test.want != "" {
				want = []string{"e/" + test.term + ": " + test.want}
			}
			if diff := cmp.Diff(want, found(m, c.Classify(m))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClassifyOrdersKeywordsByText(t *testing.T) {
	t.Parallel()
	c := compile(t,
		classify.Entry{Name: "b", Terms: terms(t, "two", "two three four", "three")},
		classify.Entry{Name: "a", Terms: terms(t, "one", "two", "sub*")},
	)
	m := schemas.Message{Subject: "One subject", Text: "two three four one two"}
	want := []string{
		"a/one: One", "a/sub*: subject", "b/two: two", "b/two three four: two three four", "a/two: two", "b/three: three",
	}
	if diff := cmp.Diff(want, found(m, c.Classify(m))); diff != "" {
		t.Error(diff)
	}
}

func TestClassifyCategoryHasMostEvidence(t *testing.T) {
	t.Parallel()
	c := compile(t,
		classify.Entry{Name: "orders", Category: "orders", Terms: terms(t, "order", "parcel")},
		classify.Entry{Name: "warranty", Category: "warranty", Terms: terms(t, "warranty", "under warranty")},
		classify.Entry{Name: "more orders", Category: "orders", Terms: terms(t, "courier")},
	)
	for text, want := range map[string]string{
		"order and warranty":                   "orders", // equal, the first of the vocabulary wins
		"order order order under warranty":     "warranty",
		"a parcel, a courier, an order":        "orders",
		"order, courier, under warranty":       "warranty",
		"order, courier, parcel, the warranty": "orders",
		"nothing":                              "",
	} {
		if got := c.Classify(schemas.Message{Text: text}).Category; got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestClassifyUrgencyIsHighestAndSaysWhy(t *testing.T) {
	t.Parallel()
	c := compile(t,
		classify.Entry{Name: "idle", Urgency: schemas.UrgencyLow, Terms: terms(t, "whenever")},
		classify.Entry{Name: "angry", Urgency: schemas.UrgencyHigh, Terms: terms(t, "complaint")},
		classify.Entry{Name: "hurry", Urgency: schemas.UrgencyCritical, Terms: terms(t, "asap", "urgent"), Unless: terms(t, "not urgent", "no rush")},
		classify.Entry{Name: "topic", Category: "topic", Terms: terms(t, "kite")},
	)
	for _, test := range []struct{ text, want string }{
		{"hello", "normal: "},
		{"a kite", "normal: "},
		{"whenever", `low: "whenever" is a term of idle`},
		{"whenever, but a complaint", `high: "complaint" is a term of angry`},
		{"complaint! Urgent and asap!", `critical: "urgent" is a term of hurry`},
		{"This is not urgent", `normal: "not urgent" cancels hurry`},
		{"asap... well, no rush", `normal: "no rush" cancels hurry`},
		{"a complaint, but not urgent", `high: "complaint" is a term of angry; "not urgent" cancels hurry`},
		{"no rush", "normal: "},
	} {
		got := c.Classify(schemas.Message{Text: test.text})
		if s := string(got.Urgency) + ": " + got.Reason; s != test.want {
			t.Errorf("%q: got %s, want %s", test.text, s, test.want)
		}
		if strings.Contains(test.text, "rush") && got.Has("hurry") {
			t.Errorf("%q: a cancelled entry is among the keywords", test.text)
		}
	}
}

func TestClassifyCancelsAcrossSubjectAndText(t *testing.T) {
	t.Parallel()
	c := compile(t, classify.Entry{Name: "hurry", Urgency: schemas.UrgencyCritical, Terms: terms(t, "urgent"), Unless: terms(t, "no rush")})
	if got := c.Classify(schemas.Message{Subject: "Urgent", Text: "no rush"}); got.Urgency != schemas.UrgencyNormal {
		t.Errorf("got %q, want normal", got.Urgency)
	}
	if got := c.Classify(schemas.Message{Subject: "no", Text: "rush, it is urgent"}); got.Urgency != schemas.UrgencyCritical {
		t.Errorf("got %q, want critical: a phrase does not go on from the subject into the text", got.Urgency)
	}
}

// T-02, T-04.
func TestDefaultVocabulary(t *testing.T) {
	t.Parallel()
	c := compile(t, classify.Default()...)
	for _, test := range []struct {
		text, category string
		urgency        schemas.Urgency
		keywords       string
	}{
		{"What is my order status?", "orders", schemas.UrgencyNormal, "order_status"},
		{"Where's my parcel? I have a tracking number.", "orders", schemas.UrgencyNormal, "order_status order_status"},
		{"Wo ist meine Bestellung?", "orders", schemas.UrgencyNormal, "order_status"},
		{"Is the servo still under warranty?", "warranty", schemas.UrgencyNormal, "warranty"},
		{"Ist das ein Garantiefall?", "warranty", schemas.UrgencyNormal, "warranty"},
		{"Die gesetzliche Gewahrleistung", "warranty", schemas.UrgencyNormal, "warranty"},
		{"I need troubleshooting: the receiver won't bind", "technical", schemas.UrgencyNormal, "troubleshooting troubleshooting"},
		{"Der Motor springt nicht an", "technical", schemas.UrgencyNormal, "troubleshooting"},
		{"This is a complaint", "", schemas.UrgencyHigh, "complaint"},
		{"I am complaining", "", schemas.UrgencyHigh, "complaint"},
		{"Ich möchte mich beschweren", "", schemas.UrgencyHigh, "complaint"},
		{"URGENT!!!", "", schemas.UrgencyCritical, "urgent"},
		{"please answer ASAP", "", schemas.UrgencyCritical, "urgent"},
		{"Es eilt sehr, bitte dringend", "", schemas.UrgencyCritical, "urgent urgent"},
		{"It is not urgent", "", schemas.UrgencyNormal, ""},
		{"Eilt nicht.", "", schemas.UrgencyNormal, ""},
		{"I have no complaints at all", "", schemas.UrgencyNormal, ""},
		{"Urgent complaint: where is my order", "orders", schemas.UrgencyCritical, "urgent complaint order_status"},
		{"Do you have purple propellers? The detergent in the insurgent article", "", schemas.UrgencyNormal, ""},
	} {
		got := c.Classify(schemas.Message{Text: test.text})
		var names []string
		for _, k := range got.Keywords {
			names = append(names, k.Name)
		}
		if s := strings.Join(names, " "); got.Category != test.category || got.Urgency != test.urgency || s != test.keywords {
			t.Errorf("%q: got %q, %s, %q; want %q, %s, %q", test.text, got.Category, got.Urgency, s, test.category, test.urgency, test.keywords)
		}
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := classify.New([]classify.Entry{
		{Terms: terms(t, "x")},
		{Name: "a", Terms: terms(t, "x")},
		{Name: "a", Terms: terms(t, "y")},
		{Name: "b"},
		{Name: "c", Terms: terms(t, "x"), Urgency: "soon"},
	})
	want := "an entry has no name\nentry a stands twice\nentry b has no terms\nentry c: no urgency is called \"soon\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseTermRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", " ", "!?", "*", "ab*", "a*b", "foo*bar", "*foo", "foo**", "foo *", strings.Repeat("x", 65), "a b c d e f g h i", "\u200d",
	} {
		if got, err := classify.ParseTerm(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
	got := terms(t, "Won't  Stärt*")[0]
	if got.String() != "Won't  Stärt*" || !got.HasStar() {
		t.Errorf("got %q, star %v", got, got.HasStar())
	}
}

func TestFold(t *testing.T) {
	t.Parallel()
	c := compile(t)
	if got := string(c.Fold([]byte("> "), "  Où est-ce\tma  COMMANDE ? ½ 42")); got != "> ou est ce ma commande 12 42 " {
		t.Errorf("got %q", got)
	}
}

func TestClassifyFindsEachOfMany(t *testing.T) {
	t.Parallel()
	// More terms than the first table holds, sharing beginnings, as words and as prefixes.
	var entries []classify.Entry
	for i := range 3000 {
		entries = append(entries, classify.Entry{
			Name: fmt.Sprint("e", i), Terms: terms(t, fmt.Sprintf("part %d of %d", i, i%7), fmt.Sprintf("pre%d*", i)),
		})
	}
	c := compile(t, entries...)
	for i := range 3000 {
		m := schemas.Message{Text: fmt.Sprintf("the part %d of %d", i, i%7)}
		if got := c.Classify(m); len(got.Keywords) != 1 || got.Keywords[0].Name != fmt.Sprint("e", i) {
			t.Fatalf("%q: got %v", m.Text, got.Keywords)
		}
	}
	m := schemas.Message{Text: "pre299x"}
	want := []string{"e2/pre2*: pre299x", "e29/pre29*: pre299x", "e299/pre299*: pre299x"}
	if diff := cmp.Diff(want, found(m, c.Classify(m))); diff != "" {
		t.Error(diff)
	}
	if got := len(c.Entries()); got != 3000 {
		t.Errorf("got %d entries", got)
	}
}

func TestClassifyBoundsKeywordsButNotEntries(t *testing.T) {
	t.Parallel()
	many := classify.Entry{Name: "many", Category: "many"}
	var text strings.Builder
	for i := range 500 {
		many.Terms = append(many.Terms, terms(t, fmt.Sprint("word", i))...)
		fmt.Fprintf(&text, "word%d ", i)
	}
	c := compile(t, many, classify.Entry{Name: "last", Urgency: schemas.UrgencyCritical, Terms: terms(t, "urgent")})
	got := c.Classify(schemas.Message{Text: text.String() + "urgent"})
	if len(got.Keywords) != 100 || !got.Has("last") || !got.Has("many") || got.Urgency != schemas.UrgencyCritical {
		t.Errorf("got %d keywords, last %v, %s", len(got.Keywords), got.Has("last"), got.Urgency)
	}
}

func TestClassifyIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := compile(t, classify.Default()...)
	m := schemas.Message{Text: "URGENT: where is my order? The warranty, a complaint."}
	want := c.Classify(m)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				if diff := cmp.Diff(want, c.Classify(m)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
	group.Wait()
}

func TestClassifyAllocatesNothingWithoutHits(t *testing.T) {
	var entries []classify.Entry
	for i := range 2000 {
		entries = append(entries, classify.Entry{Name: fmt.Sprint(i), Terms: terms(t, fmt.Sprintf("zz%d", i), fmt.Sprintf("hello zz%d", i))})
	}
	c := compile(t, entries...)
	m := schemas.Message{Subject: "Hello", Text: "Größe, ﬁn, ΛΟΓΟΣ 한국 hello " + strings.Repeat("nothing of this is known ", 50)}
	if got := testing.AllocsPerRun(20, func() { c.Classify(m) }); got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

// FuzzClassify: no panic, spans within the text, the same answer twice.
func FuzzClassify(f *testing.F) {
	c := compile(f, classify.Default()...)
	for _, s := range []string{"URGENT order status", "cafe\u0301 \u200d\xff\x00", "garantiexx 𝐮𝐫𝐠𝐞𝐧𝐭 ﷺ", strings.Repeat("urgent ", 300)} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, subject, text string) {
		m := schemas.Message{Subject: subject, Text: text}
		got := c.Classify(m)
		for _, k := range got.Keywords {
			in := text
			if k.In == "subject" {
				in = subject
			}
			if k.Start < 0 || k.Start >= k.End || k.End > len(in) {
				t.Fatalf("span %d to %d of %d bytes", k.Start, k.End, len(in))
			}
		}
		if diff := cmp.Diff(got, c.Classify(m)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzParseTerm: a term that is accepted finds itself.
func FuzzParseTerm(f *testing.F) {
	for _, s := range []string{"order status", "garantie*", "ﬁx ß*", "İı", "a\u0301*b", "한국 ½"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := classify.ParseTerm(s)
		if err != nil {
			return
		}
		c := compile(t, classify.Entry{Name: "e", Terms: []classify.Term{parsed}})
		if got := c.Classify(schemas.Message{Text: s}); !got.Has("e") {
			t.Fatalf("%q does not find itself", s)
		}
	})
}
