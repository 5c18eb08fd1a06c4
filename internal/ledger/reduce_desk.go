package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"switchboard/schemas"
)

// ticket returns the row of a ticket, a new one where there is none.
func (b *batch) ticket(sink string, ref schemas.Ref, c change) *ticket {
	key := ticketKey{sink, ref.ID}
	t := b.tickets[key]
	if t == nil {
		when := micros(c.Time)
		t = &ticket{n: int64(c.Seq), id: ref.ID, sink: sink, openedAt: when, status: string(schemas.StatusNew)}
		b.tickets[key] = t
		b.torder = append(b.torder, t)
	}
	if ref.URL != "" {
		t.url = ref.URL
	}
	t.dirty = true
	return t
}

// ticketRow returns the row with number n, nil where it is gone.
func (b *batch) ticketRow(ctx context.Context, n int64) (*ticket, error) {
	for range 2 {
		// A batch has few tickets that are not the newest.
		for _, v := range slices.Backward(b.torder) {
			if v.n == n {
				return v, nil
			}
		}
		if err := b.w.findTicketRows.query(ctx, []any{n}, b.addTicket); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (b *batch) ticketChanged(c change, v *schemas.TicketChanged) {
	t := b.ticket(v.Sink, v.Ticket, c)
	b.name("sink", v.Sink)
	when := micros(v.At)
	e := b.entry(fmt.Sprintf("e%d", c.Seq), c)
	e.at, e.kind, e.author, e.role, e.visibility = when, "change", v.By, string(schemas.ByAgent), string(schemas.Internal)
	e.sink, e.ticket, e.conv, e.text = v.Sink, t.n, v.Conversation, changeText(v)
	if when < t.deskAt {
		return // a later state is known
	}
	t.deskAt = when
	if v.Status != "" {
		t.status = string(v.Status)
		t.deskTold |= toldStatus
	}
	if v.Assignee != nil {
		t.assignee = *v.Assignee
		t.deskTold |= toldAssignee
		b.name("assignee", t.assignee)
	}
	if v.Queue != nil {
		t.queue = *v.Queue
		t.deskTold |= toldQueue
		b.name("queue", t.queue)
	}
	if v.Priority != "" {
		t.priority = string(v.Priority)
		t.deskTold |= toldPriority
	}
	if v.Tags != nil {
		t.tags = lines(v.Tags)
		t.deskTold |= toldTags
	}
}

// changeText says in words what changed.
func changeText(v *schemas.TicketChanged) string {
	var words []string
	add := func(what, value string) {
		if value == "" {
			value = "nobody"
			if what != "assignee" {
				value = "none"
			}
		}
		words = append(words, what+" "+value)
	}
	if v.Status != "" {
		add("status", string(v.Status))
	}
	if v.Assignee != nil {
		add("assignee", *v.Assignee)
	}
	if v.Queue != nil {
		add("queue", *v.Queue)
	}
	if v.Priority != "" {
		add("priority", string(v.Priority))
	}
	if v.Tags != nil {
		add("tags", strings.Join(v.Tags, " "))
	}
	return strings.Join(words, ", ")
}

// entry returns the row under key, a new one where there is none.
func (b *batch) entry(key string, c change) *entry {
	e := b.entries[key]
	if e == nil {
		e = &entry{n: int64(c.Seq), key: key}
		b.entries[key] = e
		b.eorder = append(b.eorder, e)
	}
	e.dirty = true
	return e
}

// commentKey is the key of a comment's row: the reply it became, so that news of
// the reply finds it, or the comment.
func commentKey(v *schemas.Commented, seq uint64) string {
	switch {
	case v.Reply != "":
		return "r" + v.Reply
	case v.Comment.ID != "":
		return "c" + v.Sink + "\n" + v.Ticket.ID + "\n" + v.Comment.ID
	default:
		return fmt.Sprintf("e%d", seq)
	}
}

func (b *batch) commented(c change, v *schemas.Commented) {
	t := b.ticket(v.Sink, v.Ticket, c)
	b.name("sink", v.Sink)
	e := b.entry(commentKey(v, c.Seq), c)
	e.at = micros(v.Comment.At)
	if e.at == 0 {
		e.at = micros(v.At)
	}
	e.kind, e.author, e.role, e.text = "reply", v.Comment.Author.Name, string(v.Comment.Author.Role), v.Comment.Text
	e.visibility, e.reply, e.sink, e.ticket = string(v.Comment.Visibility), v.Reply, v.Sink, t.n
	if v.Conversation != "" {
		e.conv = v.Conversation
	}
	if e.author == "" && v.Comment.Author.Requester != nil {
		e.author = v.Comment.Author.Requester.Label()
	}
	e.files = attachments(v.Comment.Files)
	public := v.Comment.Visibility != schemas.Internal
	switch {
	case !public:
		e.kind = "note"
	case v.Comment.Author.Role == schemas.ByRequester:
		e.kind = "message" // said at the desk itself, in its portal
		t.asked = max(t.asked, e.at)
	case v.Comment.Author.Role == schemas.ByAgent:
		t.answered = max(t.answered, e.at)
	}
	t.said(e.at, e.author, brief(e.text))
}

// attachments turns the files of a comment into what an Entry shows, as JSON.
func attachments(files []schemas.File) string {
	if len(files) == 0 {
		return ""
	}
	list := make([]schemas.Attachment, len(files))
	for i, f := range files {
		list[i] = schemas.Attachment{Name: f.Name, Type: f.Type, Size: f.Size, SHA256: f.SHA256, Blob: f.Blob}
	}
	data, err := json.Marshal(list)
	if err != nil {
		return "" // strings and numbers cannot fail
	}
	return string(data)
}

func (b *batch) replied(c change, v *schemas.Replied) {
	e := b.entry("r"+v.Reply, c)
	if e.kind == "" {
		// The comment that it carries is not known yet, or never will be.
		e.at, e.kind, e.role, e.visibility = micros(v.At), "reply", string(schemas.ByAgent), string(schemas.Public)
		e.reply, e.sink = v.Reply, v.Sink
	}
	e.channel = v.Channel
	if e.conv == "" {
		e.conv = v.Conversation
	}
	if v.Ticket.ID != "" {
		e.ticket = b.ticket(v.Sink, v.Ticket, c).n
	}
	e.become(v.State, v.Reason, micros(v.At))
	b.alive("channel", v.Channel, micros(v.At))
	switch {
	case v.Dead != "":
		e.dead = v.Dead
		b.letter(letter{
			id: v.Dead, stage: "reply", at: micros(v.At), conv: v.Conversation, channel: v.Channel, sink: v.Sink,
			reply: v.Reply, reason: v.Reason, attempts: 1,
		})
	case v.State == "sent" && e.dead != "":
		b.then(`UPDATE dead SET state = 'mended', acted = $1 WHERE id = $2 AND state IN ('waiting', 'retried')`, micros(v.At), e.dead)
	}
}

func (b *batch) receipted(c change, v *schemas.Receipted) {
	when := micros(v.Receipt.At)
	if when == 0 {
		when = micros(v.At)
	}
	key := "r" + v.Reply
	if v.Reply == "" {
		if v.Conversation == "" {
			return // news of something that we did not send
		}
		key = fmt.Sprintf("e%d", c.Seq)
	}
	e := b.entry(key, c)
	if e.kind == "" {
		e.at, e.kind, e.visibility, e.reply = when, "receipt", string(schemas.Public), v.Reply
		e.channel, e.conv = v.Channel, v.Conversation
		if v.Reply != "" {
			e.kind, e.role = "reply", string(schemas.ByAgent)
		}
	}
	e.become(string(v.Receipt.State), v.Receipt.Reason, when)
}

func (b *batch) healthChanged(v *schemas.HealthChanged) {
	b.name(v.Side, v.Name)
	b.then(`INSERT INTO health (side, name, state, reason, at, last) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT (side, name) DO UPDATE SET state = excluded.state, reason = excluded.reason, at = excluded.at
		WHERE excluded.at >= health.at`, v.Side, v.Name, v.State, v.Reason, micros(v.At))
}

// A letter is a dead letter as its first event tells it.
type letter struct {
	id, stage                          string
	at                                 int64
	message                            string
	delivery                           int64
	conv, channel, sink, reply, reason string
	attempts                           int
}

// letter writes a dead letter. A person's word on it may have come before it.
func (b *batch) letter(d letter) {
	if d.id == "" {
		return
	}
	b.letters[d.id] = d
	b.then(`INSERT INTO dead (id, stage, at, message, delivery, conv, channel, sink, reply, reason, attempts, state, actor, acted)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'waiting', '', 0)
		ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, at = excluded.at, message = excluded.message,
			delivery = excluded.delivery, conv = excluded.conv, channel = excluded.channel, sink = excluded.sink,
			reply = excluded.reply, reason = excluded.reason, attempts = excluded.attempts`,
		d.id, d.stage, d.at, d.message, d.delivery, d.conv, d.channel, d.sink, d.reply, d.reason, d.attempts)
}

// requested notes what a person wants of a dead letter. A message that is tried
// again waits.
func (b *batch) requested(ctx context.Context, c change, r *schemas.Requested) error {
	row := b.messages[r.Message]
	if row == nil {
		var err error
		if row, err = b.deadRow(ctx, r.Dead); err != nil {
			return err
		}
	}
	state := "retried"
	if r.Action == "dismiss" {
		state = "dismissed"
	}
	b.then(`INSERT INTO dead (id, stage, at, message, delivery, conv, channel, sink, reply, reason, attempts, state, actor, acted)
		VALUES ($1, '', $2, $3, 0, $4, '', $5, '', '', 0, $6, $7, $2)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, actor = excluded.actor, acted = excluded.acted
		WHERE excluded.acted >= dead.acted`,
		r.Dead, micros(r.At), r.Message, r.Conversation, r.Sink, state, r.Actor.Name)
	if row == nil {
		return nil
	}
	b.event(c, requestedEvent, row.seq)
	for _, o := range row.outs {
		if o.dead != r.Dead {
			continue
		}
		o.seq, o.dirty = int64(c.Seq), true
		if r.Action == "retry" && o.state == dead {
			o.state, o.at, o.reason = waiting, 0, "tried again by "+r.Actor.Name
			o.version = max(o.version, int64(r.Version))
		}
	}
	return nil
}

// deadRow returns the row of the delivery or message whose dead letter is id, nil
// where there is none.
func (b *batch) deadRow(ctx context.Context, id string) (*message, error) {
	d, ok := b.letters[id]
	if !ok {
		err := b.w.conn.QueryRowContext(ctx, "SELECT message, delivery FROM dead WHERE id = $1", id).Scan(&d.message, &d.delivery)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	key := d.message
	if key == "" && d.delivery != 0 {
		key = deliveryID(uint64(d.delivery), 0)
	}
	if key == "" || b.messages[key] != nil {
		return b.messages[key], nil
	}
	return b.loadOne(ctx, key)
}

// loadOne fetches a row that the events of the batch do not name.
func (b *batch) loadOne(ctx context.Context, id string) (*message, error) {
	var m *message
	err := b.w.findMessages.query(ctx, []any{id}, func(rows *sql.Rows) error {
		m = new(message)
		return m.scan(rows)
	})
	if err != nil || m == nil {
		return nil, err
	}
	err = b.w.findOutcomes.query(ctx, []any{m.seq}, func(rows *sql.Rows) error {
		o := new(outcome)
		m.outs = append(m.outs, o)
		return o.scan(rows)
	})
	b.messages[id] = m
	b.order = append(b.order, m)
	b.tally.count(m, -1)
	return m, err
}
