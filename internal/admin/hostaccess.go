package admin

import (
	"strings"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// maxTable bounds a table that is pasted; the table's own parser is stricter.
const maxTable = 4 << 20

// hostAccess is the menu about the HAT of one listener.
func (f Configuration) hostAccess(c *Call, name string) error {
	show := func() {
		if h, err := f.hat(name); err == nil {
			c.Printf("\nThere are currently %d policies defined.\nThere are currently %d sender groups.\n", len(h.Policies()), len(h.Groups()))
			for i, g := range h.Groups() {
				c.Printf("%d. %s ($%s, %d entries)\n", i+1, g.Name, g.Policy, len(g.Entries))
			}
		}
	}
	return c.menu(show, func(word string) error {
		switch word {
		case "new":
			return f.newHostAccess(c, name)
		case "edit":
			return f.editHostAccess(c, name)
		case "delete":
			return f.deleteHostAccess(c, name)
		case "move":
			return f.moveGroup(c, name)
		case "import":
			return f.importHAT(c, name)
		case "reset":
			return f.resetHAT(c, name)
		}
		h, err := f.hat(name) // print and export: the same text
		if err == nil {
			err = c.nothingLeft()
		}
		if err == nil {
			c.Printf("%s", h)
		}
		return err
	}, Choice{"NEW", "Create a sender group or a mail flow policy."}, Choice{"EDIT", "Modify a sender group or a mail flow policy."},
		Choice{"DELETE", "Remove a sender group or a mail flow policy."}, Choice{"MOVE", "Move a sender group."}, Choice{"PRINT", "Display the table."},
		Choice{"IMPORT", "Read the whole table."}, Choice{"EXPORT", "Write the table as it is imported."}, Choice{"RESET", "Go back to the table of a new listener."})
}

// hat gives the pending table of a listener.
func (f Configuration) hat(name string) (*access.HAT, error) {
	conf, _ := f.Store.Pending()
	l := conf.Listener(name)
	if l == nil {
		return nil, errs.New(errs.NotFound, "The listener %q does not exist any more", Clip(name, 60))
	}
	return access.ParseHAT(l.HAT)
}

// changeHAT puts an edited table in place of the pending one.
func (f Configuration) changeHAT(c *Call, name string, words []string, edit func(h *access.HAT) (*access.HAT, error)) error {
	return f.changeListener(c, "HAT of "+quoted(append([]string{name}, words...)), name, func(l *config.Listener) error {
		h, err := access.ParseHAT(l.HAT)
		if err != nil {
			return err
		}
		if h, err = edit(h); err != nil {
			return err
		}
		l.HAT = h.String()
		return nil
	})
}

var kinds = []string{"sendergroup", "policy"}

func (f Configuration) newHostAccess(c *Call, name string) error {
	i, err := c.Pick("What do you want to create?", kinds, 0)
	if err != nil {
		return err
	}
	what, err := c.Ask("Enter a name for it, such as PARTNERS:", "")
	if err != nil {
		return err
	}
	if kinds[i] == "policy" {
		h, err := f.hat(name)
		if err != nil {
			return err
		}
		if _, there := policyOf(h, what); there {
			return errs.New(errs.Conflict, "There is a policy $%s already", Clip(what, 40))
		}
		return f.putPolicy(c, name, what, access.Policy{Name: what, Action: access.Accept})
	}
	g := access.Group{Name: what}
	if g.Policy, err = c.Ask("Enter the mail flow policy of the group.", "ACCEPTED"); err != nil {
		return err
	}
	g.Policy = strings.TrimPrefix(g.Policy, "$")
	entries, err := c.Ask("Enter the entries, separated by commas (addresses, ranges, networks, hosts, .domains, sbrs[low:high], dnslist[zone]).", "")
	if err != nil {
		return err
	}
	for _, e := range commaList(entries) {
		g.Entries = append(g.Entries, access.Entry{Text: e})
	}
	before, err := c.Ask("Enter the group in front of which it stands.", access.All)
	if err != nil {
		return err
	}
	return f.changeHAT(c, name, []string{"new", "sendergroup", g.Name, g.Policy, entries, before}, func(h *access.HAT) (*access.HAT, error) { return h.WithGroup(g, before) })
}

func policyOf(h *access.HAT, name string) (access.Policy, bool) {
	for _, p := range h.Policies() {
		if p.Name == name {
			return p, true
		}
	}
	return access.Policy{}, false
}

// putPolicy asks for what a policy is, with what it was as default.
func (f Configuration) putPolicy(c *Call, name, policy string, old access.Policy) error {
	action, err := c.Ask("Enter the behavior: ACCEPT, RELAY, REJECT, TCPREFUSE or CONTINUE.", old.Action.String())
	if err != nil {
		return err
	}
	params, err := c.rest("Enter the parameters, such as max_rcpts_per_hour = 20, tls = required; none to have none.", old.Params.String())
	if err != nil {
		return err
	}
	if strings.EqualFold(params, "none") {
		params = ""
	}
	// The braces are ours: one in the text would end them (and is in no value but a quoted one).
	body := strings.ToUpper(action) + " {" + params + "}"
	return f.changeHAT(c, name, []string{"policy", policy, body}, func(h *access.HAT) (*access.HAT, error) { return h.WithPolicy(policy, body) })
}

func (f Configuration) editHostAccess(c *Call, name string) error {
	h, err := f.hat(name)
	if err != nil {
		return err
	}
	i, err := c.Pick("What do you want to edit?", kinds, 0)
	if err != nil {
		return err
	}
	what, err := c.Ask("Enter its name.", "")
	if err != nil {
		return err
	}
	if kinds[i] == "policy" {
		what = strings.TrimPrefix(what, "$")
		old, there := policyOf(h, what)
		if !there {
			return errs.New(errs.NotFound, "The policy $%s does not exist", Clip(what, 40))
		}
		return f.putPolicy(c, name, what, old)
	}
	for _, g := range h.Groups() {
		if g.Name == what {
			return f.editGroup(c, name, g)
		}
	}
	return errs.New(errs.NotFound, "The sender group %s does not exist", Clip(what, 40))
}

func (f Configuration) editGroup(c *Call, name string, g access.Group) error {
	how, err := c.Pick("What do you want to do with the group?", []string{"add", "remove", "policy"}, 0)
	if err != nil {
		return err
	}
	if how == 2 {
		policy, err := c.Ask("Enter the mail flow policy of the group.", g.Policy)
		if err != nil {
			return err
		}
		policy = strings.TrimPrefix(policy, "$")
		return f.changeHAT(c, name, []string{"edit", g.Name, "policy", policy}, func(h *access.HAT) (*access.HAT, error) { return h.SetPolicy(g.Name, policy, g.Comment) })
	}
	answer, err := c.Ask("Enter the entries, separated by commas.", "")
	if err != nil {
		return err
	}
	entries := commaList(answer)
	if len(entries) == 0 {
		return Usage("an entry is needed")
	}
	return f.changeHAT(c, name, []string{"edit", g.Name, []string{"add", "remove"}[how], answer}, func(h *access.HAT) (*access.HAT, error) {
		for _, e := range entries {
			var err error
			if how == 0 {
				h, err = h.With(g.Name, e, "")
			} else {
				h, err = removeEntry(h, g, e)
			}
			if err != nil {
				return nil, err
			}
		}
		return h, nil
	})
}

func removeEntry(h *access.HAT, g access.Group, entry string) (*access.HAT, error) {
	for _, e := range g.Entries {
		if e.Text == entry {
			return h.Without(g.Name, entry)
		}
	}
	return nil, errs.New(errs.NotFound, "The sender group %s has no entry %s", g.Name, Clip(entry, 60))
}

func (f Configuration) deleteHostAccess(c *Call, name string) error {
	i, err := c.Pick("What do you want to delete?", kinds, 0)
	if err != nil {
		return err
	}
	what, err := c.Ask("Enter its name.", "")
	if err != nil {
		return err
	}
	return f.changeHAT(c, name, []string{"delete", kinds[i], what}, func(h *access.HAT) (*access.HAT, error) {
		if kinds[i] == "policy" {
			return h.WithoutPolicy(strings.TrimPrefix(what, "$"))
		}
		return h.WithoutGroup(what)
	})
}

func (f Configuration) moveGroup(c *Call, name string) error {
	what, err := c.Ask("Enter the name of the sender group to move.", "")
	if err != nil {
		return err
	}
	before, err := c.Ask("Enter the group in front of which it shall stand.", access.All)
	if err != nil {
		return err
	}
	return f.changeHAT(c, name, []string{"move", what, before}, func(h *access.HAT) (*access.HAT, error) { return h.MoveGroup(what, before) })
}

// importHAT overwrites the whole table (reference 7.1).
func (f Configuration) importHAT(c *Call, name string) error {
	text, err := readLines(c, "Enter the Host Access Table.  Enter '.' on its own line to end.\n", maxTable)
	if err != nil {
		return err
	}
	h, err := access.ParseHAT(text)
	if err != nil {
		return err
	}
	if err := f.changeHAT(c, name, []string{"import"}, func(*access.HAT) (*access.HAT, error) { return h, nil }); err != nil {
		return err
	}
	c.Printf("%d policies and %d sender groups imported.\n", len(h.Policies()), len(h.Groups()))
	return nil
}

func (f Configuration) resetHAT(c *Call, name string) error {
	sure, err := c.Confirm("Are you sure you want to replace the table by that of a new listener?", c.Batch)
	if err != nil || !sure {
		return err
	}
	return f.changeListener(c, "HAT of "+quoted([]string{name, "reset"}), name, func(l *config.Listener) error {
		if l.Protocol == "CPQ" {
			return errs.New(errs.Conflict, "The table of %s lists the peers that pairing admitted", l.Name)
		}
		l.HAT = access.DefaultHAT(access.Kind(l.Type)).String()
		return nil
	})
}
