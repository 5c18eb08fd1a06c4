package ledger

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"switchboard/schemas"
)

// morning is a run of messages, each decided and filed, beginning with the number from. Every third goes to an open ticket of its conversation.
func morning(tb testing.TB, from, messages int) []Event {
	tb.Helper()
	words := strings.Fields(`hello my parcel with the balsa kit for the glider has not come yet and the tracking number says nothing
		since monday could you please look where it is I need the servo and the propeller before the weekend because of the
		contest thank you very much best regards order refund broken wing fuselage battery charger receiver antenna hinge`)
	var events []Event
	for i := from; i < from+messages; i++ {
		id, conv := fmt.Sprintf("m%025d", i*7919%1000003), fmt.Sprintf("c%025d", i-i%3)
		at := start.Add(time.Duration(i) * 50 * time.Millisecond)
		var text strings.Builder
		for w := range 45 {
			fmt.Fprintf(&text, "%s ", words[(i*31+w*17+w*w)%len(words)])
		}
		events = append(events, event(tb, schemas.EventDecided, at, schemas.Decided{
			Delivery: uint64(i + 1), Conversation: conv, Version: 0, Rules: "sha256:1f0c", At: at,
			Message: schemas.Message{
				ID: id, Channel: "shop-sms", Kind: "twilio-sms", VendorID: fmt.Sprintf("SM%032x", i), Conversation: "+4930901820" + fmt.Sprint(i%1000),
				ReceivedAt: at, Text: text.String(),
				Requester: schemas.Requester{Identities: []schemas.Identity{{Kind: schemas.Phone, Value: fmt.Sprintf("+49309018%05d", i%5000), Evidence: schemas.Attested}}},
			},
			Classification: schemas.Classification{Urgency: schemas.UrgencyNormal, Category: "orders", Keywords: []schemas.Keyword{{Name: "order_status", Term: "parcel", In: "text", Start: 9, End: 15}}},
			Decisions:      []schemas.Decision{{Sink: "zendesk-eu", Queue: "support", Priority: schemas.PriorityNormal, Tags: []string{"sms"}, Path: []schemas.RuleRef{{Name: "default", Line: 3}, {Name: "orders", Line: 9, Why: "category orders"}}}},
		}), event(tb, schemas.EventFiled, at.Add(200*time.Millisecond), schemas.Filed{
			Message: id, Conversation: conv, Sink: "zendesk-eu", Job: uint64(i + 1), Ticket: schemas.Ref{ID: fmt.Sprint(1000 + i - i%3), URL: "https://shop.example/t/1"},
			Opened: i%3 == 0, At: at.Add(200 * time.Millisecond),
			Calls: []schemas.Call{{Op: "create", Key: "sb-" + id, At: at, Took: 50 * time.Millisecond, Outcome: "yes"}},
		}))
	}
	for i := range events {
		events[i].Seq = uint64(2*from + i + 1)
	}
	return events
}

// BenchmarkApply writes batches of 1,000 events to a ledger that grows. The budget
// is 25 µs an event: 50 µs for a message that is decided and filed.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1000, 100, 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, err := Open(b.Context(), filepath.Join(b.TempDir(), "ledger.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			for i := range b.N {
				b.StopTimer()
				batch := morning(b, i*size/2, size/2)
				b.StartTimer()
				if err := l.Apply(b.Context(), start, batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*size), "µs/event")
		})
	}
}
