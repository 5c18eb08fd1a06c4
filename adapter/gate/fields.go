package gate

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"time"
)

// The fields of a form that are the gate's, not the sender's words.
const (
	TokenField = "sb_token"
	ProofField = "sb_proof"
	// KeyField is a key of the sender's own for what is sent.
	KeyField = "submission_id"
)

// Fields lists the gate's fields, those that are traps too.
func Fields() []string {
	return []string{TokenField, ProofField, KeyField, "website", "_gotcha", "_honey"}
}

// Trapped reports whether one of the fields is filled in that people do not see.
// Other sites' forms may well ask for a website, so that is a trap on our page
// only.
func Trapped(fields map[string]string) bool {
	return fields["_gotcha"] != "" || fields["_honey"] != "" || fields["website"] != "" && fields[TokenField] != ""
}

// Identify returns the id of what was sent: the nonce of the page, the sender's
// own key, or a digest of sum, which sums up the content as of a time.
func Identify(token, key string, sum func(at time.Time) []byte, at time.Time) string {
	if nonce, ok := Nonce(token); ok {
		return "page-" + nonce
	}
	if key != "" {
		return "key-" + digest([]byte(key))
	}
	return "same-" + digest(sum(at))
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// Reference is what the requester may quote of an id.
func Reference(id string) string {
	sum := sha256.Sum256([]byte(id))
	text := base32.StdEncoding.EncodeToString(sum[:])
	return text[:4] + "-" + text[4:8]
}
