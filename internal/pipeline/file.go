package pipeline

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/filter"
	"lazaret/internal/message"
)

// key names a part. Preamble and stray lines have the path of their container.
func key(p *message.Part) string { return p.Path + "/" + strconv.Itoa(int(p.Role)) }

// fileOf adds an attachment to the content, or finds it there when this is
// another reading of it, and gives its index; below 0 for what is none. Of an
// attached message the parts are attachments, it is not.
func fileOf(p *message.Part, c *filter.Content) int {
	if p.Role == message.Container || !p.IsAttachment() {
		return -1
	}
	return addFile(p, c)
}

// boxOf adds an attached message as such: what is in it are attachments, and
// whoever takes it out takes all of them out.
func boxOf(p *message.Part, c *filter.Content) {
	if p.Role == message.Container && p.IsAttachment() && p.Reading == 0 {
		c.Boxes = append(c.Boxes, filter.File{Part: key(p), Names: slices.Clone(p.Names), Types: slices.Clone(p.Types)})
	}
}

func addFile(p *message.Part, c *filter.Content) int {
	name := key(p)
	for i := len(c.Files) - 1; i >= 0; i-- {
		if c.Files[i].Part == name && p.Reading > 0 {
			return i
		}
	}
	c.Files = append(c.Files, filter.File{Part: name, Names: slices.Clone(p.Names), Types: slices.Clone(p.Types)})
	return len(c.Files) - 1
}

// protection notes what the header of a part says of S/MIME (RFC 8551 section
// 3.2.2, RFC 1847) and OpenPGP (RFC 3156).
func protection(p *message.Part, c *filter.Content) {
	for _, t := range p.Types {
		switch t {
		case "multipart/encrypted":
			c.Encrypted = true
		case "multipart/signed":
			c.Signed = true
		case "application/pkcs7-mime", "application/x-pkcs7-mime":
			kind := ""
			if p.Header != nil {
				kind = strings.ToLower(strings.Join(p.Header.Values("Content-Type"), " "))
			}
			switch {
			case strings.Contains(kind, "signed-data"):
				c.Signed = true
			case strings.Contains(kind, "certs-only"), strings.Contains(kind, "compressed-data"):
			default:
				c.Encrypted = true
			}
		}
	}
}

// measure counts what is read of a part, and gives its beginning before it is
// read.
type measure struct {
	r      io.Reader
	head   []byte // valid until the next part is measured
	at     int    // what of it was given out
	err    error  // behind the head
	size   int64
	zipEnd bool // there is the end of a ZIP archive in it
	edge   []byte
}

// peek reads the beginning into room.
func (m *measure) peek(room []byte) error {
	n, err := io.ReadFull(m.r, room)
	m.head = room[:n]
	switch err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		m.err = io.EOF
	default:
		return err
	}
	return nil
}

// zipMark begins the last record of a ZIP archive (APPNOTE 4.3.16).
const zipMark = "PK\x05\x06"

// Read implements io.Reader.
func (m *measure) Read(b []byte) (n int, err error) {
	switch {
	case m.at < len(m.head):
		n = copy(b, m.head[m.at:])
		m.at += n
	case m.err != nil:
		return 0, m.err
	default:
		n, err = m.r.Read(b)
	}
	m.size += int64(n)
	m.search(b[:n])
	return n, err
}

// search looks for the mark, also across the edges of what is read.
func (m *measure) search(b []byte) {
	if m.zipEnd || len(b) == 0 {
		return
	}
	m.edge = append(m.edge, b[:min(len(b), len(zipMark)-1)]...)
	m.zipEnd = bytes.Contains(b, []byte(zipMark)) || bytes.Contains(m.edge, []byte(zipMark))
	if len(b) >= len(zipMark) {
		m.edge = m.edge[:0]
	}
	m.edge = append(m.edge, b[max(0, len(b)-len(zipMark)+1):]...)
	if over := len(m.edge) - len(zipMark) + 1; over > 0 {
		m.edge = append(m.edge[:0], m.edge[over:]...)
	}
}

// rest reads what is left.
func (m *measure) rest() error {
	_, err := io.Copy(io.Discard, m)
	return err
}

// count fills in the file. Of several readings the largest and every kind count.
func (m *measure) count(f *filter.File, kinds []string) {
	f.Size = max(f.Size, m.size)
	addKinds(f, kinds)
}

func addKinds(f *filter.File, kinds []string) {
	for _, k := range kinds {
		if !slices.Contains(f.Kinds, k) {
			f.Kinds = append(f.Kinds, k)
		}
	}
}

// kinds says what a file is.
func (in *input) kinds(head []byte) []string {
	if in.site.Kind == nil {
		return nil
	}
	return in.site.Kind(head)
}
