package classify_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"switchboard/classify"
	"switchboard/schemas"
)

var syllables = []string{
	"ka", "lo", "mi", "re", "ste", "tra", "vo", "zu", "bér", "grün", "ñon", "çal", "шко", "ла", "дом", "жен", "ığ", "şe", "in", "or", "und", "lich", "ung",
}

func randomWord(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString(syllables[r.IntN(len(syllables))])
	}
	return b.String()
}

// corpus makes a vocabulary of n terms of one to three words, every tenth with a
// star, and a message of about size bytes in which some of them stand.
func corpus(tb testing.TB, n, size int) ([]classify.Entry, schemas.Message) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same corpus every time is the point
	var texts []string
	for len(texts) < n {
		words := make([]string, 1+r.IntN(3))
		for i := range words {
			words[i] = randomWord(r) + fmt.Sprint(len(texts)%97)
		}
		text := strings.Join(words, " ")
		if len(texts)%10 == 0 {
			text += "*"
		}
		texts = append(texts, text)
	}
	var b strings.Builder
	for b.Len() < size {
		if r.IntN(60) == 0 {
			b.WriteString(strings.TrimSuffix(texts[r.IntN(n)], "*"))
		} else {
			b.WriteString(randomWord(r))
		}
		b.WriteString([]string{" ", " ", " ", ", ", ".\n"}[r.IntN(5)])
	}
	return []classify.Entry{{Name: "all", Category: "all", Urgency: schemas.UrgencyHigh, Terms: terms(tb, texts...)}},
		schemas.Message{Text: b.String()}
}

// BenchmarkClassify shows that the number of terms hardly matters; the first row
// is the floor that lower-casing alone sets, the second a regular expression.
func BenchmarkClassify(b *testing.B) {
	entries, m := corpus(b, 100, 1024)
	b.Run("floor", func(b *testing.B) {
		b.SetBytes(int64(len(m.Text)))
		for b.Loop() {
			_ = strings.ToLower(m.Text)
		}
	})
	b.Run("regexp/100", func(b *testing.B) {
		var parts []string
		for _, t := range entries[0].Terms {
			parts = append(parts, regexp.QuoteMeta(strings.TrimSuffix(t.String(), "*")))
		}
		re := regexp.MustCompile("(?i)" + strings.Join(parts, "|"))
		b.SetBytes(int64(len(m.Text)))
		for b.Loop() {
			re.FindAllStringIndex(m.Text, -1)
		}
	})
	for _, n := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			entries, m := corpus(b, n, 1024)
			c := compile(b, entries...)
			b.SetBytes(int64(len(m.Text)))
			b.ReportAllocs()
			for b.Loop() {
				c.Classify(m)
			}
		})
	}
	for name, text := range map[string]string{
		"marks":   "e" + strings.Repeat("\u0301", 5<<20),
		"joiners": strings.Repeat("a\u200d", 5<<19),
		"hits":    strings.Repeat("urgent warranty order status ", 10<<20/29),
		"stars":   strings.Repeat("garantie", 10<<20/8),
		"invalid": strings.Repeat("\xff\xfe", 5<<20),
	} {
		b.Run("10MB/"+name, func(b *testing.B) {
			c := compile(b, classify.Default()...)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				c.Classify(schemas.Message{Text: text})
			}
		})
	}
}

// BenchmarkNew is how long a reload of the rules takes for its vocabulary.
func BenchmarkNew(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			entries, _ := corpus(b, n, 1)
			b.ReportAllocs()
			for b.Loop() {
				compile(b, entries...)
			}
		})
	}
}
