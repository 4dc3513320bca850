package admin

import (
	"context"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

func (f Configuration) sslCommand() Command {
	return Command{Name: "sslconfig", Summary: "Show and change the TLS versions and ciphers of SMTP",
		Usage: "sslconfig\nsslconfig inbound METHOD CIPHERS\nsslconfig outbound METHOD CIPHERS [CERTIFICATE]\nsslconfig verify CIPHERS",
		Right: auth.ConfigChange, MaxArgs: 4, Run: f.ssl}
}

// ssl is reference 6.1: methods and cipher lists by use, and a look at what a
// list means.
func (f Configuration) ssl(_ context.Context, c *Call) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			showSSL(c, conf)
		}
		word, err := c.Menu(Choice{"INBOUND", "Edit inbound SMTP TLS settings."}, Choice{"OUTBOUND", "Edit outbound SMTP TLS settings."},
			Choice{"VERIFY", "Verify and show a cipher list."})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "inbound":
			err = f.sslInbound(c, conf)
		case "outbound":
			err = f.sslOutbound(c, conf)
		case "verify":
			err = f.sslVerify(c)
		}
		if err = badArguments(err); err != nil || c.Batch {
			return err
		}
	}
}

func showSSL(c *Call, conf *config.Config) {
	show := func(use string, l certs.Limits) {
		method := l.Method
		if method == "" {
			method = "TLSv1.2"
		}
		c.Printf("%s: %s or later, ciphers %s\n", use, method, Plain(l.String()))
		if suites, _, err := certs.Ciphers(l.String()); err == nil && method == "TLSv1.2" {
			c.Printf("  of TLSv1.2: %s\n", strings.Join(certs.CipherNames(suites), ":"))
		}
	}
	show("Inbound SMTP", conf.SSL.Inbound())
	show("Outbound SMTP", conf.SSL.Outbound())
	name := conf.SSL.OutboundCert
	if name == "" {
		name = "none"
	}
	c.Printf("  certificate shown to servers that ask: %s\n", Plain(name))
	c.Printf("CPQ: TLSv1.3 with pinned certificates on both sides; this cannot be changed\n")
}

func askSSL(c *Call, l certs.Limits) (certs.Limits, error) {
	if l.Method == "" {
		l.Method = certs.Methods()[0]
	}
	var err error
	if l.Method, err = c.Ask("Enter the least TLS version: "+strings.Join(certs.Methods(), " or "), l.Method); err != nil {
		return l, err
	}
	for _, m := range certs.Methods() {
		if strings.EqualFold(m, l.Method) {
			l.Method = m
		}
	}
	l.Ciphers, err = c.Ask("Enter the ciphers, as OpenSSL writes them.", l.String())
	return l, err
}

func (f Configuration) sslInbound(c *Call, conf *config.Config) error {
	l, err := askSSL(c, conf.SSL.Inbound())
	if err != nil {
		return err
	}
	return f.changeSSL(c, l, "inbound", func(s *config.SSL) { s.InboundMethod, s.InboundCiphers = l.Method, l.Ciphers })
}

func (f Configuration) sslOutbound(c *Call, conf *config.Config) error {
	l, err := askSSL(c, conf.SSL.Outbound())
	if err != nil {
		return err
	}
	name := conf.SSL.OutboundCert
	if name == "" {
		name = "none"
	}
	if name, err = c.Ask("Enter the certificate to show to servers that ask, or none.", name); err != nil {
		return err
	}
	if strings.EqualFold(name, "none") {
		name = ""
	}
	return f.changeSSL(c, l, "outbound", func(s *config.SSL) { s.OutboundMethod, s.OutboundCiphers, s.OutboundCert = l.Method, l.Ciphers, name })
}

func (f Configuration) changeSSL(c *Call, l certs.Limits, use string, change func(*config.SSL)) error {
	if err := showCiphers(c, l.Ciphers); err != nil {
		return err
	}
	err := f.Store.Change(c.Principal, use+" TLS "+quoted([]string{l.Method, l.Ciphers}), func(next *config.Config) error {
		change(&next.SSL)
		return nil
	})
	if err == nil {
		c.Printf("Commit to put this in force.\n")
	}
	return err
}

func (f Configuration) sslVerify(c *Call) error {
	list, err := c.Ask("Enter the ciphers to look at.", certs.DefaultCiphers)
	if err != nil {
		return err
	}
	return showCiphers(c, list)
}

// showCiphers prints what a string selects and what it asks for in vain.
func showCiphers(c *Call, list string) error {
	suites, notes, err := certs.Ciphers(list)
	for _, n := range notes {
		c.Printf("Note: %s\n", Plain(n))
	}
	if err != nil {
		return Usage("%s", errs.Public(err)+cause(err))
	}
	for _, name := range certs.CipherNames(suites) {
		c.Printf("%s\n", name)
	}
	return nil
}

// cause gives what an error says beyond its public sentence: here the text is
// about what the administrator typed.
func cause(err error) string {
	return strings.TrimPrefix(err.Error(), errs.Public(err))
}
