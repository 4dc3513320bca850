package quarantine

import (
	"context"
	"slices"
	"strconv"
	"time"

	"lazaret/internal/mail"
)

// Report is what a gateway says about one recipient of a release that it took.
type Report struct {
	MID       mail.MID // ours
	Action    mail.ActionKey
	Recipient mail.Address
	Nth       int // which of the recipients with this address that the release went to
	State     DeliveryState
	Proof     Proof
}

// Prove notes what a gateway says about releases, durably. A report about what
// was not given to that gateway, about an earlier decision, or not newer than
// what is known changes nothing. It gives the number of messages changed.
func (s *Service) Prove(ctx context.Context, gateway string, list []Report) (int, error) {
	p := proving{gateway: gateway, by: map[mail.MID][]Report{}, at: s.stamp()}
	var mids []mail.MID
	for _, r := range list {
		if p.by[r.MID] == nil {
			mids = append(mids, r.MID)
		}
		p.by[r.MID] = append(p.by[r.MID], r)
	}
	out, err := s.act(ctx, mids, party{p: mail.System(), may: everything}, p, nil)
	return out.Count, err
}

// proving is the operation of Prove.
type proving struct {
	gateway string
	by      map[mail.MID][]Report
	at      time.Time
}

// on implements operation.
func (p proving) on(r *Record) (*Change, string, error) {
	if r.Gateway != p.gateway {
		return nil, "", nil
	}
	c := &Change{Before: r, After: r.clone()}
	for _, rep := range p.by[r.MID] {
		c.prove(&rep)
	}
	if len(c.Proofs) == 0 {
		return nil, "", nil
	}
	if to := c.After.proven(); r.State == Sent && to != Sent && !(to == Gone && r.Hold.On()) {
		return c, "", c.move(to, p.at)
	}
	return c, "", nil
}

// prove notes one report, if it is news.
func (c *Change) prove(rep *Report) {
	a, nth := c.After, 0
	for i := range a.Release {
		d := &a.Release[i]
		if d.Recipient != rep.Recipient || d.Action == 0 || mail.NewActionKey(a.Key, d.Action) != rep.Action {
			continue
		}
		if nth < rep.Nth {
			nth++
			continue
		}
		if rep.Proof.Seq > d.Proof.Seq && !d.State.Settled() {
			d.State, d.Proof = rep.State, rep.Proof
			c.Proofs = append(c.Proofs, i)
		}
		return
	}
}

// proven gives the state of a message that a gateway has, by what is known of
// its recipients.
func (r *Record) proven() State {
	to := Gone
	for i := range r.Release {
		switch s := r.Release[i].State; {
		case !s.Settled():
			return Sent
		case s.Lost():
			to = Failed
		}
	}
	return to
}

// delivered reports whether servers have taken a release for everybody.
func (r *Record) delivered() bool {
	return !slices.ContainsFunc(r.Release, func(d Delivery) bool { return d.State != Accepted })
}

// code gives the three digits of the reply, or 000 without one.
func (p *Proof) code() string {
	if p.Code == 0 {
		return "000"
	}
	return strconv.Itoa(p.Code)
}
