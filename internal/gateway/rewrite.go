package gateway

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
)

// rewrite lets a message go on under other numbers: as one for each of its
// policies (reference 7.8), or as one that was changed. The content as it was
// received is not touched; a changed one is a content of its own.
func (p processor) rewrite(ctx context.Context, it *queue.Item, parts []pipeline.Part, open queue.Opener) (queue.Routing, error) {
	var out queue.Routing
	for _, part := range parts {
		out.Copies = append(out.Copies, p.copies(it, part)...)
		part.Copies, part.CopiedBy = nil, nil
		if len(parts) == 1 {
			part.MID = p.g.nextMID()
		}
		c, err := p.part(ctx, it, part, open)
		if err != nil {
			return queue.Routing{}, err
		}
		r := p.route(c.Item, part)
		if r.Drop {
			continue // the pipeline has said why
		}
		c.Item.State = queue.Routed
		c.Item.Placements = r.Placements
		c.Item.Prepend = append(r.Prepend, c.Item.Prepend...)
		for i := range c.Item.Recipients {
			c.Item.Recipients[i].Dest = r.Dest(c.Item.Recipients[i])
		}
		out.Parts = append(out.Parts, c)
		if len(parts) == 1 {
			p.g.Log.Rewritten(it.MID, part.MID, rewriter(part))
		}
	}
	if out.Drop = len(out.Parts) == 0; !out.Drop {
		p.g.Log.Finished(it.MID, true)
	}
	return out, nil
}

// copies makes those that filters asked for, of the message as it came: those of
// message filters for all recipients, those of content filters for those of the
// part.
func (p processor) copies(it *queue.Item, part pipeline.Part) (all []queue.Copy) {
	own := it
	if part.Recipients != nil {
		own = it.Clone()
		own.Recipients = own.Recipients[:0]
		for _, i := range part.Recipients {
			own.Recipients = append(own.Recipients, it.Recipients[i])
		}
	}
	for i, to := range part.Copies {
		of := own
		if i < part.Whole {
			of = it
		}
		all = append(all, p.copy(of, to, part.CopiedBy[i]))
	}
	return all
}

// rewriter names who changed a message.
func rewriter(part pipeline.Part) string {
	return cmp.Or(part.ChangedBy, part.EditedBy, part.ToBy, "sender authentication")
}

// part makes the message that a part goes on as.
func (p processor) part(ctx context.Context, it *queue.Item, part pipeline.Part, open queue.Opener) (queue.Copy, error) {
	c := it.Clone()
	c.MID, c.Tries, c.Judged = part.MID, 0, part.Judged
	switch {
	case part.AlternateTo():
		c.Recipients = []queue.Recipient{{Address: part.To}}
	case part.Recipients != nil:
		c.Recipients = c.Recipients[:0]
		for _, i := range part.Recipients {
			c.Recipients = append(c.Recipients, it.Recipients[i])
		}
	}
	c.Route = c.Route.With(part.Route)
	of := it.MID
	if edits(part) && !part.Drop {
		of = c.MID
		if err := p.change(ctx, c, part, open); err != nil {
			return queue.Copy{}, err
		}
	}
	c.Key = mail.NewKey(p.g.serial(), c.MID, c.Hash)
	p.envelope(c)
	return queue.Copy{Of: of, Item: c}, nil
}

// edits reports whether the content of a part is another than that received.
func edits(part pipeline.Part) bool {
	return len(part.Extras)+len(part.Fields)+len(part.Body) > 0 || part.Unforge
}

// changes reports whether a part goes on under another number: with another
// content, or to others.
func changes(part pipeline.Part) bool { return edits(part) || part.AlternateTo() }

// envelope writes who a message that was made inside is from and for, so that
// the log alone says which recipients a part has. It has no connection: ICID 0.
func (p processor) envelope(it *queue.Item) {
	p.g.Log.Start(it.MID, 0)
	p.g.Log.From(it.MID, 0, it.From)
	for i := range it.Recipients {
		p.g.Log.To(it.MID, 0, mail.RID(i), it.Recipients[i].Address)
	}
}

// unforge gives which fields of a part's header go; nil none.
func (p processor) unforge(part pipeline.Part) func(name, value string) bool {
	if !part.Unforge {
		return nil
	}
	claims := authenticator(p).Claims
	return func(name, value string) bool { return strings.EqualFold(name, pipeline.AuthField) && claims(value) }
}

// edit gives the changes of a part's fields.
func (p processor) edit(part pipeline.Part) message.Edit {
	edits := fieldEdits(part.Fields)
	return message.Edit{Drop: edits.drop(p.unforge(part)), Field: edits.change(), Why: "by a filter"}
}

// change stores the changed content under the number of c.
func (p processor) change(ctx context.Context, c *queue.Item, part pipeline.Part, open queue.Opener) error {
	x := extras(part.Extras)
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	d, err := p.g.spool.Receive(ctx, c.MID)
	if err != nil {
		return err
	}
	if err := p.write(d, x, c.MID, part, content, open); err != nil {
		d.Abort()
		return err
	}
	c.Size, c.Hash = d.Size(), d.Hash()
	if err := d.Keep(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	c.Subject = fieldEdits(part.Fields).subject(c.Subject)
	x.mark(c)
	return nil
}
