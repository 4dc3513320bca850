package pipeline

import (
	"context"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// VirusQuarantine is where the verdicts of antivirus engines lead (reference 1.1).
const VirusQuarantine = "Virus"

// judgement is the way of one message behind the message filters.
type judgement struct {
	p     *Pipeline
	s     *Settings
	in    Input
	table *policy.Table

	asked bool
	scan  mail.Scan
}

// parts splits the message by policy and judges each part. d is what the
// message filters decided for all of them.
func (j *judgement) parts(ctx context.Context, d mail.Disposition) ([]Part, error) {
	split := j.table.Split(j.in.Env.From, j.in.Env.To)
	if len(split) == 0 {
		split = []policy.Part{{Row: &j.table.Default}}
	}
	if err := j.ask(ctx, split); err != nil {
		return nil, err
	}
	if len(split) == 1 {
		j.p.o.Log.MatchedPolicy(j.in.MID, split[0].Row.Name, j.table.Name)
		part := Part{MID: j.in.MID, Disposition: d}
		j.antivirus(&part, split[0].Row)
		return []Part{part}, nil
	}
	var out []Part
	for _, s := range split {
		part := Part{MID: j.p.o.NextMID(), Recipients: s.Recipients, Disposition: d}
		part.Quarantine, part.Headers = slices.Clone(d.Quarantine), slices.Clone(d.Headers)
		if len(out) > 0 {
			part.Copies, part.CopiedBy = nil, nil // of the whole message, once
		}
		j.p.o.Log.Split(j.in.MID, part.MID, s.Row.Name, j.table.Name)
		j.antivirus(&part, s.Row)
		out = append(out, part)
	}
	return out, nil
}

// ask has the message scanned when a policy wants it; once, for its parts have
// the same content. Nothing is logged and no number taken before the answer is
// there, so that a message that waits for its engine leaves no lines behind.
func (j *judgement) ask(ctx context.Context, split []policy.Part) (err error) {
	wanted := slices.IndexFunc(split, func(p policy.Part) bool { return p.Row.Antivirus.Scan })
	if wanted < 0 {
		return nil
	}
	j.asked, j.scan = true, mail.Scan{Engine: "antivirus", Name: "there is no engine"}
	if j.s.Engine != nil {
		if j.scan, err = j.s.Engine.Scan(ctx, j.in.Hash, j.in.Size, j.in.Open); err != nil {
			return errs.Context(err, "scanning MID %s", j.in.MID)
		}
	}
	waits := func(p policy.Part) bool {
		return p.Row.Antivirus.Scan && j.scan.Verdict == mail.Unscanned && p.Row.Antivirus.For(mail.Unscanned).Action == policy.Wait
	}
	if slices.ContainsFunc(split, waits) {
		return errs.New(errs.Temporary, "unscanned: %s; the message waits", j.scan.Name)
	}
	return nil
}

// antivirus does what a policy wants about the verdict.
func (j *judgement) antivirus(part *Part, row *policy.Row) {
	if !row.Antivirus.Scan {
		return
	}
	log := j.p.o.Log
	log.InterimVerdict(part.MID, j.scan)
	log.Antivirus(part.MID, j.scan)
	if j.scan.Verdict == mail.Clean {
		return
	}
	r := row.Antivirus.For(j.scan.Verdict)
	if r.Action == policy.Drop {
		part.Drop, part.DropReason = true, "Dropped by antivirus"
		part.Quarantine, part.Headers = nil, nil
		log.Aborted(part.MID, part.DropReason)
		return
	}
	if r.Action == policy.Quarantine && !slices.ContainsFunc(part.Quarantine, func(p mail.Placement) bool { return p.Quarantine == VirusQuarantine }) {
		part.Quarantine = append(part.Quarantine, mail.Placement{Quarantine: VirusQuarantine, Reason: reason(j.scan)})
	}
	if x, err := r.Extras(); err == nil && x != (mail.Extras{}) {
		part.Extras = append(slices.Clone(part.Extras), x)
	}
}

// reason says in the quarantine why a message is there.
func reason(s mail.Scan) string {
	text := "antivirus:" + s.Verdict.String()
	if s.Name != "" {
		text += " " + s.Name
	}
	return text
}
