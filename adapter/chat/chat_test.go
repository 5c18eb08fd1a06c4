package chat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/chat"
	"switchboard/adapter/jsonpath"
	"switchboard/schemas"
)

// shape is a made-up vendor's.
func shape() chat.Shape {
	return chat.Shape{
		ID: "{room}:{id}", Conversation: "{room}", ReplyTo: "{room}:{answers}", Group: "{album}", SentAt: "at",
		Identity: "kite", Person: "by.id", Names: []string{"{by.first} {by.last}", "{by.nick}"}, Locale: "by.lang",
		Phone: "card.number", Owner: "card.of",
		Text: []string{"{text}", "Card: {card.name} {card.number}", "Place: {place.lat} {place.lon}", "Poll: {poll.ask}", "- {poll.options.*.text} ({poll.options.*.votes})"},
		Files: chat.Files{
			Kinds: []string{"photo", "video", "document", "sticker"}, Ref: "id", Name: "name", Type: "type", Size: "bytes",
			Most: 100, TooLarge: "larger than 100 bytes",
		},
	}
}

func read(body string) schemas.Message { return shape().Read(jsonpath.Open(json.RawMessage(body))) }

func TestReadMapsTheWholeMessage(t *testing.T) {
	t.Parallel()
	got := read(`{"room":5,"id":7300000000017,"answers":"a1","album":"x","at":1773480000,"text":"two\n lines",
		"by":{"id":9,"first":"Ines","last":"Falk","nick":"ines","lang":"de"}}`)
	want := schemas.Message{
		VendorID: "5:7300000000017", Conversation: "5", ReplyTo: "5:a1", Group: "x", SentAt: time.Unix(1773480000, 0).UTC(), Text: "two\n lines",
		Requester: schemas.Requester{
			Name: "Ines Falk", Locale: "de", Identities: []schemas.Identity{{Kind: "kite", Value: "9", Evidence: schemas.Attested}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

func TestAnIDWithoutAllItsPartsIsNone(t *testing.T) {
	t.Parallel()
	m := read(`{"room":5,"by":{"id":9,"nick":"ines"},"id":{"no":"id"}}`)
	if m.VendorID != "" || m.ReplyTo != "" || m.Conversation != "5" || m.Requester.Name != "ines" {
		t.Errorf("got %+v, want neither id nor reply", m)
	}
}

func TestLinesForWhatIsNoText(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, body, want string }{
		{"nothing", `{}`, ""},
		{"card", `{"card":{"name":" Bela\nBo ","number":"+4915510000099"}}`, "Card: Bela Bo +4915510000099"},
		{"place", `{"text":"here","place":{"lat":52.5163,"lon":13.3777}}`, "here\nPlace: 52.5163 13.3777"},
		{"no place", `{"place":{"lat":0,"lon":0}}`, ""},
		{"list", `{"poll":{"ask":"Which glue?","options":[{"text":"CA","votes":2},{"text":"Epoxy"},{}]}}`, "Poll: Which glue?\n- CA (2)\n- Epoxy ()"},
		{"text in braces", `{"text":"{id}"}`, "{id}"},
		{"zero is a text", `{"text":"0"}`, "0"},
	} {
		if got := read(row.body).Text; got != row.want {
			t.Errorf("%s: got %q want %q", row.name, got, row.want)
		}
	}
}

func TestOwnNumberIsAnIdentity(t *testing.T) {
	t.Parallel()
	for owner, want := range map[string]schemas.Evidence{"9": schemas.Attested, "0": schemas.Asserted, `""`: schemas.Asserted, "8": ""} {
		ids := read(`{"by":{"id":9},"card":{"number":"4915510000017","of":` + owner + `}}`).Requester.Identities
		var got schemas.Evidence
		if len(ids) == 2 && ids[1].Value == "+4915510000017" {
			got = ids[1].Evidence
		}
		if got != want {
			t.Errorf("a card of %s: %+v, want the number %q", owner, ids, want)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	got := read(`{"photo":[{"id":"small"},{"id":"large","bytes":99}],"video":{"id":"v","bytes":101,"name":"../a/loop.mp4"},
		"document":{"id":"v"},"sticker":{"id":"s","type":"image/webp","bytes":-1},"audio":"none"}`).Attachments
	want := []schemas.Attachment{
		{Name: "photo.jpg", Type: "image/jpeg", Size: 99, Ref: "large"},
		{Name: "loop.mp4", Type: "video/mp4", Size: 101, Missing: "larger than 100 bytes"},
		{Name: "sticker", Type: "image/webp", Ref: "s"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestUsualNames(t *testing.T) {
	t.Parallel()
	s := chat.Shape{Files: chat.Files{Kinds: []string{"audio", "voice", "image", "plan"}, Ref: "id"}}
	var got []string
	for _, a := range s.Read(jsonpath.Open(json.RawMessage(`{"audio":{"id":1},"voice":{"id":2},"image":{"id":3},"plan":{"id":4}}`))).Attachments {
		got = append(got, a.Name+" "+a.Type)
	}
	if diff := cmp.Diff([]string{"audio.mp3 audio/mpeg", "voice.ogg audio/ogg", "image.jpg image/jpeg", "plan "}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestEditedReplacesTheFirst(t *testing.T) {
	t.Parallel()
	m := chat.Edited(schemas.Message{VendorID: "5:1"}, "1773480300")
	if m.Edits != "5:1" || m.VendorID != "5:1:1773480300" || m.SentAt.Unix() != 1773480300 {
		t.Errorf("got %+v", m)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"room":5,"id":7,"text":"hi","by":{"id":9},"poll":{"options":[{"text":"CA"}]},"photo":[{"id":"p"}]}`))
	f.Add([]byte(`{"poll":{"options":{"*":1}},"photo":[[]],"at":"x"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := shape().Read(jsonpath.Open(body))
		if len(m.Requester.Identities) == 0 {
			t.Fatal("nobody wrote it")
		}
		for _, a := range m.Attachments {
			if a.Ref == "" && a.Missing == "" || strings.ContainsAny(a.Name, "/\x00") {
				t.Fatalf("attachment %+v", a)
			}
		}
	})
}
