package schemas

import (
	"slices"
	"strings"
	"time"
)

// A Message is one thing a customer sent on one channel.
//
// An adapter's Parse fills what the vendor said; the host stamps ID, Channel,
// Kind and ReceivedAt afterwards and an adapter leaves these alone.
type Message struct {
	// Schema is the version of this record's shape.
	Schema int `json:"schema,omitempty"`
	// ID is the host's id of the message, a keyed hash of the account and VendorID.
	ID string `json:"id,omitempty"`
	// Channel is the configured name of the channel, Kind its type.
	Channel string `json:"channel,omitempty"`
	Kind    string `json:"kind,omitempty"`
	// VendorID is the vendor's id of this message, unique within the account. An
	// adapter never changes how it derives it.
	VendorID string `json:"vendor_id"`
	// Conversation is the vendor's key of the thread, chat or call, unique within
	// the account.
	Conversation string `json:"conversation"`
	// ReceivedAt is when the delivery reached us; SentAt is when the vendor says
	// that the message was sent, zero where it does not say.
	ReceivedAt time.Time `json:"received_at,omitzero"`
	SentAt     time.Time `json:"sent_at,omitzero"`
	// Requester is who wrote.
	Requester Requester `json:"requester"`
	// Subject is one line, empty on channels without subjects.
	Subject string `json:"subject,omitempty"`
	// Text is the message as plain text; HTML is the original where there was one.
	Text string `json:"text,omitempty"`
	HTML string `json:"html,omitempty"`
	// Attachments are the files of the message, in the vendor's order.
	Attachments []Attachment `json:"attachments,omitempty"`
	// Fields are further answers and facts under their names, in the vendor's order.
	Fields []Field `json:"fields,omitempty"`
	// ReplyTo and Edits are vendor ids of an earlier message that this one answers
	// or replaces.
	ReplyTo string `json:"reply_to,omitempty"`
	Edits   string `json:"edits,omitempty"`
	// Group joins messages that the customer sent as one, such as the photos of an
	// album; it is unique within the conversation.
	Group string `json:"group,omitempty"`
	// Degraded says what could not be read, in words for an agent.
	Degraded []string `json:"degraded,omitempty"`
}

// A Requester is the person who wrote.
type Requester struct {
	// Name is what the person or the vendor calls them.
	Name string `json:"name,omitempty"`
	// Identities are the addresses that stand for the person, strongest first.
	Identities []Identity `json:"identities,omitempty"`
	// Locale is a BCP 47 tag, empty when unknown.
	Locale string `json:"locale,omitempty"`
}

// First returns the value of the first identity of the given kind, or "".
func (r Requester) First(kind IdentityKind) string {
	for _, id := range r.Identities {
		if id.Kind == kind {
			return id.Value
		}
	}
	return ""
}

// Label returns what to call the requester on a screen: the name, else the
// first identity, else "unknown".
func (r Requester) Label() string {
	if r.Name != "" {
		return r.Name
	}
	if len(r.Identities) > 0 {
		return r.Identities[0].Value
	}
	return "unknown"
}

// Domain returns the domain of the first e-mail address in lower case, or "".
func (r Requester) Domain() string {
	_, domain, ok := strings.Cut(r.First(Email), "@")
	if !ok {
		return ""
	}
	return strings.ToLower(domain)
}

// Attested reports whether any identity was proven by its vendor.
func (r Requester) Attested() bool {
	return slices.ContainsFunc(r.Identities, func(id Identity) bool { return id.Evidence == Attested })
}

// An Identity is one address of a person and how well it is known.
type Identity struct {
	Kind     IdentityKind `json:"kind"`
	Value    string       `json:"value"`
	Evidence Evidence     `json:"evidence,omitempty"`
}

// An IdentityKind says what an identity is: an address that any vendor shares
// (Email, Phone), or an id within one vendor, named like the vendor.
type IdentityKind string

// Kinds that channels share. Vendors' own ids use the vendor's name.
const (
	Email IdentityKind = "email"
	Phone IdentityKind = "phone"
)

// Evidence grades how well an identity is known.
type Evidence string

// Grades, strongest first. Attested: the vendor proved it (the number that sent
// the SMS). Asserted: the person wrote it (a form field). Guessed: we inferred it.
const (
	Attested Evidence = "attested"
	Asserted Evidence = "asserted"
	Guessed  Evidence = "guessed"
)

// An Attachment is one file of a message. Data holds it where the delivery
// carried it; Ref is the channel's own pointer where it has to be fetched. Once
// stored, Blob names it and SHA256 and Size describe it; Missing says why not.
type Attachment struct {
	// Name is a base name without path or control characters, at most 150 bytes.
	Name string `json:"name,omitempty"`
	// Type is the media type as the vendor said it.
	Type string `json:"type,omitempty"`
	// Size is in bytes, 0 when unknown.
	Size int64  `json:"size,omitempty"`
	Ref  string `json:"ref,omitempty"`
	Data []byte `json:"-"`

	Blob    string `json:"blob,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// A Field is a named value.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// FieldValue returns the value of the first field called name, or "".
func FieldValue(fields []Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
