// Package fault says what kind of failure an error is.
//
// A plain error means "try again". Everything else is said by wrapping: every
// wrapper unwraps, so that errors.Is and errors.As see through it. The kinds are
// independent of one another: a 429 is both NotDone and RetryAfter.
package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

type kind int

const (
	permanent kind = iota
	auth
	notDone
)

type marked struct {
	kind kind
	err  error
}

func (e *marked) Error() string { return e.err.Error() }
func (e *marked) Unwrap() error { return e.err }

type delayed struct {
	after time.Duration
	err   error
}

func (e *delayed) Error() string { return e.err.Error() }
func (e *delayed) Unwrap() error { return e.err }

// Permanent says that trying again cannot help: the host dead-letters now. It
// implies NotDone. Permanent(nil) is nil.
func Permanent(err error) error { return mark(permanent, err) }

// Permanentf is Permanent of fmt.Errorf.
func Permanentf(format string, args ...any) error {
	return Permanent(fmt.Errorf(format, args...))
}

// Auth says that the vendor refused the credentials: the host pauses the
// adapter, keeps its queue and resumes when Check passes. It implies NotDone.
func Auth(err error) error { return mark(auth, err) }

// NotDone says that the vendor certainly did nothing, so that the host may
// repeat without looking first.
func NotDone(err error) error { return mark(notDone, err) }

// RetryAfter says that the next attempt makes sense no sooner than d from now.
// It says nothing on whether the vendor did anything.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &delayed{after: max(d, 0), err: err}
}

// IsPermanent reports whether trying again cannot help.
func IsPermanent(err error) bool { return has(err, permanent) }

// IsAuth reports whether the vendor refused the credentials.
func IsAuth(err error) bool { return has(err, auth) }

// IsNotDone reports whether the vendor certainly did nothing. Any other failed
// write is unknown.
func IsNotDone(err error) bool {
	return has(err, notDone) || has(err, permanent) || has(err, auth)
}

// After returns how long to wait at least, and whether the error says so.
func After(err error) (time.Duration, bool) {
	if d, ok := errors.AsType[*delayed](err); ok {
		return d.after, true
	}
	return 0, false
}

func mark(k kind, err error) error {
	if err == nil {
		return nil
	}
	return &marked{kind: k, err: err}
}

// has walks the whole chain, for one error may carry several marks.
func has(err error, k kind) bool {
	for err != nil {
		if m, ok := err.(*marked); ok && m.kind == k { //nolint:errorlint // walks the chain itself
			return true
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // walks the chain itself
			for _, e := range many.Unwrap() {
				if has(e, k) {
					return true
				}
			}
			return false
		}
		err = errors.Unwrap(err)
	}
	return false
}

// A Status is a vendor's complete answer with a status that is not a success.
type Status struct {
	// Code is the HTTP status; Words are what the vendor said, at most 200 bytes.
	Code  int
	Words string
}

// Error names the status and quotes the vendor.
func (e *Status) Error() string {
	if e.Words == "" {
		return fmt.Sprintf("answered %d", e.Code)
	}
	return fmt.Sprintf("answered %d: %q", e.Code, e.Words)
}

// StatusCode returns the HTTP status that err carries, or 0.
func StatusCode(err error) int {
	if s, ok := errors.AsType[*Status](err); ok {
		return s.Code
	}
	return 0
}

// FromResponse judges a complete answer: nil for 2xx, else a *Status wrapped by
// its kind. 401 and 403 are Auth; 408, 409, 425 and 5xx are plain, because the
// request may have been done; 429 is NotDone; other 4xx are Permanent; 1xx and
// 3xx are Permanent too, for writes are never redirected. Retry-After is obeyed
// in seconds and as a date (RFC 9110 §10.2.3), relative to now, at most an hour.
func FromResponse(code int, header http.Header, words string, now time.Time) error {
	if code >= 200 && code < 300 {
		return nil
	}
	if len(words) > 200 {
		words = words[:200]
	}
	var err error = &Status{Code: code, Words: words}
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		err = Auth(err)
	case code == http.StatusTooManyRequests:
		err = NotDone(err)
	case code == http.StatusRequestTimeout || code == http.StatusConflict || code == http.StatusTooEarly || code >= 500:
	default:
		err = Permanent(err)
	}
	if d, ok := retryAfter(header.Get("Retry-After"), now); ok {
		err = RetryAfter(err, d)
	} else if code == http.StatusTooManyRequests {
		err = RetryAfter(err, 5*time.Second)
	}
	return err
}

func retryAfter(value string, now time.Time) (time.Duration, bool) {
	const most = time.Hour
	if value == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(value, 10, 64); err == nil {
		if n < 0 {
			return 0, false
		}
		if n > int64(most/time.Second) {
			return most, true
		}
		return time.Duration(n) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), most), true
}
