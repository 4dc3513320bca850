package gateway

import (
	"cmp"
	"context"
	"errors"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
)

// processor turns what the pipeline decides into what the queue does: a
// quarantine is a destination (idea 1 of the architecture).
type processor struct{ g *Gateway }

// Process implements queue.Processor.
func (p processor) Process(ctx context.Context, it *queue.Item, open queue.Opener) (queue.Routing, error) {
	if it.Release != nil {
		return p.rescan(ctx, it, open)
	}
	parts, err := p.g.pipeline.Judge(ctx, input(it, open))
	var lethal *pipeline.Lethal
	if errors.As(err, &lethal) {
		return queue.Routing{}, queue.Poison(errs.Wrap(errs.Invalid, err, "%s", lethal.Error()))
	}
	if err != nil {
		return queue.Routing{}, err
	}
	made, copies, err := p.asides(ctx, it, parts, open)
	if err != nil {
		return queue.Routing{}, err
	}
	r := queue.Routing{}
	if len(parts) == 1 && (parts[0].Drop || !changes(parts[0])) {
		r = p.route(it, parts[0])
	} else if r, err = p.rewrite(ctx, it, parts, open); err != nil {
		return r, err
	}
	r.New, r.Copies = made, append(copies, r.Copies...)
	return r, nil
}

// Park implements queue.Parker: what kills its judgement is unscannable, and a
// person decides about it.
func (p processor) Park(it *queue.Item, why string) (queue.Routing, bool) {
	if it.Release != nil {
		return queue.Routing{}, false // a person has decided: not once more
	}
	part := pipeline.Part{MID: it.MID, Judged: it.Judged.With(pipeline.Unopened)}
	part.Quarantine = []mail.Placement{{Quarantine: "Policy", Reason: "unscannable: " + why}}
	return p.route(it, part), true
}

// rescan takes a released message past the engines, not past the filters
// (reference 2.5).
func (p processor) rescan(ctx context.Context, it *queue.Item, open queue.Opener) (queue.Routing, error) {
	part, step, err := p.g.pipeline.Rescan(ctx, pipeline.Again{Input: input(it, open), Judged: it.Judged, Outbreak: fromOutbreak(it.Release.Held)})
	if err != nil {
		return queue.Routing{}, err
	}
	r := queue.Routing{}
	if part.Drop || !changes(part) {
		r = p.route(it, part)
	} else if r, err = p.rewrite(ctx, it, []pipeline.Part{part}, open); err != nil {
		return r, err
	}
	for _, c := range r.Parts {
		c.Item.Release.Step = step
	}
	r.Step = step
	return r, nil
}

func input(it *queue.Item, open queue.Opener) pipeline.Input {
	return pipeline.Input{
		MID: it.MID, Env: envelope(it), Origin: it.Origin, Size: it.Size, Hash: it.Hash, Subject: it.Subject, Open: open,
	}
}

func envelope(it *queue.Item) mail.Envelope {
	e := mail.Envelope{
		Params: it.Params, From: it.From, To: make([]mail.Address, len(it.Recipients)), Rcpt: make([]mail.RcptParams, len(it.Recipients)),
	}
	for i := range it.Recipients {
		e.To[i], e.Rcpt[i] = it.Recipients[i].Address, it.Recipients[i].RcptParams
	}
	return e
}

func (p processor) route(it *queue.Item, part pipeline.Part) queue.Routing {
	d := part.Disposition
	r := queue.Routing{Drop: d.Drop && !d.Bounce, Prepend: p.lines(it, d.Headers), Judged: &part.Judged, Route: d.Route}
	for i, c := range d.Copies {
		r.Copies = append(r.Copies, p.copy(it, c, d.CopiedBy[i]))
	}
	switch {
	case d.Bounce:
		r.Prepend, r.Dest = nil, func(queue.Recipient) queue.Dest { return queue.Dest{Name: queue.BounceQueue} }
	case d.Drop:
		// the pipeline has said why
	case len(d.Quarantine) > 0:
		to := p.g.quarantineDest()
		r.Placements, r.Dest = d.Quarantine, func(queue.Recipient) queue.Dest { return to } // all in one transaction
		p.enqueued(it.MID, to, d.Quarantine)
	default:
		r.Dest = p.toDomain(it, it.Route.With(d.Route))
		p.g.Log.QueuedForDelivery(it.MID)
	}
	return r
}

// toDomain sends each recipient to its domain, or to the host that a filter
// wants, by the lane of the message.
func (p processor) toDomain(it *queue.Item, route mail.Route) func(queue.Recipient) queue.Dest {
	lane := p.g.lane(it, route)
	return func(r queue.Recipient) queue.Dest {
		return queue.Dest{Name: cmp.Or(route.Host, r.Address.Domain), Lane: lane}
	}
}

// enqueued tells of mail for the manager; that it is in a quarantine of our own
// is told when it is.
func (p processor) enqueued(mid mail.MID, to queue.Dest, in []mail.Placement) {
	if to.Name != queue.CPQHost {
		return
	}
	for _, q := range in {
		p.g.Log.Enqueued(mid, q.Quarantine, q.Reason)
	}
}

// copy makes the message that duplicate-quarantine puts away at once; what
// later filters do to the original does not reach it (reference 2.1).
func (p processor) copy(it *queue.Item, to mail.Placement, filter string) queue.Copy {
	c := it.Clone()
	c.MID = p.g.nextMID()
	c.Key = mail.NewKey(p.g.serial(), c.MID, it.Hash)
	c.State, c.Tries = queue.Routed, 0
	c.Placements = []mail.Placement{to}
	dest := p.g.quarantineDest()
	for i := range c.Recipients {
		c.Recipients[i].Dest = dest
	}
	p.g.Log.Generated(c.MID, it.MID, "duplicate-quarantine filter '"+filter+"'")
	p.enqueued(c.MID, dest, c.Placements)
	return queue.Copy{Of: it.MID, Item: c}
}

// maxPrepend bounds what we put on top of a message: all of it must fit into
// the metadata of CPQ, or the message would wait for the manager for ever.
const maxPrepend = 15 << 10

// lines writes header lines, the first on top. Lines beyond the limit are left
// out, and the log says so.
func (p processor) lines(it *queue.Item, hs []mail.Header) []byte {
	var b []byte
	for _, h := range hs {
		line := h.String()
		if len(it.Prepend)+len(b)+len(line) > maxPrepend {
			p.g.Log.Warning("MID " + it.MID.String() + ": filters add more than 15 KiB of header lines; the rest is left out, from " + h.Name() + " on")
			break
		}
		b = append(b, line...)
	}
	return b
}
