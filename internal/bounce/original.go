package bounce

import (
	"bytes"
	"io"
)

// What a report returns of the message it is about (reference 8.4).
const (
	maxOriginal = 10 << 10 // a message up to here is returned whole
	maxHeader   = 10 << 10 // else its header, cut here
	maxLine     = 998      // RFC 5322 section 2.1.1
)

// returned is the part of a report that holds the message or its header.
type returned struct {
	whole bool
	text  []byte // lines with CRLF
}

// readOriginal gives the message when it is small enough, asked for, and can
// travel in a report as it is; else its header.
func readOriginal(content io.Reader, whole bool) (returned, error) {
	return readUpTo(content, whole, maxOriginal)
}

// readUpTo is readOriginal with another limit.
func readUpTo(content io.Reader, whole bool, most int64) (returned, error) {
	head, err := io.ReadAll(io.LimitReader(content, most+1))
	if err != nil {
		return returned{}, err
	}
	if whole && int64(len(head)) <= most && sound(head) {
		return returned{whole: true, text: head}, nil
	}
	return returned{text: headerOf(head[:min(len(head), maxOriginal+1)])}, nil
}

// sound reports whether b consists of lines that a report may have: content
// that came as BINARYMIME need not.
func sound(b []byte) bool {
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 1 || b[i-1] != '\r' || i-1 > maxLine || bytes.ContainsAny(b[:i-1], "\r\x00") {
			return false
		}
		b = b[i+1:]
	}
	return true
}

// headerOf gives the header lines at the start of b, made sound: each line end
// is CRLF, NUL and bare CR are question marks, no line is too long, and the
// last is whole.
func headerOf(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break // cut in the middle of a line
		}
		line := bytes.TrimSuffix(b[:i], []byte{'\r'})
		if len(line) == 0 {
			break
		}
		line = line[:min(len(line), maxLine)]
		if len(out)+len(line)+2 > maxHeader {
			break
		}
		for _, c := range line {
			if c == '\r' || c == 0 {
				c = '?'
			}
			out = append(out, c)
		}
		out = append(out, '\r', '\n')
		b = b[i+1:]
	}
	return out
}
