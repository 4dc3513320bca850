package gateway

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// parseRoutes gives the SMTP routes of a configuration.
func parseRoutes(c *config.Config) (*delivery.Routes, error) {
	var b strings.Builder
	for _, r := range c.SMTPRoutes {
		b.WriteString(r.Domain + " " + strings.Join(r.Hosts, ", ") + "\n")
	}
	return delivery.ParseRoutes(b.String())
}

// row gives the destination control of a domain, which is in the queue's form,
// or DEFAULT's.
func row(c *config.Config, domain string) config.Destination {
	var def config.Destination
	for _, d := range c.Destinations {
		if d.Domain == "DEFAULT" {
			def = d
		} else if name, err := mail.ParseDomain(d.Domain); err == nil && name == domain {
			return d
		}
	}
	return def
}

// control gives the courier's part of the destination controls.
func (g *Gateway) control(domain string) delivery.Control {
	d := row(g.Config.Committed(), domain)
	mode, err := delivery.ParseTLSMode(d.TLS)
	if err != nil {
		mode = delivery.TLSPreferred // a domain without a row
	}
	return delivery.Control{TLS: mode, Messages: d.Messages}
}

// destination gives the queue's part, and the bounce profile.
func (g *Gateway) destination(dest queue.Dest) queue.Settings {
	s := queue.DefaultSettings(dest)
	if dest.Quarantine() {
		return s
	}
	c := g.Config.Committed()
	s.MaxRetries = c.Bounce.MaxRetries
	s.MaxTime = time.Duration(c.Bounce.MaxTime) * time.Second
	s.FirstRetry = time.Duration(c.Bounce.FirstRetry) * time.Second
	s.LongestWait = time.Duration(c.Bounce.Longest) * time.Second
	if n := row(c, dest.Name).Concurrency; n > 0 {
		s.Concurrency = n
	}
	return s
}

// source gives the address that deliveries leave from.
func (g *Gateway) source() netip.Addr {
	c := g.Config.Committed()
	ip, err := netip.ParseAddr(c.InterfaceIP(c.Delivery.Interface))
	if err != nil {
		return netip.Addr{} // Auto: the system chooses
	}
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
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false // the loop ends by its Received lines
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == ip.Unmap() {
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
	m := c.CPQ.Managers[0]
	at, err := netip.ParseAddrPort(m.Addr)
	if err != nil {
		return delivery.Endpoint{}, errs.Wrap(errs.Internal, err, "address of manager %s", m.Name)
	}
	return delivery.Endpoint{Addr: at, LocalIP: l.g.source(), TLS: l.g.ClientTLS(m.Serial), Name: m.Name}, nil
}

// Forget implements delivery.Locator: the address is the configuration's.
func (l locator) Forget(queue.Dest) {}
