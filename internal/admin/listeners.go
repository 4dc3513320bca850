package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/access"
	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// listenerCommands are those about who may connect and deliver.
func (f Configuration) listenerCommands() []Command {
	return []Command{
		{Name: "listenerconfig", Summary: "Change the listeners, their HAT and their RAT", Usage: listenerUsage, Right: auth.ConfigChange, MaxArgs: -1, Input: true, Run: f.listeners},
		{Name: "reputationconfig", Summary: "Show and change where reputation scores come from", Usage: "reputationconfig\nreputationconfig none\nreputationconfig file PATH\nreputationconfig dns ZONE",
			Right: auth.ConfigChange, MaxArgs: 2, Run: f.reputation},
	}
}

const listenerUsage = `listenerconfig
listenerconfig new NAME public|private INTERFACE PORT [DOMAIN,...]
listenerconfig edit NAME setup INTERFACE PORT QUEUE
listenerconfig edit NAME name NEWNAME
listenerconfig edit NAME hostaccess print|export|reset
listenerconfig edit NAME hostaccess import          (the table is read from the input)
listenerconfig edit NAME hostaccess new sendergroup GROUP POLICY [ENTRY,... [BEFORE]]
listenerconfig edit NAME hostaccess new policy POLICY ACTION [PARAMETERS]
listenerconfig edit NAME hostaccess edit sendergroup GROUP add|remove ENTRY,...
listenerconfig edit NAME hostaccess edit sendergroup GROUP policy POLICY
listenerconfig edit NAME hostaccess edit policy POLICY ACTION [PARAMETERS]
listenerconfig edit NAME hostaccess delete sendergroup|policy NAME
listenerconfig edit NAME hostaccess move GROUP BEFORE
listenerconfig edit NAME rcptaccess print|export
listenerconfig edit NAME rcptaccess import          (the table is read from the input)
listenerconfig edit NAME rcptaccess new|edit ADDRESS ACCEPT|REJECT [RESPONSE]
listenerconfig edit NAME rcptaccess delete ADDRESS
listenerconfig edit NAME rcptaccess move ADDRESS BEFORE
listenerconfig delete NAME`

// menu shows choices until nobody wants any more, and runs one. What makes no
// sense is said, and the menu comes again.
func (c *Call) menu(show func(), run func(word string) error, choices ...Choice) error {
	for {
		if len(c.Args) == 0 && !c.Batch {
			show()
		}
		word, err := c.Menu(choices...)
		if err != nil || word == "" {
			return err
		}
		err = run(word)
		switch {
		case err != nil && !c.Batch && isUsage(badArguments(err)):
			c.Printf("%s\n", Plain(sentence(err)))
		case err != nil || c.Batch:
			return err
		}
	}
}

func (f Configuration) listeners(_ context.Context, c *Call) error {
	show := func() {
		conf, _ := f.Store.Pending()
		c.Printf("\nCurrently configured listeners:\n")
		for i, n := range visibleNames(conf) {
			l := conf.Listener(n)
			c.Printf("%d. %s (on %s, %s) %s TCP Port %d %s\n", i+1, Plain(n), Plain(l.Interface), Plain(conf.InterfaceIP(l.Interface)), l.Protocol, l.Port, title(l.Type))
		}
	}
	return c.menu(show, func(word string) error {
		switch word {
		case "new":
			return f.newListener(c)
		case "edit":
			return f.editListener(c)
		}
		return f.deleteListener(c)
	}, Choice{"NEW", "Create a new listener."}, Choice{"EDIT", "Modify a listener."}, Choice{"DELETE", "Remove a listener."})
}

// visibleNames leaves the hidden listener out of the menus, and only there.
func visibleNames(conf *config.Config) []string {
	var names []string
	for _, l := range conf.Listeners {
		if l.Protocol != "CPQ" {
			names = append(names, l.Name)
		}
	}
	return names
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// pickListener gives a name that is there; the hidden one goes by its name.
func (f Configuration) pickListener(c *Call, what string) (string, error) {
	conf, _ := f.Store.Pending()
	names := visibleNames(conf)
	menu := ""
	for i, n := range names {
		menu += "\n" + strconv.Itoa(i+1) + ". " + Plain(n)
	}
	answer, err := c.Ask("Enter the name or number of the listener you wish to "+what+"."+menu, "")
	if err != nil {
		return "", err
	}
	if n, err := strconv.Atoi(answer); err == nil && n >= 1 && n <= len(names) && conf.Listener(answer) == nil {
		return names[n-1], nil
	}
	if conf.Listener(answer) == nil {
		return "", Usage("there is no listener %q", answer)
	}
	return answer, nil
}

func (f Configuration) newListener(c *Call) error {
	l := config.Listener{Protocol: "SMTP", Backlog: config.DefaultBacklog}
	var err error
	if l.Name, err = c.Ask("Please create a name for this listener (Ex: \"OutboundMail\"):", ""); err != nil {
		return err
	}
	i, err := c.Pick("Please select the type of listener.", []string{string(access.Public), string(access.Private)}, 0)
	if err != nil {
		return err
	}
	kind := []access.Kind{access.Public, access.Private}[i]
	l.Type, l.HAT = string(kind), access.DefaultHAT(kind).String()
	if err := f.askAddress(c, &l); err != nil {
		return err
	}
	if kind == access.Public {
		if l.RAT, err = askAcceptedDomains(c); err != nil {
			return err
		}
	}
	return f.changed(c, "new listener "+quoted([]string{l.Name, l.Type, l.Interface, strconv.Itoa(l.Port)}), func(next *config.Config) error {
		if next.Listener(l.Name) != nil {
			return errs.New(errs.Conflict, "There is a listener %s already", strconv.Quote(l.Name))
		}
		at := slices.IndexFunc(next.Listeners, func(o config.Listener) bool { return o.Protocol == "CPQ" })
		next.Listeners = slices.Insert(next.Listeners, max(at, 0), l) // the hidden one stays last
		return nil
	})
}

// askAcceptedDomains asks for whom a new public listener takes mail.
func askAcceptedDomains(c *Call) ([]access.RATEntry, error) {
	answer, err := c.Ask("Enter the domains you want to accept mail for, separated by commas. Partial domains such as .example.com are allowed.", "")
	if err != nil {
		return nil, err
	}
	var rat []access.RATEntry
	for _, d := range commaList(answer) {
		rat = append(rat, access.RATEntry{Address: d, Access: "ACCEPT"})
	}
	return append(rat, access.RATEntry{Address: access.All, Access: "REJECT"}), nil
}

// commaList splits at commas.
func commaList(s string) []string {
	var out []string
	for _, w := range strings.Split(s, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// askAddress asks where a listener listens, with what it had as default.
func (f Configuration) askAddress(c *Call, l *config.Listener) error {
	conf, _ := f.Store.Pending()
	names, at := make([]string, len(conf.Interfaces)), 0
	for i, n := range conf.Interfaces {
		if names[i] = n.Name; n.Name == l.Interface {
			at = i
		}
	}
	i, err := c.Pick("Please choose an IP interface for this listener.", names, at)
	if err != nil {
		return err
	}
	l.Interface = names[i]
	if l.Port == 0 {
		l.Port = 25
	}
	l.Port, err = c.askNumber("Enter the TCP port for this listener.", l.Port, 65535)
	return err
}

// askNumber asks for a whole number from 1.
func (c *Call) askNumber(question string, def, most int) (int, error) {
	answer, err := c.Ask(question, strconv.Itoa(def))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(answer)
	if err != nil || n < 1 || n > most {
		return 0, Usage("%q is not a number from 1 to %d", answer, most)
	}
	return n, nil
}

func (f Configuration) editListener(c *Call) error {
	name, err := f.pickListener(c, "edit")
	if err != nil {
		return err
	}
	show := func() {
		conf, _ := f.Store.Pending()
		if l := conf.Listener(name); l != nil {
			c.Printf("\nName: %s\nType: %s\nInterface: %s (%s) TCP Port %d\nProtocol: %s\nListen Queue Size: %d\nHAT: %d lines   RAT: %d entries\n", Plain(name), title(l.Type), Plain(l.Interface),
				Plain(conf.InterfaceIP(l.Interface)), l.Port, l.Protocol, l.Backlog, strings.Count(l.HAT, "\n"), len(l.RAT))
		}
	}
	return c.menu(show, func(word string) error {
		switch word {
		case "name":
			renamed, err := f.renameListener(c, name)
			name = renamed
			return err
		case "setup":
			return f.setupListener(c, name)
		case "hostaccess":
			return f.hostAccess(c, name)
		}
		return f.rcptAccess(c, name)
	}, Choice{"NAME", "Change the name of the listener."}, Choice{"SETUP", "Change the interface, the port and the length of the queue."},
		Choice{"HOSTACCESS", "Modify the Host Access Table."}, Choice{"RCPTACCESS", "Modify the Recipient Access Table."})
}

func (f Configuration) renameListener(c *Call, name string) (string, error) {
	to, err := c.Ask("Enter the new name of the listener.", name)
	if err != nil || to == name {
		return name, err
	}
	err = f.changeListener(c, "rename listener "+quoted([]string{name, to}), name, func(l *config.Listener) error {
		l.Name = to
		return nil
	})
	if err != nil {
		return name, err
	}
	return to, nil
}

func (f Configuration) setupListener(c *Call, name string) error {
	conf, _ := f.Store.Pending()
	l := *conf.Listener(name)
	if err := f.askAddress(c, &l); err != nil {
		return err
	}
	var err error
	if l.Backlog, err = c.askNumber("Enter the length of the queue of connections that wait to be accepted.", l.Backlog, 65535); err != nil {
		return err
	}
	return f.changeListener(c, "edit listener "+quoted([]string{name, l.Interface, strconv.Itoa(l.Port), strconv.Itoa(l.Backlog)}), name, func(next *config.Listener) error {
		next.Interface, next.Port, next.Backlog = l.Interface, l.Port, l.Backlog
		return nil
	})
}

func (f Configuration) deleteListener(c *Call) error {
	name, err := f.pickListener(c, "delete")
	if err != nil {
		return err
	}
	return f.changed(c, "delete listener "+quoted([]string{name}), func(next *config.Config) error {
		next.Listeners = slices.DeleteFunc(next.Listeners, func(l config.Listener) bool { return l.Name == name })
		return nil
	})
}

// rest asks for what may be several words: without quotes too they are what is
// left of the line.
func (c *Call) rest(question, def string) (string, error) {
	if len(c.Args) > 1 {
		c.Args = []string{strings.Join(c.Args, " ")}
	}
	return c.Ask(question, def)
}

// nothingLeft refuses a line with more words than there were questions.
func (c *Call) nothingLeft() error {
	if len(c.Args) > 0 {
		return Usage("%q is too much", Clip(strings.Join(c.Args, " "), 60))
	}
	return nil
}

// changed makes a change pending and says what is left to do.
func (f Configuration) changed(c *Call, what string, change func(next *config.Config) error) error {
	if err := c.nothingLeft(); err != nil {
		return err
	}
	if err := f.Store.Change(c.Principal, what, change); err != nil {
		return err
	}
	c.Printf("Commit to put this in force.\n")
	return nil
}

// changeListener makes a change of one listener pending.
func (f Configuration) changeListener(c *Call, what, name string, change func(l *config.Listener) error) error {
	return f.changed(c, what, func(next *config.Config) error {
		l := next.Listener(name)
		if l == nil {
			return errs.New(errs.NotFound, "The listener %s does not exist any more", strconv.Quote(name))
		}
		return change(l)
	})
}

// reputation shows and changes where the scores come from.
func (f Configuration) reputation(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	now := conf.Reputation
	if now.Source == "" {
		now.Source = "none"
	}
	if len(c.Args) == 0 {
		c.Printf("Reputation scores: %s\n", strings.TrimSpace(now.Source+" "+Plain(now.File+now.Zone)))
		if c.Batch {
			return nil
		}
	}
	i, err := c.Pick("Where do reputation scores come from?", []string{"none", "file", "dns"}, max(slices.Index([]string{"none", "file", "dns"}, now.Source), 0))
	if err != nil {
		return err
	}
	next := config.Reputation{Source: []string{"none", "file", "dns"}[i]}
	switch next.Source {
	case "file":
		next.File, err = c.Ask("Enter the path of the file, absolute or below the appliance's directory.", now.File)
	case "dns":
		next.Zone, err = c.Ask("Enter the zone of the score service (Ex: \"score.example.com\"):", now.Zone)
	}
	if err != nil {
		return err
	}
	return f.changed(c, "reputation "+quoted([]string{next.Source, next.File + next.Zone}), func(conf *config.Config) error {
		conf.Reputation = next
		return nil
	})
}
