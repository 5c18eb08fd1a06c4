package twilio

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
)

// A Form is what a webhook of Twilio's says.
type Form struct{ values url.Values }

// Read reads a delivery: the body's form, or the address where Twilio was told to
// use GET or sends something else.
func Read(d hook.Delivery) (Form, error) {
	values, err := url.ParseQuery(string(d.Body))
	if d.Method == http.MethodGet || strings.Contains(d.Header.Get("Content-Type"), "json") {
		values = d.Query()
	} else if err != nil {
		return Form{}, fault.Permanentf("read delivery: the body is not a form") // the parser's words quote it
	}
	return Form{values}, nil
}

// Get returns the first value of a field, as valid UTF-8.
func (f Form) Get(name string) string { return strings.ToValidUTF8(f.values.Get(name), "\uFFFD") }

// Media returns the message's files, sorted by path: list and webhook order them
// differently and may name different hosts, and both must give one message.
func (f Form) Media() (all []schemas.Attachment) {
	for i := 0; f.Get(fmt.Sprintf("MediaUrl%d", i)) != ""; i++ {
		_, ref, _ := strings.Cut(f.Get(fmt.Sprintf("MediaUrl%d", i)), Version)
		a := schemas.Attachment{Ref: Version + ref, Type: f.Get(fmt.Sprintf("MediaContentType%d", i))}
		name := url.PathEscape(path.Base(a.Ref) + "." + strings.TrimPrefix(path.Base(a.Type), "x-"))
		a.Name = name[:min(len(name), 150)]
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b schemas.Attachment) int { return cmp.Compare(a.Ref, b.Ref) })
	return all
}

// Address writes a number in one way; a scheme such as "whatsapp:" stays.
func Address(s string) string {
	return strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", "|", "").Replace(s)
}

// Phone returns the full number in an address, "" for short codes and names.
func Phone(address string) string {
	if _, digits, ok := strings.Cut(address, "+"); ok && len(digits) > 6 && strings.Trim(digits, "0123456789") == "" {
		return "+" + digits
	}
	return ""
}

// Requester is who wrote or called from an address; Twilio attests it.
func Requester(address, name string) schemas.Requester {
	id := schemas.Identity{Kind: "twilio", Value: address, Evidence: schemas.Attested}
	if number := Phone(address); number != "" {
		id.Kind, id.Value = schemas.Phone, number
	}
	return schemas.Requester{Name: name, Identities: []schemas.Identity{id}}
}
