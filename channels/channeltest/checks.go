package channeltest

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/schemas"
)

// parse calls Parse as the host may: more than once, and at once. It checks all
// that holds for every delivery, then returns what Parse returned.
func (s *suite) parse(t testing.TB, d hook.Delivery) (channels.Parsed, error) {
	t.Helper()
	before := clone(d)
	type outcome struct {
		parsed channels.Parsed
		err    error
	}
	var out [3]outcome
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() { out[i].parsed, out[i].err = s.ch.Parse(d) })
	}
	wg.Wait()
	if after := clone(d); !reflect.DeepEqual(before, after) {
		t.Errorf("parse changed the delivery (-before +after):\n%s", cmp.Diff(before, after))
	}
	first := out[0]
	for _, o := range out[1:] {
		if !reflect.DeepEqual(first.parsed, o.parsed) {
			t.Errorf("parse answers differently (-one +another):\n%s", cmp.Diff(viewOf(first.parsed), viewOf(o.parsed)))
		}
		if (first.err == nil) != (o.err == nil) || (o.err != nil && first.err.Error() != o.err.Error()) {
			t.Errorf("parse fails differently: %v and %v", first.err, o.err)
		}
	}
	s.checkSecrets(t, "the error of Parse", first.err)
	if first.err != nil {
		if !fault.IsPermanent(first.err) {
			t.Errorf("parse is pure, so its error must be permanent: %v", first.err)
		}
		return first.parsed, first.err
	}
	s.checkParsed(t, first.parsed)
	return first.parsed, nil
}

func (s *suite) checkParsed(t testing.TB, p channels.Parsed) {
	t.Helper()
	if (len(p.Messages)+len(p.Receipts) == 0) != (p.Ignored != "") {
		t.Errorf("%d messages, %d receipts and ignored %q: a delivery holds something or says why not",
			len(p.Messages), len(p.Receipts), p.Ignored)
	}
	seen := map[string]bool{}
	for _, m := range p.Messages {
		if seen[m.VendorID] {
			t.Errorf("two messages of one delivery have the vendor id %q", m.VendorID)
		}
		seen[m.VendorID] = true
		checkMessage(t, m)
	}
	for _, r := range p.Receipts {
		if r.ID == "" || r.State == "" {
			t.Errorf("a receipt lacks id or state: %+v", r)
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Errorf("encode parsed: %v", err)
	}
	for _, value := range s.secrets {
		if strings.Contains(string(b), value) {
			t.Error("a secret of the configuration is in what Parse returns")
		}
	}
}

func checkMessage(t testing.TB, m schemas.Message) {
	t.Helper()
	if m.VendorID == "" || m.Conversation == "" {
		t.Errorf("vendor id %q, conversation %q: neither may be empty", m.VendorID, m.Conversation)
	}
	if m.ID != "" || m.Channel != "" || m.Kind != "" || m.Schema != 0 || !m.ReceivedAt.IsZero() {
		t.Error("id, channel, kind, schema and received_at are the host's to stamp")
	}
	if !m.SentAt.IsZero() && m.SentAt.Location() != time.UTC {
		t.Errorf("sent_at is in %s, want UTC", m.SentAt.Location())
	}
	if strings.ContainsAny(m.Subject, "\r\n") {
		t.Error("the subject has more than one line")
	}
	for _, text := range []string{m.VendorID, m.Conversation, m.Subject, m.Text, m.HTML, m.Requester.Name} {
		if !utf8.ValidString(text) {
			t.Errorf("%q is not UTF-8", text)
		}
	}
	for _, id := range m.Requester.Identities {
		if id.Kind == "" || id.Value == "" || id.Evidence == "" {
			t.Errorf("an identity lacks kind, value or evidence: %+v", id)
		}
	}
	for _, a := range m.Attachments {
		if strings.ContainsAny(a.Name, `/\`) || strings.ContainsFunc(a.Name, unicode.IsControl) || len(a.Name) > 150 {
			t.Errorf("attachment name %q is not a base name of at most 150 bytes", a.Name)
		}
		if len(a.Data) > 0 && a.Ref != "" {
			t.Errorf("attachment %q has both data and a reference", a.Name)
		}
	}
}

// sample checks that the traffic sandbox and demo make is the vendor's.
func (s *suite) sample(t testing.TB) {
	if s.traits.Sample == nil {
		t.Skip("the kind makes no samples")
	}
	texts := []string{"Where is my order 1234?", "Ünïcode — 模型飞机 ✈️\nsecond line", `quotes " and \ and <b>&amp;`}
	ids := map[string]bool{}
	for i, text := range texts {
		from := channels.Sample{
			ID: "7000" + string(rune('1'+i)), From: "+4915510000017", Name: "Ines Falk",
			Subject: "Petrel kit", Text: text, At: Received(),
		}
		d := s.traits.Sample(s.cfg, from)
		d.ReceivedAt, d.Via = Received(), hook.ViaWebhook
		d = clone(d)
		if d.URL == "" {
			d.URL = Public
		}
		if s.traits.Sign != nil {
			s.traits.Sign(s.cfg, &d)
		}
		if hooked, ok := s.ch.(hook.Webhook); ok {
			if err := hooked.Verify(t.Context(), clone(d)); err != nil {
				t.Fatalf("verify refuses a signed sample: %v", err)
			}
		}
		p, err := s.parse(t, d)
		if err != nil || len(p.Messages) != 1 {
			t.Fatalf("a sample parsed to %d messages, error %v, want one message", len(p.Messages), err)
		}
		m := p.Messages[0]
		if got, want := m.Text, text; strings.TrimSpace(strings.ReplaceAll(got, "\r\n", "\n")) != want {
			t.Errorf("the text of a sample is %q, want %q", got, want)
		}
		if ids[m.VendorID] {
			t.Errorf("two samples have the vendor id %q", m.VendorID)
		}
		ids[m.VendorID] = true
	}
}

// verify checks that nothing unproven gets in.
func (s *suite) verify(t testing.TB, hooked hook.Webhook) {
	odd := []http.Header{
		nil,
		{},
		{"X-Odd": {"\xff\x00", strings.Repeat("a", 1<<16)}, "Content-Type": {"multipart/form-data"}},
		{"Authorization": {"Bearer"}, "Content-Type": {"\x00;;="}, "Content-Length": {"-1"}},
	}
	for _, c := range s.cases {
		if c.delivery.Via != hook.ViaWebhook || c.unsigned || s.traits.Sign == nil {
			continue
		}
		if _, refused := c.section("refused"); refused {
			continue
		}
		good := s.signed(c)
		for _, h := range odd {
			d := clone(c.delivery)
			d.Header = h
			s.mustRefuse(t, hooked, d, c.name+": with odd headers")
		}
		s.mustRefuse(t, hooked, clone(c.delivery), c.name+": unsigned")
		s.forge(t, hooked, c, good)
		if s.coversBody(c) {
			d := clone(good)
			d.Body[len(d.Body)/2] ^= 1
			s.mustRefuse(t, hooked, d, c.name+": with an altered body")
		}
		if s.coversTime(c) {
			d := clone(good)
			d.ReceivedAt = d.ReceivedAt.Add(24 * time.Hour)
			s.mustRefuse(t, hooked, d, c.name+": a day old")
		}
	}
}

// forge alters one by one the headers and the address that Sign set.
func (s *suite) forge(t testing.TB, hooked hook.Webhook, c testCase, good hook.Delivery) {
	t.Helper()
	for name, values := range good.Header {
		if reflect.DeepEqual(values, c.delivery.Header[name]) || name == "Content-Type" {
			continue
		}
		for _, value := range []string{flip(values[0]), "", "\xff\x00", strings.Repeat("a", 1<<16), "v1,,", "="} {
			d := clone(good)
			d.Header[name] = []string{value}
			s.mustRefuse(t, hooked, d, c.name+": with a forged "+name)
		}
		if s.holdsSecret(values[0]) && !containsFold(s.traits.Secrets, name) {
			t.Errorf("header %s carries a secret, but is not in the trait Secrets", name)
		}
	}
	if good.URL != c.delivery.URL {
		d := clone(good)
		last := len(good.URL) - 1 // secrets end an address, as parameter or path
		d.URL = good.URL[:last] + flip(good.URL[last:])
		s.mustRefuse(t, hooked, d, c.name+": with a forged address")
		if s.holdsSecret(good.URL) && len(s.traits.SecretParams) == 0 {
			t.Error("the address carries a secret, but the trait SecretParams is empty")
		}
	}
}

func (s *suite) mustRefuse(t testing.TB, hooked hook.Webhook, d hook.Delivery, what string) {
	t.Helper()
	err := hooked.Verify(t.Context(), d)
	s.checkSecrets(t, "the error of Verify", err)
	if s.traits.Form { // open to the public: it must not panic, no more
		return
	}
	if !errors.Is(err, hook.ErrUnverified) {
		t.Errorf("%s: verify returned %v, want an ErrUnverified", what, err)
	}
}

// coversBody reports whether the vendor's proof depends on the body.
func (s *suite) coversBody(c testCase) bool {
	if len(c.delivery.Body) == 0 {
		return false
	}
	other := c
	other.delivery = clone(c.delivery)
	other.delivery.Body[len(other.delivery.Body)/2] ^= 1
	return s.proofDiffers(c, other)
}

// coversTime reports whether the vendor's proof depends on the time.
func (s *suite) coversTime(c testCase) bool {
	other := c
	other.delivery = clone(c.delivery)
	other.delivery.ReceivedAt = c.delivery.ReceivedAt.Add(24 * time.Hour)
	return s.proofDiffers(c, other)
}

func (s *suite) proofDiffers(a, b testCase) bool {
	one, two := s.signed(a), s.signed(b)
	return one.URL != two.URL || !reflect.DeepEqual(one.Header, two.Header)
}

// garbage feeds the heads of the cases with bodies that no vendor sends.
func (s *suite) garbage(t testing.TB) {
	bodies := []string{
		"", "\x00", "\xff\xfe\xfd", "null", "[]", "{}", `""`, "0", "{", "[[[[[[", `{"a":`, "%zz=%", "&&&=", "a=1&a=2",
		`{"id":null,"message":{},"messages":[null,{},7,"x"],"data":[],"events":[{}],"entry":[{"changes":[{}]}]}`,
		"--x\r\n\r\n", strings.Repeat("a", 1<<16), strings.Repeat(`{"a":`, 20000), "\U0001F6E9️=مرحبا&ß=", "<xml/>",
	}
	for _, c := range s.cases {
		for _, body := range bodies {
			d := clone(c.delivery)
			d.Body = []byte(body)
			_, _ = s.parse(t, d) // its own checks are the property
			d.Header = nil
			_, _ = s.parse(t, d)
		}
	}
}

// flip changes one character in the middle, so that no padding and no case
// folding hides it.
func flip(s string) string {
	if s == "" {
		return "0"
	}
	b := []byte(s)
	i := len(b) / 2
	if b[i] == '0' {
		b[i] = '1'
	} else {
		b[i] = '0'
	}
	return string(b)
}

func containsFold(list []string, name string) bool {
	for _, s := range list {
		if strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}

func (s *suite) holdsSecret(text string) bool {
	for _, value := range s.secrets {
		if strings.Contains(text, value) {
			return true
		}
	}
	return false
}

func (s *suite) checkSecrets(t testing.TB, where string, err error) {
	t.Helper()
	if err != nil && s.holdsSecret(err.Error()) {
		t.Errorf("%s holds a secret of the configuration", where)
	}
}

// secretsOf collects every secret in a configuration that is long enough not to
// appear by chance.
func secretsOf(cfg any) []string {
	var found []string
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		if v.Type() == reflect.TypeFor[secret.Secret]() {
			if value := v.Interface().(secret.Secret).Reveal(); len(value) >= 6 {
				found = append(found, value)
			}
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				if v.Type().Field(i).IsExported() {
					walk(v.Field(i))
				}
			}
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for _, key := range v.MapKeys() {
				walk(v.MapIndex(key))
			}
		default:
		}
	}
	walk(reflect.ValueOf(cfg))
	return found
}
