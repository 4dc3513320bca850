package match

import (
	"bytes"
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
	lower  []byte            // buf in lower case, while it is counted
	part   string            // under way
	in     string            // the attachment that it is, or is in
	within []map[string]bool // for each rule, the attachments that matched
	sums   []int             // of the parts before
	best   []int             // of the readings of the part
	counts []int             // of the reading
	found  [][]string
}

// Limits of what is kept of the matches of one rule: it is for variables and
// for people.
const (
	maxMatches   = 10
	maxMatchText = 100 // bytes
)

// NewWindow begins a message. The rules are numbered by their Index.
func NewWindow(ctx context.Context, rules []*Rule) *Window {
	n := len(rules)
	all := make([]int, 3*n)
	return &Window{ctx: ctx, rules: rules, sums: all[:n], best: all[n : 2*n], counts: all[2*n:], found: make([][]string, n), within: make([]map[string]bool, n)}
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
		w.sums[i] += w.best[i]
		w.best[i] = 0
	}
	return w.sums
}

// Found gives some of the texts that the rule with an index matched.
func (w *Window) Found(index int) []string { return w.found[index] }

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
	w.lower = lowered(w.lower, w.buf)
	for i, r := range w.rules {
		if err := w.ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "matching text")
		}
		if !r.wants(p) {
			continue
		}
		for j := range r.Terms {
			need := r.Least - w.counts[i]
			if r.Where != EveryAttachment {
				need -= w.sums[i]
			}
			if need <= 0 {
				break
			}
			w.counts[i] += w.term(i, &r.Terms[j], need, limit)
		}
	}
	return nil
}

// term gives what one term adds to rule i, at most about need.
func (w *Window) term(i int, t *Term, need, limit int) (sum int) {
	if w.lower != nil && !bytes.Contains(w.lower, t.literal) {
		return 0
	}
	if t.ends != nil && !digits(w.buf, t.run) {
		return 0
	}
	if !t.re.Match(w.buf) { // quicker than looking where
		return 0
	}
	if t.ends != nil {
		return w.identifiers(i, t, need, limit)
	}
	times := (need + t.Weight - 1) / t.Weight
	for _, m := range t.re.FindAllIndex(w.buf, times) {
		if m[0] < limit || limit == len(w.buf) {
			sum += t.Weight
			w.keep(i, w.buf[m[0]:m[1]])
		}
	}
	return sum
}

// identifiers is term for a smart identifier. The candidates are looked at one
// by one: most of them prove nothing.
func (w *Window) identifiers(i int, t *Term, need, limit int) (sum int) {
	for _, m := range t.re.FindAllIndex(w.buf, -1) {
		if m[0] >= limit && limit != len(w.buf) || sum >= need {
			break
		}
		for _, number := range t.inside(w.buf[m[0]:m[1]]) {
			sum += t.Weight
			w.keep(i, masked(number))
		}
	}
	return sum
}

// keep notes what rule i matched, each text once.
func (w *Window) keep(i int, text []byte) {
	s := strings.ToValidUTF8(string(text[:min(len(text), maxMatchText)]), "\ufffd")
	if len(w.found[i]) < maxMatches && !slices.Contains(w.found[i], s) {
		w.found[i] = append(w.found[i], s)
	}
}
