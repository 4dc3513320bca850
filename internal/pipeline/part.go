package pipeline

import (
	"context"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/filter/dlp"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/policy"
)

// VirusQuarantine is where the verdicts of antivirus engines lead (reference 1.1).
const VirusQuarantine = "Virus"

// judgement is the way of one message behind the message filters.
type judgement struct {
	p     *Pipeline
	s     *Settings
	in    Input
	m     *input
	table *policy.Table

	t         *Traced
	ambiguous string // why the message is, in words; "" when it is not
	scan      mail.Scan
	interim   []mail.Scan // of the engine, when another verdict counts
	left      mail.Scan   // what counts for whom archives that we do not open are the engine's affair
	unopened  bool        // scan is about such archives, and nothing worse
	spam      mail.Spam
	files     mail.Analysis
	skip      mail.Skip     // what message filters had it skip
	leak      dlp.Violation // of the part under way
	released  bool          // it came back from Outbreak
	tags      []string      // by message filters

	threats *Threats       // in force for all parts
	facts   outbreak.Facts // what outbreak rules ask for
	tooBig  bool           // and were not asked
}

// parts splits the message by policy and judges each part. d is what the
// message filters decided for all of them.
func (j *judgement) parts(ctx context.Context, d mail.Disposition) ([]Part, error) {
	j.tags = d.Tags
	split := j.table.Split(j.in.Env.From, j.in.Env.To)
	if len(split) == 0 {
		split = []policy.Part{{Row: &j.table.Default}}
	}
	j.skip = d.Skip
	skip(split, d.Skip)
	if err := j.ask(ctx, split); err != nil {
		return nil, err
	}
	content, leaks := make([]mail.Disposition, len(split)), make([]dlp.Violation, len(split))
	for i, s := range split {
		var err error
		if content[i], err = j.contentOf(ctx, &Part{MID: j.in.MID, Recipients: s.Recipients}, s.Row); err != nil {
			return nil, err
		}
		if leaks[i], err = j.violation(ctx, s.Row); err != nil {
			return nil, err
		}
	}
	if len(split) == 1 {
		j.p.o.Log.MatchedPolicy(j.in.MID, split[0].Row.Name, j.table.Name)
		part := Part{MID: j.in.MID, Disposition: d, Judged: j.judged(split[0].Row), Whole: len(d.Copies)}
		j.leak = leaks[0]
		j.engines(&part, split[0].Row, content[0])
		j.t.part(part, split[0].Row, j)
		return []Part{part}, nil
	}
	var out []Part
	for i, s := range split {
		part := Part{MID: j.p.o.NextMID(), Recipients: s.Recipients, Disposition: d, Judged: j.judged(s.Row), Whole: len(d.Copies)}
		part.Quarantine, part.Headers = slices.Clone(d.Quarantine), slices.Clone(d.Headers)
		if len(out) > 0 {
			part.Copies, part.CopiedBy, part.Whole, part.Bcc = nil, nil, 0, nil // of the whole message, once
			part.Notices, part.Archive = nil, nil
		}
		j.p.o.Log.Split(j.in.MID, part.MID, s.Row.Name, j.table.Name)
		j.leak = leaks[i]
		j.engines(&part, s.Row, content[i])
		j.t.part(part, s.Row, j)
		out = append(out, part)
	}
	return out, nil
}

// skip takes out stages that message filters had the message skip.
func skip(split []policy.Part, s mail.Skip) {
	if s == (mail.Skip{}) {
		return
	}
	for i := range split {
		row := *split[i].Row
		row.Antispam.Scan = row.Antispam.Scan && !s.Spam
		row.Antivirus.Scan = row.Antivirus.Scan && !s.Virus
		row.Outbreak.Scan = row.Outbreak.Scan && !s.Outbreak
		split[i].Row = &row
	}
}

// ask has the message scanned when a policy wants it; once, for its parts have
// the same content. Nothing is logged and no number taken before the answers are
// there, so that a message that waits for an engine leaves no lines behind.
func (j *judgement) ask(ctx context.Context, split []policy.Part) (err error) {
	j.spam = mail.Spam{Engine: "antispam", Reason: "there is no engine"}
	j.scan = mail.Scan{Engine: "antivirus", Name: "there is no engine"}
	if j.s.Spam != nil && slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Antispam.Scan }) {
		if j.spam, err = j.s.Spam.Spam(ctx, j.in); err != nil {
			return errs.Context(err, "asking about MID %s", j.in.MID)
		}
	}
	if j.s.Engine != nil && slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Antivirus.Scan }) {
		if j.scan, err = j.s.Engine.Scan(ctx, j.in.Hash, j.in.Size, asMail(j.in.Open)); err != nil {
			return errs.Context(err, "scanning MID %s", j.in.MID)
		}
		j.left = j.scan
		if err := j.inside(ctx); err != nil {
			return errs.Context(err, "looking into the attachments of MID %s", j.in.MID)
		}
	}
	if err = j.askAnalyser(ctx, split); err != nil {
		return err
	}
	if slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Outbreak.Scan }) {
		if err = j.gather(ctx); err != nil {
			return errs.Context(err, "holding MID %s against outbreak rules", j.in.MID)
		}
	}
	for _, p := range split {
		spam, virus := &p.Row.Antispam, &p.Row.Antivirus
		switch {
		case spam.Scan && j.spam.Verdict == mail.SpamUnknown && spam.For(mail.SpamUnknown).Action == policy.Wait:
			return errs.New(errs.Temporary, "spam unknown: %s; the message waits", j.spam.Reason)
		case virus.Scan && j.scan.Verdict == mail.Unscanned && virus.For(mail.Unscanned).Action == policy.Wait:
			return errs.New(errs.Temporary, "unscanned: %s; the message waits", j.scan.Name)
		}
	}
	return nil
}

// judged is what is remembered with a part.
func (j *judgement) judged(row *policy.Row) mail.Judgement {
	out := mail.Judgement{Policy: row.Name}.WithSkip(j.skip)
	if row.Antivirus.Scan {
		scan, _ := j.counting(row)
		out = out.With(scan)
	}
	if row.Antispam.Scan {
		out = out.WithSpam(j.spam)
	}
	if row.Analysis.Scan && j.files.Verdict > mail.FilePending {
		out = out.With(j.files.Scan())
	}
	return out
}

// engines does what a policy wants about an ambiguous message, and about the
// verdicts in the order of reference 7.3.
func (j *judgement) engines(part *Part, row *policy.Row, content mail.Disposition) {
	if j.ambiguous != "" {
		j.respond(part, row.ForAmbiguous(), "MIME inspection", mail.Placement{Quarantine: j.p.o.HoldAmbiguous, Reason: j.ambiguous})
	}
	if part.Drop {
		return
	}
	if row.Antispam.Scan {
		j.antispam(part, row)
	}
	if row.Antivirus.Scan && !part.Drop {
		j.antivirus(part, row)
	}
	if row.Analysis.Scan && !part.Drop {
		j.analysis(part, row)
	}
	if !part.Drop {
		j.content(part, content)
	}
	if row.Outbreak.Scan && !part.Drop && !content.Skip.Outbreak {
		j.outbreak(part, row)
	}
	if !part.Drop {
		j.dlp(part, j.leak)
	}
}

// SpamQuarantine is where spam is held: centralised quarantines have none of
// its own (reference 1.1).
const SpamQuarantine = "Policy"

func (j *judgement) antispam(part *Part, row *policy.Row) {
	j.p.o.Log.Antispam(part.MID, j.spam)
	if j.spam.Verdict != mail.SpamNegative {
		j.respond(part, row.Antispam.For(j.spam.Verdict), "antispam", mail.Placement{Quarantine: SpamQuarantine, Reason: "antispam:" + j.spam.Verdict.String()})
	}
}

func (j *judgement) antivirus(part *Part, row *policy.Row) {
	log := j.p.o.Log
	for _, s := range append(j.interim, j.scan) {
		log.InterimVerdict(part.MID, s)
	}
	scan, response := j.counting(row)
	log.Antivirus(part.MID, scan, j.released)
	if scan.Verdict != mail.Clean {
		j.respond(part, response, "antivirus", mail.Placement{Quarantine: VirusQuarantine, Reason: reason(scan)})
	}
}

// counting gives the verdict that counts for a policy, and what it wants done.
func (j *judgement) counting(row *policy.Row) (mail.Scan, policy.Response) {
	if r, ok := row.Antivirus.Respond(j.scan.Verdict, j.unopened); ok {
		return j.scan, r
	}
	return j.left, row.Antivirus.For(j.left.Verdict)
}

// respond does what is wanted about the verdict of an engine.
func (j *judgement) respond(part *Part, r policy.Response, engine string, hold mail.Placement) {
	if r.Action == policy.Drop {
		part.Drop, part.DropReason = true, droppedBy(engine)
		part.Quarantine, part.Headers = nil, nil
		j.p.o.Log.Aborted(part.MID, part.DropReason)
		return
	}
	if r.Action == policy.Quarantine && !slices.ContainsFunc(part.Quarantine, func(p mail.Placement) bool { return p.Quarantine == hold.Quarantine }) {
		part.Quarantine = append(part.Quarantine, hold)
	}
	if x, err := r.Extras(); err == nil && x != (mail.Extras{}) {
		part.Extras, part.ChangedBy = append(slices.Clone(part.Extras), x), engine
	}
}

func droppedBy(engine string) string { return "Dropped by " + engine }

// reason says in the quarantine why a message is there.
func reason(s mail.Scan) string {
	text := "antivirus:" + s.Verdict.String()
	if s.Name != "" {
		text += " " + s.Name
	}
	return text
}
