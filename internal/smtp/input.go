package smtp

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"lazaret/internal/errs"
)

// Sizes of read buffers. A session that waits holds the small one only; while
// content comes it borrows a big one.
const (
	smallBuffer = 4 << 10
	bigBuffer   = 64 << 10
)

// maxCommand is the longest command line that is looked at, with its end. RFC
// 5321 section 4.5.3.1.4 says 512, and extensions may lengthen MAIL and RCPT
// (section 4.5.3.1.10 asks for tolerance); the table of commands is stricter.
const maxCommand = 2048

// maxDiscard is how much of an over-long command line is read over before the
// peer is taken for garbage.
const maxDiscard = 64 << 10

var (
	errLineTooLong = errs.New(errs.Invalid, "command line is too long")
	errGarbage     = errs.New(errs.Invalid, "command line has no end")
	errBareLF      = errs.New(errs.Invalid, "command line does not end in CR LF")
)

// bigBuffers are free big buffers. They hold no state: package-level only so
// that servers share them.
var bigBuffers = sync.Pool{New: func() any { b := make([]byte, bigBuffer); return &b }}

// input is a read buffer. fill must add at least one byte at w or fail; it is
// the only place where anything waits.
type input struct {
	buf   []byte
	r, w  int
	small []byte  // what buf is otherwise, while big is borrowed
	big   *[]byte // what buf is, when borrowed
	fill  func(*input) error
}

// buffered gives what has come and is not consumed.
func (in *input) buffered() []byte { return in.buf[in.r:in.w] }

// room makes space at the end of the buffer by moving the rest to its start.
func (in *input) room() {
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
}

// grow moves the buffer into a borrowed big one.
func (in *input) grow() {
	if in.big != nil {
		return
	}
	in.big = bigBuffers.Get().(*[]byte)
	in.w = copy(*in.big, in.buffered())
	in.r, in.small, in.buf = 0, in.buf, *in.big
}

// shrink gives the big buffer back if the rest fits in a small one.
func (in *input) shrink() {
	if in.big == nil || in.w-in.r > smallBuffer/2 {
		return
	}
	in.w = copy(in.small, in.buffered())
	in.r, in.buf = 0, in.small
	bigBuffers.Put(in.big)
	in.big = nil
}

// release gives back what was borrowed; the input is of no more use.
func (in *input) release() {
	if in.big != nil {
		bigBuffers.Put(in.big)
	}
	in.big, in.buf, in.r, in.w = nil, nil, 0, 0
}

// line gives the next line without its end; it is valid until the next read.
// A line ends in CR LF, or in a bare LF if that is allowed. errLineTooLong
// leaves the input behind the line's end.
func (in *input) line(bareLF bool) ([]byte, error) { return in.lineOf(maxCommand, bareLF) }

// lineOf is line with another limit, which the buffer must have room for.
func (in *input) lineOf(limit int, bareLF bool) ([]byte, error) {
	from := 0 // what of the buffer was searched already
	for {
		b := in.buffered()
		if i := bytes.IndexByte(b[from:], '\n'); i >= 0 {
			i += from
			in.r += i + 1
			line := b[:i]
			if i > 0 && line[i-1] == '\r' {
				line = line[:i-1]
			} else if !bareLF {
				return nil, errBareLF
			}
			if i+1 > limit {
				return nil, errLineTooLong
			}
			return line, nil
		}
		if len(b) > limit {
			return nil, in.discardLine()
		}
		from = len(b)
		in.room()
		if err := in.fill(in); err != nil {
			return nil, err
		}
	}
}

// discardLine reads over the rest of a line.
func (in *input) discardLine() error {
	for n := 0; n < maxDiscard; {
		b := in.buffered()
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			in.r += i + 1
			return errLineTooLong
		}
		n += len(b)
		in.r, in.w = 0, 0
		if err := in.fill(in); err != nil {
			return err
		}
	}
	return errGarbage
}

// isTimeout reports whether err is a deadline's.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// cutOff is a read's error that can never be taken for the end of content.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
