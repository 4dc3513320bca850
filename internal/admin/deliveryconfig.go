package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
)

func (f Configuration) sourceCommands() []Command {
	return []Command{
		{Name: "deliveryconfig", Summary: "Change how all deliveries are made",
			Usage: "deliveryconfig\ndeliveryconfig setup [INTERFACE|Auto [on|off [CONNECTIONS]]]",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.deliverySetup},
		{Name: "altsrchost", Summary: "Choose interfaces by sender or client",
			Usage: "altsrchost\naltsrchost new SENDER|DOMAIN|.DOMAIN|ADDRESS|NETWORK INTERFACE\naltsrchost edit MATCH INTERFACE\naltsrchost delete MATCH\naltsrchost list",
			Right: auth.ConfigChange, MaxArgs: 3, Run: f.altSrcHost},
		{Name: "altsrchost list", Summary: "List the interfaces by sender or client", Usage: "altsrchost list", Right: auth.ConfigView, Run: f.listSources},
	}
}

// maxConcurrencyDefault is what 0 stands for.
const maxConcurrencyDefault = 1000

func (f Configuration) deliverySetup(ctx context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	d := conf.Delivery
	if len(c.Args) == 0 {
		most := d.Concurrency
		if most == 0 {
			most = maxConcurrencyDefault
		}
		c.Printf("Default interface to deliver mail: %s\nPossible Delivery: %s\nDefault system wide maximum outbound message delivery concurrency: %s\n",
			Plain(orWord(d.Interface, "Auto")), Plain(orWord(d.Possible, config.On)), comma(most))
		if c.Batch {
			return nil
		}
	}
	return c.actions(ctx, action{"setup", "Configure mail delivery.", f.setupDelivery})
}

func orWord(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func (f Configuration) setupDelivery(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	d := conf.Delivery
	names, at := []string{"Auto"}, 0
	for i, n := range conf.Interfaces {
		if names = append(names, n.Name); n.Name == d.Interface {
			at = i + 1
		}
	}
	i, err := c.Pick("Choose the default interface to deliver mail.", names, at)
	if err != nil {
		return err
	}
	d.Interface = names[i]
	if d.Possible, err = c.Ask("Treat mail that was perhaps delivered as such, and try it again much later (on or off)?", orWord(d.Possible, config.On)); err != nil {
		return err
	}
	answer, err := c.Ask("Please enter the default system wide maximum outbound message delivery concurrency (0: the default).", strconv.Itoa(d.Concurrency))
	if err != nil {
		return err
	}
	if d.Concurrency, err = strconv.Atoi(answer); err != nil {
		return Usage("%q is not a number", Clip(answer, 40))
	}
	err = f.Store.Change(c.Principal, "delivery "+quoted([]string{d.Interface, d.Possible, answer}), func(next *config.Config) error {
		next.Delivery = d
		return nil
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}

func (f Configuration) altSrcHost(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a mapping.", f.newSource},
		action{"edit", "Change a mapping.", f.editSource},
		action{"delete", "Remove a mapping.", f.deleteSource},
		action{"list", "List the mappings.", f.listSources})
}

func (f Configuration) listSources(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	if len(conf.AltSrcHosts) == 0 {
		c.Printf("There are no mappings: all mail leaves from the default interface (deliveryconfig).\n")
		return nil
	}
	for i, a := range conf.AltSrcHosts {
		c.Printf("%d. %s -> %s (%s)\n", i+1, Plain(a.Match), Plain(a.Interface), Plain(conf.InterfaceIP(a.Interface)))
	}
	return nil
}

// askMapping asks what matches and which interface mail then leaves from.
func (f Configuration) askMapping(c *Call) (config.AltSrcHost, error) {
	conf, _ := f.Store.Pending()
	var a config.AltSrcHost
	var err error
	if a.Match, err = c.Ask("Enter the envelope sender, its domain or .domain, or the client's address or network:", ""); err != nil {
		return a, err
	}
	if len(c.Args) == 0 && c.Batch {
		return a, Usage("an interface is needed")
	}
	names := make([]string, len(conf.Interfaces))
	for i, n := range conf.Interfaces {
		names[i] = n.Name
	}
	i, err := c.Pick("Choose the interface that mail leaves from.", names, 0)
	if err != nil {
		return a, err
	}
	a.Interface = names[i]
	if _, _, err := delivery.NewSources([]delivery.SourceRule{{Match: a.Match, Interface: a.Interface}}); err != nil {
		return a, err
	}
	return a, nil
}

func findSource(conf *config.Config, match string) int {
	return slices.IndexFunc(conf.AltSrcHosts, func(a config.AltSrcHost) bool { return strings.EqualFold(a.Match, match) })
}

func (f Configuration) newSource(_ context.Context, c *Call) error {
	a, err := f.askMapping(c)
	if err != nil {
		return err
	}
	return f.changeSources(c, "new altsrchost "+quoted([]string{a.Match, a.Interface}), func(next *config.Config) error {
		next.AltSrcHosts = append(next.AltSrcHosts, a)
		return nil
	})
}

func (f Configuration) editSource(_ context.Context, c *Call) error {
	a, err := f.askMapping(c)
	if err != nil {
		return err
	}
	return f.changeSources(c, "edit altsrchost "+quoted([]string{a.Match, a.Interface}), func(next *config.Config) error {
		i := findSource(next, a.Match)
		if i < 0 {
			return errs.New(errs.NotFound, "There is no mapping for %s", Clip(a.Match, 60))
		}
		next.AltSrcHosts[i] = a
		return nil
	})
}

func (f Configuration) deleteSource(_ context.Context, c *Call) error {
	match, err := c.Ask("Enter the sender, domain, address or network of the mapping:", "")
	if err != nil {
		return err
	}
	return f.changeSources(c, "delete altsrchost "+quoted([]string{match}), func(next *config.Config) error {
		i := findSource(next, match)
		if i < 0 {
			return errs.New(errs.NotFound, "There is no mapping for %s", Clip(match, 60))
		}
		next.AltSrcHosts = slices.Delete(next.AltSrcHosts, i, i+1)
		return nil
	})
}

// changeSources refuses what a commit would.
func (f Configuration) changeSources(c *Call, what string, change func(*config.Config) error) error {
	err := f.Store.Change(c.Principal, what, func(next *config.Config) error {
		if err := change(next); err != nil {
			return err
		}
		rules := make([]delivery.SourceRule, len(next.AltSrcHosts))
		for i, a := range next.AltSrcHosts {
			rules[i] = delivery.SourceRule{Match: a.Match, Interface: a.Interface}
		}
		_, _, err := delivery.NewSources(rules)
		return err
	})
	if err == nil {
		c.Printf(pendingNote)
	}
	return err
}
