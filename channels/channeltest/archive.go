package channeltest

import (
	"bytes"
	"strings"
)

// An archive is a text file in sections: a comment, then "-- name --" lines with
// the text of each section below them.
type archive struct {
	comment  []byte
	sections []section
}

type section struct {
	name string
	data []byte
}

func parseArchive(text []byte) archive {
	var a archive
	for line := range bytes.SplitAfterSeq(text, []byte("\n")) {
		trimmed := strings.TrimSpace(string(line))
		name, ok := strings.CutPrefix(trimmed, "-- ")
		if ok && strings.HasSuffix(name, " --") {
			a.sections = append(a.sections, section{name: strings.TrimSpace(strings.TrimSuffix(name, "--"))})
			continue
		}
		if n := len(a.sections); n > 0 {
			a.sections[n-1].data = append(a.sections[n-1].data, line...)
		} else {
			a.comment = append(a.comment, line...)
		}
	}
	return a
}

func (a archive) format() []byte {
	b := bytes.Clone(a.comment)
	for _, s := range a.sections {
		b = append(b, "-- "+s.name+" --\n"...)
		b = append(b, s.data...)
		if len(s.data) > 0 && s.data[len(s.data)-1] != '\n' {
			b = append(b, '\n')
		}
	}
	return b
}
