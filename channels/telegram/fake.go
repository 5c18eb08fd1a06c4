package telegram

import (
	"cmp"
	"encoding/json"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/channels"
)

// sign shows the secret token, as Telegram does.
func sign(c Config, d *hook.Delivery) {
	if d.Header == nil {
		d.Header = http.Header{}
	}
	d.Header.Set(header, c.SecretToken.Reveal())
}

// sample makes the webhook of one text in a private chat.
func sample(_ Config, s channels.Sample) hook.Delivery {
	u := written(number(s.ID), number(s.From), s.Name, s.Text, s.At)
	return hook.Delivery{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}, Body: encode(u)}
}

// number is the id that a text stands for, itself if it is one.
func number(s string) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(s)) // never fails
	return int64(h.Sum32())
}

// A sent update, and a message, as the fake makes them.
type fakeUpdate struct {
	ID      int64       `json:"update_id"`
	Message fakeMessage `json:"message"`
}

type fakeMessage struct {
	ID       int64         `json:"message_id"`
	Date     int64         `json:"date"`
	Topic    int64         `json:"message_thread_id,omitempty"`
	Chat     fakeChat      `json:"chat"`
	From     fakePerson    `json:"from"`
	Text     string        `json:"text,omitempty"`
	Document *fakeDocument `json:"document,omitempty"`
}

type fakeChat struct {
	ID   int64  `json:"id"`
	Type string `json:"type"`
}

type fakePerson struct {
	ID    int64  `json:"id"`
	IsBot bool   `json:"is_bot"`
	First string `json:"first_name"`
	User  string `json:"username,omitempty"`
}

type fakeDocument struct {
	ID   string `json:"file_id"`
	Name string `json:"file_name"`
	Size int    `json:"file_size"`
}

func written(id, from int64, name, text string, at time.Time) fakeUpdate {
	return fakeUpdate{ID: id, Message: fakeMessage{
		ID: id, Date: at.Unix(), Chat: fakeChat{ID: from, Type: "private"}, From: fakePerson{ID: from, First: cmp.Or(name, "Somebody")}, Text: text,
	}}
}

// A fake is the Bot API for one bot, in memory. It also takes POST /_play with a
// form of From, Name, Text and File, which is a person writing to the bot: the
// next getUpdates returns it.
type fake struct {
	token   string
	methods map[string]func(http.ResponseWriter, *http.Request)
	mu      sync.Mutex
	next    int64
	updates []fakeUpdate
	// arrived is closed and replaced when an update arrives.
	arrived chan struct{}
	webhook string
	secret  string
	files   map[string][]byte
	blocked map[string]bool
	sent    []sandbox.Sent
	params  []string
}

func newFake(c Config, _ *sandbox.Board) sandbox.Fake {
	f := &fake{
		token: cmp.Or(c.BotToken.Reveal(), "110201543:sandbox"), next: 1, arrived: make(chan struct{}),
		files: map[string][]byte{}, blocked: map[string]bool{},
	}
	f.methods = map[string]func(http.ResponseWriter, *http.Request){
		"getMe": func(w http.ResponseWriter, _ *http.Request) {
			id, _, _ := strings.Cut(f.token, ":")
			result(w, fakePerson{ID: number(id), IsBot: true, First: "Shop", User: "shop_bot"})
		},
		"getUpdates": f.getUpdates, "sendMessage": f.sendMessage, "getFile": f.getFile,
		"setWebhook": func(w http.ResponseWriter, r *http.Request) {
			f.setWebhook(w, r.FormValue("url"), r.FormValue("secret_token"))
		},
		"deleteWebhook": func(w http.ResponseWriter, _ *http.Request) { f.setWebhook(w, "", "") },
	}
	return f
}

// Settings are the configuration keys of a channel that talks to the fake.
func (f *fake) Settings(base string) map[string]string {
	return map[string]string{"base_url": base, "bot_token": f.token}
}

// Sent returns the replies in the order they were taken.
func (f *fake) Sent() []sandbox.Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.sent)
}

// write has a person write to the bot and returns the update.
func (f *fake) write(from int64, name, text string, file []byte) fakeUpdate {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := written(f.next, from, name, text, time.Now())
	if file != nil {
		u.Message.Document = &fakeDocument{ID: "file-" + strconv.FormatInt(f.next, 10), Name: "drawing.pdf", Size: len(file)}
		f.files[u.Message.Document.ID] = file
	}
	f.next++
	f.updates = append(f.updates, u)
	close(f.arrived)
	f.arrived = make(chan struct{})
	return u
}

// ServeHTTP is the Bot API below /bot<token>/ and its files below /file/bot<token>/.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path, ok := strings.CutPrefix(r.URL.Path, "/file/bot"+f.token+"/documents/"); ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		content, ok := f.files[path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content) // the reader is gone
		return
	}
	if r.URL.Path == "/_play" && r.Method == http.MethodPost {
		var file []byte
		if text := r.FormValue("File"); text != "" {
			file = []byte(text)
		}
		f.write(number(r.FormValue("From")), r.FormValue("Name"), r.FormValue("Text"), file)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/bot"+f.token+"/")
	method := f.methods[name]
	if !ok || method == nil {
		refuse(w, http.StatusNotFound, "Not Found", 0)
		return
	}
	method(w, r)
}

// getUpdates forgets what lies before the offset and waits up to two seconds of
// the timeout for something after it.
func (f *fake) getUpdates(w http.ResponseWriter, r *http.Request) {
	offset, _ := strconv.ParseInt(r.FormValue("offset"), 10, 64)
	seconds, _ := strconv.Atoi(r.FormValue("timeout"))
	limit, _ := strconv.Atoi(cmp.Or(r.FormValue("limit"), "100"))
	patience := time.NewTimer(time.Duration(min(seconds, 2)) * time.Second)
	defer patience.Stop()
	for {
		f.mu.Lock()
		if f.webhook != "" {
			f.mu.Unlock()
			refuse(w, http.StatusConflict, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first", 0)
			return
		}
		f.updates = slices.DeleteFunc(f.updates, func(u fakeUpdate) bool { return u.ID < offset })
		ready, arrived := slices.Clone(f.updates[:min(limit, len(f.updates))]), f.arrived
		f.mu.Unlock()
		if len(ready) > 0 {
			result(w, ready)
			return
		}
		select {
		case <-arrived:
		case <-patience.C:
			result(w, []fakeUpdate{})
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (f *fake) setWebhook(w http.ResponseWriter, address, secret string) {
	if address != "" && !strings.HasPrefix(address, "https://") {
		refuse(w, http.StatusBadRequest, "Bad Request: bad webhook: an HTTPS URL must be provided for webhook", 0)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.webhook, f.secret = address, secret
	result(w, true)
}

func (f *fake) getFile(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.FormValue("file_id")
	content, ok := f.files[id]
	if !ok {
		refuse(w, http.StatusBadRequest, "Bad Request: invalid file_id", 0)
		return
	}
	if len(content) > largest {
		refuse(w, http.StatusBadRequest, "Bad Request: file is too big", 0)
		return
	}
	result(w, struct {
		ID   string `json:"file_id"`
		Path string `json:"file_path"`
	}{id, "documents/" + id})
}

func (f *fake) sendMessage(w http.ResponseWriter, r *http.Request) {
	chat, text := r.FormValue("chat_id"), r.FormValue("text")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.blocked[chat]:
		refuse(w, http.StatusForbidden, "Forbidden: bot was blocked by the user", 0)
		return
	case text == "":
		refuse(w, http.StatusBadRequest, "Bad Request: message text is empty", 0)
		return
	case len([]rune(text)) > 4096:
		refuse(w, http.StatusBadRequest, "Bad Request: message is too long", 0)
		return
	case chat == "429":
		refuse(w, http.StatusTooManyRequests, "Too Many Requests: retry after 35", 35)
		return
	}
	m := fakeMessage{
		ID: f.next, Date: time.Now().Unix(), Topic: number(cmp.Or(r.FormValue("message_thread_id"), "0")),
		Chat: fakeChat{ID: number(chat), Type: "private"}, From: fakePerson{IsBot: true}, Text: text,
	}
	f.next++
	conversation := chat
	if topic := r.FormValue("message_thread_id"); topic != "" {
		conversation += ":" + topic
	}
	f.sent = append(f.sent, sandbox.Sent{ID: chat + ":" + strconv.FormatInt(m.ID, 10), Conversation: conversation, Text: text, At: time.Unix(m.Date, 0).UTC()})
	f.params = append(f.params, r.FormValue("reply_parameters"))
	result(w, m)
}

func result(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encode(struct {
		OK     bool `json:"ok"`
		Result any  `json:"result"`
	}{true, v})) // the reader is gone
}

func refuse(w http.ResponseWriter, status int, words string, after int) {
	type parameters struct {
		RetryAfter int `json:"retry_after"`
	}
	e := struct {
		OK          bool        `json:"ok"`
		Code        int         `json:"error_code"`
		Description string      `json:"description"`
		Parameters  *parameters `json:"parameters,omitempty"`
	}{Code: status, Description: words}
	if after > 0 {
		e.Parameters = &parameters{after}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(e)) // the reader is gone
}

func encode(v any) []byte {
	b, _ := json.Marshal(v) // numbers and texts always can be
	return b
}
