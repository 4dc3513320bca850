package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// FileQuarantine is where a message waits for the analysis of its attachments
// (reference 1.1).
const FileQuarantine = "File Analysis"

// Analyser says what attachments do when they are opened. An error is one of
// ctx; whatever goes wrong at the analyser is mail.FileUnscanned.
type Analyser interface {
	// Wants reports whether files of these kinds are analysed.
	Wants(kinds []string) bool
	// MaxSize is how large a file may be.
	MaxSize() int64
	// Look asks for the verdict about a file; known is false when the analyser
	// has to be given it.
	Look(ctx context.Context, sum mail.Hash) (v mail.Analysis, known bool, err error)
	// Submit gives it a file.
	Submit(ctx context.Context, sum mail.Hash, name string, content []byte) (mail.Analysis, error)
}

const (
	maxAnalysed = 20 // files of one message
	maxCollect  = 2  // messages of which a file is in memory, at the same time
)

// analyse asks about the attachments of the message. What the analyser does
// not know is given to it.
func (j *judgement) analyse(ctx context.Context) (worst mail.Analysis, err error) {
	a := j.s.Analyser
	sums, n, err := j.sums(ctx, a)
	if err != nil || n == 0 {
		return mail.Analysis{}, err
	}
	if n > maxAnalysed {
		return mail.Analysis{Verdict: mail.FileUnscannable, Name: "too many attachments", Files: n}, nil
	}
	worst.Files = n
	missing := map[mail.Hash]bool{}
	for _, f := range sums {
		if f.size > a.MaxSize() {
			worst = worse(worst, mail.Analysis{Verdict: mail.FileUnscannable, Name: "too large"})
			continue
		}
		for _, sum := range f.hashes {
			v, known, err := a.Look(ctx, sum)
			if err != nil {
				return worst, err
			}
			if known {
				worst = worse(worst, v)
			} else {
				missing[sum] = true
			}
		}
	}
	switch {
	case j.p.collect == nil && len(missing) > 0: // nobody is to have it by this
		return worse(worst, mail.Analysis{Verdict: mail.FilePending, Name: "not known to the analyser"}), nil
	case len(missing) == 0 || worst.Verdict >= mail.FileUnscanned: // nothing more can change
		return worst, nil
	}
	return j.submit(ctx, a, missing, worst)
}

// worse gives the worse of two, with the number of files of the first.
func worse(a, b mail.Analysis) mail.Analysis {
	if b.Verdict > a.Verdict {
		b.Files = a.Files
		return b
	}
	return a
}

// sums gives the hashes of the attachments that are analysed, and their number.
func (j *judgement) sums(ctx context.Context, a Analyser) (list []*counted, n int, err error) {
	see := &looker{window: match.NewSet(nil).Window(ctx), bytes: true}
	c, err := j.m.Content(ctx, filter.Want{Text: see.piece, Binary: true, Files: true})
	if err != nil {
		return nil, 0, err
	}
	see.close()
	for i := range c.Files {
		f := &c.Files[i]
		if f.In != "" || !a.Wants(f.Kinds) {
			continue
		}
		n++
		if seen := see.seen[f.Part]; seen != nil && n <= maxAnalysed {
			list = append(list, seen)
		}
	}
	return list, n, nil
}

// submit gives files to the analyser, one after the other: one is in memory.
func (j *judgement) submit(ctx context.Context, a Analyser, missing map[mail.Hash]bool, worst mail.Analysis) (mail.Analysis, error) {
	select {
	case j.p.collect <- struct{}{}:
		defer func() { <-j.p.collect }()
	case <-ctx.Done():
		return worst, errs.Wrap(errs.Temporary, ctx.Err(), "waiting for file analysis")
	}
	var buf []byte
	part, tooLong := "", false
	_, err := j.m.Content(ctx, filter.Want{Binary: true, Files: true, Text: func(p filter.Piece) error {
		if !p.Attached || p.In != "" {
			return nil
		}
		if part != p.Part {
			part, buf, tooLong = p.Part, buf[:0], false
		}
		if tooLong = tooLong || int64(len(buf)+len(p.Bytes)) > a.MaxSize(); !tooLong {
			buf = append(buf, p.Bytes...)
		}
		if !p.Last {
			return nil
		}
		part = ""
		sum := mail.Hash(sha256.Sum256(buf))
		if tooLong || !missing[sum] {
			return nil
		}
		delete(missing, sum)
		v, err := a.Submit(ctx, sum, p.Name, buf)
		worst = worse(worst, v)
		return err
	}})
	if err == nil && len(missing) > 0 { // a reading that the second look did not see
		worst = worse(worst, mail.Analysis{Verdict: mail.FileUnscannable, Name: "it reads differently each time"})
	}
	return worst, err
}

// analysis does what a policy wants about the verdict (reference 7.3).
func (j *judgement) analysis(part *Part, row *policy.Row) {
	if j.files.Files == 0 {
		return // nothing was asked
	}
	j.p.o.Log.FileAnalysis(part.MID, j.files)
	if j.files.Verdict == mail.FileClean {
		return
	}
	hold := mail.Placement{Quarantine: VirusQuarantine, Reason: j.files.Reason()}
	if j.files.Verdict == mail.FilePending {
		hold.Quarantine = FileQuarantine
	}
	j.respond(part, row.Analysis.For(j.files.Verdict), "amp", hold)
}

// askAnalyser has the attachments looked at when a policy wants it.
func (j *judgement) askAnalyser(ctx context.Context, split []policy.Part) (err error) {
	if j.s.Analyser == nil || !slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Analysis.Scan }) {
		return nil
	}
	if j.files, err = j.analyse(ctx); err != nil {
		return errs.Context(err, "analysing the attachments of MID %s", j.in.MID)
	}
	for _, p := range split {
		if a := &p.Row.Analysis; a.Scan && j.files.Verdict == mail.FileUnscanned && a.For(mail.FileUnscanned).Action == policy.Wait {
			return errs.New(errs.Temporary, "attachments unscanned: %s; the message waits", cmp.Or(j.files.Name, "there is no analyser"))
		}
	}
	return nil
}

// Analysed says whether the analysis of the attachments of a held message is
// over, whatever came of it. An error says that it is not known.
func (p *Pipeline) Analysed(ctx context.Context, in Input, by string) (bool, error) {
	j, split := p.anew(Again{Input: in, Judged: mail.Judgement{Policy: by}})
	switch {
	case !slices.ContainsFunc(split, func(p policy.Part) bool { return p.Row.Analysis.Scan }):
		return true, nil // nobody wants it any more
	case j.s.Analyser == nil:
		return false, errs.New(errs.Temporary, "there is no analyser")
	}
	v, err := j.analyse(ctx) // what an analyser has forgotten it is given once more
	switch {
	case err != nil:
		return false, err
	case v.Verdict == mail.FileUnscanned:
		return false, errs.New(errs.Temporary, "attachments unscanned: %s", v.Name)
	}
	return v.Verdict != mail.FilePending, nil
}
