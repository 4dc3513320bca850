package smtp

import (
	"bytes"
	"io"
	"strconv"
)

// The refusals of content.
var (
	replyBareNewline = NewReply(550, "5.6.11", "message has a bare CR, a bare LF or a NUL; lines end in CR LF only")
	replyTooBig      = NewReply(552, "5.3.4", "message is bigger than this server takes")
)

// dotReader gives the content of one DATA command, RFC 5321 section 4.5.2: it
// ends at CR LF . CR LF and at nothing else, and the first dot of a line is
// removed. It works on whole lines of the input buffer and looks for bytes
// with IndexByte and Count only; no loop goes over single bytes but in
// normalise, which is for bad content.
//
// A refusal (RefusedError) leaves the input in the midst of the content: drain
// goes on to the real end, so that nothing of a refused message is ever taken
// for a command.
type dotReader struct {
	in       *input
	newlines Newlines
	maxSize  int64 // 0: none
	maxLine  int

	out     []byte // ready to be given
	pending int    // octets of the input to be consumed once out is given
	scratch []byte // normalised content

	inLine int   // octets of the present line that were consumed; 0: at its start
	size   int64 // octets of content so far
	err    error // io.EOF: the end was seen and consumed
}

func newDotReader(in *input, newlines Newlines, maxSize int64, maxLine int) *dotReader {
	return &dotReader{in: in, newlines: newlines, maxSize: maxSize, maxLine: maxLine}
}

// Read is io.Reader.
func (d *dotReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := d.ready(); err != nil {
		return 0, err
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// WriteTo is io.WriterTo: it hands over the input buffer without a copy.
func (d *dotReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if err := d.ready(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		n, err := w.Write(d.out)
		total += int64(n)
		d.out = d.out[n:]
		if err != nil {
			return total, err
		}
	}
}

// ready makes out non-empty, or says why it is.
func (d *dotReader) ready() error {
	for len(d.out) == 0 {
		d.in.r += d.pending
		d.pending = 0
		if d.err != nil {
			return d.err
		}
		d.err = d.next()
	}
	return nil
}

// drain consumes the rest up to the real end. It gives io.EOF there, or the
// failure of the connection; errGarbage when more than limit octets came.
func (d *dotReader) drain(limit int64) error {
	d.in.r += d.pending
	d.pending, d.out = 0, nil
	if _, refused := d.err.(*RefusedError); d.err != nil && !refused {
		return d.err
	}
	d.err = nil
	d.newlines, d.maxSize, d.maxLine = Normalise, 0, 1<<30
	start := d.size
	for d.err == nil {
		d.err = d.next()
		d.in.r += d.pending
		d.pending, d.out = 0, nil
		if d.err == nil && d.size-start > limit {
			return errGarbage
		}
	}
	return d.err
}

// next sets out to the next run of content, or consumes the end of it.
func (d *dotReader) next() error {
	skip := 0
	if d.inLine == 0 {
		end, dot, err := d.lineStart()
		if err != nil || end {
			return err
		}
		skip = dot
	}
	b := d.in.buffered()
	for len(b) == skip || len(b) == skip+1 && b[skip] == '\r' {
		// A last CR waits for what follows it: only CR LF together is a line end.
		if err := d.more(); err != nil {
			return err
		}
		b = d.in.buffered()
	}
	return d.run(b, skip)
}

// lineStart looks at the start of a line: the end mark, which it consumes, or
// a stuffed dot, which is to be skipped.
func (d *dotReader) lineStart() (end bool, skip int, err error) {
	for {
		b := d.in.buffered()
		switch {
		case len(b) > 0 && b[0] != '.':
			return false, 0, nil
		case len(b) >= 3 && b[1] == '\r' && b[2] == '\n':
			d.in.r += 3
			return true, 0, io.EOF
		case len(b) >= 3, len(b) == 2 && b[1] != '\r':
			return false, 1, nil
		}
		if err := d.more(); err != nil {
			return false, 0, err
		}
	}
}

func (d *dotReader) more() error {
	d.in.room()
	return cutOff(d.in.fill(d.in))
}

// run takes from b, behind the first skip octets, as many lines as stand there
// without a dot to remove; or the start of a line when no whole one is there.
func (d *dotReader) run(b []byte, skip int) error {
	p, lines, longest := skip, 0, 0
	inLine, clean := d.inLine, true
	for p < len(b) && (lines == 0 || b[p] != '.') {
		i := bytes.IndexByte(b[p:], '\n')
		if i < 0 {
			break
		}
		if i == 0 || b[p+i-1] != '\r' {
			clean = false
			break
		}
		p += i + 1
		longest = max(longest, inLine+i+1)
		inLine = 0
		lines++
	}
	if lines == 0 && clean { // the start of a line: all but a last CR
		p = len(b)
		if b[p-1] == '\r' {
			p--
		}
		inLine += p - skip
		longest = inLine
	}
	// Each line has its one CR at its end: any more are bare.
	seg := b[skip:p]
	if !clean || bytes.Count(seg, cr) != lines || bytes.IndexByte(seg, 0) >= 0 {
		if d.newlines == Reject {
			return &RefusedError{Reply: replyBareNewline}
		}
		return d.normalise(b, skip)
	}
	if longest > d.maxLine {
		return d.tooLong()
	}
	return d.give(seg, p, inLine)
}

var cr = []byte{'\r'}

// normalise takes one line, up to a real CR LF or to where the input ends, and
// makes each bare CR and each bare LF a CR LF and each NUL a blank. What
// follows a bare line end is not the start of a line on the wire: no dot is
// removed there, and a lone dot is content.
func (d *dotReader) normalise(b []byte, skip int) error {
	out := d.scratch[:0]
	end := bytes.Index(b[skip:], crlf)
	inLine, real := d.inLine, end >= 0
	if real {
		end += skip
	} else if end = len(b); b[end-1] == '\r' {
		end--
	}
	last := -inLine // where the present line starts in out
	for _, c := range b[skip:end] {
		switch c {
		case '\r', '\n':
			out = append(out, '\r', '\n')
			last = len(out) - 1 // not 0 octets into a line: that is for real ones
		case 0:
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
		if len(out)-last > d.maxLine {
			return d.tooLong()
		}
	}
	inLine = max(1, len(out)-last)
	if real {
		out = append(out, '\r', '\n')
		end += 2
		inLine = 0
	}
	d.scratch = out
	return d.give(out, end, inLine)
}

var crlf = []byte("\r\n")

func (d *dotReader) tooLong() error { return longLine(d.maxLine) }

func longLine(limit int) error {
	return &RefusedError{Reply: NewReply(554, "5.6.0", "message has a line longer than "+strconv.Itoa(limit)+" octets")}
}

// give makes out the content that the next consumed octets of input stand for.
func (d *dotReader) give(out []byte, consumed, inLine int) error {
	if d.maxSize > 0 && d.size+int64(len(out)) > d.maxSize {
		return &RefusedError{Reply: replyTooBig}
	}
	d.size += int64(len(out))
	d.out, d.pending, d.inLine = out, consumed, inLine
	return nil
}
