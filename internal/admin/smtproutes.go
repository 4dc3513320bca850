package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
)

func (f Configuration) routeCommands() []Command {
	return []Command{
		{Name: "smtproutes", Summary: "Change the SMTP routes",
			Usage: "smtproutes\nsmtproutes new DOMAIN HOST[,HOST...]\nsmtproutes edit DOMAIN HOST[,HOST...]\nsmtproutes delete DOMAIN\nsmtproutes import         (one route a line is read from the input)\nsmtproutes list\nsmtproutes export",
			Right: auth.ConfigChange, MaxArgs: 60, Input: true, Run: f.routes},
		{Name: "smtproutes list", Summary: "List the SMTP routes", Usage: "smtproutes list", Right: auth.ConfigView, Run: f.exportRoutes},
		{Name: "smtproutes export", Summary: "Print the SMTP routes, one a line", Usage: "smtproutes export", Right: auth.ConfigView, Run: f.exportRoutes},
	}
}

func (f Configuration) routes(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a route.", f.newRoute},
		action{"edit", "Change a route.", f.editRoute},
		action{"delete", "Remove a route.", f.deleteRoute},
		action{"list", "List the routes.", f.exportRoutes},
		action{"import", "Replace all routes, one a line.", f.importRoutes},
		action{"export", "Print all routes, one a line.", f.exportRoutes})
}

// table gives the routes of a configuration.
func table(conf *config.Config) (*delivery.Routes, error) {
	var b strings.Builder
	for _, r := range conf.SMTPRoutes {
		b.WriteString(r.Domain + " " + strings.Join(r.Hosts, ", ") + "\n")
	}
	return delivery.ParseRoutes(b.String())
}

// setRoutes takes a table over into a configuration.
func setRoutes(conf *config.Config, t *delivery.Routes) {
	conf.SMTPRoutes = nil
	for _, r := range t.All() {
		row := config.SMTPRoute{Domain: r.Match}
		for _, h := range r.Hops {
			row.Hosts = append(row.Hosts, h.String())
		}
		conf.SMTPRoutes = append(conf.SMTPRoutes, row)
	}
}

func (f Configuration) exportRoutes(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	t, err := table(conf)
	if err != nil {
		return err
	}
	if len(conf.SMTPRoutes) == 0 {
		c.Printf("# There are no SMTP routes: mail goes to the MX hosts of its domain.\n")
	}
	c.Printf("%s", t)
	return nil
}

// askRoute asks for a route and gives its line.
func askRoute(c *Call) (domain, line string, err error) {
	if domain, err = c.Ask("Enter the domain (example.com, .example.com or ALL):", ""); err != nil {
		return "", "", err
	}
	hosts, err := c.Ask("Enter the destinations, with commas between them (mail.example.com, [192.0.2.1]:2525, USEDNS, /dev/null; with /pri=N):", "")
	if err != nil {
		return "", "", err
	}
	if len(c.Args) > 0 { // blanks behind commas
		hosts += " " + strings.Join(c.Args, " ")
		c.Args = nil
	}
	if domain == "" || hosts == "" {
		return "", "", Usage("a domain and at least one destination are needed")
	}
	if strings.ContainsAny(domain, " \t\r\n") {
		return "", "", Usage("%q is not a domain, .domain or ALL", Clip(domain, 60))
	}
	return domain, domain + " " + hosts, nil
}

func (f Configuration) newRoute(_ context.Context, c *Call) error {
	domain, line, err := askRoute(c)
	if err != nil {
		return err
	}
	return f.changeRoutes(c, "new SMTP route "+line, func(next *config.Config) (string, error) {
		t, err := table(next)
		if err == nil && slices.ContainsFunc(t.All(), sameMatch(domain)) {
			err = errs.New(errs.Conflict, "%s has a route; use edit", Clip(domain, 60))
		}
		if err != nil {
			return "", err
		}
		return t.String() + line, nil
	})
}

func (f Configuration) editRoute(_ context.Context, c *Call) error {
	domain, line, err := askRoute(c)
	if err != nil {
		return err
	}
	return f.changeRoutes(c, "edit SMTP route "+line, func(next *config.Config) (string, error) { return replaced(next, domain, line) })
}

func (f Configuration) deleteRoute(_ context.Context, c *Call) error {
	domain, err := c.Ask("Enter the domain of the route:", "")
	if err != nil {
		return err
	}
	return f.changeRoutes(c, "delete SMTP route "+domain, func(next *config.Config) (string, error) { return replaced(next, domain, "") })
}

func sameMatch(domain string) func(delivery.Route) bool {
	domain = strings.TrimSuffix(domain, ".")
	return func(r delivery.Route) bool { return strings.EqualFold(r.Match, domain) }
}

// replaced gives the table with another line for a domain, or with none.
func replaced(conf *config.Config, domain, line string) (string, error) {
	t, err := table(conf)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	found := false
	for _, r := range t.All() {
		if !sameMatch(domain)(r) {
			b.WriteString(r.String() + "\n")
			continue
		}
		found = true
		b.WriteString(line + "\n")
	}
	if !found {
		return "", errs.New(errs.NotFound, "%s has no route", Clip(domain, 60))
	}
	return b.String(), nil
}

func (f Configuration) importRoutes(_ context.Context, c *Call) error {
	text, err := readLines(c, "Enter the routes, one a line.  Enter '.' on its own line to end.\n", 16<<20)
	if err != nil {
		return err
	}
	return f.changeRoutes(c, "import SMTP routes", func(*config.Config) (string, error) { return text, nil })
}

// changeRoutes makes the table of a text pending, if it is one.
func (f Configuration) changeRoutes(c *Call, what string, text func(*config.Config) (string, error)) error {
	n := 0
	err := f.Store.Change(c.Principal, what, func(next *config.Config) error {
		lines, err := text(next)
		if err != nil {
			return err
		}
		t, err := delivery.ParseRoutes(lines)
		if err != nil {
			return errs.New(errs.Invalid, "%s", err)
		}
		setRoutes(next, t)
		n = len(next.SMTPRoutes)
		return nil
	})
	if err == nil {
		c.Printf("%d SMTP routes.  "+pendingNote, n)
	}
	return err
}
