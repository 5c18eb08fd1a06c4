package twiliosms

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	api "github.com/twilio/twilio-go/rest/api/v2010"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/twilio"
	"switchboard/channels"
)

// version begins the paths of the API.
const version = twilio.Version

// sign makes d a delivery of Twilio's.
func sign(c Config, d *hook.Delivery) { twilio.Sign(c.AuthToken.Bytes(), d) }

// sample makes the webhook of one SMS to the configured number.
func sample(c Config, s channels.Sample) hook.Delivery {
	m := message{sid: sid("SM", s.ID), from: s.From, to: cmp.Or(c.From, "+15005550006"), body: s.Text}
	return m.webhook(c.AccountSID)
}

func sid(kind, of string) string {
	sum := sha256.Sum256([]byte(of))
	return kind + hex.EncodeToString(sum[:16])
}

// A fake is Twilio's Messages resource for one account, in memory. It also takes
// POST /_play with a form of From, Body and MediaType, which is a customer
// sending a message whose webhook never arrives, so that only a poll finds it.
type fake struct {
	account, token, number string
	routes                 *http.ServeMux
	mu                     sync.Mutex
	messages               []message // oldest first
	files                  map[string]file
}

type message struct {
	sid, from, to, body, direction, status, callback string
	at                                               time.Time
	media                                            []string
}

type file struct {
	kind string
	data []byte
}

func newFake(c Config, _ *sandbox.Board) sandbox.Fake {
	f := &fake{
		account: cmp.Or(c.AccountSID, sid("AC", "sandbox")), token: cmp.Or(c.AuthToken.Reveal(), "sandboxtoken"),
		number: cmp.Or(c.From, "+15005550006"), files: map[string]file{}, routes: http.NewServeMux(),
	}
	account := version + "Accounts/" + f.account
	f.routes.HandleFunc("GET "+account+".json", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, api.ApiV2010Account{Sid: &f.account, Status: new("active")})
	})
	f.routes.HandleFunc("POST "+account+"/Messages.json", f.create)
	f.routes.HandleFunc("GET "+account+"/Messages.json", f.list)
	f.routes.HandleFunc("GET "+account+"/Messages/{message}/Media.json", f.listMedia)
	f.routes.HandleFunc("GET "+account+"/Messages/{message}/Media/{media}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", strings.Repeat("../", 6)+"store/"+r.PathValue("media")) // relative, wherever the fake is mounted
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	f.routes.HandleFunc("GET /store/{media}", f.download)
	f.routes.HandleFunc("POST /_play", f.play)
	return f
}

// Settings are the configuration keys of a channel that talks to the fake.
func (f *fake) Settings(base string) map[string]string {
	return map[string]string{"base_url": base, "account_sid": f.account, "auth_token": f.token, "from": f.number}
}

// Sent returns the replies in the order they were taken.
func (f *fake) Sent() []sandbox.Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []sandbox.Sent
	for _, m := range f.messages {
		if m.direction == "outbound-api" {
			all = append(all, sandbox.Sent{ID: m.sid, Conversation: m.from + "|" + m.to, Text: m.body, At: m.at})
		}
	}
	return all
}

// receive stores a message from a customer and returns its webhook.
func (f *fake) receive(from, body string, at time.Time, media ...file) hook.Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := strconv.Itoa(len(f.messages))
	m := message{sid: sid("SM", n), from: from, to: f.number, body: body, direction: "inbound", status: "received", at: at}
	for i, part := range media {
		id := sid("ME", n+"."+strconv.Itoa(i))
		f.files[id] = part
		m.media = append(m.media, id+" "+part.kind)
	}
	f.messages = append(f.messages, m)
	return m.webhook(f.account)
}

func (m message) webhook(account string) hook.Delivery {
	form := url.Values{
		"MessageSid": {m.sid}, "SmsSid": {m.sid}, "SmsMessageSid": {m.sid}, "AccountSid": {account}, "From": {m.from}, "To": {m.to},
		"Body": {m.body}, "NumMedia": {strconv.Itoa(len(m.media))}, "NumSegments": {"1"}, "SmsStatus": {"received"},
		"ApiVersion": {"2010-04-01"}, "FromCity": {""}, "FromState": {""}, "FromZip": {""}, "FromCountry": {"DE"},
	}
	for i, part := range m.media {
		id, kind, _ := strings.Cut(part, " ")
		form.Set(fmt.Sprintf("MediaUrl%d", i), twilio.Host+mediaPath(account, m.sid, id))
		form.Set(fmt.Sprintf("MediaContentType%d", i), kind)
	}
	return hook.Delivery{
		Method: http.MethodPost, Body: []byte(form.Encode()),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=UTF-8"}, "User-Agent": {"TwilioProxy/1.1"}},
	}
}

func mediaPath(account, message, media string) string {
	return version + "Accounts/" + account + "/Messages/" + message + "/Media/" + media
}

// ServeHTTP is the part of the API that the channel calls.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if strings.HasPrefix(r.URL.Path, version) && (user != f.account || password != f.token) {
		refuse(w, http.StatusUnauthorized, 20003, "Authenticate")
		return
	}
	f.routes.ServeHTTP(w, r)
}

func (f *fake) play(w http.ResponseWriter, r *http.Request) {
	var media []file
	if kind := r.FormValue("MediaType"); kind != "" {
		media = append(media, file{kind: kind, data: []byte("made up")})
	}
	f.receive(r.FormValue("From"), r.FormValue("Body"), time.Now(), media...)
	w.WriteHeader(http.StatusNoContent)
}

func (f *fake) create(w http.ResponseWriter, r *http.Request) {
	to, from, body := r.FormValue("To"), r.FormValue("From"), r.FormValue("Body")
	switch {
	case !strings.HasPrefix(to, "+") || len(to) < 8:
		refuse(w, http.StatusBadRequest, 21211, "Invalid 'To' Phone Number")
		return
	case from == "" && r.FormValue("MessagingServiceSid") == "":
		refuse(w, http.StatusBadRequest, 21603, "A 'From' phone number is required")
		return
	case len([]rune(body)) > 1600:
		refuse(w, http.StatusBadRequest, 21617, "The concatenated message body exceeds the 1600 character limit")
		return
	case body == "":
		refuse(w, http.StatusBadRequest, 21602, "Message body is required")
		return
	case strings.HasPrefix(to, "+1900"):
		refuse(w, http.StatusForbidden, 21408, "Permission to send an SMS has not been enabled for the region")
		return
	case f.optedOut(to):
		refuse(w, http.StatusBadRequest, 21610, "Attempt to send to unsubscribed recipient")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := message{
		sid: sid("SM", strconv.Itoa(len(f.messages))), from: from, to: to, body: body, direction: "outbound-api", status: "queued",
		at: time.Now(), callback: r.FormValue("StatusCallback"),
	}
	f.messages = append(f.messages, m)
	answer(w, http.StatusCreated, m.resource(f.account))
}

// optedOut reports whether the last word of a customer on the matter was STOP.
func (f *fake) optedOut(number string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range slices.Backward(f.messages) {
		if m.from == number && (m.body == "STOP" || m.body == "START") {
			return m.body == "STOP"
		}
	}
	return false
}

// list answers the newest first, in pages, as Twilio does.
func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, _ := time.Parse(time.RFC3339, q.Get("DateSent>")) // without it: from the beginning
	before, err := time.Parse(time.RFC3339, q.Get("DateSent<"))
	if err != nil {
		before = time.Now().Add(time.Hour)
	}
	size, _ := strconv.Atoi(cmp.Or(q.Get("PageSize"), "50"))
	page, _ := strconv.Atoi(q.Get("Page")) // the first is 0
	f.mu.Lock()
	defer f.mu.Unlock()
	found := []api.ApiV2010Message{}
	for _, m := range slices.Backward(f.messages) {
		if (q.Get("To") == "" || q.Get("To") == m.to) && !m.at.Truncate(time.Second).Before(after) && !m.at.After(before) {
			found = append(found, m.resource(f.account))
		}
	}
	out := api.ListMessageResponse{PageSize: size, Page: page}
	start, end := min(page*size, len(found)), min((page+1)*size, len(found))
	out.Messages = found[start:end]
	if end < len(found) {
		q.Set("Page", strconv.Itoa(page+1))
		out.NextPageUri = new(r.URL.Path + "?" + q.Encode())
	}
	answer(w, http.StatusOK, out)
}

func (m message) resource(account string) api.ApiV2010Message {
	return api.ApiV2010Message{
		Sid: &m.sid, AccountSid: &account, From: &m.from, To: &m.to, Body: &m.body, Direction: &m.direction, Status: &m.status,
		NumMedia: new(strconv.Itoa(len(m.media))), DateSent: new(m.at.UTC().Format(time.RFC1123Z)),
		Uri: new(version + "Accounts/" + account + "/Messages/" + m.sid + ".json"),
	}
}

// listMedia answers in the opposite order of the webhook.
func (f *fake) listMedia(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := api.ListMediaResponse{MediaList: []api.ApiV2010Media{}}
	for _, m := range f.messages {
		if m.sid != r.PathValue("message") {
			continue
		}
		for _, part := range slices.Backward(m.media) {
			id, kind, _ := strings.Cut(part, " ")
			out.MediaList = append(out.MediaList, api.ApiV2010Media{
				Sid: new(id), ContentType: new(kind), ParentSid: new(m.sid), Uri: new(mediaPath(f.account, m.sid, id) + ".json"),
			})
		}
	}
	answer(w, http.StatusOK, out)
}

// download is the store behind the API.
func (f *fake) download(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stored, ok := f.files[r.PathValue("media")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", stored.kind)
	_, _ = w.Write(stored.data) // the reader is gone
}

func refuse(w http.ResponseWriter, status, code int, words string) {
	answer(w, status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  int    `json:"status"`
	}{code, words, status})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader is gone
}
