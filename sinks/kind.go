package sinks

import (
	"fmt"
	"reflect"
	"time"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
)

// A Class says how a desk lets us find out what became of a write whose answer
// was lost (protocol §6).
type Class int

// Classes of idempotency.
const (
	// StrongLookup: Find and Thread read what was written as soon as it is. The zero
	// value: it is the rule, and it is proven by preflight.
	StrongLookup Class = iota
	// Upsert: a repeat with the same key is the same record.
	Upsert
	// KeyWindow: the desk remembers the key of a request for Window; the body must
	// be the same to the byte. Afterwards as StrongLookup.
	KeyWindow
	// LaggingLookup: Find and Thread see a write only after up to Window.
	LaggingLookup
	// ReceiverDedup: nothing can be looked up; the receiver drops a repeat of
	// identical bytes. Files travel inside the create or append.
	ReceiverDedup
)

// String names the class as the docs do.
func (c Class) String() string {
	return [...]string{"strong look-up", "upsert", "key window", "lagging look-up", "receiver deduplicates"}[c]
}

// Traits are what the host must know of a desk. C is the adapter's Config.
type Traits[C any] struct {
	// Create is the class of Create, Append that of Append and Attach.
	Create, Append Class
	// Window is how long a key is remembered (KeyWindow) or a look-up lags
	// (LaggingLookup).
	Window time.Duration
	// Settle is the longest time after which the desk may still commit a request
	// that it has received; 0 means a minute. The option settle overrides it.
	Settle time.Duration
	// Concurrency is how many calls may be under way; 0 means 64.
	Concurrency int
	// MaxText and MaxSubject are in characters, MaxFile in bytes, MaxTags a count; 0
	// means no limit. The host cuts texts and says so; larger files become links.
	MaxText, MaxSubject, MaxTags int
	MaxFile                      int64
	// MaxBody is the largest delivery back, in bytes; 0 means 1 MiB.
	MaxBody int64
	// Secrets are headers of deliveries back that carry secrets.
	Secrets []string
	// PollEvery is the pause between two polls that found nothing; 0 means a minute.
	PollEvery time.Duration
	// Console says that agents work on this desk's tickets in our console: Append by
	// an agent and Update are offered there.
	Console bool
	// Store says that the desk keeps its tickets in Env.DB.
	Store bool
	// Sign makes d a delivery back that Verify accepts: for tests and sandbox.
	Sign func(c C, d *hook.Delivery)
	// Fake makes the desk's fake; board holds its dials.
	Fake func(c C, board *sandbox.Board) sandbox.Desk
}

// A Kind is what the host needs to open sinks of one type. It is made by Define
// and immutable.
type Kind struct {
	name     string
	defaults reflect.Value
	traits   Traits[any]
	open     func(cfg any, env Env) (Sink, error)
}

// Define makes a kind. name is how the configuration file calls it; defaults is
// a Config with every default filled in; open builds a sink without any network.
// Config must be a struct.
func Define[C any](name string, defaults C, open func(C, Env) (Sink, error), t Traits[C]) Kind {
	if reflect.TypeFor[C]().Kind() != reflect.Struct {
		panic(fmt.Sprintf("sinks: Config of %s is not a struct", name))
	}
	k := Kind{
		name:     name,
		defaults: reflect.ValueOf(defaults),
		open:     func(cfg any, env Env) (Sink, error) { return open(cfg.(C), env) },
		traits: Traits[any]{
			Create: t.Create, Append: t.Append, Window: t.Window, Settle: t.Settle, Concurrency: t.Concurrency,
			MaxText: t.MaxText, MaxSubject: t.MaxSubject, MaxTags: t.MaxTags, MaxFile: t.MaxFile, MaxBody: t.MaxBody,
			Secrets: t.Secrets, PollEvery: t.PollEvery, Console: t.Console, Store: t.Store,
		},
	}
	if k.traits.Settle == 0 {
		k.traits.Settle = time.Minute
	}
	if k.traits.Concurrency == 0 {
		k.traits.Concurrency = 64
	}
	if k.traits.MaxBody == 0 {
		k.traits.MaxBody = 1 << 20
	}
	if k.traits.PollEvery == 0 {
		k.traits.PollEvery = time.Minute
	}
	if t.Sign != nil {
		k.traits.Sign = func(c any, d *hook.Delivery) { t.Sign(c.(C), d) }
	}
	if t.Fake != nil {
		k.traits.Fake = func(c any, b *sandbox.Board) sandbox.Desk { return t.Fake(c.(C), b) }
	}
	return k
}

// Name is how the configuration file calls the kind.
func (k Kind) Name() string { return k.name }

// Traits are what the host must know of the desk; Config arguments are what
// Config returned, dereferenced.
func (k Kind) Traits() Traits[any] { return k.traits }

// Config returns a pointer to a fresh Config with the defaults, to be decoded into.
func (k Kind) Config() any {
	p := reflect.New(k.defaults.Type())
	p.Elem().Set(k.defaults)
	return p.Interface()
}

// Open builds a sink from a Config value (not a pointer), without any network.
func (k Kind) Open(cfg any, env Env) (Sink, error) { return k.open(cfg, env) }
