package pipeline

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/message"
)

// look is one walk through the parts of a message.
type look struct {
	ctx   context.Context
	in    *input
	want  filter.Want
	c     *filter.Content
	t     texts
	open  Opening
	head  []byte          // room for the beginning of a part
	again map[string]bool // parts with an archive behind something else
	twice bool            // this is the walk for these
}

// walk reads the message; a second time for what only its end told of.
func (k *look) walk(r io.Reader) (message.Findings, error) {
	return message.Walk(r, message.Limits{}, func(p *message.Part) error {
		if err := k.ctx.Err(); err != nil {
			return errs.Wrap(errs.Temporary, err, "walking through the parts")
		}
		if k.twice {
			return k.second(p)
		}
		k.c.Attachments = append(k.c.Attachments, p.Names...)
		protection(p, k.c)
		return k.part(p)
	})
}

// sniffs reports whether it matters if there is something to open in a part.
func (k *look) sniffs() bool { return k.in.site.Opener != nil && (k.want.Inside || k.in.scanned) }

// part looks at one reading of a part.
func (k *look) part(p *message.Part) error {
	file := fileOf(p, k.c)
	boxOf(p, k.c)
	k.in.odd = k.in.odd || oddCharset(p.Charset)
	content := p.Role == message.Leaf || p.Role == message.Embedded
	if !content || !k.sniffs() && (file < 0 || !k.want.Files) {
		return k.t.part(p, file >= 0, p.IsText())
	}
	m, err := k.measure(p, file >= 0)
	if err != nil {
		return err
	}
	kinds := k.in.kinds(m.head)
	if k.worth(p, m.head, kinds, file >= 0) {
		return k.opened(p, m, file)
	}
	// What is text is text, whatever it is sent as.
	if err := k.t.part(p, file >= 0, p.IsText() || k.sniffs() && slices.Contains(kinds, "text")); err != nil {
		return err
	}
	if err := m.rest(); err != nil {
		return err
	}
	if file >= 0 {
		m.count(&k.c.Files[file], kinds)
	}
	if m.zipEnd && k.sniffs() {
		k.in.worth = true
		if k.again == nil {
			k.again = map[string]bool{}
		}
		k.again[key(p)] = true
	}
	return nil
}

// worth reports whether a part is to be opened, and notes it for the engines.
// Text with the look of a page or of a message is shown as the text it is.
func (k *look) worth(p *message.Part, head []byte, kinds []string, attached bool) bool {
	if !k.sniffs() || firstOf(kinds) == "text" && !attached || !k.in.site.Opener.Worth(head, firstOf(p.Names), p.Types) {
		return false
	}
	switch firstOf(kinds) {
	case "html":
		if p.IsText() {
			return false
		}
	case "mail":
		if p.IsText() && !attached {
			return false
		}
	}
	k.in.worth = true
	return k.want.Inside
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// second opens, in a walk of its own, a part with an archive at its end.
func (k *look) second(p *message.Part) error {
	if !k.again[key(p)] || p.Role != message.Leaf && p.Role != message.Embedded {
		return nil
	}
	file := slices.IndexFunc(k.c.Files, func(f filter.File) bool { return f.Part == key(p) })
	m, err := k.measure(p, true)
	if err != nil {
		return err
	}
	return k.opened(p, m, file)
}

// measure reads the beginning of a part.
func (k *look) measure(p *message.Part, attached bool) (*measure, error) {
	n := KindBytes
	if !attached && p.IsText() {
		n = textHead
	}
	if len(k.head) < n {
		k.head = make([]byte, n)
	}
	m := &measure{r: p.Body}
	p.Body = m
	return m, m.peek(k.head[:n])
}

// textHead is how much of a letter is looked at to see whether it is one: enough
// for all that has its mark at its beginning.
const textHead = 1 << 10

// opened opens a part: an attachment, whatever it is sent as.
func (k *look) opened(p *message.Part, m *measure, file int) error {
	if file < 0 {
		file = addFile(p, k.c)
	}
	if k.open == nil {
		k.open = k.in.site.Opener.Message(k.want.Text != nil, k.want.Text != nil && k.want.Binary)
	}
	content := io.Reader(m)
	if !k.twice { // otherwise its own bytes were looked at
		content = k.t.pass(p, m)
	}
	of := key(p)
	err := k.open.Open(k.ctx, Object{Path: of, Name: firstOf(p.Names), Types: p.Types}, content, func(i *Inner) error { return k.inner(of, file, i) })
	if err != nil {
		return err
	}
	if err := m.rest(); err != nil { // the process may have ended in the middle of it
		return err
	}
	m.count(&k.c.Files[file], nil)
	if len(k.c.Files[file].Kinds) == 0 {
		m.count(&k.c.Files[file], k.in.kinds(m.head))
	}
	return nil
}

// ourOwn are the types that an engine which we ask may not open, or not with all
// their methods. clamd opens RAR archives only where a library of its own for
// that is installed, and calls them clean where it is not.
var ourOwn = [...]string{"zst", "lz4", "ar", "rar", "7z"}

// inner takes something out of an attachment.
func (k *look) inner(of string, file int, i *Inner) error {
	id := strings.TrimSuffix(i.Path, ":")
	kinds := []string{i.Type, i.Group}
	k.in.odd = k.in.odd || slices.Contains(ourOwn[:], i.Type)
	switch {
	case i.Extracted:
	case i.Depth == 0:
		addKinds(&k.c.Files[file], kinds)
		return nil
	default:
		names := i.names()
		k.c.Attachments = append(k.c.Attachments, names...)
		k.c.Files = append(k.c.Files, filter.File{Part: id, In: of, Names: names, Types: []string{i.Media}, Kinds: kinds})
	}
	return k.t.pieces(i.Body, filter.Piece{Part: id, Name: cmp.Or(i.Name, firstOf(k.c.Files[file].Names)), In: of, Attached: true, Binary: !i.Text && !i.Extracted})
}

// close ends the look, and gives what was found in attachments.
func (k *look) close() {
	if k.open != nil {
		k.open.Close()
	}
}
