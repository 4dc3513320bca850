package quarantine

import (
	"time"

	"lazaret/internal/mail"
)

// tell writes the log lines of a change that is durable and sends off what
// begins to go home. The lines of a decision are written when it is made, not
// when it can no longer be taken back.
func (s *Service) tell(c *Change, p mail.Principal) {
	for _, i := range c.Members {
		s.tellMember(c, i, p)
	}
	before, after := c.Before.State, c.After.State
	if before == Held || before == Failed {
		switch after {
		case Removed, Binned:
			s.opt.Log.DeletedFromAll(c.After.MID)
		case Leaving, Releasing:
			s.opt.Log.ReleasedFromAll(c.After.MID, c.After.stripped())
		}
	}
	for _, i := range c.Proofs {
		d := &c.After.Release[i]
		if d.Proof.Rescan != c.Before.Release[i].Proof.Rescan {
			s.opt.Log.ReleaseRescanned(c.After.MID, d.RID, c.After.GatewayName, d.Remote, d.Proof.Rescan)
		}
		s.opt.Log.ReleaseFate(c.After.MID, d.RID, c.After.GatewayName, d.Remote, d.State.String(), d.Proof.Host, d.Proof.code(), d.Proof.Reply)
	}
	if before == Sent && len(c.Proofs) > 0 && after != before {
		s.opt.Log.ReleaseEnded(c.After.MID, after == Gone, c.After.delivered())
	}
	if c.Intent != nil {
		s.opt.Sender.Enqueue(c.After.MID)
	}
}

func (s *Service) tellMember(c *Change, i int, p mail.Principal) {
	m, mid, log := &c.After.Memberships[i], c.After.MID, s.opt.Log
	switch {
	case c.Went(i) && m.State == Moved:
		// the line is that of where it went to
	case c.Went(i):
		if m.Cause == Manual {
			log.Decided(p, mid, m.State.String(), m.Quarantine)
		}
		if sec := max(0, int64(m.Left.Sub(m.Entered)/time.Second)); m.State == Deleted {
			log.DeletedFrom(mid, m.Quarantine, string(m.Cause), sec)
		} else {
			log.ReleasedFrom(mid, m.Quarantine, string(m.Cause), sec, m.Extras.Strip)
		}
	case c.NewReason(i):
		log.NewReason(mid, m.Quarantine, m.Reason)
	case c.From(i) != "":
		log.Decided(p, mid, "moved", c.From(i))
		log.Moved(mid, c.From(i), m.Quarantine)
	case c.Came(i):
		log.Decided(p, mid, "took back", m.Quarantine)
		log.Restored(mid, m.Quarantine)
	default:
		log.Decided(p, mid, "delayed the exit of", m.Quarantine)
	}
}

// NewReason reports whether a message stays where it is, for another reason.
func (c *Change) NewReason(i int) bool {
	was, old := c.was(i)
	m := &c.After.Memberships[i]
	return old && was.State == In && m.State == In && was.Reason != m.Reason
}

// From gives the quarantine that membership i was moved from, or nothing.
func (c *Change) From(i int) string {
	for _, j := range c.Members {
		if j != i && c.After.Memberships[j].State == Moved && c.Went(j) {
			return c.After.Memberships[j].Quarantine
		}
	}
	return ""
}
