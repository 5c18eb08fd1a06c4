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
	"net/http"
	"strconv"
	"strings"
	"time"

	tgbotapi "github.com/go-telegram-bot-api/telegram-bot-api/v5"

	"switchboard/adapter/chat"
	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/jsonpath"
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

// shape is Telegram's message. An animation comes as a document too.
var shape = chat.Shape{
	ID: "{chat.id}:{message_id}", Conversation: "{chat.id}", ReplyTo: "{chat.id}:{reply_to_message.message_id}", Group: "{media_group_id}",
	SentAt: "date", Identity: "telegram", Person: "from.id", Locale: "from.language_code",
	Names: []string{"{from.first_name} {from.last_name}", "{from.username}"}, Phone: "contact.phone_number", Owner: "contact.user_id",
	Text: []string{
		"{text}", "{caption}", "{sticker.emoji}", "Contact: {contact.first_name} {contact.last_name} {contact.phone_number}",
		"Venue: {venue.title} {venue.address}", "Location: {location.latitude} {location.longitude}", "{dice.emoji} {dice.value}",
		"Poll: {poll.question}", "- {poll.options.*.text}",
	},
	Files: chat.Files{
		Kinds: []string{"photo", "animation", "document", "audio", "voice", "video", "video_note", "sticker"},
		Ref:   "file_id", Name: "file_name", Type: "mime_type", Size: "file_size",
		Most: largest, TooLarge: "larger than 20 MB, which Telegram gives to no bot",
	},
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
	direct, base := rest.WithoutRedirects(env.HTTP), strings.TrimRight(cfg.BaseURL, "/")
	// 403 is from one person who blocked the bot, or a group; 404 is that there is no such bot.
	means := rest.WithVerdict(rest.Meaning{http.StatusForbidden: fault.Permanent, http.StatusNotFound: fault.Auth}.Verdict)
	return &channel{
		cfg: cfg, bot: bot, api: rest.New(direct, base+"/bot"+token, means, rest.WithWait("parameters.retry_after")),
		files: rest.New(direct, base+"/file/bot"+token),
	}, nil
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
	var update, m jsonpath.Node
	err := json.Unmarshal(d.Body, &update.Object)
	raw, edited := update.Object["edited_message"]
	raw = json.RawMessage(cmp.Or(string(raw), string(update.Object["message"]), "{}"))
	if err = errors.Join(err, json.Unmarshal(raw, &m.Object)); err != nil {
		return channels.Parsed{}, fault.Permanentf("decode update: %w", err)
	}
	out := shape.Read(m)
	command, _, _ := strings.Cut(strings.Fields(m.Word("text") + " .")[0], "@")
	switch {
	case m.Word("migrate_to_chat_id") != "":
		return channels.Ignore("the group became chat %s, where its messages come from now", m.Word("migrate_to_chat_id"))
	case out.VendorID == "" || m.Word("from.id") == "":
		return channels.Ignore("nobody's message, but %s", names(update))
	case m.Text("from.is_bot") == "true" || m.At("via_bot") != nil:
		return channels.Ignore("written by a bot")
	case command == "/start":
		return channels.Ignore("start command")
	case edited && m.At("location") != nil:
		return channels.Ignore("a live location that moved")
	case out.Text == "" && len(out.Attachments) == 0:
		return channels.Ignore("a service message: %s", names(m))
	}
	if m.Text("is_topic_message") == "true" {
		out.Conversation += ":" + m.Word("message_thread_id")
		if out.ReplyTo == out.Conversation {
			out.ReplyTo = "" // all of a topic answer its creation
		}
	}
	if edited {
		out = chat.Edited(out, m.Word("edit_date"))
	}
	return channels.Parsed{Messages: []schemas.Message{out}}, nil
}

// names lists what something is made of, but for what everything has.
func names(n jsonpath.Node) string {
	known := []string{"update_id", "message_id", "date", "chat", "from", "message_thread_id", "is_topic_message"}
	return cmp.Or(strings.Join(n.Members(known...), ", "), "empty")
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
		id, err := strconv.ParseInt(jsonpath.Open(body).Word("update_id"), 10, 64)
		if err != nil {
			return hook.Page{}, fmt.Errorf("decode update: %w", err)
		}
		page.Next = strconv.FormatInt(id+1, 10)
		page.Deliveries = append(page.Deliveries, hook.Delivery{Method: http.MethodPost, URL: c.cfg.BaseURL + "/getUpdates", Body: body, Via: hook.ViaPoll})
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
	return err
}
