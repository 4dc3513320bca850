package message

import (
	"bytes"
	"io"
	"slices"

	"lazaret/internal/errs"
)

// Patch is a change of a message: places of the stream that are replaced. All
// else is copied byte by byte. It belongs to the content that it was made for.
type Patch struct {
	splices []splice
	Done    int      // parts that are changed, taken out or put in
	Undone  []string // what was asked for and cannot be done, in words
	Unclear bool     // parts were to go, and it is not clear which: all attachments have to (Edit.Strip)
}

// splice replaces what stands from one place up to another.
type splice struct {
	from, to int64
	with     []byte
	header   func(raw []byte) []byte // gives what stands in place of it; nil: with does
}

// Empty reports whether nothing is changed.
func (p *Patch) Empty() bool { return len(p.splices) == 0 }

func (p *Patch) replace(from, to int64, with []byte) {
	p.splices = append(p.splices, splice{from: from, to: to, with: with})
}

// sort puts the places in order; what lies in another one goes with it.
func (p *Patch) sort() {
	slices.SortStableFunc(p.splices, func(a, b splice) int {
		switch {
		case a.from != b.from:
			return int(min(max(a.from-b.from, -1), 1))
		case a.from == a.to && b.from != b.to: // put in front of what is replaced
			return -1
		case b.from == b.to && a.from != a.to:
			return 1
		}
		return int(min(max(b.to-a.to, -1), 1))
	})
	kept, end := p.splices[:0], int64(-1)
	for _, s := range p.splices {
		if s.from < end {
			continue
		}
		kept, end = append(kept, s), max(end, s.to)
	}
	p.splices = kept
}

// Reader gives the message that r gives, changed.
func (p *Patch) Reader(r io.Reader) io.Reader {
	if p.Empty() {
		return r
	}
	return &patched{r: r, rest: p.splices}
}

// patched is a message with replacements.
type patched struct {
	r    io.Reader
	at   int64
	rest []splice
	out  []byte // of a replacement, not read yet
	err  error
}

// Read implements io.Reader.
func (p *patched) Read(b []byte) (int, error) {
	for {
		switch {
		case len(p.out) > 0:
			n := copy(b, p.out)
			p.out = p.out[n:]
			return n, nil
		case p.err != nil:
			return 0, p.err
		case len(p.rest) > 0 && p.rest[0].from == p.at:
			p.next()
			continue
		}
		if len(p.rest) > 0 {
			b = b[:min(int64(len(b)), p.rest[0].from-p.at)]
		}
		n, err := p.r.Read(b)
		p.at += int64(n)
		if err == io.EOF && len(p.rest) > 0 {
			if p.rest[0].from == p.at {
				p.err = nil
				if n > 0 {
					return n, nil
				}
				p.next()
				continue
			}
			err = errs.New(errs.Damaged, "the message is shorter than when it was looked at")
		}
		return n, err
	}
}

// next takes the replacement that begins here.
func (p *patched) next() {
	s := p.rest[0]
	p.rest = p.rest[1:]
	var raw bytes.Buffer
	to := io.Discard
	if s.header != nil {
		to = &raw
	}
	n, err := io.CopyN(to, p.r, s.to-s.from)
	p.at += n
	switch {
	case err == io.EOF:
		p.err = errs.New(errs.Damaged, "the message is shorter than when it was looked at")
	case err != nil:
		p.err = err
	case s.header != nil:
		p.out = s.header(raw.Bytes())
	default:
		p.out = s.with
	}
}
