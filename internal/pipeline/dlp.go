package pipeline

import (
	"context"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/filter/dlp"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// violation holds a message against the DLP policies of a mail policy; before
// anything is logged, like content filters.
func (j *judgement) violation(ctx context.Context, row *policy.Row) (dlp.Violation, error) {
	v, err := j.s.DLP[policy.Key{Table: j.table.Name, Name: row.Name}].Look(ctx, j.m)
	return v, errs.Context(err, "DLP, MID %s", j.in.MID)
}

// dlp does what a DLP policy wants about what leaves (reference 7.3, the last
// stage).
func (j *judgement) dlp(part *Part, v dlp.Violation) {
	if v.Severity == dlp.None {
		return
	}
	j.p.o.Log.DLPViolation(part.MID, v.Severity.String(), v.Risk, v.Policy.Name)
	r := v.Response()
	// One that a filter put into the same quarantine has the matches of both.
	i := slices.IndexFunc(part.Quarantine, func(p mail.Placement) bool { return p.Quarantine == r.Quarantine })
	if r.Action == string(policy.Quarantine) && i >= 0 {
		had := part.Quarantine[i].Matched
		part.Quarantine = slices.Clone(part.Quarantine)
		part.Quarantine[i].Matched = append(slices.Clip(had), v.Matched[:min(len(v.Matched), mail.MaxMatched-len(had))]...)
	}
	j.respond(part, policy.Response{Action: policy.Action(r.Action), Tag: r.Tag, Header: r.Header}, "DLP",
		mail.Placement{Quarantine: r.Quarantine, Reason: "DLP violation", Matched: v.Matched})
}
