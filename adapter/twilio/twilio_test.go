package twilio_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/secret"
	"switchboard/adapter/twilio"
	"switchboard/schemas"
)

func account(base string) twilio.Account {
	return twilio.Account{
		AccountSID: "AC5b000000000000000000000000000001", AuthToken: secret.Literal("new"), PreviousAuthToken: secret.Literal("old"), BaseURL: base,
	}
}

// vendor answers every call with a status and a body.
func vendor(t *testing.T, status int, body string) *twilio.Client {
	t.Helper()
	a := account("")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != a.AccountSID || password != "new" {
			t.Errorf("asked as %q", user)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the caller may be gone
	}))
	t.Cleanup(server.Close)
	a.BaseURL = server.URL
	return twilio.New(server.Client(), a)
}

func TestCheckReadsTheAccount(t *testing.T) {
	t.Parallel()
	c := vendor(t, http.StatusOK, `{"sid":"AC5b000000000000000000000000000001","status":"active"}`)
	if err := c.Check(t.Context()); err != nil || c.Account() != account("").AccountSID {
		t.Errorf("account %q, error %v", c.Account(), err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name            string
		status          int
		body            string
		permanent, auth bool
	}{
		{"wrong token", http.StatusUnauthorized, `{"code":20003,"message":"Authenticate"}`, false, true},
		{"account not allowed", http.StatusForbidden, `{"code":20403,"message":"Forbidden"}`, false, true},
		{"without a code", http.StatusForbidden, `no`, false, true},
		{"region not allowed", http.StatusForbidden, `{"code":21408,"message":"Permission"}`, true, false},
		{"recipient opted out", http.StatusBadRequest, `{"code":21610,"message":"Unsubscribed"}`, true, false},
		{"broken", http.StatusInternalServerError, ``, false, false},
	} {
		err := vendor(t, row.status, row.body).Check(t.Context())
		if err == nil || fault.IsPermanent(err) != row.permanent || fault.IsAuth(err) != row.auth {
			t.Errorf("%s: %v, permanent %v, auth %v", row.name, err, fault.IsPermanent(err), fault.IsAuth(err))
		}
	}
}

func TestFetchReadsOnlyFromTheAPI(t *testing.T) {
	t.Parallel()
	c := vendor(t, http.StatusOK, "a voicemail")
	r, err := c.Fetch(t.Context(), twilio.Version+"Accounts/AC1/Recordings/RE1")
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "a voicemail" {
		t.Errorf("got %q, error %v", b, err)
	}
	if _, err := c.Fetch(t.Context(), "@evil.example/"); !fault.IsPermanent(err) {
		t.Errorf("got %v of a reference that is not Twilio's", err)
	}
}

func TestVerifyTakesBothTokens(t *testing.T) {
	t.Parallel()
	c := twilio.New(&http.Client{}, account(""))
	for token, want := range map[string]bool{"new": true, "old": true, "older": false, "": false} {
		d := hook.Delivery{URL: "https://intake.shop.example/hooks/sms", Body: []byte("From=%2B49155"), Header: http.Header{}}
		twilio.Sign([]byte(token), &d)
		if err := c.Verify(t.Context(), d); (err == nil) != want {
			t.Errorf("%q: %v, want it accepted: %v", token, err, want)
		}
	}
}

func TestReadFindsTheForm(t *testing.T) {
	t.Parallel()
	const address = "https://intake.shop.example/hooks/sms?From=query"
	for _, row := range []struct{ name, method, kind, body, want string }{
		{"a form", http.MethodPost, "application/x-www-form-urlencoded", "From=b%C3%B6dy", "bödy"},
		{"not UTF-8", http.MethodPost, "application/x-www-form-urlencoded", "From=b%FFdy", "b\uFFFDdy"},
		{"GET", http.MethodGet, "", "", "query"},
		{"JSON", http.MethodPost, "application/json", "{%zz", "query"},
	} {
		f, err := twilio.Read(hook.Delivery{Method: row.method, URL: address, Header: http.Header{"Content-Type": {row.kind}}, Body: []byte(row.body)})
		if err != nil || f.Get("From") != row.want {
			t.Errorf("%s: got %q, error %v, want %q", row.name, f.Get("From"), err, row.want)
		}
	}
	if _, err := twilio.Read(hook.Delivery{Method: http.MethodPost, Body: []byte("From=%zz")}); !fault.IsPermanent(err) {
		t.Errorf("got %v of a body that is no form, want a permanent error", err)
	}
}

func TestMediaIsSortedByPath(t *testing.T) {
	t.Parallel()
	form := url.Values{
		"MediaUrl0": {"https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME2"}, "MediaContentType0": {"audio/x-wav"},
		"MediaUrl1": {"https://mms.twiliocdn.example/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1"}, "MediaContentType1": {"image/jpeg"},
		"MediaUrl3": {"https://api.twilio.com/2010-04-01/after/a/gap"},
	}
	f, err := twilio.Read(hook.Delivery{Method: http.MethodPost, Body: []byte(form.Encode())})
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.Attachment{
		{Ref: "/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1", Name: "ME1.jpeg", Type: "image/jpeg"},
		{Ref: "/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME2", Name: "ME2.wav", Type: "audio/x-wav"},
	}
	if diff := cmp.Diff(want, f.Media()); diff != "" {
		t.Errorf("media (-want +got):\n%s", diff)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ in, address, phone string }{
		{"+49 (155) 1000-0017", "+4915510000017", "+4915510000017"},
		{"whatsapp:+4915510000017", "whatsapp:+4915510000017", "+4915510000017"},
		{"72345", "72345", ""},
		{"SHOP|x", "SHOPx", ""},
		{"+4915510O0017", "+4915510O0017", ""},
	} {
		a := twilio.Address(row.in)
		if a != row.address || twilio.Phone(a) != row.phone {
			t.Errorf("%s: address %q, phone %q", row.in, a, twilio.Phone(a))
		}
		id := twilio.Requester(a, "Ines").Identities[0]
		if want := (schemas.Identity{Kind: schemas.Phone, Value: row.phone, Evidence: schemas.Attested}); row.phone != "" && id != want {
			t.Errorf("%s: identity %+v", row.in, id)
		}
		if row.phone == "" && (id.Kind != "twilio" || id.Value != a) {
			t.Errorf("%s: identity %+v, want Twilio's", row.in, id)
		}
	}
	if twilio.Text(nil) != "" || twilio.Text(new("x")) != "x" {
		t.Error("text of the SDK's pointers")
	}
}

func FuzzMedia(f *testing.F) {
	f.Add("NumMedia=1&MediaUrl0=https%3A%2F%2Fapi.twilio.com%2F2010-04-01%2Fx&MediaContentType0=image%2Fjpeg")
	f.Add("MediaUrl0=%00&MediaContentType0=%FF")
	f.Fuzz(func(t *testing.T, body string) {
		form, err := twilio.Read(hook.Delivery{Method: http.MethodPost, Body: []byte(body)})
		if err != nil {
			return
		}
		for _, a := range form.Media() {
			if a.Ref == "" || len(a.Name) > 150 {
				t.Fatalf("attachment %+v", a)
			}
		}
	})
}
