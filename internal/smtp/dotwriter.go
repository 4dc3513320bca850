package smtp

import (
	"bytes"
	"io"

	"lazaret/internal/errs"
)

// ErrBareNewline is what the dot writer gives for content that has a bare CR,
// a bare LF or a NUL: it is never sent (register B1).
var ErrBareNewline = errs.New(errs.Invalid, "content has a bare CR, a bare LF or a NUL and is not sent")

// dotWriter sends content in the form of DATA: a dot is put before each line
// that starts with one. Everything it passes on is whole CR LF lines. A line
// longer than RFC 5321 section 4.5.3.1.6 allows passes as it is: what was
// accepted leaves byte for byte.
type dotWriter struct {
	w      io.Writer
	inLine bool // behind the start of a line
	cr     bool // the last octet was a CR, which is held back
}

var (
	dot     = []byte(".")
	endMark = []byte(".\r\n")
)

// Write passes p on. After an error the message cannot be finished: the
// connection has to be closed without the final dot.
func (d *dotWriter) Write(p []byte) (int, error) {
	total := len(p)
	if bytes.IndexByte(p, 0) >= 0 {
		return 0, ErrBareNewline
	}
	if d.cr && len(p) > 0 {
		if p[0] != '\n' {
			return 0, ErrBareNewline
		}
		d.cr, d.inLine = false, false
		if _, err := d.w.Write(crlf); err != nil {
			return 0, err
		}
		p = p[1:]
	}
	if n := len(p); n > 0 && p[n-1] == '\r' {
		d.cr, p = true, p[:n-1]
	}
	for len(p) > 0 {
		n, err := d.run(p)
		if err != nil {
			return 0, err
		}
		p = p[n:]
	}
	return total, nil
}

// run passes on the lines of p up to the next one that starts with a dot.
func (d *dotWriter) run(p []byte) (int, error) {
	if !d.inLine && p[0] == '.' {
		if _, err := d.w.Write(dot); err != nil {
			return 0, err
		}
	}
	n, lines := 0, 0
	d.inLine = false
	for n < len(p) && (n == 0 || p[n] != '.') {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			n, d.inLine = len(p), true
			break
		}
		if i == 0 || p[n+i-1] != '\r' {
			return 0, ErrBareNewline
		}
		n += i + 1
		lines++
	}
	if bytes.Count(p[:n], cr) != lines {
		return 0, ErrBareNewline
	}
	_, err := d.w.Write(p[:n])
	return n, err
}

// finish sends the end mark, behind a CR LF when the last line has none.
func (d *dotWriter) finish() error {
	if d.cr {
		return ErrBareNewline
	}
	if d.inLine {
		if _, err := d.w.Write(crlf); err != nil {
			return err
		}
	}
	_, err := d.w.Write(endMark)
	return err
}
