package admin

import (
	"context"

	"lazaret/internal/errs"
	"lazaret/internal/filter"
)

// filterQuarantines says which filters name a quarantine, or any: what an
// administrator wants to know before one is deleted or renamed (reference 1.6).
func (f Configuration) filterQuarantines(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	set, err := filter.Parse(conf.Filters)
	if err != nil {
		return errs.New(errs.Invalid, "%s", err)
	}
	name := ""
	if len(c.Args) > 0 {
		name = c.Take()
	}
	found := false
	for _, u := range append(set.Uses(), conf.ContentUses()...) {
		if name != "" && u.Quarantine != name {
			continue
		}
		found = true
		c.Printf("%-20s %s", Plain(u.Quarantine), Plain(u.Filter))
		if !u.Active {
			c.Printf(" (inactive)")
		}
		c.Printf("\n")
	}
	if !found {
		c.Printf("No filter names it.\n")
	}
	return nil
}
