package ledger

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"switchboard/schemas"
)

var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// event makes one event; its id is that of its content.
func event(tb testing.TB, typ schemas.EventType, at time.Time, body any) Event {
	tb.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		tb.Fatal(err)
	}
	return Event{ID: fmt.Sprintf("%s %s", typ, data), Type: typ, Time: at, Data: data}
}
