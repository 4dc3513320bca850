package message

import (
	"io"
	"slices"
	"strings"
	"unicode"
)

// Attachment is what lists and searches know of one attachment.
type Attachment struct {
	Part  string   // its place, as Pieces has it: "2.1"
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

// Outline is what lists and searches know of the content of a message.
type Outline struct {
	List  []Attachment // at most MaxAttachments
	Total int          // all of them
	Text  string       // the beginning of what is read as text, when it is asked for
}

// NewOutline reads a message to its end and gives its attachments, in the order
// of the stream: what has a name, is no text, or says that it is one; of an
// attached message that message too, with the size of what is in it. Where
// readers differ, all readings count. Of the texts at most so many bytes are
// kept, in UTF-8, of HTML what a reader sees, with one blank for all that is
// blank: 0 is none. An error is the reader's.
func NewOutline(r io.Reader, text int) (Outline, error) {
	o := outliner{at: -1, room: text}
	_, err := Walk(r, Limits{}, o.part)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // behind a limit
	}
	return o.out, err
}

// outliner gathers the parts of one walk.
type outliner struct {
	out      Outline
	at       int // of the list: the last part that got in; -1 none
	numbers  numbering
	last     string // path of the last part, whether or not it got in
	embedded bool   // it was a file inside a text
	room     int    // bytes of text that may still be kept
}

func (o *outliner) part(p *Part) error {
	id := o.numbers.id(p)
	switch {
	case p.Role == Container && !p.IsAttachment(), p.Role != Container && !listed(p):
		if p.Role != Leaf {
			return nil
		}
		if o.room > 0 && p.Reading == 0 {
			if err := o.text(p); err != nil {
				return err
			}
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
		o.out.List = append(o.out.List, Attachment{Part: id})
		o.at = len(o.out.List) - 1
		o.out.List[o.at].add(p)
		return o.count(p, &o.out.List[o.at])
	}
	return o.count(p, nil)
}

// text keeps what a part says. The sizes of attached messages are those of the
// rest then, by at most as much as is kept.
func (o *outliner) text(p *Part) error {
	raw, err := io.ReadAll(io.LimitReader(p.Text(), int64(min(4*o.room, MaxText)))) // HTML is mostly not text
	if err != nil {
		return err
	}
	if p.IsHTML() {
		raw = HTMLText(raw)
	}
	words := strings.Join(strings.Fields(strings.ToValidUTF8(string(raw), "\ufffd")), " ")
	if len(words) > o.room {
		words = strings.ToValidUTF8(words[:o.room], "")
	}
	if words != "" {
		if o.out.Text != "" {
			o.out.Text += "\n"
		}
		o.out.Text += words
		o.room -= min(o.room, len(words)+1)
	}
	return nil
}

// MaxText is the most text of one message, in bytes, that an outline keeps.
const MaxText = 1 << 20

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
