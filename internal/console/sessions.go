package console

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"switchboard/schemas"
)

// A session lasts idleLimit after the last request, and never longer than ageLimit.
const (
	idleLimit = 12 * time.Hour
	ageLimit  = 7 * 24 * time.Hour
	// touchEvery bounds how often the time of the last request is written.
	touchEvery = 5 * time.Minute
)

// session is the record behind a cookie. Its key is the hash of the token.
type session struct {
	Schema int       `json:"schema"`
	User   string    `json:"user"`
	Era    int       `json:"era"`
	Began  time.Time `json:"began"`
	Seen   time.Time `json:"seen"`
}

func (s session) over(now time.Time) bool {
	return now.Sub(s.Seen) > idleLimit || now.Sub(s.Began) > ageLimit
}

// A visitor is who asks for a page; the zero visitor has not signed in.
type visitor struct {
	Name string
	Role Role
}

func (v *visitor) actor() schemas.Actor {
	return schemas.Actor{Name: v.Name, Role: string(v.Role), Source: "console"}
}

// Reads reports whether the visitor may read customers' words.
func (v *visitor) Reads() bool { return v.Role.may(Agent) }

const (
	sessionKey    = "session."
	sessionCookie = "switchboard_session"
)

func newToken() string {
	raw := make([]byte, 32)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func sessionOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return sessionKey + hex.EncodeToString(sum[:])
}

// begin opens a session for u and hands its token to the browser.
func (c *Console) begin(w http.ResponseWriter, r *http.Request, u user) error {
	now := c.opts.Now().UTC()
	token := newToken()
	s := session{Schema: schemas.Version, User: u.Name, Era: u.Era, Began: now, Seen: now}
	if _, err := c.opts.Accounts.Create(r.Context(), sessionOf(token), mustEncode(s)); err != nil {
		return fmt.Errorf("store session: %w", err)
	}
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: token, Path: "/", MaxAge: int(ageLimit.Seconds()),
		HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteLaxMode,
	})
	return nil
}

// visitor returns who sent r; ErrNotFound means that nobody is signed in.
func (c *Console) visitor(r *http.Request) (*visitor, error) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return nil, ErrNotFound
	}
	ctx, key := r.Context(), sessionOf(cookie.Value)
	var s session
	rev, err := c.read(ctx, key, &s)
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	now := c.opts.Now().UTC()
	if s.over(now) {
		return nil, errors.Join(ErrNotFound, c.opts.Accounts.Delete(ctx, key))
	}
	u, _, err := c.user(ctx, s.User)
	if err != nil {
		return nil, fmt.Errorf("read user: %w", err)
	}
	if u.Era != s.Era {
		return nil, ErrNotFound
	}
	if now.Sub(s.Seen) > touchEvery {
		s.Seen = now
		if _, err := c.opts.Accounts.Update(ctx, key, mustEncode(s), rev); err != nil && !errors.Is(err, ErrConflict) {
			return nil, fmt.Errorf("touch session: %w", err)
		}
	}
	return &visitor{Name: u.Name, Role: u.Role}, nil
}

// end closes the session of r, if there is one, and clears the cookie.
func (c *Console) end(w http.ResponseWriter, r *http.Request) error {
	http.SetCookie(w, &http.Cookie{Name: sessionCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: c.secure(r), SameSite: http.SameSiteLaxMode})
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil //nolint:nilerr // no cookie, nothing to end
	}
	return c.opts.Accounts.Delete(r.Context(), sessionOf(cookie.Value))
}

// sweep removes sessions that are over; a bucket forgets nothing by itself.
func (c *Console) sweep(ctx context.Context) error {
	keys, err := c.opts.Accounts.List(ctx, sessionKey)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	now := c.opts.Now().UTC()
	for _, key := range keys {
		var s session
		if _, err := c.read(ctx, key, &s); err != nil {
			continue // gone meanwhile, or unreadable: not worth a login
		}
		if s.over(now) {
			if err := c.opts.Accounts.Delete(ctx, key); err != nil {
				return fmt.Errorf("delete session: %w", err)
			}
		}
	}
	return nil
}
