package router

import (
	"bytes"
	"slices"
	"strings"

	"switchboard/schemas"
)

// A Condition holds if everything that is set in it holds; of a list, one is
// enough. The zero Condition always holds.
type Condition struct {
	// Channel and Kind are names, compared as they are.
	Channel []string
	Kind    []string
	// Text and Subject hold words and phrases that stand in the message as whole
	// words, in any case.
	Text    []string
	Subject []string
	// Domain is of any of the requester's e-mail addresses; *.acme.example stands for
	// all below acme.example. Email is a whole address. Case does not matter.
	Domain []string
	Email  []string
	// Name holds words and phrases of the requester's name.
	Name []string
	// Urgency, Category and Keyword are what the classifier said.
	Urgency  []schemas.Urgency
	Category []string
	Keyword  []string
	// Attachments says whether there are any; nil does not care.
	Attachments *bool
	// All, Any and Not combine conditions. Not is nil or must not hold.
	All []Condition
	Any []Condition
	Not *Condition
}

// A test is a compiled condition.
type test struct {
	holds func(f *facts) bool
	// reads says that holds reads the message's words, which costs more than all else.
	reads bool
	// why says in words what held; it is asked only if holds was true, and shows
	// nothing of the message but what the rule names.
	why func(f *facts) string
}

// facts is a message while it is matched. Its words are read when the first
// condition asks for them.
type facts struct {
	message *schemas.Message
	class   *schemas.Classification
	words   [places]words
}

// Places that have words.
const (
	inText = iota
	inSubject
	inName
	places
)

type words struct {
	read bool
	// text is each word between two spaces.
	text []byte
}

// keep is how much memory for words is kept from one message to the next.
const keep = 64 << 10

func (f *facts) reset() {
	f.message, f.class = nil, nil
	for i := range f.words {
		w := &f.words[i]
		w.read, w.text = false, w.text[:0]
		if cap(w.text) > keep {
			w.text = nil
		}
	}
}

func (f *facts) in(place int, fold Fold) []byte {
	w := &f.words[place]
	if !w.read {
		w.read = true
		w.text = fold(append(w.text[:0], ' '), [places]string{f.message.Text, f.message.Subject, f.message.Requester.Name}[place])
	}
	return w.text
}

// compile returns nil for a condition that always holds.
func compile(c Condition, fold Fold) *test {
	tests := slices.Concat(
		oneOf("channel", c.Channel, func(f *facts, v string) bool { return f.message.Channel == v }),
		oneOf("kind", c.Kind, func(f *facts, v string) bool { return f.message.Kind == v }),
		phrases("text has", inText, c.Text, fold),
		phrases("subject has", inSubject, c.Subject, fold),
		oneOf("requester.domain", c.Domain, hasDomain),
		oneOf("requester.email", c.Email, hasEmail),
		phrases("requester.name has", inName, c.Name, fold),
		oneOf("urgency", c.Urgency, func(f *facts, v schemas.Urgency) bool { return f.class.Urgency == v }),
		oneOf("category", c.Category, func(f *facts, v string) bool { return f.class.Category == v }),
		oneOf("keyword", c.Keyword, hasKeyword),
	)
	if c.Attachments != nil {
		tests = append(tests, attachments(*c.Attachments))
	}
	for _, part := range c.All {
		if t := compile(part, fold); t != nil {
			tests = append(tests, *t)
		}
	}
	if len(c.Any) > 0 {
		tests = append(tests, anyOf(c.Any, fold))
	}
	if c.Not != nil {
		tests = append(tests, negate(*c.Not, fold))
	}
	switch len(tests) {
	case 0:
		return nil
	case 1:
		return &tests[0]
	default:
		return &test{holds: allHold(tests), why: whyAll(tests)}
	}
}

func allHold(tests []test) func(*facts) bool {
	var quick, slow []func(*facts) bool
	for _, t := range tests {
		if t.reads {
			slow = append(slow, t.holds)
		} else {
			quick = append(quick, t.holds)
		}
	}
	order := append(quick, slow...)
	return func(f *facts) bool {
		for _, holds := range order {
			if !holds(f) {
				return false
			}
		}
		return true
	}
}

func whyAll(tests []test) func(*facts) string {
	return func(f *facts) string {
		parts := make([]string, len(tests))
		for i := range tests {
			parts[i] = tests[i].why(f)
		}
		return strings.Join(parts, ", ")
	}
}

// oneOf tests one fact against a list, which may be empty: then there is no test.
func oneOf[T ~string](what string, list []T, is func(*facts, T) bool) []test {
	if len(list) == 0 {
		return nil
	}
	first := func(f *facts) int {
		for i := range list {
			if is(f, list[i]) {
				return i
			}
		}
		return -1
	}
	return []test{{
		holds: func(f *facts) bool { return first(f) >= 0 },
		why:   func(f *facts) string { return what + " " + string(list[first(f)]) },
	}}
}

// phrases tests whether one of the phrases stands in a place. A phrase without
// words stands nowhere.
func phrases(what string, place int, list []string, fold Fold) []test {
	if len(list) == 0 {
		return nil
	}
	folded := make([][]byte, len(list))
	for i, p := range list {
		folded[i] = fold([]byte{' '}, p)
	}
	first := func(f *facts) int {
		text := f.in(place, fold)
		for i, p := range folded {
			if len(p) > 1 && bytes.Contains(text, p) {
				return i
			}
		}
		return -1
	}
	return []test{{
		reads: true,
		holds: func(f *facts) bool { return first(f) >= 0 },
		why:   func(f *facts) string { return what + ` "` + list[first(f)] + `"` },
	}}
}

func hasDomain(f *facts, want string) bool {
	below, wild := strings.CutPrefix(want, "*")
	for _, id := range f.message.Requester.Identities {
		if id.Kind != schemas.Email {
			continue
		}
		domain := id.Value[strings.LastIndexByte(id.Value, '@')+1:]
		if len(domain) == len(id.Value) {
			continue // not an address
		}
		if !wild && strings.EqualFold(domain, want) {
			return true
		}
		if at := len(domain) - len(below); wild && at > 0 && strings.EqualFold(domain[at:], below) {
			return true
		}
	}
	return false
}

func hasEmail(f *facts, want string) bool {
	for _, id := range f.message.Requester.Identities {
		if id.Kind == schemas.Email && strings.EqualFold(id.Value, want) {
			return true
		}
	}
	return false
}

func hasKeyword(f *facts, want string) bool {
	for i := range f.class.Keywords {
		if f.class.Keywords[i].Name == want {
			return true
		}
	}
	return false
}

func attachments(want bool) test {
	why := "no attachments"
	if want {
		why = "has attachments"
	}
	return test{
		holds: func(f *facts) bool { return len(f.message.Attachments) > 0 == want },
		why:   func(*facts) string { return why },
	}
}

func anyOf(parts []Condition, fold Fold) test {
	var tests []test
	for _, part := range parts {
		t := compile(part, fold)
		if t == nil {
			t = &test{holds: func(*facts) bool { return true }, why: func(*facts) string { return "always" }}
		}
		tests = append(tests, *t)
	}
	first := func(f *facts) int {
		return slices.IndexFunc(tests, func(t test) bool { return t.holds(f) })
	}
	return test{
		holds: func(f *facts) bool { return first(f) >= 0 },
		why:   func(f *facts) string { return tests[first(f)].why(f) },
	}
}

// negate tests that c does not hold. What c would have needed is said once, for
// there is nothing in the message to point at.
func negate(c Condition, fold Fold) test {
	t := compile(c, fold)
	why := "not (" + c.String() + ")"
	return test{
		holds: func(f *facts) bool { return t != nil && !t.holds(f) },
		why:   func(*facts) string { return why },
	}
}

// String is the condition in words, as it stands in the audit trail.
func (c Condition) String() string {
	var parts []string
	list := func(what string, values []string) {
		if len(values) > 0 {
			parts = append(parts, what+" "+strings.Join(values, " or "))
		}
	}
	list("channel", c.Channel)
	list("kind", c.Kind)
	list("text has", quoted(c.Text))
	list("subject has", quoted(c.Subject))
	list("requester.domain", c.Domain)
	list("requester.email", c.Email)
	list("requester.name has", quoted(c.Name))
	list("urgency", plain(c.Urgency))
	list("category", c.Category)
	list("keyword", c.Keyword)
	if c.Attachments != nil {
		parts = append(parts, attachments(*c.Attachments).why(nil))
	}
	for _, part := range c.All {
		parts = append(parts, part.String())
	}
	if len(c.Any) > 0 {
		options := make([]string, len(c.Any))
		for i, part := range c.Any {
			options[i] = "(" + part.String() + ")"
		}
		parts = append(parts, strings.Join(options, " or "))
	}
	if c.Not != nil {
		parts = append(parts, "not ("+c.Not.String()+")")
	}
	if len(parts) == 0 {
		return "always"
	}
	return strings.Join(parts, ", ")
}

func quoted(list []string) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = `"` + v + `"`
	}
	return out
}

func plain(list []schemas.Urgency) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
