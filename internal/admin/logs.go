package admin

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/logs"
)

// tailLines is what tail shows of the past.
const tailLines = 10

// Log is one log subscription as the commands see it.
type Log struct {
	Name   string // mail_logs
	Dir    string
	Prefix string // mail
	File   *logs.File
}

// Logs are the subscriptions of an appliance.
type Logs []Log

// Commands gives grep, tail and rollovernow.
func (ls Logs) Commands() []Command {
	return []Command{
		{Name: "grep", Summary: "Search a log", Usage: "grep [-C COUNT] [-e REGEX] [-i] [-p] [-t] [REGEX] LOG", Right: auth.Logs, MaxArgs: -1, Run: ls.grep},
		{Name: "tail", Summary: "Follow a log until Ctrl-C", Usage: "tail LOG", Right: auth.Logs, MaxArgs: 1, Run: ls.tail},
		{Name: "rollovernow", Summary: "Begin a new file of a log", Usage: "rollovernow LOG", Right: auth.LogsChange, MaxArgs: 1, Changes: true, Run: ls.rollover},
	}
}

func (ls Logs) names() []string {
	var names []string
	for _, l := range ls {
		names = append(names, l.Name)
	}
	return names
}

func (ls Logs) named(name string) (Log, error) {
	for _, l := range ls {
		if l.Name == name {
			return l, nil
		}
	}
	return Log{}, errs.New(errs.NotFound, "The log %s does not exist. There are: %s", Clip(name, 40), strings.Join(ls.names(), ", "))
}

func (ls Logs) pick(c *Call, question string) (Log, error) {
	if len(c.Args) > 0 {
		return ls.named(c.Take())
	}
	if c.Batch {
		return Log{}, Usage("the name of a log is needed: %s", strings.Join(ls.names(), ", "))
	}
	n, err := c.Pick(question, ls.names(), 0)
	if err != nil {
		return Log{}, err
	}
	return ls[n], nil
}

// search is what grep was asked for.
type search struct {
	log    Log
	opt    logs.GrepOptions
	follow bool
	paged  bool
}

// grep is reference 6.7.
func (ls Logs) grep(ctx context.Context, c *Call) error {
	var q search
	var err error
	if len(c.Args) == 0 && !c.Batch {
		q, err = ls.askGrep(c)
	} else {
		q, err = ls.parseGrep(c)
	}
	if err != nil {
		return err
	}
	if !q.paged {
		c.out.keys = nil
	}
	q.opt.Pattern = pattern(q.opt.Pattern)
	if q.follow {
		c.Live()
		return logs.Tail(ctx, q.log.Dir, q.log.Prefix, tailLines, q.opt, c)
	}
	if q.log.File != nil {
		q.log.File.Sync()
	}
	n, err := logs.Grep(ctx, q.log.Dir, q.log.Prefix, q.opt, c)
	if err == nil && n == 0 {
		c.Printf("%s\n", logs.NothingFound)
	}
	return err
}

// pattern gives a text that is no regular expression as one that finds it:
// lines of the log, such as MID 44 (, are pasted here.
func pattern(s string) string {
	if _, err := regexp.Compile(s); err != nil {
		return regexp.QuoteMeta(s)
	}
	return s
}

// parseGrep reads the one-line form. ssh joins its arguments with blanks and a
// local shell has eaten the quotes, so several words before the log's name are
// one expression: ssh host grep "CPQ ICID" mail_logs works.
func (ls Logs) parseGrep(c *Call) (search, error) {
	opt, err := c.options("-C=", "-e=", "-i", "-p", "-t")
	if err != nil {
		return search{}, err
	}
	q := search{follow: opt.has("-t"), paged: opt.has("-p")}
	q.opt = logs.GrepOptions{Pattern: opt.last("-e"), IgnoreCase: opt.has("-i")}
	if n := opt.last("-C"); n != "" {
		if q.opt.Context, err = strconv.Atoi(n); err != nil || q.opt.Context < 0 {
			return q, Usage("-C needs a number of lines, not %q", n)
		}
	}
	if len(c.Args) == 0 {
		return q, Usage("the name of a log is needed: %s", strings.Join(ls.names(), ", "))
	}
	words := c.Args[:len(c.Args)-1]
	switch {
	case q.opt.Pattern == "" && len(words) == 0:
		return q, Usage("a regular expression is needed")
	case q.opt.Pattern != "" && len(words) > 0:
		return q, Usage("there is a regular expression more than one")
	case len(words) > 0:
		q.opt.Pattern = strings.Join(words, " ")
	}
	q.log, err = ls.named(c.Args[len(c.Args)-1])
	return q, err
}

func (ls Logs) askGrep(c *Call) (q search, err error) {
	if q.log, err = ls.pick(c, "Enter the number of the log you wish to grep."); err != nil {
		return q, err
	}
	if q.opt.Pattern, err = c.Ask("Enter the regular expression to grep.", ""); err != nil {
		return q, err
	}
	sensitive, err := c.Confirm("Do you want this search to be case insensitive?", true)
	if err != nil {
		return q, err
	}
	q.opt.IgnoreCase = sensitive
	if q.follow, err = c.Confirm("Do you want to tail the logs?", false); err != nil || q.follow {
		return q, err
	}
	q.paged, err = c.Confirm("Do you want to paginate the output?", false)
	return q, err
}

func (ls Logs) tail(ctx context.Context, c *Call) error {
	l, err := ls.pick(c, "Enter the number of the log you wish to tail.")
	if err != nil {
		return err
	}
	if !c.Batch {
		c.Printf("Press Ctrl-C to stop.\n")
	}
	c.Live()
	return logs.Tail(ctx, l.Dir, l.Prefix, tailLines, logs.GrepOptions{}, c)
}

func (ls Logs) rollover(_ context.Context, c *Call) error {
	l, err := ls.pick(c, "Enter the number of the log you wish to roll over.")
	if err != nil {
		return err
	}
	l.File.Rollover()
	c.Printf("Log files successfully rolled over.\n")
	return nil
}
