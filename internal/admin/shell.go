package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// maxRemembered is how many users' last logins are remembered.
const maxRemembered = 1000

// Shell greets and runs commands until exit, the end of input or of ctx. A role
// without the right to log in gets one sentence and is shown out.
func (l *Language) Shell(ctx context.Context, p mail.Principal, c console.Console) {
	if !auth.Can(p.Role, auth.Login) {
		fmt.Fprintf(c, "The role %s has no command line.\n", p.Role)
		l.o.Audit.Record(p, "login", "denied")
		return
	}
	fmt.Fprintf(c, "%s\n%s\n\n%s\n", l.lastLogin(p), l.o.Product, l.o.Welcome)
	complete := func(func(string) []string) {}
	if t, ok := c.(console.Completer); ok {
		complete = t.Complete
	}
	for ctx.Err() == nil {
		complete(func(line string) []string { return l.complete(ctx, p, line) })
		// clients 2.2: the prompt's blank is the last byte sent.
		line, err := c.ReadLine(l.o.Host() + "> ")
		complete(nil) // questions of a command are not its words
		if errors.Is(err, console.ErrInterrupt) {
			continue
		}
		if err != nil {
			return
		}
		if _, err = l.line(ctx, p, line, c, true); err != nil && !errors.Is(err, console.ErrInterrupt) {
			return
		}
	}
}

// lastLogin gives the banner's first line and remembers this login.
func (l *Language) lastLogin(p mail.Principal) string {
	now := l.o.Clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	before, known := l.last[p.Name]
	if known || len(l.last) < maxRemembered {
		l.last[p.Name] = login{at: now, from: p.From}
	}
	if !known {
		return "Last login: none since the start of the system"
	}
	return fmt.Sprintf("Last login: %s from %s", before.at.Format(time.ANSIC), Plain(before.from))
}

// builtin gives the commands of the language itself.
func (l *Language) builtin() []Command {
	leave := func(context.Context, *Call) error { return errExit }
	return []Command{
		{Name: "help", Summary: "Show the commands, or how one is used", Usage: "help [command]", Right: auth.Login, MaxArgs: 2, Run: l.help},
		{Name: "version", Summary: "Show the version of the system", Usage: "version", Right: auth.Login, Run: l.version},
		{Name: "exit", Summary: "End the session", Usage: "exit", Right: auth.Login, Run: leave},
		{Name: "quit", Summary: "End the session", Usage: "quit", Right: auth.Login, Run: leave},
	}
}

func (l *Language) help(_ context.Context, c *Call) error {
	if len(c.Args) == 0 {
		for _, cmd := range l.visible(c.Principal) {
			c.Printf("%-20s %s\n", cmd.Name, cmd.Summary)
		}
		c.Printf("\nFor the forms of a command: help COMMAND.\n")
		return nil
	}
	name, shown := quotedName(c.Args), 0
	if len(c.Args) == 2 { // filters new is no command of its own: filters tells about it
		if _, rest, ok := l.find(c.Args); ok && len(rest) > 0 || !ok {
			name = quotedName(c.Args[:1])
		}
	}
	for _, cmd := range l.visible(c.Principal) {
		if cmd.Name == name || firstWord(cmd.Name) == name {
			c.Printf("%s - %s\n%s\n", cmd.Name, cmd.Summary, indent(cmd.Usage))
			shown++
		}
	}
	if shown == 0 {
		return errs.New(errs.NotFound, "Unknown command or missing feature key: %s", Clip(c.Args[0], 60))
	}
	return nil
}

func (l *Language) version(_ context.Context, c *Call) error {
	for _, line := range l.o.Version {
		c.Printf("%s\n", line)
	}
	return nil
}
