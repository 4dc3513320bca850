// Package message reads mail: header fields, MIME parts, names and charsets,
// always from a stream, always with limits, and reports as findings what two
// readers could understand differently. It also writes the header lines that
// we put on top.
//
// It never changes content: the stored bytes are the truth, what comes out here
// is for eyes, filters and lists. It decides nothing.
package message

import (
	"bytes"
	"strings"
)

// Limits of a header block (register C2).
const (
	MaxHeaderBlock = 256 << 10 // bytes
	MaxHeaderField = 64 << 10  // bytes of one field with its continuation lines
	MaxHeaderLines = 1000
)

// Kept lengths of the fields for lists.
const (
	maxSubject   = 1024
	maxMessageID = 256
)

// HeaderScanner is fed with the start of a message while it streams by, and
// keeps what lists and loop checks need. Write never fails and costs next to
// nothing once the header has ended.
type HeaderScanner struct {
	line      []byte // the line under way, as far as it is of interest
	size      int    // of the block so far
	done      bool
	overflow  bool
	field     fieldKind // of the line before, for continuation lines
	subject   []byte
	messageID []byte
	gotSubj   bool
	gotID     bool
	received  int
	known     *Passes // nil: passes are not counted
	passes    int
}

type fieldKind uint8

const (
	otherField fieldKind = iota
	subjectField
	messageIDField
)

// NewHeaderScanner gives an empty scanner.
func NewHeaderScanner() *HeaderScanner { return &HeaderScanner{} }

// CountPasses has the marks of a gateway counted, from the next byte on.
func (h *HeaderScanner) CountPasses(of *Passes) { h.known = of }

// Write takes the next bytes of the content.
func (h *HeaderScanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && !h.done {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i+1]
		}
		h.size += len(part)
		if room := maxSubject + 128 - len(h.line); room > 0 {
			h.line = append(h.line, part[:min(room, len(part))]...)
		}
		p = p[len(part):]
		if i >= 0 {
			h.endLine()
		}
		if h.size > MaxHeaderBlock {
			h.overflow, h.done = true, true
		}
	}
	return n, nil
}

// endLine looks at one whole line, RFC 5322 section 2.2.
func (h *HeaderScanner) endLine() {
	line := bytes.TrimRight(h.line, "\r\n")
	h.line = h.line[:0]
	if len(line) == 0 {
		h.done = true
		return
	}
	if line[0] == ' ' || line[0] == '\t' {
		h.add(line)
		return
	}
	name, value, ok := bytes.Cut(line, []byte{':'})
	h.field = otherField
	if !ok {
		return
	}
	switch name = bytes.TrimRight(name, " \t"); {
	case len(name) == 7 && strings.EqualFold(string(name), "Subject"):
		if !h.gotSubj {
			h.gotSubj, h.field = true, subjectField
			h.add(value)
		}
	case len(name) == 10 && strings.EqualFold(string(name), "Message-ID"):
		if !h.gotID {
			h.gotID, h.field = true, messageIDField
			h.add(value)
		}
	case len(name) == 8 && strings.EqualFold(string(name), "Received"):
		h.received++
	case h.known != nil && len(name) == len(PassField) && strings.EqualFold(string(name), PassField):
		if h.known.ours(value) {
			h.passes++
		}
	}
}

// add unfolds: a continuation goes on behind one blank.
func (h *HeaderScanner) add(value []byte) {
	value = bytes.Trim(value, " \t")
	switch h.field {
	case subjectField:
		h.subject = join(h.subject, value, maxSubject)
	case messageIDField:
		h.messageID = join(h.messageID, value, maxMessageID)
	}
}

func join(to, value []byte, limit int) []byte {
	if len(to) > 0 && len(value) > 0 {
		to = append(to, ' ')
	}
	to = append(to, value...)
	return to[:min(len(to), limit)]
}

// Subject gives the first Subject field, unfolded, raw, at most 1 KiB.
func (h *HeaderScanner) Subject() string { return string(h.subject) }

// MessageID gives the first Message-ID field as it stands, at most 256 bytes.
func (h *HeaderScanner) MessageID() string { return string(h.messageID) }

// ReceivedCount gives the number of Received fields, for the loop check of RFC 5321 section 6.3.
func (h *HeaderScanner) ReceivedCount() int { return h.received }

// PassCount gives the number of marks that are those of CountPasses. The header
// block bounds how many there can be; one that is folded is none.
func (h *HeaderScanner) PassCount() int { return h.passes }

// Done reports whether the header has ended.
func (h *HeaderScanner) Done() bool { return h.done }

// Overflow reports a header beyond MaxHeaderBlock: what came later was not looked at.
func (h *HeaderScanner) Overflow() bool { return h.overflow }
