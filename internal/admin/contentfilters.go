package admin

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// contentCommands change the content filters of a direction (reference 7.5).
// Which of them run for a mail policy is a setting of the policy.
func (f Configuration) contentCommands() []Command {
	const usage = `policyconfig filters
policyconfig filters new TABLE NAME [PARAMETER=VALUE...]
policyconfig filters edit TABLE NAME PARAMETER=VALUE...
policyconfig filters rename TABLE NAME NEWNAME
policyconfig filters move TABLE NAME POSITION
policyconfig filters delete TABLE NAME
policyconfig filters list [TABLE]
policyconfig filters print TABLE NAME

TABLE is inbound or outbound.  Parameters are description, active (yes, no), match (all, any: of the conditions), condition and
action; each condition or action is added to those there are, an empty one takes all of them away.  Conditions and actions are
those of message filters:
  policyconfig filters new inbound Offers "condition=body-contains(\"free offer\", 2)" "action=quarantine(\"Policy\")"
  policyconfig edit inbound DEFAULT content_filter=Offers`
	return []Command{
		{Name: "policyconfig filters", Summary: "Change the content filters", Usage: usage, Right: auth.ConfigChange, MaxArgs: 100, Run: f.contentFilters},
	}
}

func (f Configuration) contentFilters(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a new filter.", f.newContent},
		action{"edit", "Edit an existing filter.", f.editContent},
		action{"delete", "Delete a filter.", f.deleteContent},
		action{"rename", "Rename a filter.", f.renameContent},
		action{"move", "Reorder the filters.", f.moveContent},
		action{"print", "Print a filter.", f.printContent},
		action{"list", "List the filters.", f.listContent})
}

// pickContent reads the names of a table and of a filter that is there.
func (f Configuration) pickContent(c *Call) (config.ContentFilter, error) {
	table, name, err := askContent(c)
	if err != nil {
		return config.ContentFilter{}, err
	}
	conf, _ := f.Store.Pending()
	i := conf.FindContentFilter(table, name)
	if i < 0 {
		return config.ContentFilter{}, errs.New(errs.NotFound, "There is no %s content filter %s", table, Clip(name, 70))
	}
	return conf.ContentFilters[i], nil
}

func askContent(c *Call) (table, name string, err error) {
	if table, err = askTable(c); err != nil {
		return "", "", err
	}
	name, err = c.Ask("Enter the name of the content filter:", "")
	return table, name, err
}

// fillContent takes the parameters of a filter from the line, or asks.
func fillContent(c *Call, to *config.ContentFilter) error {
	if c.Batch || len(c.Args) > 0 {
		return fill(c, to)
	}
	for _, p := range to.Parameters()[:3] {
		answer, err := c.Ask("Enter "+p.Name+":", p.Value)
		if err == nil && answer != p.Value {
			err = to.Set(p.Name, answer)
		}
		if err != nil {
			return err
		}
	}
	for _, list := range []struct {
		name string
		to   *[]string
	}{{"condition", &to.Conditions}, {"action", &to.Actions}} {
		if err := askList(c, list.name, list.to); err != nil {
			return err
		}
	}
	return nil
}

// askList reads conditions or actions; a blank line ends them. Given none, those
// there are stay.
func askList(c *Call, name string, to *[]string) error {
	for i, text := range *to {
		c.Printf("%d. %s\n", i+1, Plain(text))
	}
	c.Printf("Enter each %s on its own line, enter a blank line to finish.\n", name)
	var all []string
	for {
		line, err := c.Line("")
		if err != nil {
			return err
		}
		if line = strings.TrimSpace(line); line == "" {
			break
		}
		all = append(all, line)
	}
	if len(all) > 0 {
		*to = all
	}
	return nil
}

func (f Configuration) newContent(_ context.Context, c *Call) error {
	table, name, err := askContent(c)
	if err != nil {
		return err
	}
	n := config.ContentFilter{Table: table, Name: name}
	if err := fillContent(c, &n); err != nil {
		return err
	}
	return f.changePolicies(c, "new "+table+" content filter "+name, func(next *config.Config) error {
		if next.FindContentFilter(table, name) >= 0 {
			return errs.New(errs.Conflict, "There is a %s content filter %s already; use edit", table, Clip(name, 70))
		}
		next.ContentFilters = append(slices.Clip(next.ContentFilters), n)
		return nil
	})
}

// changeContent makes a change to one filter pending.
func (f Configuration) changeContent(c *Call, what string, of config.ContentFilter, change func(*config.Config, int) error) error {
	return f.changePolicies(c, what+" "+of.Table+" content filter "+of.Name, func(next *config.Config) error {
		i := next.FindContentFilter(of.Table, of.Name)
		if i < 0 {
			return errs.New(errs.NotFound, "There is no %s content filter %s", of.Table, Clip(of.Name, 70))
		}
		next.ContentFilters = slices.Clone(next.ContentFilters)
		return change(next, i)
	})
}

func (f Configuration) editContent(_ context.Context, c *Call) error {
	old, err := f.pickContent(c)
	if err != nil {
		return err
	}
	n := old
	if err := fillContent(c, &n); err != nil {
		return err
	}
	return f.changeContent(c, "edit", old, func(next *config.Config, i int) error {
		next.ContentFilters[i] = n
		return nil
	})
}

// deleteContent also takes the filter out of the policies that run it.
func (f Configuration) deleteContent(_ context.Context, c *Call) error {
	old, err := f.pickContent(c)
	if err != nil {
		return err
	}
	return f.changeContent(c, "delete", old, func(next *config.Config, i int) error {
		next.ContentFilters = slices.Delete(next.ContentFilters, i, i+1)
		renameIn(next, old, nil)
		return nil
	})
}

func (f Configuration) renameContent(_ context.Context, c *Call) error {
	old, err := f.pickContent(c)
	if err != nil {
		return err
	}
	name, err := c.Ask("Enter the new name:", "")
	if err != nil {
		return err
	}
	return f.changeContent(c, "rename", old, func(next *config.Config, i int) error {
		if j := next.FindContentFilter(old.Table, name); j >= 0 && j != i {
			return errs.New(errs.Conflict, "There is a %s content filter %s already", old.Table, Clip(name, 70))
		}
		next.ContentFilters[i].Name = name
		renameIn(next, old, []string{name})
		return nil
	})
}

// renameIn puts other names, or none, in place of a filter in all policies.
func renameIn(next *config.Config, old config.ContentFilter, by []string) {
	next.MailPolicies = slices.Clone(next.MailPolicies)
	for i := range next.MailPolicies {
		p := &next.MailPolicies[i]
		at := slices.IndexFunc(p.Content, func(n string) bool { return strings.EqualFold(n, old.Name) })
		if p.Table == old.Table && at >= 0 {
			p.Content = slices.Replace(slices.Clone(p.Content), at, at+1, by...)
		}
	}
}

// moveContent counts positions among the filters of the direction.
func (f Configuration) moveContent(_ context.Context, c *Call) error {
	old, err := f.pickContent(c)
	if err != nil {
		return err
	}
	answer, err := c.Ask("Enter the new position:", "1")
	if err != nil {
		return err
	}
	to, err := strconv.Atoi(answer)
	if err != nil || to < 1 {
		return Usage("%q is not a position from 1 on", Clip(answer, 60))
	}
	return f.changeContent(c, "move", old, func(next *config.Config, i int) error {
		moved := next.ContentFilters[i]
		rest := slices.Delete(next.ContentFilters, i, i+1)
		at, n := len(rest), 1
		for k, o := range rest {
			if o.Table != old.Table {
				continue
			}
			if n == to {
				at = k
				break
			}
			n++
		}
		next.ContentFilters = slices.Insert(rest, at, moved)
		return nil
	})
}

func (f Configuration) printContent(_ context.Context, c *Call) error {
	old, err := f.pickContent(c)
	if err != nil {
		return err
	}
	for _, p := range old.Parameters() {
		c.Printf("%s=%s\n", p.Name, Plain(p.Value))
	}
	return nil
}

func (f Configuration) listContent(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	tables, err := tablesAsked(c)
	if err != nil {
		return err
	}
	for i, table := range tables {
		if i > 0 {
			c.Printf("\n")
		}
		c.Printf("Content filters, %s table:\n", table)
		n := 0
		for _, x := range conf.ContentFilters {
			if x.Table != table {
				continue
			}
			n++
			active := "active"
			if x.Inactive {
				active = "inactive"
			}
			c.Printf("%3d  %-30s %-9s %s\n", n, Plain(x.Name), active, Plain(x.Description))
			if err := c.Err(); err != nil {
				return err
			}
		}
		if n == 0 {
			c.Printf("There are none.\n")
		}
	}
	return nil
}
