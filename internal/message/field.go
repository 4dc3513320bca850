package message

import (
	"bytes"
	"io"
	"strings"
)

// Field is one header field: its name without blanks and comments, and its
// body unfolded to one line, otherwise as it stands.
type Field struct {
	Name, Value string
}

// Header is a header block.
type Header struct {
	Fields []Field
	Stray  []byte // lines that are neither a field nor part of one, LF behind each

	short []Field // Content fields as they are for who does not take a stray line for a part of them
}

// Values gives the bodies of all fields of the name, in order, raw.
func (h *Header) Values(name string) []string {
	var out []string
	for _, f := range h.Fields {
		if strings.EqualFold(f.Name, name) {
			out = append(out, f.Value)
		}
	}
	return out
}

// ReadHeader reads the header block at the start of a message and nothing
// behind it but what a buffer takes. An error is the reader's own.
func ReadHeader(r io.Reader, lim Limits) (*Header, Findings, error) {
	w := newWalker(r, lim, nil)
	defer w.src.close()
	h, err := w.header("")
	if err != nil {
		return nil, nil, err
	}
	return &h.Header, w.st.findings, nil
}

// block is a header block under construction.
type block struct {
	Header
	w       *walker
	path    string
	raw     []byte // of the field under way
	isField bool   // raw holds a field
	size    int
	lines   int
	over    bool     // beyond a limit: what comes is skipped
	own     bool     // ended by the entity's own delimiter instead of a blank line
	body    bool     // ended by a blank line, or by own: a body follows
	known   []string // boundaries of the first asked Fields
	asked   int
}

// header reads up to the blank line, a delimiter or the end of the input.
// Readers differ on every malformed line: all that any of them could take as a
// field becomes one, the rest is kept in Stray, and each case is a finding.
func (w *walker) header(path string) (*block, error) {
	h := &block{w: w, path: path}
	var line []byte
	for {
		piece, start, err := w.src.next()
		if err == io.EOF {
			w.hit, w.closing, w.end = atEnd, false, w.src.off
			h.line(line)
			h.flush()
			return h, nil
		}
		if err != nil {
			return nil, err
		}
		if start && len(line) > 0 {
			h.line(line)
			line = line[:0]
		}
		if start && h.ends(piece) {
			w.end = w.src.off - int64(len(piece))
			h.flush()
			return h, nil
		}
		h.size += len(piece)
		if len(line)+len(piece) <= w.lim.HeaderField {
			line = append(line, piece...)
		} else {
			h.note(HeaderLimit)
			if len(line) == 0 {
				line = append(line, piece[:w.lim.HeaderField]...)
			}
		}
	}
}

// ends looks for what ends a header at the start of a line.
func (h *block) ends(piece []byte) bool {
	if len(piece) == 1 && piece[0] == '\n' || len(piece) == 2 && piece[0] == '\r' && piece[1] == '\n' {
		h.body = true
		return true
	}
	if piece[0] != '-' || len(piece) < 3 || piece[1] != '-' {
		return false
	}
	if h.w.delimiter(piece, h.path) {
		h.note(HeaderCut)
		return true
	}
	h.flush()
	rest := string(trimEnd(piece[2:]))
	for _, b := range h.boundaries() {
		if rest == b || rest == b+"--" {
			h.note(MissingBlankLine)
			h.own, h.body = true, true
			h.w.closing = rest != b
			return true
		}
	}
	return false
}

// boundaries gives the boundary of the multipart whose header this is, as far
// as it is known. Each field is parsed once, however many lines ask.
func (h *block) boundaries() []string {
	for ; h.asked < len(h.Fields); h.asked++ {
		if f := h.Fields[h.asked]; strings.EqualFold(f.Name, "Content-Type") {
			p := parseValue(f.Value)
			h.known = append(h.known, p.values("boundary")...)
		}
	}
	return h.known
}

func (h *block) note(k Kind) { h.w.st.findings.add(k, h.path) }

// line takes one physical line with its line end.
func (h *block) line(l []byte) {
	if len(l) == 0 {
		return
	}
	h.lines++
	if h.over || h.size > h.w.lim.HeaderBlock || h.lines > h.w.lim.HeaderLines {
		h.over = true
		h.note(HeaderLimit)
		return
	}
	l = bytes.TrimSuffix(bytes.TrimSuffix(l, []byte("\n")), []byte("\r"))
	for {
		i := bytes.IndexByte(l, '\r')
		if i < 0 {
			break
		}
		h.note(BareCRInHeader) // some readers end the line here
		h.logical(l[:i])
		l = l[i+1:]
	}
	h.logical(l)
}

// logical takes one line without its end.
func (h *block) logical(l []byte) {
	if len(l) == 0 {
		return
	}
	if l[0] == ' ' || l[0] == '\t' {
		h.continuation(l)
		return
	}
	name, ok := h.fieldName(l)
	if !ok {
		h.garbage(l)
		return
	}
	h.flush()
	h.raw = append(append(h.raw[:0], name...), l[bytes.IndexByte(l, ':'):]...)
	h.isField = true
}

func (h *block) continuation(l []byte) {
	text := bytes.Trim(l, " \t")
	switch {
	case len(text) == 0:
		h.note(BlankContinuation) // for some readers the header ends here
	case !h.isField:
		h.note(ContinuationFirst)
		h.stray(l)
	default:
		h.join(text)
	}
}

// join adds a continuation to the field under way.
func (h *block) join(text []byte) {
	if len(h.raw)+len(text)+1 > h.w.lim.HeaderField {
		h.note(HeaderLimit)
		return
	}
	h.raw = append(append(h.raw, ' '), text...)
}

// fieldName gives the name in front of the colon, without the blanks and
// comments that some readers allow there, RFC 5322 sections 2.2 and 4.5.8.
func (h *block) fieldName(l []byte) ([]byte, bool) {
	colon := bytes.IndexByte(l, ':')
	if colon <= 0 {
		return nil, false
	}
	name := bytes.TrimRight(l[:colon], " \t")
	blank, comment := len(name) != colon, false
	if i := bytes.IndexByte(name, '('); i > 0 && name[len(name)-1] == ')' {
		comment = true
		name = bytes.TrimRight(name[:i], " \t")
	}
	if bytes.IndexByte(name, 0) >= 0 {
		h.note(NULInHeader)
		name = bytes.ReplaceAll(name, []byte{0}, nil)
	}
	if len(name) == 0 || len(name) > maxValue {
		return nil, false
	}
	for _, c := range name {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == ';' || c == '<' || c == '@' {
			return nil, false // RFC 5322 allows some of these; no field that matters has them
		}
	}
	if blank {
		h.note(SpaceBeforeColon)
	}
	if comment {
		h.note(CommentInName)
	}
	return name, true
}

// garbage is a line that is no field. Behind a Content field it may be a
// continuation that lost its blank; and for some readers the body starts here.
func (h *block) garbage(l []byte) {
	h.stray(l)
	if h.isField && len(h.raw) > 8 && strings.EqualFold(string(h.raw[:8]), "Content-") {
		h.note(UnfoldedLine)
		if len(h.short) < maxContentFields {
			name, value, _ := strings.Cut(string(h.raw), ":")
			h.short = append(h.short, Field{name, strings.Trim(value, " \t")})
		}
		h.join(bytes.Trim(l, " \t"))
		return
	}
	h.note(GarbageInHeader)
}

func (h *block) stray(l []byte) { h.Stray = append(append(h.Stray, l...), '\n') }

// flush ends the field under way.
func (h *block) flush() {
	if !h.isField {
		return
	}
	h.isField = false
	name, value, _ := strings.Cut(string(h.raw), ":")
	if strings.IndexByte(value, 0) >= 0 {
		h.note(NULInHeader)
	}
	h.Fields = append(h.Fields, Field{name, strings.Trim(value, " \t")})
}

func trimEnd(b []byte) []byte {
	n := len(b)
	for n > 0 && isBlank(b[n-1]) {
		n--
	}
	return b[:n]
}
