package filter

import "context"

// The text of one part is looked at in one piece up to windowSize. What is
// longer is looked at in pieces that overlap: there a match that is longer than
// the overlap can be missed, and ^ or $ can match at the edge of a piece.
const (
	windowSize = 4 << 20
	overlap    = 64 << 10
)

// window counts the matches of the body rules in the text of one part after another.
type window struct {
	ctx    context.Context
	rules  []*bodyRule
	counts []int
	buf    []byte
}

// add takes the next piece of a part's text.
func (w *window) add(piece []byte, last bool) error {
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
	if !last {
		return nil
	}
	err := w.count(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// count adds up the matches that begin before the limit. (One that begins
// behind it begins in the next piece too.)
func (w *window) count(limit int) error {
	for i, r := range w.rules {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		need := r.least - w.counts[i]
		if need <= 0 {
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
