package ledger

import (
	"strings"
	"unicode"

	"switchboard/schemas"
)

// Full text stands in this file alone, for it is where databases differ: how it is
// stored, what is written into it, how it is deleted, how a query is put.

// textSchema makes the full-text index: of the words only, for the text itself is
// in the event; deleting therefore takes the text once more.
const textSchema = `CREATE VIRTUAL TABLE IF NOT EXISTS ft USING fts5(t, content='', columnsize=0, detail=full,
	tokenize="unicode61 remove_diacritics 2")`

const deleteText = "INSERT INTO ft(ft, rowid, t) VALUES ('delete', $1, $2)"

// matches selects the messages found by the expression in parameter mark.
func matches(mark string) string {
	return "SELECT rowid FROM ft WHERE ft MATCH " + mark
}

// mostText is how many bytes of a text are searched.
const mostText = 32 << 10

// document returns the words under which a message is found. It depends on nothing
// but the event, since deleting has to say them again; a change here is a new version.
func document(m *schemas.Message) string {
	text := m.Text
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "")
	}
	var b strings.Builder
	b.Grow(len(text) + len(m.Subject) + 128)
	for _, s := range [...]string{m.Subject, text, m.Requester.Name, m.VendorID} {
		b.WriteString(s)
		b.WriteByte('\n')
	}
	for _, id := range m.Requester.Identities {
		b.WriteString(id.Value)
		b.WriteByte('\n')
	}
	for _, f := range m.Fields {
		b.WriteString(f.Value)
		b.WriteByte('\n')
	}
	// FTS5 would take what follows for the end of the text.
	return strings.ReplaceAll(b.String(), "\x00", " ")
}

// expression puts what a person typed as a query: every word must be there, the
// last one may be a beginning, words in quotation marks stand together. It is ""
// where nothing can be searched for.
func expression(typed string) string {
	var terms []string
	for i, part := range strings.Split(typed, `"`) {
		words := strings.FieldsFunc(part, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r)
		})
		if len(words) == 0 {
			continue
		}
		if i%2 == 1 {
			terms = append(terms, `"`+strings.Join(words, " ")+`"`)
			continue
		}
		for _, w := range words {
			terms = append(terms, `"`+w+`"`)
		}
	}
	if len(terms) == 0 {
		return ""
	}
	if !strings.HasSuffix(strings.TrimSpace(typed), `"`) {
		terms[len(terms)-1] += "*"
	}
	return strings.Join(terms, " ")
}
