package console

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/internal/ledger"
)

// flowView is the live flow: is everything moving, and if not, where does it stand?
type flowView struct {
	shell
	flowParts
	Query    ledger.FlowQuery
	Rows     []ledger.FlowRow
	Outcomes []choice
	// Events is the address of the stream, "" on a page of older messages.
	Events string
	// Older is the address of the next page, "" on the last.
	Older string
	At    time.Time
}

// Narrowed says that the reader asked for some messages only.
func (v *flowView) Narrowed() bool {
	q := v.Query
	return q.Text != "" || q.Channel != "" || q.Sink != "" || q.Outcome != ""
}

// flowParts is what stands above the rows and changes with them.
type flowParts struct {
	Channels, Sinks []laneView
	Hour            booksView
	Verdict         flowVerdict
}

// laneView is one channel or sink in the strip.
type laneView struct {
	ledger.HealthRow
	Icon string
}

// flowVerdict are the numbers of the sentence under the heading.
type flowVerdict struct {
	// Half is within what time half of the messages reached their desk in the last
	// hour, at the slowest of the desks; zero: none did.
	Half    time.Duration
	Waiting int
	Trouble []ledger.HealthRow
}

// choice is one option of a list.
type choice struct {
	Value, Label string
}

var outcomes = []choice{
	{string(ledger.OutcomeFiled), "On a ticket"},
	{string(ledger.OutcomeWaiting), "Waiting"},
	{string(ledger.OutcomeIgnored), "No ticket needed"},
	{string(ledger.OutcomeDropped), "Dropped by a rule"},
	{string(ledger.OutcomeDuplicate), "Twice sent"},
	{string(ledger.OutcomeDead), "Dead"},
	{string(ledger.OutcomeForgotten), "Forgotten"},
}

const flowRows = 50

func (c *Console) flow(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q := flowQuery(r.URL.Query())
	rows, err := c.rows(r, v, q)
	if err != nil {
		return err
	}
	s, err := c.shell(r, v, "flow", "Flow")
	if err != nil {
		return err
	}
	view := &flowView{shell: s, Query: q, Rows: rows, Outcomes: outcomes, At: c.opts.Now()}
	if len(rows) == 0 && !view.Narrowed() && q.Before == "" && s.Nav.Books.Accepted == 0 {
		return c.empty(w, s)
	}
	if view.flowParts, err = c.parts(r); err != nil {
		return err
	}
	view.Live = q.Before == ""
	if view.Live {
		view.Events = "/events?" + flowLink(q, "after", strconv.FormatUint(newest(rows), 10))
	}
	if len(rows) > 0 && len(rows) == q.Limit {
		view.Older = "/?" + flowLink(q, "before", rows[len(rows)-1].ID)
	}
	return c.render(w, http.StatusOK, "flow", view)
}

func flowQuery(q url.Values) ledger.FlowQuery {
	out := ledger.FlowQuery{Text: strings.TrimSpace(q.Get("q")), Channel: q.Get("channel"), Sink: q.Get("sink"), Before: q.Get("before"), Limit: flowRows}
	if slices.ContainsFunc(outcomes, func(o choice) bool { return o.Value == q.Get("outcome") }) {
		out.Outcome = ledger.Outcome(q.Get("outcome"))
	}
	return out
}

// flowLink returns the query of a page like q, with one thing added.
func flowLink(q ledger.FlowQuery, name, value string) string {
	out := url.Values{}
	for key, v := range map[string]string{"q": q.Text, "channel": q.Channel, "sink": q.Sink, "outcome": string(q.Outcome), name: value} {
		if v != "" {
			out.Set(key, v)
		}
	}
	return out.Encode()
}

// rows returns the rows of q as v may see them. Viewers find by number only: to
// search the text would be to read it, word by word.
func (c *Console) rows(r *http.Request, v *visitor, q ledger.FlowQuery) ([]ledger.FlowRow, error) {
	if !v.Reads() {
		q.Text = strings.TrimPrefix(q.Text, "#")
	}
	rows, err := c.opts.Ledger.Flow(r.Context(), q)
	if err != nil {
		return nil, fmt.Errorf("read flow: %w", err)
	}
	var out []ledger.FlowRow
	for _, row := range rows {
		if row, ok := visible(v, q, row); ok {
			out = append(out, row)
		}
	}
	return out, nil
}

// visible returns row as v may see it as an answer to q, if at all.
func visible(v *visitor, q ledger.FlowQuery, row ledger.FlowRow) (ledger.FlowRow, bool) {
	if v.Reads() {
		return row, true
	}
	ok := q.Text == "" || q.Text == row.ID || q.Text == row.Ticket.ID
	return maskRow(row), ok
}

// parts returns what stands above the rows, from the last hour.
func (c *Console) parts(r *http.Request) (flowParts, error) {
	now := c.opts.Now()
	rows, err := c.opts.Ledger.Health(r.Context(), now)
	if err != nil {
		return flowParts{}, fmt.Errorf("read health: %w", err)
	}
	counts, err := c.opts.Ledger.Counts(r.Context(), now.Add(-time.Hour))
	if err != nil {
		return flowParts{}, fmt.Errorf("read books: %w", err)
	}
	p := flowParts{Hour: books(counts), Verdict: flowVerdict{Trouble: troubled(rows)}}
	for _, row := range rows {
		lane := laneView{HealthRow: row, Icon: "desk"}
		if row.Side == sideChannel {
			lane.Icon = c.kindIcon(row.Name)
			p.Channels = append(p.Channels, lane)
			continue
		}
		p.Sinks = append(p.Sinks, lane)
		p.Verdict.Half = max(p.Verdict.Half, row.Half)
		p.Verdict.Waiting += row.Waiting
	}
	return p, nil
}

// Sum writes the books of the hour as the sum that they are.
func (b booksView) Sum() string {
	var parts []string
	for _, n := range []int{b.Filed, b.Duplicate, b.Ignored, b.Dropped, b.Waiting, b.Dead, b.Forgotten} {
		if n > 0 {
			parts = append(parts, num(n))
		}
	}
	if len(parts) == 0 {
		parts = []string{"0"}
	}
	sign := " = "
	if b.Missing != 0 {
		sign = " ≠ "
	}
	return num(b.Accepted) + sign + strings.Join(parts, " + ")
}

func newest(rows []ledger.FlowRow) uint64 {
	var seq uint64
	for _, row := range rows {
		seq = max(seq, row.Seq)
	}
	return seq
}

// emptyView is the first page of a new installation: what do I do first?
type emptyView struct {
	shell
	// Page is where to write a message, Sample how to send one from a terminal.
	Page, Sample string
	Channels     []Instance
	Sinks        []Instance
}

func (c *Console) empty(w http.ResponseWriter, s shell) error {
	s.Title = "Welcome"
	view := &emptyView{shell: s, Channels: c.opts.Channels, Sinks: c.opts.Sinks}
	for _, in := range c.opts.Channels {
		if view.Page == "" {
			view.Page = in.Page
		}
		if view.Sample == "" {
			view.Sample = in.Sample
		}
	}
	return c.render(w, http.StatusOK, "empty", view)
}
