package mail

import "slices"

// Seen is a verdict as it is remembered: what was said, and of what.
type Seen struct {
	Verdict Verdict
	Name    string
}

// Judgement is what is remembered of how a message was judged, so that judging
// it again after a release ends (reference 2.5).
type Judgement struct {
	Policy string        // mail policy; "": the message was not split yet
	Seen   []Seen        // verdicts of the antivirus engines, the oldest first
	Spam   []SpamVerdict // verdicts of the anti-spam engines, the oldest first
}

// MaxSeen bounds the verdicts that are remembered, and so the times that a
// message can be held again after releases.
const MaxSeen = 8

// With gives the judgement with one more verdict.
func (j Judgement) With(s Scan) Judgement {
	if !j.Knows(s) {
		j.Seen = append(slices.Clone(j.Seen), Seen{s.Verdict, s.Name})
	}
	return j
}

// Knows reports whether the verdict is one of those remembered, or no more
// verdicts are.
func (j Judgement) Knows(s Scan) bool {
	return len(j.Seen) >= MaxSeen || slices.Contains(j.Seen, Seen{s.Verdict, s.Name})
}

// WithSpam gives the judgement with one more verdict of an anti-spam engine.
func (j Judgement) WithSpam(s Spam) Judgement {
	if !j.KnowsSpam(s) {
		j.Spam = append(slices.Clone(j.Spam), s.Verdict)
	}
	return j
}

// KnowsSpam reports whether the verdict is one of those remembered. There are
// four.
func (j Judgement) KnowsSpam(s Spam) bool { return slices.Contains(j.Spam, s.Verdict) }

// What a filter had a message skip is remembered among its verdicts: no engine
// gives one by these names.
var (
	skippedVirus = Seen{Unscanned, "skip-viruscheck"}
	skippedSpam  = Seen{Unscanned, "skip-spamcheck"}
)

// WithSkip gives the judgement of a message that was not shown to engines,
// because a filter said so.
func (j Judgement) WithSkip(s Skip) Judgement {
	if s.Virus && !slices.Contains(j.Seen, skippedVirus) {
		j.Seen = append(slices.Clone(j.Seen), skippedVirus)
	}
	if s.Spam && !slices.Contains(j.Seen, skippedSpam) {
		j.Seen = append(slices.Clone(j.Seen), skippedSpam)
	}
	return j
}

// Skipped gives what WithSkip noted.
func (j Judgement) Skipped() Skip {
	return Skip{Virus: slices.Contains(j.Seen, skippedVirus), Spam: slices.Contains(j.Seen, skippedSpam)}
}
