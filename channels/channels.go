// Package channels is the contract between Switchboard and the places where
// customers write.
//
// A channel adapter translates one vendor: it owns its configuration, the
// vendor's payloads and the mapping to package schemas, and nothing else. The
// host decodes the configuration, mounts paths, reads bodies, stores deliveries,
// polls, retries, limits, logs and counts. See docs/style.md §2.
package channels

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"switchboard/adapter/hook"
	"switchboard/schemas"
)

// A Channel is one configured account at a vendor, such as the shop's WhatsApp
// number: a way to obtain deliveries (at least one of hook.Webhook, hook.Poller
// and Streamer) and one way to read them; Sender where the vendor lets us answer.
//
// The host may call Verify, Parse and Send from many goroutines; it never runs
// two Polls or two Streams of one channel at once. It closes a channel that is
// an io.Closer after the last call has returned.
type Channel interface {
	// Account is the vendor's id of the account (bot, number, mailbox), taken from the
	// configuration: ids derive from it. Where there is none (form) it is an option.
	Account() string
	// Check proves the credentials with one cheap, read-only call.
	Check(ctx context.Context) error
	// Parse reads one raw delivery, however it was obtained: no I/O, no clock, the
	// same answer every time, for it may run again years later. A delivery of no
	// interest (our own echo, an unknown event) yields only the reason; that is not
	// an error. News of our replies (sent, read, failed) are Receipts.
	Parse(d hook.Delivery) (Parsed, error)
}

// Parsed is what a delivery holds. Where there are neither Messages nor
// Receipts, Ignored says why in a few words without customers' text.
type Parsed struct {
	Messages []schemas.Message
	Receipts []schemas.Receipt
	Ignored  string
}

// Ignore is what Parse returns of a delivery of no interest, with the reason.
func Ignore(reason string, args ...any) (Parsed, error) {
	return Parsed{Ignored: fmt.Sprintf(reason, args...)}, nil
}

// A Streamer holds a connection open. It emits until ctx ends or the connection
// breaks, and says why; the host reconnects with backoff. Acknowledge to the
// vendor after emit returns nil: by then the delivery is durable.
type Streamer interface {
	Stream(ctx context.Context, emit func(hook.Delivery) error) error
}

// A Sender carries an agent's reply to the customer and returns the vendor's id
// for it. r.Key is the same on every attempt; pass it on where the vendor takes
// such a key.
type Sender interface {
	Send(ctx context.Context, r schemas.Reply) (schemas.Receipt, error)
}

// A Tracker tells whether the reply with r.Key has left (protocol §7).
type Tracker interface {
	Sent(ctx context.Context, r schemas.Reply) (schemas.Receipt, bool, error)
}

// A Fetcher opens an attachment that a message only refers to. The caller closes
// it and reads no more than the kind's limit.
type Fetcher interface {
	Fetch(ctx context.Context, ref string) (io.ReadCloser, error)
}

// Env is what the host lends an adapter.
type Env struct {
	// Name is the channel's name in the configuration file.
	Name string
	// Log already carries the name.
	Log *slog.Logger
	// HTTP has timeouts, metrics, a rate limit and the guard against private
	// addresses; it never follows a redirect of a write.
	HTTP *http.Client
	// Key is a secret of this installation for this channel, the same after every
	// restart, 32 bytes: for tokens that the adapter signs itself.
	Key []byte
	// Public is the address at which customers and vendors reach this channel, such
	// as https://intake.shop.example/hooks/shop-sms, "" when it is not configured.
	Public string
}
