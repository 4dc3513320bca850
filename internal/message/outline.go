package message

import (
	"io"
	"slices"
	"strings"
	"unicode"
)

// Attachment is what lists and searches know of one attachment.
type Attachment struct {
	Part  string   // its place: "2.1"
	Names []string // file names in UTF-8, each reading, the best for display first; may be empty
	Types []string // media types in lower case, each reading
	Size  int64    // decoded, in bytes; of several readings the largest
}

// Bounds of an outline: who wants to hide a name behind others finds that the
// message is one with more attachments than anybody sends.
const (
	MaxAttachments = 100
	maxReadings    = 4
	maxNameRunes   = 255
)

// Outline is the list of a message's attachments.
type Outline struct {
	List  []Attachment // at most MaxAttachments
	Total int          // all of them
}

// NewOutline reads a message to its end and gives its attachments, in the order
// of the stream: what has a name, is no text, or says that it is one; of an
// attached message that message too, with the size of what is in it. Where
// readers differ, all readings count. An error is the reader's.
func NewOutline(r io.Reader) (Outline, error) {
	o := outliner{at: -1}
	_, err := Walk(r, Limits{}, o.part)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // behind a limit
	}
	return o.out, err
}

// outliner gathers the parts of one walk.
type outliner struct {
	out      Outline
	at       int    // of the list: the last part that got in; -1 none
	last     string // path of the last part, whether or not it got in
	embedded bool   // it was a file inside a text
}

func (o *outliner) part(p *Part) error {
	switch {
	case p.Role == Container && !p.IsAttachment(), p.Role != Container && !listed(p):
		if p.Role != Leaf {
			return nil
		}
		return o.count(p, nil)
	case p.Role != Embedded && o.at >= 0 && p.Path == o.last && !o.embedded:
		a := &o.out.List[o.at] // another reading of the same part
		a.add(p)
		return o.count(p, a)
	}
	o.out.Total++
	o.last, o.embedded = p.Path, p.Role == Embedded
	if o.at = -1; len(o.out.List) < MaxAttachments {
		o.out.List = append(o.out.List, Attachment{Part: p.Path})
		o.at = len(o.out.List) - 1
		o.out.List[o.at].add(p)
		return o.count(p, &o.out.List[o.at])
	}
	return o.count(p, nil)
}

// listed: text without a name inside an attached message is that message's.
func listed(p *Part) bool {
	return p.IsAttachment() && (p.Role == Embedded || len(p.Names) > 0 || p.Disposition == "attachment" || !slices.ContainsFunc(p.Types, textType))
}

// count measures a part for itself and for the attached messages it lies in.
func (o *outliner) count(p *Part, own *Attachment) error {
	if p.Role == Container || own == nil && !p.Attached {
		return nil
	}
	n, err := io.Copy(io.Discard, p.Body)
	if own != nil {
		own.Size = max(own.Size, n)
	}
	if p.Attached && p.Reading == 0 {
		for i := range o.out.List {
			if a := &o.out.List[i]; a != own && within(a.Part, p.Path) && slices.ContainsFunc(a.Types, attachedMessage) {
				a.Size += n
			}
		}
	}
	return err
}

func within(outer, inner string) bool {
	return strings.HasPrefix(inner, outer+".")
}

// add takes the names and types of one reading.
func (a *Attachment) add(p *Part) {
	for _, n := range p.Names {
		if n = plainName(n); n != "" && len(a.Names) < maxReadings && !slices.Contains(a.Names, n) {
			a.Names = append(a.Names, n)
		}
	}
	for _, t := range p.Types {
		if t = clipRunes(t, maxNameRunes); len(a.Types) < maxReadings && !slices.Contains(a.Types, t) {
			a.Types = append(a.Types, t)
		}
	}
}

// plainName makes a name one line of bounded length.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	return clipRunes(strings.TrimSpace(s), maxNameRunes)
}

// clipRunes keeps the end of what is too long, for there a file's kind stands.
func clipRunes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if rs := []rune(s); len(rs) > most {
		return "\u2026" + string(rs[len(rs)-most+1:])
	}
	return s
}
