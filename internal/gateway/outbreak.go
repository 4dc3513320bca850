package gateway

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/filter/match"
	"lazaret/internal/mail"
	"lazaret/internal/outbreak"
	"lazaret/internal/pipeline"
	"lazaret/internal/quarantine"
	"lazaret/internal/spool"
)

// feedName is where the last good feed of outbreak rules is kept, below the directory.
const feedName = "outbreak.feed"

// openOutbreak makes the keeper of outbreak rules; its settings come with the
// configuration.
func (g *Gateway) openOutbreak(opt Options) error {
	o := outbreak.Options{
		Compile: func(p string) (*regexp.Regexp, error) { return match.Compile(p, false) },
		Client:  g.web, Now: g.Now, Info: g.Log.Info, Warn: g.outbreakTrouble, OnUpdate: g.newThreats,
	}
	if !opt.Check {
		o.Store = policyFile(g.Path(feedName))
	}
	g.threats = outbreak.NewKeeper(o)
	return nil
}

// outbreakTrouble tells the administrators that there are no new rules: nobody
// else would see that somebody holds them back.
func (g *Gateway) outbreakTrouble(text string) {
	g.Alert(appliance.AlertSystem, strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text))
}

// newThreats has messages held against the rules that are in force now.
func (g *Gateway) newThreats() {
	t, err := pipeline.NewThreats(g.threats.Set())
	if err != nil {
		g.Log.Fault("outbreak", err.Error()) // they were checked
		return
	}
	g.pipeline.SetThreats(t)
	signal(g.rejudge)
	g.shadows.poke()
}

// rejudgeHeld judges what outbreak rules hold in the gateway's own quarantines
// each time that there are new ones (reference 2.6), until ctx ends.
func (g *Gateway) rejudgeHeld(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.rejudge:
		}
		if g.threats.Set() == nil {
			continue // without rules nothing is known: what is held stays
		}
		out, err := g.quarantines.Rejudge(ctx, g.judgeHeld)
		if out.Judged+out.Unknown > 0 {
			g.Log.Info(out.String())
		}
		if err != nil && ctx.Err() == nil {
			g.Log.Fault("outbreak", err.Error())
		}
	}
}

// judgeHeld says which outbreak rule holds a message now. It implements
// quarantine.Judge.
func (g *Gateway) judgeHeld(ctx context.Context, m *quarantine.Message, open func() (io.ReadCloser, error)) (string, error) {
	in, err := inputOf(m, open)
	if err != nil {
		return "", err
	}
	return g.pipeline.Rejudge(ctx, in, m.Policy)
}

// inputOf gives a message of our own quarantines as the pipeline takes it.
func inputOf(m *quarantine.Message, open func() (io.ReadCloser, error)) (in pipeline.Input, err error) {
	in = pipeline.Input{MID: m.MID, Origin: m.Origin, Size: m.Size, Subject: m.Subject, Open: open}
	if in.Env.From, err = envelopeAddress(m.Sender); err != nil {
		return in, err
	}
	for _, to := range m.Recipients {
		a, err := envelopeAddress(to)
		if err != nil {
			return in, err
		}
		in.Env.To = append(in.Env.To, a)
	}
	return in, nil
}

// judgeSent says which outbreak rule holds a message now that a manager has.
func (g *Gateway) judgeSent(ctx context.Context, sent *spool.Sent, open func() (io.ReadCloser, error)) (string, error) {
	return g.pipeline.Rejudge(ctx, pipeline.Input{
		MID: sent.MID, Env: mail.Envelope{Params: sent.Params, From: sent.From, To: sent.Recipients, Rcpt: sent.Rcpt},
		Origin: sent.Origin, Size: sent.Size, Subject: sent.Subject, Open: open,
	}, sent.Judged.Policy)
}

// envelopeAddress reads what mail.Address.String wrote; nobody is nobody.
func envelopeAddress(s string) (mail.Address, error) {
	if s == "" {
		return mail.Address{}, nil
	}
	return mail.ParseAddress(s)
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
