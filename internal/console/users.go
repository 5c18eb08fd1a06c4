package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"switchboard/schemas"
)

// A Role says what a user may do. Each includes the ones before it.
type Role string

// Roles: viewers see everything but customers' words; agents read and answer;
// admins do what is still to come.
const (
	Viewer Role = "viewer"
	Agent  Role = "agent"
	Admin  Role = "admin"
)

// may reports whether r includes what needs the role least.
func (r Role) may(least Role) bool { return r.rank() >= least.rank() }

func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Agent:
		return 2
	case Admin:
		return 3
	default:
		return 0
	}
}

// user is the record of a person who may sign in.
type user struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	Role   Role   `json:"role"`
	// Hash is the password's, in the PHC notation of argon2id.
	Hash string `json:"hash"`
	// Era rises with every new password and ends the sessions of the old one.
	Era     int       `json:"era"`
	Changed time.Time `json:"changed"`
}

const userKey = "user."

var userName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?$`)

// keyOf returns the key of a user's record: buckets do not take every name.
func keyOf(name string) string { return userKey + hex.EncodeToString([]byte(name)) }

func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// EnsureAdmin makes the user admin with a new password if there is no user at
// all, and returns the password: this is the only time that it can be read.
func (c *Console) EnsureAdmin(ctx context.Context) (password string, created bool, err error) {
	keys, err := c.opts.Accounts.List(ctx, userKey)
	if err != nil {
		return "", false, fmt.Errorf("list users: %w", err)
	}
	if len(keys) > 0 {
		return "", false, nil
	}
	password = newPassword()
	err = c.create(ctx, "admin", Admin, password)
	if errors.Is(err, ErrConflict) {
		return "", false, nil // another instance started in the same moment
	}
	if err != nil {
		return "", false, err
	}
	return password, true, nil
}

// SetPassword gives a user a new password and ends their sessions. A user that is
// not there yet is made with the given role; of one that is, "" keeps the role.
func (c *Console) SetPassword(ctx context.Context, name string, role Role, password string) error {
	name = fold(name)
	switch {
	case !userName.MatchString(name):
		return errors.New("a user's name is 1 to 64 of a-z, 0-9 and . _ @ - and begins and ends with a letter or digit")
	case utf8.RuneCountInString(password) < 10 || len(password) > maxPassword:
		return fmt.Errorf("a password has at least 10 characters and at most %d bytes", maxPassword)
	case role != "" && role.rank() == 0:
		return errors.New("a role is viewer, agent or admin")
	}
	for range 5 { // somebody else may change the record meanwhile
		u, rev, err := c.user(ctx, name)
		if errors.Is(err, ErrNotFound) {
			if role == "" {
				role = Viewer
			}
			err = c.create(ctx, name, role, password)
		} else if err == nil {
			if role != "" {
				u.Role = role
			}
			u.Hash, u.Era, u.Changed = hashPassword(password), u.Era+1, c.opts.Now().UTC()
			_, err = c.opts.Accounts.Update(ctx, keyOf(name), mustEncode(u), rev)
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("set password of %s: %w", name, ErrConflict)
}

func (c *Console) create(ctx context.Context, name string, role Role, password string) error {
	u := user{Schema: schemas.Version, Name: name, Role: role, Hash: hashPassword(password), Era: 1, Changed: c.opts.Now().UTC()}
	if _, err := c.opts.Accounts.Create(ctx, keyOf(name), mustEncode(u)); err != nil {
		return fmt.Errorf("create user %s: %w", name, err)
	}
	return nil
}

func (c *Console) user(ctx context.Context, name string) (user, uint64, error) {
	var u user
	rev, err := c.read(ctx, keyOf(name), &u)
	return u, rev, err
}

func (c *Console) read(ctx context.Context, key string, into any) (uint64, error) {
	b, rev, err := c.opts.Accounts.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return 0, fmt.Errorf("decode account record: %w", err)
	}
	return rev, nil
}

// mustEncode writes a record of ours; such records always can be written.
func mustEncode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// check reports whether name and password go together. It takes as long for a
// name that is not there as for one that is.
func (c *Console) check(ctx context.Context, name, password string) (user, bool, error) {
	u, _, err := c.user(ctx, name)
	known := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return user{}, false, fmt.Errorf("read user: %w", err)
	}
	hash := u.Hash
	if !known || len(password) > maxPassword {
		hash, password = c.decoy, ""
	}
	select {
	case c.hashing <- struct{}{}:
		defer func() { <-c.hashing }()
	case <-ctx.Done():
		return user{}, false, ctx.Err()
	}
	ok, err := verifyPassword(hash, password)
	return u, ok && known, err
}

// The cost of argon2id, and what a stored hash may ask for at most.
const (
	hashTime    = 2
	hashMemory  = 19 << 10 // KiB
	hashThreads = 1
	hashLength  = 32
	maxPassword = 1024
)

func hashPassword(password string) string {
	salt := make([]byte, 16)
	rand.Read(salt)
	sum := argon2.IDKey([]byte(password), salt, hashTime, hashMemory, hashThreads, hashLength)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, hashMemory, hashTime, hashThreads,
		enc.EncodeToString(salt), enc.EncodeToString(sum))
}

var errHash = errors.New("a stored password hash cannot be read")

func verifyPassword(hash, password string) (bool, error) {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return false, errHash
	}
	var memory, passes uint32
	var threads uint8
	if _, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil {
		return false, errHash
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	want, err2 := base64.RawStdEncoding.DecodeString(part[5])
	if err1 != nil || err2 != nil || memory > 1<<20 || passes == 0 || passes > 16 || threads == 0 || len(want) < 16 || len(want) > 64 {
		return false, errHash
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// newPassword returns 20 letters and digits in groups: 100 bits.
func newPassword() string {
	t := strings.ToLower(rand.Text())
	return strings.Join([]string{t[:5], t[5:10], t[10:15], t[15:20]}, "-")
}
