package console

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// ticketView is one ticket and its thread: who is this, what was said, what do
// I owe them?
type ticketView struct {
	shell
	ledger.TicketView
	Thread []entryView
	// Answers says that the ticket is answered here; Acts that this visitor may.
	Answers, Acts bool
	// Mute names the channel that the customer wrote on last, if it carries no answers.
	Mute     string
	Statuses []schemas.Status
	// Text, Note and Problem bring a refused form back.
	Text    string
	Note    bool
	Problem string
}

// Kinds of entries.
const (
	entryMessage = "message"
	entryReply   = "reply"
	entryNote    = "note"
	entryChange  = "change"
	entryReceipt = "receipt"
)

// entryView is one entry of a thread or timeline.
type entryView struct {
	ledger.Entry
	Files []fileLink
	// Class is the row's style: agent, priv, sys or "".
	Class string
	Done  answerView
}

// answerLimit is the longest answer in characters.
const answerLimit = 20_000

// settable are the statuses that a person sets; new and closed come by themselves.
var settable = []schemas.Status{schemas.StatusOpen, schemas.StatusPending, schemas.StatusOnHold, schemas.StatusSolved}

func (c *Console) ticket(w http.ResponseWriter, r *http.Request, v *visitor) error {
	view, err := c.ticketView(r, v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "ticket", view)
}

func (c *Console) ticketView(r *http.Request, v *visitor) (*ticketView, error) {
	t, err := c.opts.Ledger.Ticket(r.Context(), r.PathValue("sink"), r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("read ticket: %w", err)
	}
	if !v.Reads() {
		t.TicketRow, t.Entries, t.Person, t.Others = maskTicket(t.TicketRow), maskEntries(t.Entries), maskRequester(t.Person), maskTickets(t.Others)
	}
	s, err := c.shell(r, v, "tickets", t.Subject)
	if err != nil {
		return nil, err
	}
	view := &ticketView{shell: s, TicketView: t, Thread: entryViews(t.Entries), Statuses: settable}
	view.Answers = c.opts.Actions.Answers(t.Sink)
	view.Acts = view.Answers && v.Role.may(Agent) && t.Status != schemas.StatusClosed
	view.Mute = c.mute(t.Entries)
	view.Note = view.Mute != ""
	return view, nil
}

// mute names the channel of the customer's newest message if it cannot carry an
// answer: an agent has to know before writing one.
func (c *Console) mute(entries []ledger.Entry) string {
	for _, entrie := range slices.Backward(entries) {
		if e := entrie; e.Kind == entryMessage {
			if c.instance(c.opts.Channels, e.Channel).Mute {
				return e.Channel
			}
			return ""
		}
	}
	return ""
}

func entryViews(entries []ledger.Entry) []entryView {
	out := make([]entryView, len(entries))
	for i, e := range entries {
		v := entryView{Entry: e, Files: fileLinks(e.Message, e.Attachments)}
		switch e.Kind {
		case entryReply:
			v.Class, v.Done = "agent", replyWords(e.State)
		case entryNote:
			v.Class = "priv"
		case entryChange, entryReceipt:
			v.Class = "sys"
		}
		out[i] = v
	}
	return out
}

// replyWords says how far a reply has come.
func replyWords(state string) answerView {
	switch state {
	case "":
		return answerView{}
	case "queued":
		return answerView{"dim", "wait", "on its way"}
	case "sent", "delivered", "read":
		return answerView{"ok", "check", state}
	case "failed":
		return answerView{"bad", "bad", "not sent"}
	default:
		return answerView{"warn", "warn", "nobody knows whether it arrived; it is not sent twice"}
	}
}

// answer adds a comment or note, and sets the status if the form says one.
func (c *Console) answer(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	view, err := c.acting(r, v)
	if err != nil {
		return err
	}
	here := ticketURL(view.Sink, view.Ticket.ID)
	view.Text, view.Note = strings.ReplaceAll(r.PostFormValue("text"), "\r\n", "\n"), r.PostFormValue("as") == string(schemas.Internal)
	change, err := statusChange(r.PostFormValue("status"))
	if err != nil {
		return err
	}
	visible, done := schemas.Public, "answered"
	if view.Note {
		visible, done = schemas.Internal, "noted"
	}
	switch {
	case strings.TrimSpace(view.Text) == "":
		view.Problem = "There is no text yet. Nothing was sent."
	case !utf8.ValidString(view.Text) || utf8.RuneCountInString(view.Text) > answerLimit:
		view.Problem = "The text is longer than " + num(answerLimit) + " characters. Nothing was sent; shorten it."
	}
	if view.Problem != "" {
		return c.render(w, http.StatusUnprocessableEntity, "ticket", view)
	}
	form := r.PostFormValue("form")
	if !c.forms.claim(form) {
		http.Redirect(w, r, here+"?done=twice", http.StatusSeeOther)
		return nil
	}
	seq, err := c.opts.Actions.Answer(r.Context(), v.actor(), view.Sink, view.Ticket.ID, view.Text, visible)
	if err != nil {
		c.forms.release(form)
		c.opts.Log.Error("answer not taken", "sink", view.Sink, "ticket", view.Ticket.ID, "err", err)
		view.Problem = "It was not sent. Your text is still here; try again."
		return c.render(w, http.StatusServiceUnavailable, "ticket", view)
	}
	if change.Status != nil && *change.Status != view.Status {
		if seq, err = c.opts.Actions.Update(r.Context(), v.actor(), view.Sink, view.Ticket.ID, change); err != nil {
			return fmt.Errorf("set status after answer: %w", err)
		}
	}
	c.settle(r.Context(), seq)
	http.Redirect(w, r, here+"?done="+done+"#end", http.StatusSeeOther)
	return nil
}

// update sets status and assignee.
func (c *Console) update(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	view, err := c.acting(r, v)
	if err != nil {
		return err
	}
	change, err := statusChange(r.PostFormValue("status"))
	if err != nil {
		return err
	}
	if change.Status != nil && *change.Status == view.Status {
		change.Status = nil
	}
	if r.PostForm.Has("assignee") {
		if who := strings.TrimSpace(r.PostFormValue("assignee")); who != view.Assignee && len(who) <= 200 {
			change.Assignee = &who
		}
	}
	if change.Status != nil || change.Assignee != nil {
		seq, err := c.opts.Actions.Update(r.Context(), v.actor(), view.Sink, view.Ticket.ID, change)
		if err != nil {
			return fmt.Errorf("update ticket: %w", err)
		}
		c.settle(r.Context(), seq)
	}
	http.Redirect(w, r, ticketURL(view.Sink, view.Ticket.ID)+"?done=updated", http.StatusSeeOther)
	return nil
}

// acting returns the ticket of a request that wants to change it.
func (c *Console) acting(r *http.Request, v *visitor) (*ticketView, error) {
	view, err := c.ticketView(r, v)
	if err != nil {
		return nil, err
	}
	if !view.Acts {
		return nil, &refusal{
			status: http.StatusConflict, title: "Not answered here",
			words: "This ticket is closed, or lives on a desk of its own. Nothing was changed.", next: "Answer where the ticket is kept.",
		}
	}
	return view, nil
}

func statusChange(s string) (schemas.Change, error) {
	if s == "" {
		return schemas.Change{}, nil
	}
	status := schemas.Status(s)
	if !slices.Contains(settable, status) {
		return schemas.Change{}, &refusal{status: http.StatusBadRequest, title: "No such status", words: "Nothing was done.", next: "Choose one of the list."}
	}
	return schemas.Change{Status: &status}, nil
}
