package quarantine

import (
	"slices"
	"time"

	"lazaret/internal/mail"
)

// decision is one action on one message by one party.
type decision struct {
	action     Action
	quarantine string            // empty: all that may be seen
	may        func(string) bool // which quarantines the party may work in
	due        bool              // only where the exit time has come
	cause      Cause
	by         string
	principal  mail.Principal // who, for the log
	at         time.Time
}

// covers reports whether a membership is one that the decision is about.
func (d *decision) covers(m *Membership) bool {
	if d.quarantine != "" && m.Quarantine != d.quarantine || !d.may(m.Quarantine) {
		return false
	}
	return !d.due || !m.Exit.After(d.at)
}

// decide works out what a decision does to a record. It gives nil when there is
// nothing left for it to do. The record given is not changed.
//
// Deleted in any quarantine means never delivered, in whatever order: a message
// stays until it has left all its quarantines, and then one deletion outweighs
// all releases (reference 2.2).
func decide(r *Record, d *decision) (*Change, error) {
	if r.State == Failed {
		return decideFailed(r, d)
	}
	if r.State != Held {
		return nil, nil
	}
	after := r.clone()
	to := map[Action]MembershipState{Delete: Deleted, Release: Released}[d.action]
	c := &Change{Version: r.Version, After: after}
	held, deleted := 0, false
	for i := range after.Memberships {
		m := &after.Memberships[i]
		if m.State == In && d.covers(m) {
			next, err := m.State.To(to)
			if err != nil {
				return nil, err
			}
			m.State, m.Cause, m.By, m.Left = next, d.cause, d.by, d.at
			c.Left = append(c.Left, i)
		}
		if m.State == In {
			held++
		}
		deleted = deleted || m.State == Deleted
	}
	if len(c.Left) == 0 {
		return nil, nil
	}
	if held > 0 {
		return c, nil
	}
	if deleted {
		return c, c.move(Removed, d)
	}
	return c, c.leave(d)
}

// decideFailed handles a message that the gateway refused: it can be tried
// again or given up. It is in no quarantine any more, so whoever could work in
// one of those it was in may decide.
func decideFailed(r *Record, d *decision) (*Change, error) {
	if d.due || !slices.ContainsFunc(r.Memberships, func(m Membership) bool { return d.covers(&m) }) {
		return nil, nil
	}
	c := &Change{Version: r.Version, After: r.clone()}
	if d.action == Delete {
		return c, c.move(Removed, d)
	}
	return c, c.leave(d)
}

func (c *Change) move(to State, d *decision) error {
	next, err := c.After.State.To(to)
	if err != nil {
		return err
	}
	c.After.State, c.After.Changed = next, d.at
	return nil
}

// leave makes the message go home: a new action key for a new decision, for
// those recipients that no gateway has taken before.
func (c *Change) leave(d *decision) error {
	if err := c.move(Releasing, d); err != nil {
		return err
	}
	a := c.After
	a.Actions++
	in := &Intent{Action: mail.NewActionKey(a.Key, a.Actions), Cause: d.cause, By: d.by, At: d.at}
	release := make([]Delivery, len(a.Envelope.To))
	for i, to := range a.Envelope.To {
		if i < len(a.Release) && a.Release[i].State == Taken {
			release[i] = a.Release[i]
			continue
		}
		release[i] = Delivery{RID: mail.RID(i), Recipient: to, State: Queued, At: d.at}
		in.RIDs = append(in.RIDs, mail.RID(i))
	}
	a.Release, c.Intent = release, in
	return nil
}

// clone gives a copy of which the changing parts are its own.
func (r *Record) clone() *Record {
	c := *r
	c.Memberships = slices.Clone(r.Memberships)
	c.Release = slices.Clone(r.Release)
	return &c
}

// first tells who decided before, for somebody who came too late; see is what
// that somebody may see.
func (r *Record) first(see func(string) bool) string {
	var last *Membership
	for i := range r.Memberships {
		m := &r.Memberships[i]
		if m.State != In && see(m.Quarantine) && (last == nil || m.Left.After(last.Left)) {
			last = m
		}
	}
	if last == nil {
		return "message " + r.MID.String() + " is not in that quarantine"
	}
	return "message " + r.MID.String() + " was " + last.State.String() + ` from "` + last.Quarantine + `" before: by ` +
		last.By + " (" + string(last.Cause) + ") at " + last.Left.UTC().Format(time.RFC3339)
}
