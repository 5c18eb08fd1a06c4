package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"switchboard/schemas"
)

// A thread gathers the entries of a ticket or of a person.
type thread struct {
	tx            *sql.Tx
	tickets       map[int64]*ticket
	entries       []numbered
	seen          map[int64]bool
	conversations []string
	person        schemas.Requester
}

// A numbered entry has its first event's sequence, which orders entries of one time.
type numbered struct {
	Entry
	n int64
}

// messages adds the messages seqs, oldest first, with what they say of the person.
func (th *thread) messages(ctx context.Context, seqs []int64) error {
	ms := make([]*message, 0, len(seqs))
	err := in(ctx, th.tx, "SELECT "+messagesTable.list("")+" FROM messages WHERE seq IN", seqs, func(rows *sql.Rows) error {
		m := new(message)
		ms = append(ms, m)
		return m.scan(rows)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(ms, func(a, b *message) int { return cmp.Compare(a.seq, b.seq) })
	if _, err := readOutcomes(ctx, th.tx, ms); err != nil {
		return err
	}
	said := map[int64]*schemas.Decided{}
	err = decisions(ctx, th.tx, seqs, func(seq int64, _ string, d *schemas.Decided) { said[seq] = d })
	if err != nil {
		return err
	}
	for _, m := range ms {
		if m.conv != "" && !slices.Contains(th.conversations, m.conv) {
			th.conversations = append(th.conversations, m.conv)
		}
		e := Entry{
			At: at(m.at), Kind: "message", Author: m.requester, Role: schemas.ByRequester, Channel: m.channel,
			Visibility: schemas.Public, Message: m.id,
		}
		if d := said[m.seq]; d != nil {
			e.Text, e.Attachments = d.Message.Text, d.Message.Attachments
			if e.Text == "" {
				e.Text = d.Message.Subject
			}
			th.person = merge(th.person, d.Message.Requester)
		}
		for _, o := range m.outs {
			if t, err := th.ticket(ctx, o.ticket); err != nil {
				return err
			} else if t != nil {
				e.Sink, e.Ticket = t.sink, t.ref()
			}
		}
		th.entries = append(th.entries, numbered{e, m.seq})
	}
	return nil
}

// ticket returns the ticket with number n, nil for none.
func (th *thread) ticket(ctx context.Context, n int64) (*ticket, error) {
	if t, ok := th.tickets[n]; ok || n == 0 {
		return t, nil
	}
	ts, err := readTickets(ctx, th.tx, " WHERE t.n = $1", n)
	if err != nil || len(ts) == 0 {
		return nil, err
	}
	th.tickets[n] = ts[0]
	return ts[0], nil
}

// comments adds the entries whose column col is key.
func (th *thread) comments(ctx context.Context, col string, key any) error {
	var list []*entry
	rows, err := th.tx.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM entries WHERE %s = $1 AND %s <> %s", entriesTable.list(""), col, col,
		map[string]string{"ticket": "0", "conv": "''"}[col]), key)
	err = each(rows, err, func(rows *sql.Rows) error {
		e := new(entry)
		list = append(list, e)
		return e.scan(rows)
	})
	if err != nil {
		return err
	}
	if th.seen == nil {
		th.seen = map[int64]bool{}
	}
	for _, e := range list {
		if th.seen[e.n] {
			continue
		}
		th.seen[e.n] = true
		t, err := th.ticket(ctx, e.ticket)
		if err != nil {
			return err
		}
		v := Entry{
			At: at(e.at), Kind: e.kind, Author: e.author, Role: schemas.AuthorRole(e.role), Channel: e.channel, Text: e.text,
			Visibility: schemas.Visibility(e.visibility), Reply: e.reply, State: e.state, Reason: e.reason, Sink: e.sink,
		}
		if t != nil {
			v.Ticket = t.ref()
		}
		if e.files != "" {
			if err := json.Unmarshal([]byte(e.files), &v.Attachments); err != nil {
				return err
			}
		}
		th.entries = append(th.entries, numbered{v, e.n})
	}
	return nil
}

// sorted returns the entries, oldest first.
func (th *thread) sorted() []Entry {
	slices.SortFunc(th.entries, func(a, b numbered) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.n, b.n)) })
	out := make([]Entry, len(th.entries))
	for i, e := range th.entries {
		out[i] = e.Entry
	}
	return out
}

// merge adds what newer says of a person, all identities with their best evidence.
func merge(known, newer schemas.Requester) schemas.Requester {
	if newer.Name != "" {
		known.Name = newer.Name
	}
	if newer.Locale != "" {
		known.Locale = newer.Locale
	}
	grades := []schemas.Evidence{schemas.Attested, schemas.Asserted, schemas.Guessed, ""}
	rank := func(e schemas.Evidence) int { return slices.Index(grades, e) }
	ids := slices.Clone(known.Identities)
	for _, id := range newer.Identities {
		i := slices.IndexFunc(ids, func(k schemas.Identity) bool { return k.Kind == id.Kind && k.Value == id.Value })
		switch {
		case i < 0:
			ids = append(ids, id)
		case rank(id.Evidence) < rank(ids[i].Evidence):
			ids[i].Evidence = id.Evidence
		}
	}
	slices.SortStableFunc(ids, func(a, b schemas.Identity) int { return cmp.Compare(rank(a.Evidence), rank(b.Evidence)) })
	known.Identities = ids
	return known
}
