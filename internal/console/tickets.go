package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// ticketsView is the list of tickets: which one do I take next?
type ticketsView struct {
	shell
	Query  ledger.TicketQuery
	View   string
	Tabs   []tab
	Rows   []ledger.TicketRow
	Total  int
	Sinks  []Instance
	Newer  string
	Older  string
	First  int
	Search bool
}

// tab is one saved view and how much is in it.
type tab struct {
	Name, Label string
	Here        bool
	N           int
}

const ticketRows = 50

// ticketTab returns the query of a saved view; an unknown name is the first.
func ticketTab(name, user string) (string, ledger.TicketQuery) {
	switch name {
	case "open":
		return name, ledger.TicketQuery{Open: true}
	case "mine":
		return name, ledger.TicketQuery{Open: true, Assignee: user}
	case "waits":
		return name, ledger.TicketQuery{Status: schemas.StatusPending}
	case "solved":
		return name, ledger.TicketQuery{Status: schemas.StatusSolved}
	case "all":
		return name, ledger.TicketQuery{}
	default:
		return "answer", ledger.TicketQuery{NeedsAnswer: true, Oldest: true}
	}
}

var ticketTabs = []tab{
	{Name: "answer", Label: "Needs an answer"},
	{Name: "mine", Label: "Mine"},
	{Name: "open", Label: "Open"},
	{Name: "waits", Label: "Waits for customer"},
	{Name: "solved", Label: "Solved"},
	{Name: "all", Label: "All"},
}

func (c *Console) tickets(w http.ResponseWriter, r *http.Request, v *visitor) error {
	params := r.URL.Query()
	s, err := c.shell(r, v, "tickets", "Tickets")
	if err != nil {
		return err
	}
	view := &ticketsView{shell: s, Sinks: c.opts.Sinks}
	view.View, view.Query = ticketTab(params.Get("v"), v.Name)
	if view.Tabs, err = c.ticketTabs(r, v, view.View); err != nil {
		return err
	}
	q := &view.Query
	q.Text, q.Sink, q.Queue, q.Limit = strings.TrimSpace(params.Get("q")), params.Get("sink"), params.Get("queue"), ticketRows
	switch params.Get("order") {
	case "oldest":
		q.Oldest = true
	case "newest":
		q.Oldest = false
	}
	if n, err := strconv.Atoi(params.Get("from")); err == nil && n > 0 {
		q.Offset = n
	}
	view.Search = q.Text != "" || q.Sink != "" || q.Queue != ""
	if view.Rows, view.Total, err = c.ticketRows(r, v, *q); err != nil {
		return err
	}
	view.First = q.Offset + 1
	if q.Offset > 0 {
		view.Newer = ticketsLink(params, max(0, q.Offset-ticketRows))
	}
	if q.Offset+len(view.Rows) < view.Total {
		view.Older = ticketsLink(params, q.Offset+ticketRows)
	}
	return c.render(w, http.StatusOK, "tickets", view)
}

// ticketRows returns the tickets of q as v may see them. As with messages,
// viewers find by number only.
func (c *Console) ticketRows(r *http.Request, v *visitor, q ledger.TicketQuery) ([]ledger.TicketRow, int, error) {
	if !v.Reads() {
		q.Text = strings.TrimPrefix(q.Text, "#")
	}
	rows, total, err := c.opts.Ledger.Tickets(r.Context(), q)
	if err != nil {
		return nil, 0, fmt.Errorf("read tickets: %w", err)
	}
	if v.Reads() {
		return rows, total, nil
	}
	if q.Text == "" {
		return maskTickets(rows), total, nil
	}
	var found []ledger.TicketRow
	for _, t := range rows {
		if t.Ticket.ID == q.Text {
			found = append(found, maskTicket(t))
		}
	}
	return found, len(found), nil
}

func (c *Console) ticketTabs(r *http.Request, v *visitor, here string) ([]tab, error) {
	var tabs []tab
	for _, t := range ticketTabs {
		_, q := ticketTab(t.Name, v.Name)
		q.Limit = 1
		_, n, err := c.opts.Ledger.Tickets(r.Context(), q)
		if err != nil {
			return nil, fmt.Errorf("count tickets: %w", err)
		}
		t.Here, t.N = t.Name == here, n
		tabs = append(tabs, t)
	}
	return tabs, nil
}

// ticketsLink returns the address of another page of the same list.
func ticketsLink(q url.Values, from int) string {
	out := url.Values{}
	for _, key := range []string{"v", "q", "sink", "queue", "order"} {
		if s := q.Get(key); s != "" {
			out.Set(key, s)
		}
	}
	if from > 0 {
		out.Set("from", strconv.Itoa(from))
	}
	return "/tickets?" + out.Encode()
}
