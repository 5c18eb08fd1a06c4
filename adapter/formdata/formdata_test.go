package formdata

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"switchboard/schemas"
)

func read(t *testing.T, kind, body string) *Form {
	t.Helper()
	f, err := Read(kind, []byte(body), "message")
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return f
}

func TestReadKeepsOrderAndRepetitions(t *testing.T) {
	t.Parallel()
	want := []schemas.Field{{Name: "b", Value: "1"}, {Name: "a", Value: "x\ny"}, {Name: "b", Value: "2"}}
	table := map[string]string{
		"application/x-www-form-urlencoded": "b=1&a=x%0D%0Ay&b=2&empty=",
		"multipart/form-data; boundary=c":   "--c\r\nContent-Disposition: form-data; name=b\r\n\r\n1\r\n--c\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\ny\r\n--c\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2\r\n--c--",
		"application/json":                  `{"b":1,"a":"x\ry","b":"2","empty":null,"none":[]}`,
		"text/plain; charset=utf-8":         "b=1\r\na=x\r\ny",
	}
	for kind, body := range table {
		got := read(t, kind, body).Fields
		if kind == "text/plain; charset=utf-8" {
			got = append(got, want[2]) // the last field there ends with the text
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestReadText(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]schemas.Field{
		"just a text":             {{Name: "message", Value: "just a text"}},
		"2 + 2 = 4\nb=1":          {{Name: "message", Value: "2 + 2 = 4\nb=1"}},
		"a=1\n\n2 = two\nb[]=3\n": {{Name: "a", Value: "1\n\n2 = two"}, {Name: "b[]", Value: "3"}},
		"":                        nil,
	} {
		if diff := cmp.Diff(want, read(t, "text/plain", body).Fields); diff != "" {
			t.Errorf("%q (-want +got):\n%s", body, diff)
		}
	}
}

func TestReadRefusesWhatIsNoForm(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	table := []struct{ kind, body, want string }{
		{"", "a=1", ErrMediaType.Error()},
		{"image/png", "a=1", ErrMediaType.Error()},
		{"multipart/form-data", "a=1", "no part"},
		{"multipart/form-data; boundary=b", "--c--", "no part"},
		{"application/json", "", "not a JSON object"},
		{"application/json", `[{"a":1}]`, "not a JSON object"},
		{"application/json", `{"a":1`, "cut off"},
		{"application/json", `{"a"`, "malformed"},
		{"application/json", `{1:2}`, "malformed"},
		{"application/json", `{"a":[}`, "malformed"},
		{"application/json", `{"a":1} x`, "follows"},
		{"application/json", deep, "nested too deeply"},
	}
	for _, row := range table {
		if _, err := Read(row.kind, []byte(row.body), "message"); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %q: got %v, want something with %q", row.kind, row.body, err, row.want)
		}
	}
}

func TestReadLimitsAndSaysSo(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "--c\r\nContent-Disposition: form-data; name=f; filename=\"%d.txt\"\r\n\r\n%d\r\n", i, i)
		fmt.Fprintf(&b, "--c\r\nContent-Disposition: form-data; name=n%d\r\n\r\nv\r\n", i)
	}
	f := read(t, "multipart/form-data; boundary=c", b.String()+"--c--")
	if len(f.Files) != MaxFiles || len(f.Fields) != MaxFields || len(f.Degraded) != 1 {
		t.Fatalf("%d files, %d fields, degraded %q", len(f.Files), len(f.Fields), f.Degraded)
	}
	if got := f.Degraded[0]; !strings.HasPrefix(got, "1790 more were left out: 10.txt, 11.txt, ") || len(got) > 400 {
		t.Errorf("degraded %q", got)
	}
}

func TestReadCharsets(t *testing.T) {
	t.Parallel()
	table := []struct{ name, kind, body, want, degraded string }{
		{"parameter", "application/x-www-form-urlencoded; charset=ISO-8859-15", "a=%A4", "€", ""},
		{"field", "application/x-www-form-urlencoded", "a=%82%A0&_charset_=shift_jis", "あ", ""},
		{"unknown", "application/x-www-form-urlencoded; charset=klingon", "a=%E9t%C3%A9", "\uFFFDté", "some characters could not be read"},
		{"none", "text/plain", "caf\xe9", "caf\uFFFD", "some characters could not be read"},
		{"controls", "application/json", `{"a":"x\u0000\u001by\u007f\tz"}`, "xy\tz", "control characters were removed"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := read(t, row.kind, row.body)
			if got := f.Fields[0].Value; got != row.want || strings.Join(f.Degraded, "") != row.degraded {
				t.Errorf("got %q, degraded %q, want %q, %q", got, f.Degraded, row.want, row.degraded)
			}
		})
	}
}

func TestReadUploads(t *testing.T) {
	t.Parallel()
	const head = "--c\r\nContent-Disposition: form-data; name=f; filename="
	f := read(t, "multipart/form-data; boundary=c", head+"\"\"\r\n\r\n\r\n"+head+"\"a.gif\"\r\n\r\nGIF89a\r\n"+
		head+"\"b\"\r\nContent-Type: x/y\r\n\r\n\r\n--c\r\nContent-Disposition: ;;\r\n\r\nnameless\r\n"+head+"\"cut\"\r\n\r\nhalf")
	want := []schemas.Attachment{
		{Name: "a.gif", Type: "image/gif", Size: 6, Data: []byte("GIF89a")},
		{Name: "b", Type: "x/y", Data: []byte{}},
		{Name: "cut", Type: "text/plain; charset=utf-8", Size: 4, Data: []byte("half")},
	}
	if diff := cmp.Diff(want, f.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"the end of the form could not be read"}, f.Degraded); diff != "" {
		t.Errorf("degraded (-want +got):\n%s", diff)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	f := &Form{}
	f.Attach("a/b.txt", "text/plain", "aGk=", "")
	f.Attach("", "image/png", "", "https://files.shop.example/b.png?x=1")
	f.Attach("none", "", "", "")
	f.Attach("local", "", "%%", "file:///etc/passwd")
	want := []schemas.Attachment{
		{Name: "b.txt", Type: "text/plain", Size: 2, Data: []byte("hi")},
		{Name: "file", Type: "image/png", Ref: "https://files.shop.example/b.png?x=1"},
	}
	if diff := cmp.Diff(want, f.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for range 1000 {
		f.Attach("many", "", "aGk=", "")
	}
	degraded := []string{
		"an attachment has neither data nor an address: none", "an attachment has neither data nor an address: local",
		"attachments after the first 100 were left out",
	}
	if diff := cmp.Diff(degraded, f.Degraded); diff != "" || len(f.Files) != MaxLinked {
		t.Errorf("%d files, degraded (-want +got):\n%s", len(f.Files), diff)
	}
}

func TestFileName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`C:\Users\me\x.jpg`: "x.jpg", "../../etc/passwd": "passwd", "": "file", "..": "file", "/": "file", "a/": "a",
		"photo\u202egpj.exe": "photogpj.exe", "a\x00b\nc": "abc", strings.Repeat("é", 100): strings.Repeat("é", 75),
	} {
		if got := FileName(in); got != want {
			t.Errorf("FileName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	f := read(t, "application/x-www-form-urlencoded",
		"Mail=not+an+address&tel=%2B4915510000017&E-Mail=later%40one.example&first_name=Ines&last_name=Falk&Body=hi&comment=more&Trap=x&trap=y&subject=a%0Ab")
	a := f.Sort(Names{}, "trap")
	want := schemas.Message{
		VendorID: "7", Conversation: "7", Subject: "a b", Text: "hi",
		Requester: schemas.Requester{Name: "Ines Falk", Identities: []schemas.Identity{{Kind: schemas.Phone, Value: "+4915510000017", Evidence: schemas.Asserted}}},
		Fields: []schemas.Field{
			{Name: "E-Mail", Value: "later@one.example"},
			{Name: "comment", Value: "more"},
			{Name: "trap", Value: "y"},
			{Name: "email", Value: "not an address"},
		},
		Degraded: []string{"line breaks in a field of one line became spaces", "the e-mail address is none"},
	}
	if diff := cmp.Diff(want, f.Message("7", a)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if a.Aside["trap"] != "x" {
		t.Errorf("aside %v", a.Aside)
	}
	named := Names{Message: "Text", Email: "Post", Name: "Wer", Phone: "Ruf", Subject: "Betreff"}
	for _, known := range Known() {
		if got := named.Of(known); len(got) != 1 {
			t.Errorf("%s is called %v, want one name", known, got)
		}
	}
	if got := named.Of("shoe_size"); got != nil {
		t.Errorf("shoe size is called %v", got)
	}
}

// TestReadsSharedForms reads recordings that belong to others.
func TestReadsSharedForms(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "..", "shared", "fixtures", "channels", "webform")
	for file, kind := range map[string]string{
		"contact.json": "application/json", "contact.urlencoded": "application/x-www-form-urlencoded",
		"contact-upload.multipart": "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
	} {
		body, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Skipf("the shared recordings are not beside the project: %v", err)
		}
		f := read(t, kind, string(body))
		m := f.Message("1", f.Sort(Names{}))
		if m.Text == "" || m.Requester.First(schemas.Email) == "" || len(m.Degraded) > 0 {
			t.Errorf("%s: text %q, requester %+v, degraded %q", file, m.Text, m.Requester, m.Degraded)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("application/json", []byte(`{"a":{"b":[1,null,"x"]}}`))
	f.Add("application/x-www-form-urlencoded; charset=utf-16", []byte("a=%00&_charset_=gbk&=%zz"))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; filename=\"/\"\r\n\r\n\x00\r\n--b--"))
	f.Add("text/plain", []byte("a=1\nb"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		form, err := Read(kind, body, "message")
		if err != nil {
			return
		}
		if len(form.Fields) > MaxFields || len(form.Files) > MaxFiles {
			t.Errorf("%d fields, %d files", len(form.Fields), len(form.Files))
		}
		for _, field := range form.Fields {
			if !utf8.ValidString(field.Name+field.Value) || strings.ContainsAny(field.Name, "\n\x00") || strings.ContainsAny(field.Value, "\r\x00") {
				t.Errorf("field %q", field)
			}
		}
		form.Message("1", form.Sort(Names{}))
	})
}
