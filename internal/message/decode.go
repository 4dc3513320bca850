package message

import (
	"bufio"
	"io"
)

// decoder gives the reader for a transfer encoding.
func (w *walker) decoder(enc, path string, r io.Reader) io.Reader {
	switch enc {
	case "base64":
		return &base64Reader{r: r, note: func(k Kind) { w.note(k, path) }}
	case "quoted-printable":
		return &quotedReader{br: bufio.NewReaderSize(r, 4<<10), note: func(k Kind) { w.note(k, path) }}
	}
	return r
}

// base64Reader decodes what a lenient reader would: bytes outside the alphabet
// are skipped, and it goes on behind padding. Both are findings: a strict
// reader sees less.
type base64Reader struct {
	r    io.Reader
	note func(Kind)
	buf  [4 << 10]byte
	in   []byte // unread part of buf
	acc  uint32
	bits uint
	pads int  // = behind one another
	pad  bool // a unit ended by padding
	err  error
}

func (d *base64Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(d.in) == 0 {
			if d.err != nil {
				if n > 0 {
					return n, nil
				}
				return 0, d.err
			}
			k, err := d.r.Read(d.buf[:])
			d.in, d.err = d.buf[:k], err
			continue
		}
		n += d.some(p[n:])
	}
	return n, nil
}

// some decodes until the input in hand or p is used up.
func (d *base64Reader) some(p []byte) int {
	n := 0
	for i, c := range d.in {
		v := base64Values[c]
		switch {
		case v < 64:
			if d.pad || d.pads > 0 {
				d.note(TrailingBase64)
				d.pad, d.pads = false, 0
			}
			d.acc = d.acc<<6 | uint32(v)
			if d.bits += 6; d.bits < 8 {
				continue
			}
			d.bits -= 8
			p[n] = byte(d.acc >> d.bits)
			if n++; n == len(p) {
				d.in = d.in[i+1:]
				return n
			}
		case c == '=':
			d.padding()
		case !isBlank(c):
			d.note(DirtyBase64)
		}
	}
	d.in = nil
	return n
}

// padding takes a =. It ends four characters of which it is the last; in
// another place readers pass over it.
func (d *base64Reader) padding() {
	at := int(8-d.bits) / 2 & 3 // characters of the four under way: bits are 0, 6, 4, 2
	if d.pads++; at >= 2 && at+d.pads >= 4 {
		d.pad, d.bits, d.pads = true, 0, 0
	}
}

// base64Values is the alphabet of RFC 4648 section 4; 255 is outside.
var base64Values = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	return t
}()

// quotedReader decodes quoted-printable, RFC 2045 section 6.7, leniently:
// what is no escape stays as it is, blanks at the end of a line go.
type quotedReader struct {
	br   *bufio.Reader
	note func(Kind)
	line []byte // decoded, unread
	buf  []byte
	err  error
}

func (q *quotedReader) Read(p []byte) (int, error) {
	for len(q.line) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		raw, err := q.br.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			q.err = err
		}
		q.decode(raw, err == bufio.ErrBufferFull)
	}
	n := copy(p, q.line)
	q.line = q.line[n:]
	return n, nil
}

// decode turns one line, or a piece of an overlong one, into q.line. An escape
// cut in two by the end of a piece stays as it is.
func (q *quotedReader) decode(raw []byte, piece bool) {
	out := q.buf[:0]
	text := raw
	soft := false
	if !piece {
		text = trimEnd(raw)
		if len(text) > 0 && text[len(text)-1] == '=' {
			text, soft = text[:len(text)-1], true
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '=' && i+2 < len(text) {
			if hi, lo := unhex(text[i+1]), unhex(text[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		if c == '=' {
			q.note(DirtyQuoted)
		}
		out = append(out, c)
	}
	if !soft && len(raw) > 0 && raw[len(raw)-1] == '\n' {
		if len(raw) > 1 && raw[len(raw)-2] == '\r' {
			out = append(out, '\r')
		}
		out = append(out, '\n')
	}
	q.buf, q.line = out, out
}
