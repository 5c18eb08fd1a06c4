package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"switchboard/adapter/fault"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// ticket is what the message opens: the same bytes every time it is built.
func (t *turn) ticket(doing *record.Doing) schemas.Ticket {
	m, d := t.job.Message, t.job.Decision
	out := schemas.Ticket{
		Key: doing.Key, Subject: t.subject(), Text: t.text(), HTML: m.HTML, Requester: requester(m),
		Queue: d.Queue, Assignee: d.Assignee, Type: d.Type, Priority: d.Priority, Severity: d.Severity,
		Category: t.job.Class.Category, Tags: t.tags(), Fields: d.Fields,
		Channel: m.Channel, Kind: m.Kind, ReceivedAt: m.ReceivedAt, Message: t.mid, Follows: doing.Follows,
	}
	if out.Priority == "" {
		out.Priority = schemas.PriorityNormal
	}
	if t.inline() {
		out.Files = t.files()
	}
	return out
}

// comment is what the message adds, or the note on what is missing.
func (t *turn) comment(doing *record.Doing) schemas.Comment {
	if doing.Part == notePart {
		return schemas.Comment{
			Key: doing.Key, Author: schemas.Author{Role: schemas.BySwitchboard, Name: "Switchboard"},
			Visibility: schemas.Internal, Text: t.missing(doing), At: t.job.Message.ReceivedAt,
		}
	}
	m := t.job.Message
	who := requester(m)
	out := schemas.Comment{
		Key: doing.Key, Author: schemas.Author{Role: schemas.ByRequester, Name: who.Label(), Requester: &who},
		Visibility: schemas.Public, Text: t.text(), HTML: m.HTML, At: m.ReceivedAt,
		Change: &schemas.Change{Status: new(schemas.StatusOpen), AddTags: t.tags()},
	}
	if t.inline() {
		out.Files = t.files()
	}
	return out
}

// inline says that files travel inside the create or append.
func (t *turn) inline() bool { return t.k.s.Traits.Create == sinks.ReceiverDedup }

func (t *turn) subject() string {
	m := t.job.Message
	s := strings.Join(strings.Fields(m.Subject), " ")
	if s == "" {
		s = cut(strings.Join(strings.Fields(beginning(strings.TrimSpace(m.Text))), " "), 80)
	}
	if s == "" {
		s = "Message from " + m.Requester.Label() + " by " + m.Channel
	}
	return cut(s, t.k.s.Traits.MaxSubject)
}

// text is the customer's words, and below them what an agent needs to know and
// the customer did not say.
func (t *turn) text() string {
	m := t.job.Message
	var extra []string
	if m.Edits != "" {
		extra = append(extra, "The customer edited an earlier message; this is the new text.")
	}
	for _, f := range m.Fields {
		extra = append(extra, f.Name+": "+f.Value)
	}
	for i, a := range m.Attachments {
		switch {
		case a.Missing != "":
			extra = append(extra, fmt.Sprintf("Attachment %q is missing: %s", a.Name, a.Missing))
		case t.k.s.Attacher == nil && !t.inline() || t.tooLarge(a):
			extra = append(extra, strings.TrimSpace(fmt.Sprintf("Attachment %q, %d bytes %s", fileName(a, i+1), a.Size, t.url(i))))
		}
	}
	for _, d := range m.Degraded {
		extra = append(extra, "Note: "+d)
	}
	text := strings.TrimRight(m.Text, "\n ")
	if text == "" && len(extra) == 0 {
		text = "(no text)"
	}
	below := ""
	if len(extra) > 0 {
		below = "\n\n--\n" + strings.Join(extra, "\n")
	}
	limit := t.k.s.Traits.MaxText
	if limit > 0 && utf8.RuneCountInString(text)+utf8.RuneCountInString(below) > limit {
		below = cut(below, limit/2)
		const said = "\n[cut: the whole text is in the message's story]"
		text = cut(text, max(limit-utf8.RuneCountInString(below)-utf8.RuneCountInString(said), 1)) + said
	}
	return text + below
}

func (t *turn) url(n int) string {
	if t.k.o.FileURL == nil {
		return ""
	}
	return t.k.o.FileURL(t.mid, n)
}

func (t *turn) tooLarge(a schemas.Attachment) bool {
	limit := t.k.s.Traits.MaxFile
	return limit > 0 && a.Size > limit
}

func (t *turn) tags() []string {
	tags := slices.Clone(t.job.Decision.Tags)
	if limit := t.k.s.Traits.MaxTags; limit > 0 && len(tags) > limit {
		tags = tags[:limit]
	}
	return tags
}

// missing is the text of the note on messages and files that are not there.
func (t *turn) missing(doing *record.Doing) string {
	var lines []string
	for _, mid := range t.link.Gap {
		lines = append(lines, "An earlier message of this conversation could not be filed; it is a dead letter in Switchboard: "+mid)
	}
	for _, file := range doing.Missed {
		lines = append(lines, "A file could not be attached: "+file)
	}
	return strings.Join(lines, "\n")
}

// attachment returns the file of a part (from 1), false when there is none to
// send.
func (t *turn) attachment(part int) (schemas.File, bool) {
	if part < 1 || part > len(t.job.Message.Attachments) {
		return schemas.File{}, false
	}
	a := t.job.Message.Attachments[part-1]
	if a.Blob == "" || a.Missing != "" || t.tooLarge(a) {
		return schemas.File{}, false
	}
	blob := a.Blob
	return schemas.File{
		Key: record.CommentKey(t.k.s.Name, t.mid, part), Name: fileName(a, part), Type: a.Type, Size: a.Size,
		SHA256: a.SHA256, Blob: blob,
		Open: func() (io.ReadCloser, error) {
			r, err := t.k.o.Bus.Blob(context.Background(), blob)
			if errors.Is(err, bus.ErrNotFound) {
				return nil, fault.Permanent(err) // it was removed; trying again cannot bring it back
			}
			return r, err
		},
	}, true
}

func (t *turn) files() []schemas.File {
	var out []schemas.File
	for part := range len(t.job.Message.Attachments) {
		if f, ok := t.attachment(part + 1); ok {
			out = append(out, f)
		}
	}
	return out
}

func fileName(a schemas.Attachment, n int) string {
	if a.Name != "" {
		return a.Name
	}
	return fmt.Sprintf("file-%d", n)
}

// requester never has no identity, for a ticket is never anonymous (S-17).
func requester(m schemas.Message) schemas.Requester {
	r := m.Requester
	if len(r.Identities) == 0 {
		r.Identities = []schemas.Identity{{
			Kind: schemas.IdentityKind(m.Kind), Value: m.Conversation, Evidence: schemas.Guessed,
		}}
	}
	if r.Name == "" {
		r.Name = r.Label()
	}
	return r
}

// beginning is more of a text than a subject can show: a text may be long.
func beginning(text string) string {
	const enough = 2000
	if len(text) <= enough {
		return text
	}
	return strings.ToValidUTF8(text[:enough], "")
}

// cut shortens s to at most n characters, with an ellipsis; n 0 leaves it.
func cut(s string, n int) string {
	if n <= 0 || len(s) <= n {
		return s
	}
	// at is the byte at which the nth character begins.
	count, at := 0, 0
	for i := range s {
		if count++; count == n {
			at = i
		}
		if count > n {
			return strings.TrimSpace(s[:at]) + "…"
		}
	}
	return s
}
