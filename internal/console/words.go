package console

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"switchboard/schemas"
)

// funcs are what templates may call.
func (c *Console) funcs() template.FuncMap {
	return template.FuncMap{
		"icon": icon, "kindIcon": func(name string) template.HTML { return icon(c.kindIcon(name)) },
		"clock": c.clock, "when": c.when, "exact": c.exact, "ago": c.ago, "iso": iso,
		"took": took, "num": num, "count": count, "size": size, "digest": digest, "short": short, "initials": initials,
		"messageURL": messageURL, "ticketURL": ticketURL, "personURL": personURL, "deadURL": deadURL,
		"words": plainWords, "add": func(a, b int) int { return a + b },
		"callWords": callWords, "answerWords": answerWords,
		"urgent": func(u schemas.Urgency) bool { return u.Band() > 1 },
	}
}

// icon draws a symbol of the sprite; the word stands beside it.
func icon(name string) template.HTML {
	//nolint:gosec // names are constants of ours, or of channelIcons
	return template.HTML(`<svg class="i" aria-hidden="true"><use href="#i-` + name + `"/></svg>`)
}

// channelIcons are the symbols for channels. A kind, or else a channel's name,
// that has one of these words in it gets that symbol.
var channelIcons = []string{"whatsapp", "telegram", "slack", "mail", "sms", "form", "call", "order", "chat", "hook"}

func (c *Console) kindIcon(channel string) string {
	in := c.instance(c.opts.Channels, channel)
	for _, text := range []string{in.Kind, in.Name} {
		for _, name := range channelIcons {
			if strings.Contains(text, name) {
				return name
			}
		}
	}
	return "hook"
}

func iso(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// clock is the time of today with seconds, the date and time of other days.
func (c *Console) clock(t time.Time) string { return c.at(t, "15:04:05") }

// when is clock without seconds.
func (c *Console) when(t time.Time) string { return c.at(t, "15:04") }

func (c *Console) at(t time.Time, today string) string {
	if t.IsZero() {
		return ""
	}
	t, now := t.In(c.opts.Zone), c.opts.Now().In(c.opts.Zone)
	switch {
	case t.Year() == now.Year() && t.YearDay() == now.YearDay():
		return t.Format(today)
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04")
	default:
		return t.Format("2 Jan 2006")
	}
}

// exact is date and time to the millisecond.
func (c *Console) exact(t time.Time) string {
	return t.In(c.opts.Zone).Format("2 Jan 2006, 15:04:05.000")
}

func (c *Console) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := c.opts.Now().Sub(t)
	if d < time.Second {
		return "now"
	}
	return took(d.Round(time.Second)) + " ago"
}

// took is a duration with its unit, as exact as a reader needs it.
func took(d time.Duration) string {
	switch {
	case d < 0:
		return "−" + took(-d)
	case d < 10*time.Millisecond:
		return trim(float64(d)/float64(time.Millisecond), 1) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return trim(d.Seconds(), 1) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		h, m := int(d.Hours()), int(d.Minutes())%60
		if m == 0 || h >= 10 {
			return strconv.Itoa(h) + " h"
		}
		return fmt.Sprintf("%d h %d min", h, m)
	default:
		return strconv.Itoa(int(d.Hours())/24) + " days"
	}
}

func trim(x float64, decimals int) string {
	return strings.TrimSuffix(strconv.FormatFloat(x, 'f', decimals, 64), ".0")
}

// num writes a number with commas between the thousands.
func num(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		s, sign = s[1:], "−"
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return num(n) + " " + many
}

func size(n int64) string {
	switch x := float64(n); {
	case n < 1000:
		return strconv.FormatInt(n, 10) + " bytes"
	case n < 1000*1000:
		return trim(x/1e3, 0) + " KB"
	case n < 1000*1000*1000:
		return trim(x/1e6, 1) + " MB"
	default:
		return trim(x/1e9, 1) + " GB"
	}
}

// digest shortens a hash to what tells it from others.
func digest(s string) string {
	s = strings.TrimPrefix(s, "sha256:")
	return s[:min(len(s), 10)]
}

// short shows the beginning of a key of ours.
func short(key string) string {
	if len(key) <= 14 {
		return key
	}
	return key[:11] + "…"
}

func initials(name string) string {
	var b strings.Builder
	n := 0
	for w := range strings.FieldsSeq(name) {
		if r, _ := utf8.DecodeRuneInString(w); unicode.IsLetter(r) && n < 2 {
			b.WriteRune(unicode.ToUpper(r))
			n++
		}
	}
	if n == 0 {
		return "#"
	}
	return b.String()
}

// plainWords turns a constant such as on_hold into words.
func plainWords(v any) string { return strings.ReplaceAll(fmt.Sprint(v), "_", " ") }

func messageURL(id string) string { return "/messages/" + url.PathEscape(id) }
func ticketURL(sink, id string) string {
	return "/tickets/" + url.PathEscape(sink) + "/" + url.PathEscape(id)
}
func personURL(id string) string { return "/people/" + url.PathEscape(id) }
func deadURL(id string) string   { return "/dead/" + url.PathEscape(id) }
