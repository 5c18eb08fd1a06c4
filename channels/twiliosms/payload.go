package twiliosms

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/channels"
	"switchboard/schemas"
)

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	form, err := url.ParseQuery(string(d.Body))
	if d.Method == http.MethodGet || strings.Contains(d.Header.Get("Content-Type"), "json") {
		form = d.Query()
	} else if err != nil {
		return channels.Parsed{}, fault.Permanentf("read delivery: the body is not a form") // the parser's words quote it
	}
	get := func(name string) string { return strings.ToValidUTF8(form.Get(name), "\uFFFD") }
	from, status, word := address(get("From")), cmp.Or(get("MessageStatus"), get("SmsStatus")), strings.TrimSpace(get("Body"))
	consents := slices.ContainsFunc(c.cfg.ConsentWords, func(w string) bool { return strings.EqualFold(w, word) })
	switch {
	case get("MessageSid") == "" || from == "" || get("To") == "":
		return channels.Parsed{Ignored: "not a message: sid or a number is missing, as in calls and event streams"}, nil
	case d.Via != hook.ViaPoll && status != "" && status != "received" && status != "receiving":
		return receipt(get("MessageSid"), status, get("ErrorCode")), nil
	case get("OptOutType") != "" || consents && get("NumMedia") <= "0":
		return channels.Parsed{Ignored: "consent: " + strings.ToUpper(cmp.Or(get("OptOutType"), word)) + ", answered by Twilio"}, nil
	}
	m := schemas.Message{
		VendorID: get("MessageSid"), Conversation: address(get("To")) + "|" + from, Text: get("Body"), Attachments: files(get),
		Requester: schemas.Requester{Name: get("ProfileName"), Identities: []schemas.Identity{{Kind: "twilio", Value: from, Evidence: schemas.Attested}}},
	}
	if n := phone(from); n != "" {
		m.Requester.Identities[0].Kind, m.Requester.Identities[0].Value = schemas.Phone, n
	}
	if sent, err := time.Parse(time.RFC1123Z, get("DateSent")); err == nil { // only the list says
		m.SentAt = sent.UTC()
	}
	if n, _ := strconv.Atoi(get("NumMedia")); n > len(m.Attachments) {
		m.Degraded = []string{fmt.Sprintf("%d of %d files are no longer at Twilio", n-len(m.Attachments), n)}
	}
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

// files reads the media, sorted by path: list and webhook order them differently
// and may name different hosts, and both must give one message.
func files(get func(string) string) (all []schemas.Attachment) {
	for i := 0; get(fmt.Sprintf("MediaUrl%d", i)) != ""; i++ {
		_, ref, _ := strings.Cut(get(fmt.Sprintf("MediaUrl%d", i)), version)
		a := schemas.Attachment{Ref: version + ref, Type: get(fmt.Sprintf("MediaContentType%d", i))}
		name := url.PathEscape(path.Base(a.Ref) + "." + strings.TrimPrefix(path.Base(a.Type), "x-"))
		a.Name = name[:min(len(name), 150)]
		all = append(all, a)
	}
	slices.SortStableFunc(all, func(a, b schemas.Attachment) int { return cmp.Compare(a.Ref, b.Ref) })
	return all
}

// receipt reads a status callback on a reply of ours.
func receipt(sid, status, code string) channels.Parsed {
	r := schemas.Receipt{ID: sid}
	switch status {
	case "sent", "delivered", "read":
		r.State = schemas.ReceiptState(status)
	case "failed", "undelivered", "canceled":
		r.State, r.Reason = schemas.Failed, strings.TrimSpace(status+" "+code)
	default:
		return channels.Parsed{Ignored: "a reply on its way: " + status}
	}
	return channels.Parsed{Receipts: []schemas.Receipt{r}}
}

// listed writes a message of the list as the webhook would have sent it, so that
// both are read in one way.
func listed(m api.ApiV2010Message, media []api.ApiV2010Media) []byte {
	form := url.Values{
		"MessageSid": {text(m.Sid)}, "From": {text(m.From)}, "To": {text(m.To)}, "Body": {text(m.Body)},
		"NumMedia": {text(m.NumMedia)}, "SmsStatus": {text(m.Status)}, "DateSent": {text(m.DateSent)},
	}
	for i, f := range media {
		form.Set(fmt.Sprintf("MediaUrl%d", i), vendor+strings.TrimSuffix(text(f.Uri), ".json"))
		form.Set(fmt.Sprintf("MediaContentType%d", i), text(f.ContentType))
	}
	return []byte(form.Encode())
}

// address writes a number in one way; a scheme such as "whatsapp:" stays.
func address(s string) string {
	return strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", "|", "").Replace(s)
}

// phone returns the full number in an address, "" for short codes and names.
func phone(s string) string {
	if _, digits, ok := strings.Cut(s, "+"); ok && len(digits) > 6 && strings.Trim(digits, "0123456789") == "" {
		return "+" + digits
	}
	return ""
}

// words finds Twilio's code and explanation in an error answer.
func words(body []byte) string {
	var e client.TwilioRestError
	if json.Unmarshal(body, &e) != nil || e.Code == 0 {
		return ""
	}
	return fmt.Sprintf("%d: %s", e.Code, e.Message)
}

func text(s *string) string { return *cmp.Or(s, new(string)) }
