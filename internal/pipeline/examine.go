package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Examine says what Rescan would find of a message that is held yet, and
// changes and logs nothing. A message that no policy wants scanned, or that no
// engine finished with, is an error: nobody has called it harmless (P3).
func (p *Pipeline) Examine(ctx context.Context, in Again) (mail.Finding, error) {
	j, split := p.anew(in)
	outbreak := slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Outbreak.Scan })
	if !wanted(split) && !outbreak {
		return mail.Finding{}, errs.New(errs.Invalid, "no engine is asked about it by its mail policy")
	}
	var lethal *Lethal
	switch err := j.ask(ctx, split); {
	case errors.As(err, &lethal):
		j.scan, j.left, j.unopened = Unopened, Unopened, false
	case err != nil:
		return mail.Finding{}, err
	}
	row := j.together(split)
	switch {
	case in.Outbreak && outbreak && p.threats.Load().none():
		return mail.Finding{}, errs.New(errs.Temporary, "there are no outbreak rules to judge by")
	case in.Outbreak && outbreak && j.tooBig:
		return mail.Finding{}, errs.New(errs.Invalid, "the message is too big to be held against outbreak rules")
	case row.Antivirus.Scan && j.scan.Verdict == mail.Unscanned:
		return mail.Finding{}, errs.New(errs.Temporary, "unscanned: %s", j.scan.Name)
	case row.Analysis.Scan && j.files.Verdict == mail.FileUnscanned:
		return mail.Finding{}, errs.New(errs.Temporary, "attachments unscanned: %s", j.files.Name)
	case row.Antispam.Scan && j.spam.Verdict == mail.SpamUnknown:
		return mail.Finding{}, errs.New(errs.Temporary, "spam unknown: %s", j.spam.Reason)
	}
	f := mail.Finding{Harmless: j.harmless(row), Text: j.verdict(row)}
	if rule := j.threat(split); rule != "" {
		f.Harmless = false
		f.Text = strings.TrimPrefix(f.Text+", "+mail.FoundRule(rule), ", ")
	} else if f.Text == "" {
		f.Text = "no outbreak rule"
	}
	if !f.Harmless && in.Judged.Knows(j.scan) && (!row.Antispam.Scan || in.Judged.KnowsSpam(j.spam)) {
		f.Text += ", as before"
	}
	return f, nil
}

// threat names the outbreak rule that holds a message from Outbreak still; "":
// none does.
func (j *judgement) threat(split []policy.Part) string {
	for _, p := range split {
		o := &p.Row.Outbreak
		if !o.Scan || j.threats == nil || j.tooBig {
			continue
		}
		if v := j.threats.set.Judge(j.facts, o.Bypass, j.p.o.Now()); v.Positive() && holds(o, v) {
			return v.ID
		}
	}
	return ""
}
