package classify

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxWord is how much of a word is read, in bytes after folding. A longer one
// equals no term, but may begin with one.
const maxWord = 64

// tabled is where the runes end whose folding is worked out beforehand: Latin,
// Greek, Cyrillic, Hebrew, Arabic, Indic and the like.
const tabled = 0x2000

// What a rune becomes, besides itself: the end of a word, nothing at all, or more
// runes than one.
const (
	breaks  uint32 = 0
	vanish  uint32 = 1
	several uint32 = 1 << 31
)

// A folder knows what runes become when words are compared: lower case, without
// diacritics, compatibility forms undone. A nil folder works out every rune anew.
type folder struct {
	table [tabled]uint32
}

func newFolder() *folder {
	f := new(folder)
	for r := range rune(tabled) {
		f.table[r] = slowFold(r)
	}
	return f
}

func (f *folder) fold(r rune) uint32 {
	if f != nil && r < tabled {
		return f.table[r]
	}
	return slowFold(r)
}

// slowFold says what r becomes; for more than one rune only that it is several.
func slowFold(r rune) uint32 {
	switch {
	case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
		return uint32(r)
	case 'A' <= r && r <= 'Z':
		return uint32(r) + 'a' - 'A'
	case r < utf8.RuneSelf || r == utf8.RuneError:
		return breaks
	case invisible(r):
		return vanish
	case !inWord(r):
		return breaks
	}
	var buf [4 * utf8.UTFMax * 5]byte
	out := appendFolded(buf[:0], r)
	first, size := utf8.DecodeRune(out)
	switch {
	case len(out) == 0:
		return vanish
	case size < len(out):
		return several
	default:
		return uint32(first)
	}
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

// invisible are the runes that neither belong to a word nor end it: diacritics,
// vowel points, joiners, soft hyphens, marks of direction.
func invisible(r rune) bool {
	return unicode.Is(unicode.Cf, r) ||
		unicode.IsMark(r) && (unicode.Is(unicode.Inherited, r) || unicode.Is(unicode.Hebrew, r))
}

// appendFolded appends what r becomes. r belongs to a word.
func appendFolded(dst []byte, r rune) []byte {
	if s := spelled(r); s != "" {
		return append(dst, s...)
	}
	if r >= 0xAC00 && r <= 0xD7A3 { // Hangul syllables are computed, not tabled
		i := r - 0xAC00
		dst = utf8.AppendRune(dst, 0x1100+i/588)
		dst = utf8.AppendRune(dst, 0x1161+i%588/28)
		if last := i % 28; last > 0 {
			dst = utf8.AppendRune(dst, 0x11A7+last)
		}
		return dst
	}
	var one [utf8.UTFMax]byte
	parts := norm.NFKD.Properties(one[:utf8.EncodeRune(one[:], r)]).Decomposition()
	if len(parts) == 0 {
		return utf8.AppendRune(dst, lower(r))
	}
	for len(parts) > 0 {
		p, size := utf8.DecodeRune(parts)
		parts = parts[size:]
		switch s := spelled(p); {
		case s != "":
			dst = append(dst, s...)
		case inWord(p) && !invisible(p):
			dst = utf8.AppendRune(dst, lower(p))
		}
	}
	return dst
}

// lower is one form for all that differ in case only, final sigma and long s too.
func lower(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }

// spelled are the letters that people replace when their keyboard lacks them,
// though Unicode does not take them apart.
func spelled(r rune) string {
	switch r {
	case 'ß', 'ẞ':
		return "ss"
	case 'æ', 'Æ':
		return "ae"
	case 'œ', 'Œ':
		return "oe"
	case 'ø', 'Ø':
		return "o"
	case 'ł', 'Ł':
		return "l"
	case 'đ', 'Đ':
		return "d"
	case 'ı':
		return "i"
	default:
		return ""
	}
}

// A reader splits a text into folded, hashed words, in one pass.
type reader struct {
	folder *folder
	// buf[:n] is the word as far as it is kept, hash[i] the hash of buf[:i].
	buf  [maxWord]byte
	n    int
	hash [maxWord + 1]uint64
	// long says that the word goes on after buf.
	long bool
	// start and end are where the word stands.
	start, end int
}

// FNV-1a.
const (
	hashStart uint64 = 14695981039346656037
	hashPrime uint64 = 1099511628211
)

// next reads the first word of s at or after i and returns where to go on, or
// false when there is none.
func (w *reader) next(s string, i int) (int, bool) {
	w.n, w.long, w.hash[0] = 0, false, hashStart
	for i < len(s) {
		r, size := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		switch to := w.folder.fold(r); to {
		case breaks:
			if w.n > 0 {
				return i + size, true
			}
		case vanish:
			if w.n > 0 {
				w.end = i + size
			}
		default:
			if w.n == 0 {
				w.start = i
			}
			w.end = i + size
			w.push(r, to)
		}
		i += size
	}
	return i, w.n > 0
}

// push adds what r became to the word.
func (w *reader) push(r rune, to uint32) {
	if w.long {
		return
	}
	if to < utf8.RuneSelf && w.n < maxWord {
		w.buf[w.n] = byte(to)
		w.hash[w.n+1] = (w.hash[w.n] ^ uint64(to)) * hashPrime
		w.n++
		return
	}
	var room [4 * utf8.UTFMax * 5]byte
	more := room[:0]
	if to == several {
		more = appendFolded(more, r)
	} else {
		more = utf8.AppendRune(more, rune(to))
	}
	if w.n+len(more) > maxWord {
		w.long = true
		return
	}
	for _, b := range more {
		w.buf[w.n] = b
		w.hash[w.n+1] = (w.hash[w.n] ^ uint64(b)) * hashPrime
		w.n++
	}
}

func (w *reader) word() []byte { return w.buf[:w.n] }

// Fold appends the words of s to dst as terms are compared with them, each
// followed by one space. It writes at most 64 bytes of a word.
func (c *Classifier) Fold(dst []byte, s string) []byte {
	w := reader{folder: c.folder}
	for i, ok := w.next(s, 0); ok; i, ok = w.next(s, i) {
		dst = append(append(dst, w.word()...), ' ')
	}
	return dst
}
