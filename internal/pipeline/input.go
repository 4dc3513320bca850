package pipeline

import (
	"bufio"
	"context"
	"errors"
	"io"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/message"
)

// input shows a message to the filters. It reads only what a rule asks for:
// the header once, the content once.
type input struct {
	Input
	header *message.Header
}

// Facts implements filter.Message.
func (in *input) Facts() *filter.Facts {
	return &filter.Facts{MID: in.MID, Env: in.Env, Origin: in.Origin, Size: in.Size, Subject: message.DecodeHeader(in.Subject)}
}

// Header implements filter.Message. A value counts decoded and as it stands:
// a rule that looks for either finds it.
func (in *input) Header(_ context.Context, name string) ([]string, error) {
	if in.header == nil {
		err := in.read(func(r io.Reader) (err error) {
			in.header, _, err = message.ReadHeader(bufio.NewReader(r), message.Limits{})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	var out []string
	for _, raw := range in.header.Values(name) {
		text := message.DecodeHeader(raw)
		if out = append(out, text); text != raw {
			out = append(out, raw)
		}
	}
	return out, nil
}

// Content implements filter.Message.
func (in *input) Content(ctx context.Context, text func(piece []byte, last bool) error) (c filter.Content, err error) {
	err = in.read(func(r io.Reader) error {
		buf := make([]byte, 32<<10)
		found, err := message.Walk(r, message.Limits{}, func(p *message.Part) error {
			if err := ctx.Err(); err != nil {
				return errs.Wrap(errs.Temporary, err, "reading MID %s", in.MID)
			}
			c.Attachments = append(c.Attachments, p.Names...)
			if text == nil || !p.IsText() {
				return nil
			}
			return pieces(p.Text(), buf, text)
		})
		_, unseen := found.Unscannable()
		c.MalformedHeader = unseen || found.Has(message.MalformedParameter, message.MalformedType, message.NULInHeader, message.GarbageInHeader)
		c.DuplicateBoundaries = found.Has(message.BoundaryAmbiguous)
		return err
	})
	return c, err
}

// pieces hands out the text of one part.
func pieces(r io.Reader, buf []byte, text func([]byte, bool) error) error {
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := text(buf[:n], false); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return text(nil, true)
		}
		if err != nil {
			return err
		}
	}
}

// read opens the content for one look at it.
func (in *input) read(look func(io.Reader) error) error {
	r, err := in.Open()
	if err != nil {
		return errs.Context(err, "opening the content of MID %s", in.MID)
	}
	return errs.Context(errors.Join(look(r), r.Close()), "reading the content of MID %s", in.MID)
}
