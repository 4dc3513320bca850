package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// Configuration is what the commands about settings work on.
type Configuration struct {
	Store *config.Store
	Clock func() time.Time // nil: time.Now
	// CPQState is where the hidden listener stands; nil: not shown.
	CPQState func() string
	Link     Link                              // our CPQ certificate; nil: not shown
	Tell     func(context.Context) []string    // exchanges with all peers now; nil: they ask us
	Keys     Certificates                      // nil: no certconfig
	Dir      string                            // of the appliance: relative names are below it
	ReadFile func(name string) ([]byte, error) // nil: no import from files
	FlushDNS func()                            // forgets what DNS servers said; nil: no dnsflush
}

// Commands gives showconfig, commit, clearchanges, interfaceconfig and filters. The
// store audits changes itself, in its own words.
func (f Configuration) Commands() []Command {
	if f.Clock == nil {
		f.Clock = time.Now
	}
	return slices.Concat(f.filterCommands(), f.dnsCommands(), f.metricsCommands(), f.certCommands(), f.listenerCommands(), []Command{
		{Name: "passwd", Summary: "Change a password", Usage: "passwd\npasswd USER   (the passwords are read from the input: the old one for your own, then the new one twice)",
			Right: auth.Login, MaxArgs: 1, Input: true, Run: f.passwd},
		{Name: "cpqconfig", Summary: "Show and change where CPQ connections are taken, and renew the CPQ certificate",
			Usage: "cpqconfig\ncpqconfig port NUMBER\ncpqconfig interface NAME\ncpqconfig rotate\ncpqconfig retire" + f.cpqUsage(),
			Right: auth.ConfigChange, MaxArgs: 2, Run: f.cpq},
		f.sslCommand(),
		{Name: "smtpauthconfig", Summary: "Keep the users who may send mail after SMTP AUTH", Usage: smtpAuthUsage,
			Right: auth.UserConfig, MaxArgs: 2, Input: true, Run: f.smtpAuth},
		{Name: "showconfig", Summary: "Show the configuration that is in force", Usage: "showconfig", Right: auth.ConfigView, MaxArgs: 1, Run: f.show},
		{Name: "commit", Summary: "Put changes in force", Usage: "commit [-y | \"COMMENT\" [Y]]", Right: auth.ConfigChange, MaxArgs: 2, Run: f.commit},
		{Name: "clearchanges", Summary: "Drop changes that were not committed", Usage: "clearchanges [Y]", Right: auth.ConfigChange, MaxArgs: 1, Run: f.clear},
		{Name: "interfaceconfig", Summary: "Name the local addresses", Usage: "interfaceconfig\ninterfaceconfig new NAME IP HOSTNAME\ninterfaceconfig edit NAME IP HOSTNAME\ninterfaceconfig delete NAME",
			Right: auth.ConfigChange, MaxArgs: 4, Run: f.interfaces},
	})
}

// show asks what clients know how to answer (clients 2.3): on a gateway 1 to 3,
// on a manager Y or N. Passphrases are kept as hashes only, so 2 and 3 are the
// same; who may not keep users sees none. Executed, it shows them masked.
func (f Configuration) show(_ context.Context, c *Call) error {
	conf := f.Store.Committed()
	mask := true
	if conf.Role == string(config.Manager) {
		yes, err := c.Confirm("Do you want to mask the password? Files with masked passwords cannot be loaded\nusing loadconfig command.", true)
		if err != nil {
			return err
		}
		mask = yes
	} else {
		answer, err := c.Ask("Choose the passphrase option:\n1. Mask passphrases (Files with masked passphrases cannot be loaded using\nloadconfig command)\n2. Encrypt passphrases\n3. Plain passphrases", "1")
		if err != nil {
			return err
		}
		switch answer {
		case "1", "2", "3":
			mask = answer == "1"
		default:
			return Usage("%q is not 1, 2 or 3", answer)
		}
	}
	if !auth.Can(c.Principal.Role, auth.UserConfig) {
		mask = true
	}
	c.Printf("%s", conf.Text(mask))
	return nil
}

// commit is worded as clients expect it. There is no rollback point to ask for;
// the Y that scripts give for it is taken and means nothing.
func (f Configuration) commit(_ context.Context, c *Call) error {
	if _, pending := f.Store.Pending(); !pending {
		return config.ErrNothing
	}
	comment := ""
	if opt, err := c.options("-y"); err != nil {
		return err
	} else if !opt.has("-y") {
		if comment, err = c.Ask("\nPlease enter some comments describing your changes:", ""); err != nil {
			return err
		}
	}
	when, err := f.Store.Commit(c.Principal, comment)
	if err != nil {
		return err
	}
	c.Printf("\nChanges committed: %s\n", stamp(when))
	return nil
}

func (f Configuration) clear(_ context.Context, c *Call) error {
	sure, err := c.Confirm("Are you sure you want to clear all changes since the last commit?", c.Batch)
	if err != nil || !sure {
		return err
	}
	if !f.Store.Clear(c.Principal) {
		c.Printf("There are no changes to clear.\n")
		return nil
	}
	c.Printf("Changes cleared: %s\n", stamp(f.Clock()))
	return nil
}

func (f Configuration) interfaces(_ context.Context, c *Call) error {
	for {
		conf, _ := f.Store.Pending()
		if len(c.Args) == 0 {
			c.Printf("\nCurrently configured interfaces:\n")
			for i, n := range conf.Interfaces {
				c.Printf("%d. %s (%s: %s)\n", i+1, Plain(n.Name), Plain(n.IP), Plain(n.Hostname))
			}
		}
		word, err := c.Menu(Choice{"NEW", "Create a new interface."}, Choice{"EDIT", "Modify an interface."}, Choice{"DELETE", "Remove an interface."})
		if err != nil || word == "" {
			return err
		}
		switch word {
		case "new":
			err = f.newInterface(c)
		case "edit":
			err = f.editInterface(c, conf)
		case "delete":
			err = f.deleteInterface(c, conf)
		}
		if err == nil {
			c.Printf("Commit to put this in force.\n")
		}
		err = badArguments(err)
		if err != nil && !c.Batch && isUsage(err) {
			c.Printf("%s\n", Plain(sentence(err))) // said, and the menu comes again
			continue
		}
		if err != nil || c.Batch {
			return err
		}
	}
}

// askInterface asks for what an interface has, with what it had as default.
func askInterface(c *Call, old config.Interface) (config.Interface, error) {
	n := old
	var err error
	if n.IP, err = c.Ask("IP Address (Ex: 192.168.1.2):", old.IP); err != nil {
		return n, err
	}
	n.Hostname, err = c.Ask("Hostname:", old.Hostname)
	return n, err
}

func (f Configuration) newInterface(c *Call) error {
	name, err := c.Ask("Please enter a name for this interface (Ex: \"InternalNet\"):", "")
	if err != nil {
		return err
	}
	if name == "" {
		return Usage("a name is needed")
	}
	n, err := askInterface(c, config.Interface{Name: name})
	if err != nil {
		return err
	}
	return f.Store.Change(c.Principal, "new interface "+quoted([]string{n.Name, n.IP, n.Hostname}), func(next *config.Config) error {
		next.Interfaces = append(next.Interfaces, n)
		return nil
	})
}

func pickInterface(c *Call, conf *config.Config, question string) (config.Interface, error) {
	names := make([]string, len(conf.Interfaces))
	for i, n := range conf.Interfaces {
		names[i] = n.Name
	}
	i, err := c.Pick(question, names, 0)
	if err != nil {
		return config.Interface{}, err
	}
	return conf.Interfaces[i], nil
}

// change applies f to the interface of that name in the pending configuration.
func (f Configuration) change(c *Call, what, name string, edit func(next *config.Config, i int)) error {
	return f.Store.Change(c.Principal, what, func(next *config.Config) error {
		i := slices.IndexFunc(next.Interfaces, func(n config.Interface) bool { return n.Name == name })
		if i < 0 {
			return errs.New(errs.NotFound, "The interface %s does not exist", strconv.Quote(name))
		}
		edit(next, i)
		return nil
	})
}

func (f Configuration) editInterface(c *Call, conf *config.Config) error {
	old, err := pickInterface(c, conf, "Enter the number of the interface you wish to edit.")
	if err != nil {
		return err
	}
	n, err := askInterface(c, old)
	if err != nil {
		return err
	}
	return f.change(c, "edit interface "+quoted([]string{n.Name, n.IP, n.Hostname}), old.Name, func(next *config.Config, i int) { next.Interfaces[i] = n })
}

func (f Configuration) deleteInterface(c *Call, conf *config.Config) error {
	old, err := pickInterface(c, conf, "Enter the number of the interface you wish to delete.")
	if err != nil {
		return err
	}
	return f.change(c, "delete interface "+quoted([]string{old.Name}), old.Name, func(next *config.Config, i int) {
		next.Interfaces = slices.Delete(next.Interfaces, i, i+1)
	})
}

// oneLine is used where a text of several lines is shown in a list.
func oneLine(s string, n int) string { return Clip(strings.Join(strings.Fields(s), " "), n) }
