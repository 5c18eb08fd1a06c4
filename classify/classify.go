// Package classify reads what a message is about: keywords, category, urgency,
// each with the words it was read from.
//
// A vocabulary is matched by whole words and phrases. The text is folded, split
// into words and hashed in one pass, and a trie of word hashes finds the terms:
// the cost does not grow with their number. The package is pure; a Classifier is
// immutable and safe for concurrent use.
package classify

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"switchboard/schemas"
)

// maxKeywords is how many keywords a classification lists, one of each entry first.
// For category and urgency all terms count, listed or not.
const maxKeywords = 100

// An Entry is one entry of a vocabulary: terms, and what a message is that has one
// of them.
type Entry struct {
	Name string
	// Category and Urgency are what the terms stand for; either may be empty.
	Category string
	Urgency  schemas.Urgency
	Terms    []Term
	// Unless are terms that cancel the entry wherever they stand in the message.
	Unless []Term
}

// A Classifier is a compiled vocabulary.
type Classifier struct {
	folder  *folder
	trie    trie
	entries []entry
	// categories in the order of the vocabulary, which decides between equals.
	categories []string
	terms      []term
}

type entry struct {
	name     string
	category int // -1 for none
	urgency  schemas.Urgency
}

type term struct {
	text   string
	entry  int
	words  int
	unless bool
}

// New compiles a vocabulary. Its order matters: of two categories with the same
// evidence the first wins. The error names every entry that cannot be used.
func New(entries []Entry) (*Classifier, error) {
	c := &Classifier{folder: newFolder(), trie: newTrie()}
	var problems []error
	names := map[string]bool{}
	for _, e := range entries {
		switch {
		case e.Name == "":
			problems = append(problems, errors.New("an entry has no name"))
		case names[e.Name]:
			problems = append(problems, fmt.Errorf("entry %s stands twice", e.Name))
		case len(e.Terms) == 0:
			problems = append(problems, fmt.Errorf("entry %s has no terms", e.Name))
		case e.Urgency != "" && e.Urgency.Band() == 1 && e.Urgency != schemas.UrgencyNormal:
			problems = append(problems, fmt.Errorf("entry %s: no urgency is called %q", e.Name, e.Urgency))
		}
		names[e.Name] = true
		c.add(e)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	c.trie.build()
	return c, nil
}

func (c *Classifier) add(e Entry) {
	category := -1
	if e.Category != "" {
		if category = slices.Index(c.categories, e.Category); category < 0 {
			category = len(c.categories)
			c.categories = append(c.categories, e.Category)
		}
	}
	c.entries = append(c.entries, entry{name: e.Name, category: category, urgency: e.Urgency})
	for i, t := range append(slices.Clip(e.Terms), e.Unless...) {
		if len(t.words) == 0 {
			continue // the zero Term finds nothing
		}
		c.trie.add(t.words, len(c.terms))
		c.terms = append(c.terms, term{
			text: t.text, entry: len(c.entries) - 1, words: len(t.words), unless: i >= len(e.Terms),
		})
	}
}

// Entries are the names of the vocabulary's entries, in its order.
func (c *Classifier) Entries() []string {
	names := make([]string, len(c.entries))
	for i, e := range c.entries {
		names[i] = e.name
	}
	return names
}

// Categories are the categories that a message may get, in the vocabulary's order.
func (c *Classifier) Categories() []string { return slices.Clone(c.categories) }

// Where a term was found.
const (
	inSubject = iota
	inText
)

// Classify reads subject and text of m. It takes time in proportion to them,
// whatever they are made of.
func (c *Classifier) Classify(m schemas.Message) schemas.Classification {
	var found hits
	c.find(m.Subject, inSubject, &found)
	c.find(m.Text, inText, &found)
	out := schemas.Classification{Urgency: schemas.UrgencyNormal}
	if len(found.list) == 0 {
		return out
	}
	kept, cancelled := c.cancel(found.list)
	out.Category = c.categoryOf(kept)
	slices.SortFunc(kept, byText)
	c.urgencyOf(kept, cancelled, &out)
	if len(kept) > maxKeywords {
		kept = c.thin(kept)
	}
	if len(kept) > 0 {
		out.Keywords = make([]schemas.Keyword, 0, len(kept))
	}
	for _, h := range kept {
		out.Keywords = append(out.Keywords, schemas.Keyword{
			Name: c.entries[c.terms[h.term].entry].name, Term: c.terms[h.term].text,
			In: [...]string{"subject", "text"}[h.in], Start: h.start, End: h.end,
		})
	}
	return out
}

// byText is the order of the text.
func byText(a, b hit) int {
	return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.start, b.start), cmp.Compare(a.term, b.term))
}

// thin keeps as many hits as are listed: the first of each entry before any other.
func (c *Classifier) thin(kept []hit) []hit {
	first := map[int]bool{}
	slices.SortStableFunc(kept, func(a, b hit) int {
		return cmp.Compare(c.terms[a.term].entry, c.terms[b.term].entry)
	})
	var listed, others []hit
	for _, h := range kept {
		if e := c.terms[h.term].entry; !first[e] {
			first[e] = true
			listed = append(listed, h)
		} else {
			others = append(others, h)
		}
	}
	slices.SortFunc(listed, byText)
	slices.SortFunc(others, byText)
	listed = append(listed, others...)[:maxKeywords]
	slices.SortFunc(listed, byText)
	return listed
}

// cancel moves the hits of cancelled entries behind the others. cancelled are the
// terms that did it, where they took an urgency away, in the order of the
// vocabulary.
func (c *Classifier) cancel(all []hit) (kept, cancelled []hit) {
	byEntry := func(a, b hit) int {
		x, y := c.terms[a.term], c.terms[b.term]
		return cmp.Or(cmp.Compare(x.entry, y.entry), cmp.Compare(btoi(y.unless), btoi(x.unless)),
			cmp.Compare(a.in, b.in), cmp.Compare(a.start, b.start))
	}
	slices.SortFunc(all, byEntry)
	kept = all[:0]
	var gone []hit
	for i := 0; i < len(all); {
		end := i + 1
		for end < len(all) && c.terms[all[end].term].entry == c.terms[all[i].term].entry {
			end++
		}
		// What cancels an entry is sorted to its front.
		if c.terms[all[i].term].unless {
			if !c.terms[all[end-1].term].unless {
				gone = append(gone, all[i])
			}
		} else {
			kept = append(kept, all[i:end]...)
		}
		i = end
	}
	return kept, gone
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// categoryOf is the category with the most evidence: each term counts once, as
// much as it has words. kept is in the order of entries; it is sorted anew.
func (c *Classifier) categoryOf(kept []hit) string {
	slices.SortFunc(kept, func(a, b hit) int {
		return cmp.Compare(c.entries[c.terms[a.term].entry].category, c.entries[c.terms[b.term].entry].category)
	})
	best, most := -1, 0
	now, sum := -1, 0
	for _, h := range kept {
		t := c.terms[h.term]
		category := c.entries[t.entry].category
		if category != now {
			now, sum = category, 0
		}
		if sum += t.words; category >= 0 && sum > most {
			best, most = category, sum
		}
	}
	if best < 0 {
		return ""
	}
	return c.categories[best]
}

// urgencyOf sets the highest urgency of kept, which is in the order of the text,
// and why it is that.
func (c *Classifier) urgencyOf(kept, cancelled []hit, out *schemas.Classification) {
	said := schemas.Urgency("")
	for _, h := range kept {
		t := c.terms[h.term]
		e := c.entries[t.entry]
		if e.urgency != "" && (said == "" || e.urgency.Band() > said.Band()) {
			said = e.urgency
			out.Urgency, out.Reason = said, `"`+t.text+`" is a term of `+e.name
		}
	}
	for _, h := range cancelled {
		t := c.terms[h.term]
		if e := c.entries[t.entry]; e.urgency != "" && e.urgency.Band() > out.Urgency.Band() {
			if out.Reason != "" {
				out.Reason += "; "
			}
			out.Reason += `"` + t.text + `" cancels ` + e.name
		}
	}
}
