package record

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"switchboard/internal/bus"
	"switchboard/schemas"
)

// By names the write that made a record: epoch of the owner and a counter. It is
// unique, so that a lost answer can be resolved by comparing.
type By struct {
	Epoch uint64 `json:"epoch"`
	N     uint64 `json:"n"`
}

// A State is where one message stands at one sink.
type State string

// States of a message at a sink. All but Pending are final.
const (
	Pending   State = "pending"
	Filed     State = "filed"
	Dead      State = "dead"
	Dropped   State = "dropped"
	Forgotten State = "forgotten"
)

// DropSink is the pseudo-sink of a message that a rule suppressed.
const DropSink = "-"

// A Message is messages/<mid>: the frozen decision on a message and what became
// of it at each sink.
type Message struct {
	Schema  int    `json:"schema"`
	Creator uint64 `json:"creator"`
	Conv    string `json:"conv,omitempty"`
	Channel string `json:"channel,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Variant bool   `json:"variant,omitempty"`
	// Files are the attachments as stored, in order.
	Files          []schemas.Attachment   `json:"files,omitempty"`
	Classification schemas.Classification `json:"class"`
	Decisions      []schemas.Decision     `json:"decisions,omitempty"`
	Rules          string                 `json:"rules,omitempty"`
	DecidedAt      time.Time              `json:"decided_at,omitzero"`
	Version        int                    `json:"version"`
	Sinks          map[string]AtSink      `json:"sinks"`
	// Actor is who asked for the version, empty for the first.
	Actor *schemas.Actor `json:"actor,omitempty"`
	By    By             `json:"by"`
}

// An AtSink is one message at one sink.
type AtSink struct {
	State   State  `json:"state"`
	Version int    `json:"version"`
	Band    int    `json:"band"`
	Ticket  string `json:"ticket,omitempty"`
	URL     string `json:"url,omitempty"`
	Comment string `json:"comment,omitempty"`
	Opened  bool   `json:"opened,omitempty"`
	Follows string `json:"follows,omitempty"`
	Dead    string `json:"dead,omitempty"`
	// Answered says that a person has decided on the dead letter.
	Answered bool      `json:"answered,omitempty"`
	At       time.Time `json:"at,omitzero"`
}

// A Job is one message for one sink.
type Job struct {
	Schema   int                    `json:"schema"`
	Message  schemas.Message        `json:"message"`
	Conv     string                 `json:"conv"`
	Delivery uint64                 `json:"delivery"`
	Version  int                    `json:"version"`
	Class    schemas.Classification `json:"class"`
	Decision schemas.Decision       `json:"decision"`
	// Actor is who asked for a retry, nil for the first version.
	Actor *schemas.Actor `json:"actor,omitempty"`
}

// JobSubject is where the jobs of a conversation for a sink go.
func JobSubject(sink, conv string) string { return "jobs." + sink + "." + conv }

// Encode returns the record of a job for its decision's sink.
func (j Job) Encode(trace string) (bus.Record, error) {
	data, err := json.Marshal(j)
	if err != nil {
		return bus.Record{}, fmt.Errorf("encode job: %w", err)
	}
	r := bus.Record{Subject: JobSubject(j.Decision.Sink, j.Conv), Data: data, Header: map[string]string{
		hMessage: j.Message.ID, hBand: strconv.Itoa(j.Class.Urgency.Band()), hChannel: j.Message.Channel,
		hKind: "message", hVersion: strconv.Itoa(j.Version),
	}}
	if j.Version > 1 {
		r.Header[hKind] = "retry"
	}
	if j.Message.Group != "" {
		r.Header[hGroup] = j.Message.Group
	}
	if trace != "" {
		r.Header[hTrace] = trace
	}
	return r, nil
}

// JobRank returns the band and the channel of a job from its headers.
func JobRank(m *bus.Msg) (band int, channel string) {
	band, err := strconv.Atoi(m.Header[hBand])
	if err != nil {
		band = 1
	}
	return band, m.Header[hChannel]
}

// ForgetRecord is the job that ends a conversation's lane at a sink for good.
func ForgetRecord(sink, conv string) bus.Record {
	return bus.Record{Subject: JobSubject(sink, conv), Header: map[string]string{hKind: kindForget, hBand: "3"}}
}

const kindForget = "forget"

// IsForget reports whether a job is a ForgetRecord.
func IsForget(m *bus.Msg) bool { return m.Header[hKind] == kindForget }

// A Link is c.<sink>.<conv>: which ticket a conversation has on a sink, and the
// operation that is under way.
type Link struct {
	Schema int `json:"schema"`
	// Ticket is where the next message goes; Opening is the message that opened it.
	Ticket  schemas.Ref    `json:"ticket,omitzero"`
	Opening string         `json:"opening,omitempty"`
	Status  schemas.Status `json:"status,omitempty"`
	Last    *Last          `json:"last,omitempty"`
	Doing   *Doing         `json:"doing,omitempty"`
	// Writer is where replies to the ticket go.
	Writer *Writer `json:"writer,omitempty"`
	// Gap names messages that died since the last one was filed.
	Gap []string `json:"gap,omitempty"`
	// Ours are the desk's ids of what we wrote last, to know it when it comes back.
	Ours      []string `json:"ours,omitempty"`
	Forgotten bool     `json:"forgotten,omitempty"`
	By        By       `json:"by"`
}

// A Last is what was filed last: it bridges a crash between the write of the
// link and that of the messages.
type Last struct {
	Mids    []string `json:"mids"`
	Comment string   `json:"comment,omitempty"`
	Opened  bool     `json:"opened,omitempty"`
	Follows string   `json:"follows,omitempty"`
}

// Has reports whether mid is in l, which may be nil.
func (l *Last) Has(mid string) bool { return l != nil && slices.Contains(l.Mids, mid) }

// A Doing is the intent of an operation, durable before the desk is called.
type Doing struct {
	Mids []string `json:"mids"`
	// Op is create, append or attach; Part counts the operations of a message.
	Op      string       `json:"op"`
	Part    int          `json:"part"`
	Key     string       `json:"key"`
	Digest  string       `json:"digest"`
	Follows *schemas.Ref `json:"follows,omitempty"`
	Epoch   uint64       `json:"epoch"`
	Attempt int          `json:"attempt"`
	At      time.Time    `json:"at"`
	// Comment and Opened are what earlier parts of the message brought.
	Comment string `json:"comment,omitempty"`
	Opened  bool   `json:"opened,omitempty"`
	// Missed names files that the desk refused.
	Missed []string `json:"missed,omitempty"`
}

// LinkKey is the key of a conversation's link on a sink.
func LinkKey(sink, conv string) string { return "c." + sink + "." + conv }

// TicketKeyOf is the key under which a ticket finds its conversations.
func TicketKeyOf(sink, ticketToken string) string { return "t." + sink + "." + ticketToken }

// StickyKey is the key under which a conversation keeps its sinks.
func StickyKey(conv string) string { return "s." + conv }

// SentKey is the key under which a receipt finds its reply.
func SentKey(token string) string { return "v." + token }

// A Sticky is s.<conv>: the sinks that a conversation stays on.
type Sticky struct {
	Schema int      `json:"schema"`
	Sinks  []string `json:"sinks"`
	Mid    string   `json:"mid"`
}

// A Writer is who wrote last in a link, and what its channel needs to answer.
type Writer struct {
	Conv         string            `json:"conv"`
	Channel      string            `json:"channel"`
	Conversation string            `json:"conversation"`
	ReplyTo      string            `json:"reply_to,omitempty"`
	Requester    schemas.Requester `json:"requester"`
	Subject      string            `json:"subject,omitempty"`
}

// A Ticket is t.<sink>.<ticket>: the conversation whose link has the ticket.
type Ticket struct {
	Schema int         `json:"schema"`
	Root   string      `json:"root"`
	Ref    schemas.Ref `json:"ref"`
}

// A ReplyState is where a reply stands.
type ReplyState string

// States of a reply.
const (
	ReplyQueued  ReplyState = "queued"
	ReplySending ReplyState = "sending"
	ReplySent    ReplyState = "sent"
	ReplyUnknown ReplyState = "unknown"
	ReplyFailed  ReplyState = "failed"
)

// A Reply is messages/r<rid>: one agent's comment on its way to the customer.
type Reply struct {
	Schema  int         `json:"schema"`
	Creator uint64      `json:"creator"`
	Channel string      `json:"channel"`
	Conv    string      `json:"conv"`
	Sink    string      `json:"sink"`
	Ticket  schemas.Ref `json:"ticket"`
	State   ReplyState  `json:"state"`
	// Again counts the times that a person said: send it again.
	Again   int             `json:"again,omitempty"`
	Attempt int             `json:"attempt"`
	Receipt schemas.Receipt `json:"receipt,omitzero"`
	Dead    string          `json:"dead,omitempty"`
	By      By              `json:"by"`
}

// ReplyKey is the key of a reply's record.
func ReplyKey(rid string) string { return "r" + rid }

// A ReplyJob is one reply in REPLIES.
type ReplyJob struct {
	Schema int           `json:"schema"`
	ID     string        `json:"id"`
	Reply  schemas.Reply `json:"reply"`
	// Again counts the times that a person said: send it again.
	Again int `json:"again,omitempty"`
}

// ReplySubject is where the replies of a conversation on a channel go.
func ReplySubject(channel, conv string) string { return "replies." + channel + "." + conv }

// Encode returns the record of a reply.
func (r ReplyJob) Encode(channel, conv string) (bus.Record, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return bus.Record{}, fmt.Errorf("encode reply: %w", err)
	}
	return bus.Record{Subject: ReplySubject(channel, conv), Data: data, Header: map[string]string{hMessage: r.ID}}, nil
}

// Stages at which something can die.
const (
	StagePipeline = "pipeline"
	StageDelivery = "delivery"
	StageReply    = "reply"
)

// A Letter is a dead letter: reason, the vendor's words, and a copy of what died.
type Letter struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
	Stage  string `json:"stage"`
	// Place is the channel or the sink; Conv is "" before a conversation is known.
	Place    string    `json:"place"`
	Conv     string    `json:"conv,omitempty"`
	Message  string    `json:"message,omitempty"`
	Delivery uint64    `json:"delivery,omitempty"`
	Version  int       `json:"version,omitempty"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	// Job or Reply is the copy; a delivery's copy is in Body and Header, or Blob.
	Job    *Job              `json:"job,omitempty"`
	Reply  *ReplyJob         `json:"reply,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Body   []byte            `json:"body,omitempty"`
	Blob   string            `json:"blob,omitempty"`
}

// LetterID is the id of a dead letter: the same when the same thing dies again.
func LetterID(stage, place, id string, version int) string {
	return Digest("dead", stage, place, id, strconv.Itoa(version))
}

// Encode returns the record of a dead letter.
func (l Letter) Encode() (bus.Record, error) {
	data, err := json.Marshal(l)
	if err != nil {
		return bus.Record{}, fmt.Errorf("encode dead letter: %w", err)
	}
	conv := l.Conv
	if conv == "" {
		conv = "-"
	}
	return bus.Record{
		Subject: "dead." + l.Stage + "." + l.Place + "." + conv, Data: data,
		Header: map[string]string{hMessage: l.ID},
	}, nil
}

// LetterIDOf returns the id of a dead letter from its headers.
func LetterIDOf(m *bus.Msg) string { return m.Header[hMessage] }

// Event returns the record of an event of the audit trail as a CloudEvents 1.0
// message in binary mode (headers). id must be the same whenever the same thing
// is told again; conv is "" where there is no conversation.
func Event(t schemas.EventType, conv, id string, at time.Time, body any) (bus.Record, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return bus.Record{}, fmt.Errorf("encode event: %w", err)
	}
	if conv == "" {
		conv = "-"
	}
	return bus.Record{Subject: "events." + conv, Data: data, Header: map[string]string{
		"ce-specversion": "1.0", "ce-id": id, "ce-type": string(t), "ce-source": "/switchboard",
		"ce-time": at.UTC().Format(time.RFC3339Nano), "content-type": "application/json",
	}}, nil
}

// EventHeader returns the type, the id and the time of an event.
func EventHeader(m *bus.Msg) (schemas.EventType, string, time.Time) {
	at, err := time.Parse(time.RFC3339Nano, m.Header["ce-time"])
	if err != nil {
		at = m.At
	}
	return schemas.EventType(m.Header["ce-type"]), m.Header["ce-id"], at
}

// Decode reads a record's JSON into a T.
func Decode[T any](data []byte) (T, error) {
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("decode record: %w", err)
	}
	return v, nil
}

// JobMessage returns the message of a job from its headers.
func JobMessage(m *bus.Msg) string { return m.Header[hMessage] }
