package all_test

import (
	"testing"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/all"
	"switchboard/channels/form"
	"switchboard/channels/webhook"
)

func TestKindsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range all.Kinds() {
		if k.Name() == "" || seen[k.Name()] {
			t.Errorf("the name %q is empty or taken", k.Name())
		}
		seen[k.Name()] = true
	}
	for _, name := range []string{"form", "telegram", "twilio-sms", "webhook"} {
		if !seen[name] {
			t.Errorf("no kind is called %q", name)
		}
	}
}

// TestDefaultsOpen holds what the program serves without a configuration file: a
// form, and a webhook that needs nothing but a token.
func TestDefaultsOpen(t *testing.T) {
	t.Parallel()
	page := *form.Kind.Config().(*form.Config)
	if c, err := form.Kind.Open(page, channels.Env{Name: "website"}); err != nil || c.Account() != "website" {
		t.Errorf("form: %v, error %v", c, err)
	}
	hooked := *webhook.Kind.Config().(*webhook.Config)
	if _, err := webhook.Kind.Open(hooked, channels.Env{Name: "webhook"}); err == nil {
		t.Error("a webhook opens without any proof of its sender")
	}
	hooked.Token = secret.Literal("generated-by-the-host")
	if c, err := webhook.Kind.Open(hooked, channels.Env{Name: "webhook"}); err != nil || c.Account() != "webhook" {
		t.Errorf("webhook: %v, error %v", c, err)
	}
}
