// Package all lists the sinks that are in the binary.
package all

import (
	"switchboard/sinks"
	"switchboard/sinks/inbox"
	"switchboard/sinks/webhook"
	"switchboard/sinks/zendesk"
)

// Kinds returns the kinds of sinks, one line each, in the order of the docs.
func Kinds() []sinks.Kind {
	return []sinks.Kind{
		inbox.Kind,
		webhook.Kind,
		zendesk.Kind,
	}
}
