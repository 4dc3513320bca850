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

// Cleared tells what outbreak rules say now of one message: rule holds it, or
// with "" none. It is harmless when it is repeated, and when the message has
// left. False: there was nothing to do.
func (s *Service) Cleared(ctx context.Context, mid mail.MID, rule string) (bool, error) {
	var out Rejudged
	err := s.rejudge(ctx, mid, rule, &out)
	return out.Released+out.Changed > 0, err
}

func (s *Service) rejudge(ctx context.Context, mid mail.MID, rule string, out *Rejudged) error {
	op := rejudge{rule: rule, at: s.stamp(), outbreak: func(name string) bool {
		q, ok := s.setting(name)
		return ok && q.Kind == KindOutbreak
	}}
	all := party{p: mail.System(), may: func(string) bool { return true }}
	o, err := s.act(ctx, []mail.MID{mid}, all, op, func(c *Change) {
		if rule == "" {
			s.opt.Audit.Record(mail.System(), "quarantine release MID "+mid.String()+": no outbreak rule holds it any more", "ok")
		}
	})
	if rule == "" {
		out.Released += o.Count
	} else {
		out.Changed += o.Count
	}
	return err
}

// rejudge lets a message go that no outbreak rule holds any more, or notes which
// other one does.
type rejudge struct {
	rule     string
	outbreak func(quarantine string) bool
	at       time.Time
}

// on implements operation.
func (op rejudge) on(r *Record) (*Change, string, error) {
	if r.State != Held {
		return nil, r.first(func(string) bool { return true }), nil
	}
	if op.rule == "" && r.Hold.On() {
		return nil, r.heldBy(), nil
	}
	c := &Change{Before: r, After: r.clone()}
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		was := mail.OutbreakRule(m.Reason)
		if m.State != In || !op.outbreak(m.Quarantine) || was == "" || was == op.rule {
			continue
		}
		if op.rule != "" {
			m.Reason = mail.OutbreakReason(op.rule)
			c.member(i)
			continue
		}
		next, err := m.State.To(Released)
		if err != nil {
			return nil, "", err
		}
		m.State, m.Cause, m.By, m.Left, m.Decision = next, RuleUpdate, mail.System().Name, op.at, 0
		c.member(i)
	}
	if len(c.Members) == 0 {
		return nil, "message " + r.MID.String() + " is held by the same rule", nil
	}
	if c.After.in() {
		return c, "", nil
	}
	d := &decision{action: Release, cause: RuleUpdate, by: mail.System().Name, at: op.at}
	return c, "", d.end(c, slices.ContainsFunc(c.After.Memberships, func(m Membership) bool { return m.State == Deleted }))
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
