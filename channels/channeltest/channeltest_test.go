package channeltest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// config configures a channel that exists for these tests only. Flaw makes it
// break one promise.
type config struct {
	Secret  secret.Secret `yaml:"secret"`
	BaseURL string        `yaml:"base_url"`
	Flaw    string        `yaml:"flaw"`
}

type channel struct {
	cfg config
	api *rest.Client
	mu  sync.Mutex
	n   int
}

func kind() channels.Kind {
	return channels.Define("test", config{}, func(c config, env channels.Env) (channels.Channel, error) {
		return &channel{cfg: c, api: rest.New(env.HTTP, c.BaseURL)}, nil
	}, channels.Traits[config]{
		Reply: channels.Idempotent,
		Sign: func(c config, d *hook.Delivery) {
			if err := hook.SignStandardWebhook(c.Secret.Bytes(), "m1", d); err != nil {
				panic(err)
			}
		},
		Sample: func(_ config, s channels.Sample) hook.Delivery {
			body, err := json.Marshal(event{ID: s.ID, Chat: s.From, Text: s.Text})
			if err != nil {
				panic(err)
			}
			return hook.Delivery{Method: http.MethodPost, Body: body}
		},
		Fake: func(config, *sandbox.Board) sandbox.Fake { return &fake{} },
	})
}

type event struct {
	ID, Chat, From, Text, Event string
	File                        []byte
}

func (c *channel) Account() string { return "shop" }

func (c *channel) Check(ctx context.Context) error { return c.api.Get(ctx, "/me", nil) }

func (c *channel) Verify(_ context.Context, d hook.Delivery) error {
	if c.cfg.Flaw == "open" {
		return nil
	}
	return hook.StandardWebhook(c.cfg.Secret.Bytes(), d)
}

func (c *channel) Answer(hook.Delivery) hook.Answer { return hook.OK }

func (c *channel) Parse(d hook.Delivery) (channels.Parsed, error) {
	var e event
	if err := json.Unmarshal(d.Body, &e); err != nil {
		if c.cfg.Flaw == "plain" {
			return channels.Parsed{}, err
		}
		return channels.Parsed{}, fault.Permanentf("decode event: %w", err)
	}
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	switch c.cfg.Flaw {
	case "counts":
		e.Text = fmt.Sprint(n)
	case "leaks":
		e.Text = c.cfg.Secret.Reveal()
	case "silent":
		return channels.Parsed{}, nil
	}
	if e.ID == "" || e.Chat == "" {
		return channels.Parsed{Ignored: "unknown event"}, nil
	}
	m := schemas.Message{VendorID: e.ID, Conversation: e.Chat, Text: e.Text}
	if e.From != "" {
		m.Requester.Identities = []schemas.Identity{{Kind: schemas.Email, Value: e.From, Evidence: schemas.Asserted}}
	}
	if len(e.File) > 0 {
		m.Attachments = []schemas.Attachment{{Name: "file", Data: e.File}}
	}
	if c.cfg.Flaw == "stamps" {
		m.Kind = "test"
	}
	return channels.Parsed{Messages: []schemas.Message{m}}, nil
}

func (c *channel) Send(ctx context.Context, r schemas.Reply) (schemas.Receipt, error) {
	var sent struct{ ID string }
	err := c.api.Post(ctx, "/messages", r, &sent)
	if c.cfg.Flaw == "optimist" {
		return schemas.Receipt{ID: "x", State: schemas.Sent}, nil
	}
	if c.cfg.Flaw == "pessimist" && err != nil {
		return schemas.Receipt{}, fault.Permanent(err)
	}
	return schemas.Receipt{ID: sent.ID, State: schemas.Sent}, err
}

func (c *channel) Sent(ctx context.Context, r schemas.Reply) (schemas.Receipt, bool, error) {
	var sent []sandbox.Sent
	err := c.api.Get(ctx, "/messages", &sent)
	for _, s := range sent {
		if s.ID == r.Key {
			return schemas.Receipt{ID: s.ID, State: schemas.Sent}, true, nil
		}
	}
	return schemas.Receipt{}, false, err
}

func (c *channel) Poll(ctx context.Context, cursor string) (hook.Page, error) {
	var body json.RawMessage
	if err := c.api.Get(ctx, "/me", &body); err != nil {
		return hook.Page{}, err
	}
	return hook.Page{Next: cursor, Deliveries: []hook.Delivery{{Via: hook.ViaPoll, Body: body}}}, nil
}

type fake struct {
	mu   sync.Mutex
	sent []sandbox.Sent
}

func (f *fake) Settings(base string) map[string]string {
	return map[string]string{"base_url": base, "secret": "vendor-secret"}
}

func (f *fake) Sent() []sandbox.Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]sandbox.Sent(nil), f.sent...)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer any = struct{}{}
	switch r.Method + " " + r.URL.Path {
	case "GET /messages":
		answer = f.sent
	case "POST /messages":
		var in schemas.Reply
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		answer = struct{ ID string }{in.Key}
		for _, s := range f.sent {
			if s.ID == in.Key {
				in.Key = ""
			}
		}
		if in.Key != "" {
			f.sent = append(f.sent, sandbox.Sent{ID: in.Key, Conversation: in.Conversation, Text: in.Text})
		}
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller is gone
}

func good() config {
	return config{Secret: secret.Literal("a-secret-of-the-shop"), BaseURL: "http://127.0.0.1:1"}
}

func TestRunAcceptsAChannelThatKeepsItsPromises(t *testing.T) { Run(t, kind(), good()) }

func FuzzDemo(f *testing.F) { FuzzParse(f, kind(), good()) }

// recorder keeps what a check reports instead of failing.
type recorder struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Error(args ...any) {
	r.Errorf("%s", fmt.Sprint(args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestRunFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	table := []struct{ flaw, want string }{
		{"open", "want an ErrUnverified"},
		{"counts", "parse answers differently"},
		{"leaks", "a secret of the configuration is in what Parse returns"},
		{"silent", "holds something or says why not"},
		{"stamps", "are the host's to stamp"},
		{"plain", "must be permanent"},
		{"optimist", "401: got <nil>"},
		{"pessimist", "leaves open whether it was"},
	}
	for _, row := range table {
		t.Run(row.flaw, func(t *testing.T) {
			t.Parallel()
			cfg := good()
			cfg.Flaw = row.flaw
			ch, err := kind().Open(cfg, Env(nil))
			if err != nil {
				t.Fatal(err)
			}
			s := &suite{kind: kind(), cfg: cfg, traits: kind().Traits(), ch: ch, secrets: secretsOf(cfg), cases: readCases(t, "testdata")}
			r := &recorder{TB: t}
			s.verify(r, ch.(hook.Webhook))
			s.garbage(r)
			for _, c := range s.cases {
				_, _ = s.parse(r, s.signed(c))
			}
			if row.flaw == "optimist" {
				b := s.bench(t)
				b.faults(r, func(ctx context.Context, ch channels.Channel) error {
					_, err := ch.(channels.Sender).Send(ctx, schemas.Reply{Key: "k"})
					return err
				})
			}
			if row.flaw == "pessimist" {
				s.vendorLostAnswer(r)
			}
			if said := strings.Join(r.said, "\n"); !strings.Contains(said, row.want) {
				t.Errorf("the suite said\n%s\nwant something with %q", said, row.want)
			}
		})
	}
}

func TestReadCaseRefusesWhatIsNoCase(t *testing.T) {
	t.Parallel()
	table := map[string]string{
		"-- delivery.http --\nPOST / HTTP/1.1\n": "does not say what it shows",
		"Text.\n":                                "delivery.http is missing",
		"Text.\n-- wanted.json --\n{}\n":         "unknown section",
		"Text.\n-- delivery.http --\nhello\n":    "request line",
		"Text.\n-- delivery.http --\nPOST /x HTTP/1.1\nX-Sb-Body: base64\n\n~\n": "decode body",
	}
	for text, want := range table {
		path := filepath.Join(t.TempDir(), "case.txtar")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readCase(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want something with %q", text, err, want)
		}
	}
}

func TestReadDeliveryMakesMultipartOfLines(t *testing.T) {
	t.Parallel()
	d, err := readDelivery([]byte("POST /x?a=1 HTTP/1.1\nContent-Type: multipart/form-data; boundary=b\nX-Two: 1\nX-Two: 2\n\n--b\nX: y\n\nz\n--b--\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(d.Body), "--b\r\nX: y\r\n\r\nz\r\n--b--\r\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	if got, want := d.URL, "https://intake.shop.example/x?a=1"; got != want {
		t.Errorf("URL %q, want %q", got, want)
	}
	if diff := cmp.Diff([]string{"1", "2"}, d.Header["X-Two"]); diff != "" {
		t.Errorf("repeated header (-want +got):\n%s", diff)
	}
	if got := headText(d.Header); cmp.Diff(d.Header, readHead(got)) != "" {
		t.Errorf("head %q reads back as %v", got, readHead(got))
	}
}

func TestUpdateRewritesTheWantedPart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "case.txtar")
	text := "A case.\n-- delivery.http --\nPOST /x HTTP/1.1\n\n{}\n-- want.json --\n{\"ignored\": \"old\"}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readCase(path)
	if err != nil {
		t.Fatal(err)
	}
	c.rewrite(t, view{Ignored: "new & better"})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "A case.\n-- delivery.http --\nPOST /x HTTP/1.1\n\n{}\n-- want.json --\n{\n  \"ignored\": \"new & better\"\n}\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("case (-want +got):\n%s", diff)
	}
}

func TestConfigureSetsNestedKeys(t *testing.T) {
	t.Parallel()
	type nested struct {
		On   bool          `yaml:"on"`
		Auth secret.Secret `yaml:"auth,omitempty"`
	}
	type outer struct {
		Inner nested `yaml:"inner"`
	}
	got := configure(t, outer{}, map[string]string{"inner.on": "true", "inner.auth": "abcdef"}).(outer)
	if !got.Inner.On || got.Inner.Auth.Reveal() != "abcdef" {
		t.Errorf("configured on=%v, auth set: %v", got.Inner.On, !got.Inner.Auth.IsZero())
	}
	if found := secretsOf(&got); len(found) != 1 {
		t.Errorf("found %d secrets, want 1", len(found))
	}
	list := struct{ All []nested }{All: []nested{{Auth: secret.Literal("ghijkl")}}}
	if found := secretsOf(list); len(found) != 1 {
		t.Errorf("found %d secrets in a list, want 1", len(found))
	}
	if found := secretsOf(struct{ M map[string]secret.Secret }{map[string]secret.Secret{"a": secret.Literal("mnopqr")}}); len(found) != 1 {
		t.Errorf("found %d secrets in a map, want 1", len(found))
	}
}
