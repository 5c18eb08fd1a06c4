package schemas

// Urgency is what the classifier reads from the text.
type Urgency string

// Urgencies, lowest first.
const (
	UrgencyLow      Urgency = "low"
	UrgencyNormal   Urgency = "normal"
	UrgencyHigh     Urgency = "high"
	UrgencyCritical Urgency = "critical"
)

// Band returns the urgency as a lane band from 0 (low) to 3 (critical); anything
// unknown is 1.
func (u Urgency) Band() int {
	switch u {
	case UrgencyLow:
		return 0
	case UrgencyHigh:
		return 2
	case UrgencyCritical:
		return 3
	default:
		return 1
	}
}

// A Classification is what was read from a message, with its evidence.
type Classification struct {
	// Keywords are the vocabulary entries that matched, in the order of the text.
	Keywords []Keyword `json:"keywords,omitempty"`
	// Category is the class with the most evidence, "" for none.
	Category string  `json:"category,omitempty"`
	Urgency  Urgency `json:"urgency"`
	// Reason says in words why the urgency is what it is.
	Reason string `json:"reason,omitempty"`
}

// Has reports whether the keyword called name matched.
func (c Classification) Has(name string) bool {
	for _, k := range c.Keywords {
		if k.Name == name {
			return true
		}
	}
	return false
}

// A Keyword is one match of a vocabulary entry.
type Keyword struct {
	// Name is the entry's name; Term is the term of it that matched.
	Name string `json:"name"`
	Term string `json:"term"`
	// In is subject or text; Start and End are byte offsets into it.
	In    string `json:"in"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// A Decision is what the rules said about one message for one sink. It is made
// once and stored with the message.
type Decision struct {
	// Sink is the sink's name, or "-" for a message that is dropped for Drop's reason.
	Sink     string   `json:"sink"`
	Drop     string   `json:"drop,omitempty"`
	Queue    string   `json:"queue,omitempty"`
	Assignee string   `json:"assignee,omitempty"`
	Type     string   `json:"type,omitempty"`
	Priority Priority `json:"priority,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Fields   []Field  `json:"fields,omitempty"`
	// Path are the rules that led here, outermost first.
	Path []RuleRef `json:"path"`
}

// A RuleRef names a rule and where it stands.
type RuleRef struct {
	Name string `json:"name"`
	// Line is the line of the rules file, from 1.
	Line int `json:"line"`
	// Why says which of the rule's conditions held, in words.
	Why string `json:"why,omitempty"`
}

// An Actor is who did something: a person, a rule, or the program itself.
type Actor struct {
	// Name is the person's login, the rule's name, or "switchboard".
	Name string `json:"name"`
	// Role is admin, agent, viewer, rule, vendor or system.
	Role string `json:"role"`
	// Source is console, cli, api, rules or pipeline.
	Source string `json:"source,omitempty"`
}

// System is the actor of what happens by itself.
var System = Actor{Name: "switchboard", Role: "system"}
