package config

import (
	"crypto/sha256"
	_ "embed" // the rules without a file
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"switchboard/classify"
	"switchboard/router"
	"switchboard/schemas"
)

// Names are what rules may name: the configured channels and sinks, and the kinds
// of channels in the binary.
type Names struct {
	Channels, Sinks, Kinds []string
}

// Rules are a checked rules file.
type Rules struct {
	// File is where they came from; Source is its content, byte for byte.
	File   string
	Source []byte
	// Digest is the beginning of the SHA-256 of Source, 12 hexadecimal digits: every
	// decision carries it.
	Digest     string
	Tree       *router.Tree
	Classifier *classify.Classifier
	// Warnings are what is allowed but hardly meant.
	Warnings Diagnostics
}

//go:embed default-rules.yaml
var defaultRules []byte

// LoadRules reads and checks a rules file; without a path, the rules that come
// with the program. An error of type Diagnostics says everything that is wrong
// with the file; any other says that it cannot be read.
func LoadRules(path string, n Names) (*Rules, error) {
	if path == "" {
		return ParseRules("default-rules.yaml", defaultRules, n)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return ParseRules(path, source, n)
}

// ParseRules is LoadRules for a file that was read already.
func ParseRules(path string, source []byte, n Names) (*Rules, error) {
	b := ruleBinder{binder: newBinder(path, nil), names: n}
	sum := sha256.Sum256(source)
	rules := &Rules{File: path, Source: slices.Clone(source), Digest: hex.EncodeToString(sum[:])[:12]}
	entries, tree := b.read(source)
	var err error
	if rules.Warnings, err = b.diagnostics.split(); err != nil {
		return nil, err
	}
	if err := rules.compile(entries, tree); err != nil {
		return nil, err
	}
	return rules, nil
}

// read reports all that is wrong with source. What it returns is of use only if
// that is nothing.
func (b *ruleBinder) read(source []byte) ([]classify.Entry, router.Rule) {
	root := b.parse(source)
	if root == nil {
		return nil, router.Rule{}
	}
	var file rulesFile
	b.fill(root, "", 0, nil, reflect.ValueOf(&file).Elem())
	if !b.fine("") || b.gaveUp {
		return nil, router.Rule{}
	}
	entries := b.vocabulary(file.Vocabulary)
	b.learn(entries)
	tree := b.rule(&file.Route, "route", false)
	b.checkRoot(&file.Route)
	return entries, tree
}

func (r *Rules) compile(entries []classify.Entry, root router.Rule) error {
	var err error
	if r.Classifier, err = classify.New(entries); err != nil {
		return fmt.Errorf("%s: vocabulary: %w", r.File, err)
	}
	if r.Tree, err = router.Compile(root, r.Classifier.Fold); err != nil {
		return fmt.Errorf("%s: route: %w", r.File, err)
	}
	return nil
}

// rulesFile is a rules file as it is written.
type rulesFile struct {
	// Vocabulary is what to look for in messages; without it, the program's own
	// holds.
	Vocabulary map[string]entry `yaml:"vocabulary"`
	// Route is the default route, and below it all others.
	Route route `yaml:"route" required:"true"`
}

// entry is one entry of the vocabulary.
type entry struct {
	// Category is what a message with one of the terms is about.
	Category string `yaml:"category"`
	// Urgency is how urgent such a message is at least.
	Urgency string `yaml:"urgency" enum:"low,normal,high,critical"`
	// Terms are words and phrases; a star at the end of a word stands for any ending.
	Terms []classify.Term `yaml:"terms" required:"true"`
	// Unless are terms that cancel the entry.
	Unless []classify.Term `yaml:"unless"`
}

// route is one rule, with all that is below it.
type route struct {
	// Name is what explanations call the rule.
	Name string `yaml:"name"`
	// When says which messages the rule is for; without it, all.
	When *condition `yaml:"when"`
	// Sink is the desk.
	Sink string `yaml:"sink"`
	// Queue is where the ticket waits.
	Queue string `yaml:"queue"`
	// Assignee is who gets the ticket.
	Assignee string `yaml:"assignee"`
	// Type is the type of the ticket.
	Type string `yaml:"type" enum:"incident,request,question,problem"`
	// Priority is the ticket's.
	Priority string `yaml:"priority" enum:"low,normal,high,urgent"`
	// Severity is the ticket's, in the desk's words.
	Severity string `yaml:"severity"`
	// Set adds tags and fields.
	Set settings `yaml:"set"`
	// Suppress is the reason for which such messages become no ticket.
	Suppress string `yaml:"suppress"`
	// Continue tries the rules after this one too.
	Continue bool `yaml:"continue"`
	// Routes are the rules below, of which the first that matches wins.
	Routes []route `yaml:"routes"`
}

// settings are added to a ticket.
type settings struct {
	Tags   []string          `yaml:"tags"`
	Fields map[string]string `yaml:"fields"`
}

// condition says which messages a rule is for: all that it names must hold, and of
// each list one.
type condition struct {
	// Channel is the name of a configured channel.
	Channel []string `yaml:"channel"`
	// Kind is the kind of a channel.
	Kind []string `yaml:"kind"`
	// Text is a word or phrase of the message.
	Text []classify.Term `yaml:"text"`
	// Subject is a word or phrase of the subject.
	Subject []classify.Term `yaml:"subject"`
	// Domain is that of the requester's address; *.acme.example is all below it.
	Domain []string `yaml:"requester.domain"`
	// Email is the requester's address.
	Email []string `yaml:"requester.email"`
	// Name is a word or phrase of the requester's name.
	Name []classify.Term `yaml:"requester.name"`
	// Urgency is what was read from the message.
	Urgency []string `yaml:"urgency" enum:"low,normal,high,critical"`
	// Category is one of the vocabulary.
	Category []string `yaml:"category"`
	// Keyword is an entry of the vocabulary.
	Keyword []string `yaml:"keyword"`
	// Attachments says whether the message has any.
	Attachments *bool `yaml:"attachments"`
	// All wants all of these conditions.
	All []condition `yaml:"all"`
	// Any wants one of these conditions.
	Any []condition `yaml:"any"`
	// Not wants that this condition does not hold.
	Not *condition `yaml:"not"`
}

// A ruleBinder checks rules against the names that they may use.
type ruleBinder struct {
	*binder
	names                Names
	keywords, categories []string
}

// vocabulary brings the entries into the order of the file.
func (b *ruleBinder) vocabulary(in map[string]entry) []classify.Entry {
	if in == nil {
		return classify.Default()
	}
	names := slices.SortedFunc(maps.Keys(in), func(x, y string) int {
		p, q := b.keys[join("vocabulary", x)], b.keys[join("vocabulary", y)]
		return slices.Compare([]int{p.line, p.col}, []int{q.line, q.col})
	})
	var out []classify.Entry
	for _, name := range names {
		e, at := in[name], join("vocabulary", name)
		if !plainWord.MatchString(name) {
			b.rejectKey(at, "a name has 1 to 40 letters, digits, _ and -")
		}
		if len(e.Terms) == 0 && b.fine(at+".terms") {
			b.reject(at+".terms", "must not be empty")
		}
		out = append(out, classify.Entry{
			Name: name, Category: e.Category, Urgency: schemas.Urgency(e.Urgency), Terms: e.Terms, Unless: e.Unless,
		})
	}
	return out
}

// learn notes what conditions may name.
func (b *ruleBinder) learn(entries []classify.Entry) {
	for _, e := range entries {
		b.keywords = append(b.keywords, e.Name)
		if e.Category != "" && !slices.Contains(b.categories, e.Category) {
			b.categories = append(b.categories, e.Category)
		}
	}
}

// checkRoot checks what is asked of the default route alone.
func (b *ruleBinder) checkRoot(r *route) {
	if r.Sink == "" && r.Suppress == "" && b.fine("route") && b.fine("route.sink") {
		b.reject("route.sink", "required: the default route takes what no other rule does")
	}
	if r.When != nil {
		b.rejectKey("route.when", "the default route has no conditions")
	}
	if r.Continue {
		b.rejectKey("route.continue", "nothing comes after the default route")
	}
}

// rule checks one rule and all below it. It is called for broken files too.
func (b *ruleBinder) rule(r *route, path string, hasParent bool) router.Rule {
	out := router.Rule{
		Name: r.Name, Line: b.line(path), Sink: r.Sink, Queue: r.Queue, Assignee: r.Assignee, Type: r.Type,
		Priority: schemas.Priority(r.Priority), Severity: r.Severity, Tags: r.Set.Tags, Drop: r.Suppress, Continue: r.Continue,
	}
	switch {
	case out.Name == "" && hasParent:
		out.Name = path
	case out.Name == "":
		out.Name = "default"
	}
	b.oneOf(path+".sink", "sink", r.Sink, b.names.Sinks)
	if r.Suppress != "" && r.Sink != "" {
		b.reject(path+".suppress", "a rule either has a sink or suppresses")
	}
	if r.Suppress != "" && r.Continue {
		b.reject(path+".suppress", "a rule that suppresses cannot continue")
	}
	for i, tag := range r.Set.Tags {
		if strings.TrimSpace(tag) == "" {
			b.reject(index(path+".set.tags", i), "must not be empty")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Set.Fields)) {
		out.Fields = append(out.Fields, schemas.Field{Name: name, Value: r.Set.Fields[name]})
	}
	if r.When != nil {
		out.When = b.condition(r.When, path+".when")
	}
	ended := ""
	for i := range r.Routes {
		child, at := &r.Routes[i], index(path+".routes", i)
		below := b.rule(child, at, true)
		if ended != "" {
			b.warn(at, "is never reached: "+ended+" takes everything")
		}
		if child.When == nil && !child.Continue && ended == "" {
			ended = below.Name
		}
		out.Routes = append(out.Routes, below)
	}
	return out
}

// line is where a rule begins: at its key, or at its place in a list.
func (b *ruleBinder) line(path string) int {
	if key, ok := b.keys[path]; ok {
		return key.line
	}
	return b.near(path).line
}

// condition checks a condition and what is below it.
func (b *ruleBinder) condition(c *condition, path string) router.Condition {
	if reflect.ValueOf(*c).IsZero() && b.allFine(path) {
		b.reject(path, "must not be empty; a rule for all messages has no conditions")
	}
	b.listed(path+".channel", "channel", c.Channel, b.names.Channels)
	b.listed(path+".kind", "kind", c.Kind, b.names.Kinds)
	b.listed(path+".category", "category", c.Category, b.categories)
	b.listed(path+".keyword", "keyword", c.Keyword, b.keywords)
	for key, list := range map[string]int{
		"channel": size(c.Channel), "kind": size(c.Kind), "text": size(c.Text), "subject": size(c.Subject),
		"requester.domain": size(c.Domain), "requester.email": size(c.Email), "requester.name": size(c.Name),
		"urgency": size(c.Urgency), "category": size(c.Category), "keyword": size(c.Keyword),
		"all": size(c.All), "any": size(c.Any),
	} {
		if at := path + "." + key; list == 0 && b.fine(at) {
			b.reject(at, "the list is empty, so nothing would match")
		}
	}
	for i, d := range c.Domain {
		if d == "" || strings.ContainsAny(strings.TrimPrefix(d, "*."), "*@/ ") {
			b.reject(b.item(path+".requester.domain", i), "want a domain such as acme.example, or *.acme.example for all below it")
		}
	}
	for i, e := range c.Email {
		if at := strings.IndexByte(e, '@'); at < 1 || at == len(e)-1 {
			b.reject(b.item(path+".requester.email", i), "want an address such as anna@acme.example")
		}
	}
	out := router.Condition{
		Channel: c.Channel, Kind: c.Kind, Domain: c.Domain, Email: c.Email,
		Text: b.phrases(path+".text", c.Text), Subject: b.phrases(path+".subject", c.Subject),
		Name:     b.phrases(path+".requester.name", c.Name),
		Category: c.Category, Keyword: c.Keyword, Attachments: c.Attachments,
	}
	for _, u := range c.Urgency {
		out.Urgency = append(out.Urgency, schemas.Urgency(u))
	}
	for i := range c.All {
		out.All = append(out.All, b.condition(&c.All[i], index(path+".all", i)))
	}
	for i := range c.Any {
		out.Any = append(out.Any, b.condition(&c.Any[i], index(path+".any", i)))
	}
	if c.Not != nil {
		not := b.condition(c.Not, path+".not")
		out.Not = &not
	}
	return out
}

// size is the length of a list that is there, -1 for none.
func size[T any](list []T) int {
	if list == nil {
		return -1
	}
	return len(list)
}

func (b *ruleBinder) phrases(path string, terms []classify.Term) []string {
	var out []string
	for i, t := range terms {
		if t.HasStar() {
			b.reject(b.item(path, i), "stars are for the vocabulary only")
		}
		out = append(out, t.String())
	}
	return out
}

func (b *ruleBinder) listed(path, what string, names, known []string) {
	for i, name := range names {
		b.oneOf(b.item(path, i), what, name, known)
	}
}

func (b *ruleBinder) oneOf(path, what, name string, known []string) {
	if name != "" && !slices.Contains(known, name) && b.fine(path) {
		b.reject(path, unknown(what, name, known))
	}
}

// item is the path of one of a list; a list that was written as one word has the
// path of that.
func (b *ruleBinder) item(path string, i int) string {
	if one := index(path, i); b.at[one] != (place{}) {
		return one
	}
	return path
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
