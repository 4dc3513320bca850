package quarantine

import (
	"slices"
	"time"

	"lazaret/internal/mail"
)

// operation is something done to messages, each on its own.
type operation interface {
	// on works out what it does to a record, which it does not change. Nil, and
	// why in one sentence, when there is nothing for it to do.
	on(r *Record) (c *Change, why string, err error)
}

// decision is a release or a deletion of one message by one party.
type decision struct {
	action     Action
	quarantine string            // empty: all that may be seen
	may        func(string) bool // which quarantines the party may work in
	due        bool              // only where the exit time has come
	cause      Cause
	by         string
	id         DecisionID
	at         time.Time
	rules      Rules                               // zero: it is final
	extras     func(quarantine string) mail.Extras // of what is released; nil: none
}

// covers reports whether a membership is one that the decision is about.
func (d *decision) covers(m *Membership) bool {
	if d.quarantine != "" && m.Quarantine != d.quarantine || !d.may(m.Quarantine) {
		return false
	}
	return !d.due || !m.Exit.After(d.at)
}

// on implements operation.
//
// Deleted in any quarantine means never delivered, in whatever order: a message
// stays until it has left all its quarantines, and then one deletion outweighs
// all releases (reference 2.2).
func (d *decision) on(r *Record) (*Change, string, error) {
	if r.Hold.On() {
		return nil, r.heldBy(), nil
	}
	if r.State == Failed {
		return d.onFailed(r)
	}
	if r.State != Held {
		return nil, r.first(d.may), nil
	}
	c := &Change{Before: r, After: r.clone()}
	if err := d.let(c); err != nil || len(c.Members) == 0 {
		return nil, r.first(d.may), err
	}
	if c.After.in() {
		return c, "", nil
	}
	return c, "", d.end(c, slices.ContainsFunc(c.After.Memberships, func(m Membership) bool { return m.State == Deleted }))
}

// let takes the message out of the quarantines that the decision covers.
func (d *decision) let(c *Change) error {
	to := map[Action]MembershipState{Delete: Deleted, Release: Released}[d.action]
	for i := range c.After.Memberships {
		m := &c.After.Memberships[i]
		if m.State != In || !d.covers(m) {
			continue
		}
		next, err := m.State.To(to)
		if err != nil {
			return err
		}
		m.State, m.Cause, m.By, m.Left, m.Decision = next, d.cause, d.by, d.at, d.id
		if d.extras != nil && next == Released {
			m.Extras = d.extras(m.Quarantine)
		}
		c.member(i)
	}
	return nil
}

// onFailed handles a message that the gateway refused: it can be tried
// again or given up. It is in no quarantine any more, so whoever could work in
// one of those it was in may decide.
func (d *decision) onFailed(r *Record) (*Change, string, error) {
	if d.due || !slices.ContainsFunc(r.Memberships, func(m Membership) bool { return d.covers(&m) }) {
		return nil, r.first(d.may), nil
	}
	c := &Change{Before: r, After: r.clone()}
	return c, "", d.end(c, d.action == Delete)
}

// end decides the fate of a message that is in no quarantine any more: at once,
// or after the time in which that can be taken back.
func (d *decision) end(c *Change, remove bool) error {
	c.After.Decision = d.id
	if wait := d.rules.wait(remove); wait > 0 {
		c.After.Until = d.at.Add(wait)
		if remove {
			return c.move(Binned, d.at)
		}
		return c.move(Leaving, d.at)
	}
	if remove {
		return c.move(Removed, d.at)
	}
	return c.leave(d.cause, d.by, d.at)
}

func (c *Change) move(to State, at time.Time) error {
	next, err := c.After.State.To(to)
	if err != nil {
		return err
	}
	c.After.State, c.After.Changed = next, at
	return nil
}

// leave makes the message go home: a new action key for a new decision, for
// those recipients that have not got it before and are not about to.
func (c *Change) leave(cause Cause, by string, at time.Time) error {
	if err := c.move(Releasing, at); err != nil {
		return err
	}
	a := c.After
	a.Until = time.Time{}
	a.Actions++
	in := &Intent{Action: mail.NewActionKey(a.Key, a.Actions), Cause: cause, By: by, At: at}
	release := make([]Delivery, len(a.Envelope.To))
	for i, to := range a.Envelope.To {
		if i < len(a.Release) && a.Release[i].State != Queued && !a.Release[i].State.Lost() {
			release[i] = a.Release[i]
			continue
		}
		release[i] = Delivery{RID: mail.RID(i), Recipient: to, State: Queued, At: at, Action: a.Actions, Asked: at}
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

// in reports whether the message is in any quarantine.
func (r *Record) in() bool {
	return slices.ContainsFunc(r.Memberships, func(m Membership) bool { return m.State == In })
}

// last gives the membership that ended last, of those that see lets through.
func (r *Record) last(see func(string) bool) *Membership {
	var last *Membership
	for i := range r.Memberships {
		m := &r.Memberships[i]
		if m.State != In && see(m.Quarantine) && (last == nil || m.Left.After(last.Left)) {
			last = m
		}
	}
	return last
}

// first tells who decided before, for somebody who came too late; see is what
// that somebody may see.
func (r *Record) first(see func(string) bool) string {
	last := r.last(see)
	if last == nil {
		return "message " + r.MID.String() + " is not in that quarantine"
	}
	why := "message " + r.MID.String() + " was " + last.State.String() + ` from "` + last.Quarantine + `" before: by ` +
		last.By + " (" + string(last.Cause) + ") at " + last.Left.UTC().Format(time.RFC3339)
	if r.State.Open() {
		why += "; until " + r.Until.UTC().Format(time.RFC3339) + " undo brings it back"
	}
	return why
}

func (r *Record) heldBy() string {
	return "message " + r.MID.String() + " is on hold since " + r.Hold.At.UTC().Format(time.RFC3339) + " by " + r.Hold.By +
		" (" + clip(r.Hold.Why) + "): lift the hold first"
}
