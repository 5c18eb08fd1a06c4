package classify

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxWords is how many words a term may have.
const maxWords = 8

// minPrefix is how many letters must stand before a star.
const minPrefix = 3

// A Term is a word or a phrase to be found in messages, and a promise that it can
// be found. It is made by ParseTerm.
//
// A term is found as whole words, whatever their case, their diacritics and the
// punctuation between them; a word that ends with a star stands for all that
// begin with it.
type Term struct {
	text  string
	words []word
}

type word struct {
	text   string
	prefix bool
}

// ParseTerm reads a term as it stands in a rules file.
func ParseTerm(s string) (Term, error) {
	t := Term{text: strings.Clone(s)}
	stars := 0
	var w reader
	for i, ok := w.next(s, 0); ok; i, ok = w.next(s, i) {
		prefix := strings.HasPrefix(s[w.end:], "*")
		if prefix {
			stars++
			if after := s[w.end+1:]; after != "" && after[0] != ' ' {
				return Term{}, errors.New("a star may stand only at the end of a word")
			}
		}
		switch {
		case w.long:
			return Term{}, fmt.Errorf("a word may have at most %d bytes", maxWord)
		case prefix && utf8.RuneCount(w.word()) < minPrefix:
			return Term{}, fmt.Errorf("at least %d letters must stand before a star", minPrefix)
		case len(t.words) == maxWords:
			return Term{}, fmt.Errorf("a term may have at most %d words", maxWords)
		}
		t.words = append(t.words, word{text: string(w.word()), prefix: prefix})
	}
	switch {
	case len(t.words) == 0:
		return Term{}, errors.New("a term needs a letter or a digit")
	case strings.Count(s, "*") != stars:
		return Term{}, errors.New("a star may stand only at the end of a word")
	}
	return t, nil
}

// UnmarshalText is ParseTerm.
func (t *Term) UnmarshalText(text []byte) error {
	parsed, err := ParseTerm(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

// String is the term as it was written.
func (t Term) String() string { return t.text }

// Words is the term as Classifier.Fold would write it, for terms without stars.
func (t Term) Words() string {
	var b strings.Builder
	for _, w := range t.words {
		b.WriteString(w.text)
		b.WriteByte(' ')
	}
	return b.String()
}

// HasStar reports whether a word of the term stands for all that begin with it.
func (t Term) HasStar() bool {
	for _, w := range t.words {
		if w.prefix {
			return true
		}
	}
	return false
}
