package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"switchboard/schemas"
)

// What an event is in the table of events; those above filedEvent are found by
// their message, those below by the rows that name them.
const (
	decidedEvent = iota + 1
	filedEvent
	duplicateEvent
	endedEvent
	troubleEvent
	requestedEvent
	decidedAgain
	filedAgain
)

// event writes the row of c, which belongs to the story of msg.
func (b *batch) event(c change, kind int, msg int64) {
	b.events = append(b.events, int64(c.Seq), c.ce, msg, kind, c.Data)
}

// reduce does what c says to the rows.
func (b *batch) reduce(ctx context.Context, c change) error {
	if c.Type != schemas.EventDecided && c.Type != schemas.EventFiled {
		b.seen = append(b.seen, c.ce)
	}
	switch v := c.body.(type) {
	case *schemas.Decided:
		return b.decided(ctx, c, v)
	case *schemas.Duplicate:
		b.duplicate(c, v)
	case *schemas.DeliveryEnded:
		b.ended(c, v)
	case *schemas.Filed:
		return b.filed(ctx, c, v)
	case *schemas.Trouble:
		b.trouble(c, v)
	case *schemas.Requested:
		return b.requested(ctx, c, v)
	case *schemas.TicketChanged:
		b.ticketChanged(c, v)
	case *schemas.Commented:
		b.commented(c, v)
	case *schemas.Replied:
		b.replied(c, v)
	case *schemas.Receipted:
		b.receipted(c, v)
	case *schemas.HealthChanged:
		b.healthChanged(v)
	}
	return nil
}

// deliveryID is the id of the row of a delivery that became no message. One of
// which nothing was kept has no sequence of its own.
func deliveryID(delivery, seq uint64) string {
	if delivery == 0 {
		return fmt.Sprintf("d0-%d", seq)
	}
	return fmt.Sprintf("d%d", delivery)
}

// message returns the row under id, a new one where there is none.
func (b *batch) message(id, conv string, c change) *message {
	m := b.messages[id]
	if m == nil {
		m = &message{seq: int64(c.Seq), id: id, conv: conv, dirty: true}
		b.messages[id] = m
		b.order = append(b.order, m)
	}
	return m
}

func (b *batch) decided(ctx context.Context, c change, d *schemas.Decided) error {
	m := b.message(d.Message.ID, d.Conversation, c)
	switch {
	case m.decided == 0:
		b.event(c, decidedEvent, m.seq)
		b.read(m, d)
		b.text = append(b.text, m.seq, document(&d.Message))
		m.decided = int64(c.Seq)
	case int64(d.Version) <= m.version:
		return nil // a repeat
	default:
		b.event(c, decidedAgain, m.seq)
	}
	m.version, m.dirty = int64(d.Version), true
	b.route(m, c, d)
	for _, o := range m.outs {
		if err := b.join(ctx, m, o); err != nil {
			return err
		}
	}
	return nil
}

// read fills the row with what the message says.
func (b *batch) read(m *message, d *schemas.Decided) {
	msg := &d.Message
	m.at, m.channel, m.kind = micros(msg.ReceivedAt), msg.Channel, msg.Kind
	if m.at == 0 {
		m.at = micros(d.At)
	}
	m.requester, m.subject, m.words = msg.Requester.Label(), brief(msg.Subject), brief(msg.Text)
	m.attachments, m.delivery = int64(len(msg.Attachments)), int64(d.Delivery)
	m.category, m.urgency = d.Classification.Category, string(d.Classification.Urgency)
	var words []string
	for _, k := range d.Classification.Keywords {
		if !slices.Contains(words, k.Name) {
			words = append(words, k.Name)
		}
	}
	m.keywords = lines(words)
	for i, who := range persons(msg.Requester, m.conv) {
		if i == 0 {
			m.person = who
		}
		b.people = append(b.people, who, m.seq)
	}
	b.name("channel", m.channel)
	b.alive("channel", m.channel, m.at)
}

// persons returns the hashes by which the requester is known, the strongest first.
// A guess joins nobody; who has nothing better is known by the conversation.
func persons(r schemas.Requester, conv string) [][]byte {
	var all [][]byte
	for _, grade := range [...]schemas.Evidence{schemas.Attested, schemas.Asserted} {
		for _, id := range r.Identities {
			if id.Evidence == grade && id.Value != "" {
				all = append(all, hashPerson(string(id.Kind), strings.ToLower(id.Value)))
			}
		}
	}
	if len(all) == 0 {
		all = append(all, hashPerson("", conv))
	}
	return all
}

func hashPerson(kind, value string) []byte {
	sum := sha256.Sum256([]byte(kind + "\x00" + value))
	return sum[:16]
}

// route fills the outcomes with what d says.
func (b *batch) route(m *message, c change, d *schemas.Decided) {
	decisions := d.Decisions
	if len(decisions) == 0 {
		// Nothing vanishes: the books count even what no rule wanted.
		decisions = []schemas.Decision{{Sink: "-", Drop: "no rule decided"}}
	}
	for i := range decisions {
		dec := &decisions[i]
		o := m.outcome(dec.Sink)
		o.seq = int64(c.Seq)
		if len(dec.Path) > 0 {
			o.rule = dec.Path[len(dec.Path)-1].Name
		}
		o.queue, o.assignee, o.priority, o.tags = dec.Queue, dec.Assignee, string(dec.Priority), lines(dec.Tags)
		b.name("sink", dec.Sink)
		switch {
		case dec.Sink == "-":
			o.state, o.reason, o.at = dropped, dec.Drop, micros(d.At)
		case o.state == filed:
		case int64(d.Version) > o.version:
			// A person sent the message again, perhaps to another desk.
			o.state, o.reason, o.at, o.version = waiting, "", 0, int64(d.Version)
		}
	}
	for _, o := range m.outs {
		routed := slices.ContainsFunc(decisions, func(dec schemas.Decision) bool { return dec.Sink == o.sink })
		if !routed && o.state != filed && int64(d.Version) > o.version {
			o.state, o.reason, o.at, o.dirty = dropped, "sent elsewhere by hand", micros(d.At), true
			o.seq, o.version = int64(c.Seq), int64(d.Version)
		}
	}
}

// filed puts the message on its ticket.
func (b *batch) filed(ctx context.Context, c change, f *schemas.Filed) error {
	m := b.message(f.Message, f.Conversation, c)
	o := m.outcome(f.Sink)
	if o.state == filed {
		if int64(f.Version) > o.version {
			o.version, o.seq = int64(f.Version), int64(c.Seq)
			b.event(c, filedAgain, m.seq)
		}
		return nil // else a repeat
	}
	o.seq = int64(c.Seq)
	b.event(c, filedEvent, m.seq)
	t := b.ticket(f.Sink, f.Ticket, c)
	o.state, o.reason, o.at, o.ticket, o.filed = filed, "", micros(f.At), t.n, int64(c.Seq)
	o.version = max(o.version, int64(f.Version))
	if f.Opened {
		o.opened = 1
	}
	b.name("sink", f.Sink)
	b.alive("sink", f.Sink, o.at)
	if o.dead != "" {
		b.then(`UPDATE dead SET state = 'mended', acted = $1 WHERE message = $2 AND sink = $3 AND state IN ('waiting', 'retried')`,
			o.at, m.id, o.sink)
	}
	return b.join(ctx, m, o)
}

// join brings a message that is decided and filed to the row of its ticket, once,
// whichever of the two events came first.
func (b *batch) join(ctx context.Context, m *message, o *outcome) error {
	if o.counted != 0 || o.state != filed || m.decided == 0 {
		return nil
	}
	t, err := b.ticketRow(ctx, o.ticket)
	if err != nil || t == nil {
		return err
	}
	o.counted, o.dirty = 1, true
	if o.opened != 0 || t.messages == 0 {
		t.subject, t.requester, t.person, t.category = m.preview(), m.requester, m.person, m.category
		t.openedAt = m.at
		if t.deskTold&toldQueue == 0 {
			t.queue = o.queue
		}
		if t.deskTold&toldAssignee == 0 {
			t.assignee = o.assignee
		}
		if t.deskTold&toldPriority == 0 {
			t.priority = o.priority
		}
		if t.deskTold&toldTags == 0 {
			t.tags = o.tags
		}
		b.name("queue", t.queue)
		b.name("assignee", t.assignee)
	}
	t.messages++
	t.urgency = worse(t.urgency, m.urgency)
	if channels := unlines(t.channels); !slices.Contains(channels, m.channel) {
		t.channels = lines(append(channels, m.channel))
	}
	words := m.words
	if words == "" {
		words = m.subject
	}
	t.asked = max(t.asked, m.at)
	t.said(m.at, m.requester, words)
	return nil
}

func (b *batch) trouble(c change, t *schemas.Trouble) {
	m := b.message(t.Message, t.Conversation, c)
	o := m.outcome(t.Sink)
	b.event(c, troubleEvent, m.seq)
	o.seq = int64(c.Seq)
	b.name("sink", t.Sink)
	died := c.Type == schemas.EventDead
	if died {
		b.letter(letter{
			id: t.Dead, stage: "delivery", at: micros(t.At), message: t.Message, conv: t.Conversation, sink: t.Sink,
			channel: m.channel, reason: t.Reason, attempts: t.Attempt,
		})
	}
	if o.state == filed || int64(t.Version) < o.version || (!died && o.state == dead && int64(t.Version) == o.version) {
		return // old news
	}
	o.version, o.reason = int64(t.Version), t.Reason
	if died {
		o.state, o.at, o.dead = dead, micros(t.At), t.Dead
		return
	}
	o.state, o.at = waiting, 0
}

func (b *batch) duplicate(c change, d *schemas.Duplicate) {
	m := b.message(deliveryID(d.Delivery, c.Seq), d.Conversation, c)
	first := b.messages[d.Message]
	story := m.seq
	if first != nil {
		story = first.seq
	}
	b.event(c, duplicateEvent, story)
	o := m.outcome("")
	o.seq = int64(c.Seq)
	if m.of != "" {
		// Another message of the same delivery.
		o.n++
		return
	}
	m.of, m.version, m.delivery, m.dirty = d.Message, delivered, int64(d.Delivery), true
	m.at, m.channel = micros(d.At), d.Channel
	if first != nil {
		m.kind, m.requester, m.subject, m.words = first.kind, first.requester, first.subject, first.words
		m.attachments, m.category, m.urgency, m.keywords = first.attachments, first.category, first.urgency, first.keywords
	}
	o.state, o.at = duplicate, m.at
	o.reason = "sent twice"
	if d.First != 0 {
		o.reason = fmt.Sprintf("sent twice, first as delivery %d", d.First)
	}
	b.name("channel", d.Channel)
}

func (b *batch) ended(c change, e *schemas.DeliveryEnded) {
	m := b.message(deliveryID(e.Delivery, c.Seq), c.conversation(), c)
	b.event(c, endedEvent, m.seq)
	m.version, m.delivery, m.dirty = delivered, int64(e.Delivery), true
	m.at, m.channel = micros(e.At), e.Channel
	o := m.outcome("")
	o.seq, o.at, o.reason, o.state = int64(c.Seq), m.at, e.Reason, ignored
	if e.Delivery == 0 {
		// Refused before it was accepted: shown, but not in the books.
		o.n = 0
	}
	if c.Type == schemas.EventDeadDelivery {
		o.state, o.dead = dead, e.Dead
		b.letter(letter{
			id: e.Dead, stage: "pipeline", at: m.at, delivery: m.delivery, conv: m.conv, channel: e.Channel, reason: e.Reason, attempts: 1,
		})
	}
	b.name("channel", e.Channel)
}

// conversation is the event's conversation token, "" for none.
func (c change) conversation() string {
	if c.Conversation == "-" {
		return ""
	}
	return c.Conversation
}

// name adds a value to those that filters offer.
func (b *batch) name(kind, value string) {
	n := name{kind, value}
	if value == "" || value == "-" || b.w.names[n] {
		return
	}
	b.w.names[n] = true
	b.names = append(b.names, kind, value)
}

// alive takes note of the last sign of life of a channel or sink.
func (b *batch) alive(side, who string, at int64) {
	n := name{side, who}
	b.last[n] = max(b.last[n], at)
}
