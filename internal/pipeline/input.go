package pipeline

import (
	"context"
	"encoding/binary"
	"errors"
	"io"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// input shows a message to the filters. It reads only what a rule asks for:
// the header once, the content once.
type input struct {
	Input
	site   *Options
	header *message.Header
	found  message.Findings // in the header
	walked bool
	auth   Authenticator // nil: senders are not authenticated
	authed bool
	sender mail.SenderAuth
	parts  message.Findings // in the whole message, once walked

	repeats *repeats
	traced  bool              // nobody has sent it
	answers map[string]answer // about its client

	scanned bool    // by an antivirus engine, perhaps: it matters what can be opened
	sniffed bool    // somebody looked for something to open
	worth   bool    // there is
	opened  bool    // and it was
	inside  []Found // with this
	odd     bool    // there is text or a file that an engine may not know how to read
}

// Facts implements filter.Message.
func (in *input) Facts() *filter.Facts {
	return &filter.Facts{
		MID: in.MID, Env: in.Env, Origin: in.Origin, Size: in.Size, Subject: message.DecodeHeader(in.Subject),
		Now: in.site.Now(), WorkQueue: in.site.WorkQueue(), Seed: uint64(in.MID) ^ binary.LittleEndian.Uint64(in.Hash[:]),
	}
}

// Header implements filter.Message. A value counts decoded and as it stands:
// a rule that looks for either finds it.
func (in *input) Header(_ context.Context, name string) (values []string, unseen string, err error) {
	if in.header == nil {
		err := in.read(func(r io.Reader) (err error) {
			in.header, in.found, err = message.ReadHeader(r, message.Limits{})
			return err
		})
		if err != nil {
			in.header = nil
			return nil, "", err
		}
	}
	for _, raw := range in.header.Values(name) {
		text := message.DecodeHeader(raw)
		if values = append(values, text); text != raw {
			values = append(values, raw)
		}
	}
	return values, unscannable(in.found), nil
}

// unscannable names what kept the rest of a message from being seen, or is "".
func unscannable(fs message.Findings) string {
	kind, _ := fs.Unscannable()
	return string(kind)
}

// The findings behind two rules of the filter language (reference 7.4).
var (
	malformed = [...]message.Kind{
		message.DuplicateContentType, message.DuplicateDisposition, message.DuplicateEncoding, message.DuplicateParameter,
		message.MalformedParameter, message.MalformedType, message.NULInHeader, message.BareCRInHeader,
		message.GarbageInHeader, message.UnfoldedLine, message.ContinuationFirst, message.BlankContinuation,
		message.SpaceBeforeColon, message.CommentInName, message.HeaderCut, message.MissingBlankLine,
	}
	boundaries = [...]message.Kind{message.BoundaryAmbiguous, message.BoundaryPrefix}
)

// broken are the findings for which a message is not valid: a part of it cannot
// be read as its header says. The rule asks for malformed and boundaries too.
var broken = [...]message.Kind{
	message.BoundaryMissing, message.BoundaryNotFound, message.BoundaryUnclosed, message.BoundaryMalformed, message.BoundaryMisplaced,
	message.UnknownEncoding, message.DirtyBase64, message.DirtyQuoted, message.EncodedContainer, message.PartialMessage,
}

// Content implements filter.Message.
func (in *input) Content(ctx context.Context, want filter.Want) (c filter.Content, err error) {
	k := &look{ctx: ctx, in: in, want: want, c: &c, t: texts{to: want.Text, binary: want.Binary}}
	defer k.close()
	if want.Text != nil {
		k.t.buf = make([]byte, 32<<10)
	}
	err = in.read(func(r io.Reader) error {
		found, err := k.walk(r)
		in.parts, in.walked = found, err == nil
		c.MalformedHeader, c.DuplicateBoundaries, c.Invalid = found.Has(malformed[:]...), found.Has(boundaries[:]...), found.Has(broken[:]...)
		for _, f := range found {
			c.Findings = append(c.Findings, string(f.Kind))
		}
		if c.Unscannable = unscannable(found); c.Unscannable == "" && k.t.cut {
			c.Unscannable = "html-limit"
		}
		return err
	})
	if err == nil && want.Inside && len(k.again) > 0 {
		k.twice = true
		err = in.read(func(r io.Reader) error {
			_, err := k.walk(r)
			return err
		})
	}
	if err != nil {
		return c, err
	}
	in.sniffed, in.opened = in.sniffed || k.sniffs(), in.opened || want.Inside
	if k.open != nil {
		err = in.take(k.open.Findings(), &c)
	}
	return c, err
}

// maxHTML is how much of one HTML part is kept to take out its tags. Matching
// the source goes on behind it, but what the tags hide there is not seen.
const maxHTML = 8 << 20

// texts hands the text of parts to the filters.
type texts struct {
	to     func(filter.Piece) error // nil: nobody wants any
	binary bool                     // the bytes of attachments that are no text too
	buf    []byte
	html   []byte
	cut    bool // an HTML part was longer than maxHTML
}

// part hands out one reading of a part; of HTML also what a reader sees, for
// w<b></b>ord in the source is one word to the eye.
func (t *texts) part(p *message.Part, attached, text bool) error {
	if t.to == nil || !text && (!t.binary || !attached) {
		return nil
	}
	piece := filter.Piece{Part: key(p), Attached: attached, Binary: !text}
	if attached {
		piece.Name = firstOf(p.Names)
	}
	r := p.Body
	if text {
		r = p.Text()
	}
	if !text || !p.IsHTML() {
		return t.pieces(r, piece)
	}
	t.html = t.html[:0]
	if err := t.pieces(io.TeeReader(r, (*htmlText)(t)), piece); err != nil {
		return err
	}
	piece.Bytes, piece.Last = message.HTMLText(t.html), true
	return t.to(piece)
}

// htmlText keeps the source of a page.
type htmlText texts

// Write implements io.Writer.
func (h *htmlText) Write(b []byte) (int, error) {
	kept := min(len(b), maxHTML-len(h.html))
	h.html = append(h.html, b[:kept]...)
	h.cut = h.cut || kept < len(b)
	return len(b), nil
}

// pieces hands out a text, or the bytes of an attachment when these are wanted.
func (t *texts) pieces(r io.Reader, piece filter.Piece) error {
	if t.to == nil || piece.Binary && !t.binary {
		return nil
	}
	for !piece.Last {
		n, err := r.Read(t.buf)
		if err != nil && err != io.EOF {
			return err
		}
		piece.Bytes, piece.Last = t.buf[:n], err == io.EOF
		if err := t.to(piece); err != nil {
			return err
		}
	}
	return nil
}

// pass gives the bytes of a part that is opened, and hands them out on the way:
// as text, if it is sent as such, or as what stands in an attachment.
func (t *texts) pass(p *message.Part, r io.Reader) io.Reader {
	if t.to == nil || !t.binary && !p.IsText() {
		return r
	}
	return &passing{t: t, r: r, piece: filter.Piece{Part: key(p), Name: firstOf(p.Names), Attached: true, Binary: !p.IsText()}}
}

// passing is a part on its way to be opened.
type passing struct {
	t     *texts
	r     io.Reader
	piece filter.Piece
}

// Read implements io.Reader.
func (p *passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if p.piece.Last || err != nil && err != io.EOF {
		return n, err
	}
	p.piece.Bytes, p.piece.Last = b[:n], err == io.EOF
	if to := p.t.to(p.piece); to != nil {
		return n, to
	}
	return n, err
}

// read opens the content for one look at it.
func (in *input) read(look func(io.Reader) error) error {
	r, err := in.Open()
	if err != nil {
		return errs.Context(err, "opening the content of MID %s", in.MID)
	}
	return errs.Context(errors.Join(look(r), r.Close()), "reading the content of MID %s", in.MID)
}
