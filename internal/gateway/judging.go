package gateway

import (
	"lazaret/internal/config"
	"lazaret/internal/filter"
	"lazaret/internal/pipeline"
	"lazaret/internal/scan"
)

// judging builds what the pipeline judges by.
func (g *Gateway) judging(c *config.Config) (s pipeline.Settings, err error) {
	if s.Filters, err = filter.Parse(c.Filters); err != nil {
		return s, err
	}
	if s.Inbound, err = c.MailTable(config.Inbound); err != nil {
		return s, err
	}
	if s.Outbound, err = c.MailTable(config.Outbound); err != nil {
		return s, err
	}
	engine, err := g.engine(c)
	if engine != nil {
		s.Engine = engine
	}
	return s, err
}

// engine gives the antivirus engine, or nil; the one there is as long as its
// settings stay, with its sessions and what it remembers.
func (g *Gateway) engine(c *config.Config) (*scan.Clamd, error) {
	want, err := c.Scanner()
	if err != nil {
		return nil, err
	}
	if want == g.scanner.settings && g.scanner.clamd != nil {
		return g.scanner.clamd, nil
	}
	old := g.scanner.clamd
	g.scanner.settings, g.scanner.clamd = want, nil
	if want.Address != "" {
		g.scanner.clamd = scan.NewClamd(scan.ClamdOptions{
			Address: want.Address, MaxAge: want.MaxAge, MaxSize: want.MaxSize, ScanTimeout: want.Timeout, Now: g.Now,
		})
	}
	if old != nil {
		old.Close()
	}
	return g.scanner.clamd, nil
}

// scanner is the engine in force; only commits, which follow each other, and
// Close touch it.
type scanner struct {
	settings config.Scanner
	clamd    *scan.Clamd
}
