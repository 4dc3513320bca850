package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailed  = 1
	exitInvalid = 2
)

// errExit ends a shell.
var errExit = errors.New("exit")

// Exec runs a line of one or more commands that nobody stands by: nothing is
// asked and nothing is paged, on a terminal or not. All commands run, whatever
// became of those before; the status is that of the first that failed.
func (l *Language) Exec(ctx context.Context, p mail.Principal, line string, c console.Console) int {
	status, _ := l.line(ctx, p, line, c, false)
	return status
}

func (l *Language) line(ctx context.Context, p mail.Principal, line string, c console.Console, shell bool) (int, error) {
	commands, err := split(line)
	if err != nil {
		fmt.Fprintf(c, "%s\n", sentence(err))
		return exitInvalid, nil
	}
	status := exitOK
	for _, words := range commands {
		s, err := l.run(ctx, p, asHelp(words), c, shell)
		if status == exitOK {
			status = s
		}
		if err != nil || ctx.Err() != nil {
			return status, err
		}
	}
	return status, nil
}

// asHelp reads COMMAND --help, the habit of other shells, as help COMMAND. Further
// on in a line it may be somebody's value.
func asHelp(words []string) []string {
	last := len(words) - 1
	if last > 2 || words[last] != "--help" {
		return words
	}
	return append([]string{"help"}, words[:last]...)
}

// run runs one command. The error is not about the command: the shell ends
// (errExit), the console is gone, or the person wants the rest of the line not
// to run (ErrInterrupt).
func (l *Language) run(ctx context.Context, p mail.Principal, words []string, c console.Console, shell bool) (int, error) {
	cmd, args, ok := l.find(words)
	if group := l.group(p, words[0]); !ok && len(group) > 0 {
		return exitInvalid, printGroup(c, words[0], group)
	}
	if !ok || !auth.Can(p.Role, cmd.Right) {
		if ok {
			l.o.Audit.Record(p, quoted(words), "denied")
		}
		_, err := fmt.Fprintf(c, "Unknown command or missing feature key: %s\n", Clip(words[0], 60))
		return exitInvalid, err
	}
	call := &Call{
		Principal: p, Name: cmd.Name, Args: args, Batch: !shell,
		console: c, input: cmd.Input, out: newOutput(c, shell),
		audit: func(what, result string) { l.o.Audit.Record(p, what, result) },
	}
	var err error
	if cmd.MaxArgs >= 0 && len(args) > cmd.MaxArgs {
		err = tooMany(cmd)
	} else {
		err = l.guarded(ctx, cmd, call)
	}
	if cmd.Changes && !isUsage(err) {
		call.audit(call.line(args), result(err))
	}
	return l.report(cmd, call, err)
}

func tooMany(cmd Command) error {
	switch cmd.MaxArgs {
	case 0:
		return Usage("%s takes no arguments", cmd.Name)
	case 1:
		return Usage("%s takes at most 1 argument", cmd.Name)
	}
	return Usage("%s takes at most %d arguments", cmd.Name, cmd.MaxArgs)
}

// group gives the commands of two words that begin with this one.
func (l *Language) group(p mail.Principal, word string) []Command {
	var list []Command
	for _, cmd := range l.visible(p) {
		if strings.HasPrefix(cmd.Name, strings.ToLower(word)+" ") {
			list = append(list, cmd)
		}
	}
	return list
}

// printGroup helps somebody who typed only the first word, or a wrong second.
func printGroup(c console.Console, word string, group []Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Invalid arguments: %s is followed by one of these:\n", strings.ToLower(word))
	for _, cmd := range group {
		fmt.Fprintf(&b, "  %-20s %s\n", cmd.Name, cmd.Summary)
	}
	_, err := io.WriteString(c, b.String())
	return err
}

// report ends a command's output and gives its exit status.
func (l *Language) report(cmd Command, call *Call, err error) (int, error) {
	if err == nil {
		err = call.out.err
	}
	switch {
	case err == nil:
		call.out.finish()
		return exitOK, call.out.err
	case errors.Is(err, errExit):
		call.out.finish()
		return exitOK, err
	case errors.Is(err, console.ErrInterrupt):
		call.out.err = nil
		call.out.finish()
		return exitFailed, console.ErrInterrupt
	case errors.Is(err, io.EOF):
		return exitFailed, io.EOF
	}
	if errs.KindOf(err) == errs.Internal && !isUsage(err) {
		l.o.Fault("command "+cmd.Name, err.Error())
	}
	call.Printf("%s\n", Plain(sentence(err)))
	if isUsage(err) && cmd.Usage != "" {
		call.Printf("Usage:\n%s\n", indent(cmd.Usage))
	}
	call.out.finish()
	if isUsage(err) {
		return exitInvalid, call.out.err
	}
	return exitFailed, call.out.err
}

// guarded runs the handler; a panic in it ends this command and nothing else (P5).
func (l *Language) guarded(ctx context.Context, cmd Command, call *Call) error {
	return interrupted(ctx, call.console, func(ctx context.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				l.o.Fault("command "+cmd.Name, fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
				err = errs.New(errs.Temporary, "The command failed by a fault of the program; the cause is in the log")
			}
		}()
		return cmd.Run(ctx, call)
	})
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, console.ErrInterrupt), errors.Is(err, io.EOF):
		return "left"
	}
	return "failed: " + err.Error()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}
