package quarantine

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Judge says which outbreak rule holds a message now, empty for none. An error
// says that it is not known: the message stays as it is.
type Judge func(ctx context.Context, m *Message, open func() (io.ReadCloser, error)) (rule string, err error)

// Rejudged is what came of judging held outbreak messages again.
type Rejudged struct {
	Judged   int
	Released int
	Changed  int // held by another rule now
	Unknown  int // of which nothing could be said
}

// Rejudge holds the messages that outbreak rules hold here against the rules in
// force now (reference 2.6). What no rule holds any more is released from there,
// for good; what another one holds has a new reason. A legal hold keeps a message
// whatever the rules say.
func (s *Service) Rejudge(ctx context.Context, judge Judge) (out Rejudged, err error) {
	var mids []mail.MID
	for _, name := range *s.order.Load() {
		if q, _ := s.setting(name); q.Kind != KindOutbreak {
			continue
		}
		for m, err := range s.Search(ctx, mail.System(), Query{Quarantine: name, States: []State{Held}}) {
			if err != nil {
				return out, err
			}
			if m.byRule(name) != "" {
				mids = append(mids, m.MID)
			}
		}
	}
	for _, mid := range mids {
		if ctx.Err() != nil {
			return out, errs.Wrap(errs.Temporary, ctx.Err(), "judging held outbreak messages")
		}
		r, m, err := s.visible(ctx, mail.System(), mid)
		if errs.Is(err, errs.NotFound) {
			continue // it has left meanwhile
		}
		if err != nil {
			return out, err
		}
		rule, err := judge(ctx, m, func() (io.ReadCloser, error) { return s.opt.Contents.Open(ctx, r.Content) })
		if err != nil {
			out.Unknown++
			continue
		}
		out.Judged++
		if err := s.rejudge(ctx, mid, rule, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// byRule gives the outbreak rule that holds the message in a quarantine.
func (m *Message) byRule(quarantine string) string {
	for _, v := range m.Quarantines {
		if v.Name == quarantine && v.State == In.String() {
			return mail.OutbreakRule(v.Reason)
		}
	}
	return ""
}

func (s *Service) rejudge(ctx context.Context, mid mail.MID, rule string, out *Rejudged) error {
	return s.judged(ctx, []Verdict{{MID: mid, Known: true, Rule: rule}}, "", out)
}

// rejudge lets a message go that no outbreak rule holds any more, or whose
// analysis is over, or notes which other rule holds it.
type rejudge struct {
	s       *Service
	says    map[mail.MID][]Verdict
	gateway string // whose messages are spoken of; "": anybody's
	at      time.Time
}

// on implements operation.
func (op rejudge) on(r *Record) (*Change, string, error) {
	c := &Change{Before: r, After: r.clone()}
	cause := RuleUpdate
	for _, says := range op.says[r.MID] {
		switch {
		case !says.about(r, op.gateway):
			continue
		case r.State != Held:
			return nil, r.first(everything), nil
		case says.Rule == "" && r.Hold.On():
			return nil, r.heldBy(), nil
		}
		if says.Quarantine == FileAnalysis {
			cause = Analysed
		}
		if err := op.apply(c, says); err != nil {
			return nil, "", err
		}
	}
	if len(c.Members) == 0 {
		return nil, "message " + r.MID.String() + " is held as before", nil
	}
	if c.After.in() {
		return c, "", nil
	}
	d := &decision{action: Release, cause: cause, by: mail.System().Name, at: op.at}
	return c, "", d.end(c, slices.ContainsFunc(c.After.Memberships, func(m Membership) bool { return m.State == Deleted }))
}

// apply does what one verdict asks for.
func (op rejudge) apply(c *Change, says Verdict) error {
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		was, is := says.holds(op.s, m)
		if m.State != In || !is || says.Rule != "" && (was == says.Rule || says.Quarantine == FileAnalysis) {
			continue
		}
		c.member(i)
		if says.Rule != "" {
			m.Reason = mail.OutbreakReason(says.Rule)
			continue
		}
		next, err := m.State.To(Released)
		if err != nil {
			return err
		}
		m.State, m.Cause, m.By, m.Left, m.Decision = next, RuleUpdate, mail.System().Name, op.at, 0
		if says.Quarantine == FileAnalysis {
			m.Cause = Analysed
		}
	}
	return nil
}

// Analysing reports whether a message waits for file analysis.
func (m *Message) Analysing() bool {
	return slices.ContainsFunc(m.Quarantines, func(v MembershipView) bool {
		return v.Name == FileAnalysis && v.State == In.String() && mail.Analysing(v.Reason)
	})
}

// RuleCount is what one outbreak rule holds.
type RuleCount struct {
	Rule     string    `json:"rule"`
	Messages int64     `json:"messages"`
	Bytes    int64     `json:"bytes"`
	First    time.Time `json:"first"` // the oldest came in
	Exit     time.Time `json:"exit"`  // the first that leaves by schedule
}

// maxRules bounds the rules that are told apart; what more rules hold counts
// under the name "others".
const maxRules = 10_000

// ByRule gives what each outbreak rule holds in the quarantines that the
// principal may work in, the rule with the most messages first (reference 2.6).
func (s *Service) ByRule(ctx context.Context, p mail.Principal) ([]RuleCount, error) {
	by := map[string]*RuleCount{}
	may := s.may(p)
	for _, name := range *s.order.Load() {
		if q, _ := s.setting(name); q.Kind != KindOutbreak || !may(name) {
			continue
		}
		for m, err := range s.Search(ctx, p, Query{Quarantine: name, States: []State{Held}}) {
			if err != nil {
				return nil, err
			}
			if rule := m.byRule(name); rule != "" {
				count(by, rule, m, name)
			}
		}
	}
	out := make([]RuleCount, 0, len(by))
	for _, c := range by {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b RuleCount) int {
		if a.Messages != b.Messages {
			return int(b.Messages - a.Messages)
		}
		return strings.Compare(a.Rule, b.Rule)
	})
	return out, s.guard(p)
}

func count(by map[string]*RuleCount, rule string, m *Message, quarantine string) {
	if by[rule] == nil && len(by) >= maxRules {
		rule = "others"
	}
	c := by[rule]
	if c == nil {
		c = &RuleCount{Rule: rule, First: m.Received}
		by[rule] = c
	}
	c.Messages++
	c.Bytes += m.Size
	if m.Received.Before(c.First) {
		c.First = m.Received
	}
	for _, v := range m.Quarantines {
		if v.Name == quarantine && (c.Exit.IsZero() || v.Exit.Before(c.Exit)) {
			c.Exit = v.Exit
		}
	}
}

// String says it in words, for the log.
func (r Rejudged) String() string {
	text := strconv.Itoa(r.Judged) + " held messages judged by new outbreak rules: " + strconv.Itoa(r.Released) + " released, " + strconv.Itoa(r.Changed) + " held by another rule"
	if r.Unknown > 0 {
		text += "; " + strconv.Itoa(r.Unknown) + " could not be judged and stay"
	}
	return text
}
