package fault

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestFromResponseJudgesEveryStatus(t *testing.T) {
	t.Parallel()
	type verdict struct{ permanent, auth, notDone, waits bool }
	plain := verdict{}
	for _, tt := range []struct {
		code int
		want verdict
	}{
		{301, verdict{permanent: true, notDone: true}},
		{400, verdict{permanent: true, notDone: true}},
		{401, verdict{auth: true, notDone: true}},
		{403, verdict{auth: true, notDone: true}},
		{404, verdict{permanent: true, notDone: true}},
		{408, plain},
		{409, plain},
		{413, verdict{permanent: true, notDone: true}},
		{422, verdict{permanent: true, notDone: true}},
		{425, plain},
		{429, verdict{notDone: true, waits: true}},
		{500, plain},
		{503, plain},
	} {
		err := FromResponse(tt.code, http.Header{}, "no", time.Time{})
		_, waits := After(err)
		if got := (verdict{IsPermanent(err), IsAuth(err), IsNotDone(err), waits}); got != tt.want {
			t.Errorf("%d: got %+v, want %+v", tt.code, got, tt.want)
		}
		if StatusCode(err) != tt.code {
			t.Errorf("%d: got status %d", tt.code, StatusCode(err))
		}
	}
	for _, code := range []int{200, 201, 204, 299} {
		if err := FromResponse(code, nil, "", time.Time{}); err != nil {
			t.Errorf("%d: got %v, want none", code, err)
		}
	}
}

func TestRetryAfterIsObeyedInBothForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		value string
		code  int
		want  time.Duration
		ok    bool
	}{
		{"7", 429, 7 * time.Second, true},
		{"7", 503, 7 * time.Second, true},
		{"0", 503, 0, true},
		{"99999", 503, time.Hour, true},
		{"99999999999999999999", 503, 0, false},
		{"-1", 503, 0, false},
		{"", 503, 0, false},
		{"soon", 429, 5 * time.Second, true},
		{now.Add(time.Minute).Format(http.TimeFormat), 503, time.Minute, true},
		{now.Add(-time.Minute).Format(http.TimeFormat), 503, 0, true},
		{now.Add(24 * time.Hour).Format(http.TimeFormat), 503, time.Hour, true},
	} {
		h := http.Header{}
		h.Set("Retry-After", tt.value)
		got, ok := After(FromResponse(tt.code, h, "", now))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%d with %q: got %s, %t, want %s, %t", tt.code, tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

func TestMarksAreSeenThroughWrappers(t *testing.T) {
	t.Parallel()
	base := errors.New("base")
	for name, err := range map[string]error{
		"wrapped": fmt.Errorf("create: %w", Permanent(base)),
		"joined":  errors.Join(errors.New("other"), Permanent(base)),
		"doubly":  RetryAfter(NotDone(Permanent(base)), time.Second),
		"printf":  Permanentf("decode: %w", base),
	} {
		if !IsPermanent(err) || !IsNotDone(err) || IsAuth(err) || !errors.Is(err, base) {
			t.Errorf("%s: got permanent %t, not done %t, auth %t", name, IsPermanent(err), IsNotDone(err), IsAuth(err))
		}
	}
	if joined := errors.Join(base, errors.New("other")); IsPermanent(joined) || IsNotDone(joined) {
		t.Error("joined plain errors carry a mark")
	}
	if d, ok := After(fmt.Errorf("x: %w", RetryAfter(base, -time.Second))); d != 0 || !ok {
		t.Errorf("a wait in the past: got %s, %t, want 0, true", d, ok)
	}
}

func TestNilStaysNil(t *testing.T) {
	t.Parallel()
	if Permanent(nil) != nil || Auth(nil) != nil || NotDone(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("a marked nil is an error")
	}
	if IsPermanent(nil) || IsAuth(nil) || IsNotDone(nil) || StatusCode(nil) != 0 {
		t.Error("nil is a fault")
	}
}

func TestWordsAreShort(t *testing.T) {
	t.Parallel()
	err := FromResponse(422, nil, strings.Repeat("a", 300), time.Time{})
	if got := err.Error(); len(got) > 230 || !strings.HasPrefix(got, `answered 422: "aaa`) {
		t.Errorf("got %d bytes: %s", len(got), got)
	}
	if got := FromResponse(500, nil, "", time.Time{}).Error(); got != "answered 500" {
		t.Errorf("got %q", got)
	}
}
