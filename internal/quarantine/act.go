package quarantine

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Outcome is the result of an action: how many messages it changed, and for
// those it did not change, why: who was first. Being late is no error.
type Outcome struct {
	Count    int
	Missed   []Missed
	Decision DecisionID // what undo takes to bring all of it back; 0: it is final
	Until    time.Time  // when that ends; zero: with Decision 0
}

// Missed is one message that an action did not change.
type Missed struct {
	MID mail.MID
	Why string // one sentence

	Final bool // of a re-scan: asking again gives the same
}

const (
	batch      = 500 // messages changed in one transaction
	maxRetries = 100 // lost races over one batch
)

// Release lets messages go from one quarantine, or with an empty name from all
// that the principal may work in. A message that has thereby left all of its
// quarantines begins its way home.
func (s *Service) Release(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string) (Outcome, error) {
	return s.manual(ctx, p, Release, mids, quarantine)
}

// Delete deletes messages from one quarantine, or with an empty name from all
// that the principal may work in. They will never be delivered.
func (s *Service) Delete(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string) (Outcome, error) {
	return s.manual(ctx, p, Delete, mids, quarantine)
}

func (s *Service) manual(ctx context.Context, p mail.Principal, a Action, mids []mail.MID, quarantine string) (out Outcome, err error) {
	what := "quarantine " + strings.ToLower(string(a))
	if quarantine != "" {
		quarantine = s.named(quarantine)
		what += ` from "` + quarantine + `"`
	}
	if err := s.entitled(p, what, quarantine); err != nil {
		return out, err
	}
	d := &decision{action: a, quarantine: quarantine, may: s.may(p), cause: Manual, by: p.Name, at: s.stamp(), rules: s.rules()}
	if len(mids) > 0 {
		d.id, err = s.opt.Store.Decide(ctx, Decision{Action: a, Quarantine: quarantine, By: p.Name, From: p.From, At: d.at})
		if err != nil {
			return out, err
		}
	}
	out, err = s.byHand(ctx, party{p: p, may: d.may}, what, mids, d)
	if wait := d.rules.wait(a == Delete); wait > 0 && out.Count > 0 {
		out.Decision, out.Until = d.id, d.at.Add(wait)
	}
	return out, err
}

// entitled refuses a principal who may not work here, or not in one of the
// quarantines named, and writes the refusal into the audit.
func (s *Service) entitled(p mail.Principal, what string, quarantines ...string) error {
	err := s.guard(p)
	for _, q := range quarantines {
		if err == nil && q != "" {
			err = s.checkName(p, q)
		}
	}
	if err != nil {
		s.opt.Audit.Record(p, what, errs.Public(err))
	}
	return err
}

// party is on whose behalf something is done, and where they may.
type party struct {
	p   mail.Principal
	may func(string) bool
}

// byHand carries out what somebody asked for, with its lines in the audit.
func (s *Service) byHand(ctx context.Context, who party, what string, mids []mail.MID, op operation) (Outcome, error) {
	out, err := s.act(ctx, mids, who, op, func(c *Change) {
		s.opt.Audit.Record(who.p, what+" MID "+c.After.MID.String(), "ok")
	})
	result := strconv.Itoa(out.Count) + " of " + strconv.Itoa(len(mids))
	if err != nil {
		result += ", then: " + err.Error()
	}
	if out.Count != len(mids) || err != nil {
		s.opt.Audit.Record(who.p, what, result)
	}
	return out, err
}

// stamp is now as it will be read back from the store.
func (s *Service) stamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// act carries out an operation on many messages, each on its own: what one of
// them was changed to by others does not hold up the rest. done is called for
// each change that is durable; nil: nothing more is to be done.
func (s *Service) act(ctx context.Context, mids []mail.MID, who party, op operation, done func(*Change)) (out Outcome, err error) {
	mids = unique(mids)
	for len(mids) > 0 {
		n := min(len(mids), batch)
		o, err := s.actSome(ctx, mids[:n], who, op, done)
		out.Count += o.Count
		out.Missed = append(out.Missed, o.Missed...)
		if err != nil {
			return out, err
		}
		mids = mids[n:]
	}
	return out, nil
}

// unique drops repeats and keeps the order.
func unique(mids []mail.MID) []mail.MID {
	seen := make(map[mail.MID]bool, len(mids))
	return slices.DeleteFunc(slices.Clone(mids), func(m mail.MID) bool {
		was := seen[m]
		seen[m] = true
		return was
	})
}

// actSome is compare-and-set over a batch: load, decide, change; those that
// somebody else changed in between are loaded and decided again.
func (s *Service) actSome(ctx context.Context, mids []mail.MID, who party, op operation, done func(*Change)) (out Outcome, err error) {
	for try := 0; len(mids) > 0; try++ {
		if try == maxRetries {
			return out, errs.New(errs.Conflict, "%d messages are being changed by others all the time", len(mids))
		}
		changes, err := s.plan(ctx, mids, who, op, &out)
		if err != nil || len(changes) == 0 {
			return out, err
		}
		made, err := s.opt.Store.Change(ctx, changes)
		if err != nil {
			return out, err
		}
		mids = mids[:0:0]
		for i := range changes {
			if !made[i] {
				mids = append(mids, changes[i].After.MID)
				continue
			}
			out.Count++
			s.tell(&changes[i], who.p)
			if done != nil {
				done(&changes[i])
			}
		}
	}
	return out, nil
}

// plan loads messages and works out what is done to each.
func (s *Service) plan(ctx context.Context, mids []mail.MID, who party, op operation, out *Outcome) ([]Change, error) {
	list, err := s.opt.Store.Load(ctx, mids)
	if err != nil {
		return nil, err
	}
	found := make(map[mail.MID]bool, len(list))
	changes := make([]Change, 0, len(list))
	for _, r := range list {
		if !slices.ContainsFunc(r.Memberships, func(m Membership) bool { return who.may(m.Quarantine) }) {
			continue // to this principal it does not exist
		}
		found[r.MID] = true
		c, why, err := op.on(r)
		if err != nil {
			return nil, err
		}
		if c == nil {
			out.Missed = append(out.Missed, Missed{MID: r.MID, Why: why})
			continue
		}
		changes = append(changes, *c)
	}
	for _, mid := range mids {
		if !found[mid] {
			out.Missed = append(out.Missed, Missed{MID: mid, Why: "there is no message " + mid.String() + " in the quarantine"})
		}
	}
	return changes, nil
}

// ExpireDue applies the default action of each quarantine to the memberships
// whose exit time has come, in that quarantine only, and gives the number of
// messages changed. Behind a jump of the clock it does nothing until the clock
// can be believed.
func (s *Service) ExpireDue(ctx context.Context) (int, error) {
	steady, err := s.look(ctx, true)
	if err == nil && steady {
		steady, err = s.bearable(ctx)
	}
	if err != nil || !steady {
		return 0, err
	}
	total := 0
	for ctx.Err() == nil {
		now := s.stamp()
		mids, err := s.opt.Store.Due(ctx, now, batch)
		if err != nil || len(mids) == 0 {
			return total, err
		}
		changed, err := s.byDefault(ctx, mids, func() *decision { return &decision{due: true, cause: Expired, at: now} }, "expiry")
		if err != nil {
			return total + changed, err
		}
		total += changed
		if len(mids) < batch || changed == 0 { // changed == 0: others were first; next time
			return total, nil
		}
	}
	return total, ctx.Err()
}

// byDefault lets messages leave each of their quarantines by its default
// action, as far as the decision that made gives covers it.
func (s *Service) byDefault(ctx context.Context, mids []mail.MID, made func() *decision, why string) (int, error) {
	p, total := mail.System(), 0
	for _, a := range []Action{Delete, Release} {
		d := made()
		d.action, d.by = a, p.Name
		d.may = func(name string) bool { q, _ := s.setting(name); return q.DefaultAction == a }
		out, err := s.act(ctx, mids, party{p: p, may: d.may}, d, func(c *Change) {
			s.opt.Audit.Record(p, "quarantine "+why+" ("+string(a)+") MID "+c.After.MID.String(), "ok")
		})
		total += out.Count
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
