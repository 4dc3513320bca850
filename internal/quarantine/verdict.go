package quarantine

import (
	"context"

	"lazaret/internal/mail"
)

// Verdict is what outbreak rules say now of one message, or file analysis.
type Verdict struct {
	MID        mail.MID
	Key        mail.Key // of the message, or empty: whatever has the number
	Quarantine string   // what for: FileAnalysis, or else Outbreak
	Known      bool     // false: it could not be judged
	Rule       string   // of outbreak rules, that holds it; "": nothing does
}

// holds gives the rule by which a membership is one that a verdict is about;
// that of file analysis has no name.
func (v Verdict) holds(s *Service, m *Membership) (rule string, is bool) {
	if v.Quarantine == FileAnalysis {
		return "", mail.Analysing(m.Reason) && s.isKind(m.Quarantine, KindFileAnalysis)
	}
	rule = mail.OutbreakRule(m.Reason)
	return rule, rule != "" && s.isKind(m.Quarantine, KindOutbreak)
}

// about reports whether the verdict is about a record, and by whoever may speak
// of it.
func (v Verdict) about(r *Record, gateway string) bool {
	return (v.Key == "" || v.Key == r.Key) && (gateway == "" || r.Gateway == gateway)
}

// Judged takes what a gateway says of messages that came from it (reference
// 2.6), durably. It is harmless when it is repeated. gone are the places in the
// list of messages that outbreak rules do not hold here any more, and that
// nobody can bring back: nothing need be said of them again.
func (s *Service) Judged(ctx context.Context, gateway string, list []Verdict) (out Rejudged, gone []int, err error) {
	for _, v := range list {
		if v.Known {
			out.Judged++
		} else {
			out.Unknown++
		}
	}
	if err := s.judged(ctx, list, gateway, &out); err != nil {
		return out, nil, err
	}
	mids := make([]mail.MID, len(list))
	for i := range list {
		mids[i] = list[i].MID
	}
	records, err := s.opt.Store.Load(ctx, unique(mids))
	if err != nil {
		return out, nil, err
	}
	by := make(map[mail.MID]*Record, len(records))
	for _, r := range records {
		by[r.MID] = r
	}
	for i, v := range list {
		if r := by[v.MID]; r == nil || !v.about(r, gateway) || !s.byRuleYet(r) {
			gone = append(gone, i)
		}
	}
	return out, gone, nil
}

// byRuleYet reports whether an outbreak rule holds a message, or would when what
// was decided is taken back.
func (s *Service) byRuleYet(r *Record) bool {
	if r.State != Held && !r.State.Open() {
		return false
	}
	back := undo{rules: s.rules(), at: s.stamp()}
	for i := range r.Memberships {
		m := &r.Memberships[i]
		_, byRule := Verdict{}.holds(s, m)
		_, byAnalysis := Verdict{Quarantine: FileAnalysis}.holds(s, m)
		if (byRule || byAnalysis) && (m.State == In || m.Decision != 0 && back.inTime(r, m)) {
			return true
		}
	}
	return false
}

func (s *Service) isKind(name string, k Kind) bool {
	q, ok := s.setting(name)
	return ok && q.Kind == k
}

// judged does what verdicts ask for.
func (s *Service) judged(ctx context.Context, list []Verdict, gateway string, out *Rejudged) error {
	op := rejudge{s: s, says: make(map[mail.MID][]Verdict, len(list)), gateway: gateway, at: s.stamp()}
	var mids []mail.MID
	for _, v := range list {
		if v.Known {
			op.says[v.MID] = append(op.says[v.MID], v)
			mids = append(mids, v.MID)
		}
	}
	_, err := s.act(ctx, mids, party{p: mail.System(), may: everything}, op, func(c *Change) {
		why := ""
		for _, i := range c.Members {
			if c.Went(i) {
				why = map[Cause]string{RuleUpdate: "no outbreak rule holds it any more", Analysed: "the analysis of its attachments is over"}[c.After.Memberships[i].Cause]
			}
		}
		if why == "" {
			out.Changed++
			return
		}
		out.Released++
		s.opt.Audit.Record(mail.System(), "quarantine release MID "+c.After.MID.String()+": "+why, "ok")
	})
	return err
}
