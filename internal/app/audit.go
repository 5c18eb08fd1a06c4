package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"switchboard/internal/bus"
	"switchboard/internal/delivery"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// Books is what became of everything that was accepted, per message and sink;
// deliveries that became no message count once. They balance when Received is
// the sum of the others and Problems is empty.
type Books struct {
	At        time.Time `json:"at"`
	Received  int       `json:"received"`
	Filed     int       `json:"filed"`
	Duplicate int       `json:"duplicate"`
	Ignored   int       `json:"ignored"`
	Dead      int       `json:"dead"`
	Dropped   int       `json:"dropped"`
	Pending   int       `json:"pending"`
	Forgotten int       `json:"forgotten"`
	// Tickets counts the distinct tickets that messages were filed on.
	Tickets  int      `json:"tickets"`
	Balanced bool     `json:"balanced"`
	Problems []string `json:"problems,omitempty"`
}

// maxProblems bounds what an audit lists.
const maxProblems = 100

// Audit reads the streams and the records, never the ledger, and says whether
// every accepted delivery ended, or exactly what is missing. What changes while
// it reads is looked at again before it is called missing.
func (a *App) Audit(ctx context.Context) (Books, error) {
	books, err := a.auditOnce(ctx)
	for range 4 {
		if err != nil || len(books.Problems) == 0 {
			break
		}
		pause(ctx, 500*time.Millisecond)
		var again Books
		again, err = a.auditOnce(ctx)
		again.Problems = slices.DeleteFunc(again.Problems, func(p string) bool { return !slices.Contains(books.Problems, p) })
		books = again
	}
	sum := books.Filed + books.Duplicate + books.Ignored + books.Dead + books.Dropped + books.Pending + books.Forgotten
	if sum != books.Received && len(books.Problems) == 0 {
		books.Problems = append(books.Problems, fmt.Sprintf("received %d, but the outcomes add up to %d", books.Received, sum))
	}
	books.Balanced = len(books.Problems) == 0
	return books, err
}

// An audit is one reading of everything.
type audit struct {
	a     *App
	books Books
	// ended are the deliveries that an event tells the end of.
	ended map[uint64]bool
	// decided are message and sink pairs of the trail; jobs those with a job.
	decided map[[2]string]bool
	jobs    map[[2]string]bool
	letters map[string]bool
	lanes   map[string]bool
}

func (a *App) auditOnce(ctx context.Context) (Books, error) {
	u := &audit{
		a: a, books: Books{At: time.Now().UTC()}, ended: map[uint64]bool{}, decided: map[[2]string]bool{},
		jobs: map[[2]string]bool{}, letters: map[string]bool{}, lanes: map[string]bool{},
	}
	for _, step := range []func(context.Context) error{u.readTrail, u.readDeliveries, u.readJobs, u.readLetters, u.readMessages, u.readLinks} {
		if err := step(ctx); err != nil {
			return u.books, fmt.Errorf("audit: %w", err)
		}
	}
	return u.books, nil
}

func (u *audit) problem(format string, args ...any) {
	if len(u.books.Problems) < maxProblems {
		u.books.Problems = append(u.books.Problems, fmt.Sprintf(format, args...))
	}
}

func (u *audit) readTrail(ctx context.Context) error {
	seen := map[string]bool{}
	return u.a.bus.Scan(ctx, bus.Range{Stream: bus.Events}, func(m *bus.Msg) error {
		t, id, _ := record.EventHeader(m)
		if seen[id] {
			return nil
		}
		seen[id] = true
		return u.event(t, m)
	})
}

func (u *audit) event(t schemas.EventType, m *bus.Msg) error {
	switch t {
	case schemas.EventDecided:
		e, err := record.Decode[schemas.Decided](m.Data)
		u.ended[e.Delivery] = true
		if time.Since(e.At) > u.a.o.Config.Horizon-24*time.Hour {
			return err // its record may have been removed by age
		}
		for _, d := range e.Decisions {
			u.decided[[2]string{e.Message.ID, d.Sink}] = true
		}
		return err
	case schemas.EventDuplicate:
		e, err := record.Decode[schemas.Duplicate](m.Data)
		u.ended[e.Delivery] = true
		u.books.Duplicate++
		return err
	case schemas.EventIgnored, schemas.EventDeadDelivery:
		e, err := record.Decode[schemas.DeliveryEnded](m.Data)
		u.ended[e.Delivery] = true
		if t == schemas.EventIgnored {
			u.books.Ignored++
		} else {
			u.books.Dead++
		}
		return err
	case schemas.EventReceipt:
		e, err := record.Decode[schemas.Receipted](m.Data)
		u.end(e.Delivery)
		return err
	case schemas.EventTicket:
		e, err := record.Decode[schemas.TicketChanged](m.Data)
		u.end(e.Delivery)
		return err
	case schemas.EventComment:
		e, err := record.Decode[schemas.Commented](m.Data)
		u.end(e.Delivery)
		return err
	default:
		return nil
	}
}

// end notes a delivery that told us something and became no message: it counts
// as ignored, once.
func (u *audit) end(seq uint64) {
	if !u.ended[seq] {
		u.ended[seq] = true
		u.books.Ignored++
	}
}

func (u *audit) readDeliveries(ctx context.Context) error {
	floors := map[string]uint64{}
	for _, c := range u.a.o.Config.Channels {
		floor, err := u.a.bus.Floor(ctx, "in."+c.Name, bus.Deliveries)
		if err != nil {
			return err
		}
		floors[record.InSubject(c.Name)] = floor
	}
	for _, s := range u.a.o.Config.Sinks {
		floor, err := u.a.bus.Floor(ctx, delivery.BackUnit(s.Name), bus.Deliveries)
		if err != nil {
			return err
		}
		floors[record.BackSubject(s.Name)] = floor
	}
	return u.a.bus.Scan(ctx, bus.Range{Stream: bus.Deliveries, HeadersOnly: true}, func(m *bus.Msg) error {
		switch floor, known := floors[m.Subject]; {
		case u.ended[m.Seq]:
		case known && m.Seq <= floor:
			u.books.Received++
			u.problem("delivery %d (%s) was settled without an outcome", m.Seq, m.Subject)
		default:
			u.books.Received++
			u.books.Pending++
		}
		return nil
	})
}

func (u *audit) readJobs(ctx context.Context) error {
	return u.a.bus.Scan(ctx, bus.Range{Stream: bus.Jobs, HeadersOnly: true}, func(m *bus.Msg) error {
		_, rest, _ := strings.Cut(m.Subject, ".")
		sink, conv, _ := strings.Cut(rest, ".")
		u.jobs[[2]string{record.JobMessage(m), sink}] = true
		u.lanes[record.LinkKey(sink, conv)] = true
		return nil
	})
}

func (u *audit) readLetters(ctx context.Context) error {
	return u.a.bus.Scan(ctx, bus.Range{Stream: bus.Dead, HeadersOnly: true}, func(m *bus.Msg) error {
		u.letters[record.LetterIDOf(m)] = true
		return nil
	})
}

func (u *audit) readMessages(ctx context.Context) error {
	tickets := map[string]bool{}
	u.books.Received += u.books.Duplicate + u.books.Ignored + u.books.Dead + len(u.decided)
	err := u.a.bus.Bucket(bus.Messages).Each(ctx, "", func(e bus.Entry) error {
		if isReply(e.Key) {
			return nil
		}
		rec, err := record.Decode[record.Message](e.Value)
		if err != nil {
			u.problem("message %s: its record cannot be read: %v", e.Key, err)
			return nil
		}
		for sink, at := range rec.Sinks {
			pair := [2]string{e.Key, sink}
			if !u.decided[pair] {
				u.books.Received++ // decided while we read, before the trail began, or forgotten
			}
			delete(u.decided, pair)
			u.judge(pair, at)
			if at.Ticket != "" {
				tickets[sink+"/"+at.Ticket] = true
			}
		}
		return nil
	})
	u.books.Tickets = len(tickets)
	for pair := range u.decided {
		u.problem("message %s for %s was decided, and its record is gone", pair[0], pair[1])
	}
	return err
}

func (u *audit) judge(pair [2]string, at record.AtSink) {
	switch at.State {
	case record.Filed:
		u.books.Filed++
		if at.Ticket == "" {
			u.problem("message %s for %s is filed on no ticket", pair[0], pair[1])
		}
	case record.Dropped:
		u.books.Dropped++
	case record.Dead:
		u.books.Dead++
		if !u.letters[at.Dead] {
			u.problem("message %s for %s is dead, and its dead letter is gone", pair[0], pair[1])
		}
	case record.Forgotten:
		u.books.Forgotten++
	default:
		u.books.Pending++
		if !u.jobs[pair] {
			u.problem("message %s for %s is pending without a job", pair[0], pair[1])
		}
	}
}

func (u *audit) readLinks(ctx context.Context) error {
	return u.a.bus.Bucket(bus.Links).Each(ctx, "c", func(e bus.Entry) error {
		l, err := record.Decode[record.Link](e.Value)
		if err != nil {
			u.problem("link %s: its record cannot be read: %v", e.Key, err)
			return nil
		}
		if l.Doing != nil && !u.lanes[e.Key] {
			u.problem("link %s has an operation under way and no job", e.Key)
		}
		return nil
	})
}
