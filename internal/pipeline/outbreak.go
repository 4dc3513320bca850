package pipeline

import (
	"context"
	"crypto/sha256"
	"hash"
	"mime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/policy"
)

// OutbreakQuarantine is where outbreak rules lead (reference 1.1).
const OutbreakQuarantine = "Outbreak"

// Threats are outbreak rules, ready to hold messages against. It never changes
// and is safe for concurrent use.
type Threats struct {
	set    *outbreak.Set
	bodies *match.Set
}

// NewThreats makes rules ready.
func NewThreats(set *outbreak.Set) (*Threats, error) {
	t := &Threats{set: set}
	if set.Empty() {
		return t, nil
	}
	var rules []*match.Rule
	for i, p := range set.Bodies() {
		term, err := match.NewTerm(p)
		if err != nil {
			return nil, errs.Wrap(errs.Invalid, err, "outbreak rules")
		}
		rules = append(rules, &match.Rule{Terms: []match.Term{term}, Least: 1, Index: i})
	}
	t.bodies = match.NewSet(rules)
	return t, nil
}

// SetThreats puts outbreak rules in force for messages judged from now on.
func (p *Pipeline) SetThreats(t *Threats) { p.threats.Store(t) }

// gather finds out what the rules in force ask of the message; once, for its
// parts have the same content.
func (j *judgement) gather(ctx context.Context) (err error) {
	j.threats = j.p.threats.Load()
	if j.threats == nil || j.threats.set.Empty() {
		j.threats = nil
		return nil
	}
	if j.tooBig = j.s.OutbreakMax > 0 && j.in.Size > j.s.OutbreakMax; j.tooBig {
		return nil
	}
	j.facts, err = j.threats.facts(ctx, j.m)
	return err
}

// facts reads the message, as far as rules ask.
func (t *Threats) facts(ctx context.Context, in *input) (f outbreak.Facts, err error) {
	set := t.set
	f = outbreak.Facts{Size: in.Size, Bodies: make([]bool, len(set.Bodies())), Headers: map[string][]string{}}
	for _, name := range set.Headers() {
		if f.Headers[name], _, err = in.Header(ctx, name); err != nil {
			return f, err
		}
	}
	if !set.Files() && !set.Hosts() && len(set.Bodies()) == 0 {
		return f, nil
	}
	see := &looker{window: t.bodies.Window(ctx), bytes: set.Bytes()}
	if set.Hosts() {
		see.hosts = set.NewHosts()
	}
	c, err := in.Content(ctx, filter.Want{Text: see.piece, Binary: set.Bytes(), Files: set.Files(), Inside: true})
	if err != nil {
		return f, err
	}
	see.close()
	for i, n := range see.window.Total() {
		f.Bodies[i] = n > 0
	}
	f.Hosts = see.hosts
	for i := range c.Files {
		file := &c.Files[i]
		a := outbreak.Attachment{Names: file.Names, Types: file.Types, Kinds: file.Kinds, Size: file.Size}
		if seen := see.seen[file.Part]; seen != nil {
			a.Hashes, a.Size = seen.hashes, max(a.Size, seen.size)
		}
		f.Files = append(f.Files, a)
	}
	return f, nil
}

// looker takes the texts of a message, and the bytes of its attachments when
// their hashes and sizes matter.
type looker struct {
	window *match.Window
	hosts  *outbreak.Hosts // nil: nobody asks
	bytes  bool

	sum  hash.Hash // of the text or the bytes under way; nil: none
	size int64     // of the same
	part string    // that it is of
	seen map[string]*counted
}

// counted is what the bytes of an attachment gave, under each reading.
type counted struct {
	hashes []mail.Hash
	size   int64 // the largest
}

// piece takes the next piece. What the hash is of: the bytes of an attachment,
// of a text those in UTF-8.
func (l *looker) piece(p filter.Piece) error {
	if l.bytes && p.Attached {
		l.count(p)
	}
	if p.Binary {
		return nil
	}
	if l.hosts != nil {
		l.hosts.Add(p.Bytes, p.Last)
	}
	return l.window.Add(p)
}

func (l *looker) count(p filter.Piece) {
	if l.sum != nil && l.part != p.Part {
		l.close()
	}
	if l.sum == nil {
		l.sum, l.size, l.part = sha256.New(), 0, p.Part
	}
	l.sum.Write(p.Bytes)
	l.size += int64(len(p.Bytes))
	if p.Last {
		l.close()
	}
}

func (l *looker) close() {
	if l.sum == nil {
		return
	}
	if l.seen == nil {
		l.seen = map[string]*counted{}
	}
	c := l.seen[l.part]
	if c == nil {
		c = &counted{}
		l.seen[l.part] = c
	}
	c.hashes, c.size = append(c.hashes, mail.Hash(l.sum.Sum(nil))), max(c.size, l.size)
	l.sum = nil
}

// outbreak does what a policy wants about the rule that a message meets
// (reference 7.7).
func (j *judgement) outbreak(part *Part, row *policy.Row) {
	log, o := j.p.o.Log, &row.Outbreak
	switch {
	case j.threats == nil:
		return // there are no rules
	case j.tooBig:
		log.OutbreakTooBig(part.MID, j.in.Size, j.s.OutbreakMax)
		return
	}
	v := j.threats.set.Judge(j.facts, o.Bypass, j.p.o.Now())
	log.Outbreak(part.MID, v.Positive())
	if !v.Positive() {
		return
	}
	log.ThreatLevel(part.MID, v.Level, v.Kind.Word(), v.TypeWord())
	switch {
	case holds(o, v) && !j.released:
		j.hold(part, v, o)
	case o.Modify > 0 && v.Level >= o.Modify:
		j.modify(part, v, o)
	}
}

// threatWords says what outbreak rules say of a part, for a trace.
func (j *judgement) threatWords(row *policy.Row) string {
	switch {
	case !row.Outbreak.Scan || j.threats == nil:
		return ""
	case j.tooBig:
		return "too big to be held against rules"
	}
	v := j.threats.set.Judge(j.facts, row.Outbreak.Bypass, j.p.o.Now())
	if !v.Positive() {
		return "negative"
	}
	return "positive: rule " + v.ID + ", level " + strconv.Itoa(v.Level) + ", " + v.Kind.Word() + " - " + v.TypeWord()
}

// holds reports whether a policy holds what meets a rule.
func holds(o *policy.Outbreak, v outbreak.Verdict) bool {
	return v.Level >= o.Threshold && (v.Kind.Viral() || !o.Through)
}

// hold flags the message for Outbreak. What is held stays as it came: it may
// turn out to be harmless.
func (j *judgement) hold(part *Part, v outbreak.Verdict, o *policy.Outbreak) {
	if slices.ContainsFunc(part.Quarantine, func(p mail.Placement) bool { return p.Quarantine == OutbreakQuarantine }) {
		return
	}
	keep := o.Other
	if v.Kind.Viral() {
		keep = o.Viral
	}
	part.Quarantine = append(part.Quarantine, mail.Placement{Quarantine: OutbreakQuarantine, Reason: mail.OutbreakReason(v.ID), Keep: keep})
}

// modify warns who gets the message.
func (j *judgement) modify(part *Part, v outbreak.Verdict, o *policy.Outbreak) {
	if o.Headers {
		part.Headers = append(threatHeaders(v), part.Headers...)
	}
	x := mail.Extras{Tag: fitTag(expand(o.Subject, v))}
	if x.Tag != "" && x.Check() == nil {
		part.Extras, part.ChangedBy = append(slices.Clone(part.Extras), x), "outbreak filters"
	}
}

// threatHeaders are those of the reference, 7.7.
func threatHeaders(v outbreak.Verdict) (all []mail.Header) {
	for _, h := range []struct{ name, value string }{
		{"X-IronPort-Outbreak-Status", "Yes, level " + strconv.Itoa(v.Level) + ", " + v.Kind.Word() + " - " + v.TypeWord()},
		{"X-IronPort-Outbreak-Description", v.Text},
	} {
		if h, err := mail.NewHeader(h.name, mime.QEncoding.Encode("utf-8", h.value)); err == nil {
			all = append(all, h)
		}
	}
	return all
}

// expand fills in the variables of reference 7.7. What one of them is made of
// is not looked at again.
func expand(text string, v outbreak.Verdict) string {
	return strings.NewReplacer(
		"$threat_verdict", strings.ToUpper(v.Kind.Word()), "$threat_category", v.Kind.Word(), "$threat_type", v.TypeWord(),
		"$threat_description", v.Text, "$threat_level", strconv.Itoa(v.Level),
	).Replace(text)
}

// fitTag cuts a tag to what a subject takes.
func fitTag(s string) string {
	for len(s) > mail.MaxTag {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return strings.TrimSpace(s)
}

// Rejudge says which of the rules in force would hold a message that is held,
// empty for none; by is the mail policy that it was judged by. An error says that it
// is not known: there are no rules, or it could not be read or opened.
func (p *Pipeline) Rejudge(ctx context.Context, in Input, by string) (rule string, err error) {
	j, split := p.anew(Again{Input: in, Judged: mail.Judgement{Policy: by}, Outbreak: true})
	if err := j.gather(ctx); err != nil {
		return "", err
	}
	switch {
	case j.threats == nil && p.threats.Load().none():
		return "", errs.New(errs.Temporary, "there are no outbreak rules to judge by")
	case j.tooBig:
		return "", errs.New(errs.Invalid, "the message is too big to be held against outbreak rules")
	case j.threats == nil:
		return "", nil // a feed without rules: nothing is held any more
	}
	return j.threat(split), nil
}

// none reports whether there is not even a feed.
func (t *Threats) none() bool { return t == nil || t.set == nil }
