package hook_test

import (
	"testing"
	"time"

	"switchboard/adapter/hook"
)

func TestWindowSpan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 4, 7, 9, 30, 0, 500, time.FixedZone("", 7200))
	w := hook.Window{Overlap: 5 * time.Minute, Most: 6 * time.Hour}
	for _, row := range []struct {
		name, cursor, since, until string
		more                       bool
	}{
		{"first", "", "07:30:00", "07:30:00", false},
		{"unreadable", "yesterday", "07:30:00", "07:30:00", false},
		{"an hour later", "2026-04-07T06:30:00Z", "06:25:00", "07:30:00", false},
		{"as long as may be", "2026-04-07T01:30:00Z", "01:25:00", "07:30:00", false},
		{"a long absence", "2026-04-07T01:00:00Z", "00:55:00", "07:00:00", true},
	} {
		since, until, page := w.Span(row.cursor, now)
		if since.Format(time.TimeOnly) != row.since || until.Format(time.TimeOnly) != row.until || page.More != row.more ||
			page.Next != until.Format(time.RFC3339) || until.Location() != time.UTC {
			t.Errorf("%s: from %s to %s, page %+v", row.name, since, until, page)
		}
	}
}
