package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// version is the shape of the tables and of the indexed text. A file of another
// version is thrown away and filled again from the events.
const version = 1

// dataTables are all tables but the checkpoint; Reset drops them.
var dataTables = [...]string{"events", "seen", "messages", "outcomes", "people", "tickets", "entries", "dead", "health", "books", "rates", "names", "ft"}

// schema creates what is missing. Columns that rarely matter come last, times are
// microseconds since 1970 (0 for none), and the row numbers of messages, tickets and
// entries are the sequence of their first event: order of rows is order of events.
//
// The indexes are few, for each costs every message: partial ones hold only what is
// out of the ordinary, and the counts that pages show are kept beside the rows (books,
// rates) instead of being counted. Above all few with keys without order: each costs a
// page of its own for every row. That is why ids of events (seen) are kept only of
// those whose repeat the rows do not show, and of those that were forgotten.
const schema = `
CREATE TABLE IF NOT EXISTS checkpoint (
	one INTEGER PRIMARY KEY, created INTEGER NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, skipped INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
	seq INTEGER PRIMARY KEY, ce BLOB NOT NULL, msg INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB);
CREATE INDEX IF NOT EXISTS events_msg ON events(msg) WHERE kind > 2;
CREATE TABLE IF NOT EXISTS seen (ce BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
	seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conv TEXT NOT NULL,
	decided INTEGER NOT NULL, version INTEGER NOT NULL, at INTEGER NOT NULL, channel TEXT NOT NULL, kind TEXT NOT NULL,
	requester TEXT NOT NULL, person BLOB, subject TEXT NOT NULL, words TEXT NOT NULL, attachments INTEGER NOT NULL,
	category TEXT NOT NULL, urgency TEXT NOT NULL, keywords TEXT NOT NULL, delivery INTEGER NOT NULL, of TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS messages_conv ON messages(conv) WHERE conv <> '';
CREATE INDEX IF NOT EXISTS messages_of ON messages(of) WHERE of <> '';
CREATE TABLE IF NOT EXISTS outcomes (
	msg INTEGER NOT NULL, sink TEXT NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, ticket INTEGER NOT NULL,
	opened INTEGER NOT NULL, reason TEXT NOT NULL, rule TEXT NOT NULL, at INTEGER NOT NULL, seq INTEGER NOT NULL,
	version INTEGER NOT NULL, filed INTEGER NOT NULL, dead TEXT NOT NULL, counted INTEGER NOT NULL,
	queue TEXT NOT NULL, assignee TEXT NOT NULL, priority TEXT NOT NULL, tags TEXT NOT NULL,
	PRIMARY KEY (msg, sink)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outcomes_state ON outcomes(state, msg) WHERE state <> 4;
CREATE INDEX IF NOT EXISTS outcomes_ticket ON outcomes(ticket) WHERE ticket <> 0;
CREATE TABLE IF NOT EXISTS people (who BLOB NOT NULL, msg INTEGER NOT NULL, PRIMARY KEY (who, msg)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tickets (
	n INTEGER PRIMARY KEY, id TEXT NOT NULL, sink TEXT NOT NULL,
	url TEXT NOT NULL, subject TEXT NOT NULL, requester TEXT NOT NULL, person BLOB, words TEXT NOT NULL,
	last_by TEXT NOT NULL, last_at INTEGER NOT NULL, opened_at INTEGER NOT NULL, channels TEXT NOT NULL,
	urgency TEXT NOT NULL, priority TEXT NOT NULL, category TEXT NOT NULL, queue TEXT NOT NULL, assignee TEXT NOT NULL,
	status TEXT NOT NULL, tags TEXT NOT NULL, messages INTEGER NOT NULL, asked INTEGER NOT NULL, answered INTEGER NOT NULL,
	desk_at INTEGER NOT NULL, told INTEGER NOT NULL, UNIQUE (id, sink));
CREATE INDEX IF NOT EXISTS tickets_last ON tickets(last_at);
CREATE TABLE IF NOT EXISTS entries (
	n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
	at INTEGER NOT NULL, kind TEXT NOT NULL, author TEXT NOT NULL, role TEXT NOT NULL, channel TEXT NOT NULL, text TEXT NOT NULL,
	visibility TEXT NOT NULL, reply TEXT NOT NULL, files TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
	state_at INTEGER NOT NULL, dead TEXT NOT NULL, sink TEXT NOT NULL, ticket INTEGER NOT NULL, conv TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entries_ticket ON entries(ticket) WHERE ticket <> 0;
CREATE INDEX IF NOT EXISTS entries_conv ON entries(conv) WHERE conv <> '';
CREATE TABLE IF NOT EXISTS dead (
	id TEXT PRIMARY KEY, stage TEXT NOT NULL, at INTEGER NOT NULL, message TEXT NOT NULL, delivery INTEGER NOT NULL,
	conv TEXT NOT NULL, channel TEXT NOT NULL, sink TEXT NOT NULL, reply TEXT NOT NULL, reason TEXT NOT NULL,
	attempts INTEGER NOT NULL, state TEXT NOT NULL, actor TEXT NOT NULL, acted INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS dead_message ON dead(message) WHERE message <> '';
CREATE TABLE IF NOT EXISTS health (
	side TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL, last INTEGER NOT NULL,
	PRIMARY KEY (side, name));
CREATE TABLE IF NOT EXISTS books (minute INTEGER NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (minute, state));
CREATE TABLE IF NOT EXISTS rates (
	minute INTEGER NOT NULL, side TEXT NOT NULL, name TEXT NOT NULL, what INTEGER NOT NULL, n INTEGER NOT NULL,
	PRIMARY KEY (minute, side, name, what));
CREATE TABLE IF NOT EXISTS names (kind TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (kind, name));
`

// source builds the data source name for path. Deleted content is overwritten in
// the file (secure_delete), for forgetting must not leave words behind; write
// transactions take their lock when they begin.
func source(path string, pragmas ...string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") {
		abs = "/" + abs
	}
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range append([]string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)", "secure_delete(1)", "temp_store(2)"}, pragmas...) {
		q.Add("_pragma", p)
	}
	// An URL, because SQLite would read ?, # and % of a bare path.
	return (&url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}).String(), nil
}

// A table is written in rows of many columns at a time. The first fixed columns of
// a row never change; key is the one that says whether it is there already.
type table struct {
	name  string
	key   string
	fixed int
	cols  []string
}

var (
	eventsTable   = table{"events", "seq", 5, []string{"seq", "ce", "msg", "kind", "body"}}
	seenTable     = table{"seen", "ce", 1, []string{"ce"}}
	messagesTable = table{"messages", "seq", 3, []string{
		"seq", "id", "conv", "decided", "version", "at", "channel", "kind", "requester", "person",
		"subject", "words", "attachments", "category", "urgency", "keywords", "delivery", "of",
	}}
	outcomesTable = table{"outcomes", "msg, sink", 2, []string{
		"msg", "sink", "state", "n", "ticket", "opened", "reason", "rule", "at", "seq", "version", "filed",
		"dead", "counted", "queue", "assignee", "priority", "tags",
	}}
	peopleTable  = table{"people", "who, msg", 2, []string{"who", "msg"}}
	ticketsTable = table{"tickets", "n", 3, []string{
		"n", "id", "sink", "url", "subject", "requester", "person", "words", "last_by", "last_at", "opened_at", "channels",
		"urgency", "priority", "category", "queue", "assignee", "status", "tags", "messages", "asked", "answered", "desk_at", "told",
	}}
	entriesTable = table{"entries", "n", 2, []string{
		"n", "key", "at", "kind", "author", "role", "channel", "text", "visibility", "reply", "files", "state", "reason",
		"state_at", "dead", "sink", "ticket", "conv",
	}}
	textTable  = table{"ft", "", 2, []string{"rowid", "t"}}
	booksTable = table{"books", "minute, state", 2, []string{"minute", "state", "n"}}
	ratesTable = table{"rates", "minute, side, name, what", 4, []string{"minute", "side", "name", "what", "n"}}
	namesTable = table{"names", "kind, name", 2, []string{"kind", "name"}}
)

// list names the columns, each with the prefix.
func (t table) list(prefix string) string {
	return prefix + strings.Join(t.cols, ", "+prefix)
}

// insert is the statement that writes n rows. Counters are added up.
func (t table) insert(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", t.name, t.list(""))
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		b.WriteString(marks(len(t.cols)))
		b.WriteByte(')')
	}
	if t.key == "" {
		return b.String()
	}
	if t.fixed == len(t.cols) {
		fmt.Fprintf(&b, " ON CONFLICT (%s) DO NOTHING", t.key)
		return b.String()
	}
	fmt.Fprintf(&b, " ON CONFLICT (%s) DO UPDATE SET ", t.key)
	for i, c := range t.cols[t.fixed:] {
		if i > 0 {
			b.WriteByte(',')
		}
		if t.name == "books" || t.name == "rates" {
			fmt.Fprintf(&b, "%s = %s.%s + excluded.%s", c, t.name, c, c)
		} else {
			fmt.Fprintf(&b, "%s = excluded.%s", c, c)
		}
	}
	return b.String()
}

// marks is n parameters in their order. They are without numbers, because SQLite
// takes $1 for a name and looks for it among all others: at a thousand parameters that
// costs more than the rows. (Postgres wants the numbers; this is the one place.)
func marks(n int) string {
	return strings.TrimSuffix(strings.Repeat("?,", n), ",")
}

// chunks are the numbers of rows that one statement takes: the price of a call is
// shared by many rows, and a quiet shop's single row costs no more than itself.
var chunks = []int{64, 8, 1}

// textChunks begin higher, for FTS5 writes a segment for every statement.
var textChunks = []int{512, 64, 8, 1}

// A bulk is a statement prepared for each of chunks.
type bulk struct {
	width  int
	chunks []int
	stmts  []*sql.Stmt
}

func prepare(ctx context.Context, conn *sql.Conn, width int, chunks []int, text func(n int) string) (bulk, error) {
	b := bulk{width: width, chunks: chunks}
	for _, n := range chunks {
		stmt, err := conn.PrepareContext(ctx, text(n))
		if err != nil {
			return bulk{}, fmt.Errorf("prepare %.40q: %w", text(1), err)
		}
		b.stmts = append(b.stmts, stmt)
	}
	return b, nil
}

// exec runs the statement over all args, a row's after the other's.
func (b *bulk) exec(ctx context.Context, args []any) error {
	for i, n := range b.chunks {
		for n *= b.width; len(args) >= n; args = args[n:] {
			if _, err := b.stmts[i].ExecContext(ctx, args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// query runs the statement over all keys and hands every row to scan.
func (b *bulk) query(ctx context.Context, keys []any, scan func(*sql.Rows) error) error {
	for i, n := range b.chunks {
		for ; len(keys) >= n; keys = keys[n:] {
			rows, err := b.stmts[i].QueryContext(ctx, keys[:n]...)
			if err := each(rows, err, scan); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bulk) close() {
	for _, s := range b.stmts {
		_ = s.Close() // the connection goes next and takes it along
	}
}

// each hands every row to scan and closes rows. It takes the error of the query so
// that a call can be wrapped around one.
func each(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
