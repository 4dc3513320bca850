package match

// texts finds in one look at a text which terms can match in it: those whose
// plain text stands there, when case is ignored (Aho and Corasick 1975). Most
// text has no match, so most expressions need not run at all, and what many
// words cost does not depend on how many they are.
type texts struct {
	n      int // terms
	always []int
	class  [256]uint8 // of a byte; 0: in no text
	width  int        // classes
	next   []int32    // state*width+class: the next state
	out    [][]int32  // terms whose text ends in a state
	link   []int32    // the longest other state that ends in one, with terms; 0: none
}

// maxLiteral is how much of a term's text is looked for: what is found there is
// looked at anyway, and the tables stay small.
const maxLiteral = 8

// newTexts takes the terms of all rules, in their order.
func newTexts(rules []*Rule) *texts {
	t := &texts{width: 1}
	var words [][]byte
	for _, r := range rules {
		for i := range r.Terms {
			w := r.Terms[i].literal
			words = append(words, w[:min(len(w), maxLiteral)])
		}
	}
	t.n = len(words)
	for _, w := range words {
		for _, c := range w {
			if t.class[c] == 0 && t.width < 256 {
				t.class[c] = uint8(t.width)
				t.width++
			}
		}
	}
	t.grow()
	for i, w := range words {
		if len(w) == 0 {
			t.always = append(t.always, i)
			continue
		}
		t.add(w, int32(i))
	}
	t.connect()
	return t
}

// grow adds a state, and gives it.
func (t *texts) grow() int32 {
	t.next = append(t.next, make([]int32, t.width)...)
	t.out = append(t.out, nil)
	return int32(len(t.out) - 1)
}

func (t *texts) add(word []byte, term int32) {
	state := int32(0)
	for _, c := range word {
		at := int(state)*t.width + int(t.class[c])
		if t.next[at] == 0 {
			s := t.grow()
			t.next[at] = s
		}
		state = t.next[at]
	}
	t.out[state] = append(t.out[state], term)
}

// connect fills in where to go from each state on what does not continue it.
func (t *texts) connect() {
	fail := make([]int32, len(t.out))
	t.link = make([]int32, len(t.out))
	queue := []int32{0}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for c := range t.width {
			at := int(s)*t.width + c
			child := t.next[at]
			if child == 0 {
				if s != 0 {
					t.next[at] = t.next[int(fail[s])*t.width+c]
				}
				continue
			}
			if s != 0 {
				fail[child] = t.next[int(fail[s])*t.width+c]
			}
			f := fail[child]
			if t.link[child] = f; len(t.out[f]) == 0 {
				t.link[child] = t.link[f]
			}
			queue = append(queue, child)
		}
	}
}

// look marks the terms that can match in a text; lower is room for it in lower
// case.
func (t *texts) look(text []byte, lower *[]byte, hits []bool) {
	if t.n == 0 {
		return
	}
	clear(hits)
	for _, i := range t.always {
		hits[i] = true
	}
	if len(t.always) == t.n {
		return
	}
	*lower = lowered(*lower, text)
	if *lower == nil { // letters of which the lower case says nothing
		for i := range hits {
			hits[i] = true
		}
		return
	}
	state := int32(0)
	for _, c := range *lower {
		state = t.next[int(state)*t.width+int(t.class[c])]
		for s := state; s != 0; s = t.link[s] {
			for _, term := range t.out[s] {
				hits[term] = true
			}
		}
	}
}
