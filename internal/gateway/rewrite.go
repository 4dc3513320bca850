package gateway

import (
	"context"
	"errors"

	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
)

// rewrite lets a message go on under other numbers: as one for each of its
// policies (reference 7.8), or as one that was changed. The content as it was
// received is not touched; a changed one is a content of its own.
func (p processor) rewrite(ctx context.Context, it *queue.Item, parts []pipeline.Part, open queue.Opener) (queue.Routing, error) {
	var out queue.Routing
	for i, to := range parts[0].Copies { // of the whole message, as it came
		out.Copies = append(out.Copies, p.copy(it, to, parts[0].CopiedBy[i]))
	}
	for _, part := range parts {
		part.Copies, part.CopiedBy = nil, nil
		if len(parts) == 1 {
			part.MID = p.g.nextMID()
		}
		c, err := p.part(ctx, it, part, open)
		if err != nil {
			return queue.Routing{}, err
		}
		r := p.route(c.Item, part.Disposition)
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
			p.g.Log.Rewritten(it.MID, part.MID, "antivirus")
		}
	}
	if out.Drop = len(out.Parts) == 0; !out.Drop {
		p.g.Log.Finished(it.MID, true)
	}
	return out, nil
}

// part makes the message that a part goes on as.
func (p processor) part(ctx context.Context, it *queue.Item, part pipeline.Part, open queue.Opener) (queue.Copy, error) {
	c := it.Clone()
	c.MID, c.Tries = part.MID, 0
	if part.Recipients != nil {
		c.Recipients = c.Recipients[:0]
		for _, i := range part.Recipients {
			c.Recipients = append(c.Recipients, it.Recipients[i])
		}
	}
	of := it.MID
	if len(part.Extras) > 0 && !part.Drop {
		of = c.MID
		if err := p.change(ctx, c, part.Extras, open); err != nil {
			return queue.Copy{}, err
		}
	}
	c.Key = mail.NewKey(p.g.serial(), c.MID, c.Hash)
	return queue.Copy{Of: of, Item: c}, nil
}

// change stores the changed content under the number of c.
func (p processor) change(ctx context.Context, c *queue.Item, x extras, open queue.Opener) error {
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	d, err := p.g.spool.Receive(ctx, c.MID)
	if err != nil {
		return err
	}
	if _, err := x.copy(d, content); err != nil {
		d.Abort()
		return err
	}
	c.Size, c.Hash = d.Size(), d.Hash()
	if err := d.Keep(); err != nil {
		return errors.Join(err, ctx.Err())
	}
	x.mark(c)
	return nil
}
