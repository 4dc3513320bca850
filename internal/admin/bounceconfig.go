package admin

import (
	"context"
	"slices"

	"lazaret/internal/auth"
	"lazaret/internal/bounce"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// ReportCommands gives bounceconfig and alertconfig.
func (f Configuration) ReportCommands() []Command {
	return append(f.alertCommands(), []Command{
		{Name: "bounceconfig", Summary: "Bounce profiles: how long mail is tried, and what senders hear",
			Usage: "bounceconfig\nbounceconfig list\nbounceconfig new NAME\nbounceconfig edit NAME FIELD VALUE\nbounceconfig delete NAME\nbounceconfig setup FIELD VALUE",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.bounceConfig},
	}...)
}

// OwnMailCommands gives the commands about mail of a manager's own.
func (f Configuration) OwnMailCommands() []Command {
	return append(f.alertCommands(), f.routeCommands()...)
}

func (f Configuration) alertCommands() []Command {
	return []Command{
		{Name: "alertconfig", Summary: "Who hears of trouble by mail",
			Usage: "alertconfig\nalertconfig list\nalertconfig new ADDRESS\nalertconfig edit ADDRESS FIELD VALUE\nalertconfig delete ADDRESS\nalertconfig setup FIELD VALUE",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.alertConfig},
	}
}

// sheet is a list of named rows with settings that all share.
type sheet struct {
	what   string
	list   func(*config.Config) []sheetRow
	add    func(c *config.Config, name string) error
	remove func(c *config.Config, name string) error
	shared func(*config.Config) any // pointer
}

type sheetRow struct {
	name string
	at   any // pointer
}

func (f Configuration) bounceConfig(_ context.Context, c *Call) error {
	return f.editSheet(c, sheet{
		what: "bounce profile",
		list: func(c *config.Config) (all []sheetRow) {
			for i := range c.BounceProfiles {
				all = append(all, sheetRow{c.BounceProfiles[i].Name, &c.BounceProfiles[i]})
			}
			return all
		},
		add: func(c *config.Config, name string) error {
			p := c.BounceProfile(bounce.Default)
			p.Name = name
			c.BounceProfiles = append(c.BounceProfiles, config.NewBounceProfile(p))
			return nil
		},
		remove: func(c *config.Config, name string) error {
			if name == bounce.Default {
				return errs.New(errs.Conflict, "The bounce profile %s cannot be deleted", bounce.Default)
			}
			c.BounceProfiles = slices.DeleteFunc(c.BounceProfiles, func(p config.BounceProfile) bool { return p.Name == name })
			return nil
		},
		shared: func(c *config.Config) any { return &c.Reports },
	})
}

func (f Configuration) alertConfig(_ context.Context, c *Call) error {
	return f.editSheet(c, sheet{
		what: "alert recipient",
		list: func(c *config.Config) (all []sheetRow) {
			for i := range c.Alerts.Recipients {
				all = append(all, sheetRow{c.Alerts.Recipients[i].Address, &c.Alerts.Recipients[i]})
			}
			return all
		},
		add: func(c *config.Config, name string) error {
			c.Alerts.Recipients = append(c.Alerts.Recipients, config.AlertRecipient{Address: name, Severity: "warning"})
			return nil
		},
		remove: func(c *config.Config, name string) error {
			c.Alerts.Recipients = slices.DeleteFunc(c.Alerts.Recipients, func(r config.AlertRecipient) bool { return r.Address == name })
			return nil
		},
		shared: func(c *config.Config) any { return &c.Alerts },
	})
}

// editSheet is the menu of a sheet; changes are pending until commit.
func (f Configuration) editSheet(c *Call, t sheet) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			t.show(c, conf)
			if c.Batch {
				return nil
			}
		}
		word, err := c.Menu(Choice{"LIST", "Show everything."}, Choice{"NEW", "Add a " + t.what + "."}, Choice{"EDIT", "Change a " + t.what + "."},
			Choice{"DELETE", "Remove a " + t.what + "."}, Choice{"SETUP", "Change what all share."})
		if err != nil || word == "" {
			return err
		}
		if word == "list" {
			t.show(c, conf)
		} else if err = f.changeSheet(c, conf, t, word); err == nil {
			c.Printf("Commit to put this in force.\n")
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

func (t sheet) show(c *Call, conf *config.Config) {
	show := func(at any) {
		for _, f := range config.FieldTexts(at) {
			if f[1] != "" {
				c.Printf("  %-22s %s\n", f[0], oneLine(f[1], 300))
			}
		}
	}
	for _, r := range t.list(conf) {
		c.Printf("%s\n", Plain(r.name))
		show(deref(r.at))
	}
	c.Printf("For all:\n")
	show(deref(t.shared(conf)))
}

func deref(p any) any {
	switch v := p.(type) {
	case *config.BounceProfile:
		return *v
	case *config.AlertRecipient:
		return *v
	case *config.Reports:
		return *v
	case *config.Alerts:
		return *v
	}
	return p
}

// changeSheet makes one pending change.
func (f Configuration) changeSheet(c *Call, conf *config.Config, t sheet, word string) error {
	name := ""
	var err error
	if word != "setup" {
		if name, err = c.Ask("Enter the name of the "+t.what+".", ""); err != nil {
			return err
		}
		exists := slices.ContainsFunc(t.list(conf), func(r sheetRow) bool { return r.name == name })
		if exists == (word == "new") || name == "" {
			if word == "new" && name != "" {
				return errs.New(errs.Conflict, "There is a %s %q already", t.what, Clip(name, 60))
			}
			return errs.New(errs.NotFound, "There is no %s %q", t.what, Clip(name, 60))
		}
	}
	field, value := "", ""
	if word == "edit" || word == "setup" {
		if field, err = c.Ask("Enter the name of the setting.", ""); err != nil {
			return err
		}
		if value, err = c.Ask("Enter the new value.", ""); err != nil {
			return err
		}
	}
	return badArguments(f.Store.Change(c.Principal, word+" "+t.what+" "+name+" "+field, func(next *config.Config) error {
		switch word {
		case "new":
			return t.add(next, name)
		case "delete":
			return t.remove(next, name)
		case "setup":
			return config.SetField(t.shared(next), field, value)
		}
		for _, r := range t.list(next) {
			if r.name == name {
				return config.SetField(r.at, field, value)
			}
		}
		return nil
	}))
}
