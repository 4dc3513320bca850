package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// DeliveryCommands gives the commands about where mail goes and how: settings
// of a gateway. Like all changes theirs are pending until commit.
func (f Configuration) DeliveryCommands() []Command {
	return append([]Command{
		{Name: "destconfig", Summary: "Change the destination controls",
			Usage: "destconfig\ndestconfig new DOMAIN [NAME=VALUE...]\ndestconfig edit DOMAIN|DEFAULT NAME=VALUE...\ndestconfig delete DOMAIN\ndestconfig import         (an INI file is read from the input)\ndestconfig list\ndestconfig export",
			Right: auth.ConfigChange, MaxArgs: 20, Input: true, Run: f.dest},
		{Name: "destconfig list", Summary: "List the destination controls", Usage: "destconfig list", Right: auth.ConfigView, Run: f.listDest},
		{Name: "destconfig export", Summary: "Print the destination controls as an INI file", Usage: "destconfig export", Right: auth.ConfigView, Run: f.exportDest},
	}, append(f.routeCommands(), f.sourceCommands()...)...)
}

// action is one word of a menu with what it does.
type action struct {
	word, text string
	run        func(context.Context, *Call) error
}

// actions is a menu of actions.
func (c *Call) actions(ctx context.Context, list ...action) error {
	choices := make([]Choice, len(list))
	for i, a := range list {
		choices[i] = Choice{strings.ToUpper(a.word), a.text}
	}
	return c.menu(func() {}, func(word string) error {
		i := slices.IndexFunc(list, func(a action) bool { return a.word == word })
		err := list[i].run(ctx, c)
		if !c.Batch && (errs.Is(err, errs.NotFound) || errs.Is(err, errs.Conflict)) {
			err = Usage("%s", errs.Public(err)) // said, and the menu comes again
		}
		c.Args = nil
		return badArguments(err)
	}, choices...)
}

// pendingNote stands at the end of each change.
const pendingNote = "Commit to put this in force.\n"

func (f Configuration) dest(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a destination control for a domain.", f.newDest},
		action{"edit", "Change a destination control.", f.editDest},
		action{"delete", "Remove a destination control.", f.deleteDest},
		action{"list", "List the destination controls.", f.listDest},
		action{"import", "Replace all by an INI file.", f.importDest},
		action{"export", "Print all as an INI file.", f.exportDest})
}

func (f Configuration) listDest(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	c.Printf("%-30s %-16s %5s %5s %12s %-12s %-4s %-7s %s\n", "Domain", "TLS", "Conn.", "Msgs.", "Rcpts./min", "Addresses", "DANE", "MTA-STS", "Bounce Profile")
	for _, d := range conf.Destinations {
		rate := "no limit"
		if d.RateLimit > 0 {
			rate = comma(d.RateLimit) + "/" + comma(d.RateMinutes)
		}
		p := map[string]string{}
		for _, v := range d.Parameters() {
			p[v.Name] = v.Value
		}
		c.Printf("%-30s %-16s %5s %5s %12s %-12s %-4s %-7s %s\n", Plain(Clip(d.Domain, 60)), Plain(d.TLS), orDefault(d.Concurrency), orDefault(d.Messages), rate,
			Plain(p["ip_sort_pref"]), Plain(p["dane"]), Plain(p["mta_sts"]), Plain(d.BounceProfile))
		if err := c.Err(); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(conf.Destinations, func(d config.Destination) bool { return d.Domain == config.DefaultDestination }) {
		c.Printf("There is no row DEFAULT: other domains have TLS preferred and no limits of their own.\n")
	}
	return nil
}

func orDefault(n int) string {
	if n == 0 {
		return "-"
	}
	return comma(n)
}

// destName reads a domain or DEFAULT as rows have it.
func destName(s string) (string, error) {
	if strings.EqualFold(s, config.DefaultDestination) {
		return config.DefaultDestination, nil
	}
	name, err := mail.ParseDomain(s)
	if err != nil {
		return "", Usage("%q is neither a domain nor DEFAULT", Clip(s, 60))
	}
	return name, nil
}

func findDest(conf *config.Config, name string) int {
	return slices.IndexFunc(conf.Destinations, func(d config.Destination) bool {
		n, err := destName(d.Domain)
		return err == nil && n == name
	})
}

// fillDest sets parameters from NAME=VALUE words, or by questions.
func fillDest(c *Call, d *config.Destination) error {
	if c.Batch || len(c.Args) > 0 {
		for len(c.Args) > 0 {
			word := c.Take()
			name, value, ok := strings.Cut(word, "=")
			if !ok {
				return Usage("%q is not NAME=VALUE", Clip(word, 60))
			}
			if err := d.Set(name, value); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range d.Parameters() {
		answer, err := c.Ask("Enter "+p.Name+":", p.Value)
		if err != nil {
			return err
		}
		if err := d.Set(p.Name, answer); err != nil {
			return err
		}
	}
	return nil
}

func (f Configuration) newDest(_ context.Context, c *Call) error {
	answer, err := c.Ask("Enter the domain:", "")
	if err != nil {
		return err
	}
	name, err := destName(answer)
	if err != nil {
		return err
	}
	conf, _ := f.Store.Pending()
	d := config.Destination{TLS: "preferred"}
	if i := findDest(conf, config.DefaultDestination); i >= 0 {
		d = conf.Destinations[i] // what is not said is as in DEFAULT
	}
	d.Domain = name
	if err := fillDest(c, &d); err != nil {
		return err
	}
	err = f.Store.Change(c.Principal, "new destination control "+name, func(next *config.Config) error {
		if findDest(next, name) >= 0 {
			return errs.New(errs.Conflict, "%s has a destination control; use edit", name)
		}
		next.Destinations = append(next.Destinations, d)
		return nil
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}

func (f Configuration) editDest(_ context.Context, c *Call) error {
	answer, err := c.Ask("Enter the domain, or DEFAULT:", config.DefaultDestination)
	if err != nil {
		return err
	}
	name, err := destName(answer)
	if err != nil {
		return err
	}
	conf, _ := f.Store.Pending()
	i := findDest(conf, name)
	if i < 0 {
		return errs.New(errs.NotFound, "%s has no destination control", name)
	}
	d := conf.Destinations[i]
	if err := fillDest(c, &d); err != nil {
		return err
	}
	err = f.Store.Change(c.Principal, "edit destination control "+name, func(next *config.Config) error {
		i := findDest(next, name)
		if i < 0 {
			return errs.New(errs.NotFound, "%s has no destination control any more", name)
		}
		next.Destinations[i] = d
		return nil
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}

func (f Configuration) deleteDest(_ context.Context, c *Call) error {
	answer, err := c.Ask("Enter the domain:", "")
	if err != nil {
		return err
	}
	name, err := destName(answer)
	if err != nil {
		return err
	}
	if name == config.DefaultDestination {
		return Usage("DEFAULT stays; use edit")
	}
	err = f.Store.Change(c.Principal, "delete destination control "+name, func(next *config.Config) error {
		i := findDest(next, name)
		if i < 0 {
			return errs.New(errs.NotFound, "%s has no destination control", name)
		}
		next.Destinations = slices.Delete(next.Destinations, i, i+1)
		return nil
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}

func (f Configuration) exportDest(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	c.Printf("%s", config.FormatDestinations(conf.Destinations))
	return nil
}

func (f Configuration) importDest(_ context.Context, c *Call) error {
	text, err := readLines(c, "Enter the INI file.  Enter '.' on its own line to end.\n", 4<<20)
	if err != nil {
		return err
	}
	rows, err := config.ParseDestinations(text)
	if err != nil {
		return errs.New(errs.Invalid, "%s", err)
	}
	err = f.Store.Change(c.Principal, "import destination controls", func(next *config.Config) error {
		next.Destinations = rows
		return nil
	})
	if err == nil {
		c.Printf("%d destination controls.  "+pendingNote, len(rows))
	}
	return err
}
