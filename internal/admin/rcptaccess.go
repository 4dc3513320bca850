package admin

import (
	"slices"
	"strings"

	"lazaret/internal/access"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// rcptAccess is the menu about the RAT of one listener.
func (f Configuration) rcptAccess(c *Call, name string) error {
	show := func() {
		if r, err := f.rat(name); err == nil {
			c.Printf("\nThere are currently %d recipients.\n", len(r))
		}
	}
	return c.menu(show, func(word string) error {
		switch word {
		case "new", "edit":
			return f.putRecipient(c, name, word)
		case "delete":
			return f.deleteRecipient(c, name)
		case "move":
			return f.moveRecipient(c, name)
		case "import":
			return f.importRAT(c, name)
		}
		entries, err := f.rat(name) // print and export: the same text
		if err != nil {
			return err
		}
		r, err := access.NewRAT(entries)
		if err == nil {
			err = c.nothingLeft()
		}
		if err == nil {
			c.Printf("%s", r)
		}
		return err
	}, Choice{"NEW", "Create a new entry."}, Choice{"EDIT", "Modify an entry."}, Choice{"DELETE", "Remove an entry."}, Choice{"MOVE", "Move an entry."},
		Choice{"PRINT", "Display the table."}, Choice{"IMPORT", "Read the whole table."}, Choice{"EXPORT", "Write the table as it is imported."})
}

// rat gives the pending table of a listener.
func (f Configuration) rat(name string) ([]access.RATEntry, error) {
	conf, _ := f.Store.Pending()
	l := conf.Listener(name)
	if l == nil {
		return nil, errs.New(errs.NotFound, "The listener %q does not exist any more", Clip(name, 60))
	}
	return l.RAT, nil
}

// changeRAT puts an edited table in place of the pending one.
func (f Configuration) changeRAT(c *Call, name string, words []string, edit func(r []access.RATEntry) ([]access.RATEntry, error)) error {
	return f.changeListener(c, "RAT of "+quoted(append([]string{name}, words...)), name, func(l *config.Listener) error {
		next, err := edit(slices.Clone(l.RAT))
		if err != nil {
			return err
		}
		if _, err := access.NewRAT(next); err != nil {
			return err
		}
		l.RAT = next
		return nil
	})
}

func ratAt(r []access.RATEntry, address string) int {
	return slices.IndexFunc(r, func(e access.RATEntry) bool { return strings.EqualFold(e.Address, address) })
}

func noRecipient(address string) error {
	return errs.New(errs.NotFound, "The table has no entry %s", Clip(address, 60))
}

// putRecipient makes an entry, in front of ALL, or changes one.
func (f Configuration) putRecipient(c *Call, name, how string) error {
	e := access.RATEntry{Access: "ACCEPT"}
	var err error
	if e.Address, err = c.Ask("Enter the recipient: user@domain, domain, .domain, user@, an address in brackets, or ALL.", ""); err != nil {
		return err
	}
	now, err := f.rat(name)
	if err != nil {
		return err
	}
	at := ratAt(now, e.Address)
	switch {
	case how == "new" && at >= 0:
		return errs.New(errs.Conflict, "The table has an entry %s already", Clip(e.Address, 60))
	case how == "edit" && at < 0:
		return noRecipient(e.Address)
	case how == "edit":
		e = now[at]
	}
	if e.Access, err = c.Ask("Enter the action: ACCEPT or REJECT.", e.Access); err != nil {
		return err
	}
	e.Access = strings.ToUpper(e.Access)
	if e.Response, err = c.rest("Enter the SMTP response, such as 550 5.1.1 No such user; none to have our own words.", e.Response); err != nil {
		return err
	}
	if strings.EqualFold(e.Response, "none") {
		e.Response = ""
	}
	return f.changeRAT(c, name, []string{how, e.Address, e.Access, e.Response}, func(r []access.RATEntry) ([]access.RATEntry, error) {
		if at := ratAt(r, e.Address); how == "edit" && at >= 0 {
			r[at] = e
			return r, nil
		}
		end := len(r)
		if n := len(r); n > 0 && r[n-1].Address == access.All {
			end = n - 1
		}
		return slices.Insert(r, end, e), nil
	})
}

func (f Configuration) deleteRecipient(c *Call, name string) error {
	address, err := c.Ask("Enter the recipient of the entry to delete.", "")
	if err != nil {
		return err
	}
	return f.changeRAT(c, name, []string{"delete", address}, func(r []access.RATEntry) ([]access.RATEntry, error) {
		at := ratAt(r, address)
		if at < 0 {
			return nil, noRecipient(address)
		}
		return slices.Delete(r, at, at+1), nil
	})
}

func (f Configuration) moveRecipient(c *Call, name string) error {
	address, err := c.Ask("Enter the recipient of the entry to move.", "")
	if err != nil {
		return err
	}
	before, err := c.Ask("Enter the recipient of the entry in front of which it shall stand.", access.All)
	if err != nil {
		return err
	}
	return f.changeRAT(c, name, []string{"move", address, before}, func(r []access.RATEntry) ([]access.RATEntry, error) {
		at := ratAt(r, address)
		if at < 0 {
			return nil, noRecipient(address)
		}
		e := r[at]
		r = slices.Delete(r, at, at+1)
		to := ratAt(r, before)
		if to < 0 {
			return nil, noRecipient(before)
		}
		return slices.Insert(r, to, e), nil
	})
}

// importRAT overwrites the whole table.
func (f Configuration) importRAT(c *Call, name string) error {
	text, err := readLines(c, "Enter the Recipient Access Table.  Enter '.' on its own line to end.\n", maxTable)
	if err != nil {
		return err
	}
	r, err := access.ParseRAT(text)
	if err != nil {
		return err
	}
	if err := f.changeRAT(c, name, []string{"import"}, func([]access.RATEntry) ([]access.RATEntry, error) { return r.Entries(), nil }); err != nil {
		return err
	}
	c.Printf("%d recipients imported.\n", len(r.Entries()))
	return nil
}
