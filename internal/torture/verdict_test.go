package torture

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"switchboard/adapter/sandbox"
)

// A verdict is what the desk's own store says.
type verdict struct {
	// entries are the messages on it, tickets what they are on; conversations count
	// those of five messages or more.
	entries, tickets, conversations, files int
	lost, doubled, misordered              []string
	refused                                []string
}

// An entry is where a message stands.
type entry struct {
	ticket string
	at     int
}

func judge(tickets []sandbox.Ticket, s *senders) verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := verdict{tickets: len(tickets), refused: s.refused}
	found := map[mark]entry{}
	last := map[string]mark{} // of each ticket
	filed := map[mark]bool{}  // whose file is there
	for _, t := range tickets {
		for i, c := range t.Comments {
			if len(c.Files) > 0 {
				v.file(c.Files, last[t.ID], t.ID, filed)
				continue
			}
			m, ok := parseMark(c.Text)
			if !ok {
				v.doubled = append(v.doubled, fmt.Sprintf("ticket %s holds what nobody sent: %.60q", t.ID, c.Text))
				continue
			}
			if old, twice := found[m]; twice {
				v.doubled = append(v.doubled, fmt.Sprintf("%v is on ticket %s and on ticket %s", m, old.ticket, t.ID))
				continue
			}
			found[m] = entry{t.ID, i}
			v.entries++
			if before, ok := last[t.ID]; ok && (before.conv != m.conv || before.n != m.n-1) || !ok && m.n != 1 {
				v.misordered = append(v.misordered, fmt.Sprintf("on ticket %s %v follows %v", t.ID, m, before))
			}
			last[t.ID] = m
		}
	}
	longest := map[string]int{}
	for m, file := range s.accepted {
		if file && !filed[m] {
			v.lost = append(v.lost, "the file of "+m.String())
		}
		longest[m.conv] = max(longest[m.conv], m.n)
		if _, ok := found[m]; !ok {
			v.lost = append(v.lost, m.String())
		}
	}
	for _, n := range longest {
		if n >= 5 {
			v.conversations++
		}
	}
	slices.Sort(v.lost)
	return v
}

// file takes a comment that brings files: each follows its own message.
func (v *verdict) file(names []string, after mark, ticket string, filed map[mark]bool) {
	v.files++
	switch {
	case len(names) != 1 || names[0] != fileName(after):
		v.misordered = append(v.misordered, fmt.Sprintf("on ticket %s the files %v follow %v", ticket, names, after))
	case filed[after]:
		v.doubled = append(v.doubled, "the file of "+after.String())
	}
	filed[after] = true
}

// report fails the test for everything that should not be.
func (v verdict) report(t *testing.T) {
	t.Helper()
	all := map[string][]string{"lost": v.lost, "doubled": v.doubled, "misordered": v.misordered, "refused": v.refused}
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if list := all[what]; len(list) > 0 {
			t.Errorf("%d messages %s, such as %v", len(list), what, list[:min(len(list), 10)])
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	ticket := func(id string, texts ...string) sandbox.Ticket {
		out := sandbox.Ticket{ID: id}
		for _, text := range texts {
			c := sandbox.Comment{Text: text}
			if text == "file of b" {
				c.Files = []string{fileName(mark{"b", 1})}
			}
			out.Comments = append(out.Comments, c)
		}
		return out
	}
	for _, c := range []struct {
		name                      string
		tickets                   []sandbox.Ticket
		lost, doubled, misordered int
	}{
		{name: "as it should be", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y"), ticket("2", "[b/1] z", "file of b")}},
		{name: "not accepted and there all the same", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y", "[a/3] y"), ticket("2", "[b/1] z", "file of b")}},
		{name: "one is missing", tickets: []sandbox.Ticket{ticket("1", "[a/1] x"), ticket("2", "[b/1] z", "file of b")}, lost: 1},
		{name: "one is there twice", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y"), ticket("2", "[b/1] z", "file of b"), ticket("3", "[b/1] z")}, doubled: 1},
		{name: "the order is wrong", tickets: []sandbox.Ticket{ticket("1", "[a/2] y", "[a/1] x"), ticket("2", "[b/1] z", "file of b")}, misordered: 2},
		{name: "a conversation on two tickets", tickets: []sandbox.Ticket{ticket("1", "[a/1] x"), ticket("2", "[b/1] z", "file of b"), ticket("3", "[a/2] y")}, misordered: 1},
		{name: "a file", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y"), ticket("2", "[b/1] z", "file of b")}},
		{name: "a file twice", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y"), ticket("2", "[b/1] z", "file of b", "file of b")}, doubled: 1},
		{name: "a file at another message", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "file of b", "[a/2] y"), ticket("2", "[b/1] z")}, misordered: 1, lost: 1},
		{name: "no file", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y"), ticket("2", "[b/1] z")}, lost: 1},
		{name: "a stranger's comment", tickets: []sandbox.Ticket{ticket("1", "[a/1] x", "[a/2] y", "hello"), ticket("2", "[b/1] z", "file of b")}, doubled: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &senders{accepted: map[mark]bool{{"a", 1}: false, {"a", 2}: false, {"b", 1}: true}}
			v := judge(c.tickets, s)
			if len(v.lost) != c.lost || len(v.doubled) != c.doubled || len(v.misordered) != c.misordered {
				t.Errorf("got lost %v, doubled %v, misordered %v; want %d, %d, %d", v.lost, v.doubled, v.misordered, c.lost, c.doubled, c.misordered)
			}
		})
	}
}
