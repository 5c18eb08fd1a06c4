package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Severity says how much a diagnostic matters.
type Severity int

// An Error refuses the file; a Warning does not.
const (
	Error Severity = iota
	Warning
)

// A Diagnostic is one thing that is wrong with a file. It never repeats a value
// that may be a secret.
type Diagnostic struct {
	File string
	// Line and Col count from 1; both are 0 where the file as a whole is meant.
	Line, Col int
	// Path is where in the file, such as channels.shop-sms.auth_token.
	Path     string
	Message  string
	Severity Severity
}

// String is the diagnostic on one line: file:line:col: path: message.
func (d Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.File)
	if d.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", d.Line, d.Col)
	}
	if d.Severity == Warning {
		b.WriteString(": warning")
	}
	if d.Path != "" {
		b.WriteString(": " + d.Path)
	}
	return b.String() + ": " + d.Message
}

// Diagnostics is everything that is wrong with a file, in the order of the file.
// As an error it holds at least one Error.
type Diagnostics []Diagnostic //nolint:errname // it lists warnings too, which are no errors

// Error lists the diagnostics, one on each line.
func (d Diagnostics) Error() string {
	lines := make([]string, len(d))
	for i := range d {
		lines[i] = d[i].String()
	}
	return strings.Join(lines, "\n")
}

// split sorts d and returns its warnings, and all of it as an error if there is
// an Error in it.
func (d Diagnostics) split() (warnings Diagnostics, err error) {
	slices.SortStableFunc(d, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	for _, one := range d {
		if one.Severity == Error {
			return nil, d
		}
	}
	return d, nil
}

// meant returns "; did you mean x?" for the known word nearest to word, or a list
// of the known words if that is short, or nothing.
func meant(word string, known []string) string {
	best, nearest := "", 1+len(word)/3
	for _, k := range known {
		if d := distance(strings.ToLower(word), k); d < nearest {
			best, nearest = k, d
		}
	}
	switch {
	case best != "":
		return "; did you mean " + best + "?"
	case len(known) == 1:
		return "; there is only " + known[0]
	case len(known) > 1 && len(known) <= 8:
		return "; there are " + strings.Join(known, ", ")
	default:
		return ""
	}
}

// distance counts the letters to insert, drop, change or swap between a and b.
func distance(a, b string) int {
	if len(a) > 60 || len(b) > 60 {
		return 60
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
