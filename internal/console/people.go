package console

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"switchboard/schemas"
)

// personView is all that one person and we said to each other.
type personView struct {
	shell
	Person  schemas.Requester
	Thread  []entryView
	Tickets []ticketLink
	// Messages, Replies, First and Channels sum the timeline up.
	Messages, Replies int
	First             time.Time
	Channels          []string
}

func (c *Console) person(w http.ResponseWriter, r *http.Request, v *visitor) error {
	entries, who, err := c.opts.Ledger.Timeline(r.Context(), r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("read timeline: %w", err)
	}
	if !v.Reads() {
		entries, who = maskEntries(entries), maskRequester(who)
	}
	s, err := c.shell(r, v, "tickets", cmp.Or(who.Label(), "Unknown"))
	if err != nil {
		return err
	}
	view := &personView{shell: s, Person: who, Thread: entryViews(entries)}
	for _, e := range entries {
		if view.First.IsZero() || e.At.Before(view.First) {
			view.First = e.At
		}
		switch e.Kind {
		case entryMessage:
			view.Messages++
			if !slices.Contains(view.Channels, e.Channel) {
				view.Channels = append(view.Channels, e.Channel)
			}
		case entryReply:
			view.Replies++
		}
		link := ticketLink{Sink: e.Sink, ID: e.Ticket.ID}
		if link.ID != "" && !slices.Contains(view.Tickets, link) {
			view.Tickets = append(view.Tickets, link)
		}
	}
	return c.render(w, http.StatusOK, "person", view)
}
