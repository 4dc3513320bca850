package smtp

import (
	"bytes"
	"strings"
	"time"

	"lazaret/internal/errs"
)

// maxReplyRead is the longest reply line that is read; RFC 5321 section
// 4.5.3.1.5 says 512, and the rest is read over.
const maxReplyRead = 2048

var (
	errReplySyntax = errs.New(errs.Invalid, "peer's reply is not one of SMTP")
	errReplyLong   = errs.New(errs.Invalid, "peer's reply is too long")
)

// reply reads one reply, RFC 5321 section 4.2. It is strict: three digits, the
// same on each line, lines end in CR LF, no more than 100 of them. Whatever is
// not printable becomes a question mark; so a reply is safe to store and to log
// as one line, and is never more than data (register B3).
func (c *Client) reply(patience time.Duration) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	if c.Closing() {
		return c.last, nil
	}
	c.wait = patience
	var r Reply
	for n := 0; ; n++ {
		if n == maxReplyLines {
			return r, errReplyLong
		}
		line, err := c.in.replyLine()
		if err != nil {
			return r, err
		}
		last, err := r.add(line, n == 0)
		if err != nil {
			return r, err
		}
		if last {
			break
		}
	}
	r.findStatus()
	if r.Code == 421 { // RFC 5321 section 3.8: may come in place of any reply
		c.last = r
	}
	return r, nil
}

// replyLine gives the next line without CR LF.
func (in *input) replyLine() ([]byte, error) {
	from := 0
	for {
		b := in.buffered()
		if i := bytes.IndexByte(b[from:], '\n'); i >= 0 {
			i += from
			if i == 0 || b[i-1] != '\r' || bytes.IndexByte(b[:i-1], '\r') >= 0 {
				return nil, errReplySyntax
			}
			if i > maxReplyRead {
				return nil, errReplyLong
			}
			in.r += i + 1
			return b[:i-1], nil
		}
		if len(b) > maxReplyRead {
			return nil, errReplyLong
		}
		from = len(b)
		in.room()
		if err := in.fill(in); err != nil {
			return nil, err
		}
	}
}

// add takes one line and reports whether it is the last.
func (r *Reply) add(line []byte, first bool) (last bool, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !digit(line[1]) || !digit(line[2]) {
		return false, errReplySyntax
	}
	code := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	if first {
		r.Code = code
	} else if code != r.Code {
		return false, errReplySyntax
	}
	last = len(line) == 3 || line[3] == ' '
	if !last && line[3] != '-' {
		return false, errReplySyntax
	}
	text := ""
	if len(line) > 4 {
		var buf [maxReplyText]byte
		text = string(appendPrintable(buf[:0], line[4:], maxReplyText))
	}
	r.Text = append(r.Text, text)
	return last, nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// findStatus moves the enhanced status code out of the text, if all lines
// start with the same and its class is that of the code (RFC 2034 section 4).
func (r *Reply) findStatus() {
	status := statusOf(r.Text[0])
	if status == "" || status[0] != byte('0'+r.Code/100) {
		return
	}
	for _, t := range r.Text {
		if statusOf(t) != status {
			return
		}
	}
	for i, t := range r.Text {
		r.Text[i] = strings.TrimPrefix(t[len(status):], " ")
	}
	r.Status = status
}

// statusOf gives the status at the start of text: class "." subject "." detail,
// RFC 3463 section 2.
func statusOf(text string) string {
	i := 0
	for part := range 3 {
		start := i
		for i < len(text) && digit(text[i]) {
			i++
		}
		n := i - start
		if n == 0 || n > 3 || part == 0 && (n > 1 || text[0] != '2' && text[0] != '4' && text[0] != '5') {
			return ""
		}
		if part < 2 {
			if i == len(text) || text[i] != '.' {
				return ""
			}
			i++
		}
	}
	if i < len(text) && text[i] != ' ' {
		return ""
	}
	return text[:i]
}
