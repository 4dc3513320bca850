package gateway

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
)

// Exchange implements admin.Paired: a manager says which CPQ certificates it
// has and where it takes mail, and hears the same of us. It comes over SSH, and
// counts only when a key that we have pinned has signed it. What it changes is
// durable before the answer, so that the manager may rely on it.
func (g *Gateway) Exchange(_ context.Context, p mail.Principal, in peer.Signed) (peer.Signed, error) {
	manager, err := g.managerBehind(p)
	if err != nil {
		return peer.Signed{}, err
	}
	s, err := g.OpenStatement(in, manager.Serial)
	if err != nil {
		g.Alert(appliance.AlertCPQ, "statement of manager "+manager.Name+" refused: "+err.Error())
		return peer.Signed{}, err
	}
	if err := g.Heard(s); err != nil {
		g.Alert(appliance.AlertCPQ, "statement of manager "+manager.Name+" refused: "+err.Error())
		return peer.Signed{}, err
	}
	if err := g.adopt(p, manager, s); err != nil {
		return peer.Signed{}, err
	}
	g.AdvanceRenewal(false)
	return g.Statement(manager.Serial, "")
}

// managerBehind finds the manager whose command client p is. An administrator
// may say what a manager says as well, if there is only one.
func (g *Gateway) managerBehind(p mail.Principal) (config.Mgr, error) {
	all := g.Config.Committed().CPQ.Managers
	for _, m := range all {
		if config.ClientUser(m.Serial) == p.Name || len(all) == 1 && p.Role == mail.Administrator {
			return m, nil
		}
	}
	return config.Mgr{}, errs.New(errs.Denied, "user %s is the command client of no manager of this gateway", p.Name)
}

// adopt puts what a manager said into the configuration, if it is news.
func (g *Gateway) adopt(p mail.Principal, old config.Mgr, s peer.Statement) error {
	moved := s.CPQ != "" && s.CPQ != old.Addr
	if appliance.SamePins(old.Pins, s) && !moved && s.Name == old.Name {
		return nil
	}
	err := g.Config.Update(p, "what manager "+old.Name+" ("+old.Serial+") says of itself", func(c *config.Config) error {
		i := slices.IndexFunc(c.CPQ.Managers, func(m config.Mgr) bool { return m.Serial == old.Serial })
		if i < 0 {
			return errs.New(errs.Conflict, "this gateway is not paired with %s any more", old.Serial)
		}
		m := &c.CPQ.Managers[i]
		m.Pins, m.Name = s.Pins(), s.Name
		if !moved {
			return nil
		}
		was := m.Addr
		m.Addr = s.CPQ
		return c.MovePeer(was, s.CPQ, s.Name)
	})
	if err != nil {
		return err
	}
	if !appliance.SamePins(old.Pins, s) {
		g.Log.PeerPins(s.Name, s.From, strings.Join(s.Pins(), ", "))
	}
	if moved {
		g.Log.PeerMoved(s.Name, s.From, s.CPQ)
	}
	return nil
}
