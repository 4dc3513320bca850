package filter

import (
	"bytes"
	"context"

	"lazaret/internal/errs"
)

// The text of one part is looked at in one piece up to windowSize. What is
// longer is looked at in pieces that overlap: there a match that is longer than
// the overlap can be missed, and ^ or $ can match at the edge of a piece.
const (
	windowSize = 4 << 20
	overlap    = 64 << 10
)

// window counts the matches of the body rules in the texts of a message.
type window struct {
	ctx    context.Context
	rules  []*bodyRule
	buf    []byte
	lower  []byte // buf in lower case, while it is counted
	part   string // under way
	sums   []int  // of the parts before
	best   []int  // of the readings of the part
	counts []int  // of the reading
}

func newWindow(ctx context.Context, rules []*bodyRule) *window {
	n := len(rules)
	all := make([]int, 3*n)
	return &window{ctx: ctx, rules: rules, sums: all[:n], best: all[n : 2*n], counts: all[2*n:]}
}

// total gives the matches in the whole message.
func (w *window) total() []int {
	for i := range w.rules {
		w.sums[i] += w.best[i]
		w.best[i] = 0
	}
	return w.sums
}

// add takes the next piece of text.
func (w *window) add(p Piece) error {
	if p.Part != w.part {
		w.total()
		w.part = p.Part
	}
	piece := p.Bytes
	for len(w.buf)+len(piece) >= windowSize {
		n := windowSize - len(w.buf)
		w.buf = append(w.buf, piece[:n]...)
		piece = piece[n:]
		if err := w.count(windowSize - overlap); err != nil {
			return err
		}
		kept := copy(w.buf, w.buf[windowSize-overlap:])
		w.buf = w.buf[:kept]
	}
	w.buf = append(w.buf, piece...)
	if !p.Last {
		return nil
	}
	err := w.count(len(w.buf))
	w.buf = w.buf[:0]
	for i, n := range w.counts {
		w.best[i] = max(w.best[i], n)
		w.counts[i] = 0
	}
	return err
}

// count adds up the matches that begin before the limit. (One that begins
// behind it begins in the next piece too.)
func (w *window) count(limit int) error {
	w.lower = lowered(w.lower, w.buf)
	for i, r := range w.rules {
		if err := w.ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "matching text")
		}
		need := r.least - w.sums[i] - w.counts[i]
		if need <= 0 || w.lower != nil && !bytes.Contains(w.lower, []byte(r.literal)) {
			continue
		}
		if need == 1 && limit == len(w.buf) {
			if r.re.Match(w.buf) {
				w.counts[i]++
			}
			continue
		}
		for _, m := range r.re.FindAllIndex(w.buf, need) {
			if m[0] < limit || limit == len(w.buf) {
				w.counts[i]++
			}
		}
	}
	return nil
}
