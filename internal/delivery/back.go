package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"switchboard/channels"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// errBlob says that the body could not be read now, which is nobody's fault.
var errBlob = errors.New("the body cannot be read from the blob store now")

// changes reads a delivery from the desk; a panic of the adapter is an error.
func (k *desk) changes(ctx context.Context, m *bus.Msg) (out sinks.Changes, err error) {
	d, err := record.DecodeDelivery(ctx, k.o.Bus, m)
	if err != nil {
		if record.BlobOf(m) != "" && !errors.Is(err, bus.ErrNotFound) {
			err = errors.Join(errBlob, err)
		}
		return out, err
	}
	defer func() {
		if v := recover(); v != nil {
			err = errors.New("the adapter panicked")
		}
	}()
	return k.s.Source.Parse(d)
}

// backKeys puts what comes back into one lane per ticket.
func (k *desk) backKeys(m *bus.Msg) []string {
	out, err := k.changes(context.Background(), m)
	if err != nil {
		return nil
	}
	seen := map[string]bool{}
	var keys []string
	add := func(id string) {
		if !seen[id] {
			seen[id] = true
			keys = append(keys, id)
		}
	}
	for _, c := range out.Comments {
		add(c.Ticket.ID)
	}
	for _, c := range out.Tickets {
		add(c.Ticket.ID)
	}
	return keys
}

// back takes one delivery from the desk. Every one ends in an event.
func (k *desk) back(ctx context.Context, m *bus.Msg) error {
	out, err := k.changes(ctx, m)
	seq := strconv.FormatUint(m.Seq, 10)
	if errors.Is(err, errBlob) {
		return err
	}
	if err != nil {
		return k.buryBack(ctx, m, err)
	}
	told := 0
	for i, c := range out.Tickets {
		if err := k.ticketChanged(ctx, m, i, c); err != nil {
			return err
		}
		told++
	}
	for i, c := range out.Comments {
		ok, err := k.commented(ctx, m, i, c)
		if err != nil {
			return err
		}
		if ok {
			told++
		}
	}
	if told > 0 {
		return nil
	}
	reason := out.Ignored
	if reason == "" {
		reason = "our own words, come back"
	}
	return k.publish(ctx, schemas.EventIgnored, "", record.Digest("ignored back", k.s.Name, seq), schemas.DeliveryEnded{
		Delivery: m.Seq, Channel: k.s.Name, Reason: reason, At: m.At.UTC(),
	})
}

func (k *desk) buryBack(ctx context.Context, m *bus.Msg, cause error) error {
	letter := record.Letter{
		Schema: schemas.Version, ID: record.LetterID(record.StagePipeline, k.s.Name, strconv.FormatUint(m.Seq, 10), 1),
		Stage: record.StagePipeline, Place: k.s.Name, Delivery: m.Seq, Version: 1, Reason: cause.Error(),
		At: time.Now().UTC(), Header: m.Header, Body: m.Data,
	}
	if blob := record.BlobOf(m); blob != "" {
		// The delivery's own blob goes with the delivery; the letter keeps a copy.
		body, err := k.o.Bus.ReadBlob(ctx, blob)
		if err != nil && !errors.Is(err, bus.ErrNotFound) {
			return err
		}
		letter.Blob = "dead/" + letter.ID
		if err := k.o.Bus.PutBlob(ctx, letter.Blob, body); err != nil {
			return err
		}
	}
	r, err := letter.Encode()
	if err != nil {
		return err
	}
	if _, err := k.o.Bus.Publish(ctx, r); err != nil {
		return err
	}
	return k.publish(ctx, schemas.EventDeadDelivery, "", record.Digest("dead back", letter.ID), schemas.DeliveryEnded{
		Delivery: m.Seq, Channel: k.s.Name, Reason: cause.Error(), Dead: letter.ID, At: m.At.UTC(),
	})
}

// conversation returns the link's conversation of a ticket, "" for one that is
// not ours.
func (k *desk) conversation(ctx context.Context, ticket string) (string, error) {
	key := record.TicketKeyOf(k.s.Name, k.o.Tokens.Ticket(k.s.Name, ticket))
	e, err := k.o.Bus.Bucket(bus.Links).Get(ctx, key)
	if errors.Is(err, bus.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	t, err := record.Decode[record.Ticket](e.Value)
	return t.Root, err
}

func (k *desk) ticketChanged(ctx context.Context, m *bus.Msg, i int, c sinks.TicketChange) error {
	conv, err := k.conversation(ctx, c.Ticket.ID)
	if err != nil {
		return err
	}
	body := schemas.TicketChanged{
		Delivery: m.Seq, Sink: k.s.Name, Ticket: c.Ticket, Conversation: conv, Assignee: c.Change.Assignee,
		Queue: c.Change.Queue, Tags: c.Change.AddTags, By: c.By, At: c.At,
	}
	if c.Change.Status != nil {
		body.Status = *c.Change.Status
	}
	if c.Change.Priority != nil {
		body.Priority = *c.Change.Priority
	}
	if body.At.IsZero() {
		body.At = m.At.UTC()
	}
	id := record.Digest("ticket", k.s.Name, strconv.FormatUint(m.Seq, 10), strconv.Itoa(i))
	return k.publish(ctx, schemas.EventTicket, conv, id, body)
}

// commented takes a comment made at the desk; false when it is ours.
func (k *desk) commented(ctx context.Context, m *bus.Msg, i int, c sinks.TicketComment) (bool, error) {
	if strings.HasPrefix(c.Comment.Key, "sb-") || c.Comment.Author.Role == schemas.ByRequester {
		return false, nil
	}
	conv, err := k.conversation(ctx, c.Ticket.ID)
	if err != nil {
		return false, err
	}
	if ours, err := k.ours(ctx, conv, c.Comment); ours || err != nil {
		return false, err
	}
	body := schemas.Commented{Delivery: m.Seq, Sink: k.s.Name, Ticket: c.Ticket, Conversation: conv, Comment: c.Comment, At: c.Comment.At}
	if body.At.IsZero() {
		body.At = m.At.UTC()
	}
	if conv != "" && c.Comment.Visibility == schemas.Public && c.Comment.Author.Role == schemas.ByAgent {
		if body.Reply, err = k.reply(ctx, m, conv, c); err != nil {
			return false, err
		}
	}
	place := ""
	if c.Comment.ID == "" {
		place = strconv.FormatUint(m.Seq, 10) + "/" + strconv.Itoa(i)
	}
	id := record.Digest("comment", k.s.Name, c.Ticket.ID, c.Comment.ID, place)
	return true, k.publish(ctx, schemas.EventComment, conv, id, body)
}

// ours reports whether we wrote a comment that carries no key, by its id. While an
// operation is under way on the ticket, nobody can tell yet: the echo may have
// overtaken the answer to the call.
func (k *desk) ours(ctx context.Context, conv string, c schemas.Comment) (bool, error) {
	if conv == "" || c.Key != "" {
		return false, nil
	}
	link, _, err := k.link(ctx, conv)
	switch {
	case err != nil:
		return false, err
	case slices.Contains(link.Ours, c.ID):
		return true, nil
	case link.Doing != nil:
		return false, later{errors.New("it may be what we are writing just now"), echoWait}
	}
	return false, nil
}

// echoWait is how soon a comment that may be ours is looked at again.
const echoWait = 200 * time.Millisecond

// reply is R1 and R2: an agent's public comment becomes a reply on the channel of
// the conversation's newest writer, once.
func (k *desk) reply(ctx context.Context, m *bus.Msg, conv string, c sinks.TicketComment) (rid string, err error) {
	link, _, err := k.link(ctx, conv)
	if err != nil || link.Writer == nil {
		return "", err
	}
	w := link.Writer
	channel := k.o.Channel(w.Channel)
	rid = k.o.Tokens.Reply(k.s.Name, c.Comment.ID)
	if channel == nil || channel.Sender == nil {
		return rid, k.cannotReply(ctx, rid, conv, w.Channel, c)
	}
	for part, text := range split(c.Comment.Text, channel.Traits.MaxText) {
		id := rid
		if part > 0 {
			id = k.o.Tokens.Reply(k.s.Name, c.Comment.ID+"/"+strconv.Itoa(part))
		}
		job := record.ReplyJob{Schema: schemas.Version, ID: id, Reply: schemas.Reply{
			Key: "sb-" + id, Conversation: w.Conversation, ReplyTo: w.ReplyTo, To: w.Requester, Subject: w.Subject,
			Text: text, Agent: c.Comment.Author.Name,
		}}
		if part == 0 {
			job.Reply.Files = c.Comment.Files
		}
		if err := k.queueReply(ctx, m, conv, channel, c.Ticket, job); err != nil {
			return "", err
		}
	}
	return rid, nil
}

func (k *desk) queueReply(ctx context.Context, m *bus.Msg, conv string, channel *channels.Opened, ticket schemas.Ref, job record.ReplyJob) error {
	rec := record.Reply{
		Schema: schemas.Version, Creator: m.Seq, Channel: channel.Name, Conv: conv, Sink: k.s.Name, Ticket: ticket,
		State: record.ReplyQueued, By: k.by(),
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	bucket := k.o.Bus.Bucket(bus.Messages)
	_, err = bucket.Create(ctx, record.ReplyKey(job.ID), data)
	if errors.Is(err, bus.ErrConflict) {
		e, err := bucket.Get(ctx, record.ReplyKey(job.ID))
		if err != nil {
			return err
		}
		old, err := record.Decode[record.Reply](e.Value)
		if err != nil || old.Creator != m.Seq {
			return err // webhook and poll told the same comment: the first one sends
		}
	} else if err != nil {
		return err
	}
	out, err := job.Encode(channel.Name, conv)
	if err != nil {
		return err
	}
	body := schemas.Replied{
		Reply: job.ID, Channel: channel.Name, Sink: k.s.Name, Ticket: ticket, Conversation: conv,
		State: string(record.ReplyQueued), At: time.Now().UTC(),
	}
	event, err := record.Event(schemas.EventReply, conv, record.Digest("reply", job.ID, "queued", "0"), body.At, body)
	if err != nil {
		return err
	}
	k.o.Metrics.Reply(channel.Name, "queued")
	_, err = k.o.Bus.Publish(ctx, event, out)
	return err
}

// cannotReply says that a comment cannot reach the customer, before an agent
// believes that it did.
func (k *desk) cannotReply(ctx context.Context, rid, conv, channel string, c sinks.TicketComment) error {
	body := schemas.Replied{
		Reply: rid, Channel: channel, Sink: k.s.Name, Ticket: c.Ticket, Conversation: conv, State: string(record.ReplyFailed),
		Reason: "the channel " + channel + " cannot carry replies: write to the customer another way", At: time.Now().UTC(),
	}
	return k.publish(ctx, schemas.EventReply, conv, record.Digest("reply", rid, "failed", "0"), body)
}

// split cuts a text into pieces of at most n characters, at spaces where it can,
// and numbers them; n 0 means one piece.
func split(text string, n int) []string {
	if n <= 0 || utf8.RuneCountInString(text) <= n {
		return []string{text}
	}
	const mark = 10 // room for " (12/34)"
	var pieces []string
	for rest := []rune(text); len(rest) > 0; {
		end := min(len(rest), max(n-mark, 1))
		if end < len(rest) {
			for i := end; i > end*3/4; i-- {
				if rest[i] == ' ' || rest[i] == '\n' {
					end = i
					break
				}
			}
		}
		pieces = append(pieces, strings.TrimSpace(string(rest[:end])))
		rest = rest[end:]
	}
	for i := range pieces {
		pieces[i] += " (" + strconv.Itoa(i+1) + "/" + strconv.Itoa(len(pieces)) + ")"
	}
	return pieces
}
