package smtp

import (
	"bytes"
	"io"
)

// lineReader holds content that came in chunks to the same rules as that of DATA:
// lines end in CR LF; a bare CR, a bare LF or a NUL is refused or made good
// (register B1), and no line is longer than the limit. A last line without an end
// gets one: content of text is lines, here and at every hop behind us that takes
// it by DATA.
type lineReader struct {
	from     io.Reader
	newlines Newlines
	maxLine  int

	buf    []byte // what was read and is not judged
	out    []byte // what is ready to be given, part of made
	made   []byte
	cr     bool // the octet before buf was a CR, which is held back
	inLine int  // octets of the present line
	err    error
}

// Read is io.Reader.
func (l *lineReader) Read(p []byte) (int, error) {
	for len(l.out) == 0 && l.err == nil && len(p) > 0 {
		l.fill()
	}
	n := copy(p, l.out)
	l.out = l.out[n:]
	if n == 0 && len(p) > 0 {
		return 0, l.err
	}
	return n, nil
}

// fill reads once and makes out of it what may be given.
func (l *lineReader) fill() {
	if l.buf == nil {
		l.buf = make([]byte, 32<<10)
	}
	n, err := l.from.Read(l.buf)
	l.made = l.made[:0]
	if n > 0 {
		l.judge(l.buf[:n])
	}
	if err == io.EOF && l.err == nil {
		l.finish()
	}
	if l.err == nil {
		l.err = err
	}
	if _, refused := l.err.(*RefusedError); refused {
		l.made = l.made[:0]
	}
	l.out = l.made
}

// judge takes b line by line.
func (l *lineReader) judge(b []byte) {
	for len(b) > 0 && l.err == nil {
		if l.cr {
			l.cr = false
			if b[0] == '\n' {
				l.end()
				b = b[1:]
				continue
			}
			l.bare("")
			continue
		}
		n := bytes.IndexAny(b, "\r\n\x00")
		if n < 0 {
			n = len(b)
		}
		if l.inLine += n; l.inLine > l.maxLine {
			l.tooLong()
			return
		}
		l.made = append(l.made, b[:n]...)
		if b = b[n:]; len(b) == 0 {
			return
		}
		switch b[0] {
		case '\r':
			l.cr = true
		case '\n':
			l.bare("")
		default:
			l.bare(" ")
		}
		b = b[1:]
	}
}

// end is a line end that was there.
func (l *lineReader) end() {
	if l.inLine+2 > l.maxLine {
		l.tooLong()
		return
	}
	l.made = append(l.made, '\r', '\n')
	l.inLine = 0
}

// bare refuses what stands alone, or puts something good in its place; nothing
// stands for a line end.
func (l *lineReader) bare(instead string) {
	switch {
	case l.newlines == Reject:
		l.err = &RefusedError{Reply: replyBareNewline}
	case instead == "":
		l.end()
	default:
		l.made = append(l.made, instead...)
		l.inLine += len(instead)
	}
}

// finish is the end of the content.
func (l *lineReader) finish() {
	if l.cr {
		l.cr = false
		l.bare("")
	}
	if l.inLine > 0 && l.err == nil {
		l.end()
	}
}

func (l *lineReader) tooLong() { l.err = longLine(l.maxLine) }
