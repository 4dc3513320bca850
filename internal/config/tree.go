package config

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding/charmap"

	"lazaret/internal/errs"
)

// Limits of a configuration file.
const (
	maxFile  = 8 << 20
	maxDepth = 16
	maxNodes = 200_000
)

// node is one element of the file, with its place.
type node struct {
	name     string
	path     string // config/listeners/listener
	line     int
	text     string
	children []*node
}

// place names the element for an error.
func (n *node) place() string { return fmt.Sprintf("line %d: %s", n.line, n.path) }

func (n *node) errorf(format string, args ...any) error {
	return errs.New(errs.Invalid, "%s: %s", n.place(), fmt.Sprintf(format, args...))
}

// parseTree reads the whole file into nodes. Attributes, processing
// instructions but the first, entities of a DTD and text between elements are
// refused: what is not understood must not pass silently.
func parseTree(b []byte) (*node, error) {
	if len(b) > maxFile {
		return nil, errs.New(errs.Invalid, "the configuration is larger than %d bytes", maxFile)
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	d.Strict = true
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(label, "iso-8859-1") {
			return charmap.ISO8859_1.NewDecoder().Reader(in), nil
		}
		return nil, fmt.Errorf("encoding %q is not supported", label)
	}
	p := treeParser{d: d}
	for {
		t, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			line, _ := d.InputPos()
			return nil, errs.New(errs.Invalid, "line %d: %v", line, xmlError(err))
		}
		if err := p.token(t); err != nil {
			return nil, err
		}
	}
	if p.root == nil {
		return nil, errs.New(errs.Invalid, "the configuration is empty")
	}
	return p.root, nil
}

// xmlError takes the library's line number away: ours stands in front.
func xmlError(err error) string {
	if s, ok := err.(*xml.SyntaxError); ok {
		return s.Msg
	}
	return err.Error()
}

type treeParser struct {
	d     *xml.Decoder
	root  *node
	stack []*node
	count int
}

func (p *treeParser) token(t xml.Token) error {
	line, _ := p.d.InputPos()
	switch t := t.(type) {
	case xml.StartElement:
		return p.open(t, line)
	case xml.EndElement:
		p.stack = p.stack[:len(p.stack)-1]
	case xml.CharData:
		if len(p.stack) > 0 {
			n := p.stack[len(p.stack)-1]
			n.text += string(t)
		} else if strings.TrimSpace(string(t)) != "" {
			return errs.New(errs.Invalid, "line %d: text outside the root element", line)
		}
	case xml.ProcInst:
		if t.Target != "xml" {
			return errs.New(errs.Invalid, "line %d: processing instruction <?%s is not understood", line, t.Target)
		}
	case xml.Directive:
		if !strings.HasPrefix(string(t), "DOCTYPE config SYSTEM ") {
			return errs.New(errs.Invalid, "line %d: only <!DOCTYPE config SYSTEM \"config.dtd\"> is understood", line)
		}
	}
	return nil
}

func (p *treeParser) open(t xml.StartElement, line int) error {
	n := &node{name: t.Name.Local, path: t.Name.Local, line: line}
	if p.count++; p.count > maxNodes || len(p.stack) >= maxDepth {
		return n.errorf("too many or too deeply nested elements")
	}
	if len(p.stack) == 0 {
		if p.root != nil {
			return n.errorf("a second root element")
		}
		p.root = n
	} else {
		up := p.stack[len(p.stack)-1]
		n.path = up.path + "/" + n.name
		up.children = append(up.children, n)
	}
	if len(t.Attr) > 0 {
		return n.errorf("attribute %q is not understood", t.Attr[0].Name.Local)
	}
	p.stack = append(p.stack, n)
	return nil
}
