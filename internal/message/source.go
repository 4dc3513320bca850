package message

import (
	"bufio"
	"io"
	"sync"
)

// Limits bounds what Walk does for one message (register C2). A zero field is
// the default.
type Limits struct {
	Depth       int   // of multiparts and attached messages in each other: 30
	Parts       int   // 1,000
	HeaderBlock int   // bytes of one header block: 256 KiB
	HeaderLines int   // 1,000
	HeaderField int   // bytes of one field: 64 KiB
	Reread      int64 // bytes read once more for a second reading or out of an encoded container or a text: 8 MiB
}

func (l Limits) filled() Limits {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&l.Depth, 30)
	set(&l.Parts, 1000)
	set(&l.HeaderBlock, MaxHeaderBlock)
	set(&l.HeaderLines, MaxHeaderLines)
	set(&l.HeaderField, MaxHeaderField)
	if l.Reread <= 0 {
		l.Reread = 8 << 20
	}
	return l
}

const pieceSize = 64 << 10

// source gives the lines of a stream with their ends; a line longer than its
// buffer comes in pieces, of which only the first is the start of a line.
type source struct {
	br    *bufio.Reader
	fresh bool
	off   int64  // bytes given so far
	work  *int64 // counts bytes, for the test of scaling
}

// lineBuffers spare each message the 64 KiB that one walk needs for moments.
var lineBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, pieceSize) }}

// newSource begins to read; close gives its buffer back.
func newSource(r io.Reader, work *int64) *source {
	br := lineBuffers.Get().(*bufio.Reader)
	br.Reset(r)
	return &source{br: br, fresh: true, work: work}
}

// close ends the source. Pieces that it gave are not valid any more.
func (s *source) close() {
	s.br.Reset(nil)
	lineBuffers.Put(s.br)
	s.br = nil
}

// next gives a piece, valid until the next call; never an empty one.
func (s *source) next() (piece []byte, start bool, err error) {
	start = s.fresh
	piece, err = s.br.ReadSlice('\n')
	if len(piece) > 0 {
		s.fresh = piece[len(piece)-1] == '\n'
		*s.work += int64(len(piece))
		s.off += int64(len(piece))
		return piece, start, nil // an error comes again at the next call
	}
	return nil, start, err
}

// bodyReader gives the raw content of one entity: up to the line end in front
// of the delimiter that ends it, RFC 2046 section 5.1.1.
type bodyReader struct {
	w     *walker
	path  string
	watch func(line []byte) // sees the start of each line; may be nil

	first   []byte // the held line end of the line before
	pending []byte // what follows of the piece, valid until the next fill
	held    []byte // a line end that belongs to a delimiter, should one follow
	ends    [2][2]byte
	err     error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		switch {
		case len(b.first) > 0:
			k := copy(p[n:], b.first)
			b.first, n = b.first[k:], n+k
		case len(b.pending) > 0:
			k := copy(p[n:], b.pending)
			b.pending, n = b.pending[k:], n+k
		case b.err != nil:
			if n > 0 {
				return n, nil
			}
			return 0, b.err
		default:
			b.fill()
		}
	}
	return n, nil
}

// fill takes the next piece; both first and pending are used up.
func (b *bodyReader) fill() {
	piece, start, err := b.w.src.next()
	if err != nil {
		b.err = err
		if err == io.EOF {
			b.w.hit, b.w.closing, b.w.end = atEnd, false, b.w.src.off
			b.first, b.held = b.held, nil // no delimiter: the line end is content
		}
		return
	}
	if start {
		if b.watch != nil {
			b.watch(piece)
		}
		if b.w.delimiter(piece, b.path) {
			b.w.end = b.w.src.off - int64(len(piece)+len(b.held))
			b.err, b.held = io.EOF, nil
			return
		}
	}
	n := len(piece)
	if piece[n-1] == '\n' {
		n--
	}
	if n > 0 && piece[n-1] == '\r' {
		n--
	}
	if len(b.w.stack) > 0 {
		b.w.bareCR(piece[:n], b.path)
	}
	if !start && n == 0 && piece[0] == '\n' && len(b.held) == 1 && b.held[0] == '\r' {
		b.held = append(b.held, '\n') // a line end cut in two by the end of a piece
		return
	}
	b.first = append(b.ends[0][:0], b.held...)
	b.held = append(b.ends[1][:0], piece[n:]...)
	b.pending = piece[:n]
}

// drain reads to the end without copying.
func (b *bodyReader) drain() error {
	for b.err == nil {
		b.first, b.pending = nil, nil
		b.fill()
	}
	b.first, b.pending = nil, nil
	if b.err == io.EOF {
		return nil
	}
	return b.err
}
