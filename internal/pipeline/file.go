package pipeline

import (
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
// another reading of it; nil for what is none. Of an attached message the parts
// are attachments, it is not.
func fileOf(p *message.Part, c *filter.Content) *filter.File {
	if p.Role == message.Container || !p.IsAttachment() {
		return nil
	}
	name := key(p)
	for i := len(c.Files) - 1; i >= 0; i-- {
		if f := &c.Files[i]; f.Part == name && p.Reading > 0 {
			return f
		}
	}
	c.Files = append(c.Files, filter.File{Part: name, Names: slices.Clone(p.Names), Types: slices.Clone(p.Types)})
	return &c.Files[len(c.Files)-1]
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

// measure counts what is read of an attachment and keeps its beginning.
type measure struct {
	r    io.Reader
	head []byte
	size int64
}

// Read implements io.Reader.
func (m *measure) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.size += int64(n)
	m.head = append(m.head, b[:min(n, KindBytes-len(m.head))]...)
	return n, err
}

// take reads the rest, and fills in the file. Of several readings the largest
// and every kind count.
func (m *measure) take(f *filter.File, kind func([]byte) []string) error {
	if _, err := io.Copy(io.Discard, m); err != nil {
		return err
	}
	f.Size = max(f.Size, m.size)
	if kind == nil {
		return nil
	}
	for _, k := range kind(m.head) {
		if !slices.Contains(f.Kinds, k) {
			f.Kinds = append(f.Kinds, k)
		}
	}
	return nil
}
