package pipeline

import (
	"context"
	"strconv"

	"lazaret/internal/filter"
	"lazaret/internal/filter/dlp"
	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
)

// Traced is how a message was judged. The methods of a nil Traced do nothing.
type Traced struct {
	Steps     []filter.Step    // of the message filters
	Auth      *mail.SenderAuth // nil: nobody asked
	Ambiguous string           // why it is, in words
	Inside    []Found          // in attachments
	Parts     []TracedPart     // as Judge gives them

	content map[string][]filter.Step // of the content filters of a mail policy
}

// TracedPart is one part with what led to it.
type TracedPart struct {
	Part
	Table, Policy string     // of mail policies; "" when the filters dropped the message
	Spam          *mail.Spam // nil: the policy does not want it asked
	Files         *mail.Analysis
	Content       []filter.Step // of the content filters
	Outbreak      string        // what outbreak rules say, in words; "": they were not asked
	Leak          string        // of a DLP policy, in words
	Scans         []mail.Scan
}

// maxSteps is how much of the way through the filters is kept.
const maxSteps = 20_000

// Trace judges a message as Judge would, by the same code and settings, and
// tells how. Nothing is logged and no number is taken. The engines and DNS are
// asked as for any other message. With an error, what came before it is told.
func (p *Pipeline) Trace(ctx context.Context, in Input) (*Traced, error) {
	quiet := &Pipeline{o: p.o, repeats: p.repeats} // it gives nothing to analysers
	quiet.threats.Store(p.threats.Load())
	quiet.o.Log, quiet.o.NextMID = logs.Discard(), func() mail.MID { return 0 }
	quiet.settings.Store(p.settings.Load())
	t := &Traced{}
	_, err := quiet.judge(ctx, in, t)
	return t, err
}

// filters gives who hears of the steps of the message filters.
func (t *Traced) filters() func(filter.Step) {
	if t == nil {
		return nil
	}
	return func(s filter.Step) {
		if len(t.Steps) < maxSteps {
			t.Steps = append(t.Steps, s)
		}
	}
}

// contentSteps gives who hears of the steps of the content filters of a mail
// policy.
func (t *Traced) contentSteps(policy string) func(filter.Step) {
	if t == nil {
		return nil
	}
	if t.content == nil {
		t.content = map[string][]filter.Step{}
	}
	return func(s filter.Step) {
		if len(t.content[policy]) < maxSteps {
			t.content[policy] = append(t.content[policy], s)
		}
	}
}

// looked notes what was seen of the message as a whole.
func (t *Traced) looked(m *input, ambiguous string) {
	if t == nil {
		return
	}
	t.Ambiguous, t.Inside = ambiguous, m.inside
	if m.authed {
		t.Auth = &m.sender
	}
}

// part notes a part behind the engines.
func (t *Traced) part(p Part, row *policy.Row, j *judgement) {
	if t == nil {
		return
	}
	out := TracedPart{Part: p}
	if j != nil {
		t.Inside = j.m.inside
		out.Table, out.Policy = j.table.Name, row.Name
		out.Content, out.Outbreak = t.content[row.Name], j.threatWords(row)
		if row.Analysis.Scan && j.files.Files > 0 {
			out.Files = &j.files
		}
		if v := j.leak; v.Severity != dlp.None {
			out.Leak = v.Severity.String() + " (risk factor " + strconv.Itoa(v.Risk) + "), DLP policy " + v.Policy.Name
		}
		if row.Antispam.Scan {
			out.Spam = &j.spam
		}
		if row.Antivirus.Scan {
			out.Scans = append(append(out.Scans, j.interim...), j.scan)
		}
	}
	t.Parts = append(t.Parts, out)
}
