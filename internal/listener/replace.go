package listener

import (
	"slices"

	"lazaret/internal/errs"
)

// Check reports what is wrong with the settings of all listeners together; what
// it passes Replace takes.
func (g *Group) Check(all []Settings) error {
	_, err := g.rulesOfAll(all)
	return err
}

func (g *Group) rulesOfAll(all []Settings) ([]*rules, error) {
	list := make([]*rules, 0, len(all))
	for i, s := range all {
		if slices.ContainsFunc(all[:i], func(o Settings) bool { return o.Name == s.Name }) {
			return nil, errs.New(errs.Conflict, "there are two listeners %q", s.Name)
		}
		r, err := g.rulesOf(s)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Replace makes the listeners of a running group those of all: new ones are
// opened, missing ones closed and their sessions told 421. Who is connected to
// one that stays keeps the old settings. A socket is opened anew only if
// address or queue length changed or it could not be opened before, and all
// are closed before one is opened: a port may pass from one to another. An
// error of the settings changes nothing; one that cannot be opened is offline,
// and the others are not held up by it.
func (g *Group) Replace(all []Settings) error {
	list, err := g.rulesOfAll(all)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errClosed()
	}
	g.list = slices.DeleteFunc(g.list, func(l *listener) bool {
		gone := !slices.ContainsFunc(list, func(r *rules) bool { return r.Name == l.name })
		if gone {
			l.closeSocket()
			l.cut()
		}
		return gone
	})
	for _, r := range list {
		l := g.find(r.Name)
		if l == nil {
			g.add(r)
			continue
		}
		old := l.rules.Swap(r)
		if l.state == Listening && (old.Addr != r.Addr || old.Backlog != r.Backlog) {
			l.closeSocket()
			l.state, _ = transition(l.state, stop)
		}
	}
	return g.openAll()
}
