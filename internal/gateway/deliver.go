package gateway

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
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

// row gives the destination control of a domain, or DEFAULT's.
func row(c *config.Config, domain string) config.Destination {
	var def config.Destination
	for _, d := range c.Destinations {
		if d.Domain == domain {
			return d
		}
		if d.Domain == "DEFAULT" {
			def = d
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
		if l.Protocol == "SMTP" && int(at.Port()) == l.Port && c.InterfaceIP(l.Interface) == at.Addr().String() {
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
