package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"switchboard/schemas"
)

func TestDurationsReadAsPeopleSayThem(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0 ms", 340 * time.Microsecond: "0.3 ms", 4 * time.Millisecond: "4 ms", 240 * time.Millisecond: "240 ms", 6400 * time.Millisecond: "6.4 s",
		24 * time.Second: "24 s", 4*time.Minute + 50*time.Second: "4 min", time.Hour: "1 h", 108 * time.Minute: "1 h 48 min", 26*time.Hour + time.Minute: "26 h", 100 * time.Hour: "4 days", -2 * time.Second: "−2 s",
	} {
		if got := took(d); got != want {
			t.Errorf("%d: got %q want %q", d, got, want)
		}
	}
}

func TestNumbersAndSizes(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		num(0): "0", num(999): "999", num(48213): "48,213", num(1234567): "1,234,567", num(-1500): "−1,500", count(1, "try", "tries"): "1 try",
		size(412): "412 bytes", size(214_000): "214 KB", size(2_100_000): "2.1 MB", size(40_000_000_000): "40 GB",
		initials("Marit Oden-Berg Lie"): "MO", initials("+47 900"): "#", initials(""): "#", digest("sha256:0123456789abcdef"): "0123456789", digest("ab"): "ab",
		maskName("Marit Oden"): "M. O.", maskName("a@b.example"): "•@•.•••••••", maskName("Øyvind"): "Ø.", mask("Zahl 7 €! 😀"): "•••• • •! •",
		maskReason("422: lena@x.example has +4790000041 twice, says 422"): "422: ••••@•.••••••• has ••••••••••• twice, says 422",
	} {
		if got != want {
			t.Errorf("got %q want %q", got, want)
		}
	}
}

func TestMarksSurviveAnySpan(t *testing.T) {
	t.Parallel()
	text := "Größe 7: wo ist sie?"
	for _, k := range []schemas.Keyword{{Start: -1, End: 3}, {Start: 3, End: 3}, {Start: 5, End: 2}, {Start: 3, End: 4}, {Start: 0, End: 999}, {Start: 999, End: 1000}} {
		k.In = "text"
		spans, _ := marks(text, []schemas.Keyword{k}, "text", false)
		var all strings.Builder
		for _, s := range spans {
			all.WriteString(s.Text)
		}
		if all.String() != text {
			t.Errorf("%+v: got %q want %q", k, all.String(), text)
		}
	}
	spans, proofs := marks(text, []schemas.Keyword{{In: "text", Start: 11, End: 17}, {In: "text", Start: 0, End: 7}, {In: "text", Start: 5, End: 9}}, "text", true)
	if got, want := fmt.Sprint(spans), "[{••••• a} { •:  } {•• ••• b} { •••? }]"; got != want {
		t.Errorf("got %q want %q", got, want)
	}
	if len(proofs) != 2 {
		t.Errorf("got %d proofs want 2, the overlapping one left out", len(proofs))
	}
	if letterOf(0) != "a" || letterOf(25) != "z" || letterOf(26) != "27" {
		t.Error("letters do not count on")
	}
}

func TestCallChartDrawsOneAxis(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	got := fmt.Sprintf("%+v", callChart([]schemas.Call{{Op: "create", At: at, Took: 5 * time.Second, Outcome: "unknown"}, {Op: "find", At: at.Add(5 * time.Second), Took: time.Second, Outcome: "adopted"}}))
	want := "&{Label:Of 6 s, 5 s went to open the ticket. Height:78 Axis:58 Foot:74 Bars:[" +
		"{Y:18 TextY:28 X:160.0 Width:333.3 Note:499.3 Class:f2 Name:open the ticket Words:5 s End:false} " +
		"{Y:39 TextY:49 X:493.3 Width:66.7 Note:487.3 Class:f1 Name:look for the ticket Words:1 s End:true}] " +
		"Ticks:[{X:160.0 Text:0} {X:260.0 Text:1.5 s} {X:360.0 Text:3 s} {X:460.0 Text:4.5 s} {X:560.0 Text:6 s}]}"
	if got != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
	if c := callChart([]schemas.Call{{Op: "create", At: at, Took: time.Second}}); c != nil {
		t.Errorf("one call: got %+v want none", c)
	}
	if c := callChart([]schemas.Call{{At: at}, {At: at}}); c != nil {
		t.Errorf("no time: got %+v want none", c)
	}
}

func TestLimiterStaysSmall(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	for i := range 3 * maxTables {
		l.take("name", fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
		now = now.Add(time.Microsecond)
	}
	if len(l.tries) > maxTables {
		t.Errorf("got %d entries want at most %d", len(l.tries), maxTables)
	}
	now = now.Add(2 * pause)
	l.take("name", "10.0.0.1")
	if len(l.tries) > 2 {
		t.Errorf("after the pause: got %d entries want 2", len(l.tries))
	}
}

func TestNoncesForgetTheOldest(t *testing.T) {
	t.Parallel()
	n := newNonces(2)
	for _, c := range []struct {
		nonce string
		want  bool
	}{{"a", true}, {"a", false}, {"b", true}, {"c", true}, {"b", false}, {"a", true}, {"", true}, {"", true}} {
		if got := n.claim(c.nonce); got != c.want {
			t.Errorf("%q: got %v want %v", c.nonce, got, c.want)
		}
	}
}

func TestStoredHashesAreReadStrictly(t *testing.T) {
	t.Parallel()
	good := hashPassword("a long enough password")
	if ok, err := verifyPassword(good, "a long enough password"); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
	if ok, err := verifyPassword(good, "another"); ok || err != nil {
		t.Errorf("wrong password: got %v, %v", ok, err)
	}
	for _, bad := range []string{"", "x", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "m=19456", "m=99999999", 1), strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "p=1", "p=0", 1), good[:len(good)-30], good + "!"} {
		if ok, err := verifyPassword(bad, "a long enough password"); ok || err == nil {
			t.Errorf("%q: got %v, %v", bad, ok, err)
		}
	}
}
