package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// dictionaryCommands change the dictionaries that filters look into (reference
// 7.4). Changes are pending until commit.
func (f Configuration) dictionaryCommands() []Command {
	const usage = `dictionaryconfig
dictionaryconfig new NAME [case_sensitive=yes|no] [parts_of_words=yes|no] [TERM...]
dictionaryconfig edit NAME [case_sensitive=yes|no] [parts_of_words=yes|no] [add TERM...] [remove TERM...]
dictionaryconfig rename NAME NEWNAME
dictionaryconfig delete NAME
dictionaryconfig import NAME        (one term a line, read from the input; they replace those there are)
dictionaryconfig export NAME
dictionaryconfig list

A TERM is a word, a regular expression, or a smart identifier (*aba, *credit, *cusip, *iban, *ssn), and may have a weight
of 0 to 10 behind a comma: "secret, 5".`
	return []Command{
		{Name: "dictionaryconfig", Summary: "Change the content dictionaries", Usage: usage, Right: auth.ConfigChange, MaxArgs: 200, Input: true, Run: f.dictionaries},
		{Name: "dictionaryconfig list", Summary: "List the content dictionaries", Usage: "dictionaryconfig list", Right: auth.ConfigView, Run: f.listDictionaries},
		{Name: "dictionaryconfig export", Summary: "Print the terms of a dictionary, as import reads them", Usage: "dictionaryconfig export NAME", Right: auth.ConfigView, MaxArgs: 1, Run: f.exportDictionary},
	}
}

func (f Configuration) dictionaries(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a new content dictionary.", f.newDictionary},
		action{"edit", "Modify a content dictionary.", f.editDictionary},
		action{"delete", "Remove a content dictionary.", f.deleteDictionary},
		action{"rename", "Change the name of a content dictionary.", f.renameDictionary},
		action{"import", "Replace the terms of a dictionary.", f.importDictionary},
		action{"export", "Print the terms of a dictionary.", f.exportDictionary},
		action{"list", "List the dictionaries.", f.listDictionaries})
}

func (f Configuration) listDictionaries(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	if len(conf.Dictionaries) == 0 {
		c.Printf("No content dictionaries have been defined.\n")
		return nil
	}
	c.Printf("Currently configured content dictionaries:\n")
	for i, d := range conf.Dictionaries {
		c.Printf("%d. %s (%s terms)\n", i+1, Plain(d.Name), comma(len(d.Terms)))
	}
	return nil
}

// pickDictionary reads the name of one that is there.
func (f Configuration) pickDictionary(c *Call) (config.Dictionary, error) {
	name, err := c.Ask("Enter the name of the content dictionary:", "")
	if err != nil {
		return config.Dictionary{}, err
	}
	conf, _ := f.Store.Pending()
	i := conf.FindDictionary(name)
	if i < 0 {
		return config.Dictionary{}, errs.New(errs.NotFound, "There is no content dictionary %s", Clip(name, 70))
	}
	return conf.Dictionaries[i], nil
}

// putDictionary makes a changed dictionary pending; was is its name before, ""
// for a new one.
func (f Configuration) putDictionary(c *Call, what, was string, d config.Dictionary) error {
	return f.changePolicies(c, what+" content dictionary "+d.Name, func(next *config.Config) error {
		if d.Name != was && next.FindDictionary(d.Name) >= 0 {
			return errs.New(errs.Conflict, "There is a content dictionary %s already", Clip(d.Name, 70))
		}
		next.Dictionaries = slices.Clone(next.Dictionaries)
		if i := next.FindDictionary(was); i >= 0 {
			next.Dictionaries[i] = d
		} else {
			next.Dictionaries = append(next.Dictionaries, d)
		}
		return nil
	})
}

func (f Configuration) newDictionary(_ context.Context, c *Call) error {
	name, err := c.Ask("Enter a name for this content dictionary.", "")
	if err != nil {
		return err
	}
	d := config.Dictionary{Name: name}
	if c.Batch || len(c.Args) > 0 {
		if err := dictionaryWords(&d, c, "add"); err != nil {
			return err
		}
	} else if err := askTerms(&d, c); err != nil {
		return err
	}
	return f.putDictionary(c, "new", "", d)
}

// askTerms reads terms, a blank line ends them.
func askTerms(d *config.Dictionary, c *Call) error {
	c.Printf("Enter new words or regular expressions, enter a blank line to finish.\n")
	for {
		line, err := c.Line("")
		if err != nil || strings.TrimSpace(line) == "" {
			return err
		}
		if err := d.Add(line); err != nil {
			return err
		}
	}
}

// dictionaryWords takes parameters, and terms to add or remove.
func dictionaryWords(d *config.Dictionary, c *Call, mode string) error {
	for len(c.Args) > 0 {
		word := c.Take()
		name, value, is := strings.Cut(word, "=")
		var err error
		switch {
		case is && (name == "case_sensitive" || name == "parts_of_words"):
			err = d.Set(name, value)
		case word == "add" || word == "remove":
			mode = word
		case mode == "add":
			err = d.Add(word)
		case mode == "remove":
			err = d.Remove(word)
		default:
			err = Usage("%q is neither a parameter nor add nor remove", Clip(word, 60))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f Configuration) editDictionary(_ context.Context, c *Call) error {
	d, err := f.pickDictionary(c)
	if err != nil {
		return err
	}
	if c.Batch || len(c.Args) > 0 {
		err = dictionaryWords(&d, c, "")
	} else if err = fill(c, &d); err == nil {
		err = askTerms(&d, c)
	}
	if err != nil {
		return err
	}
	return f.putDictionary(c, "edit", d.Name, d)
}

func (f Configuration) renameDictionary(_ context.Context, c *Call) error {
	d, err := f.pickDictionary(c)
	if err != nil {
		return err
	}
	was := d.Name
	if d.Name, err = c.Ask("Enter the new name:", ""); err != nil {
		return err
	}
	return f.putDictionary(c, "rename "+was+" to", was, d)
}

// deleteDictionary removes one; filters that name it are invalid from then on,
// as those that name a listener which is gone.
func (f Configuration) deleteDictionary(_ context.Context, c *Call) error {
	d, err := f.pickDictionary(c)
	if err != nil {
		return err
	}
	return f.changePolicies(c, "delete content dictionary "+d.Name, func(next *config.Config) error {
		next.Dictionaries = slices.DeleteFunc(slices.Clone(next.Dictionaries), func(o config.Dictionary) bool { return o.Name == d.Name })
		return nil
	})
}

// maxImport is more than the largest dictionary has.
const maxImport = 4 << 20

func (f Configuration) importDictionary(_ context.Context, c *Call) error {
	d, err := f.pickDictionary(c)
	if err != nil {
		return err
	}
	text, err := readLines(c, "Enter one term a line, enter '.' on its own line to finish.\n", maxImport)
	if err != nil {
		return err
	}
	d.Terms = nil
	for _, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			d.Terms = append(d.Terms, line)
		}
	}
	return f.putDictionary(c, "import", d.Name, d)
}

func (f Configuration) exportDictionary(_ context.Context, c *Call) error {
	d, err := f.pickDictionary(c)
	if err != nil {
		return err
	}
	for _, t := range d.Terms {
		c.Printf("%s\n", Plain(t))
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}
