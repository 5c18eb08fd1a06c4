package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"
	"time"

	"switchboard/adapter/callback"
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
	Files []callback.File `json:"files,omitempty"`
}

type comment struct {
	*schemas.Comment
	Files []callback.File `json:"files,omitempty"`
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
