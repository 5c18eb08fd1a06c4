package zendesk

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/schemas"
	"switchboard/sinks"
)

func (l listener) Verify(_ context.Context, d hook.Delivery) error {
	at := d.Header.Get("X-Zendesk-Webhook-Signature-Timestamp")
	if err := hook.Fresh(at, d.ReceivedAt, 5*time.Minute); err != nil {
		return err
	}
	return hook.HMACSHA256(l.cfg.WebhookSecret.Bytes(), append([]byte(at), d.Body...), d.Header.Get("X-Zendesk-Webhook-Signature"))
}

func (listener) Answer(hook.Delivery) hook.Answer {
	return hook.Text(http.StatusOK, "application/json", `{"received":true}`)
}

// event is what an event webhook carries; ids are texts, enumerations upper-case.
type event struct {
	Type   string
	Time   time.Time
	Detail struct {
		ID      string
		ActorID string `json:"actor_id"`
	}
	Event struct {
		Current any
		Comment struct {
			ID, Body string
			IsPublic bool `json:"is_public"`
			Author   struct {
				ID, Name string
				IsStaff  bool `json:"is_staff"`
			}
		}
	}
}

// Parse reads one event. Comments carry no key of ours: the host knows its own
// by their ids.
func (l listener) Parse(d hook.Delivery) (sinks.Changes, error) {
	var e event
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return sinks.Changes{}, fault.Permanentf("decode event: %w", err)
	}
	ref, said := l.ref(json.Number(e.Detail.ID)), e.Event.Comment
	if e.Type == "zen:event-type:ticket.comment_added" && said.ID != "" {
		role := map[bool]schemas.AuthorRole{true: schemas.ByAgent, false: schemas.ByRequester}[said.Author.IsStaff]
		return sinks.Changes{Comments: []sinks.TicketComment{{Ticket: ref, Comment: schemas.Comment{
			ID: said.ID, Author: schemas.Author{Role: role, Name: said.Author.Name, ID: said.Author.ID},
			Visibility: sinks.Visibility(said.IsPublic), Text: said.Body, At: e.Time,
		}}}}, nil
	}
	var ch schemas.Change
	now, _ := e.Event.Current.(string) // null takes the ticket from its agent or group
	switch e.Type {
	case "zen:event-type:ticket.status_changed":
		ch.Status = statuses()[now]
	case "zen:event-type:ticket.priority_changed":
		ch.Priority = new(cmp.Or(schemas.Priority(strings.ToLower(now)), schemas.PriorityNormal))
	case "zen:event-type:ticket.agent_assignment_changed":
		ch.Assignee = &now
	case "zen:event-type:ticket.group_assignment_changed":
		ch.Queue = &now
	}
	if reflect.ValueOf(ch).IsZero() { // a type that we do not read, or a status such as DELETED
		return sinks.Changes{Ignored: "an event of no interest"}, nil
	}
	return sinks.Changes{Tickets: []sinks.TicketChange{{Ticket: ref, Change: ch, By: e.Detail.ActorID, At: e.Time}}}, nil
}

// statuses are ours under the names that events give them.
func statuses() map[string]*schemas.Status {
	return map[string]*schemas.Status{
		"NEW": new(schemas.StatusNew), "OPEN": new(schemas.StatusOpen), "PENDING": new(schemas.StatusPending),
		"HOLD": new(schemas.StatusOnHold), "SOLVED": new(schemas.StatusSolved), "CLOSED": new(schemas.StatusClosed),
	}
}
