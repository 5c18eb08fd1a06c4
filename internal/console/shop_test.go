package console_test

import (
	"strings"
	"time"

	"switchboard/internal/console"
	"switchboard/internal/ledger"
	"switchboard/schemas"
)

const (
	smsText  = "URGENT my Osprey glider lost a tail servo over the lake, where is my order 7731? Marit"
	evilText = `<script>alert("x")</script><img src=x onerror=alert(1)> "quoted" 'single' & javascript:alert(1)`
)

// shop fills a ledger and its actions with a morning at Kestrel Hobby.
func shop() (*fakeLedger, *fakeActions) {
	l := &fakeLedger{stories: map[string]ledger.Story{}, counts: ledger.Counts{Accepted: 1234, Filed: 1200, Duplicate: 20, Ignored: 10, Dead: 2, Waiting: 2}}
	l.health = []ledger.HealthRow{
		{Side: "channel", Name: "shop-sms", State: "ok", Last: ago(8 * time.Second), LastHour: 12, LastDay: 140},
		{Side: "channel", Name: "telegram", State: "ok", Last: ago(5 * time.Minute), LastHour: 3, LastDay: 31},
		{Side: "channel", Name: "website", State: "ok", Last: ago(3 * time.Minute), LastHour: 7, LastDay: 88},
		{Side: "channel", Name: "partners", State: "down", Reason: "answers 401 since 11:12", Last: ago(48 * time.Minute), LastDay: 9},
		{Side: "sink", Name: "inbox", State: "ok", Last: ago(9 * time.Second), LastHour: 16, LastDay: 201, Half: 4 * time.Millisecond, P99: 31 * time.Millisecond},
		{Side: "sink", Name: "zendesk-eu", State: "degraded", Reason: "429, asks for 38 s", Last: ago(3 * time.Minute), LastHour: 6, LastDay: 67, Waiting: 2, Half: 1400 * time.Millisecond, P99: 6200 * time.Millisecond},
	}
	l.flow = flowRows()
	l.stories["m-sms"] = smsStory(l.flow[0])
	l.stories["m-evil"] = evilStory(l.flow[3])
	l.stories["d77"] = ledger.Story{FlowRow: l.flow[5], Delivery: 77, Ended: &schemas.DeliveryEnded{Delivery: 77, Channel: "telegram", Reason: "a poll was answered, which is no message", At: ago(26 * time.Minute)}}
	l.stories["d80"] = ledger.Story{FlowRow: l.flow[6], Delivery: 80, Ended: &schemas.DeliveryEnded{Delivery: 80, Channel: "partners", Dead: "dead-2", Reason: `decode event: invalid character '}'`, At: ago(30 * time.Minute)}}
	l.tickets = tickets()
	l.dead = []ledger.DeadRow{
		{ID: "dead-1", Stage: "delivery", At: ago(4 * time.Hour), Message: "m-dead", Channel: "website", Sink: "zendesk-eu", Requester: "Lena Fjord", Preview: "My charger hums", Rule: "workshop", Reason: `create ticket: zendesk-eu answered 422: "Requester: Email: lena.@fjord.example is not properly formatted"`, Attempts: 1, State: "waiting"},
		{ID: "dead-2", Stage: "pipeline", At: ago(30 * time.Minute), Delivery: 80, Channel: "partners", Reason: "decode event: invalid character '}'", Attempts: 1, State: "waiting"},
		{ID: "dead-3", Stage: "delivery", At: ago(28 * time.Hour), Message: "m-old", Channel: "website", Sink: "zendesk-eu", Requester: "Olu Bankole", Preview: "Spare rotor", Reason: "no such group", Attempts: 2, State: "mended", Actor: "ruth", Acted: ago(20 * time.Hour)},
	}
	a := &fakeActions{ledger: l, files: map[string]string{"blob-1": "JPEG bytes"}, raw: map[uint64]console.Raw{
		41: {Method: "POST", URL: "https://intake.kestrel.example/hooks/shop-sms?to=sha256:77aa", Header: header, Body: []byte("MessageSid=SM41&Body=URGENT+my+Osprey"), Via: "webhook", At: ago(10 * time.Second)},
		44: {Method: "GET", URL: "https://api.vendor.example/updates", Body: []byte(evilText), Via: "poll", At: ago(3 * time.Minute)},
	}}
	return l, a
}

func flowRows() []ledger.FlowRow {
	return []ledger.FlowRow{
		{ID: "m-sms", At: ago(10 * time.Second), Channel: "shop-sms", Kind: "twiliosms", Requester: "Marit Oden", Preview: smsText, Attachments: 1, Category: "orders", Urgency: "critical", Keywords: []string{"urgent", "order_status"}, Rule: "angry and urgent", Sink: "inbox", Ticket: schemas.Ref{ID: "1190"}, Opened: true, Outcome: ledger.OutcomeFiled, Took: 6400 * time.Millisecond, Seq: 90},
		{ID: "m-dup", At: ago(31 * time.Second), Channel: "telegram", Kind: "telegram", Requester: "Tobias Renner", Preview: "Same photo", Outcome: ledger.OutcomeDuplicate, Took: 2 * time.Millisecond, Seq: 88},
		{ID: "m-add", At: ago(70 * time.Second), Channel: "telegram", Kind: "telegram", Requester: "Tobias Renner", Preview: "Photo of the cracked canopy, and one of the box it came in, which was wet on one side when the courier left it in the rain", Attachments: 2, Category: "warranty", Urgency: "normal", Rule: "workshop", Sink: "zendesk-eu", Ticket: schemas.Ref{ID: "48212", URL: "https://desk.kestrel.example/tickets/48212"}, Outcome: ledger.OutcomeFiled, Took: 1200 * time.Millisecond, Seq: 85},
		{ID: "m-evil", At: ago(3 * time.Minute), Channel: "website", Kind: "form", Requester: "<b>Mallory</b>", Preview: evilText, Category: "sales", Urgency: "low", Rule: "shop floor", Sink: "inbox", Ticket: schemas.Ref{ID: "1189", URL: "javascript:alert(1)"}, Opened: true, Outcome: ledger.OutcomeFiled, Took: 5 * time.Millisecond, Seq: 80},
		{ID: "m-wait", At: ago(4 * time.Minute), Channel: "website", Kind: "form", Requester: "Priya Raman", Preview: "Which propeller fits the Finch trainer?", Category: "technical", Urgency: "normal", Rule: "bench", Sink: "zendesk-eu", Outcome: ledger.OutcomeWaiting, Reason: "429, asks for 38 s", Seq: 78},
		{ID: "d77", At: ago(26 * time.Minute), Channel: "telegram", Kind: "telegram", Outcome: ledger.OutcomeIgnored, Reason: "a poll was answered, which is no message", Took: 3 * time.Millisecond, Seq: 60},
		{ID: "d80", At: ago(30 * time.Minute), Channel: "partners", Kind: "webhook", Outcome: ledger.OutcomeDead, Reason: "decode event: invalid character '}'", Took: time.Millisecond, Seq: 58},
		{ID: "m-dead", At: ago(4 * time.Hour), Channel: "website", Kind: "form", Requester: "Lena Fjord", Preview: "My charger hums and smells of burnt plastic", Category: "safety", Urgency: "high", Rule: "workshop", Sink: "zendesk-eu", Outcome: ledger.OutcomeDead, Reason: "Requester: Email: lena.@fjord.example is not properly formatted", Took: 1100 * time.Millisecond, Seq: 40},
		{ID: "m-drop", At: ago(26 * time.Hour), Channel: "website", Kind: "form", Requester: "Autoreply", Preview: "Out of office", Outcome: ledger.OutcomeDropped, Reason: "answered by a machine", Took: 4 * time.Millisecond, Seq: 20},
	}
}

func keyword(name, term string) schemas.Keyword {
	i := strings.Index(smsText, term)
	return schemas.Keyword{Name: name, Term: strings.ToLower(term), In: "text", Start: i, End: i + len(term)}
}

func smsStory(row ledger.FlowRow) ledger.Story {
	key := "sb-k7q2mx4tn3h5c6d2e8f9g1a2b3"
	return ledger.Story{
		FlowRow: row, Conversation: "k7q2mx4t", Delivery: 41, Rules: "9f3c1ab27744aa", Version: 1,
		Message: schemas.Message{
			ID: "m-sms", Channel: "shop-sms", Kind: "twiliosms", VendorID: "SM41", Conversation: "+4790000041", ReceivedAt: ago(10 * time.Second), SentAt: ago(12 * time.Second), Text: smsText,
			Requester:   schemas.Requester{Name: "Marit Oden", Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+4790000041", Evidence: schemas.Attested}}},
			Attachments: []schemas.Attachment{{Name: "tail.jpg", Type: "image/jpeg", Size: 214_000, Blob: "blob-1"}, {Name: "clip.mp4", Missing: "the vendor no longer had it"}},
		},
		Classification: schemas.Classification{Keywords: []schemas.Keyword{
			keyword("urgent", "URGENT"), keyword("order_status", "where is my order"),
			{Name: "bad_span", Term: "beyond", In: "text", Start: 4, End: 9000},
			{Name: "in_subject", Term: "tail", In: "subject", Start: 0, End: 4},
		}, Category: "orders", Urgency: "critical", Reason: `the word "urgent", and no "not urgent" near it`},
		Decisions: []schemas.Decision{{Sink: "inbox", Queue: "escalations", Priority: "urgent", Tags: []string{"lake"}, Path: []schemas.RuleRef{{Name: "everything", Line: 4}, {Name: "angry and urgent", Line: 31, Why: "urgency is critical; category is orders"}}}},
		Troubles:  []schemas.Trouble{{Sink: "inbox", Reason: "create ticket: no answer within 5s", Attempt: 1, At: ago(5 * time.Second), Calls: []schemas.Call{{Op: "create", Key: key, At: ago(9 * time.Second), Took: 5 * time.Second, Outcome: "unknown", Words: "connection reset"}}}},
		Filed: []schemas.Filed{{Sink: "inbox", Ticket: schemas.Ref{ID: "1190"}, Opened: true, At: ago(4 * time.Second), Calls: []schemas.Call{
			{Op: "create", Key: key, At: ago(9 * time.Second), Took: 4300 * time.Millisecond, Outcome: "unknown", Words: "connection reset"},
			{Op: "find", Key: key, At: ago(4600 * time.Millisecond), Took: 600 * time.Millisecond, Outcome: "adopted"},
			{Op: "update", Key: key, At: ago(4 * time.Second), Took: 70 * time.Millisecond, Outcome: "yes"},
		}}},
		Duplicates: []schemas.Duplicate{{Message: "m-sms", Delivery: 43, First: 41, Channel: "shop-sms", At: ago(2 * time.Second)}},
		Requests:   []schemas.Requested{{Dead: "dead-0", Action: "retry", Actor: schemas.Actor{Name: "ruth", Role: "admin", Source: "console"}, At: ago(time.Second)}},
	}
}

func evilStory(row ledger.FlowRow) ledger.Story {
	return ledger.Story{
		FlowRow: row, Delivery: 44, Rules: "9f3c1ab27744aa", Version: 2, Conversation: evilText,
		Message: schemas.Message{
			ID: "m-evil", Channel: "website", Subject: evilText, Text: evilText, ReceivedAt: row.At, Degraded: []string{"one part could not be decoded"},
			Requester: schemas.Requester{Name: "<b>Mallory</b>", Identities: []schemas.Identity{{Kind: schemas.Email, Value: `"><script>alert(2)</script>@x.example`, Evidence: schemas.Asserted}}},
			Fields:    []schemas.Field{{Name: evilText, Value: evilText}}, Attachments: []schemas.Attachment{{Name: "a\"\r\nX-Evil: 1.html", Blob: "blob-1"}},
		},
		Classification: schemas.Classification{Keywords: []schemas.Keyword{{Name: evilText, Term: evilText, In: "text", Start: 0, End: 8}}, Urgency: "low"},
		Decisions:      []schemas.Decision{{Sink: "inbox", Path: []schemas.RuleRef{{Name: evilText, Line: 9, Why: evilText}}}},
		Filed:          []schemas.Filed{{Sink: "inbox", Ticket: schemas.Ref{ID: "1189", URL: "javascript:alert(1)"}, Opened: true, At: row.At.Add(5 * time.Millisecond)}},
	}
}

func tickets() []ledger.TicketView {
	marit := schemas.Requester{Name: "Marit Oden", Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+4790000041", Evidence: schemas.Attested}, {Kind: schemas.Email, Value: "marit@oden.example", Evidence: schemas.Asserted}}}
	old := ledger.TicketRow{Sink: "zendesk-eu", Ticket: schemas.Ref{ID: "48102", URL: "https://desk.kestrel.example/tickets/48102"}, Subject: "Charger lead", Requester: "Marit Oden", RequesterID: "p/41", LastWords: "Thanks", LastBy: "Marit Oden", LastAt: ago(72 * time.Hour), OpenedAt: ago(90 * time.Hour), Channels: []string{"website"}, Urgency: "low", Status: schemas.StatusSolved, Queue: "shop", Assignee: "finn", Messages: 2}
	return []ledger.TicketView{
		{
			TicketRow: ledger.TicketRow{Sink: "inbox", Ticket: schemas.Ref{ID: "1190"}, Subject: "Tail servo lost, order 7731", Requester: "Marit Oden", RequesterID: "p/41", LastWords: "It is a present for Friday", LastBy: "Marit Oden", LastAt: ago(4 * time.Second), OpenedAt: ago(20 * time.Minute), Channels: []string{"shop-sms", "website"}, Urgency: "critical", Priority: "urgent", Category: "orders", Queue: "escalations", Assignee: "noor", Status: schemas.StatusOpen, Tags: []string{"lake"}, Messages: 2, Waiting: true},
			Person:    marit, Others: []ledger.TicketRow{old}, Entries: []ledger.Entry{
				{At: ago(20 * time.Minute), Kind: "message", Author: "Marit Oden", Role: schemas.ByRequester, Channel: "shop-sms", Text: smsText, Message: "m-sms", Sink: "inbox", Ticket: schemas.Ref{ID: "1190"}, Visibility: schemas.Public, Attachments: []schemas.Attachment{{Name: "tail.jpg", Size: 214_000, Blob: "blob-1"}}},
				{At: ago(19 * time.Minute), Kind: "change", Author: "noor", Text: "took the ticket"},
				{At: ago(15 * time.Minute), Kind: "note", Author: "Finn Albers", Role: schemas.ByAgent, Text: "Courier says the label lost its house number.", Visibility: schemas.Internal},
				{At: ago(12 * time.Minute), Kind: "reply", Author: "noor", Role: schemas.ByAgent, Channel: "shop-sms", Text: "Hello Marit, a new servo is on the van.\nNoor", Visibility: schemas.Public, Reply: "r1", State: "delivered"},
				{At: ago(4 * time.Second), Kind: "message", Author: "Marit Oden", Role: schemas.ByRequester, Channel: "website", Text: "It is a present for Friday", Message: "m-two", Visibility: schemas.Public},
			},
		},
		{TicketRow: ledger.TicketRow{Sink: "zendesk-eu", Ticket: schemas.Ref{ID: "48212", URL: "https://desk.kestrel.example/tickets/48212"}, Subject: "Cracked canopy", Requester: "Tobias Renner", RequesterID: "p42", LastWords: "Photo of the cracked canopy", LastBy: "Tobias Renner", LastAt: ago(70 * time.Second), OpenedAt: ago(2 * time.Hour), Channels: []string{"telegram"}, Urgency: "normal", Queue: "workshop", Status: schemas.StatusOpen, Messages: 3, Waiting: true}},
		{TicketRow: ledger.TicketRow{Sink: "inbox", Ticket: schemas.Ref{ID: "1101"}, Subject: "Finch does not bind", Requester: "Jonas Weir", RequesterID: "p43", LastWords: "Try the red jumper", LastBy: "noor", LastAt: ago(5 * time.Hour), OpenedAt: ago(30 * time.Hour), Channels: []string{"telegram"}, Urgency: "high", Queue: "bench", Assignee: "jo", Status: schemas.StatusPending, Messages: 4}},
		{TicketRow: ledger.TicketRow{Sink: "inbox", Ticket: schemas.Ref{ID: "900"}, Subject: "Old matter", Requester: "Jonas Weir", LastWords: "Done", LastAt: ago(400 * 24 * time.Hour), Status: schemas.StatusClosed}},
		{TicketRow: old},
	}
}
