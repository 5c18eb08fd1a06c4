package channels

import (
	"fmt"
	"reflect"
	"time"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
)

// A ReplyClass says what is known of a reply whose sending broke off
// (protocol §7).
type ReplyClass int

// Classes of replies.
const (
	// NoReplies: the vendor does not let us answer. The zero value.
	NoReplies ReplyClass = iota
	// Idempotent: the vendor takes r.Key and sends once.
	Idempotent
	// Trackable: a look-up (Tracker) or a status callback carries our key.
	Trackable
	// Blind: neither; an unknown outcome is put to a person.
	Blind
)

// String names the class as the docs do.
func (r ReplyClass) String() string {
	return [...]string{"no replies", "idempotency key", "look-up", "blind"}[r]
}

// Traits are what the host must know of a vendor. C is the adapter's Config.
type Traits[C any] struct {
	// MaxBody is the largest delivery in bytes; 0 means 1 MiB.
	MaxBody int64
	// MaxFile is the largest attachment that is fetched, in bytes; 0 means 25 MiB.
	MaxFile int64
	// MaxText is how many characters a reply may have before the host splits it; 0
	// means no limit.
	MaxText int
	// Secrets are the headers, and SecretParams the query parameters, that carry
	// secrets: they are replaced by a digest after Verify, before anything is stored.
	Secrets      []string
	SecretParams []string
	// RefuseStatus is what a refused delivery gets; 0 means 401.
	RefuseStatus int
	// Reply is the class of outgoing replies.
	Reply ReplyClass
	// Retries says that the vendor sends again what we did not take.
	Retries bool
	// Form mounts the channel below /form/ too and serves GET requests to it; it is
	// open to the public and limited per address.
	Form bool
	// Mail puts the channel into the scope that all mail channels share.
	Mail bool
	// PollEvery is the pause between two polls that found nothing; 0 means a minute.
	// A long-polling vendor sets it to a millisecond.
	PollEvery time.Duration
	// Polls says whether this configuration wants to be polled; nil: whenever the
	// channel is a Poller.
	Polls func(c C) bool
	// Sign makes d a delivery that Verify accepts: for tests, sandbox and demo.
	Sign func(c C, d *hook.Delivery)
	// Fake makes the vendor's fake for the account c; board holds its dials.
	Fake func(c C, board *sandbox.Board) sandbox.Fake
	// Sample makes the body and headers of a delivery with this text from this
	// person, as the vendor would send it (unsigned): for sandbox and demo.
	Sample func(c C, from Sample) hook.Delivery
}

// A Sample is what a made-up customer says.
type Sample struct {
	// ID is unique per message; From is the person's address, as the vendor names
	// people; Name is what they are called.
	ID, From, Name string
	Subject, Text  string
	At             time.Time
}

// A Kind is what the host needs to open channels of one type. It is made by
// Define and immutable.
type Kind struct {
	name     string
	defaults reflect.Value
	traits   Traits[any]
	open     func(cfg any, env Env) (Channel, error)
}

// Define makes a kind. name is how the configuration file calls it; defaults is
// a Config with every default filled in; open builds a channel without any I/O.
// Config must be a struct.
func Define[C any](name string, defaults C, open func(C, Env) (Channel, error), t Traits[C]) Kind {
	if reflect.TypeFor[C]().Kind() != reflect.Struct {
		panic(fmt.Sprintf("channels: Config of %s is not a struct", name))
	}
	k := Kind{
		name:     name,
		defaults: reflect.ValueOf(defaults),
		open:     func(cfg any, env Env) (Channel, error) { return open(cfg.(C), env) },
		traits: Traits[any]{
			MaxBody: t.MaxBody, MaxFile: t.MaxFile, MaxText: t.MaxText,
			Secrets: t.Secrets, SecretParams: t.SecretParams, RefuseStatus: t.RefuseStatus,
			Reply: t.Reply, Retries: t.Retries, Form: t.Form, Mail: t.Mail, PollEvery: t.PollEvery,
		},
	}
	if k.traits.MaxBody == 0 {
		k.traits.MaxBody = 1 << 20
	}
	if k.traits.MaxFile == 0 {
		k.traits.MaxFile = 25 << 20
	}
	if k.traits.RefuseStatus == 0 {
		k.traits.RefuseStatus = 401
	}
	if k.traits.PollEvery == 0 {
		k.traits.PollEvery = time.Minute
	}
	if t.Polls != nil {
		k.traits.Polls = func(c any) bool { return t.Polls(c.(C)) }
	}
	if t.Sign != nil {
		k.traits.Sign = func(c any, d *hook.Delivery) { t.Sign(c.(C), d) }
	}
	if t.Fake != nil {
		k.traits.Fake = func(c any, b *sandbox.Board) sandbox.Fake { return t.Fake(c.(C), b) }
	}
	if t.Sample != nil {
		k.traits.Sample = func(c any, s Sample) hook.Delivery { return t.Sample(c.(C), s) }
	}
	return k
}

// Name is how the configuration file calls the kind.
func (k Kind) Name() string { return k.name }

// Traits are what the host must know of the vendor; Config arguments are what
// Config returned, dereferenced.
func (k Kind) Traits() Traits[any] { return k.traits }

// Config returns a pointer to a fresh Config with the defaults, to be decoded into.
func (k Kind) Config() any {
	p := reflect.New(k.defaults.Type())
	p.Elem().Set(k.defaults)
	return p.Interface()
}

// Open builds a channel from a Config value (not a pointer), without any I/O.
func (k Kind) Open(cfg any, env Env) (Channel, error) { return k.open(cfg, env) }
