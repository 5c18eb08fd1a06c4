// Package router decides where a message goes: facts in, decisions out.
//
// Rules form a tree. A child inherits what its parent decided and overrides it;
// among siblings the first that matches wins, unless it says to continue. The
// root is the default route: there is no message that it does not take. The
// package is pure, a Tree is immutable and safe for concurrent use.
package router

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"switchboard/schemas"
)

// A Rule is one node of the tree as an admin wrote it.
type Rule struct {
	// Name and Line say which rule it is and where it stands in its file.
	Name string
	Line int
	// When must hold; its zero value always does. The root's is not asked.
	When Condition
	// What follows overrides what the parent says, where it is not empty. Sink undoes
	// a Drop that is inherited, and Drop a Sink.
	Sink     string
	Queue    string
	Assignee string
	Type     string
	Priority schemas.Priority
	Severity string
	// Tags are added to the parent's. Fields replace the parent's of the same name.
	Tags   []string
	Fields []schemas.Field
	// Drop is the reason for which the message goes nowhere.
	Drop string
	// Continue goes on after a match: to the next siblings and, where none of them
	// ends it, to the parent's own decision.
	Continue bool
	// Routes are the children, tried in order.
	Routes []Rule
}

// Facts are what a decision is made from.
type Facts struct {
	Message *schemas.Message
	Class   *schemas.Classification
}

// A Fold appends the words of s to dst, in the form in which words are compared:
// each word followed by one space. It never writes what it did not read from s.
type Fold func(dst []byte, s string) []byte

// A Tree is a compiled tree of rules.
type Tree struct {
	root  *node
	fold  Fold
	words sync.Pool
}

// node is a rule with all that it inherits.
type node struct {
	name     string
	line     int
	when     *test // nil holds always
	decision schemas.Decision
	goOn     bool
	routes   []*node
}

// Compile makes a tree of root, the default route. The error says that root names
// neither a sink nor a reason to drop.
func Compile(root Rule, fold Fold) (*Tree, error) {
	if root.Sink == "" && root.Drop == "" {
		return nil, errors.New("the default route has no sink")
	}
	root.When = Condition{}
	t := &Tree{fold: fold, words: sync.Pool{New: func() any { return new(facts) }}}
	t.root = t.compile(root, schemas.Decision{})
	return t, nil
}

func (t *Tree) compile(r Rule, parent schemas.Decision) *node {
	n := &node{name: r.Name, line: r.Line, when: compile(r.When, t.fold), goOn: r.Continue}
	n.decision = inherit(parent, r)
	for _, child := range r.Routes {
		n.routes = append(n.routes, t.compile(child, n.decision))
	}
	return n
}

// inherit is parent as r overrides it; the two share no memory that is written to.
func inherit(parent schemas.Decision, r Rule) schemas.Decision {
	d := parent
	switch {
	case r.Drop != "":
		d.Sink, d.Drop = dropped, r.Drop
	case r.Sink != "":
		d.Sink, d.Drop = r.Sink, ""
	}
	d.Queue = cmp.Or(r.Queue, d.Queue)
	d.Assignee = cmp.Or(r.Assignee, d.Assignee)
	d.Type = cmp.Or(r.Type, d.Type)
	d.Priority = cmp.Or(r.Priority, d.Priority)
	d.Severity = cmp.Or(r.Severity, d.Severity)
	d.Tags = slices.Clone(d.Tags)
	for _, tag := range r.Tags {
		if !slices.Contains(d.Tags, tag) {
			d.Tags = append(d.Tags, tag)
		}
	}
	d.Fields = slices.Clone(d.Fields)
	for _, f := range r.Fields {
		at := slices.IndexFunc(d.Fields, func(o schemas.Field) bool { return o.Name == f.Name })
		if at >= 0 {
			d.Fields[at] = f
		} else {
			d.Fields = append(d.Fields, f)
		}
	}
	return d
}

// dropped stands for no sink at all.
const dropped = "-"

// Match decides: one decision for each sink, the first for a sink wins. There is
// always one. A decision to drop comes alone; where others were made it says
// nothing. The decisions are the caller's own.
func (t *Tree) Match(f Facts) []schemas.Decision {
	given := t.words.Get().(*facts)
	given.message, given.class = f.Message, f.Class
	var out []schemas.Decision
	t.root.match(given, nil, &out)
	given.reset()
	t.words.Put(given)
	if len(out) > 1 {
		out = slices.DeleteFunc(out, func(d schemas.Decision) bool { return d.Sink == dropped })
	}
	return out
}

// match adds the decisions of n, which holds.
func (n *node) match(f *facts, path []schemas.RuleRef, out *[]schemas.Decision) {
	ref := schemas.RuleRef{Name: n.name, Line: n.line}
	if n.when != nil {
		ref.Why = n.when.why(f)
	}
	path = append(slices.Clip(path), ref)
	for _, child := range n.routes {
		if child.when != nil && !child.when.holds(f) {
			continue
		}
		child.match(f, path, out)
		if !child.goOn {
			return
		}
	}
	if slices.ContainsFunc(*out, func(d schemas.Decision) bool { return d.Sink == n.decision.Sink }) {
		return
	}
	d := n.decision
	d.Tags, d.Fields, d.Path = slices.Clone(d.Tags), slices.Clone(d.Fields), path
	*out = append(*out, d)
}

// Sinks are the sinks that the tree may decide on, in the order of the rules.
func (t *Tree) Sinks() []string {
	var out []string
	var walk func(n *node)
	walk = func(n *node) {
		if s := n.decision.Sink; s != dropped && !slices.Contains(out, s) {
			out = append(out, s)
		}
		for _, child := range n.routes {
			walk(child)
		}
	}
	walk(t.root)
	return out
}
