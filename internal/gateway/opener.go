package gateway

import (
	"context"
	"io"
	"os"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/pipeline"
	"lazaret/internal/unpack"
	"lazaret/internal/unpack/filetype"
)

// openUnpack makes the pool of workers that open attachments. None starts
// before there is something to open.
func (g *Gateway) openUnpack(opt Options) error {
	if len(opt.Worker) == 0 || opt.Check {
		return nil
	}
	dir := g.Path("scratch")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return errs.Wrap(errs.Internal, err, "making %s", dir)
	}
	g.unpack = unpack.NewPool(unpack.Options{Program: opt.Worker, Dir: dir, Warn: g.Log.Warning})
	return nil
}

// opener gives what opens attachments, or nil.
func (g *Gateway) opener() pipeline.Opener {
	if g.unpack == nil {
		return nil
	}
	return NewOpener(g.unpack)
}

// NewOpener has a pool open attachments for a pipeline.
func NewOpener(p *unpack.Pool) pipeline.Opener { return opener{p} }

type opener struct{ p *unpack.Pool }

// Worth implements pipeline.Opener.
func (opener) Worth(head []byte, name string, types []string) bool {
	return unpack.Worth(head, name, types)
}

// Message implements pipeline.Opener.
func (o opener) Message(text, content bool) pipeline.Opening {
	return opening{m: o.p.Message(unpack.Want{Text: text, Content: content}), groups: map[string]filetype.Group{}}
}

// opening implements pipeline.Opening.
type opening struct {
	m      *unpack.Message
	groups map[string]filetype.Group // of the parts, by path
}

// Open implements pipeline.Opening.
func (o opening) Open(ctx context.Context, x pipeline.Object, content io.Reader, visit func(*pipeline.Inner) error) error {
	return o.m.Unpack(ctx, unpack.Object{Path: x.Path, Name: x.Name, Types: x.Types}, content, func(p *unpack.Part) error {
		if p.View == unpack.Content {
			o.groups[p.Path] = filetype.Group(p.Group)
		}
		return visit(&pipeline.Inner{
			Path: p.Path, Name: p.Name, Type: p.Type, Group: p.Group, Media: filetype.MediaType(p.Type), Depth: p.Depth,
			Extracted: p.View != unpack.Content, Text: p.IsText(), Body: p.Body,
		})
	})
}

// Findings implements pipeline.Opening.
func (o opening) Findings() []pipeline.Found {
	var out []pipeline.Found
	for _, f := range o.m.Report().Findings {
		// What stands in a document in a way that we do not read is there for an
		// engine; an archive that we do not open may hold anything.
		unread := f.Kind == unpack.TextLimit || f.Kind == unpack.Unsupported && o.groups[f.Path] == filetype.Document && strings.HasPrefix(f.Detail, "PDF filter ")
		out = append(out, pipeline.Found{
			Kind: string(f.Kind), Path: f.Path, Encrypted: f.Kind == unpack.Encrypted, Corrupt: f.Kind == unpack.Corrupt,
			Unread: unread, Unopened: f.Kind == unpack.Unsupported || f.Kind == unpack.Corrupt, Unseen: f.Unseen(), Fault: f.Fault(),
		})
	}
	return out
}

// Close implements pipeline.Opening.
func (o opening) Close() { o.m.Close() }
