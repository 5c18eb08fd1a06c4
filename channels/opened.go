package channels

import (
	"io"
	"reflect"

	"switchboard/adapter/hook"
)

// An Opened is a channel with what its vendor can do, asked of the bare adapter
// once, so that no wrapper can hide it. Absent capabilities are nil.
type Opened struct {
	Name   string
	Kind   Kind
	Traits Traits[any]
	// Config is the value that the channel was opened with.
	Config    any
	Channel   Channel
	Webhook   hook.Webhook
	Poller    hook.Poller
	Streamer  Streamer
	Sender    Sender
	Tracker   Tracker
	Fetcher   Fetcher
	Registrar hook.Registrar
	Closer    io.Closer
}

// Scope is what ids of messages and conversations derive from: the vendor's
// account, not the channel's name, so that renaming orphans nothing. realm is
// the scope that mail channels share.
func (o *Opened) Scope(realm string) string {
	if o.Traits.Mail {
		return "mail/" + realm
	}
	return o.Kind.Name() + "/" + o.Channel.Account()
}

// OpenChannel opens a channel of kind k from a Config value and asks what it can
// do.
func OpenChannel(k Kind, cfg any, env Env) (*Opened, error) {
	c, err := k.Open(cfg, env)
	if err != nil {
		return nil, err
	}
	o := &Opened{Name: env.Name, Kind: k, Traits: k.Traits(), Config: cfg, Channel: c}
	o.Webhook, _ = c.(hook.Webhook)
	o.Poller, _ = c.(hook.Poller)
	o.Streamer, _ = c.(Streamer)
	o.Sender, _ = c.(Sender)
	o.Tracker, _ = c.(Tracker)
	o.Fetcher, _ = c.(Fetcher)
	o.Registrar, _ = c.(hook.Registrar)
	o.Closer, _ = c.(io.Closer)
	if o.Traits.Polls != nil && !o.Traits.Polls(cfg) {
		o.Poller = nil
	}
	return o, nil
}

// ConfigType is the type of the kind's Config, for documentation and schemas.
func (k Kind) ConfigType() reflect.Type { return k.defaults.Type() }
