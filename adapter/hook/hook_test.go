package hook_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"switchboard/adapter/hook"
)

func TestDeliveryQuery(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"https://shop.example/hooks/sms?token=a%20b&token=c": "a b",
		"https://shop.example/hooks/sms":                     "",
		"https://shop.example/%zz?token=x":                   "",
		"inbox:":                                             "",
	} {
		if got := (hook.Delivery{URL: url}).Query().Get("token"); got != want {
			t.Errorf("query of %s has token %q, want %q", url, got, want)
		}
	}
}

func TestTextAnswer(t *testing.T) {
	t.Parallel()
	a := hook.Text(http.StatusAccepted, "text/xml", "<Response/>")
	if a.Status != http.StatusAccepted || a.Header.Get("Content-Type") != "text/xml" || string(a.Body) != "<Response/>" || a.Drop || a.Wake {
		t.Errorf("got %+v", a)
	}
}

func TestRefusedIsUnverifiedAndKeepsItsAnswer(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("verify form: %w", &hook.Refused{Answer: hook.Text(http.StatusUnprocessableEntity, "text/html", "<p>"), Reason: "name is missing"})
	if !errors.Is(err, hook.ErrUnverified) {
		t.Error("a Refused is not ErrUnverified")
	}
	r, ok := errors.AsType[*hook.Refused](err)
	if !ok || r.Answer.Status != http.StatusUnprocessableEntity || err.Error() != "verify form: name is missing" {
		t.Errorf("got %v with %+v", err, r)
	}
	if errors.Is(err, http.ErrServerClosed) {
		t.Error("a Refused is any error")
	}
}
