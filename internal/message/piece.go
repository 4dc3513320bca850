package message

import (
	"io"
	"strconv"
)

// Pieces walks a message and gives with each part the word by which people name
// it: "2.1" the first part of its second part, "1" the only one of a message
// without parts, "1#2" the second file inside that text. A part of which readers
// see several forms has the same word in each.
func Pieces(r io.Reader, fn func(id string, p *Part) error) (Findings, error) {
	var n numbering
	return Walk(r, Limits{}, func(p *Part) error { return fn(n.id(p), p) })
}

// numbering counts the files inside one text.
type numbering struct {
	path string
	n    int
}

func (n *numbering) id(p *Part) string {
	id := p.Path
	if id == "" && p.Role != Container {
		id = "1"
	}
	if p.Role != Embedded {
		n.n = 0
		return id
	}
	if n.path != p.Path {
		n.path, n.n = p.Path, 0
	}
	n.n++
	return id + "#" + strconv.Itoa(n.n)
}
