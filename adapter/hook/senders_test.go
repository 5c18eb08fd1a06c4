package hook_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
)

func TestProofIsOneOfThree(t *testing.T) {
	t.Parallel()
	hmac := hook.HMAC{Header: "X-Signature", Algorithm: "sha256"}
	keyed := hmac
	keyed.Secret = secret.Literal(macKey)
	for _, row := range []struct {
		name  string
		proof hook.Proof
		words string
	}{
		{"none", hook.Proof{HMAC: hmac}, "0 are set"},
		{"two", hook.Proof{Token: secret.Literal("t"), HMAC: keyed}, "2 are set"},
		{"a secret that is not base64", hook.Proof{Secret: secret.Literal("whsec_?"), HMAC: hmac}, "secret: want whsec_"},
		{"no algorithm", hook.Proof{Token: secret.Literal("t")}, "hmac: want"},
		{"one", hook.Proof{Token: secret.Literal("t"), HMAC: hmac}, ""},
	} {
		if err := row.proof.Check(); (err == nil) != (row.words == "") || err != nil && !strings.Contains(err.Error(), row.words) {
			t.Errorf("%s: got %v, want something with %q", row.name, err, row.words)
		}
	}
	good := standard("Webhook", "v1,"+standardMAC)
	good.Header.Set("X-Signature", sha256Hex)
	good.Header.Set("Authorization", "Bearer t")
	for _, proof := range []hook.Proof{{Secret: secret.Literal(standardSecret)}, {Token: secret.Literal("t")}, {HMAC: keyed}} {
		refused(t, proof.Verify(good), true)
		refused(t, proof.Verify(hook.Delivery{Header: http.Header{}, Body: good.Body}), false)
	}
}

func TestStandardID(t *testing.T) {
	t.Parallel()
	for _, names := range []string{"Webhook", "Svix"} {
		if got := hook.StandardID(standard(names, "")); got != standardID {
			t.Errorf("%s: got %q", names, got)
		}
	}
	if got := hook.StandardID(hook.Delivery{}); got != "" {
		t.Errorf("got %q of a delivery without one", got)
	}
}

func TestRefuseAnswersWithItsReason(t *testing.T) {
	t.Parallel()
	err := hook.Refuse(http.StatusMethodNotAllowed, "messages are posted")
	refused(t, err, false)
	if r, ok := errors.AsType[*hook.Refused](err); !ok || r.Answer.Status != http.StatusMethodNotAllowed || string(r.Answer.Body) != r.Reason+"\n" {
		t.Errorf("got %+v", r)
	}
}
