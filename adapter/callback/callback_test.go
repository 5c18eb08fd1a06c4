package callback_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/callback"
	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/rest"
	"switchboard/adapter/secret"
	"switchboard/schemas"
)

func key() secret.Secret {
	return secret.Literal("whsec_" + base64.StdEncoding.EncodeToString([]byte("a key for tests of callbacks")))
}

func file1(name, content string) schemas.File {
	return schemas.File{Key: "sb-f", Name: name, Type: "image/jpeg", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// receiver answers with a status and keeps what came.
func receiver(t *testing.T, status int, answer string) (*callback.Receiver, <-chan hook.Delivery) {
	t.Helper()
	came := make(chan hook.Delivery, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read body: %v", err)
		}
		came <- hook.Delivery{Method: r.Method, URL: r.URL.Path, Header: r.Header, Body: body, ReceivedAt: time.Now()}
		w.Header().Set("Location", "/7")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer) // the caller may be gone
	}))
	t.Cleanup(server.Close)
	to, err := callback.New(server.Client(), server.URL+"/in", key())
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	return to, came
}

func TestPostSignsTheBytesUnderTheID(t *testing.T) {
	t.Parallel()
	to, came := receiver(t, http.StatusOK, `{"id":"7"}`)
	for _, req := range []rest.Request{
		{In: map[string]string{"text": "The spar is bent."}},
		{Body: []byte("as it is"), Type: "text/plain", Header: http.Header{"X-Shop": {"north"}, "Webhook-Id": {"forged"}}},
	} {
		answer, header, err := to.Post(t.Context(), "sb-1", req)
		if err != nil || string(answer) != `{"id":"7"}` || header.Get("Location") != "/7" {
			t.Fatalf("answer %s, header %v, error %v", answer, header, err)
		}
		d := <-came
		if err := hook.StandardWebhook(key().Bytes(), d); err != nil || d.Header.Get("Webhook-Id") != "sb-1" || d.Method != http.MethodPost {
			t.Errorf("%s under %q: %v", d.Method, d.Header.Get("Webhook-Id"), err)
		}
		if kind := d.Header.Get("Content-Type"); req.Type != "" && (kind != req.Type || d.Header.Get("X-Shop") != "north") {
			t.Errorf("type %q, header %v", kind, d.Header)
		}
	}
}

func TestRefusalKeepsItsBody(t *testing.T) {
	t.Parallel()
	to, _ := receiver(t, http.StatusConflict, `{"id":"7"}`)
	answer, _, err := to.Post(t.Context(), "sb-1", rest.Request{In: 1})
	if fault.StatusCode(err) != http.StatusConflict || string(answer) != `{"id":"7"}` {
		t.Errorf("answer %q, error %v, want the body of the 409", answer, err)
	}
}

func TestCallIsNotSigned(t *testing.T) {
	t.Parallel()
	to, came := receiver(t, http.StatusOK, "")
	if _, _, err := to.Call(t.Context(), rest.Request{Method: http.MethodGet}); err != nil {
		t.Fatalf("call: %v", err)
	}
	if d := <-came; d.Method != http.MethodGet || d.URL != "/in" || d.Header.Get("Webhook-Signature") != "" {
		t.Errorf("got %s %s with %v", d.Method, d.URL, d.Header)
	}
}

func TestPostRefusesWhatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	to, came := receiver(t, http.StatusOK, "")
	if _, _, err := to.Post(t.Context(), "sb-1", rest.Request{In: func() {}}); !fault.IsPermanent(err) || len(came) != 0 {
		t.Errorf("%d requests, error %v, want a permanent one and none", len(came), err)
	}
}

func TestNewWantsASecretThatSigns(t *testing.T) {
	t.Parallel()
	public := "whpk_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, value := range []string{"", "hunter2", "whsec_", "whsec_hunter2!", public} {
		if _, err := callback.New(&http.Client{}, "https://desk.example", secret.Literal(value)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%d bytes: error %v, want one that tells no secret", len(value), err)
		}
	}
}

func TestFilesTravelInsideAsFarAsTheyFit(t *testing.T) {
	t.Parallel()
	const most = 1 << 20
	lying := file1("lying.bin", strings.Repeat("x", most))
	lying.Size = 3
	files, err := callback.Pack([]schemas.File{
		file1("a.jpg", "abc"),
		{Name: "huge.mov", Size: most},
		{Name: "lost.pdf", Size: 5, Key: "sb-l"},
		{Name: "over.mov", Size: most, Open: file1("", "").Open},
		lying,
		file1("b.jpg", "de"),
	}, most)
	if err != nil {
		t.Fatal(err)
	}
	want := []callback.File{
		{Key: "sb-f", Name: "a.jpg", Type: "image/jpeg", Size: 3, Data: []byte("abc")},
		{Name: "huge.mov", Size: most, Omitted: "the content is not at hand"},
		{Key: "sb-l", Name: "lost.pdf", Size: 5, Omitted: "the content is not at hand"},
		{Name: "over.mov", Size: most, Omitted: "too large to travel inside the request"},
		{Key: "sb-f", Name: "lying.bin", Type: "image/jpeg", Size: 3, Omitted: "too large to travel inside the request"},
		{Key: "sb-f", Name: "b.jpg", Type: "image/jpeg", Size: 2, Data: []byte("de")},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestUnreadableFileIsNotDone(t *testing.T) {
	t.Parallel()
	gone := errors.New("store is away")
	_, err := callback.Pack([]schemas.File{{Name: "a", Open: func() (io.ReadCloser, error) { return nil, gone }}}, 9)
	if !fault.IsNotDone(err) || !errors.Is(err, gone) {
		t.Errorf("error %v, want the store's, not done", err)
	}
}
