package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
)

// textCommands change the texts that filters name: disclaimers, and what notices
// say (reference 7.4). Changes are pending until commit.
func (f Configuration) textCommands() []Command {
	const usage = `textconfig
textconfig new NAME          (the text is read from the input, to a line with a lone .)
textconfig edit NAME         (so is the new text)
textconfig html NAME         (and the same for mail in HTML; an empty one takes it away)
textconfig delete NAME
textconfig print NAME
textconfig list

The actions add-heading, add-footer, notify and notify-copy of filters name texts.  A text may have the variables of filters,
such as $EnvelopeFrom and $Subject; $$ is a dollar sign.`
	return []Command{
		{Name: "textconfig", Summary: "Change the texts that filters put into mail", Usage: usage, Right: auth.ConfigChange, MaxArgs: 2, Input: true, Run: f.texts},
		{Name: "textconfig list", Summary: "List the texts that filters put into mail", Usage: "textconfig list", Right: auth.ConfigView, Run: f.listTexts},
		{Name: "textconfig print", Summary: "Print a text that filters put into mail", Usage: "textconfig print NAME", Right: auth.ConfigView, MaxArgs: 1, Run: f.printText},
	}
}

func (f Configuration) texts(ctx context.Context, c *Call) error {
	return c.actions(ctx,
		action{"new", "Create a new text.", f.newText},
		action{"edit", "Replace a text.", f.editText},
		action{"html", "Replace the form of a text for mail in HTML.", f.htmlText},
		action{"delete", "Remove a text.", f.deleteText},
		action{"print", "Print a text.", f.printText},
		action{"list", "List the texts.", f.listTexts})
}

func (f Configuration) listTexts(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	if len(conf.Texts) == 0 {
		c.Printf("No texts have been defined.\n")
		return nil
	}
	for i, t := range conf.Texts {
		html := ""
		if t.HTML != "" {
			html = ", HTML " + comma(len(t.HTML))
		}
		c.Printf("%d. %s (%s bytes%s)\n", i+1, Plain(t.Name), comma(len(t.Text)), html)
	}
	return nil
}

// pickText reads the name of one that is there.
func (f Configuration) pickText(c *Call) (config.TextResource, error) {
	name, err := c.Ask("Enter the name of the text:", "")
	if err != nil {
		return config.TextResource{}, err
	}
	conf, _ := f.Store.Pending()
	i := conf.FindText(name)
	if i < 0 {
		return config.TextResource{}, errs.New(errs.NotFound, "There is no text %s", Clip(name, 70))
	}
	return conf.Texts[i], nil
}

func (f Configuration) printText(_ context.Context, c *Call) error {
	t, err := f.pickText(c)
	if err != nil {
		return err
	}
	if err := printLines(c, t.Text); err != nil || t.HTML == "" {
		return err
	}
	c.Printf("--- HTML:\n")
	return printLines(c, t.HTML)
}

// printLines prints a text of lines.
func printLines(c *Call, text string) error {
	for _, line := range strings.SplitAfter(text, "\n") {
		if line != "" {
			c.Printf("%s\n", Plain(strings.TrimRight(line, "\r\n")))
		}
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (f Configuration) newText(_ context.Context, c *Call) error {
	name, err := c.Ask("Enter a name for the text:", "")
	if err != nil {
		return err
	}
	if err := filter.CheckResourceName(name); err != nil {
		return errs.New(errs.Invalid, "%s", err)
	}
	text, err := askText(c)
	if err != nil {
		return err
	}
	return f.changePolicies(c, "new text "+name, func(next *config.Config) error {
		if next.FindText(name) >= 0 {
			return errs.New(errs.Conflict, "There is a text %s already; use edit", Clip(name, 70))
		}
		next.Texts = append(slices.Clip(next.Texts), config.TextResource{Name: name, Text: text})
		return nil
	})
}

// askText reads a text and says at once what is wrong with it.
func askText(c *Call) (string, error) {
	text, err := readLines(c, "Enter the text.  Enter '.' on its own line to end.\n", filter.MaxResource)
	if err == nil {
		if bad := filter.CheckText(text); bad != nil {
			err = errs.New(errs.Invalid, "%s", bad)
		}
	}
	return text, err
}

func (f Configuration) editText(_ context.Context, c *Call) error {
	return f.replaceText(c, "edit text ", "plain")
}

func (f Configuration) htmlText(_ context.Context, c *Call) error {
	return f.replaceText(c, "edit HTML of text ", "html")
}

func (f Configuration) replaceText(c *Call, what, form string) error {
	t, err := f.pickText(c)
	if err != nil {
		return err
	}
	text, err := askText(c)
	if err != nil {
		return err
	}
	if err := t.Set(form, text); err != nil {
		return err
	}
	return f.changeText(c, what, t.Name, func(next *config.Config, i int) { next.Texts[i] = t })
}

func (f Configuration) deleteText(_ context.Context, c *Call) error {
	t, err := f.pickText(c)
	if err != nil {
		return err
	}
	return f.changeText(c, "delete text ", t.Name, func(next *config.Config, i int) { next.Texts = slices.Delete(next.Texts, i, i+1) })
}

func (f Configuration) changeText(c *Call, what, name string, change func(*config.Config, int)) error {
	return f.changePolicies(c, what+name, func(next *config.Config) error {
		i := next.FindText(name)
		if i < 0 {
			return errs.New(errs.NotFound, "There is no text %s", Clip(name, 70))
		}
		next.Texts = slices.Clone(next.Texts)
		change(next, i)
		return nil
	})
}
