package zendesk

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"switchboard/schemas"
	"switchboard/sinks"
)

// ticket is a ticket as it comes, or what of it is to be set. It encodes the
// same each time, as the desk's idempotency wants it.
type ticket struct {
	ID           json.Number `json:"id,omitempty"`
	ExternalID   string      `json:"external_id,omitempty"`
	Subject      string      `json:"subject,omitempty"`
	Comment      *comment    `json:"comment,omitempty"`
	Requester    *userIn     `json:"requester,omitempty"`
	RequesterID  json.Number `json:"requester_id,omitempty"`
	Type         string      `json:"type,omitempty"`
	Priority     string      `json:"priority,omitempty"`
	Status       string      `json:"status,omitempty"`
	Tags         []string    `json:"tags,omitempty"`
	AddTags      []string    `json:"additional_tags,omitempty"`
	RemoveTags   []string    `json:"remove_tags,omitempty"`
	CustomFields []fieldIn   `json:"custom_fields,omitempty"`
	GroupID      json.Number `json:"group_id,omitempty"`
	// AssigneeID is null to take the ticket from its agent.
	AssigneeID   json.RawMessage `json:"assignee_id,omitempty"`
	TicketFormID int64           `json:"ticket_form_id,omitempty"`
	BrandID      int64           `json:"brand_id,omitempty"`
	FollowsID    json.Number     `json:"via_followup_source_id,omitempty"`
	Metadata     marks           `json:"metadata,omitempty"`
}

// comment is a comment as it goes, or an event of an audit as it comes.
type comment struct {
	ID       json.Number `json:"id,omitempty"`
	Type     string      `json:"type,omitempty"`
	Body     string      `json:"body,omitempty"`
	HTMLBody string      `json:"html_body,omitempty"`
	Public   bool        `json:"public"`
	AuthorID json.Number `json:"author_id,omitempty"`
	Uploads  []string    `json:"uploads,omitempty"`
}

// userIn is a user as the desk finds or makes one: by e-mail or external id.
type userIn struct {
	Name       string `json:"name"`
	Email      string `json:"email,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
	Phone      string `json:"phone,omitempty"`
	SkipVerify bool   `json:"skip_verify_email,omitempty"`
}

type fieldIn struct {
	ID json.Number `json:"id"`
	// Value is text, a list of option values, or a yes or no, by the field's type.
	Value any `json:"value"`
}

// marks are what we keep with an audit: the key of the write that made it.
type marks map[string]map[string]string

func mark(key string) marks { return marks{"sb": {"key": key}} }

// answer is any answer of the desk: one thing, or a page of a list.
type answer struct {
	User          named
	Groups, Users []named
	Upload        struct{ Token string }
	Ticket        ticket
	Tickets       []ticket
	Audit         audit
	Audits        []audit
	TicketFields  []struct {
		ID          json.Number
		Type, Title string
		Active      bool
		Options     []struct{ Name, Value string } `json:"custom_field_options"`
	} `json:"ticket_fields"`
	Meta struct {
		HasMore     bool   `json:"has_more"`
		AfterCursor string `json:"after_cursor"`
	}
}

type named struct {
	ID         json.Number
	Name, Role string
}

type audit struct {
	AuthorID  json.Number `json:"author_id"`
	CreatedAt time.Time   `json:"created_at"`
	Metadata  struct{ Custom json.RawMessage }
	Events    []comment
}

// entry is the comment that the audit added to the ticket, there is one at most;
// without an ID if it added none.
func (a audit) entry() schemas.Comment {
	for _, e := range a.Events {
		if e.Type == "Comment" {
			var own marks
			_ = json.Unmarshal(a.Metadata.Custom, &own) // another program's metadata may have any shape
			return schemas.Comment{
				ID: string(e.ID), Key: own["sb"]["key"], Text: e.Body, HTML: e.HTMLBody, At: a.CreatedAt,
				Author: schemas.Author{ID: string(cmp.Or(e.AuthorID, a.AuthorID))}, Visibility: sinks.Visibility(e.Public),
			}
		}
	}
	return schemas.Comment{}
}

// collect adds a page of fields, groups or agents to c.
func (a answer) collect(c *schemas.Catalogue) {
	for _, f := range a.TicketFields {
		kind := schemas.FieldKind{ID: string(f.ID), Name: f.Title, Type: f.Type}
		for _, o := range f.Options {
			kind.Options = append(kind.Options, schemas.Named{ID: o.Value, Name: o.Name})
		}
		// A ticket has some fields by itself: they are not set as custom ones.
		if f.Active && !strings.Contains(" subject description status custom_status tickettype priority basic_priority group assignee ", " "+f.Type+" ") {
			c.Fields = append(c.Fields, kind)
		}
	}
	for _, g := range a.Groups {
		c.Queues = append(c.Queues, schemas.Named{ID: string(g.ID), Name: g.Name})
	}
	for _, u := range a.Users {
		c.Agents = append(c.Agents, schemas.Named{ID: string(u.ID), Name: u.Name})
	}
}

// newTicket maps everything but the requester. What has no place at the desk,
// or none that we know of yet, stands below the text, so that nothing is lost
// and a missing catalogue stops nobody.
func (s *sink) newTicket(t schemas.Ticket) ticket {
	in := ticket{
		ExternalID: t.Key, Subject: t.Subject, Comment: &comment{Public: true}, Priority: string(cmp.Or(t.Priority, schemas.PriorityNormal)),
		Type:         strings.Replace(t.Type, "request", "question", 1), // their nearest
		TicketFormID: s.cfg.TicketFormID, BrandID: s.cfg.BrandID, FollowsID: json.Number(cmp.Or(t.Follows, &schemas.Ref{}).ID), Metadata: mark(t.Key),
		Tags: sinks.Tags(inTags, []string{"sb", t.Kind}, s.cfg.Tags, t.Tags),
	}
	p := s.names.PlaceTicket(s.env.Catalogue(), t)
	in.place(p)
	in.Comment.Body, in.Comment.HTMLBody = p.Body(t.Text, t.HTML)
	return in
}

// change maps ch into in, as far as the desk has names for it.
func (s *sink) change(in *ticket, ch *schemas.Change) sinks.Placed {
	in.Status = strings.TrimPrefix(string(*cmp.Or(ch.Status, new(schemas.Status))), "on_") // on_hold is hold
	in.Priority = string(*cmp.Or(ch.Priority, new(schemas.Priority)))
	if ch.Assignee != nil && *ch.Assignee == "" {
		in.AssigneeID = json.RawMessage("null")
	}
	in.AddTags, in.RemoveTags = sinks.Tags(inTags, ch.AddTags), sinks.Tags(inTags, ch.RemoveTags)
	p := s.names.Place(s.env.Catalogue(), *ch)
	in.place(p)
	return p
}

func (t *ticket) place(p sinks.Placed) {
	t.GroupID = json.Number(p.Queue)
	if p.Assignee != "" {
		t.AssigneeID = json.RawMessage(p.Assignee)
	}
	for _, f := range p.Fields {
		t.CustomFields = append(t.CustomFields, fieldIn{json.Number(f.Kind.ID), f.Value("multiselect", "checkbox")})
	}
}

// newUser says who a requester is at the desk. Nobody gets a made-up address:
// mail to it would bounce.
func newUser(r schemas.Requester) userIn {
	id, external := sinks.Identify(r)
	if id.Kind == schemas.Email {
		return userIn{Name: r.Label(), Email: id.Value}
	}
	return userIn{Name: r.Label(), ExternalID: external, Phone: r.First(schemas.Phone)}
}

// inTags may stand in a tag beside letters and digits.
const inTags = "_-/:"
