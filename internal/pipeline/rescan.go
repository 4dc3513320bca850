package pipeline

import (
	"context"
	"errors"
	"slices"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Again is a message that came back from its last quarantine.
type Again struct {
	Input
	Judged   mail.Judgement // before it was held
	Outbreak bool           // that is where it was
}

// Rescan has a released message scanned again (reference 2.5): antivirus, and
// anti-spam for what comes from Outbreak, where what still meets a rule is
// marked and not held again; filters do not run. A verdict that the
// message had before changes nothing, for somebody let it go in spite of it; a
// new one leads to what the policy says. So a message is held again mail.MaxSeen
// times by antivirus at most, whatever engines say.
//
// The part has the number and all recipients of the message; step says in words
// what came out, and is empty when no policy wants it scanned.
func (p *Pipeline) Rescan(ctx context.Context, in Again) (part Part, step string, err error) {
	j, split := p.anew(in)
	part = Part{MID: in.MID, Judged: in.Judged}
	if !wanted(split) {
		return part, "", nil
	}
	var lethal *Lethal
	switch err := j.ask(ctx, split); {
	case errors.As(err, &lethal):
		j.scan, j.left, j.unopened = Unopened, Unopened, false // and no poison: a person has decided about that before
	case err != nil:
		return part, "", err
	}
	row := j.together(split)
	knownSpam, known := in.Judged.KnowsSpam(j.spam), in.Judged.Knows(j.scan)
	if row.Antispam.Scan {
		part.Judged = part.Judged.WithSpam(j.spam)
	}
	if row.Antivirus.Scan {
		part.Judged = part.Judged.With(j.scan)
	}
	if row.Analysis.Scan && j.files.Verdict > mail.FilePending {
		part.Judged = part.Judged.With(j.files.Scan())
	}
	pass := policy.Response{Action: policy.Deliver}
	if j.files.Verdict == mail.FilePending || in.Judged.Knows(j.files.Scan()) { // it waited, or somebody let it go in spite of it
		row.Analysis.Verdicts = map[mail.FileVerdict]policy.Response{j.files.Verdict: pass}
	}
	if knownSpam {
		row.Antispam.Verdicts = map[mail.SpamVerdict]policy.Response{j.spam.Verdict: pass}
	}
	if known {
		row.Antivirus.Verdicts, row.Antivirus.Unopened = map[mail.Verdict]policy.Response{j.scan.Verdict: pass}, policy.Response{}
	}
	j.engines(&part, row, mail.Disposition{}) // filters do not run a second time (reference 2.5)
	return part, j.step(row, known && (knownSpam || !row.Antispam.Scan), &part), nil
}

// Unopened is the verdict about a message that did harm to what opened it.
var Unopened = mail.Scan{Verdict: mail.Unscannable, Engine: "Lazaret", Name: "opening it does harm"}

// anew makes the judgement of a message that is scanned again, and gives the
// policies that have a say in it.
func (p *Pipeline) anew(in Again) (*judgement, []policy.Part) {
	s := p.settings.Load()
	// The engine itself is asked, not what it is remembered to have said: the
	// version of signatures of one's own does not change when they do.
	in.Hash = mail.Hash{}
	m := &input{Input: in.Input, auth: s.Auth, site: &p.o, scanned: s.Engine != nil, repeats: p.repeats}
	j := &judgement{p: p, s: s, in: in.Input, m: m, table: s.table(in.Origin), released: in.Outbreak}
	split := j.again(in.Judged.Policy)
	skip(split, in.Judged.Skipped()) // what a filter let pass unseen is not seen on its way out either
	if !in.Outbreak {
		for i := range split {
			row := *split[i].Row
			row.Antispam.Scan, row.Outbreak.Scan = false, false
			split[i].Row = &row
		}
	}
	return j, split
}

// again gives the policy that the message was held by, or those of its
// recipients where there is none of that name any more.
func (j *judgement) again(name string) []policy.Part {
	if name == j.table.Default.Name {
		return []policy.Part{{Row: &j.table.Default}}
	}
	for i := range j.table.Rows {
		if row := &j.table.Rows[i]; name != "" && row.Name == name {
			return []policy.Part{{Row: row}}
		}
	}
	if split := j.table.Split(j.in.Env.From, j.in.Env.To); len(split) > 0 {
		return split
	}
	return []policy.Part{{Row: &j.table.Default}}
}

// wanted reports whether a policy wants the message to be scanned.
func wanted(split []policy.Part) bool {
	return slices.ContainsFunc(split, func(p policy.Part) bool {
		return p.Row.Analysis.Scan || p.Row.Antivirus.Scan || p.Row.Antispam.Scan || p.Row.Outbreak.Scan && p.Row.Outbreak.Modify > 0
	})
}

// together gives one policy for a message that is not split: a release goes on
// whole, for it has one account. Where policies differ about a verdict it is
// held: nobody loses it and nobody gets what his policy would have dropped.
func (j *judgement) together(split []policy.Part) *policy.Row {
	leaves := func(p policy.Part) bool { return p.Row.Antivirus.Unopened.Action == policy.Engine }
	if j.unopened && !slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Antivirus.Scan && !leaves(p) }) {
		j.scan, j.unopened = j.left, false
	}
	out := *split[0].Row
	hold := policy.Response{Action: policy.Quarantine}
	for _, s := range split[1:] {
		if a, b := &out.Antivirus, &s.Row.Antivirus; j.scan.Verdict != mail.Clean && (a.Scan != b.Scan || a.Scan && j.differ(a, b)) {
			out.Antivirus = policy.Antivirus{Scan: true, Verdicts: map[mail.Verdict]policy.Response{j.scan.Verdict: hold}}
		}
		if a, b := &out.Antispam, &s.Row.Antispam; j.spam.Verdict != mail.SpamNegative && (a.Scan != b.Scan || a.Scan && a.For(j.spam.Verdict) != b.For(j.spam.Verdict)) {
			out.Antispam = policy.Antispam{Scan: true, Verdicts: map[mail.SpamVerdict]policy.Response{j.spam.Verdict: hold}}
		}
		if a, b := &out.Analysis, &s.Row.Analysis; j.files.Verdict != mail.FileClean && (a.Scan != b.Scan || a.Scan && a.For(j.files.Verdict) != b.For(j.files.Verdict)) {
			out.Analysis = policy.Analysis{Scan: true, Verdicts: map[mail.FileVerdict]policy.Response{j.files.Verdict: hold}}
		}
		out.Antivirus.Scan = out.Antivirus.Scan || s.Row.Antivirus.Scan
		out.Antispam.Scan = out.Antispam.Scan || s.Row.Antispam.Scan
	}
	return &out
}

// differ reports whether two policies want something else about the verdict.
func (j *judgement) differ(a, b *policy.Antivirus) bool {
	x, left := a.Respond(j.scan.Verdict, j.unopened)
	y, right := b.Respond(j.scan.Verdict, j.unopened)
	return x != y || left != right
}

// step says what scanning again gave.
func (j *judgement) step(row *policy.Row, known bool, part *Part) string {
	if !row.Antivirus.Scan && !row.Antispam.Scan && j.files.Files == 0 {
		return ""
	}
	text := "rescanned: " + j.verdict(row)
	switch {
	case part.Drop:
		by := "antivirus"
		for _, engine := range []string{"antispam", "amp"} {
			if part.DropReason == droppedBy(engine) {
				by = engine
			}
		}
		return text + ", dropped by " + by
	case len(part.Quarantine) > 0:
		return text + ", held again in " + part.Quarantine[0].Quarantine
	case known && !j.harmless(row):
		return text + ", as before"
	}
	return text
}

// verdict gives what the engines said that were asked, in words.
func (j *judgement) verdict(row *policy.Row) (text string) {
	if row.Antivirus.Scan {
		if text = j.scan.Verdict.String(); j.scan.Name != "" {
			text += " " + j.scan.Name
		}
	}
	if row.Antispam.Scan && (!row.Antivirus.Scan || j.spam.Verdict != mail.SpamNegative) {
		if text != "" {
			text += ", "
		}
		text += "spam " + j.spam.Verdict.String()
	}
	if row.Analysis.Scan && j.files.Files > 0 {
		if text != "" {
			text += ", "
		}
		text += strings.TrimSpace("file analysis " + j.files.Verdict.String() + " " + j.files.Name)
	}
	return text
}

// harmless reports whether the engines found nothing.
func (j *judgement) harmless(row *policy.Row) bool {
	return (!row.Antivirus.Scan || j.scan.Verdict == mail.Clean) && (!row.Antispam.Scan || j.spam.Verdict == mail.SpamNegative) &&
		(!row.Analysis.Scan || j.files.Verdict == mail.FileClean)
}
