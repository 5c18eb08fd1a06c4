// Package record holds what the stages keep on the bus: tokens, keys, and the
// shapes of the records of docs/protocol.md §2. It decides nothing.
package record

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"

	"switchboard/internal/bus"
)

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Tokens makes the tokens of one installation. A token is a keyed hash, for a
// plain hash of a phone number can be enumerated. It is immutable.
type Tokens struct{ key []byte }

// NewTokens returns the tokens under a key of 32 bytes.
func NewTokens(key []byte) Tokens { return Tokens{key: key} }

// OpenTokens reads the installation's key, or makes it the first time.
func OpenTokens(ctx context.Context, b *bus.Bus) (Tokens, error) {
	bucket := b.Bucket(bus.Cursors)
	for {
		e, err := bucket.Get(ctx, "meta.key")
		if err == nil {
			if len(e.Value) != 32 {
				return Tokens{}, errors.New("the installation's key is damaged: restore a backup of the data directory")
			}
			return Tokens{key: e.Value}, nil
		}
		if !errors.Is(err, bus.ErrNotFound) {
			return Tokens{}, fmt.Errorf("read the installation's key: %w", err)
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		if _, err := bucket.Create(ctx, "meta.key", key); err != nil && !errors.Is(err, bus.ErrConflict) {
			return Tokens{}, fmt.Errorf("make the installation's key: %w", err)
		}
	}
}

// Token returns 26 lower-case letters and digits for the parts, which may hold
// anything; different parts have different tokens.
func (t Tokens) Token(parts ...string) string {
	return lower.EncodeToString(t.sum(parts...)[:16])
}

// Derive returns a secret of 32 bytes for a purpose.
func (t Tokens) Derive(parts ...string) []byte {
	return t.sum(append([]string{"derive"}, parts...)...)
}

func (t Tokens) sum(parts ...string) []byte {
	m := hmac.New(sha256.New, t.key)
	m.Write(framed(parts))
	return m.Sum(nil)
}

// framed joins parts so that different parts never join to the same bytes.
func framed(parts []string) []byte {
	size := 0
	for _, p := range parts {
		size += len(p) + len("00000000:")
	}
	out := make([]byte, 0, size)
	for _, p := range parts {
		out = append(strconv.AppendInt(out, int64(len(p)), 10), ':')
		out = append(out, p...)
	}
	return out
}

// Message returns the id of a message: of the account's scope and the vendor's id.
func (t Tokens) Message(scope, vendorID string) string { return t.Token("m", scope, vendorID) }

// Variant returns the id of a message that came under an id already taken by
// other content.
func (t Tokens) Variant(mid, digest string) string { return t.Token("m2", mid, digest) }

// Conversation returns the token of a conversation within a scope.
func (t Tokens) Conversation(scope, key string) string { return t.Token("c", scope, key) }

// Ticket returns the token of a sink's ticket id, for keys that hold no dots.
func (t Tokens) Ticket(sink, id string) string { return t.Token("t", sink, id) }

// Reply returns the id of the reply that a desk's comment becomes.
func (t Tokens) Reply(sink, commentID string) string { return t.Token("r", sink, commentID) }

// Sent returns the token under which receipts find their reply.
func (t Tokens) Sent(scope, vendorID string) string { return t.Token("v", scope, vendorID) }

// TicketKey returns the key of the ticket that message mid opens on sink. It
// depends on the opening message, not on the conversation: a follow-up ticket
// must not find, or overwrite, the closed one.
func TicketKey(sink, mid string) string { return key("t", sink, mid, "") }

// CommentKey returns the key of one part of message mid on sink; part 0 is the
// text, others are files and notes.
func CommentKey(sink, mid string, part int) string { return key("c", sink, mid, strconv.Itoa(part)) }

func key(parts ...string) string {
	sum := sha256.Sum256(framed(parts))
	return "sb-" + lower.EncodeToString(sum[:16])
}

// Digest returns 26 letters and digits for the parts, unkeyed: for ids of events
// and for comparing content.
func Digest(parts ...string) string {
	sum := sha256.Sum256(framed(parts))
	return lower.EncodeToString(sum[:16])
}
