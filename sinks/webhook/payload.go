package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
	"time"

	"switchboard/adapter/fault"
	"switchboard/schemas"
)

// maxFiles bounds the content of the files inside one request, in bytes.
const maxFiles = 10 << 20

// event is the canonical body, and what a template sees. Nothing in it depends
// on when or how often it is sent.
type event struct {
	Type string `json:"type"`
	// Timestamp is the message's own time.
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

type data struct {
	Ticket  *ticket  `json:"ticket"`
	Comment *comment `json:"comment,omitempty"`
}

// ticket is the whole ticket in ticket.created, and the receiver's id alone in
// comment.added.
type ticket struct {
	ID  string `json:"id,omitempty"`
	URL string `json:"url,omitempty"`
	*schemas.Ticket
	Files []file `json:"files,omitempty"`
}

type comment struct {
	*schemas.Comment
	Files []file `json:"files,omitempty"`
}

// file is an attachment with its content in base64, or the reason why not.
type file struct {
	Key     string `json:"key,omitempty"`
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"`
	Size    int64  `json:"size,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Data    []byte `json:"data,omitempty"`
	Omitted string `json:"omitted,omitempty"`
}

// pack reads the files' content, in order, as far as it fits. An error is the
// host's own store failing: nothing was sent.
func pack(in []schemas.File) ([]file, error) {
	var out []file
	left := int64(maxFiles)
	for _, f := range in {
		one := file{Key: f.Key, Name: f.Name, Type: f.Type, Size: f.Size, SHA256: f.SHA256}
		switch {
		case f.Open == nil:
			one.Omitted = "the content is not at hand"
		case f.Size > left:
			one.Omitted = "too large to travel inside the request"
		default:
			content, err := read(f, left)
			if err != nil {
				return nil, fault.NotDone(fmt.Errorf("read attachment: %w", err))
			}
			if int64(len(content)) > left {
				one.Omitted = "too large to travel inside the request"
				break
			}
			left -= int64(len(content))
			one.Data = content
		}
		out = append(out, one)
	}
	return out, nil
}

func read(f schemas.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, most+1))
}

// encode makes the body, the same bytes for the same event.
func (s *sink) encode(e event) ([]byte, error) {
	if s.body == nil {
		b, err := json.Marshal(e)
		return b, fault.Permanent(err)
	}
	var b bytes.Buffer
	if err := s.body.Execute(&b, e); err != nil {
		return nil, fault.Permanent(fmt.Errorf("fill body template: %w", err))
	}
	if strings.Contains(s.cfg.ContentType, "json") && !json.Valid(b.Bytes()) {
		return nil, fault.Permanentf("fill body template: the result is not JSON; use toJSON for values")
	}
	return b.Bytes(), nil
}

func parseTemplate(text string) (*template.Template, error) {
	return template.New("body").Funcs(template.FuncMap{
		"toJSON": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"truncate": func(most int, text string) string {
			for i := range text {
				if most--; most < 0 {
					return text[:i]
				}
			}
			return text
		},
	}).Parse(text)
}
