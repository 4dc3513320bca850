package message

import (
	"bufio"
	"fmt"
	"io"
	"mime/quotedprintable"
	"path"
	"strings"
	"unicode"
)

// strip writes the MIME fields and the body of a message without its
// attachments. It does not cut pieces out of the original: it writes anew what
// it has read as text, decoded, under boundaries of its own, so nothing that
// readers understand differently can come through. A notice stands where an
// attachment was.
//
// What stays is text/plain and text/html that is shown as the message's text.
// A signature over what is changed would not hold, and what is encrypted
// cannot be looked into: both are attachments.
func strip(w io.Writer, r io.Reader, boundary, why string) (removed int, err error) {
	s := &stripper{w: w, boundary: boundary, why: why, seen: map[string]bool{}}
	findings, err := Walk(r, Limits{}, s.part)
	if err != nil {
		return 0, err
	}
	if _, over := findings.Unscannable(); over {
		s.rest = true
	}
	return s.removed, s.finish()
}

type stripper struct {
	w        io.Writer
	boundary string
	why      string // of a notice
	open     []level
	seen     map[string]bool // paths that are written: further readings of a part are not
	opened   int             // multiparts so far
	removed  int
	rest     bool // there is something that was not read
	err      error
}

// level is an open multipart of ours, or a container that went as a whole.
type level struct {
	path        string
	boundary    string
	alternative bool
	swallowed   bool
	parts       int
}

// part takes each part in the order of the stream.
func (s *stripper) part(p *Part) error {
	switch p.Role {
	case Preamble, Epilogue, Stray:
		return nil // no reader shows them to people
	case Embedded:
		return nil // text takes care of them
	}
	if s.seen[p.Path] {
		return nil
	}
	s.seen[p.Path] = true
	s.close(p.Path)
	if n := len(s.open); n > 0 && s.open[n-1].swallowed {
		return s.err
	}
	if p.Role == Container {
		s.container(p)
	} else {
		s.leaf(p)
	}
	return s.err
}

// close ends the containers that a part is not in.
func (s *stripper) close(path string) {
	for n := len(s.open) - 1; n >= 0; n-- {
		at := s.open[n].path
		if at == "" && path != "" || strings.HasPrefix(path, at+".") {
			return
		}
		s.end()
	}
}

// end ends the innermost container. One in which nothing is left gets a notice:
// a multipart has parts.
func (s *stripper) end() {
	l := s.open[len(s.open)-1]
	if !l.swallowed && l.parts == 0 {
		s.notice("Nothing of this part is left: all of it was removed " + s.why + ".")
	}
	s.open = s.open[:len(s.open)-1]
	if !l.swallowed {
		s.print("--%s--\r\n", l.boundary)
	}
}

func (s *stripper) finish() error {
	for len(s.open) > 1 {
		s.end()
	}
	switch {
	case s.rest && len(s.open) == 1 && !s.open[0].swallowed:
		s.notice("There was more, which could not be read. It was removed " + s.why + ".")
		fallthrough
	case len(s.open) == 1:
		s.end()
	}
	return s.err
}

func (s *stripper) container(p *Part) {
	t := p.Types[0]
	if !multipart(t) || p.Attached || p.Disposition == "attachment" || t == "multipart/encrypted" {
		s.open = append(s.open, level{path: p.Path, swallowed: true})
		// Pushed first: the notice stands in the multipart around it.
		s.take(p, len(s.open)-2)
		return
	}
	kind := "mixed"
	if t == "multipart/alternative" {
		kind = "alternative"
	}
	s.opened++
	b := fmt.Sprintf("%s-%d", s.boundary, s.opened)
	s.begin(len(s.open) - 1)
	s.version(p.Path)
	s.print("Content-Type: multipart/%s; boundary=\"%s\"\r\n\r\n", kind, b)
	s.open = append(s.open, level{path: p.Path, boundary: b, alternative: kind == "alternative"})
}

// version writes the field that only the message itself has.
func (s *stripper) version(path string) {
	if path == "" {
		s.print("MIME-Version: 1.0\r\n")
	}
}

// begin writes the delimiter in front of a part of level n; -1: the message.
func (s *stripper) begin(n int) {
	if n >= 0 {
		s.open[n].parts++
		s.print("--%s\r\n", s.open[n].boundary)
	}
}

func (s *stripper) leaf(p *Part) {
	t := p.Types[0]
	shown := len(p.Types) == 1 && (t == "text/plain" || t == "text/html") && !p.IsAttachment()
	if !shown {
		s.take(p, len(s.open)-1)
		return
	}
	s.begin(len(s.open) - 1)
	s.version(p.Path)
	s.text(t, p.Text())
}

// take removes a part and writes its notice into level n. Among alternatives
// a notice would be shown in place of the text.
func (s *stripper) take(p *Part, n int) {
	s.removed++
	if n >= 0 && s.open[n].alternative {
		return
	}
	what := "attachment"
	switch p.Types[0] {
	case "application/pkcs7-signature", "application/x-pkcs7-signature", "application/pgp-signature":
		what = "signature, which would not hold any more,"
	case "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime":
		what = "encrypted or signed content"
	}
	name := ""
	if len(p.Names) > 0 {
		name = ` "` + harmless(path.Base(p.Names[0])) + `"`
	}
	s.begin(n)
	s.version(p.Path)
	s.text("text/plain", strings.NewReader(fmt.Sprintf("[ The %s%s (%s) was removed %s. ]\r\n", what, name, harmless(p.Types[0]), s.why)))
}

// notice is a part of its own in the innermost container.
func (s *stripper) notice(text string) {
	s.begin(len(s.open) - 1)
	s.text("text/plain", strings.NewReader("[ "+text+" ]\r\n"))
}

// harmless gives a text from outside for people to read.
func harmless(s string) string {
	const most = 100 // characters
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > most {
			return -1
		}
		if r == '"' || r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// text writes the fields and the content of one text.
func (s *stripper) text(t string, r io.Reader) {
	s.print("Content-Type: %s; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", t)
	if s.err != nil {
		return
	}
	q := quotedprintable.NewWriter(s.w)
	err := s.withoutFiles(q, r)
	if e := q.Close(); err == nil {
		err = e
	}
	s.err = err
	s.print("\r\n")
}

// withoutFiles copies text, but for files in it as uuencode writes them: what
// follows "begin 644 name" up to a line "end", or up to the end of the text.
func (s *stripper) withoutFiles(w io.Writer, r io.Reader) error {
	br := bufio.NewReaderSize(r, pieceSize)
	inside, start := false, true
	for {
		piece, err := br.ReadSlice('\n')
		if len(piece) > 0 {
			ended := piece[len(piece)-1] == '\n'
			if start && !inside {
				if name := uuencoded(piece); name != "" {
					inside = true
					s.removed++
					piece = []byte(`[ The attachment "` + harmless(name) + `" was removed ` + s.why + ". ]\r\n")
					if _, err := w.Write(piece); err != nil {
						return err
					}
				}
			}
			if !inside {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			} else if mark := strings.TrimSpace(string(piece[:min(len(piece), 8)])); start && (mark == "end" || mark == "====") {
				inside = false
			}
			start = ended
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *stripper) print(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}
