package gateway

import (
	"context"
	"net/netip"
	"slices"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
)

// Pair takes a manager as this gateway's own: its pins, its address, the key
// of its command client, which may do nothing but ask where released mail
// goes. Pairing again with the same manager replaces what was there; a second
// manager is taken beside the first where both work on one database, and refused
// else: what is held would be here or there.
func (g *Gateway) Pair(_ context.Context, p mail.Principal, r peer.PairRequest) (peer.PairReply, error) {
	at, err := netip.ParseAddrPort(r.CPQ)
	if err != nil {
		return peer.PairReply{}, errs.New(errs.Invalid, "%q is not the address of a manager", r.CPQ)
	}
	user := config.ClientUser(r.Serial)
	err = g.Config.Update(p, "pair with manager "+r.Name+" ("+r.Serial+")", func(c *config.Config) error {
		if err := addManager(&c.CPQ, config.Mgr{Serial: r.Serial, Name: r.Name, Addr: r.CPQ, Pins: r.Pins, Records: r.Records}); err != nil {
			return err
		}
		c.CPQ.Enabled = true
		c.Users = slices.DeleteFunc(c.Users, func(u config.User) bool { return u.Name == user })
		c.Users = append(c.Users, config.User{Name: user, FullName: "command client of " + r.Name, Group: string(mail.CommandClient), Keys: []string{r.Key}})
		return c.AdmitPeer(at.Addr(), r.Name)
	})
	if err != nil {
		return peer.PairReply{}, err
	}
	where, err := g.Location()
	if err != nil {
		return peer.PairReply{}, err
	}
	pins := g.CPQPins()
	if err := g.CPQ.Paired(r.Serial, pins); err != nil {
		return peer.PairReply{}, err
	}
	return peer.PairReply{
		Version: peer.Version, Serial: g.serial(), Name: g.Config.Committed().Hostname, Pins: pins, User: user, Location: where,
	}, nil
}

// addManager puts a manager in the place that it had, or behind the others with
// which it shares a database.
func addManager(c *config.CPQ, next config.Mgr) error {
	at := len(c.Managers)
	for i, m := range c.Managers {
		switch {
		case m.Serial == next.Serial:
			at = i
		case m.Records == "" || m.Records != next.Records:
			return errs.New(errs.Conflict, "this gateway is paired with manager %s (%s) already, and the other does not work on the same database; to change over, "+
				"end that with cpqconfig unpair and commit on the gateway; where both do, add the gateway at %s once more first", m.Name, m.Serial, m.Name)
		}
	}
	if at == len(c.Managers) {
		c.Managers = append(c.Managers, config.Mgr{})
	}
	c.Managers = slices.Clone(c.Managers)
	c.Managers[at] = next
	return nil
}

// Location says where this gateway takes released mail now.
func (g *Gateway) Location() (peer.Location, error) {
	c := g.Config.Committed()
	l := c.CPQListener()
	ip, err := netip.ParseAddr(c.InterfaceIP(l.Interface))
	if err != nil {
		return peer.Location{}, errs.Wrap(errs.Internal, err, "interface %s", l.Interface)
	}
	return peer.Location{Version: peer.Version, Serial: c.Serial, Interface: l.Interface, Addr: netip.AddrPortFrom(ip, uint16(l.Port))}, nil
}
