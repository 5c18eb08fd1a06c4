package cmd

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"switchboard/internal/app"
	"switchboard/internal/ledger"
	"switchboard/internal/record"
)

func (c *cli) explain() *cobra.Command {
	return c.shared(&cobra.Command{
		Use: "explain ID", Short: "Tell a message's whole story: what came, what was decided and why, what the desk answered",
		Long: "ID is a message's id, a vendor's id of a message, a ticket's or a reply's id, or \"d\" and a delivery's number.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			var s ledger.Story
			if err := cl.do(cmd.Context(), http.MethodGet, "explain/"+url.PathEscape(args[0]), nil, &s); err != nil {
				return err
			}
			if c.json {
				return c.print(s)
			}
			c.tell(s)
			return nil
		},
	})
}

// tell prints a story for a person.
func (c *cli) tell(s ledger.Story) {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	at := func(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }
	line("message", "%s", s.ID)
	line("received", "%s from %s (%s), delivery %d", at(s.At), s.Channel, s.Kind, s.Delivery)
	if s.Ended != nil {
		line("ended", "%s: %s", s.Outcome, s.Ended.Reason)
		_ = w.Flush() // the terminal is gone
		return
	}
	line("from", "%s", s.Requester)
	line("about", "%s", s.Preview)
	line("conversation", "%s", s.Conversation)
	for _, d := range s.Duplicates {
		line("again", "%s: delivery %d was the same message and was dropped", at(d.At), d.Delivery)
	}
	var words []string
	for _, k := range s.Classification.Keywords {
		words = append(words, fmt.Sprintf("%s (%q)", k.Name, k.Term))
	}
	line("classified", "category %s, urgency %s; %s", or(s.Classification.Category, "none"), s.Classification.Urgency, or(strings.Join(words, ", "), "no keywords"))
	if s.Classification.Reason != "" {
		line("", "%s", s.Classification.Reason)
	}
	for _, d := range s.Decisions {
		var path []string
		for _, r := range d.Path {
			path = append(path, fmt.Sprintf("%s (line %d)", or(r.Name, "unnamed"), r.Line))
		}
		to := "to " + d.Sink
		if d.Drop != "" {
			to = "dropped: " + d.Drop
		}
		line("decided", "%s, queue %s, priority %s; rules %s: %s", to, or(d.Queue, "none"), or(string(d.Priority), "none"), s.Rules, strings.Join(path, " > "))
	}
	for _, t := range s.Troubles {
		line("trouble", "%s: %s, attempt %d: %s", at(t.At), t.Sink, t.Attempt, t.Reason)
	}
	for _, f := range s.Filed {
		for _, call := range f.Calls {
			line("called", "%s: %s %s, %s in %s %s", at(call.At), f.Sink, call.Op, call.Outcome, call.Took.Round(time.Microsecond), call.Words)
		}
		what := "added to"
		if f.Opened {
			what = "opened"
		}
		line("filed", "%s: %s ticket %s on %s", at(f.At), what, f.Ticket.ID, f.Sink)
	}
	line("outcome", "%s %s", s.Outcome, s.Reason)
	_ = w.Flush() // the terminal is gone
}

func or(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}

func (c *cli) audit() *cobra.Command {
	return c.shared(&cobra.Command{
		Use: "audit", Short: "Prove that everything accepted ended somewhere, or say exactly what is missing",
		Long: "Exit codes: 0 the books balance, 1 something is missing or the process cannot be reached.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			var b app.Books
			if err := cl.do(cmd.Context(), http.MethodGet, "audit", nil, &b); err != nil {
				return err
			}
			if c.json {
				if err := c.print(b); err != nil {
					return err
				}
			} else {
				c.tellBooks(b)
			}
			if !b.Balanced {
				return failed{exitFailed}
			}
			return nil
		},
	})
}

func (c *cli) tellBooks(b app.Books) {
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', tabwriter.AlignRight)
	for _, row := range []struct {
		n    int
		what string
	}{
		{b.Received, "received"},
		{b.Filed, "on a ticket"},
		{b.Duplicate, "repeats dropped"},
		{b.Ignored, "of no interest, with a reason"},
		{b.Dropped, "suppressed by a rule"},
		{b.Dead, "dead letters"},
		{b.Pending, "on their way"},
		{b.Forgotten, "forgotten on request"},
	} {
		fmt.Fprintf(w, "%d\t  %s\n", row.n, row.what)
	}
	_ = w.Flush() // the terminal is gone
	if b.Balanced {
		fmt.Fprintf(c.out, "The books balance; %d tickets.\n", b.Tickets)
		return
	}
	fmt.Fprintln(c.out, "The books do not balance:")
	for _, p := range b.Problems {
		fmt.Fprintln(c.out, " ", p)
	}
}

func (c *cli) dead() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "List, show and retry dead letters", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	var state string
	list := c.shared(&cobra.Command{
		Use: "list", Short: "List dead letters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listDead(cmd.Context(), state) },
	})
	list.Flags().StringVar(&state, "state", "waiting", "waiting, retried, mended or dismissed; empty for all")
	show := c.shared(&cobra.Command{
		Use: "show ID", Short: "Show one dead letter with its reason and a copy of what died", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.showDead(cmd.Context(), args[0]) },
	})
	retry := c.shared(&cobra.Command{
		Use: "retry ID", Short: "Try a dead letter again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.request(cmd.Context(), "dead/"+url.PathEscape(args[0])+"/retry", nil)
		},
	})
	cmd.AddCommand(list, show, retry)
	return cmd
}

// request asks for something to be done and prints what was.
func (c *cli) request(ctx context.Context, path string, in any) error {
	cl, err := c.connect()
	if err != nil {
		return err
	}
	var done app.Done
	if err := cl.do(ctx, http.MethodPost, path, in, &done); err != nil {
		return err
	}
	if c.json {
		return c.print(done)
	}
	fmt.Fprintln(c.out, done.Done)
	return nil
}

func (c *cli) listDead(ctx context.Context, state string) error {
	cl, err := c.connect()
	if err != nil {
		return err
	}
	var rows []ledger.DeadRow
	if err := cl.do(ctx, http.MethodGet, "dead?state="+url.QueryEscape(state), nil, &rows); err != nil {
		return err
	}
	if c.json {
		return c.print(rows)
	}
	if len(rows) == 0 {
		fmt.Fprintln(c.out, "no dead letters")
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSINCE\tSTAGE\tWHERE\tFROM\tREASON")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.At.Local().Format("2006-01-02 15:04"), r.Stage, or(r.Sink, r.Channel), r.Requester, r.Reason)
	}
	return w.Flush()
}

func (c *cli) showDead(ctx context.Context, id string) error {
	cl, err := c.connect()
	if err != nil {
		return err
	}
	var l record.Letter
	if err := cl.do(ctx, http.MethodGet, "dead/"+url.PathEscape(id), nil, &l); err != nil {
		return err
	}
	if c.json {
		return c.print(l)
	}
	w := tabwriter.NewWriter(c.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "dead letter\t%s\nsince\t%s\nstage\t%s, %s\nreason\t%s\n", l.ID, l.At.Local().Format("2006-01-02 15:04:05"), l.Stage, l.Place, l.Reason)
	switch {
	case l.Job != nil:
		fmt.Fprintf(w, "message\t%s from %s\nabout\t%s\n", l.Message, l.Job.Message.Requester.Label(), or(l.Job.Message.Subject, l.Job.Message.Text))
	case l.Reply != nil:
		fmt.Fprintf(w, "reply\t%s to %s\n", l.Message, l.Reply.Reply.To.Label())
	default:
		fmt.Fprintf(w, "delivery\t%d\n", l.Delivery)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(l.Body) > 0 {
		fmt.Fprintf(c.out, "\n%s\n", l.Body)
	}
	return nil
}

func (c *cli) forget() *cobra.Command {
	return c.shared(&cobra.Command{
		Use: "forget CONVERSATION", Short: "Erase a conversation from every store of ours, and say what could not be reached",
		Long: "CONVERSATION is the conversation's token, as explain prints it.", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := c.connect()
			if err != nil {
				return err
			}
			var f app.Forgetting
			if err := cl.do(cmd.Context(), http.MethodPost, "forget/"+url.PathEscape(args[0]), nil, &f); err != nil {
				return err
			}
			if c.json {
				return c.print(f)
			}
			fmt.Fprintf(c.out, "forgotten: %d messages, %d deliveries\nnot reached:\n", f.Messages, f.Deliveries)
			for _, n := range f.NotReached {
				fmt.Fprintln(c.out, " ", n)
			}
			return nil
		},
	})
}
