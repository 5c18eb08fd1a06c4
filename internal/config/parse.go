package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is how large a configuration file may be.
const maxFile = 1 << 20

// A place is where something stands in a file, from 1.
type place struct{ line, col int }

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

// parse reads the one document of a file. It returns nil for a file that cannot be
// read, having said why; an empty file is an empty mapping.
func (b *binder) parse(source []byte) *yaml.Node {
	source = bytes.TrimPrefix(source, []byte("\uFEFF"))
	if where, problem := unreadable(source); problem != "" {
		b.report(where, "", problem)
		return nil
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(source))
	if err := decode(d, &doc); errors.Is(err, io.EOF) {
		return b.nothing()
	} else if err != nil {
		b.broken(source, err)
		return nil
	}
	switch err := decode(d, &more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		b.broken(source, err)
		return nil
	default:
		b.report(placeOf(&more), "", "only one document is read; drop the line ---")
		return nil
	}
	if len(doc.Content) != 1 {
		return b.nothing()
	}
	if root := doc.Content[0]; !isNull(root) {
		b.left = 3*count(root) + unfolded // an instance is read twice, for its kind first
		return root
	}
	return b.nothing()
}

// nothing is what an empty file holds.
func (b *binder) nothing() *yaml.Node {
	b.left = 1
	return &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
}

// count is how many values stand in the file itself.
func count(n *yaml.Node) int {
	all := 1
	for _, below := range n.Content {
		all += count(below)
	}
	return all
}

// decode reads one document. The library panics on some broken input, which must
// not end the program.
func decode(d *yaml.Decoder, into *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("this is not YAML")
		}
	}()
	return d.Decode(into)
}

// unreadable finds what no YAML file has: other encodings, control characters.
func unreadable(source []byte) (where place, problem string) {
	if len(source) > maxFile {
		return place{}, fmt.Sprintf("the file is larger than %s", Size(maxFile))
	}
	where = place{1, 1}
	for i := 0; i < len(source); {
		r, size := utf8.DecodeRune(source[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return where, "this is not UTF-8 text"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7F:
			return where, fmt.Sprintf("control character %U", r)
		case r == '\n':
			where = place{where.line + 1, 0}
		}
		where.col++
		i += size
	}
	return place{}, ""
}

// broken reports what the library says of a file that is not YAML.
func (b *binder) broken(source []byte, err error) {
	where, message := syntax(source, err)
	b.report(where, "", message)
}

var (
	syntaxLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)
	quotedText = regexp.MustCompile(`\s*'[^']*'`)
	noAnchor   = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
)

// syntax words what the library says. What it quotes may be a secret, so only
// punctuation stays.
func syntax(source []byte, err error) (where place, message string) {
	text := err.Error()
	where = place{1, 1}
	if m := noAnchor.FindStringSubmatch(text); m != nil {
		before, _, _ := bytes.Cut(source, []byte("*"+m[1]))
		line := before[bytes.LastIndexByte(before, '\n')+1:]
		where = place{1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(line)}
		return where, "not YAML: a value that begins with * needs quotes"
	}
	m := syntaxLine.FindStringSubmatch(text)
	if n, err := strconv.Atoi(m[1]); err == nil {
		where.line = max(1, n)
	}
	text, _, _ = strings.Cut(text[len(m[0]):], "\n")
	text = quotedText.ReplaceAllStringFunc(text, func(quoted string) string {
		if strings.ContainsFunc(quoted, unicode.IsLetter) || strings.ContainsFunc(quoted, unicode.IsNumber) {
			return ""
		}
		return quoted
	})
	return where, "not YAML: " + text
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
