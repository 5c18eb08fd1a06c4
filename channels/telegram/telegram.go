// Package telegram receives the messages that people send to a bot, by webhook
// or by long polling, and sends replies as the bot. Bot API:
// https://core.telegram.org/bots/api
package telegram

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	tgbotapi "github.com/go-telegram-bot-api/telegram-bot-api/v5"

	"switchboard/adapter/fault"
	"switchboard/adapter/formdata"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

const (
	header = "X-Telegram-Bot-Api-Secret-Token"
	// allowed pins what Telegram sends, for its default changes with the times.
	allowed = `["message","edited_message","my_chat_member"]`
	// largest is the size of a file, in bytes, up to which bots may download it.
	largest = 20 << 20
)

// Kind is what the host needs to open a Telegram channel. A poll waits at
// Telegram, so the host need not wait between two.
var Kind = channels.Define("telegram", Config{Mode: "poll", BaseURL: "https://api.telegram.org"}, open, channels.Traits[Config]{
	MaxFile: largest, MaxText: 4096, Secrets: []string{header}, Reply: channels.Blind, Retries: true,
	PollEvery: time.Millisecond, Polls: func(c Config) bool { return c.Mode == "poll" },
	Sign: sign, Sample: sample, Fake: newFake,
})

// Config is one Telegram bot in the configuration file.
type Config struct {
	// BotToken is what BotFather gave: the bot's id, a colon and a secret.
	BotToken secret.Secret `yaml:"bot_token" required:"true"`
	// Mode is how messages come: poll asks Telegram and needs no public address;
	// webhook lets Telegram call us, and needs secret_token and public_url.
	Mode string `yaml:"mode"`
	// SecretToken is what Telegram shows with every webhook: 1 to 256 letters,
	// digits, _ and -, made up by you.
	SecretToken secret.Secret `yaml:"secret_token"`
	// BaseURL is where the Bot API is.
	BaseURL string `yaml:"base_url"`
}

type channel struct {
	cfg        Config
	bot        string
	api, files *rest.Client
}

func open(cfg Config, env channels.Env) (channels.Channel, error) {
	token := cfg.BotToken.Reveal()
	bot, _, ok := strings.Cut(token, ":")
	switch {
	case !ok || bot == "" || strings.Trim(bot, "0123456789") != "":
		return nil, errors.New("bot_token: not what BotFather gives, digits before a colon")
	case cfg.Mode != "poll" && cfg.Mode != "webhook":
		return nil, errors.New("mode: neither poll nor webhook")
	case cfg.Mode == "webhook" && cfg.SecretToken.IsZero():
		return nil, errors.New("secret_token: missing, and mode webhook cannot do without")
	}
	// A redirect would take the address along as its referrer, and with it the token.
	direct, base := *env.HTTP, strings.TrimRight(cfg.BaseURL, "/")
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &channel{cfg: cfg, bot: bot, api: rest.New(&direct, base+"/bot"+token), files: rest.New(&direct, base+"/file/bot"+token)}, nil
}

func (c *channel) Account() string { return c.bot }

func (c *channel) Check(ctx context.Context) error { return c.call(ctx, "getMe", nil, nil) }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if c.cfg.Mode != "webhook" || !c.cfg.SecretToken.Equal(d.Header.Get(header)) {
		return fmt.Errorf("%w: the secret token does not match, or mode is not webhook", hook.ErrUnverified)
	}
	return nil
}

// Answer is empty: Telegram would carry out a body with a method in it.
func (c *channel) Answer(hook.Delivery) hook.Answer { return hook.OK }

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	var update, parts map[string]json.RawMessage
	err := json.Unmarshal(d.Body, &update)
	raw, edited := update["edited_message"]
	raw = json.RawMessage(cmp.Or(string(raw), string(update["message"]), "{}"))
	var m message
	if err = errors.Join(err, json.Unmarshal(raw, &m), json.Unmarshal(raw, &parts)); err != nil {
		return channels.Parsed{}, fault.Permanentf("decode update: %w", err)
	}
	text, attachments := m.text(), files(parts)
	command, _, _ := strings.Cut(strings.Fields(m.Text + " .")[0], "@")
	switch {
	case m.MigrateToChatID != 0:
		return ignored("the group became chat %d, where its messages come from now", m.MigrateToChatID)
	case m.Chat == nil || m.From == nil:
		return ignored("nobody's message, but %s", names(update))
	case m.From.IsBot || m.ViaBot != nil:
		return ignored("written by a bot")
	case command == "/start":
		return ignored("start command")
	case edited && m.Location.Latitude != 0:
		return ignored("a live location that moved")
	case text == "" && len(attachments) == 0:
		return ignored("a service message: %s", names(parts))
	}
	chat := strconv.FormatInt(m.Chat.ID, 10)
	id := func(n int) string { return chat + ":" + strconv.Itoa(n) }
	out := schemas.Message{
		VendorID: id(m.MessageID), Conversation: chat, Group: m.MediaGroupID, SentAt: m.Time().UTC(),
		Requester: m.requester(), Text: text, Attachments: attachments,
	}
	if m.InTopic {
		out.Conversation = id(m.Topic)
	}
	if to := m.ReplyToMessage; to != nil && (!m.InTopic || to.MessageID != m.Topic) { // all of a topic answer its creation
		out.ReplyTo = id(to.MessageID)
	}
	if edited {
		out.Edits, out.VendorID, out.SentAt = out.VendorID, id(m.MessageID)+":"+strconv.Itoa(m.EditDate), time.Unix(int64(m.EditDate), 0).UTC()
	}
	return channels.Parsed{Messages: []schemas.Message{out}}, nil
}

// Register points Telegram to address, or to nothing when the channel polls.
func (c *channel) Register(ctx context.Context, address string) (time.Time, error) {
	if c.cfg.Mode != "webhook" {
		return time.Time{}, c.call(ctx, "deleteWebhook", nil, nil)
	}
	return time.Time{}, c.call(ctx, "setWebhook", tgbotapi.Params{"url": address, "secret_token": c.cfg.SecretToken.Reveal(), "allowed_updates": allowed}, nil)
}

// Poll waits for updates from the cursor on, the id of the next one, and so has
// Telegram forget those before it. "" begins with the oldest that Telegram still
// keeps, for nobody has read that.
func (c *channel) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	var updates []json.RawMessage
	if err := c.call(ctx, "getUpdates", tgbotapi.Params{"offset": cmp.Or(cursor, "0"), "timeout": "25", "allowed_updates": allowed}, &updates); err != nil {
		return hook.Page{}, err
	}
	page := hook.Page{Next: cursor, More: len(updates) > 0}
	for _, body := range updates {
		var u struct {
			ID int64 `json:"update_id"`
		}
		if err := json.Unmarshal(body, &u); err != nil {
			return hook.Page{}, fmt.Errorf("decode update: %w", err)
		}
		page.Next = strconv.FormatInt(u.ID+1, 10)
		page.Deliveries = append(page.Deliveries, hook.Delivery{
			Method: http.MethodPost, URL: c.cfg.BaseURL + "/getUpdates", Body: body, Via: hook.ViaPoll,
		})
	}
	return page, nil
}

// Send writes into the chat, and the topic, of the conversation.
func (c *channel) Send(ctx context.Context, r schemas.Reply) (schemas.Receipt, error) {
	if len(r.Files) > 0 {
		return schemas.Receipt{}, fault.Permanentf("sendMessage: files cannot be sent")
	}
	chat, topic, _ := strings.Cut(r.Conversation, ":")
	p := tgbotapi.Params{"chat_id": chat, "text": r.Text}
	p.AddNonEmpty("message_thread_id", topic)
	if to := strings.Split(r.ReplyTo, ":"); len(to) > 1 && to[0] == chat {
		p["reply_parameters"] = `{"message_id":` + to[1] + `,"allow_sending_without_reply":true}`
	}
	var sent tgbotapi.Message
	if err := c.call(ctx, "sendMessage", p, &sent); err != nil {
		return schemas.Receipt{}, err
	}
	return schemas.Receipt{ID: fmt.Sprintf("%s:%d", chat, sent.MessageID), State: schemas.Sent, At: sent.Time().UTC()}, nil
}

// Fetch downloads a file by its id. The address holds the token and goes nowhere.
func (c *channel) Fetch(ctx context.Context, ref string) (io.ReadCloser, error) {
	var f tgbotapi.File
	if err := c.call(ctx, "getFile", tgbotapi.Params{"file_id": ref}, &f); err != nil {
		return nil, err
	}
	return c.files.Open(ctx, "/"+f.FilePath)
}

// call has the library make a request and package rest send it: the library
// knows no context and would quote addresses, which hold the token, in its errors.
func (c *channel) call(ctx context.Context, method string, p tgbotapi.Params, out any) error {
	bot := tgbotapi.BotAPI{Client: &http.Client{Transport: c.api.Transport(ctx)}}
	bot.SetAPIEndpoint("https://api.telegram.org/%s%s") // package rest completes it
	resp, err := bot.MakeRequest(method, p)
	if err == nil && out != nil {
		err = json.Unmarshal(resp.Result, out)
	}
	s, _ := errors.AsType[*fault.Status](err)
	switch fault.StatusCode(err) { // Telegram means some otherwise than others
	case http.StatusForbidden: // blocked by this person, or thrown out of this group
		return fault.Permanent(s)
	case http.StatusNotFound: // there is no such bot
		return fault.Auth(s)
	case http.StatusTooManyRequests: // the body says when, and not every proxy keeps the header
		if n, bad := strconv.Atoi(s.Words[strings.LastIndexByte(s.Words, ' ')+1:]); bad == nil {
			return fault.RetryAfter(err, time.Duration(n)*time.Second)
		}
	}
	return err
}

// A message is the library's, which ends with Bot API 5.5, with what came later,
// and with values for pointers that need not be nil.
type message struct {
	tgbotapi.Message
	Topic    int               `json:"message_thread_id"`
	InTopic  bool              `json:"is_topic_message"`
	Sticker  tgbotapi.Sticker  `json:"sticker"`
	Contact  tgbotapi.Contact  `json:"contact"`
	Venue    tgbotapi.Venue    `json:"venue"`
	Location tgbotapi.Location `json:"location"`
	Poll     tgbotapi.Poll     `json:"poll"`
	Dice     tgbotapi.Dice     `json:"dice"`
}

func ignored(format string, args ...any) (channels.Parsed, error) {
	return channels.Parsed{Ignored: fmt.Sprintf(format, args...)}, nil
}

func (m *message) requester() schemas.Requester {
	r := schemas.Requester{
		Name: cmp.Or(strings.TrimSpace(m.From.FirstName+" "+m.From.LastName), m.From.UserName), Locale: m.From.LanguageCode,
		Identities: []schemas.Identity{{Kind: "telegram", Value: fmt.Sprint(m.From.ID), Evidence: schemas.Attested}},
	}
	own := map[int64]schemas.Evidence{0: schemas.Asserted, m.From.ID: schemas.Attested}[m.Contact.UserID] // none for another's
	if number := strings.TrimLeft(m.Contact.PhoneNumber, "+"); number != "" && own != "" {
		r.Identities = append(r.Identities, schemas.Identity{Kind: schemas.Phone, Value: "+" + number, Evidence: own})
	}
	return r
}

// text is what was written, and a line for what is neither text nor file.
func (m *message) text() string {
	lines := []string{
		m.Text, m.Caption, m.Sticker.Emoji, line("Contact:", m.Contact.FirstName, m.Contact.LastName, m.Contact.PhoneNumber),
		line("Venue:", m.Venue.Title, m.Venue.Address), line("Location:", m.Location.Latitude, m.Location.Longitude),
		line(m.Dice.Emoji, m.Dice.Value), line("Poll:", m.Poll.Question),
	}
	for _, o := range m.Poll.Options {
		lines = append(lines, line("-", o.Text))
	}
	return strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\n")
}

func line(label string, facts ...any) string {
	said := strings.Join(strings.Fields(fmt.Sprintln(facts...)), " ")
	if strings.Trim(said, "0 ") == "" {
		return ""
	}
	return label + " " + said
}

// files reads all kinds of files alike; of a photo's sizes the last is the largest.
func files(parts map[string]json.RawMessage) (all []schemas.Attachment) {
	var sizes []json.RawMessage
	if json.Unmarshal(parts["photo"], &sizes) == nil && len(sizes) > 0 {
		parts["photo"] = sizes[len(sizes)-1]
	}
	for _, kind := range []struct{ part, name, media string }{
		{"photo", "photo.jpg", "image/jpeg"}, {"document", "document", ""}, {"audio", "audio.mp3", "audio/mpeg"},
		{"voice", "voice.ogg", "audio/ogg"}, {"video", "video.mp4", "video/mp4"}, {"video_note", "video_note.mp4", "video/mp4"},
		{"animation", "animation.mp4", "video/mp4"}, {"sticker", "sticker", ""},
	} {
		var f tgbotapi.Document
		if json.Unmarshal(parts[kind.part], &f) != nil || f.FileID == "" || kind.part == "document" && parts["animation"] != nil {
			continue // an animation comes as a document too
		}
		a := schemas.Attachment{Name: formdata.FileName(cmp.Or(f.FileName, kind.name)), Type: cmp.Or(f.MimeType, kind.media), Size: int64(f.FileSize), Ref: f.FileID}
		if f.FileSize > largest {
			a.Ref, a.Missing = "", "larger than 20 MB, which Telegram gives to no bot"
		}
		all = append(all, a)
	}
	return all
}

// names lists what something is made of, but for what everything has.
func names(parts map[string]json.RawMessage) string {
	const common = " update_id message_id date chat from message_thread_id is_topic_message "
	keys := slices.DeleteFunc(slices.Sorted(maps.Keys(parts)), func(k string) bool { return strings.Contains(common, " "+k+" ") })
	return cmp.Or(strings.Join(keys, ", "), "empty")
}
