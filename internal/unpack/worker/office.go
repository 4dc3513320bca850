package worker

import (
	"bytes"
	"html"
	"io"
	"strings"

	"lazaret/internal/unpack"
)

// office reads the members of a document that is a ZIP file: OOXML and ODF. nil
// is another archive.
type office struct {
	s        *session
	f        *file
	text     []byte
	over     bool
	dde      bool
	objects  bool
	template map[string]bool
}

func (s *session) newOffice(f *file) *office {
	if !zipDocument(f.kind.Name) {
		return nil
	}
	return &office{s: s, f: f, template: map[string]bool{}}
}

// member takes a member as any archive does, and looks at it on the way.
func (o *office) member(name string, r io.Reader) error {
	low := strings.ToLower(strings.ReplaceAll(name, `\`, "/"))
	tee := &teeText{r: r, most: maxText}
	xml := strings.HasSuffix(low, ".xml") || strings.HasSuffix(low, ".rels")
	if xml {
		r = tee
	}
	if strings.Contains(low, "/embeddings/") && !o.objects {
		o.objects = true
		o.s.found(unpack.EmbeddedObject, o.f, name)
	}
	if strings.Contains(low, "/macrosheets/") {
		o.s.found(unpack.Macro, o.f, "XLM")
	}
	if strings.HasPrefix(low, "basic/") && strings.HasSuffix(low, ".xml") && low != "basic/script-lc.xml" {
		o.s.found(unpack.Macro, o.f, "Basic")
	}
	err := o.s.member(o.f, name, nil, r)
	if xml {
		o.look(low, tee)
	}
	return err
}

// teeText keeps the first bytes of what it passes.
type teeText struct {
	r    io.Reader
	b    []byte
	most int
	over bool
}

func (t *teeText) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	room := min(n, t.most-len(t.b))
	t.b = append(t.b, p[:room]...)
	t.over = t.over || room < n
	return n, err
}

// look takes the text of a member, and what it loads from elsewhere.
func (o *office) look(low string, t *teeText) {
	if strings.HasSuffix(low, ".rels") {
		o.relations(t.b)
		return
	}
	if strings.HasPrefix(low, "docprops/") || strings.HasPrefix(low, "[content") || strings.HasSuffix(low, "/styles.xml") || strings.HasSuffix(low, "/settings.xml") {
		return
	}
	text := xmlText(t.b)
	o.over = o.over || t.over || len(o.text)+len(text) > maxText
	if len(o.text) < maxText {
		o.text = append(append(o.text, text...), '\n')
	}
	if !o.dde && (bytes.Contains(t.b, []byte("DDEAUTO")) || bytes.Contains(t.b, []byte("ddeLink")) || bytes.Contains(text, []byte("DDEAUTO")) || bytes.Contains(t.b, []byte(">DDE "))) {
		o.dde = true
		o.s.found(unpack.DDE, o.f, low)
	}
}

// relations looks for targets outside that are loaded when the document is opened.
func (o *office) relations(b []byte) {
	for _, tag := range bytes.Split(b, []byte("<")) {
		if !bytes.Contains(tag, []byte(`"External"`)) {
			continue
		}
		for _, kind := range []string{"attachedTemplate", "oleObject", "frame", "subDocument", "externalLink"} {
			if !bytes.Contains(tag, []byte("/"+kind+`"`)) {
				continue
			}
			target := kind
			if _, rest, ok := strings.Cut(string(tag), `Target="`); ok {
				target, _, _ = strings.Cut(rest, `"`)
			}
			if len(o.template) < 20 && !o.template[target] {
				o.template[target] = true
				o.s.found(unpack.ExternalTemplate, o.f, html.UnescapeString(target))
			}
		}
	}
}

// done gives the text of the document.
func (o *office) done() {
	if o == nil {
		return
	}
	if o.over {
		o.s.found(unpack.TextLimit, o.f, "")
	}
	o.s.text(o.f, unpack.Text, o.text[:min(len(o.text), maxText)])
}

// xmlText takes the tags out of XML; the end of a paragraph, a cell or a line
// is a line end, and the words inside one stay together.
func xmlText(b []byte) []byte {
	out := make([]byte, 0, len(b)/4)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '<')
		if i < 0 {
			i = len(b)
		}
		if text := b[:i]; bytes.IndexByte(text, '&') >= 0 {
			out = append(out, html.UnescapeString(string(text))...)
		} else {
			out = append(out, text...)
		}
		if b = b[i:]; len(b) == 0 {
			break
		}
		end := bytes.IndexByte(b, '>')
		if end < 0 {
			break
		}
		if breaks(b[1:end]) && len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		b = b[end+1:]
	}
	return out
}

func breaks(tag []byte) bool {
	name, _, _ := bytes.Cut(tag, []byte(" "))
	name = bytes.Trim(name, "/")
	if i := bytes.IndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	switch string(name) {
	case "p", "br", "tab", "cr", "si", "c", "row", "tc", "tr", "h", "v", "line-break", "table-cell":
		return true
	}
	return false
}
