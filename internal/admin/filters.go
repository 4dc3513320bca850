package admin

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
)

// filterCommands works on the script as text, so that comments stay. Changes
// are pending until commit, like all others.
func (f Configuration) filterCommands() []Command {
	return []Command{
		{Name: "filters", Summary: "Change the message filters", Usage: "filters\nfilters new [NUMBER]    (the script is read from the input, to a line with a lone .)\nfilters delete NAME\nfilters move NAME POSITION    (from 1, or first or last)\nfilters set NAME active|inactive\nfilters import          (the whole script is read from the input: ssh admin@HOST filters import < FILE)\nfilters export          (prints the whole script: ssh admin@HOST filters export > FILE)",
			Right: auth.ConfigChange, MaxArgs: 3, Input: true, Run: f.filters},
		{Name: "filters list", Summary: "List the message filters", Usage: "filters list", Right: auth.ConfigView, Run: f.listFilters},
		{Name: "filters export", Summary: "Print the whole filter script, as import reads it", Usage: "filters export", Right: auth.ConfigView, Run: f.exportFilters},
		{Name: "filters quarantines", Summary: "Show which filters name a quarantine", Usage: "filters quarantines [NAME]", Right: auth.ConfigView, MaxArgs: 1, Run: f.filterQuarantines},
		{Name: "filters detail", Summary: "Show one message filter", Usage: "filters detail NAME", Right: auth.ConfigView, MaxArgs: 1, Run: f.detailFilter},
	}
}

// filterScript is a filter script and what it holds.
type filterScript struct {
	lines    []string
	list     []filter.Info
	warnings []filter.Warning
}

func readScript(text string, site filter.Site) (filterScript, error) {
	set, err := filter.Parse(text)
	if err != nil {
		return filterScript{}, errs.New(errs.Invalid, "%s", err)
	}
	return filterScript{lines: strings.SplitAfter(text, "\n"), list: set.For(site).List(), warnings: set.Warnings()}, nil
}

// site is what the pending configuration has for filters to name.
func (f Configuration) site() filter.Site {
	conf, _ := f.Store.Pending()
	return conf.Site()
}

func (f Configuration) script() (filterScript, error) {
	conf, _ := f.Store.Pending()
	return readScript(conf.Filters, conf.Site())
}

func (s filterScript) named(name string) (int, error) {
	if name == "" {
		return 0, Usage("the name of a filter is needed")
	}
	for i, n := range s.list {
		if n.Name == name {
			return i, nil
		}
	}
	return 0, errs.New(errs.NotFound, "The filter %s does not exist", Clip(name, 70))
}

// start gives the index of the line on which filter i begins, with the
// comments right above it; that of a filter behind the last is the end.
func (s filterScript) start(i int) int {
	if i >= len(s.list) {
		return len(s.lines)
	}
	n := s.list[i].Line - 1
	for n > 0 && strings.HasPrefix(strings.TrimSpace(s.lines[n-1]), "#") {
		n--
	}
	return n
}

func (s filterScript) text(from, to int) string { return strings.Join(s.lines[from:to], "") }

// alone reports whether filter i shares no line with another.
func (s filterScript) alone(i int) error {
	if i+1 < len(s.list) && s.list[i+1].Line == s.list[i].Line || i > 0 && s.list[i-1].Line == s.list[i].Line {
		return errs.New(errs.Conflict, "The filter %s shares a line with another; use filters import", s.list[i].Name)
	}
	return nil
}

func (f Configuration) listFilters(_ context.Context, c *Call) error {
	s, err := f.script()
	if err != nil {
		return err
	}
	if len(s.list) == 0 {
		c.Printf("No filters are defined.\n")
		return nil
	}
	c.Printf("Num Active Valid Name\n")
	for _, n := range s.list {
		active := "N"
		if n.Active {
			active = "Y"
		}
		valid := "Y"
		if n.Invalid != "" {
			valid = "N"
		}
		c.Printf("%3d %-6s %-5s %s\n", n.Number, active, valid, Plain(n.Name))
	}
	for _, n := range s.list {
		if n.Invalid != "" {
			c.Printf("%s is not valid and does not run: %s\n", Plain(n.Name), Plain(n.Invalid))
		}
	}
	return nil
}

func (f Configuration) detailFilter(_ context.Context, c *Call) error {
	s, err := f.script()
	if err != nil {
		return err
	}
	name, err := c.Ask("Enter the filter name:", "")
	if err != nil {
		return err
	}
	i, err := s.named(name)
	if err != nil {
		return err
	}
	c.Printf("%s\n", strings.TrimRight(s.text(s.start(i), s.start(i+1)), "\n"))
	return nil
}

func (f Configuration) filters(ctx context.Context, c *Call) error {
	actions := map[string]func(context.Context, *Call) error{
		"move": f.moveFilter, "export": f.exportFilters,
		"new": f.newFilter, "delete": f.deleteFilter, "set": f.setFilter, "import": f.importFilters, "list": f.listFilters, "detail": f.detailFilter,
	}
	for {
		word, err := c.Menu(Choice{"NEW", "Create new filters."}, Choice{"DELETE", "Remove a filter."}, Choice{"IMPORT", "Replace all filters by a script."}, Choice{"EXPORT", "Print the script of all filters."}, Choice{"MOVE", "Move a filter to another place."},
			Choice{"SET", "Activate or deactivate a filter."}, Choice{"LIST", "List the filters."}, Choice{"DETAIL", "Show a filter."})
		if err != nil || word == "" {
			return err
		}
		err = actions[word](ctx, c)
		if err == nil || c.Batch || errors.Is(err, console.ErrInterrupt) || errors.Is(err, io.EOF) {
			if err != nil || c.Batch {
				return err
			}
			continue
		}
		c.Printf("%s\n", Plain(sentence(err))) // said, and the menu comes again
	}
}

// replace makes a new script pending.
func (f Configuration) replace(c *Call, what, text string) error {
	if _, err := readScript(text, f.site()); err != nil {
		return err
	}
	return f.Store.Change(c.Principal, what, func(next *config.Config) error {
		next.Filters = text
		return nil
	})
}

// readText reads a filter script.
func readText(c *Call) (string, error) {
	return readLines(c, "Enter filter script.  Enter '.' on its own line to end.\n", filter.MaxScript)
}

// readLines reads lines to a lone dot or the end of the input.
func readLines(c *Call, prompt string, most int) (string, error) {
	var b strings.Builder
	if !c.Batch {
		c.Printf("%s", prompt)
	}
	for {
		line, err := c.Line("")
		if errors.Is(err, io.EOF) && c.Batch || err == nil && strings.TrimRight(line, " \t") == "." {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		if b.Len()+len(line) >= most {
			return "", errs.New(errs.Invalid, "The text is longer than %d bytes", most)
		}
		b.WriteString(line + "\n")
	}
}

// newFilter puts filters at the end, or before the one of a number.
func (f Configuration) newFilter(_ context.Context, c *Call) error {
	s, err := f.script()
	if err != nil {
		return err
	}
	at := len(s.list)
	if word := c.Take(); word != "" {
		found := false
		for i, n := range s.list {
			if word == n.Name || word == comma(n.Number) {
				at, found = i, true
			}
		}
		if !found {
			return Usage("there is no filter %q to put others before", word)
		}
		if err := s.alone(at); err != nil {
			return err
		}
	}
	text, err := readText(c)
	if err != nil {
		return err
	}
	added, err := readScript(text, f.site())
	if err != nil {
		return err
	}
	before := s.text(0, s.start(at))
	if before != "" && !strings.HasSuffix(before, "\n") {
		before += "\n"
	}
	var names []string
	for _, n := range added.list {
		names = append(names, n.Name)
	}
	if err := f.replace(c, "new filters "+quoted(names), before+text+s.text(s.start(at), len(s.lines))); err != nil {
		return err
	}
	added.report(c)
	return nil
}

// report says how many filters came in, and what about them is probably not meant.
func (s filterScript) report(c *Call) {
	c.Printf("%d filters added.\n", len(s.list))
	for _, w := range s.warnings {
		c.Printf("Warning: %s\n", Plain(w.String()))
	}
	for _, n := range s.list {
		if n.Invalid != "" {
			c.Printf("Warning: filter %s is not valid and does not run: %s\n", Plain(n.Name), Plain(n.Invalid))
		}
	}
}

func (f Configuration) importFilters(_ context.Context, c *Call) error {
	text, err := readText(c)
	if err != nil {
		return err
	}
	s, err := readScript(text, f.site())
	if err != nil {
		return err
	}
	if err := f.replace(c, "import filters", text); err != nil {
		return err
	}
	s.report(c)
	return nil
}

func (f Configuration) deleteFilter(_ context.Context, c *Call) error {
	s, i, err := f.pickFilter(c)
	if err != nil {
		return err
	}
	if err := f.replace(c, "delete filter "+s.list[i].Name, s.text(0, s.start(i))+s.text(s.start(i+1), len(s.lines))); err != nil {
		return err
	}
	c.Printf("1 filter deleted.\n")
	return nil
}

func (f Configuration) pickFilter(c *Call) (filterScript, int, error) {
	s, err := f.script()
	if err != nil {
		return s, 0, err
	}
	name, err := c.Ask("Enter the filter name:", "")
	if err != nil {
		return s, 0, err
	}
	i, err := s.named(name)
	if err != nil {
		return s, 0, err
	}
	return s, i, s.alone(i)
}

// setFilter changes the mark behind the name: active or inactive (7.4).
func (f Configuration) setFilter(_ context.Context, c *Call) error {
	s, i, err := f.pickFilter(c)
	if err != nil {
		return err
	}
	state, err := c.Ask("Enter the new state (active or inactive):", "active")
	if err != nil {
		return err
	}
	mark := map[string]string{"active": ":", "1": ":", "inactive": "!", "0": "!"}[strings.ToLower(state)]
	if mark == "" {
		return Usage("%q is neither active nor inactive", state)
	}
	n := s.list[i]
	head := regexp.MustCompile(`^(\s*` + regexp.QuoteMeta(n.Name) + `\s*)[:!]`)
	line := s.lines[n.Line-1]
	if !head.MatchString(line) {
		return errs.New(errs.Conflict, "The name of filter %s is not followed by its mark on the same line; use filters import", n.Name)
	}
	s.lines[n.Line-1] = head.ReplaceAllString(line, "${1}"+mark)
	if err := f.replace(c, "set filter "+n.Name+" "+state, s.text(0, len(s.lines))); err != nil {
		return err
	}
	c.Printf("1 filter updated.\n")
	return nil
}

// exportFilters prints the script as it was written.
func (f Configuration) exportFilters(_ context.Context, c *Call) error {
	conf, _ := f.Store.Pending()
	return printLines(c, conf.Filters)
}

// moveFilter puts a filter, with the comments above it, at another place.
func (f Configuration) moveFilter(_ context.Context, c *Call) error {
	s, i, err := f.pickFilter(c)
	if err != nil {
		return err
	}
	answer, err := c.Ask("Enter its new place, from 1:", "1")
	if err != nil {
		return err
	}
	to, err := place(answer, len(s.list))
	if err != nil {
		return err
	}
	text := func(i int) string {
		t := s.text(s.start(i), s.start(i+1))
		if !strings.HasSuffix(t, "\n") {
			t += "\n"
		}
		return t
	}
	order := make([]int, 0, len(s.list))
	for k := range s.list {
		if k != i {
			order = append(order, k)
		}
	}
	order = slices.Insert(order, to-1, i)
	var b strings.Builder
	b.WriteString(s.text(0, s.start(0)))
	for _, k := range order {
		if err := s.alone(k); err != nil {
			return err
		}
		b.WriteString(text(k))
	}
	if err := f.replace(c, "move filter "+s.list[i].Name+" to "+comma(to), b.String()); err != nil {
		return err
	}
	c.Printf("1 filter moved.\n")
	return nil
}

// place reads where something is to stand among so many.
func place(word string, of int) (int, error) {
	switch strings.ToLower(word) {
	case "first":
		return 1, nil
	case "last":
		return of, nil
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 || n > of {
		return 0, Usage("a place is 1 to %d, first or last, not %q", of, Clip(word, 60))
	}
	return n, nil
}
