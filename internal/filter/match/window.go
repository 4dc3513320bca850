package match

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/errs"
)

// The text of one part is looked at in one piece up to windowSize. What is
// longer is looked at in pieces that overlap: there a match that is longer than
// the overlap can be missed, and ^ or $ can match at the edge of a piece.
const (
	windowSize = 4 << 20
	overlap    = 64 << 10
)

// Window counts the matches of the body rules in the texts of a message.
type Window struct {
	ctx    context.Context
	rules  []*Rule
	buf    []byte
	lower  []byte            // buf in lower case, while it is looked at
	part   string            // under way
	in     string            // the attachment that it is, or is in
	within []map[string]bool // for each rule, the attachments that matched
	which  []map[string]int  // for each rule that asks which, what matched in the attachments
	sums   []int             // of the parts before
	best   []int             // of the readings of the part
	counts []int             // of the reading
	found  [][]Match
	texts  *texts // of set
	hits   []bool // terms that can match in buf
}

// Match is what a rule matched, for people.
type Match struct {
	Text string
	Part string // "body", or the name of the attachment
}

// where names a part for people.
func (p *Piece) where() string {
	switch {
	case p.Name != "":
		return p.Name
	case p.Attached:
		return "attachment"
	}
	return "body"
}

// Limits of what is kept of the matches of one rule: it is for variables and
// for people.
const (
	maxMatches   = 10
	maxMatchText = 100 // bytes
)

// Set is rules that look into the same messages. It does not change, and is
// safe for concurrent use.
type Set struct {
	rules []*Rule
	texts *texts
}

// NewSet makes one of rules, which are numbered by their Index.
func NewSet(rules []*Rule) *Set { return &Set{rules: rules, texts: newTexts(rules)} }

// Window begins a message.
func (s *Set) Window(ctx context.Context) *Window {
	rules := s.rules
	n := len(rules)
	all := make([]int, 3*n)
	return &Window{ctx: ctx, rules: rules, sums: all[:n], best: all[n : 2*n], counts: all[2*n:], found: make([][]Match, n), within: make([]map[string]bool, n),
		which: make([]map[string]int, n),
		texts: s.texts, hits: make([]bool, s.texts.n)}
}

// Total gives the matches in the whole message; of a rule for every attachment
// the number of attachments that match: one does when something in it does.
func (w *Window) Total() []int {
	for i, r := range w.rules {
		if r.Where == EveryAttachment && w.best[i] > 0 {
			w.best[i] = 0
			if w.within[i] == nil {
				w.within[i] = map[string]bool{}
			}
			if !w.within[i][w.in] {
				w.best[i], w.within[i][w.in] = 1, true
			}
		}
		if r.Where == WhichAttachments && w.best[i] > 0 {
			if w.which[i] == nil {
				w.which[i] = map[string]int{}
			}
			w.which[i][w.in] += w.best[i]
			w.best[i] = 0
		}
		w.sums[i] += w.best[i]
		w.best[i] = 0
	}
	return w.sums
}

// Which gives the attachments, by Piece.Part, in which the rule with an index
// reached its least; those in which something inside did.
func (w *Window) Which(index int) (all []string) {
	w.Total()
	for part, n := range w.which[index] {
		if n >= w.rules[index].Least {
			all = append(all, part)
		}
	}
	slices.Sort(all)
	return all
}

// Found gives some of the texts that the rule with an index matched.
func (w *Window) Found(index int) []Match { return w.found[index] }

// Add takes the next piece of text.
func (w *Window) Add(p Piece) error {
	if p.Part != w.part {
		w.Total()
		if w.part, w.in = p.Part, p.In; w.in == "" {
			w.in = p.Part
		}
	}
	piece := p.Bytes
	for len(w.buf)+len(piece) >= windowSize {
		n := windowSize - len(w.buf)
		w.buf = append(w.buf, piece[:n]...)
		piece = piece[n:]
		if err := w.count(&p, windowSize-overlap); err != nil {
			return err
		}
		kept := copy(w.buf, w.buf[windowSize-overlap:])
		w.buf = w.buf[:kept]
	}
	w.buf = append(w.buf, piece...)
	if !p.Last {
		return nil
	}
	err := w.count(&p, len(w.buf))
	w.buf = w.buf[:0]
	for i, n := range w.counts {
		w.best[i] = max(w.best[i], n)
		w.counts[i] = 0
	}
	return err
}

// count adds up the matches that begin before the limit. (One that begins
// behind it begins in the next piece too.)
func (w *Window) count(p *Piece, limit int) error {
	w.texts.look(w.buf, &w.lower, w.hits)
	next := 0
	for i, r := range w.rules {
		first := next
		next += len(r.Terms)
		if err := w.ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "matching text")
		}
		if !r.wants(p) {
			continue
		}
		for j := range r.Terms {
			need := r.Least - w.counts[i]
			if r.Where != EveryAttachment && r.Where != WhichAttachments {
				need -= w.sums[i]
			}
			if need <= 0 {
				break
			}
			if w.hits[first+j] {
				w.counts[i] += w.term(i, &r.Terms[j], p, need, limit)
			}
		}
	}
	return nil
}

// term gives what one term adds to rule i, at most about need.
func (w *Window) term(i int, t *Term, p *Piece, need, limit int) (sum int) {
	times := (need + t.Weight - 1) / t.Weight
	t.each(w.buf, limit, times, func(shown []byte) bool {
		sum += t.Weight
		w.keep(i, shown, p)
		return sum < need
	})
	return sum
}

// keep notes what rule i matched, each text of a part once.
func (w *Window) keep(i int, text []byte, p *Piece) {
	if len(w.found[i]) >= maxMatches {
		return
	}
	m := Match{Text: strings.ToValidUTF8(string(text[:min(len(text), maxMatchText)]), "\ufffd"), Part: p.where()}
	if !slices.Contains(w.found[i], m) {
		w.found[i] = append(w.found[i], m)
	}
}
