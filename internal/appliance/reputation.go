package appliance

import (
	"context"
	"net/netip"
	"path/filepath"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/reputation"
)

// scores gives the source of reputation scores that a configuration names, nil
// for none.
func (a *Appliance) scores(c *config.Config) (reputation.Source, error) {
	switch c.Reputation.Source {
	case "file":
		path := c.Reputation.File
		if !filepath.IsAbs(path) {
			path = a.Path(path)
		}
		f, err := reputation.OpenFile(path, a.Now)
		if err != nil {
			return nil, errs.New(errs.Invalid, "config/reputation/file: %s", err)
		}
		return f, nil
	case "dns":
		zone, err := mail.ParseDomain(c.Reputation.Zone)
		return reputation.Zone{Resolver: a.Resolver, Name: zone}, err
	}
	return nil, nil
}

// Reputation answers what filters ask of clients, by the sources in force.
func (a *Appliance) Reputation() Clients { return Clients{a} }

// Clients are those who send mail. It implements pipeline.Reputation.
type Clients struct{ a *Appliance }

// Listed reports whether a DNS list has an address.
func (c Clients) Listed(ctx context.Context, zone string, ip netip.Addr) bool {
	if c.a.reputation == nil {
		return false
	}
	listed, _ := c.a.reputation.Ask(ctx, ip, access.Needs{Zones: []string{zone}})
	return listed[zone]
}

// Score gives the score of an address, in tenths.
func (c Clients) Score(ctx context.Context, ip netip.Addr) (tenths int, known bool) {
	if c.a.reputation == nil {
		return 0, false
	}
	_, score := c.a.reputation.Ask(ctx, ip, access.Needs{Score: true})
	return score.Tenths, score.State == access.ScoreKnown
}
