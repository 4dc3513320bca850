package pipeline

import (
	"cmp"
	"context"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// partView shows one part of a split message to filters: its number and its
// recipients, with the content of the whole.
type partView struct {
	*input
	part *Part
	tags []string // of message filters
}

// Facts implements filter.Message.
func (v partView) Facts() *filter.Facts {
	f := v.input.Facts()
	f.MID, f.Tags = v.part.MID, v.tags
	if v.part.Recipients != nil {
		f.Env.To = nil
		for _, i := range v.part.Recipients {
			f.Env.To = append(f.Env.To, v.Env.To[i])
		}
	}
	return f
}

// contentOf runs the content filters of a policy, if it has any. It is done
// before anything is logged: a message that cannot be read now is judged again,
// and leaves no lines behind.
func (j *judgement) contentOf(ctx context.Context, part *Part, row *policy.Row) (d mail.Disposition, err error) {
	set := j.s.Content[policy.Key{Table: j.table.Name, Name: row.Name}]
	if set.Empty() {
		return d, nil
	}
	d, err = set.Watch(ctx, partView{j.m, part, j.tags}, j.t.contentSteps(row.Name))
	return d, errs.Context(err, "content filters, MID %s", j.in.MID)
}

// content does what content filters decided about a part (reference 7.5).
func (j *judgement) content(part *Part, d mail.Disposition) {
	for _, note := range d.Notes {
		j.p.o.Log.CustomEntry(part.MID, note)
	}
	part.Copies = append(slices.Clip(part.Copies), d.Copies...)
	part.CopiedBy = append(slices.Clip(part.CopiedBy), d.CopiedBy...)
	part.Bcc = append(slices.Clip(part.Bcc), d.Bcc...)
	part.Actions.Add(d.Actions)
	if d.Drop {
		part.Drop, part.Bounce, part.DropReason = true, d.Bounce, d.DropReason
		part.Quarantine, part.Headers = nil, nil
		j.p.o.Log.Aborted(part.MID, part.DropReason)
		return
	}
	part.Headers = append(slices.Clip(part.Headers), d.Headers...)
	part.Fields = append(slices.Clip(part.Fields), d.Fields...)
	part.Extras = append(slices.Clip(part.Extras), d.Extras...)
	part.EditedBy = cmp.Or(d.EditedBy, part.EditedBy)
	for _, p := range d.Quarantine {
		i := slices.IndexFunc(part.Quarantine, func(o mail.Placement) bool { return o.Quarantine == p.Quarantine })
		if i < 0 {
			part.Quarantine = append(part.Quarantine, p)
			continue
		}
		had := part.Quarantine[i].Matched
		part.Quarantine[i].Matched = append(slices.Clip(had), p.Matched[:min(len(p.Matched), mail.MaxMatched-len(had))]...)
	}
}
