package message

import (
	"bytes"
	"io"
	"strings"

	"lazaret/internal/errs"
)

// Edit is what is done to a message whose quarantine or policy asked for it: this is the
// one place where content changes, and only a gateway does it, to a message of
// its own (P4).
type Edit struct {
	Subject  func(raw string) string                 // gives the new Subject for the old one, both unfolded; nil: it stays
	Drop     func(name, value string) bool           // fields that go: the name in lower case, the value unfolded; nil: none
	Field    func(name, value string) (string, bool) // gives another value of a field, if it has one: as for Drop; nil: all stay
	Why      string                                  // what the notices of Strip say behind "was removed"; empty: when this message was released from quarantine
	Strip    bool                                    // attachments go, see strip
	Boundary string                                  // of the multiparts that Strip writes: unknown to the sender, fit for a boundary
}

// Copy writes the message that it reads, edited, and gives how many attachments
// it took out. Of what it does not understand it writes nothing rather than
// what may be an attachment. An error of kind Invalid is a message that cannot
// be edited; what was written is to be thrown away.
func (e Edit) Copy(w io.Writer, r io.Reader) (removed int, err error) {
	src := newSource(r, new(int64))
	defer src.close()
	head, err := readHead(src)
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(e.head(head.fields)); err != nil {
		return 0, err
	}
	rest := io.MultiReader(bytes.NewReader(head.end), src.br)
	if e.Strip {
		why := e.Why
		if why == "" {
			why = "when this message was released from quarantine"
		}
		return strip(w, io.MultiReader(bytes.NewReader(bytes.Join(head.fields, nil)), rest), e.Boundary, why)
	}
	_, err = io.Copy(w, rest)
	return 0, err
}

// head is the header block of a message in raw fields, with their line ends.
type head struct {
	fields [][]byte
	end    []byte // the blank line, if there is one
}

// readHead reads a header block. Lines that begin with a blank belong to the
// field before, as everybody reads them.
func readHead(src *source) (h head, err error) {
	size := 0
	for {
		piece, start, err := src.next()
		switch {
		case err == io.EOF:
			return h, nil
		case err != nil:
			return h, err
		case start && len(bytes.TrimRight(piece, "\r\n")) == 0:
			h.end = bytes.Clone(piece)
			return h, nil
		}
		if size += len(piece); size > MaxHeaderBlock {
			return h, errs.New(errs.Invalid, "header is longer than %d bytes: the message cannot be changed", MaxHeaderBlock)
		}
		last := len(h.fields) - 1
		if last < 0 || start && piece[0] != ' ' && piece[0] != '\t' {
			h.fields = append(h.fields, bytes.Clone(piece))
		} else {
			h.fields[last] = append(h.fields[last], piece...)
		}
	}
}

// fieldName gives the name of a raw field in lower case, as tolerant as any
// reader; empty for a line that is none.
func fieldName(raw []byte) string {
	name, _, ok := bytes.Cut(raw, []byte{':'})
	if !ok || len(name) > maxValue {
		return ""
	}
	name, _, _ = bytes.Cut(name, []byte{'('})
	name = bytes.TrimRight(bytes.ReplaceAll(name, []byte{0}, nil), " \t")
	if bytes.ContainsAny(name, " \t\r\n") {
		return ""
	}
	return strings.ToLower(string(name))
}

// head gives the new header block without its blank line. With Strip, fields
// that say how to read the body go, and so do lines that are no fields.
func (e Edit) head(fields [][]byte) []byte {
	var b bytes.Buffer
	tagged := e.Subject == nil
	for _, f := range fields {
		name := fieldName(f)
		if e.Field != nil && name != "" && (e.Drop == nil || !e.drops(name, f)) {
			f = e.changed(name, f)
		}
		switch {
		case e.Drop != nil && name != "" && e.drops(name, f):
		case name == "subject" && e.Subject != nil:
			// Each of several: which one is shown differs.
			_, value, _ := bytes.Cut(f, []byte{':'})
			b.WriteString("Subject: " + fold(e.Subject(unfold(value)), len("Subject: ")) + "\r\n")
			tagged = true
		case e.Strip && (name == "" || strings.HasPrefix(name, "content-") || name == "mime-version"):
		case e.Strip:
			b.Write(tidy(f))
		default:
			b.Write(f)
		}
	}
	if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
		b.WriteString("\r\n")
	}
	if !tagged {
		b.WriteString("Subject: " + fold(e.Subject(""), len("Subject: ")) + "\r\n")
	}
	return b.Bytes()
}

// changed gives a field with another value, or as it is.
func (e Edit) changed(name string, f []byte) []byte {
	written, value, _ := bytes.Cut(f, []byte{':'})
	next, ok := e.Field(name, unfold(value))
	if !ok {
		return f
	}
	start := strings.TrimSpace(string(written)) + ": "
	return []byte(start + fold(next, len(start)) + "\r\n")
}

// drops reports whether a field goes.
func (e Edit) drops(name string, f []byte) bool {
	_, value, _ := bytes.Cut(f, []byte{':'})
	return e.Drop(name, unfold(value))
}

// tidy leaves out continuation lines of blanks only, behind which a reader may
// see the end of the header.
func tidy(f []byte) []byte {
	lines := bytes.SplitAfter(f, []byte{'\n'})
	out := lines[0]
	for i, l := range lines[1:] {
		if len(bytes.TrimSpace(l)) > 0 {
			if i == 0 || len(out) == len(lines[0]) {
				out = bytes.Clone(out)
			}
			out = append(out, l...)
		}
	}
	return out
}

// unfold gives the value of a raw field on one line.
func unfold(value []byte) string {
	lines := strings.Split(string(value), "\n")
	for i := range lines {
		lines[i] = strings.Trim(lines[i], " \t\r")
	}
	return strings.Trim(strings.Join(lines, " "), " ")
}

// Lengths of header lines, RFC 5322 section 2.1.1.
const (
	niceLine = 78
	mostLine = 998
)

// fold breaks a value at blanks so that lines keep to niceLine where they can;
// used is what stands in front of it.
func fold(value string, used int) string {
	var b strings.Builder
	for i, word := range strings.Split(value, " ") {
		if i > 0 {
			if used+1+len(word) > niceLine && word != "" {
				b.WriteString("\r\n")
				used = 0
			}
			b.WriteByte(' ')
			used++
		}
		for len(word) > mostLine { // no blank to break at: the least evil
			b.WriteString(word[:mostLine-1] + "\r\n ")
			word, used = word[mostLine-1:], 1
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}
