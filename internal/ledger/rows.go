package ledger

import (
	"database/sql"
	"math"
	"slices"
	"strings"

	"switchboard/schemas"
)

// A state is an Outcome as it is stored: the larger one speaks for the message.
type state int64

// The numbers stand in the schema's partial index.
const (
	dropped   state = 1
	ignored   state = 2
	duplicate state = 3
	filed     state = 4
	waiting   state = 5
	dead      state = 6
	forgotten state = 7
)

var outcomeNames = [...]Outcome{
	dropped: OutcomeDropped, ignored: OutcomeIgnored, duplicate: OutcomeDuplicate, filed: OutcomeFiled,
	waiting: OutcomeWaiting, dead: OutcomeDead, forgotten: OutcomeForgotten,
}

// A message is the row of a message or of a delivery that became none.
type message struct {
	seq         int64
	id, conv    string
	decided     int64 // sequence of the decision that counts, 0 while only later events are known
	version     int64 // delivered for deliveries
	at          int64
	channel     string
	kind        string
	requester   string
	person      []byte
	subject     string
	words       string
	attachments int64
	category    string
	urgency     string
	keywords    string
	delivery    int64
	of          string // the message that a duplicate repeats

	outs  []*outcome
	dirty bool
}

// delivered is the version of rows that are no messages.
const delivered = -1

func (m *message) args(to []any) []any {
	return append(to, m.seq, m.id, m.conv, m.decided, m.version, m.at, m.channel, m.kind, m.requester, m.person,
		m.subject, m.words, m.attachments, m.category, m.urgency, m.keywords, m.delivery, m.of)
}

func (m *message) scan(rows *sql.Rows) error {
	return rows.Scan(&m.seq, &m.id, &m.conv, &m.decided, &m.version, &m.at, &m.channel, &m.kind, &m.requester, &m.person,
		&m.subject, &m.words, &m.attachments, &m.category, &m.urgency, &m.keywords, &m.delivery, &m.of)
}

// preview is what a list shows of the message.
func (m *message) preview() string {
	if m.subject != "" {
		return m.subject
	}
	return m.words
}

// outcome returns the outcome at sink, a new one where there is none.
func (m *message) outcome(sink string) *outcome {
	for _, o := range m.outs {
		if o.sink == sink {
			o.dirty = true
			return o
		}
	}
	o := &outcome{msg: m.seq, sink: sink, state: waiting, n: 1, dirty: true}
	m.outs = append(m.outs, o)
	return o
}

// An outcome is where a message stands at one sink.
type outcome struct {
	msg     int64
	sink    string
	state   state
	n       int64 // how many the books count
	ticket  int64
	opened  int64
	reason  string
	rule    string
	at      int64
	seq     int64
	version int64
	filed   int64 // sequence of the event Filed
	dead    string
	counted int64 // 1 once the message is on the row of its ticket
	// What the decision wants of a new ticket.
	queue, assignee, priority, tags string

	dirty bool
}

func (o *outcome) args(to []any) []any {
	return append(to, o.msg, o.sink, int64(o.state), o.n, o.ticket, o.opened, o.reason, o.rule, o.at, o.seq, o.version, o.filed,
		o.dead, o.counted, o.queue, o.assignee, o.priority, o.tags)
}

func (o *outcome) scan(rows *sql.Rows) error {
	return rows.Scan(&o.msg, &o.sink, &o.state, &o.n, &o.ticket, &o.opened, &o.reason, &o.rule, &o.at, &o.seq, &o.version, &o.filed,
		&o.dead, &o.counted, &o.queue, &o.assignee, &o.priority, &o.tags)
}

// A ticket is the row of a ticket.
type ticket struct {
	n                                           int64
	id, sink                                    string
	url, subject, requester                     string
	person                                      []byte
	words, lastBy                               string
	lastAt, openedAt                            int64
	channels                                    string
	urgency, priority, category                 string
	queue, assignee, status, tags               string
	messages, asked, answered, deskAt, deskTold int64

	dirty bool
}

// What the desk has told of a ticket; the decision no longer speaks for it.
const (
	toldQueue = 1 << iota
	toldAssignee
	toldPriority
	toldTags
	toldStatus
)

func (t *ticket) args(to []any) []any {
	return append(to, t.n, t.id, t.sink, t.url, t.subject, t.requester, t.person, t.words, t.lastBy, t.lastAt, t.openedAt, t.channels,
		t.urgency, t.priority, t.category, t.queue, t.assignee, t.status, t.tags, t.messages, t.asked, t.answered, t.deskAt, t.deskTold)
}

func (t *ticket) scan(rows *sql.Rows) error {
	return rows.Scan(&t.n, &t.id, &t.sink, &t.url, &t.subject, &t.requester, &t.person, &t.words, &t.lastBy, &t.lastAt, &t.openedAt, &t.channels,
		&t.urgency, &t.priority, &t.category, &t.queue, &t.assignee, &t.status, &t.tags, &t.messages, &t.asked, &t.answered, &t.deskAt, &t.deskTold)
}

// said takes note of an entry that may be the newest.
func (t *ticket) said(at int64, by, words string) {
	if at >= t.lastAt {
		t.lastAt, t.lastBy, t.words = at, by, words
	}
	t.dirty = true
}

// An entry is the row of a comment, a reply, a change or a receipt.
type entry struct {
	n                  int64
	key                string
	at                 int64
	kind, author, role string
	channel, text      string
	visibility, reply  string
	files              string
	state, reason      string
	stateAt            int64
	dead, sink         string
	ticket             int64
	conv               string
	dirty              bool
}

func (e *entry) args(to []any) []any {
	return append(to, e.n, e.key, e.at, e.kind, e.author, e.role, e.channel, e.text, e.visibility, e.reply, e.files, e.state, e.reason,
		e.stateAt, e.dead, e.sink, e.ticket, e.conv)
}

func (e *entry) scan(rows *sql.Rows) error {
	return rows.Scan(&e.n, &e.key, &e.at, &e.kind, &e.author, &e.role, &e.channel, &e.text, &e.visibility, &e.reply, &e.files, &e.state, &e.reason,
		&e.stateAt, &e.dead, &e.sink, &e.ticket, &e.conv)
}

// replyRank orders the states of a reply; a lower one that comes late is old news.
func replyRank(state string) int {
	return slices.Index([]string{"", "queued", "unknown", "sent", "delivered", "read", "failed"}, state)
}

// become changes the state of a reply, unless the news is older than what is known.
// What failed or is unknown may be sent again by a person.
func (e *entry) become(state, reason string, at int64) {
	again := (e.state == "failed" || e.state == "unknown") && at > e.stateAt
	if replyRank(state) <= replyRank(e.state) && !again {
		return
	}
	e.state, e.reason, e.stateAt, e.dirty = state, reason, at, true
}

const minute = 60_000_000

// A tally adds up what the pages count. Everything in it is a function of rows: what
// a row counted before a change is taken away, what it counts after is added, so
// that counts and rows cannot part.
type tally struct {
	books map[bookKey]int64
	rates map[rateKey]int64
}

type bookKey struct {
	minute int64
	state  state
}

type rateKey struct {
	minute     int64
	side, name string
	// what is received, waitingNow or a bucket of durations.
	what int64
}

const (
	received   = -1
	waitingNow = -2
)

func newTally() tally {
	return tally{books: map[bookKey]int64{}, rates: map[rateKey]int64{}}
}

// count adds the message sign times.
func (y tally) count(m *message, sign int64) {
	if m.decided != 0 {
		y.rates[rateKey{m.at / minute, "channel", m.channel, received}] += sign
	}
	for _, o := range m.outs {
		since := m.at
		if since == 0 {
			since = o.at
		}
		y.books[bookKey{since / minute, o.state}] += sign * o.n
		if o.sink == "" || o.sink == "-" {
			continue
		}
		y.rates[rateKey{since / minute, "sink", o.sink, received}] += sign
		switch {
		case o.state == waiting:
			y.rates[rateKey{0, "sink", o.sink, waitingNow}] += sign
			if m.channel != "" {
				y.rates[rateKey{0, "channel", m.channel, waitingNow}] += sign
			}
		case o.state == filed && m.decided != 0:
			b := bucket(o.at - m.at)
			y.rates[rateKey{o.at / minute, "sink", o.sink, b}] += sign
			y.rates[rateKey{o.at / minute, "channel", m.channel, b}] += sign
		}
	}
}

// bucket sorts a duration in microseconds into one of four per octave.
func bucket(us int64) int64 {
	if us < 1 {
		return 0
	}
	return int64(math.Ceil(4 * math.Log2(float64(us))))
}

// bound is the longest duration, in microseconds, of a bucket.
func bound(bucket int64) int64 {
	return int64(math.Round(math.Exp2(float64(bucket) / 4)))
}

// Lists are stored as lines.
func lines(list []string) string { return strings.Join(list, "\n") }

func unlines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

// brief returns the first 160 characters of s as one line.
func brief(s string) string {
	const most = 160
	// Only the beginning is looked at, for a text may be a megabyte long.
	if len(s) > 8*most {
		s = strings.ToValidUTF8(s[:8*most], "")
	}
	s = strings.Join(strings.Fields(s), " ")
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}

// worse returns the higher of two urgencies.
func worse(a, b string) string {
	if a == "" || (b != "" && schemas.Urgency(b).Band() > schemas.Urgency(a).Band()) {
		return b
	}
	return a
}
