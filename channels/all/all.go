// Package all lists the channels in the binary. Adding one is adding a line.
package all

import (
	"switchboard/channels"
	"switchboard/channels/form"
	"switchboard/channels/telegram"
	"switchboard/channels/twiliosms"
	"switchboard/channels/webhook"
)

// Kinds returns every kind of channel, by name.
func Kinds() []channels.Kind {
	return []channels.Kind{
		form.Kind,
		telegram.Kind,
		twiliosms.Kind,
		webhook.Kind,
	}
}
