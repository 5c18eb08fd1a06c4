package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Size is a number of bytes, written as 25MiB, 10MB or 4096.
type Size int64

var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"KB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
	{"", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	number := strings.TrimRight(string(text), "KMGTkiB")
	unit := string(text[len(number):])
	number = strings.TrimSpace(number)
	for _, u := range units {
		if u.name != unit {
			continue
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || !(n >= 0 && n*float64(u.bytes) < math.MaxInt64) || strings.ContainsAny(number, "_xXpPeE+") {
			break
		}
		*s = Size(n * float64(u.bytes))
		return nil
	}
	return errors.New("want a size such as 25MiB, 10MB or 4096")
}

// String is the size in the largest unit that divides it.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// A Rate is how often something may happen, written as 30/m: N times within Per.
// Its zero value sets no limit.
type Rate struct {
	N   int
	Per time.Duration
}

// UnmarshalText reads a rate such as 5/s, 30/m or 100/15m.
func (r *Rate) UnmarshalText(text []byte) error {
	count, span, ok := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	if span != "" && (span[0] < '0' || span[0] > '9') {
		span = "1" + span
	}
	per, spanErr := parseDuration(span)
	if !ok || err != nil || spanErr != nil || n < 1 || per <= 0 {
		return errors.New("want a rate such as 5/s, 30/m or 100/15m")
	}
	*r = Rate{N: n, Per: per}
	return nil
}

// String is the rate as the file has it, "" for none.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	return strconv.Itoa(r.N) + "/" + durationText(r.Per)
}

var errDuration = errors.New("want a duration such as 30s, 15m, 4h or 35d")

// parseDuration is time.ParseDuration with days and weeks, and without signs.
func parseDuration(s string) (time.Duration, error) {
	var long time.Duration
	rest := s
	for _, u := range []struct {
		name string
		is   time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, ok := strings.Cut(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return 0, errDuration
		}
		if n > uint64((math.MaxInt64-int64(long))/int64(u.is)) {
			return 0, errDuration
		}
		long += time.Duration(n) * u.is
		rest = after
		if rest == "" {
			return long, nil
		}
	}
	if rest == "" || rest[0] == '-' || rest[0] == '+' {
		return 0, errDuration
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d > math.MaxInt64-long {
		return 0, errDuration
	}
	return long + d, nil
}

// durationText is d as a file would have it: 35d, 1m30s, 2h.
func durationText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
