package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"switchboard/internal/record"
	"switchboard/schemas"
)

const root = "../../.."

func TestFilesAreFresh(t *testing.T) {
	t.Parallel()
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		got, err := os.ReadFile(filepath.Join(root, "schemas", name))
		if err != nil {
			t.Errorf("%v; run go generate ./schemas", err)
			continue
		}
		if diff := cmp.Diff(string(files[name]), string(got)); diff != "" {
			t.Errorf("schemas/%s is stale, run go generate ./schemas:\n%s", name, diff)
		}
	}
}

func TestWriteLeavesFreshFilesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, part := range []string{"schemas", "internal/record"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(dir, "schemas", "message.schema.json")
	if err := os.WriteFile(target, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := write(dir); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(root, "schemas", "message.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("a stale file was not written anew")
	}
	if err := write(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder without sources was taken")
	}
}

// TestSchemasHoldForWhatIsWritten encodes filled-in records and validates them.
func TestSchemasHoldForWhatIsWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)
	message := schemas.Message{
		Schema: schemas.Version, ID: "m", Channel: "shop-sms", Kind: "twilio-sms", VendorID: "SM1", Conversation: "+49",
		ReceivedAt: at, Text: "Where is my glider?",
		Requester:   schemas.Requester{Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+49", Evidence: schemas.Attested}}},
		Attachments: []schemas.Attachment{{Name: "a.jpg", Size: 3, Blob: "b"}},
		Fields:      []schemas.Field{{Name: "order", Value: "17"}},
	}
	decision := schemas.Decision{Sink: "desk", Priority: schemas.PriorityHigh, Path: []schemas.RuleRef{{Name: "default", Line: 3}}}
	class := schemas.Classification{Urgency: schemas.UrgencyHigh, Keywords: []schemas.Keyword{{Name: "order", Term: "glider", In: "text"}}}
	job := record.Job{Schema: 1, Message: message, Conv: "c", Version: 1, Class: class, Decision: decision}
	tests := map[string]any{
		"message": message, "classification": class, "decision": decision, "job": job,
		"decided": schemas.Decided{Message: message, Classification: class, Decisions: []schemas.Decision{decision}, At: at},
		"filed": schemas.Filed{
			Message: "m", Sink: "desk", Ticket: schemas.Ref{ID: "7"}, At: at,
			Calls: []schemas.Call{{Op: "create", At: at, Took: time.Second, Outcome: "yes"}},
		},
		"ticket_changed": schemas.TicketChanged{Sink: "desk", Status: schemas.StatusOnHold, Assignee: new("kim"), At: at},
		"letter":         record.Letter{Schema: 1, ID: "x", Stage: "delivery", Job: &job, Body: []byte{0, 255}, At: at},
		"reply_job":      record.ReplyJob{Schema: 1, ID: "r", Reply: schemas.Reply{Key: "k", Text: "Soon."}},
	}
	for name, value := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := validate(t, name, value); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSchemasRefuseWhatIsWrong(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"message":        `{"vendor_id":1,"conversation":"c","requester":{}}`,
		"decision":       `{"path":[]}`,
		"classification": `{"urgency":"panic"}`,
		"filed":          `{"message":"m"}`,
	}
	for name, value := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := validate(t, name, json.RawMessage(value)); err == nil {
				t.Errorf("%s was taken for a %s", value, name)
			}
		})
	}
}

func validate(t *testing.T, name string, value any) error {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "schemas", name+".schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	s.ID = "https://switchboard.example/" + s.ID // the validator wants an absolute one
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(encoded, &plain); err != nil {
		t.Fatal(err)
	}
	return resolved.Validate(plain)
}

func TestEveryFieldOfMessageIsDescribed(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root, "schemas", "message.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	for name, p := range s.Properties {
		if p.Description == "" {
			t.Errorf("%s has no description", name)
		}
	}
}

func TestAsyncAPIHoldsTogether(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join(root, "schemas", "asyncapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	top := doc.Content[0]
	walk(top, func(ref string) {
		if path, ok := strings.CutPrefix(ref, "#/"); ok {
			if at(top, strings.Split(path, "/")...) == nil {
				t.Errorf("%s leads nowhere", ref)
			}
			return
		}
		if _, err := os.Stat(filepath.Join(root, "schemas", ref)); err != nil {
			t.Error(err)
		}
	})
	for _, stream := range []string{"DELIVERIES", "JOBS", "REPLIES", "EVENTS", "DEAD", "TIMERS"} {
		if !strings.Contains(string(b), "title: "+stream+"\n") {
			t.Errorf("stream %s is missing", stream)
		}
	}
	for _, typ := range []schemas.EventType{schemas.EventDecided, schemas.EventFiled, schemas.EventForgotten, schemas.EventHealth} {
		if !strings.Contains(string(b), "const: "+string(typ)+" }") {
			t.Errorf("event %s is missing", typ)
		}
	}
}

// walk calls yield with every reference below n.
func walk(n *yaml.Node, yield func(ref string)) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && c.Value == "$ref" {
			yield(n.Content[i+1].Value)
		}
		walk(c, yield)
	}
}

// at returns the node under the keys, nil for none.
func at(n *yaml.Node, keys ...string) *yaml.Node {
	if len(keys) == 0 {
		return n
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == keys[0] {
			return at(n.Content[i+1], keys[1:]...)
		}
	}
	return nil
}

func TestCamel(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"message.filed": "messageFiled", "alone": "alone"} {
		if got := camel(in); got != want {
			t.Errorf("camel(%q) = %q want %q", in, got, want)
		}
	}
}
