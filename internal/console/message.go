package console

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// messageView is one message's whole story: why is it where it is?
type messageView struct {
	shell
	ledger.Story
	// Heading are the first words, quoted.
	Heading string
	Raw     *rawView
	Marked  []span
	Proof   []proof
	Tickets []ticketLink
	Events  []storyEvent
	// Looked says that a call was not answered and a look found what it had done.
	Looked bool
	Facts  messageFacts
}

// messageFacts are what stands beside the story.
type messageFacts struct {
	Rule  schemas.RuleRef
	Files []fileLink
}

// rawView is how the delivery came.
type rawView struct {
	Via, Method, Path string
	At                time.Time
	Bytes             int
	// Text is the delivery as received, "" until it is asked for.
	Text string
	// Cut says that Text ends before the delivery does.
	Cut bool
}

// span is a piece of a text; Letter names the evidence in it.
type span struct {
	Text, Letter string
}

// proof is one matched keyword.
type proof struct {
	Letter, Words string
	schemas.Keyword
}

// ticketLink is a ticket that the message is on.
type ticketLink struct {
	Sink, ID, URL string
	Opened        bool
}

type fileLink struct {
	schemas.Attachment
	Href string
}

// storyEvent is one later step; exactly one of the pointers is set.
type storyEvent struct {
	At        time.Time
	After     time.Duration
	Filed     *schemas.Filed
	Trouble   *schemas.Trouble
	Duplicate *schemas.Duplicate
	Request   *schemas.Requested
	Chart     *chartView
}

func (c *Console) message(w http.ResponseWriter, r *http.Request, v *visitor) error {
	story, err := c.opts.Ledger.Story(r.Context(), r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("read story: %w", err)
	}
	text := story.Message.Text
	if !v.Reads() {
		story = maskStory(story)
	}
	title := story.Requester
	s, err := c.shell(r, v, "flow", cmp.Or(title, story.Channel))
	if err != nil {
		return err
	}
	view := &messageView{shell: s, Story: story, Heading: heading(story)}
	view.Marked, view.Proof = marks(text, story.Classification.Keywords, "text", !v.Reads())
	view.Proof = append(view.Proof, others(story.Classification.Keywords, len(view.Proof))...)
	view.Message.Text = "" // only as Marked
	view.Events, view.Looked = storyEvents(story)
	view.Tickets = ticketLinks(story.Filed)
	for _, d := range story.Decisions {
		if len(d.Path) > 0 {
			view.Facts.Rule = d.Path[len(d.Path)-1]
		}
	}
	view.Facts.Files = fileLinks(story.ID, story.Message.Attachments)
	if view.Raw, err = c.rawOf(r, v, story.Delivery); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "message", view)
}

func heading(s ledger.Story) string {
	text := cmp.Or(s.Message.Subject, s.Preview)
	if utf8.RuneCountInString(text) > 90 {
		text = strings.TrimSpace(string([]rune(text)[:88])) + "…"
	}
	return text
}

// marks cuts text at the matches in it. Offsets that do not fit the text are
// not marked: the words are still listed.
func marks(text string, words []schemas.Keyword, in string, masked bool) (spans []span, proofs []proof) {
	show := func(s string) string {
		if masked {
			return mask(s)
		}
		return s
	}
	words = slices.Clone(words)
	slices.SortStableFunc(words, func(a, b schemas.Keyword) int { return cmp.Compare(a.Start, b.Start) })
	pos := 0
	for _, k := range words {
		if k.In != in || k.Start < pos || k.End <= k.Start || k.End > len(text) ||
			!utf8.RuneStart(text[k.Start]) || (k.End < len(text) && !utf8.RuneStart(text[k.End])) {
			continue
		}
		letter := letterOf(len(proofs))
		if k.Start > pos {
			spans = append(spans, span{Text: show(text[pos:k.Start])})
		}
		spans = append(spans, span{Text: show(text[k.Start:k.End]), Letter: letter})
		proofs = append(proofs, proof{Letter: letter, Words: show(text[k.Start:k.End]), Keyword: k})
		pos = k.End
	}
	if pos < len(text) {
		spans = append(spans, span{Text: show(text[pos:])})
	}
	return spans, proofs
}

// others lists the matches outside the text.
func others(words []schemas.Keyword, from int) []proof {
	var out []proof
	for _, k := range words {
		if k.In != "text" {
			out = append(out, proof{Letter: letterOf(from + len(out)), Words: k.Term, Keyword: k})
		}
	}
	return out
}

// letterOf counts a to z, then goes on with numbers.
func letterOf(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return strconv.Itoa(i + 1)
}

// storyEvents puts what happened after the decision in order of time.
func storyEvents(s ledger.Story) (events []storyEvent, looked bool) {
	for i := range s.Troubles {
		events = append(events, storyEvent{At: s.Troubles[i].At, Trouble: &s.Troubles[i], Chart: callChart(s.Troubles[i].Calls)})
	}
	for i := range s.Filed {
		f := &s.Filed[i]
		events = append(events, storyEvent{At: f.At, Filed: f, Chart: callChart(f.Calls)})
		unknown := slices.ContainsFunc(f.Calls, func(c schemas.Call) bool { return c.Outcome == "unknown" })
		adopted := slices.ContainsFunc(f.Calls, func(c schemas.Call) bool { return c.Outcome == "adopted" })
		looked = looked || (unknown && adopted)
	}
	for i := range s.Duplicates {
		events = append(events, storyEvent{At: s.Duplicates[i].At, Duplicate: &s.Duplicates[i]})
	}
	for i := range s.Requests {
		events = append(events, storyEvent{At: s.Requests[i].At, Request: &s.Requests[i]})
	}
	slices.SortStableFunc(events, func(a, b storyEvent) int { return a.At.Compare(b.At) })
	for i := range events {
		events[i].After = events[i].At.Sub(s.At)
	}
	return events, looked
}

func ticketLinks(filed []schemas.Filed) []ticketLink {
	var out []ticketLink
	for _, f := range filed {
		link := ticketLink{Sink: f.Sink, ID: f.Ticket.ID, URL: f.Ticket.URL, Opened: f.Opened}
		if !slices.ContainsFunc(out, func(o ticketLink) bool { return o.Sink == link.Sink && o.ID == link.ID }) {
			out = append(out, link)
		}
	}
	return out
}

func fileLinks(message string, files []schemas.Attachment) []fileLink {
	out := make([]fileLink, len(files))
	for i, f := range files {
		out[i].Attachment = f
		if f.Blob != "" && message != "" {
			out[i].Href = messageURL(message) + "/files/" + strconv.Itoa(i)
		}
	}
	return out
}

// rawShown is how much of a delivery a page shows; the rest can be downloaded.
const rawShown = 64 << 10

// rawOf returns how a delivery came, and its bytes if asked for by one who may
// read them. Nil means that it is not kept (any more).
func (c *Console) rawOf(r *http.Request, v *visitor, delivery uint64) (*rawView, error) {
	if delivery == 0 {
		return nil, nil //nolint:nilnil // nil is the documented answer
	}
	raw, err := c.opts.Actions.Raw(r.Context(), delivery)
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // nil is the documented answer
	}
	if err != nil {
		return nil, fmt.Errorf("read delivery: %w", err)
	}
	view := &rawView{Via: raw.Via, Method: raw.Method, At: raw.At, Bytes: len(raw.Body)}
	if u, err := url.Parse(raw.URL); err == nil {
		view.Path = u.EscapedPath()
	}
	if v.Reads() && r.URL.Query().Has("raw") {
		text := wire(raw)
		view.Cut = len(text) > rawShown
		view.Text = strings.ToValidUTF8(text[:min(len(text), rawShown)], "\uFFFD")
	}
	return view, nil
}

// wire writes a delivery as it would look on the wire.
func wire(raw Raw) string {
	var b strings.Builder
	target := raw.URL
	if u, err := url.Parse(raw.URL); err == nil {
		target = u.RequestURI()
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", cmp.Or(raw.Method, http.MethodPost), target)
	// A strings.Builder takes everything.
	_ = raw.Header.Write(&b)
	b.WriteString("\r\n")
	b.Write(raw.Body)
	return b.String()
}

// raw sends a delivery as a file.
func (c *Console) raw(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	story, err := c.opts.Ledger.Story(r.Context(), r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("read story: %w", err)
	}
	raw, err := c.opts.Actions.Raw(r.Context(), story.Delivery)
	if err != nil {
		return fmt.Errorf("read delivery: %w", err)
	}
	attach(w, "delivery-"+strconv.FormatUint(story.Delivery, 10)+".http")
	_, _ = io.WriteString(w, wire(raw)) // the browser may be gone
	return nil
}

// file sends an attachment of a message as a file, whatever type it claims.
func (c *Console) file(w http.ResponseWriter, r *http.Request, _ *visitor) error {
	story, err := c.opts.Ledger.Story(r.Context(), r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("read story: %w", err)
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	files := story.Message.Attachments
	if err != nil || n < 0 || n >= len(files) || files[n].Blob == "" {
		return ErrNotFound
	}
	body, err := c.opts.Actions.File(r.Context(), files[n].Blob)
	if err != nil {
		return fmt.Errorf("open attachment: %w", err)
	}
	defer func() { _ = body.Close() }() // only read from
	attach(w, cmp.Or(files[n].Name, "file"))
	if _, err := io.Copy(w, body); err != nil {
		c.opts.Log.Warn("attachment not sent whole", "message", story.ID, "err", err)
	}
	return nil
}

// attach makes the answer a download that no browser opens as a page of ours.
func attach(w http.ResponseWriter, name string) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Disposition", cmp.Or(mime.FormatMediaType("attachment", map[string]string{"filename": name}), "attachment"))
}
