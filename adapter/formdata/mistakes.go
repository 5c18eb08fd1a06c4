package formdata

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Mistake is what somebody has to mend; Field is our name of the field, "" for
// the whole form. A page says the Reason in words.
type Mistake struct {
	Field  string `json:"field,omitempty"`
	Reason string `json:"reason"`
}

// Mistakes are those of one form.
type Mistakes []Mistake

// Of returns what is wrong with a field, nil if nothing is.
func (m Mistakes) Of(name string) *Mistake {
	i := slices.IndexFunc(m, func(one Mistake) bool { return one.Field == name })
	if i < 0 {
		return nil
	}
	return &m[i]
}

// Check names every required field that we do not know; nil if all are known.
func (n Names) Check(required []string) []error {
	var errs []error
	for _, name := range required {
		if n.Of(name) == nil {
			errs = append(errs, fmt.Errorf("require: no field %q; there are %s", name, strings.Join(Known(), ", ")))
		}
	}
	return errs
}

// Wrong returns what has to be mended: the message and what is required must be
// there, and a required e-mail address must be one.
func (a Answers) Wrong(required []string) (wrong Mistakes) {
	for _, name := range Known() {
		value := strings.TrimSpace(a.Known[name])
		if needed := name == "message" || slices.Contains(required, name); needed && value == "" {
			wrong = append(wrong, Mistake{name, "missing"})
		} else if needed && name == "email" && !Reachable(value) {
			wrong = append(wrong, Mistake{name, "not_an_address"})
		}
	}
	return wrong
}

// Unreadable says with which status an error of Read is answered, and why.
func Unreadable(err error) (status int, why Mistake) {
	if errors.Is(err, ErrMediaType) {
		return http.StatusUnsupportedMediaType, Mistake{Reason: "media_type"}
	}
	return http.StatusBadRequest, Mistake{Reason: "unreadable"}
}

// Sum is a digest of all that was written and of the ten minutes of the clock in
// which it was, so that a double click is one message.
func (f *Form) Sum(at time.Time) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %q", at.Truncate(10*time.Minute).Unix(), f.Fields)
	for _, file := range f.Files {
		fmt.Fprintf(h, " %q %x", file.Name, sha256.Sum256(file.Data))
	}
	return h.Sum(nil)
}
