package schemas

import "time"

// An EventType is the ce-type of an entry of the audit trail.
type EventType string

// Types of events. The comment names the body of each.
const (
	// EventDecided: Decided. A message was read, classified and routed.
	EventDecided EventType = "switchboard.message.decided"
	// EventDuplicate: Duplicate. The vendor sent a message again.
	EventDuplicate EventType = "switchboard.message.duplicate"
	// EventIgnored: DeliveryEnded. A delivery of no interest, with the reason.
	EventIgnored EventType = "switchboard.delivery.ignored"
	// EventRefused: DeliveryEnded. A delivery too large to keep; without its body.
	EventRefused EventType = "switchboard.delivery.refused"
	// EventDeadDelivery: DeliveryEnded. A delivery that could not be read.
	EventDeadDelivery EventType = "switchboard.delivery.dead"
	// EventFiled: Filed. A message is on a ticket.
	EventFiled EventType = "switchboard.message.filed"
	// EventRetrying: Trouble. A sink did not take a message yet.
	EventRetrying EventType = "switchboard.message.retrying"
	// EventDead: Trouble. A sink will not take a message.
	EventDead EventType = "switchboard.message.dead"
	// EventRetry: Requested. A person asked for a dead letter to be tried again.
	EventRetry EventType = "switchboard.message.retry"
	// EventTicket: TicketChanged. A ticket changed at its desk.
	EventTicket EventType = "switchboard.ticket.changed"
	// EventComment: Commented. Somebody commented on a ticket at its desk.
	EventComment EventType = "switchboard.ticket.commented"
	// EventReply: Replied. A reply to the customer changed its state.
	EventReply EventType = "switchboard.reply.changed"
	// EventReceipt: Receipted. The vendor told how far a reply has come.
	EventReceipt EventType = "switchboard.reply.receipt"
	// EventForgotten: Forgot. A conversation was erased.
	EventForgotten EventType = "switchboard.conversation.forgotten"
	// EventHealth: HealthChanged. A channel or a sink changed its state.
	EventHealth EventType = "switchboard.health.changed"
)

// A Decided is the whole of a message and of what was decided on it.
type Decided struct {
	// Delivery is the sequence of the delivery that brought the message.
	Delivery       uint64         `json:"delivery"`
	Conversation   string         `json:"conversation"`
	Message        Message        `json:"message"`
	Classification Classification `json:"classification"`
	Decisions      []Decision     `json:"decisions"`
	// Rules is the digest of the rules file that decided; Version rises with every
	// retry that a person asked for.
	Rules   string    `json:"rules"`
	Version int       `json:"version"`
	Variant bool      `json:"variant,omitempty"`
	At      time.Time `json:"at"`
}

// A Duplicate is a message that was there already.
type Duplicate struct {
	Message      string    `json:"message"`
	Conversation string    `json:"conversation"`
	Delivery     uint64    `json:"delivery"`
	First        uint64    `json:"first"`
	Channel      string    `json:"channel"`
	At           time.Time `json:"at"`
}

// A DeliveryEnded is the outcome of a delivery that became no message.
type DeliveryEnded struct {
	// Delivery is the sequence of the delivery, 0 where nothing was kept.
	Delivery uint64    `json:"delivery,omitempty"`
	Channel  string    `json:"channel"`
	Reason   string    `json:"reason"`
	Dead     string    `json:"dead,omitempty"`
	At       time.Time `json:"at"`
}

// A Filed is a message that reached a ticket.
type Filed struct {
	Message      string `json:"message"`
	Conversation string `json:"conversation"`
	Sink         string `json:"sink"`
	// Job is the sequence of the job, Version its version.
	Job     uint64 `json:"job"`
	Version int    `json:"version"`
	Ticket  Ref    `json:"ticket"`
	// Comment is the desk's id of the comment, "" when the message opened the ticket.
	Comment string `json:"comment,omitempty"`
	Opened  bool   `json:"opened,omitempty"`
	// Follows is the closed ticket that this one continues.
	Follows string `json:"follows,omitempty"`
	// Calls are the operations at the desk, in order, with their answers.
	Calls []Call `json:"calls,omitempty"`
	// Late says that a retry filed the message after its turn.
	Late bool      `json:"late,omitempty"`
	At   time.Time `json:"at"`
}

// A Call is one operation at a vendor and how it ended.
type Call struct {
	// Op is create, append, attach, find, thread, update or send.
	Op  string    `json:"op"`
	Key string    `json:"key,omitempty"`
	At  time.Time `json:"at"`
	// Took is in nanoseconds.
	Took time.Duration `json:"took"`
	// Outcome is yes, no, unknown, adopted or absent.
	Outcome string `json:"outcome"`
	// Words are the error's words, at most 300 bytes, without customers' text.
	Words string `json:"words,omitempty"`
}

// A Trouble is a message that a sink did not take.
type Trouble struct {
	Message      string `json:"message"`
	Conversation string `json:"conversation"`
	Sink         string `json:"sink"`
	Job          uint64 `json:"job"`
	Version      int    `json:"version"`
	// Reason is the chain of errors, the vendor's words last.
	Reason  string `json:"reason"`
	Attempt int    `json:"attempt"`
	// Dead is the id of the dead letter, "" while it is retried.
	Dead  string    `json:"dead,omitempty"`
	Calls []Call    `json:"calls,omitempty"`
	At    time.Time `json:"at"`
}

// A Requested is a person's word on a dead letter.
type Requested struct {
	Dead         string `json:"dead"`
	Message      string `json:"message,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	Sink         string `json:"sink,omitempty"`
	Version      int    `json:"version,omitempty"`
	// Action is retry, replay or dismiss.
	Action string    `json:"action"`
	Actor  Actor     `json:"actor"`
	At     time.Time `json:"at"`
}

// A TicketChanged says what a ticket looks like at its desk now.
type TicketChanged struct {
	// Delivery is the sequence of the delivery that told us.
	Delivery     uint64    `json:"delivery,omitempty"`
	Sink         string    `json:"sink"`
	Ticket       Ref       `json:"ticket"`
	Conversation string    `json:"conversation,omitempty"`
	Status       Status    `json:"status,omitempty"`
	Assignee     *string   `json:"assignee,omitempty"`
	Queue        *string   `json:"queue,omitempty"`
	Priority     Priority  `json:"priority,omitempty"`
	Tags         []string  `json:"tags,omitempty"`
	By           string    `json:"by,omitempty"`
	At           time.Time `json:"at"`
}

// A Commented is a comment made at the desk.
type Commented struct {
	// Delivery is the sequence of the delivery that told us.
	Delivery     uint64  `json:"delivery,omitempty"`
	Sink         string  `json:"sink"`
	Ticket       Ref     `json:"ticket"`
	Conversation string  `json:"conversation,omitempty"`
	Comment      Comment `json:"comment"`
	// Reply is the id of the reply it became, "" for notes.
	Reply string    `json:"reply,omitempty"`
	At    time.Time `json:"at"`
}

// A Replied is the state of a reply.
type Replied struct {
	Reply        string `json:"reply"`
	Channel      string `json:"channel"`
	Sink         string `json:"sink"`
	Ticket       Ref    `json:"ticket"`
	Conversation string `json:"conversation"`
	// State is queued, sent, unknown or failed.
	State   string    `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	Dead    string    `json:"dead,omitempty"`
	Receipt Receipt   `json:"receipt,omitzero"`
	Calls   []Call    `json:"calls,omitempty"`
	At      time.Time `json:"at"`
}

// A Receipted is news of a reply from its vendor.
type Receipted struct {
	Reply        string    `json:"reply,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	Channel      string    `json:"channel"`
	Delivery     uint64    `json:"delivery"`
	Receipt      Receipt   `json:"receipt"`
	At           time.Time `json:"at"`
}

// A Forgot is all that is left of an erased conversation.
type Forgot struct {
	Conversation string    `json:"conversation"`
	Messages     int       `json:"messages"`
	Deliveries   int       `json:"deliveries"`
	Actor        Actor     `json:"actor"`
	At           time.Time `json:"at"`
}

// A HealthChanged is a channel or a sink that changed its state.
type HealthChanged struct {
	// Side is channel or sink.
	Side string `json:"side"`
	Name string `json:"name"`
	// State is ok, degraded, paused or down.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}
