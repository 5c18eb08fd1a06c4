package delivery

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"switchboard/internal/record"
	"switchboard/schemas"
	"switchboard/sinks"
)

// classes are all there are; their desks keep their promises and no others.
var classes = []sinks.Class{sinks.StrongLookup, sinks.Upsert, sinks.KeyWindow, sinks.LaggingLookup, sinks.ReceiverDedup}

// slug is a class as a name of a test.
func slug(c sinks.Class) string { return strings.ReplaceAll(c.String(), " ", "-") }

// twoFiles gives a message two files.
func twoFiles(m *schemas.Message, _ *schemas.Decision) {
	m.Attachments = []schemas.Attachment{
		{Name: "wing.txt", Type: "text/plain", Data: []byte("balsa")},
		{Name: "nose.txt", Type: "text/plain", Data: []byte("spinner")},
	}
}

// talk is one conversation: it opens with two files, adds words, adds a file.
func talk() []mail {
	return []mail{
		{id: "1", conv: "finch", text: "The Finch pulls left", edit: twoFiles},
		{id: "2", conv: "finch", text: "Only at full throttle"},
		{id: "3", conv: "finch", text: "Here is the log", edit: func(m *schemas.Message, _ *schemas.Decision) {
			m.Attachments = []schemas.Attachment{{Name: "log.txt", Type: "text/plain", Data: []byte("14:02 left")}}
		}},
	}
}

// talked is what the desk must hold after talk.
func (w *world) talked() []string {
	name := func(file, id string, part int) string {
		return file + "=" + record.CommentKey("desk", w.mid(id), part)
	}
	if w.desk.class == sinks.ReceiverDedup {
		return []string{
			"The Finch pulls left", name("wing.txt", "1", 1), name("nose.txt", "1", 2),
			"Only at full throttle", "Here is the log", name("log.txt", "3", 1),
		}
	}
	return []string{
		"The Finch pulls left", "wing.txt=balsa", "nose.txt=spinner", "Only at full throttle", "Here is the log", "log.txt=14:02 left",
	}
}

// TestACrashAtEveryWriteLeavesOneOfEach kills the process in place of each of its
// durable writes in turn: F-D5 (the intent), F-D7p (between two parts), F-D7 (the
// link), F-D8 (the message's record), F-D9 (the event). After a restart every
// message is on the one ticket, in order, with its files (I3, I4, I6, I7, I8, I9).
func TestACrashAtEveryWriteLeavesOneOfEach(t *testing.T) {
	t.Parallel()
	for _, class := range classes {
		t.Run(slug(class), func(t *testing.T) {
			t.Parallel()
			for n, last := int64(0), int64(12); n <= last; n++ {
				t.Run(fmt.Sprint(n), func(t *testing.T) {
					w := newWorld(t, class)
					w.desk.lag = 30 * time.Millisecond
					l := w.open()
					w.send(talk()...)
					l.arm(n)
					w.start()
					if n == 0 { // how many writes there are is learned without a crash
						w.filed(3)
						last = l.writes.Load()
						return
					}
					<-l.died
					w.restart()
					w.filed(3)
					w.exactly(w.talked())
					w.settledWell(w.says(schemas.EventFiled, 3), "1", "2", "3")
				})
			}
		})
	}
}
