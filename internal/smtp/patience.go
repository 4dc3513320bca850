package smtp

import "time"

// patience says until when the next octet has to be here, counted from when
// the wait began. When last is false, waiting goes on after that, unless the
// place has become scarce by then: so the limits of Stress reach those too who
// came and fell silent in calm times (register B9).
func (c *conn) patience(began time.Time) (until time.Time, last bool) {
	t, s := &c.server.cfg.Timeouts, &c.server.cfg.Stress
	due := c.due(began, t.Command, t.Data)
	if c.hurry == nil || c.stop.stoppedSince(false) {
		return due, true
	}
	soon := c.due(began, min(s.Command, t.Command), min(s.Data, t.Data))
	if c.hurry.Stressed() {
		return soon, true
	}
	for now := time.Now(); !soon.After(now); {
		soon = now.Add(s.Command) // was looked at and found calm: look again later
	}
	if soon.Before(due) {
		return soon, false
	}
	return due, true
}

// due is patience with these limits. A command and a block have one deadline
// for the whole (register B9), not one for each octet. Content has to come at
// the minimum rate on average; only the time that we wait for the peer counts,
// not the time we take ourselves.
func (c *conn) due(began time.Time, command, data time.Duration) time.Time {
	if !c.content.active {
		if c.begun.IsZero() {
			c.begun = began
		}
		return c.begun.Add(command)
	}
	rate := time.Duration(c.content.got/int64(c.server.cfg.MinRate)) * time.Second
	return began.Add(min(data, data+rate-c.content.waited))
}

// stressed reports whether the place of this connection is wanted by others.
func (c *conn) stressed() bool { return c.hurry != nil && c.hurry.Stressed() }
