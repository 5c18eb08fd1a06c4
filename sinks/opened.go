package sinks

import (
	"io"
	"reflect"

	"switchboard/adapter/hook"
)

// An Opened is a sink with what its desk can do, asked of the bare adapter once,
// so that no wrapper can hide it. Absent capabilities are nil.
type Opened struct {
	Name   string
	Kind   Kind
	Traits Traits[any]
	// Config is the value that the sink was opened with.
	Config     any
	Sink       Sink
	Finder     Finder
	Lister     Lister
	Threader   Threader
	Attacher   Attacher
	Updater    Updater
	Cataloguer Cataloguer
	Batch      BatchCreator
	Source     Source
	Webhook    hook.Webhook
	Poller     hook.Poller
	Registrar  hook.Registrar
	Closer     io.Closer
}

// OpenSink opens a sink of kind k from a Config value and asks what it can do.
func OpenSink(k Kind, cfg any, env Env) (*Opened, error) {
	s, err := k.Open(cfg, env)
	if err != nil {
		return nil, err
	}
	o := &Opened{Name: env.Name, Kind: k, Traits: k.Traits(), Config: cfg, Sink: s}
	o.Finder, _ = s.(Finder)
	o.Lister, _ = s.(Lister)
	o.Threader, _ = s.(Threader)
	o.Attacher, _ = s.(Attacher)
	o.Updater, _ = s.(Updater)
	o.Cataloguer, _ = s.(Cataloguer)
	o.Batch, _ = s.(BatchCreator)
	o.Source, _ = s.(Source)
	o.Webhook, _ = s.(hook.Webhook)
	o.Poller, _ = s.(hook.Poller)
	o.Registrar, _ = s.(hook.Registrar)
	o.Closer, _ = s.(io.Closer)
	return o, nil
}

// ConfigType is the type of the kind's Config, for documentation and schemas.
func (k Kind) ConfigType() reflect.Type { return k.defaults.Type() }
