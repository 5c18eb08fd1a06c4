package classify

import "math/bits"

// A trie holds terms by their words. Its edges are in one open hash table, so
// that a step costs the same however many there are.
type trie struct {
	nodes []node
	edges []edge
	// slots holds 1 + the index of an edge, 0 for none, and a part of its hash.
	slots []slot
	shift int
	// begin narrows the lengths of the prefixes with which a term may begin, by the
	// hash of their first bytes.
	begin [1024]uint64
}

type node struct {
	// terms end here.
	terms []int
	// inner says that longer terms go on from here.
	inner bool
	// prefixes has bit n-1 set if an edge for words that begin with n bytes leaves.
	prefixes uint64
}

type edge struct {
	from, to int
	hash     uint64
	word     word
}

type slot struct {
	part uint32
	edge int32
}

func newTrie() trie { return trie{nodes: make([]node, 1)} }

// add hangs a term below the root; build must follow.
func (t *trie) add(words []word, id int) {
	at := 0
	for _, w := range words {
		at = t.child(at, w)
	}
	t.nodes[at].terms = append(t.nodes[at].terms, id)
}

func (t *trie) child(from int, w word) int {
	if len(t.edges)*2 >= len(t.slots) {
		t.build()
	}
	hash := hashStart
	for i := range len(w.text) {
		hash = (hash ^ uint64(w.text[i])) * hashPrime
		if i+1 == minPrefix && w.prefix && from == 0 {
			t.begin[hash%uint64(len(t.begin))] |= 1 << (len(w.text) - 1)
		}
	}
	if to := t.step(from, hash, []byte(w.text), w.prefix); to > 0 {
		return to
	}
	to := len(t.nodes)
	t.nodes = append(t.nodes, node{})
	t.nodes[from].inner = true
	if w.prefix {
		t.nodes[from].prefixes |= 1 << (len(w.text) - 1)
	}
	t.edges = append(t.edges, edge{from: from, to: to, hash: hash, word: w})
	t.place(len(t.edges) - 1)
	return to
}

// build makes the table fit the edges, at most a quarter full.
func (t *trie) build() {
	size := bits.Len(uint(len(t.edges)*4 | 63))
	t.slots, t.shift = make([]slot, 1<<size), 64-size
	for i := range t.edges {
		t.place(i)
	}
}

func (t *trie) place(i int) {
	e := t.edges[i]
	key := mix(e.from, e.hash, e.word.prefix)
	at := int(key >> t.shift)
	for t.slots[at].edge != 0 {
		at = (at + 1) & (len(t.slots) - 1)
	}
	t.slots[at] = slot{part: uint32(key), edge: int32(i + 1)}
}

// step returns the node that word leads to, 0 for none. A hit of the hash counts
// only if the word is the same.
func (t *trie) step(from int, hash uint64, word []byte, prefix bool) int {
	key := mix(from, hash, prefix)
	for at := int(key >> t.shift); ; at = (at + 1) & (len(t.slots) - 1) {
		s := t.slots[at]
		if s.edge == 0 {
			return 0
		}
		if s.part != uint32(key) {
			continue
		}
		if e := &t.edges[s.edge-1]; e.from == from && e.word.prefix == prefix && e.word.text == string(word) {
			return e.to
		}
	}
}

func mix(from int, hash uint64, prefix bool) uint64 {
	hash ^= uint64(from)*2 + uint64(btoi(prefix))
	hash *= 0x9E3779B97F4A7C15
	return hash ^ hash>>32
}

// A hit is the first place where a term was found.
type hit struct {
	term, in, start, end int
}

// hits collects the first hit of every term.
type hits struct {
	list []hit
	seen map[int]struct{}
}

// few is up to where a list is searched faster than a map.
const few = 16

func (h *hits) add(one hit) {
	if len(h.list) < few {
		for _, o := range h.list {
			if o.term == one.term {
				return
			}
		}
		if h.list == nil {
			h.list = make([]hit, 0, few)
		}
		h.list = append(h.list, one)
		return
	}
	if h.seen == nil {
		h.seen = make(map[int]struct{}, 4*few)
		for _, o := range h.list {
			h.seen[o.term] = struct{}{}
		}
	}
	if _, ok := h.seen[one.term]; !ok {
		h.seen[one.term] = struct{}{}
		h.list = append(h.list, one)
	}
}

// A walk is a term that has begun.
type walk struct {
	node, start int
}

// find adds the terms in s to found.
func (c *Classifier) find(s string, in int, found *hits) {
	var rooms [2][16]walk
	open, next := rooms[0][:0], rooms[1][:0]
	w := reader{folder: c.folder}
	for i, ok := w.next(s, 0); ok; i, ok = w.next(s, i) {
		next = next[:0]
		if !w.long {
			next = c.enter(c.trie.step(0, w.hash[w.n], w.word(), false), w.start, in, &w, next, found)
		}
		if w.n >= minPrefix {
			begins := c.trie.begin[w.hash[minPrefix]%uint64(len(c.trie.begin))]
			next = c.prefixes(walk{0, w.start}, begins, in, &w, next, found)
		}
		for _, o := range open {
			if !w.long {
				next = c.enter(c.trie.step(o.node, w.hash[w.n], w.word(), false), o.start, in, &w, next, found)
			}
			next = c.prefixes(o, c.trie.nodes[o.node].prefixes, in, &w, next, found)
		}
		open, next = next, open
	}
}

// prefixes takes the edges from o for words that begin as w does; lengths has the
// bits of those that there may be.
func (c *Classifier) prefixes(o walk, lengths uint64, in int, w *reader, next []walk, found *hits) []walk {
	lengths &= 1<<w.n - 1
	for ; lengths != 0; lengths &= lengths - 1 {
		n := bits.TrailingZeros64(lengths) + 1
		next = c.enter(c.trie.step(o.node, w.hash[n], w.buf[:n], true), o.start, in, w, next, found)
	}
	return next
}

// enter notes the terms that end at a node and keeps it open for longer ones.
func (c *Classifier) enter(to, start, in int, w *reader, next []walk, found *hits) []walk {
	if to == 0 {
		return next
	}
	n := &c.trie.nodes[to]
	for _, id := range n.terms {
		found.add(hit{term: id, in: in, start: start, end: w.end})
	}
	if n.inner {
		next = append(next, walk{node: to, start: start})
	}
	return next
}
