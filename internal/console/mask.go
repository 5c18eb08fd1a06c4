package console

import (
	"strings"
	"unicode"

	"switchboard/internal/ledger"
	"switchboard/schemas"
)

// What viewers do not read is masked before a template sees it: letters and
// digits become dots, so that shape and length stay. Masking returns copies.

func mask(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || unicode.IsSymbol(r) {
			return '•'
		}
		return r
	}, s)
}

// maskName keeps the initials.
func maskName(s string) string {
	if strings.ContainsAny(s, "@+") || strings.IndexFunc(s, unicode.IsDigit) >= 0 {
		return mask(s)
	}
	var out []string
	for w := range strings.FieldsSeq(s) {
		out = append(out, string([]rune(w)[:1])+".")
	}
	return strings.Join(out, " ")
}

func maskRequester(r schemas.Requester) schemas.Requester {
	ids := make([]schemas.Identity, len(r.Identities))
	for i, id := range r.Identities {
		id.Value = mask(id.Value)
		ids[i] = id
	}
	r.Name, r.Identities = maskName(r.Name), ids
	return r
}

func maskFiles(files []schemas.Attachment) []schemas.Attachment {
	out := make([]schemas.Attachment, len(files))
	for i, f := range files {
		f.Name, f.Blob, f.Ref = mask(f.Name), "", ""
		out[i] = f
	}
	return out
}

func maskRow(r ledger.FlowRow) ledger.FlowRow {
	r.Preview, r.Requester, r.Reason = mask(r.Preview), maskName(r.Requester), maskReason(r.Reason)
	return r
}

// maskReason masks the addresses and numbers that a vendor's words may quote.
func maskReason(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		digits := strings.Count(strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return '0'
			}
			return -1
		}, w), "0")
		if strings.Contains(w, "@") || digits > 5 {
			words[i] = mask(w)
		}
	}
	return strings.Join(words, " ")
}

func maskStory(s ledger.Story) ledger.Story {
	s.FlowRow = maskRow(s.FlowRow)
	m := s.Message
	m.Subject, m.HTML = mask(m.Subject), ""
	m.VendorID, m.Edits, m.ReplyTo = mask(m.VendorID), mask(m.Edits), mask(m.ReplyTo) // some vendors' ids are addresses
	m.Requester, m.Attachments = maskRequester(m.Requester), maskFiles(m.Attachments)
	m.Fields = maskFields(m.Fields)
	s.Message = m
	decisions := make([]schemas.Decision, len(s.Decisions))
	for i, d := range s.Decisions {
		d.Fields = maskFields(d.Fields)
		decisions[i] = d
	}
	s.Decisions = decisions
	troubles := make([]schemas.Trouble, len(s.Troubles))
	for i, t := range s.Troubles {
		t.Reason = maskReason(t.Reason)
		troubles[i] = t
	}
	s.Troubles = troubles
	return s
}

func maskFields(fields []schemas.Field) []schemas.Field {
	out := make([]schemas.Field, len(fields))
	for i, f := range fields {
		out[i] = schemas.Field{Name: f.Name, Value: mask(f.Value)}
	}
	return out
}

func maskTicket(t ledger.TicketRow) ledger.TicketRow {
	if t.Waiting || t.LastBy == t.Requester {
		t.LastBy = maskName(t.LastBy)
	}
	t.Subject, t.LastWords, t.Requester = mask(t.Subject), mask(t.LastWords), maskName(t.Requester)
	return t
}

func maskTickets(rows []ledger.TicketRow) []ledger.TicketRow {
	out := make([]ledger.TicketRow, len(rows))
	for i, t := range rows {
		out[i] = maskTicket(t)
	}
	return out
}

// maskEntries masks answers too: they repeat what the customer said.
func maskEntries(entries []ledger.Entry) []ledger.Entry {
	out := make([]ledger.Entry, len(entries))
	for i, e := range entries {
		if e.Kind != entryChange {
			e.Text = mask(e.Text)
		}
		if e.Role == schemas.ByRequester {
			e.Author = maskName(e.Author)
		}
		e.Attachments = maskFiles(e.Attachments)
		out[i] = e
	}
	return out
}
