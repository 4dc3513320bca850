package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/policy"
)

// oracle is an engine that says what it is told to.
type oracle struct{ answer mail.Scan }

// Scan implements pipeline.Engine.
func (o *oracle) Scan(_ context.Context, h mail.Hash, _ int64, _ func() (io.ReadCloser, error)) (mail.Scan, error) {
	if h != (mail.Hash{}) {
		return mail.Scan{}, errs.New(errs.Internal, "scanning again is not answered from memory")
	}
	return o.answer, nil
}

// again makes a bench with policies, and a released message.
func again(t *testing.T, o *oracle, rows ...policy.Row) (*bench, pipeline.Again) {
	b := newBench(t, "")
	scan := policy.Antivirus{Scan: true}
	b.Set(pipeline.Settings{Engine: o, Inbound: &policy.Table{Name: "inbound", Rows: rows, Default: policy.Row{Name: policy.Default, Antivirus: scan}}})
	return b, pipeline.Again{Input: b.input("Subject: x\r\n\r\n")}
}

func infected(name string) mail.Scan {
	return mail.Scan{Verdict: mail.Infected, Engine: "ClamAV", Name: name}
}

// A verdict that is known lets a message pass, a new one holds it, one that is
// not there makes it wait (reference 2.5).
func TestRescan(t *testing.T) {
	o := &oracle{}
	drop := policy.Row{Name: "Board", To: []string{"board@"}, Antivirus: policy.Antivirus{Scan: true, Verdicts: map[mail.Verdict]policy.Response{mail.Infected: {Action: policy.Drop}}}}
	tag := policy.Row{Name: "Sales", To: []string{"sales@"}, Antivirus: policy.Antivirus{Scan: true, Verdicts: map[mail.Verdict]policy.Response{mail.Infected: {Action: policy.Deliver, Tag: "[V]"}}}}
	off := policy.Row{Name: "Lab", To: []string{"lab@"}}
	held := "held again in Virus"
	for name, c := range map[string]struct {
		answer mail.Scan
		judged mail.Judgement
		to     []string
		want   string // step
	}{
		"clean":                    {mail.Scan{Verdict: mail.Clean}, mail.Judgement{}, nil, "rescanned: clean"},
		"new":                      {infected("A"), mail.Judgement{Policy: policy.Default, Seen: []mail.Seen{{Verdict: mail.Clean}}}, nil, "rescanned: infected A, " + held},
		"known":                    {infected("A"), mail.Judgement{Policy: policy.Default, Seen: []mail.Seen{{Verdict: mail.Infected, Name: "A"}}}, nil, "rescanned: infected A, as before"},
		"another virus":            {infected("B"), mail.Judgement{Policy: policy.Default, Seen: []mail.Seen{{Verdict: mail.Infected, Name: "A"}}}, nil, "rescanned: infected B, " + held},
		"known is not dropped":     {infected("A"), mail.Judgement{Policy: "Board", Seen: []mail.Seen{{Verdict: mail.Infected, Name: "A"}}}, nil, "rescanned: infected A, as before"},
		"new is dropped":           {infected("A"), mail.Judgement{Policy: "Board"}, nil, "rescanned: infected A, dropped by antivirus"},
		"new is delivered":         {infected("A"), mail.Judgement{Policy: "Sales"}, nil, "rescanned: infected A"},
		"off":                      {infected("A"), mail.Judgement{Policy: "Lab"}, nil, ""},
		"policy is gone":           {infected("A"), mail.Judgement{Policy: "Gone"}, []string{"board@example.com"}, "rescanned: infected A, dropped by antivirus"},
		"policies agree":           {infected("A"), mail.Judgement{}, []string{"board@example.com", "board@example.org"}, "rescanned: infected A, dropped by antivirus"},
		"policies differ":          {infected("A"), mail.Judgement{}, []string{"sales@example.com", "board@example.com"}, "rescanned: infected A, " + held},
		"one does not scan":        {infected("A"), mail.Judgement{}, []string{"lab@example.com", "board@example.com"}, "rescanned: infected A, " + held},
		"one does not scan, clean": {mail.Scan{Verdict: mail.Clean}, mail.Judgement{}, []string{"lab@example.com", "board@example.com"}, "rescanned: clean"},
		"unscanned":                {mail.Scan{Name: "away"}, mail.Judgement{Policy: "Board"}, nil, "waits"},
	} {
		o.answer = c.answer
		b, in := again(t, o, drop, tag, off)
		in.Judged = c.judged
		for i, to := range c.to {
			a, err := mail.ParseAddress(to)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				in.Env.To = nil
			}
			in.Env.To = append(in.Env.To, a)
		}
		part, step, err := b.Rescan(t.Context(), in)
		if c.want == "waits" {
			if !errs.Is(err, errs.Temporary) || len(b.lines) != 0 {
				t.Errorf("%s: %v, %q", name, err, b.lines)
			}
			continue
		}
		if err != nil || step != c.want || (len(part.Quarantine) > 0) != strings.HasSuffix(step, held) || part.Drop != strings.HasSuffix(step, "dropped by antivirus") {
			t.Errorf("%s: %q, %+v, %v", name, step, part, err)
		}
		if (len(part.Extras) > 0) != (c.judged.Policy == "Sales") {
			t.Errorf("%s: %+v", name, part.Extras)
		}
	}
}

// Whatever an engine says, a message that is released is held again no more
// than mail.MaxSeen times: there is no endless loop.
func TestRescanEnds(t *testing.T) {
	o := &oracle{}
	b, in := again(t, o)
	n := 0
	for ; n < 100; n++ {
		o.answer = infected(fmt.Sprint("Mutant-", n))
		part, _, err := b.Rescan(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		in.Judged = part.Judged // as the ledger keeps it
		if len(part.Quarantine) == 0 {
			break
		}
	}
	if n != mail.MaxSeen {
		t.Errorf("held again %d times", n)
	}
	// An engine that swings to and fro is through with it in two.
	b, in = again(t, o)
	for n = 0; n < 100; n++ {
		o.answer = infected([]string{"A", "B"}[n%2])
		part, _, err := b.Rescan(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		in.Judged = part.Judged
		if len(part.Quarantine) == 0 {
			break
		}
	}
	if n != 2 {
		t.Errorf("held again %d times", n)
	}
}

// The lines of mail that comes back from Outbreak (reference 5.5).
func TestRescanLines(t *testing.T) {
	o := &oracle{infected("W32/Name")}
	b, in := again(t, o)
	in.Outbreak = true
	if _, _, err := b.Rescan(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	want := []string{"Info: MID 6 interim AV verdict using ClamAV VIRAL", "Info: MID 6 antivirus positive 'W32/Name' (released from Outbreak)"}
	if !slices.Equal(b.lines, want) {
		t.Errorf("%q", b.lines)
	}
}

// spamOracle is an anti-spam engine that says what it is told to.
type spamOracle struct {
	answer mail.SpamVerdict
	asked  int
}

// Spam implements pipeline.SpamEngine.
func (o *spamOracle) Spam(context.Context, pipeline.Input) (mail.Spam, error) {
	o.asked++
	return mail.Spam{Verdict: o.answer, Engine: "Rspamd"}, nil
}

// From Outbreak a message goes past all engines, from elsewhere past antivirus
// alone (F41); a verdict about spam is remembered like that of antivirus.
func TestRescanAllEngines(t *testing.T) {
	virus, spam := &oracle{mail.Scan{Verdict: mail.Clean, Engine: "ClamAV"}}, &spamOracle{answer: mail.SpamPositive}
	b, in := again(t, virus)
	b.Set(pipeline.Settings{Engine: virus, Spam: spam, Inbound: &policy.Table{Name: "inbound",
		Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}, Antispam: policy.Antispam{Scan: true}}}})
	rescan := func(want string) pipeline.Part {
		t.Helper()
		part, step, err := b.Rescan(t.Context(), in)
		if err != nil || step != want {
			t.Errorf("%q, %v, want %q", step, err, want)
		}
		return part
	}
	if part := rescan("rescanned: clean"); spam.asked != 0 || len(part.Quarantine) != 0 || len(part.Judged.Spam) != 0 {
		t.Errorf("from elsewhere: asked %d times, %+v", spam.asked, part)
	}
	in.Outbreak = true
	part := rescan("rescanned: clean, spam positive, held again in Policy")
	if len(part.Quarantine) != 1 || part.Quarantine[0].Reason != "antispam:positive" {
		t.Errorf("%+v", part)
	}
	in.Judged = part.Judged
	rescan("rescanned: clean, spam positive, as before")
	spam.answer = mail.SpamUnknown
	if _, _, err := b.Rescan(t.Context(), in); !errs.Is(err, errs.Temporary) {
		t.Errorf("unknown: %v", err)
	}
	// An engine that is switched off for all is not asked (F49).
	b.Set(pipeline.Settings{Inbound: &policy.Table{Name: "inbound", Default: policy.Row{Name: policy.Default}}})
	rescan("")
}

// What was held in Outbreak is not harmless because nobody has rules any more, or
// because it is too big for them.
func TestExamineWithoutRules(t *testing.T) {
	o := &oracle{mail.Scan{Verdict: mail.Clean}}
	b, in := again(t, o)
	set := func(limit int64) {
		b.Set(pipeline.Settings{Engine: o, OutbreakMax: limit, Inbound: &policy.Table{Name: "inbound",
			Default: policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}, Outbreak: policy.Outbreak{Scan: true, Threshold: 3}}}})
	}
	set(0)
	if f, err := b.Examine(t.Context(), in); err != nil || !f.Harmless {
		t.Errorf("from elsewhere: %+v, %v", f, err)
	}
	in.Outbreak = true
	if f, err := b.Examine(t.Context(), in); !errs.Is(err, errs.Temporary) {
		t.Errorf("no rules: %+v, %v", f, err)
	}
	b.SetThreats(threats(t, `R1 3 phish "body":["nowhere"]`))
	if f, err := b.Examine(t.Context(), in); err != nil || !f.Harmless {
		t.Errorf("no rule is met: %+v, %v", f, err)
	}
	set(1)
	if f, err := b.Examine(t.Context(), in); !errs.Is(err, errs.Invalid) {
		t.Errorf("too big: %+v, %v", f, err)
	}
}

// A look at what is held finds what a release would, changes nothing and logs
// nothing; what no engine has finished with is not harmless, whatever the policy
// does about it.
func TestExamine(t *testing.T) {
	o := &oracle{mail.Scan{Verdict: mail.Clean}}
	hold := policy.Row{Name: "Hold", To: []string{"hold@"}, Antivirus: policy.Antivirus{Scan: true,
		Verdicts: map[mail.Verdict]policy.Response{mail.Unscanned: {Action: policy.Deliver}, mail.Infected: {Action: policy.Deliver}}}}
	off := policy.Row{Name: "Lab", To: []string{"lab@"}}
	for name, c := range map[string]struct {
		answer mail.Scan
		judged mail.Judgement
		want   mail.Finding
		kind   errs.Kind
	}{
		"clean":               {mail.Scan{Verdict: mail.Clean}, mail.Judgement{}, mail.Finding{Harmless: true, Text: "clean"}, 0},
		"infected":            {infected("A"), mail.Judgement{}, mail.Finding{Text: "infected A"}, 0},
		"as before":           {infected("A"), mail.Judgement{Seen: []mail.Seen{{Verdict: mail.Infected, Name: "A"}}}, mail.Finding{Text: "infected A, as before"}, 0},
		"would be delivered":  {infected("A"), mail.Judgement{Policy: "Hold"}, mail.Finding{Text: "infected A"}, 0},
		"unscanned waits":     {mail.Scan{Name: "away"}, mail.Judgement{}, mail.Finding{}, errs.Temporary},
		"unscanned would not": {mail.Scan{Name: "away"}, mail.Judgement{Policy: "Hold"}, mail.Finding{}, errs.Temporary},
		"nobody scans":        {mail.Scan{Verdict: mail.Clean}, mail.Judgement{Policy: "Lab"}, mail.Finding{}, errs.Invalid},
	} {
		o.answer = c.answer
		b, in := again(t, o, hold, off)
		in.Judged = c.judged
		got, err := b.Examine(t.Context(), in)
		if got != c.want || (err != nil) != (c.want == mail.Finding{}) || err != nil && !errs.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if len(b.lines) != 0 {
			t.Errorf("%s: %q", name, b.lines)
		}
	}
}

// What a message filter had a message skip it skips on its way out too: filters
// do not run again, and what they said counts (reference 2.5).
func TestRescanSkips(t *testing.T) {
	b := newBench(t, "")
	o := &oracle{answer: infected("A")}
	s := policy.Row{Name: policy.Default, Antivirus: policy.Antivirus{Scan: true}}
	filters, err := filter.Parse(`pass: if (subject == "x") { skip-viruscheck(); quarantine("Policy"); }` + "\n")
	if err != nil {
		t.Fatal(err)
	}
	b.Set(pipeline.Settings{Filters: filters, Engine: o, Inbound: &policy.Table{Name: "inbound", Default: s}})
	in := b.input("Subject: x\r\n\r\n")
	parts, err := b.Judge(t.Context(), in)
	if err != nil || len(parts) != 1 || parts[0].Judged.Skipped() != (mail.Skip{Virus: true}) {
		t.Fatalf("%+v %v", parts, err)
	}
	part, step, err := b.Rescan(t.Context(), pipeline.Again{Input: in, Judged: parts[0].Judged})
	if err != nil || step != "" || len(part.Quarantine) != 0 || part.Judged.Skipped() != (mail.Skip{Virus: true}) {
		t.Errorf("%+v %q %v", part, step, err)
	}
	part, _, err = b.Rescan(t.Context(), pipeline.Again{Input: in, Judged: mail.Judgement{Policy: policy.Default}})
	if err != nil || len(part.Quarantine) != 1 {
		t.Errorf("one that did not skip: %+v %v", part, err)
	}
}
