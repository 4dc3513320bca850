package message

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Body is what is done to the parts of a message: the second of the two places
// where content changes (see Edit). What it does not name stays as it is, byte
// by byte; a text that is changed is written anew with a transfer encoding that
// passes everywhere.
type Body struct {
	Drop     []Removal
	Steps    []TextStep // done in their order
	Why      string     // what a notice without a text of its own says behind "was removed"
	Boundary string     // of a multipart that has to be made: unknown to the sender, fit for a boundary
}

// Removal names a part that goes.
type Removal struct {
	Path   string // as Part.Path
	Loose  bool   // it is a file that stands inside of the text at Path, and cannot be cut out of it
	Notice string // what stands in its place; empty: a sentence with its name
}

// TextStep is one thing done to the text of a message. Exactly one of Top, End,
// Change and Plain is given.
type TextStep struct {
	Top, End string // put above, below the text
	HTML     string // the same for text in HTML; empty: as the other looks
	Change   func(text string) (string, bool)
	Plain    bool   // HTML becomes plain text
	What     string // as those who asked for it call it
}

// Limits of changes.
const (
	maxEditText  = 4 << 20  // bytes of one text
	maxEditTexts = 16 << 20 // of all of them
)

// cloudy are the findings by which it is not certain where the parts of a
// message stand and how they are read: such a message is not cut.
var cloudy = append([]Kind{
	BoundaryPrefix, BoundaryMissing, BoundaryNotFound, BoundaryMalformed, MissingBlankLine, GarbageInHeader, UnfoldedLine, ContinuationFirst,
	BlankContinuation, DuplicateParameter, MalformedType, HeaderLimit, ParameterLimit, DepthLimit, PartLimit, RereadLimit,
}, hides[:]...)

// Patch reads a message and makes the change of it. An error is the reader's.
func (b Body) Patch(r io.Reader) (*Patch, error) {
	e := &editor{b: &b, extents: map[string]extent{}, boxes: map[string]box{}, texts: map[string]*target{}, named: map[string]string{}}
	w := newWalker(r, Limits{}, e.part)
	defer w.src.close()
	w.mark = func(x extent) { e.extents[x.path] = x }
	err := w.entity(place{fallback: "text/plain"})
	if err == errEnough {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	p := &e.out
	if w.st.findings.Has(cloudy...) || slices.ContainsFunc(b.Drop, func(d Removal) bool { return d.Loose }) {
		p.Unclear = len(b.Drop) > 0
		for _, s := range b.Steps {
			e.undone(s.What, "the message can be read in several ways")
		}
		return p, nil
	}
	e.remove()
	e.write()
	p.sort()
	return p, nil
}

// editor looks at the parts of one message.
type editor struct {
	b        *Body
	out      Patch
	extents  map[string]extent
	boxes    map[string]box
	texts    map[string]*target // by path
	order    []string           // of texts, as they stand
	named    map[string]string  // the notices of parts that go
	size     int
	root     string // type of the message itself
	boundary string // of it, when it is a multipart
}

// box is a container that parts lie in.
type box struct {
	kind   string
	sealed bool // signed, encrypted, or an attached message: nothing in it is changed
}

// target is a text that may be changed.
type target struct {
	retext
	main  bool // it is what people see first
	large bool
	done  bool
}

func (e *editor) undone(what, why string) {
	e.out.Undone = append(e.out.Undone, what+": "+why)
}

// parent gives the path of the container of a part, and its number there.
func parent(p string) (string, string) {
	if i := strings.LastIndexByte(p, '.'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}

// inside reports whether a part is shown with the text of the message, and
// whether it comes first there.
func (e *editor) inside(path string) (open, main bool) {
	main = true
	for path != "" {
		up, n := parent(path)
		c, known := e.boxes[up]
		if !known || c.sealed {
			return false, false
		}
		main = main && (n == "1" || c.kind == "multipart/alternative")
		path = up
	}
	return true, main
}

func (e *editor) part(p *Part) error {
	if i := slices.IndexFunc(e.b.Drop, func(d Removal) bool { return d.Path == p.Path }); i >= 0 && (p.Role == Leaf || p.Role == Container) {
		if _, known := e.named[p.Path]; !known {
			e.named[p.Path] = e.notice(p, e.b.Drop[i].Notice)
		}
	}
	if p.Path == "" && e.root == "" && p.Header != nil {
		e.root = p.Types[0]
		if v := p.Header.Values("Content-Type"); len(v) == 1 {
			parsed := parseValue(v[0])
			if all := parsed.values("boundary"); len(all) == 1 {
				e.boundary = strings.TrimRight(all[0], " \t")
			}
		}
	}
	switch {
	case p.Role == Container:
		t := p.Types[0]
		e.boxes[p.Path] = box{kind: t, sealed: len(p.Types) > 1 || !multipart(t) || t == "multipart/signed" || t == "multipart/encrypted"}
	case p.Role == Leaf && len(e.b.Steps) > 0:
		return e.leaf(p)
	}
	return nil
}

// leaf keeps a text that may be changed.
func (e *editor) leaf(p *Part) error {
	if old := e.texts[p.Path]; old != nil {
		delete(e.texts, p.Path) // a second reading: nobody knows what it is
		return nil
	}
	t := p.Types[0]
	open, main := e.inside(p.Path)
	if p.Reading > 0 || len(p.Types) > 1 || p.IsAttachment() || t != "text/plain" && t != "text/html" || !open {
		return nil
	}
	x := &target{main: main}
	x.isHTML, x.charset, x.params = t == "text/html", p.Charset, flowed(p.Header)
	raw, err := io.ReadAll(io.LimitReader(p.Body, maxEditText+1))
	if err != nil {
		return err
	}
	if e.size += len(raw); len(raw) > maxEditText || e.size > maxEditTexts {
		x.large = true
	} else {
		x.raw = raw
	}
	e.texts[p.Path] = x
	e.order = append(e.order, p.Path)
	return nil
}

// flowed gives the parameters of format=flowed, RFC 3676.
func flowed(h *Header) string {
	out := ""
	if h == nil {
		return out
	}
	for _, v := range h.Values("Content-Type") {
		p := parseValue(v)
		for _, name := range []string{"format", "delsp"} {
			if all := p.values(name); len(all) == 1 && charsetWord(all[0]) && !strings.Contains(out, name) {
				out += "; " + name + "=" + all[0]
			}
		}
	}
	return out
}

// notice gives what stands in place of a part.
func (e *editor) notice(p *Part, text string) string {
	if text != "" {
		return text + "\r\n"
	}
	name := ""
	if len(p.Names) > 0 {
		name = ` "` + harmless(path.Base(p.Names[0])) + `"`
	}
	return fmt.Sprintf("[ The attachment%s (%s) was removed %s. ]\r\n", name, harmless(p.Types[0]), e.b.Why)
}

// remove takes parts out.
func (e *editor) remove() {
	for _, d := range e.b.Drop {
		x, known := e.extents[d.Path]
		notice, seen := e.named[d.Path]
		if !known || !seen {
			e.out.Unclear = true // it was there when it was judged
			continue
		}
		t := retext{charset: "utf-8", raw: []byte(notice)}
		fields, body := t.encoded()
		e.out.Done++
		if d.Path == "" {
			e.whole(x, fields, body)
			continue
		}
		e.out.replace(x.start, x.end, append([]byte(fields+"\r\n"), bytes.TrimSuffix(body, []byte("\r\n"))...))
	}
}

// whole writes another content of the message itself.
func (e *editor) whole(x extent, fields string, body []byte) {
	if x.body < 0 { // a header alone
		return
	}
	e.out.splices = append(e.out.splices, splice{from: x.start, to: x.body, header: func(raw []byte) []byte { return withFields(raw, fields, true) }})
	e.out.replace(x.body, x.end, body)
}

// withFields gives a header block in which other fields say how to read the
// content; of the message itself MIME-Version too.
func withFields(raw []byte, fields string, top bool) []byte {
	var b bytes.Buffer
	all, end := splitFields(raw)
	for _, f := range all {
		switch name := fieldName(f); name {
		case "content-type", "content-transfer-encoding", "content-md5", "content-length", "content-digest":
		case "mime-version":
			if !top {
				b.Write(f)
			}
		default:
			b.Write(f)
		}
	}
	if n := b.Len(); n > 0 && b.Bytes()[n-1] != '\n' {
		b.WriteString("\r\n")
	}
	if top {
		b.WriteString("MIME-Version: 1.0\r\n")
	}
	b.WriteString(fields)
	if len(end) == 0 {
		end = []byte("\r\n")
	}
	b.Write(end)
	return b.Bytes()
}

// splitFields cuts a header block into its fields and the blank line.
func splitFields(raw []byte) (fields [][]byte, end []byte) {
	for _, l := range bytes.SplitAfter(raw, []byte{'\n'}) {
		switch {
		case len(l) == 0:
		case len(bytes.TrimRight(l, "\r\n")) == 0:
			end = l
		case len(fields) > 0 && (l[0] == ' ' || l[0] == '\t'):
			fields[len(fields)-1] = append(slices.Clip(fields[len(fields)-1]), l...)
		default:
			fields = append(fields, l)
		}
	}
	return fields, end
}

// write does the steps.
func (e *editor) write() {
	var top, end string // what found no text to stand in
	for _, s := range e.b.Steps {
		switch {
		case e.step(s):
		case s.Top+s.End != "":
			top, end = s.Top+top, end+s.End
		case sealed(e.root):
			e.undone(s.What, "the message is signed or encrypted")
		}
	}
	for _, path := range e.order {
		t := e.texts[path]
		if t == nil || !t.done {
			continue
		}
		x := e.extents[path]
		fields, body := t.encoded()
		e.out.Done++
		if path == "" {
			e.whole(x, fields, body)
			continue
		}
		e.out.splices = append(e.out.splices, splice{from: x.start, to: x.body, header: func(raw []byte) []byte { return withFields(raw, fields, false) }})
		e.out.replace(x.body, x.end, bytes.TrimSuffix(body, []byte("\r\n")))
	}
	if top+end != "" {
		e.insert(top, end)
	}
}

// step does one step where it can, and reports whether there was a text that it
// is for.
func (e *editor) step(s TextStep) (found bool) {
	for _, path := range e.order {
		t := e.texts[path]
		if t == nil || s.Top+s.End != "" && !t.main || e.named[path] != "" || e.extents[path].body < 0 {
			continue
		}
		found = true
		if t.large {
			e.undone(s.What, "a text is longer than "+strconv.Itoa(maxEditText)+" bytes")
			continue
		}
		t.apply(s)
	}
	return found
}

func (t *target) apply(s TextStep) {
	switch {
	case s.Plain:
		t.done = t.done || t.isHTML
		t.plain()
		return
	case s.Change != nil:
		was, text := t.changed, t.utf8Text()
		if next, ok := s.Change(text); ok {
			t.text, t.done = next, true
		} else {
			t.changed = was
		}
		return
	}
	text := s.Top + s.End
	if t.isHTML {
		if text = references(s.HTML); s.HTML == "" {
			text = asHTML(s.Top + s.End)
		}
	}
	if s.Top != "" {
		t.top = text + t.top
	} else {
		t.end += text
	}
	t.done = true
}

// sealed reports whether a message of a type cannot be changed without breaking
// what it is for (RFC 1847, RFC 8551).
func sealed(kind string) bool {
	switch kind {
	case "multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime":
		return true
	}
	return false
}

// insert puts texts above and below a message that has no text to hold them.
func (e *editor) insert(top, end string) {
	switch x := e.extents[""]; {
	case sealed(e.root):
		e.undone("text", "the message is signed or encrypted")
	case e.root == "multipart/alternative" || x.body < 0:
		e.undone("text", "the message has no text to put it beside")
	case multipart(e.root):
		e.beside(top, end)
	case attachedMessage(e.root) || len(e.named) > 0 && e.named[""] != "":
		e.undone("text", "the message has no text to put it beside")
	default:
		e.wrap(x, top, end)
	}
}

// beside puts parts of their own in front of the first and behind the last part.
func (e *editor) beside(top, end string) {
	first, last, n := extent{}, extent{}, 0
	for {
		x, ok := e.extents[strconv.Itoa(n+1)]
		if !ok {
			break
		}
		if n++; n == 1 {
			first = x
		}
		last = x
	}
	if n == 0 || e.boundary == "" {
		e.undone("text", "the message has no parts")
		return
	}
	if top != "" {
		e.out.replace(first.start, first.start, []byte(textPart(top)+"\r\n--"+e.boundary+"\r\n"))
		e.out.Done++
	}
	if end != "" {
		e.out.replace(last.end, last.end, []byte("\r\n--"+e.boundary+"\r\n"+textPart(end)))
		e.out.Done++
	}
}

// textPart is a part with a text, without the line end behind it.
func textPart(text string) string {
	t := retext{charset: "utf-8", raw: []byte(text)}
	fields, body := t.encoded()
	return fields + "\r\n" + string(bytes.TrimSuffix(body, []byte("\r\n")))
}

// wrap makes a message that is one file into one of several parts.
func (e *editor) wrap(x extent, top, end string) {
	b := e.b.Boundary
	e.out.splices = append(e.out.splices, splice{from: x.start, to: x.body, header: func(raw []byte) []byte {
		rest, blank := splitFields(raw)
		var keep bytes.Buffer
		var own []byte // the fields that say how to read the file
		for _, f := range rest {
			switch name := fieldName(f); {
			case strings.HasPrefix(name, "content-"):
				own = append(own, f...)
			case name != "mime-version":
				keep.Write(f)
			}
		}
		keep.WriteString("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"" + b + "\"\r\n")
		keep.Write(blank)
		if top != "" {
			keep.WriteString("--" + b + "\r\n" + textPart(top) + "\r\n")
		}
		keep.WriteString("--" + b + "\r\n")
		keep.Write(own)
		keep.Write(blank)
		return keep.Bytes()
	}})
	tail := "\r\n--" + b
	if end != "" {
		tail += "\r\n" + textPart(end) + "\r\n--" + b
	}
	e.out.replace(x.end, x.end, []byte(tail+"--\r\n"))
	e.out.Done++
}
