// Package formdata reads what forms post, whatever they post it as, in their
// order and with their repetitions. It is shared by channels that receive forms.
package formdata

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"switchboard/schemas"
)

// Limits of one form; what exceeds them is named in Degraded and left out.
const (
	MaxFields = 200
	MaxFiles  = 10
	// MaxLinked is how many files Attach takes.
	MaxLinked = 100
	maxDepth  = 32
)

// ErrMediaType says that a body is not a form at all.
var ErrMediaType = errors.New("media type is not one of a form's")

// A Form is what somebody filled in. Names and values are UTF-8 without control
// characters but for line breaks (as "\n") and tabs in values. Fields without a
// value and file inputs without a file are left out.
type Form struct {
	Fields []schemas.Field
	Files  []schemas.Attachment
	// Degraded says what could not be read as it was meant, in words for an agent.
	Degraded []string

	charset string
	left    []string
}

// Read reads a body of one of the media types application/x-www-form-urlencoded,
// multipart/form-data, application/json (nested names are joined by dots) and
// text/plain (lines "name=value", or a text, which becomes the field plain).
func Read(contentType string, body []byte, plain string) (*Form, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, ErrMediaType
	}
	f := &Form{charset: params["charset"]}
	switch kind {
	case "application/x-www-form-urlencoded":
		f.readPairs(string(body))
	case "multipart/form-data":
		err = f.readParts(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	case "application/json":
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		err = f.readObject(dec)
	case "text/plain":
		f.readLines(string(body), plain)
	default:
		err = ErrMediaType
	}
	if err != nil {
		return nil, err
	}
	if n := len(f.left); n > 0 {
		f.Note(fmt.Sprintf("%d more were left out: %s", n, strings.Join(f.left[:min(n, 20)], ", ")))
	}
	return f, nil
}

// Note adds to Degraded what is not there yet.
func (f *Form) Note(what string) {
	if !slices.Contains(f.Degraded, what) {
		f.Degraded = append(f.Degraded, what)
	}
}

// Line makes one line of a value, without the marks that turn the direction of
// writing, and notes it if there were more.
func (f *Form) Line(value string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' {
			f.Note("line breaks in a field of one line became spaces")
		}
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, f.Text(value)))
}

// Text drops control characters but line breaks (as "\n") and tabs, and notes it.
func (f *Form) Text(value string) string {
	value = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(value)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			f.Note("control characters were removed")
			return -1
		}
		return r
	}, value)
}

// decode makes UTF-8 of a value in the charset of the form.
func (f *Form) decode(value string) string {
	if f.charset != "" && !strings.EqualFold(f.charset, "utf-8") {
		if enc, err := htmlindex.Get(f.charset); err == nil {
			if plain, err := enc.NewDecoder().String(value); err == nil {
				value = plain
			}
		}
	}
	if !utf8.ValidString(value) {
		f.Note("some characters could not be read")
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	return value
}

func (f *Form) add(name, value string) {
	name = f.Line(f.decode(name))
	value = strings.TrimRight(f.Text(f.decode(value)), "\n")
	switch {
	case value == "":
	case len(f.Fields) == MaxFields:
		f.left = append(f.left, name)
	default:
		f.Fields = append(f.Fields, schemas.Field{Name: name, Value: value})
	}
}

func (f *Form) readPairs(body string) {
	for pair := range strings.SplitSeq(body, "&") {
		if charset, ok := strings.CutPrefix(pair, "_charset_="); ok {
			f.charset = charset
		}
	}
	unescape := func(s string) string {
		plain, err := url.QueryUnescape(s)
		if err != nil {
			f.Note("a field was not encoded properly")
			return s
		}
		return plain
	}
	for pair := range strings.SplitSeq(body, "&") {
		if name, value, _ := strings.Cut(pair, "="); name != "_charset_" {
			f.add(unescape(name), unescape(value))
		}
	}
}

func (f *Form) readParts(r *multipart.Reader) error {
	for n := 0; ; n++ {
		part, err := r.NextPart()
		switch {
		case err == io.EOF: //nolint:errorlint // a form that is cut off wraps it
			return nil
		case err != nil && n == 0:
			return errors.New("no part of the form is readable")
		case err != nil:
			f.Note("the end of the form could not be read")
			return nil
		}
		data, err := io.ReadAll(part)
		if err != nil {
			f.Note("the end of the form could not be read")
		}
		_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition")) // unreadable: a field without a name
		if name, ok := params["filename"]; !ok {
			f.add(part.FormName(), string(data))
		} else if name != "" || len(data) > 0 {
			f.addFile(name, part.Header.Get("Content-Type"), data)
		}
	}
}

func (f *Form) addFile(name, kind string, data []byte) {
	name = FileName(f.Line(f.decode(name)))
	if len(f.Files) == MaxFiles {
		f.left = append(f.left, name)
		return
	}
	kind = cmp.Or(strings.ToValidUTF8(kind, ""), http.DetectContentType(data))
	f.Files = append(f.Files, schemas.Attachment{Name: name, Type: kind, Size: int64(len(data)), Data: data})
}

// Attach adds a file that came as base64, or stands at an address of the web, or
// notes that neither is so. It takes up to MaxLinked of them.
func (f *Form) Attach(name, kind, data, address string) {
	file := schemas.Attachment{Name: FileName(name), Type: f.Line(kind)}
	content, err := base64.StdEncoding.DecodeString(data)
	u, bad := url.Parse(address)
	switch {
	case len(f.Files) == MaxLinked:
		f.Note(fmt.Sprintf("attachments after the first %d were left out", MaxLinked))
		return
	case err == nil && len(content) > 0:
		file.Data, file.Size = content, int64(len(content))
	case bad == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http"):
		file.Ref = u.String()
	default:
		f.Note("an attachment has neither data nor an address: " + file.Name)
		return
	}
	f.Files = append(f.Files, file)
}

// FileName makes a base name of at most 150 bytes of what a sender calls a file.
func FileName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
			return -1
		case r == '\\':
			return '/'
		}
		return r
	}, strings.ToValidUTF8(name, "\uFFFD"))
	name = path.Base(name)
	if name == "." || name == "/" || name == ".." {
		return "file"
	}
	return strings.ToValidUTF8(name[:min(len(name), 150)], "")
}

func (f *Form) readObject(dec *json.Decoder) error {
	tok, err := dec.Token()
	if err != nil || tok != json.Delim('{') {
		return errors.New("the body is not a JSON object")
	}
	if err := f.readNested(dec, true, nil); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// readNested reads the rest of an object or an array.
func (f *Form) readNested(dec *json.Decoder, object bool, at []string) error {
	if len(at) > maxDepth {
		return errors.New("the JSON is nested too deeply")
	}
	for i := 0; dec.More(); i++ {
		name := strconv.Itoa(i)
		if object {
			tok, err := dec.Token()
			if err != nil {
				return errors.New("the JSON is malformed")
			}
			name = fmt.Sprint(tok)
		}
		here := append(slices.Clip(at), name)
		tok, err := dec.Token()
		switch v := tok.(type) {
		case json.Delim:
			err = f.readNested(dec, v == '{', here)
		case nil:
		default:
			f.add(strings.Join(here, "."), fmt.Sprint(v))
		}
		if err != nil {
			return errors.New("the JSON is malformed or nested too deeply")
		}
	}
	if _, err := dec.Token(); err != nil {
		return errors.New("the JSON is cut off")
	}
	return nil
}

// readLines reads what a browser makes of enctype text/plain, or just a text.
func (f *Form) readLines(body, plain string) {
	name, value := "", ""
	for line := range strings.Lines(body) {
		key, rest, ok := strings.Cut(line, "=")
		if ok && isName(key) && (name != "" || value == "") {
			f.add(name, value)
			name, value = key, rest
			continue
		}
		value += line
	}
	f.add(cmp.Or(name, plain), value)
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.[]", r)
	})
}
