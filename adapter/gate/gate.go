// Package gate keeps programs, and the pages of strangers, away from what people
// fill in. A Gate tells people from programs: every page carries a signed token
// with its time and a nonce, and may ask the browser for a proof of work over the
// nonce. Origins tell whose pages may post.
package gate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/adapter/hook"
)

// Life is how long a page may stay open before it is sent.
const Life = 24 * time.Hour

// Bits is how many leading zero bits a proof has; a browser finds one in about
// 65,000 tries.
const Bits = 16

// A Gate issues and checks tokens. Its zero value accepts no token.
type Gate struct {
	// Key signs the tokens.
	Key []byte
	// MinFill is how long a person needs at least.
	MinFill time.Duration
	// Asks says that our pages ask for a proof of work, Proof that nobody passes
	// without one.
	Asks, Proof bool
}

// New returns a gate as a configuration file describes it: min_fill, and
// proof_of_work, which is off, javascript (pages that run scripts show one) or
// required.
func New(key []byte, minFill time.Duration, proof string) (Gate, error) {
	var errs []error
	if minFill < 0 || minFill > Life/2 {
		errs = append(errs, fmt.Errorf("min_fill: want 0s to %s", Life/2))
	}
	if !slices.Contains([]string{"off", "javascript", "required"}, proof) {
		errs = append(errs, fmt.Errorf("proof_of_work: no %q; there are off, javascript, required", proof))
	}
	return Gate{Key: key, MinFill: minFill, Asks: proof != "off", Proof: proof == "required"}, errors.Join(errs...)
}

// Work is how many bits of proof a page asks for, 0 for none.
func (g Gate) Work() int {
	if g.Asks {
		return Bits
	}
	return 0
}

// A Reason says why somebody does not pass; "" is nobody's.
type Reason string

// Reasons. A person meets the first three too, and may try again.
const (
	Expired    Reason = "page_expired"
	TooQuick   Reason = "too_quick"
	WrongProof Reason = "wrong_proof"
	Unproven   Reason = "no_proof"
)

// Token makes a token for a page that is shown now.
func (g Gate) Token(now time.Time) string {
	plain := strconv.FormatInt(now.UnixMilli(), 36) + "." + rand.Text()
	return plain + "." + hex.EncodeToString(g.mac(plain))
}

func (g Gate) mac(plain string) []byte {
	m := hmac.New(sha256.New, g.Key)
	m.Write([]byte("gate " + plain))
	return m.Sum(nil)
}

// Nonce returns the nonce of a token, whoever signed it; ok is false for what
// does not look like one.
func Nonce(token string) (nonce string, ok bool) {
	part := strings.Split(token, ".")
	if len(part) != 3 || len(part[1]) != 26 || strings.Trim(part[1], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return "", false
	}
	return part[1], true
}

// Check says why a page with this token and proof does not pass, or "". A proof
// that is there has to be right; the same token passes more than once. What comes
// from another site has no token: it passes unless a proof is asked for, and
// origins, traps and the host's limits have to do.
func (g Gate) Check(token, proof string, now time.Time) Reason {
	if token == "" && !g.Proof {
		return ""
	}
	nonce, ok := Nonce(token)
	if !ok {
		return Expired
	}
	cut := strings.LastIndexByte(token, '.')
	if hook.HMACSHA256(g.Key, []byte("gate "+token[:cut]), token[cut+1:]) != nil {
		return Expired
	}
	stamp, _, _ := strings.Cut(token, ".")
	issued, err := strconv.ParseInt(stamp, 36, 64)
	switch age := now.Sub(time.UnixMilli(issued)); {
	case err != nil || age > Life || age < -time.Minute:
		return Expired
	case age < g.MinFill:
		return TooQuick
	case proof != "" && !Proves(nonce, proof):
		return WrongProof
	case proof == "" && g.Proof:
		return Unproven
	}
	return ""
}

// Proves reports whether the SHA-256 of nonce, a dot and number begins with Bits
// zeros.
func Proves(nonce, number string) bool {
	sum := sha256.Sum256([]byte(nonce + "." + number))
	return len(number) <= 12 && bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) >= Bits
}
