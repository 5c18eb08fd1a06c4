package rest

import (
	"bytes"
	"encoding/json"
	"strings"
)

// explanations reads the words of a vendor's error answer out of a JSON body:
// the texts under the names that vendors use for them, and under details and
// errors those of each field with the field's name. "" if body is not JSON; a
// note if it is and says nothing, for the rest of it may be what we sent.
func explanations(body []byte) string {
	if !json.Valid(body) {
		return ""
	}
	e := explainer{dec: json.NewDecoder(bytes.NewReader(body))}
	e.value("", false, false)
	if len(e.said) == 0 {
		return "an answer without an explanation"
	}
	return strings.Join(e.said, "; ")
}

type explainer struct {
	dec  *json.Decoder
	said []string
}

// value reads one value. name is the field that it is about; telling says that
// a text here explains; each says that the members of an object here do.
func (e *explainer) value(name string, telling, each bool) {
	token, err := e.dec.Token()
	if err != nil {
		return // the body was valid: this is its end
	}
	switch t := token.(type) {
	case json.Delim:
		for e.dec.More() {
			if t == '[' {
				e.value(name, telling, false) // an object of a list says itself what explains
				continue
			}
			key, _ := e.dec.Token()
			member, _ := key.(string)
			switch lower := strings.ToLower(member); lower {
			case "details", "errors":
				e.value(name, true, true)
			case "error", "code", "type", "title", "message", "detail", "description", "error_description", "reason", "errormessages":
				e.value(name, true, false)
			default:
				e.value(member, each, false)
			}
		}
		_, _ = e.dec.Token() // the closing bracket
	case string:
		if t = strings.TrimSpace(t); telling && t != "" {
			if name != "" {
				t = name + ": " + t
			}
			e.said = append(e.said, t)
		}
	}
}
