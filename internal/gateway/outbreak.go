package gateway

import (
	"context"
	"fmt"
	"regexp"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
	"lazaret/internal/outbreak"
	"lazaret/internal/pipeline"
)

// feedName is where the last good feed of outbreak rules is kept, below the directory.
const feedName = "outbreak.feed"

// openOutbreak makes the keeper of outbreak rules; its settings come with the
// configuration.
func (g *Gateway) openOutbreak(opt Options) error {
	o := outbreak.Options{
		Compile: func(p string) (*regexp.Regexp, error) { return match.Compile(p, false) },
		Client:  g.web, Now: g.Now, Info: g.Log.Info, Warn: g.Log.Warning, OnUpdate: g.newThreats,
	}
	if !opt.Check {
		o.Store = policyFile(g.Path(feedName))
	}
	g.threats = outbreak.NewKeeper(o)
	return nil
}

// newThreats has messages held against the rules that are in force now.
func (g *Gateway) newThreats() {
	t, err := pipeline.NewThreats(g.threats.Set())
	if err != nil {
		g.Log.Fault("outbreak", err.Error()) // they were checked
		return
	}
	g.pipeline.SetThreats(t)
}

// configureOutbreak takes what a commit says about outbreak rules.
func (g *Gateway) configureOutbreak(c *config.Config) {
	s, _, err := c.Outbreak.Settings()
	if err != nil {
		g.Log.Fault("configuration", err.Error()) // commits have checked it
		return
	}
	g.threats.Configure(s)
}

// OutbreakUpdate implements admin.Threats.
func (g *Gateway) OutbreakUpdate(ctx context.Context) (string, error) {
	changed, err := g.threats.Update(ctx)
	if err != nil {
		return "", err
	}
	f := g.threats.Set().Feed()
	if !changed {
		return fmt.Sprintf("The rules are up to date: feed %s, serial %d, %d rules.", f.Name, f.Serial, len(f.Rules)), nil
	}
	return fmt.Sprintf("New rules are in force: feed %s, serial %d, %d rules.", f.Name, f.Serial, len(f.Rules)), nil
}

// OutbreakStatus implements admin.Threats.
func (g *Gateway) OutbreakStatus() outbreak.Status { return g.threats.Status() }

// OutbreakRule implements admin.Threats.
func (g *Gateway) OutbreakRule(id string) (outbreak.Rule, error) {
	r := g.threats.Set().Rule(id)
	if r == nil {
		return outbreak.Rule{}, errs.New(errs.NotFound, "no rule %s is in force", id)
	}
	return *r, nil
}
