package gateway

import (
	"context"
	"strconv"

	"lazaret/internal/appliance/pvo"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/scan"
	"lazaret/internal/unpack/filetype"
)

// judging builds what the pipeline judges by.
func (g *Gateway) judging(c *config.Config) (s pipeline.Settings, err error) {
	if s.Filters, err = filter.Parse(c.Filters); err != nil {
		return s, err
	}
	s.Filters.For(c.Site())
	if s.Content, err = c.ContentSets(); err != nil {
		return s, err
	}
	if s.Inbound, err = c.MailTable(config.Inbound); err != nil {
		return s, err
	}
	if s.Outbound, err = c.MailTable(config.Outbound); err != nil {
		return s, err
	}
	if c.SenderAuth.Verify == config.On {
		s.Auth = authenticator{g}
	}
	if c.SenderAuth.Quarantine() {
		s.HoldDMARC = "Policy"
	}
	if spam := c.Antispam; spam.Rspamd != "" {
		s.Spam = spamEngine{g.rspamd(c)}
	}
	if s.DLP, err = c.DLPSets(); err != nil {
		return s, err
	}
	if c.FileAnalysis.Analyser != "" {
		if s.Analyser, err = g.analyser(c.FileAnalysis); err != nil {
			return s, err
		}
	}
	if _, s.OutbreakMax, err = c.Outbreak.Settings(); err != nil {
		return s, err
	}
	engine, err := g.engine(c)
	if engine != nil {
		s.Engine = engine
	}
	return s, err
}

// kinds names what a file is, and its group.
func kinds(head []byte) []string {
	t := filetype.Sniff(head)
	return []string{t.Name, string(t.Group)}
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

// scanner is the engines in force; only commits, which follow each other, and
// Close touch it.
type scanner struct {
	settings config.Scanner
	clamd    *scan.Clamd

	spamSettings config.Antispam
	rspamd       *scan.Rspamd

	analysis config.FileAnalysis
	analyser *scan.Analyser
}

// AntivirusStatus implements admin.Scanner.
func (g *Gateway) AntivirusStatus(ctx context.Context) ([]string, error) {
	e := g.pipeline.Engine()
	clamd, ok := e.(*scan.Clamd)
	if !ok {
		return []string{"There is no antivirus engine; antivirusconfig says where one is."}, nil
	}
	v, err := clamd.Version(ctx)
	if err != nil {
		return nil, errs.Wrap(errs.Temporary, err, "the antivirus engine does not answer (%s); mail whose policy wants it scanned waits", errs.Network(err))
	}
	lines := []string{"Engine:     " + v.Text}
	age := "without a date (signatures of your own)"
	if !v.Date.IsZero() {
		age = v.Date.Format("2006-01-02 15:04") + " UTC"
	}
	lines = append(lines, "Signatures: "+age)
	if max := g.scannerSettings().MaxAge; v.Old(max, g.Now()) {
		lines = append(lines, "They are older than "+config.FormatSpan(max)+": what they would pass counts as unscanned.")
	}
	return lines, nil
}

// Signatures implements admin.Paired: those of the antivirus engine, and behind
// them the outbreak rules in force.
func (g *Gateway) Signatures(ctx context.Context) (string, error) {
	text := ""
	if clamd, ok := g.pipeline.Engine().(*scan.Clamd); ok {
		v, err := clamd.Version(ctx)
		if err != nil {
			return "", errs.Wrap(errs.Temporary, err, "the antivirus engine does not answer (%s)", errs.Network(err))
		}
		text = v.Text
	}
	if set := g.threats.Set(); set != nil {
		f := set.Feed()
		text += pvo.OutbreakSignature + f.Name + " " + strconv.FormatUint(f.Serial, 10)
	}
	return text, nil
}

// ownSignatures are those of this gateway, for its own quarantines.
func (g *Gateway) ownSignatures(ctx context.Context) map[string]string {
	text, err := g.Signatures(ctx)
	if err != nil || text == "" {
		return nil // antivirusstatus says why
	}
	return map[string]string{g.serial(): text}
}

// scannerSettings are those in force; commits have checked them.
func (g *Gateway) scannerSettings() config.Scanner {
	s, _ := g.Config.Committed().Scanner()
	return s
}

// spamEngine asks Rspamd. It implements pipeline.SpamEngine.
type spamEngine struct{ *scan.Rspamd }

// Spam implements pipeline.SpamEngine.
func (e spamEngine) Spam(ctx context.Context, in pipeline.Input) (mail.Spam, error) {
	o := in.Origin
	host := o.RemoteHost
	if host == "unknown" {
		host = ""
	}
	return e.Scan(ctx, scan.Asked{MID: in.MID, IP: o.RemoteIP, Helo: o.Helo, Host: host, User: o.User, From: in.Env.From, To: in.Env.To, Size: in.Size}, in.Open)
}

// rspamd gives the client of Rspamd, the one there is as long as its settings
// stay.
func (g *Gateway) rspamd(c *config.Config) *scan.Rspamd {
	if c.Antispam == g.scanner.spamSettings && g.scanner.rspamd != nil {
		return g.scanner.rspamd
	}
	if g.scanner.rspamd != nil {
		g.scanner.rspamd.Close()
	}
	timeout, size, _ := c.Antispam.Limits() // checked before the commit
	g.scanner.spamSettings = c.Antispam
	g.scanner.rspamd = scan.NewRspamd(scan.RspamdOptions{URL: c.Antispam.Rspamd, Password: c.Antispam.Password, Timeout: timeout, MaxSize: size})
	return g.scanner.rspamd
}

// close gives back what the engines hold.
func (s *scanner) close() {
	if s.clamd != nil {
		s.clamd.Close()
	}
	if s.rspamd != nil {
		s.rspamd.Close()
	}
}
