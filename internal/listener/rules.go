package listener

import (
	"lazaret/internal/access"
	"lazaret/internal/errs"
	"lazaret/internal/smtp"
)

// rules are the settings in the form that sessions use: they never change.
type rules struct {
	Settings
	servers map[string]*smtp.Server // by name of the mail flow policy
}

// rulesOf checks the settings and makes the servers of all policies.
func (g *Group) rulesOf(s Settings) (*rules, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Protocol == SMTP && g.opts.Sink == nil || s.Protocol == CPQ && g.opts.CPQSink == nil {
		return nil, errs.New(errs.Internal, "listener %q: nobody takes its messages", s.Name)
	}
	r := &rules{Settings: s, servers: map[string]*smtp.Server{}}
	for _, p := range s.HAT.Policies() {
		server, err := smtp.NewServer(g.serverConfig(s, &p))
		if err != nil {
			return nil, errs.Context(err, "listener %q, policy $%s", s.Name, p.Name)
		}
		r.servers[p.Name] = server
	}
	return r, nil
}

func (g *Group) serverConfig(s Settings, p *access.Policy) smtp.ServerConfig {
	cfg := smtp.ServerConfig{
		Hostname:      g.opts.Hostname,
		Greeting:      p.Params.Banner,
		TLS:           s.TLS,
		MaxSize:       p.MessageSize(),
		MaxRecipients: p.Recipients(),
		Timeouts:      smtp.Timeouts{Command: s.Timeouts.Command, Data: s.Timeouts.Data, Shutdown: s.Timeouts.Close},
		Stress:        smtp.Stress{Command: s.Timeouts.Stress, Data: 2 * s.Timeouts.Stress},
	}
	if s.MaxSize > 0 {
		cfg.MaxSize = min(cfg.MaxSize, s.MaxSize)
	}
	if s.MaxRecipients > 0 {
		cfg.MaxRecipients = min(cfg.MaxRecipients, s.MaxRecipients)
	}
	if p.Action == access.Reject || p.Action == access.TCPRefuse {
		no := p.Refusal()
		cfg.Refuse = smtp.NewReply(no.Code, "", g.opts.Hostname+" "+no.Text) // RFC 5321 section 3.1
	}
	if s.Protocol == CPQ {
		// What a gateway accepted has to get through whatever the defaults are:
		// only limits that the policy states count.
		cfg.MaxSize, cfg.MaxRecipients = s.MaxSize, cpqRecipients
		if p.Params.MaxMessageSize > 0 {
			cfg.MaxSize = p.Params.MaxMessageSize
		}
		if p.Params.MaxRecipients > 0 {
			cfg.MaxRecipients = p.Params.MaxRecipients
		}
		cfg.TLSOnly = true
		if cfg.Greeting == "" {
			cfg.Greeting = "ESMTP CPQ"
		}
		cfg.Extensions = []smtp.Extension{cpqExtension()}
		if _, ok := g.opts.CPQSink.(ReportSink); ok {
			cfg.Extensions = append(cfg.Extensions, reportExtension())
		}
		if _, ok := g.opts.CPQSink.(VerdictSink); ok {
			cfg.Extensions = append(cfg.Extensions, verdictExtension())
		}
		return cfg
	}
	cfg.Auth = g.offersAuth(s, p)
	cfg.BareLFCommands, cfg.LoosePaths = true, !s.StrictPaths // clients 2.4; never in content
	if p.Params.TLS == access.TLSOff {
		cfg.TLS = nil
	}
	if s.Normalise || p.Params.BareNewlines == access.NormaliseBare {
		cfg.BareNewlines = smtp.Normalise
	}
	return cfg
}
