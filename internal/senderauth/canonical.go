package senderauth

import (
	"bytes"
	"io"
	"strings"
)

// The canonical forms of RFC 6376 section 3.4, for signatures that the DKIM
// library does not know: those of ARC.

// relaxed gives a header field in relaxed form, with CRLF.
func relaxed(field string) string {
	name, value, _ := strings.Cut(field, ":")
	words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' })
	return strings.ToLower(strings.TrimRight(name, " \t")) + ":" + strings.Join(words, " ") + "\r\n"
}

// unsigned gives a signature field without the value of its tag b, and without
// its last line end (section 3.7).
func unsigned(field string) string {
	field = strings.TrimRight(field, "\r\n")
	name, value, _ := strings.Cut(field, ":")
	tags := strings.Split(value, ";")
	for i, tag := range tags {
		if k, _, ok := strings.Cut(tag, "="); ok && strings.TrimSpace(k) == "b" {
			tags[i] = k + "="
		}
	}
	return name + ":" + strings.Join(tags, ";")
}

// bodyForm writes a body in canonical form. It holds nothing back but counts:
// empty lines and blanks that may turn out to be at the end.
type bodyForm struct {
	w       io.Writer
	relaxed bool
	lines   int  // line ends that are not written yet
	blanks  bool // relaxed: blanks that are not written yet
	cr      bool // a CR that may be half of a line end
	any     bool // something was written
	err     error
}

// Write implements io.Writer.
func (f *bodyForm) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && f.err == nil {
		f.step(&p)
	}
	return n - len(p), f.err
}

// step takes the next octet, or the next run of text.
func (f *bodyForm) step(p *[]byte) {
	c := (*p)[0]
	if f.cr {
		f.cr = false
		if c == '\n' {
			f.lines, f.blanks = f.lines+1, false
			*p = (*p)[1:]
			return
		}
		f.text([]byte{'\r'}) // a CR alone; the wire refuses them
	}
	switch {
	case c == '\r':
		f.cr = true
		*p = (*p)[1:]
	case f.relaxed && (c == ' ' || c == '\t'):
		f.blanks = true
		*p = (*p)[1:]
	default:
		end := bytes.IndexAny(*p, f.stops())
		if end < 0 {
			end = len(*p)
		}
		f.text((*p)[:max(end, 1)])
		*p = (*p)[max(end, 1):]
	}
}

func (f *bodyForm) stops() string {
	if f.relaxed {
		return "\r \t"
	}
	return "\r"
}

var crlfs = bytes.Repeat([]byte("\r\n"), 512)

// text writes what is no blank, behind what was held back.
func (f *bodyForm) text(b []byte) {
	for f.lines > 0 {
		n := min(f.lines, len(crlfs)/2)
		f.write(crlfs[:2*n])
		f.lines -= n
	}
	if f.blanks {
		f.write([]byte{' '})
		f.blanks = false
	}
	f.write(b)
	f.any = true
}

func (f *bodyForm) write(b []byte) {
	if f.err == nil {
		_, f.err = f.w.Write(b)
	}
}

// Close ends the body: one line end, of an empty one only in simple form.
func (f *bodyForm) Close() error {
	if f.cr {
		f.text([]byte{'\r'})
	}
	if f.any || !f.relaxed {
		f.write([]byte("\r\n"))
	}
	return f.err
}
