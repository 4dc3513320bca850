package gateway

import (
	"context"
	"net"
	"net/netip"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// parseSources gives the table of interfaces of a configuration.
func parseSources(c *config.Config) (*delivery.Sources, error) {
	rules := make([]delivery.SourceRule, len(c.AltSrcHosts))
	for i, a := range c.AltSrcHosts {
		rules[i] = delivery.SourceRule{Match: a.Match, Interface: a.Interface}
	}
	s, at, err := delivery.NewSources(rules)
	return s, errs.Context(err, "config/altsrchosts/altsrchost, number %d", at+1)
}

// controls are the destination controls, by domain in the queue's form.
type controls map[string]config.Destination

func newControls(c *config.Config) controls {
	all := controls{}
	for _, d := range c.Destinations {
		if d.Domain == config.DefaultDestination {
			all[""] = d
		} else if name, err := mail.ParseDomain(d.Domain); err == nil {
			all[name] = d
		}
	}
	return all
}

// row gives the destination control of a domain, or DEFAULT's.
func (c controls) row(domain string) config.Destination {
	if d, ok := c[domain]; ok && domain != "" {
		return d
	}
	return c[""]
}

// control gives the courier's part of the destination controls.
func (g *Gateway) control(domain string) delivery.Control {
	d := g.rules.Load().controls.row(domain)
	mode, err := delivery.ParseTLSMode(d.TLS)
	if err != nil {
		mode = delivery.TLSPreferred // a domain without a row
	}
	order, _ := delivery.ParseIPOrder(d.IP) // config has checked it
	return delivery.Control{TLS: mode, IP: order, Messages: d.Messages, DANE: d.DANE != config.Off, MTASTS: d.MTASTS != config.Off}
}

// destination gives the queue's part, and the bounce profile.
func (g *Gateway) destination(dest queue.Dest) queue.Settings {
	s := queue.DefaultSettings(dest)
	if dest.Quarantine() {
		return s
	}
	c := g.Config.Committed()
	destinationProfile(&s, c, dest.Name)
	row := g.rules.Load().controls.row(dest.Name)
	if row.Concurrency > 0 {
		s.Concurrency = row.Concurrency
	}
	s.RateLimit, s.RateWindow = row.RateLimit, time.Duration(row.RateMinutes)*time.Minute
	return s
}

// lane gives the lane of a message's recipients: the interface that it leaves
// from, and whether it demands REQUIRETLS.
func (g *Gateway) lane(it *queue.Item, route mail.Route) string {
	from := route.Interface
	if from == "" {
		from = g.rules.Load().sources.Lookup(it.From, it.Origin.RemoteIP)
	}
	return delivery.Lane{Interface: from, RequireTLS: it.RequireTLS}.String()
}

// source gives where a connection leaves from: the interface of the lane, else
// the default one; Auto takes one in the same network as the host, and leaves
// the rest to the system, which goes by its routes (reference 8.2).
func (g *Gateway) source(iface string, remote netip.Addr) delivery.Source {
	c := g.Config.Committed()
	if f, ip, ok := interfaceOf(c, iface); ok {
		return delivery.Source{IP: ip, Hostname: f.Hostname, Only: true}
	}
	if f, ip, ok := interfaceOf(c, c.Delivery.Interface); ok {
		return delivery.Source{IP: ip, Hostname: f.Hostname}
	}
	return sameNetwork(c.Interfaces, networks(), remote)
}

func interfaceOf(c *config.Config, name string) (config.Interface, netip.Addr, bool) {
	for _, f := range c.Interfaces {
		if f.Name == name {
			ip, err := netip.ParseAddr(f.IP)
			return f, ip, err == nil && !ip.IsUnspecified()
		}
	}
	return config.Interface{}, netip.Addr{}, false
}

// sameNetwork chooses the first interface that is in one of the machine's
// networks together with the host.
func sameNetwork(interfaces []config.Interface, nets []netip.Prefix, remote netip.Addr) delivery.Source {
	for _, f := range interfaces {
		ip, err := netip.ParseAddr(f.IP)
		if err != nil {
			continue
		}
		for _, n := range nets {
			if n.Masked().Contains(ip.Unmap()) && n.Masked().Contains(remote.Unmap()) {
				return delivery.Source{IP: ip, Hostname: f.Hostname}
			}
		}
	}
	return delivery.Source{}
}

// networks gives those that this machine is in.
func networks() []netip.Prefix {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // then the system chooses
	}
	var out []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// cpqSource gives the address that CPQ connections leave from.
func (g *Gateway) cpqSource() netip.Addr {
	c := g.Config.Committed()
	_, ip, _ := interfaceOf(c, c.Delivery.Interface)
	return ip
}

// own reports whether an address is one of our SMTP listeners: mail delivered
// there would come back for ever.
func (g *Gateway) own(at netip.AddrPort) bool {
	c := g.Config.Committed()
	for _, l := range c.Listeners {
		ip, err := netip.ParseAddr(c.InterfaceIP(l.Interface))
		if err != nil || l.Protocol != "SMTP" || int(at.Port()) != l.Port {
			continue
		}
		if ip.Unmap() == at.Addr().Unmap() || ip.IsUnspecified() && local(at.Addr()) {
			return true
		}
	}
	return false
}

// local reports whether an address is one of this machine's.
func local(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	for _, n := range networks() { // without any, the loop ends by its Received lines
		if n.Addr().Unmap() == ip.Unmap() {
			return true
		}
	}
	return false
}

// locator knows where the manager is.
type locator struct{ g *Gateway }

// Locate implements delivery.Locator.
func (l locator) Locate(_ context.Context, dest queue.Dest) (delivery.Endpoint, error) {
	c := l.g.Config.Committed()
	if !c.CPQ.Enabled || len(c.CPQ.Managers) == 0 {
		return delivery.Endpoint{}, errs.New(errs.Temporary,
			"no manager is paired with this gateway: quarantined mail waits here; on the manager, add it with applianceconfig")
	}
	m := c.CPQ.Managers[int(l.g.manager.Load())%len(c.CPQ.Managers)]
	at, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return delivery.Endpoint{}, errs.Wrap(errs.Internal, err, "address of manager %s", m.Name)
	}
	return delivery.Endpoint{Addr: at, LocalIP: l.g.cpqSource(), TLS: l.g.ClientTLS(m.Serial), Name: m.Name}, nil
}

// Forget implements delivery.Locator: the manager that did not answer gives way to
// the next, where there are several. Others may have met the same one.
func (l locator) Forget(_ queue.Dest, failed delivery.Endpoint) {
	at := l.g.manager.Load()
	if all := l.g.Config.Committed().CPQ.Managers; len(all) > 1 && all[int(at)%len(all)].Addr == failed.Addr.String() {
		l.g.manager.CompareAndSwap(at, at+1)
	}
}
