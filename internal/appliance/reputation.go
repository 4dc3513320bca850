package appliance

import (
	"path/filepath"

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
