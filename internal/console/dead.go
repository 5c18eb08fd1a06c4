package console

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"switchboard/internal/ledger"
)

// States of dead letters.
const (
	deadWaiting   = "waiting"
	deadRetried   = "retried"
	deadMended    = "mended"
	deadDismissed = "dismissed"
)

// deadView is the dead letters: what was refused, in whose words, and what mends it?
type deadView struct {
	shell
	State   string
	Tabs    []tab
	Letters []letterView
	// One says that the page is of a single letter.
	One bool
	// Oldest is when the first of those waiting died.
	Oldest time.Time
	// Problem is what was wrong with the form of the letter Wrong.
	Problem, Wrong string
}

// letterView is one dead letter.
type letterView struct {
	ledger.DeadRow
	Icon string
	// Acts says that this visitor may retry or close it.
	Acts bool
	// Verb and What say what a retry does in the stage where it died.
	Verb, What string
	Form       string
}

var deadTabs = []tab{{Name: deadWaiting, Label: "Waiting"}, {Name: deadRetried, Label: "On their way"}, {Name: deadMended, Label: "Mended"}, {Name: deadDismissed, Label: "Closed"}}

func (c *Console) dead(w http.ResponseWriter, r *http.Request, v *visitor) error {
	s, err := c.shell(r, v, "dead", "Dead letters")
	if err != nil {
		return err
	}
	view := &deadView{shell: s, State: deadWaiting}
	for _, t := range deadTabs {
		if t.Name == r.URL.Query().Get("v") {
			view.State = t.Name
		}
	}
	for _, t := range deadTabs {
		rows, err := c.opts.Ledger.Dead(r.Context(), t.Name)
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		t.N, t.Here = len(rows), t.Name == view.State
		view.Tabs = append(view.Tabs, t)
		for _, row := range rows {
			if t.Name == deadWaiting && (view.Oldest.IsZero() || row.At.Before(view.Oldest)) {
				view.Oldest = row.At
			}
			if t.Here {
				view.Letters = append(view.Letters, c.letterView(row, v, s.Form))
			}
		}
	}
	return c.render(w, http.StatusOK, "dead", view)
}

func (c *Console) letter(w http.ResponseWriter, r *http.Request, v *visitor) error {
	view, err := c.oneLetter(r, v)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "dead", view)
}

func (c *Console) oneLetter(r *http.Request, v *visitor) (*deadView, error) {
	row, err := c.opts.Ledger.DeadLetter(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, fmt.Errorf("read dead letter: %w", err)
	}
	s, err := c.shell(r, v, "dead", "Dead letter")
	if err != nil {
		return nil, err
	}
	return &deadView{shell: s, State: row.State, One: true, Letters: []letterView{c.letterView(row, v, s.Form)}}, nil
}

func (c *Console) letterView(row ledger.DeadRow, v *visitor, form string) letterView {
	if !v.Reads() {
		row.Preview, row.Requester, row.Reason = mask(row.Preview), maskName(row.Requester), maskReason(row.Reason)
	}
	l := letterView{DeadRow: row, Icon: c.kindIcon(row.Channel), Form: form}
	l.Acts = v.Role.may(Agent) && (row.State == deadWaiting || row.State == deadDismissed)
	switch row.Stage {
	case "pipeline":
		l.Verb, l.What = "Read it again", "It could not be read. The bytes are kept as they came; reading them again helps once the reader or the rules have changed."
	case "reply":
		l.Verb, l.What = "Send it again", "An answer did not reach the customer. Sending it again may show it to them twice if the first try did arrive."
	default:
		l.Verb, l.What = "Retry", "The desk refused it, and a refusal is not repeated by itself. Mend the cause, then retry."
	}
	return l
}

func (c *Console) retry(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return c.act(w, r, v, "retried", func(id, _ string) (uint64, error) {
		return c.opts.Actions.Retry(r.Context(), v.actor(), id)
	})
}

func (c *Console) dismiss(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return c.act(w, r, v, "dismissed", func(id, reason string) (uint64, error) {
		return c.opts.Actions.Dismiss(r.Context(), v.actor(), id, reason)
	})
}

// act does one thing to the dead letter of the request.
func (c *Console) act(w http.ResponseWriter, r *http.Request, v *visitor, done string, do func(id, reason string) (uint64, error)) error {
	if err := r.ParseForm(); err != nil {
		return badForm(err)
	}
	view, err := c.oneLetter(r, v)
	if err != nil {
		return err
	}
	letter := view.Letters[0]
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if !letter.Acts || (done == "dismissed" && letter.State != deadWaiting) {
		return &refusal{status: http.StatusConflict, title: "Somebody was faster", words: "This letter is " + letter.State + ". Nothing was done.", next: "Look at it again."}
	}
	if n := utf8.RuneCountInString(reason); done == "dismissed" && (n < 3 || n > 500) {
		view.Problem, view.Wrong = "Say in 3 to 500 characters why nothing is to be done.", letter.ID
		return c.render(w, http.StatusUnprocessableEntity, "dead", view)
	}
	form := r.PostFormValue("form")
	if form != "" {
		form += letter.ID // one page has many letters
	}
	if !c.forms.claim(form) {
		done = "twice"
	} else {
		seq, err := do(letter.ID, reason)
		if err != nil {
			c.forms.release(form)
			return fmt.Errorf("act on dead letter: %w", err)
		}
		c.settle(r.Context(), seq)
	}
	http.Redirect(w, r, deadURL(letter.ID)+"?done="+done, http.StatusSeeOther)
	return nil
}
