package message

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Walk reads a message once and calls fn for each of its parts, in the order
// of the stream. It is not a validator: it gives every part that some reader
// could see (the union of readings, register C1), and says as findings where
// readers differ. An error is the reader's or fn's; what is wrong with the
// message is never an error. With a limit exceeded the rest is skipped and
// Findings.Unscannable says so.
//
// A Part is valid until fn returns.
func Walk(r io.Reader, lim Limits, fn func(*Part) error) (Findings, error) {
	w := newWalker(r, lim, fn)
	defer w.src.close()
	err := w.entity(place{fallback: "text/plain"})
	if err == errEnough {
		err = nil
	}
	return w.st.findings, err
}

// atEnd is the hit of a walker whose input has ended.
const atEnd = -1

// walker reads one stream. A container in base64 is read by a walker of its
// own on the decoded bytes; both share the state.
type walker struct {
	src     *source
	lim     Limits
	fn      func(*Part) error
	st      *state
	stack   [][]string // the boundaries of each open multipart, all readings
	hit     int        // level of the delimiter that ended the last entity, or atEnd
	closing bool       // it was a closing delimiter
	end     int64      // where the content in front of it ends

	mark func(extent) // hears of each entity behind it, but for those in encoded containers; may be nil
}

// extent is where an entity stands in the stream, in bytes from its start.
type extent struct {
	path        string
	start, body int64 // of its header and behind that; body is -1 for one that is header alone
	end         int64 // in front of the line end that belongs to the delimiter
}

// state is what all walkers of one message count together.
type state struct {
	findings Findings
	parts    int
	reread   int64
	work     int64
}

func newWalker(r io.Reader, lim Limits, fn func(*Part) error) *walker {
	st := &state{}
	return &walker{src: newSource(r, &st.work), lim: lim.filled(), fn: fn, st: st, hit: atEnd}
}

type enough struct{}

func (enough) Error() string { return "enough parts" }

// errEnough ends a walk at the limit of parts.
var errEnough error = enough{}

// place is where an entity stands.
type place struct {
	path     string
	depth    int
	attached bool
	fallback string // type without a Content-Type field
}

func (p place) child(n int, fallback string) place {
	p.depth++
	if p.path != "" {
		p.path += "."
	}
	p.path += strconv.Itoa(n)
	p.fallback = fallback
	return p
}

func (w *walker) note(k Kind, path string) { w.st.findings.add(k, path) }

func (w *walker) found(k Kind, path string) bool {
	return slices.Contains(w.st.findings, Finding{k, path})
}

// delimiter looks whether a line is a delimiter of an open multipart, RFC 2046
// section 5.1.1: the innermost that matches in whole. Readers that compare only
// the beginning of the line would see another message: that is a finding.
func (w *walker) delimiter(line []byte, path string) bool {
	if len(w.stack) == 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return false
	}
	rest := trimEnd(line[2:])
	prefix := false
	for level := len(w.stack) - 1; level >= 0; level-- {
		for _, b := range w.stack[level] {
			w.st.work++
			if len(rest) < len(b) || string(rest[:len(b)]) != b {
				continue
			}
			switch string(rest[len(b):]) {
			case "":
				w.hit, w.closing = level, false
				return true
			case "--":
				w.hit, w.closing = level, true
				return true
			}
			prefix = true
		}
	}
	if prefix && bytes.ContainsAny(rest, "\x00\r") {
		w.note(BoundaryAmbiguous, path) // the line ends there for some readers
	}
	if prefix {
		w.note(BoundaryPrefix, path)
	}
	return false
}

// bareCR looks for delimiters behind a carriage return alone, where some
// readers end a line.
func (w *walker) bareCR(line []byte, path string) {
	for {
		i := bytes.IndexByte(line, '\r')
		if i < 0 {
			return
		}
		line = line[i+1:]
		if len(line) < 3 || line[0] != '-' {
			continue
		}
		if first, _, _ := bytes.Cut(line, []byte{'\r'}); w.isDelimiter(first) {
			w.note(BoundaryAmbiguous, path)
		}
	}
}

// isDelimiter is delimiter without its consequences.
func (w *walker) isDelimiter(line []byte) bool {
	hit, closing := w.hit, w.closing
	is := w.delimiter(line, "")
	w.hit, w.closing = hit, closing
	return is
}

// onceFields may stand once, RFC 5322 section 3.6: with two, one reader shows
// the first and another the last.
var onceFields = [...]string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject", "Date"}

// topFields looks at the fields of the message itself.
func (w *walker) topFields(h *Header, e *entity) {
	for _, name := range onceFields {
		n := 0
		for _, f := range h.Fields {
			if strings.EqualFold(f.Name, name) {
				n++
			}
		}
		if n > 1 {
			w.note(DuplicateField, "")
			break
		}
	}
	if slices.ContainsFunc(e.types, multipart) {
		v := h.Values("MIME-Version")
		if len(v) != 1 || strings.TrimSpace(withoutComments(v[0])) != "1.0" {
			w.note(MIMEVersion, "")
		}
	}
}

// entity reads a header and what follows it, and leaves in w.hit what ended it.
func (w *walker) entity(at place) error {
	x := extent{path: at.path, start: w.src.off, body: -1}
	err := w.read(at, &x.body)
	if x.end = w.end; err == nil && w.mark != nil {
		w.mark(x)
	}
	return err
}

// read is entity, which it tells where the body begins.
func (w *walker) read(at place, body *int64) error {
	if w.st.parts++; w.st.parts > w.lim.Parts {
		w.note(PartLimit, at.path)
		return errEnough
	}
	h, err := w.header(at.path)
	if err != nil {
		return err
	}
	if h.body && !h.own {
		*body = w.src.off
	}
	e := w.interpret(&h.Header, at.path, at.fallback)
	if at.path == "" {
		w.topFields(&h.Header, e)
	}
	if (e.encodings[0] != "" || len(e.encodings) > 1) && (len(h.Stray) > 0 || w.found(SpaceBeforeColon, at.path) || w.found(BlankContinuation, at.path)) {
		w.note(BodyStartAmbiguous, at.path) // one who begins the body there decodes other bytes
	}
	if len(h.Stray) > 0 {
		if err := w.aside(at, Stray, bytes.NewReader(h.Stray)); err != nil {
			return err
		}
	}
	container := slices.ContainsFunc(e.types, multipart) || slices.ContainsFunc(e.types, attachedMessage)
	switch {
	case !container || !h.body:
		return w.leaf(at, h, e)
	case at.depth >= w.lim.Depth:
		w.note(DepthLimit, at.path)
		return w.leaf(at, h, e)
	}
	if err := w.fn(w.part(at, Container, &h.Header, e)); err != nil {
		return err
	}
	if e.encodings[0] != "" || len(e.encodings) > 1 {
		return w.encodedContainer(at, h, e)
	}
	return w.inside(at, h, e)
}

// inside reads the parts of a container that stands in the stream as it is.
func (w *walker) inside(at place, h *block, e *entity) error {
	if slices.ContainsFunc(e.types, multipart) {
		return w.multipart(at, h, e)
	}
	at.attached = true
	return w.entity(at.child(1, "text/plain"))
}

func (w *walker) part(at place, role Role, h *Header, e *entity) *Part {
	return &Part{Path: at.path, Role: role, Header: h, Types: e.types, Disposition: e.disposition, Names: e.names,
		Attached: at.attached, Charset: e.charsets[0], Body: empty{}, w: w}
}

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// aside gives text that belongs to no part.
func (w *walker) aside(at place, role Role, r io.Reader) error {
	return w.fn(&Part{Path: at.path, Role: role, Types: []string{"text/plain"}, Attached: at.attached, Body: r, w: w})
}

// multipart reads preamble, parts and epilogue. It goes on behind the closing
// delimiter: some readers do, RFC 2046 forbids it.
func (w *walker) multipart(at place, h *block, e *entity) error {
	w.push(at, e.boundaries)
	level := len(w.stack) - 1
	defer func() { w.stack = w.stack[:level] }()

	if h.own {
		w.hit = level // the header ran into the first delimiter; closing is set
	} else if err := w.between(at, Preamble, len(e.boundaries) == 0); err != nil {
		return err
	}
	if w.hit != level {
		w.note(BoundaryNotFound, at.path)
		return nil
	}
	fallback := "text/plain"
	if slices.Contains(e.types, "multipart/digest") {
		fallback = "message/rfc822"
	}
	closed := false
	for n := 0; w.hit == level; {
		if w.closing {
			closed = true
			if err := w.between(at, Epilogue, false); err != nil {
				return err
			}
			continue
		}
		if closed {
			w.note(PartAfterClose, at.path)
		}
		n++
		if err := w.entity(at.child(n, fallback)); err != nil {
			return err
		}
	}
	if !closed {
		w.note(BoundaryUnclosed, at.path)
	}
	return nil
}

// push opens a multipart.
func (w *walker) push(at place, boundaries []string) {
	if len(boundaries) == 0 {
		w.note(BoundaryMissing, at.path)
	}
	for _, level := range w.stack {
		for _, old := range level {
			for _, b := range boundaries {
				w.st.work++
				if strings.HasPrefix(old, b) || strings.HasPrefix(b, old) {
					w.note(BoundaryPrefix, at.path)
				}
			}
		}
	}
	w.stack = append(w.stack, boundaries)
}

// between reads the text before, behind or instead of parts. With guess, the
// first line that looks like a delimiter is taken for one, as mail programs do
// when the boundary parameter is missing.
func (w *walker) between(at place, role Role, guess bool) error {
	body := &bodyReader{w: w, path: at.path}
	in := &inText{w: w, at: at} // uuencoded files there are files for some readers
	body.watch = in.line
	if role == Epilogue {
		body.watch = func(line []byte) {
			in.line(line)
			if len(trimEnd(line)) > 0 && !w.isDelimiter(line) {
				w.note(TextAfterClose, at.path)
			}
		}
	}
	if guess {
		body.watch = func(line []byte) {
			in.line(line)
			top := len(w.stack) - 1
			if len(w.stack[top]) > 0 || len(line) < 3 || line[0] != '-' || line[1] != '-' || w.delimiter(line, at.path) {
				return
			}
			if b := string(trimEnd(line[2:min(len(line), maxValue)])); b != "" {
				w.stack[top] = []string{b}
			}
		}
	}
	if err := w.aside(at, role, body); err != nil {
		return err
	}
	if err := body.drain(); err != nil {
		return err
	}
	return in.give()
}
