package hook

import "time"

// A Window is how a list is polled that is asked by time: the cursor is a time,
// in whole seconds.
type Window struct {
	// Overlap is read again at every poll, for lists lag behind.
	Overlap time.Duration
	// Most bounds what one poll reads after a long absence.
	Most time.Duration
}

// Span returns from when until when to read after cursor, and the page, without
// deliveries, that such a poll returns. Without a cursor it begins now. More says
// that the span ends before now.
func (w Window) Span(cursor string, now time.Time) (since, until time.Time, page Page) {
	now = now.UTC().Truncate(time.Second)
	since, until = now, now
	if t, err := time.Parse(time.RFC3339, cursor); err == nil {
		since = t.Add(-w.Overlap)
		if end := t.Add(w.Most); end.Before(now) {
			until = end
		}
	}
	return since, until, Page{Next: until.Format(time.RFC3339), More: until.Before(now)}
}
