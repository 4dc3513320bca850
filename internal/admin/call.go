package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Call is one run of a command.
//
// Arguments that a handler did not take are the answers to its questions, in
// order: this is how every interactive command has a one-line form for scripts
// (reference 6.1), such as: commit "new filter" Y.
type Call struct {
	Principal mail.Principal
	Name      string   // the command's full name
	Args      []string // what is left of the line; Take and Ask shorten it
	Batch     bool     // executed, not typed in a shell: nobody is asked, defaults hold

	console console.Console
	input   bool
	out     *output
	given   []string // answers typed, for the audit
	audit   func(what, result string)
}

// Write prints; what could act on a terminal is made harmless on the way.
func (c *Call) Write(p []byte) (int, error) { return c.out.Write(p) }

// Printf prints. Errors are kept and end the command at its next question or at its end.
func (c *Call) Printf(format string, args ...any) { fmt.Fprintf(c.out, format, args...) }

// Live switches paging and gathering off, for commands that follow something.
func (c *Call) Live() {
	c.out.flush()
	c.out.live = true
}

// Err is the first error of printing: the console is gone, or the person at it
// wants to see no more. Long listings stop on it.
func (c *Call) Err() error { return c.out.err }

// Take gives the next argument, "" without one.
func (c *Call) Take() string {
	if len(c.Args) == 0 {
		return ""
	}
	a := c.Args[0]
	c.Args = c.Args[1:]
	return a
}

// needs refuses a line that leaves open what is meant, where the default of the
// question would be everything and there is nobody to think about it.
func (c *Call) needs(what string) error {
	if c.Batch && len(c.Args) == 0 || len(c.Args) > 0 && strings.TrimSpace(c.Args[0]) == "" {
		return Usage("%s", what)
	}
	return nil
}

// Ask puts a question; the default stands in brackets and is what an empty
// line gives. The text may have several lines.
func (c *Call) Ask(question, def string) (string, error) {
	answer, err := c.answer(question+"\n", def)
	if err != nil {
		return "", err
	}
	if answer = strings.TrimSpace(answer); answer == "" {
		answer = def
	}
	return answer, nil
}

// Confirm asks for yes or no until one comes.
func (c *Call) Confirm(question string, def bool) (bool, error) {
	letter := "N"
	if def {
		letter = "Y"
	}
	for {
		answer, err := c.answer(question+" ", letter)
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return true, nil
		case "n", "no":
			return false, nil
		case "":
			return def, nil
		}
		if c.Batch {
			return false, Usage("%q is neither Y nor N", answer)
		}
		c.Printf("You must answer yes or no.\n")
	}
}

// Choice is one line of a menu.
type Choice struct{ Word, Text string }

// Menu shows the choices and gives the word of one in lower case, "" to leave.
func (c *Call) Menu(choices ...Choice) (string, error) {
	var b strings.Builder
	b.WriteString("\nChoose the operation you want to perform:\n")
	for _, ch := range choices {
		fmt.Fprintf(&b, "- %s - %s\n", strings.ToUpper(ch.Word), ch.Text)
	}
	for {
		answer, err := c.answer(b.String(), "")
		if err != nil {
			return "", err
		}
		answer = strings.ToLower(strings.TrimSpace(answer))
		if answer == "" {
			return "", nil
		}
		for _, ch := range choices {
			if answer == strings.ToLower(ch.Word) {
				return answer, nil
			}
		}
		if c.Batch {
			var words []string
			for _, ch := range choices {
				words = append(words, strings.ToLower(ch.Word))
			}
			return "", Usage("%q is not one of: %s", answer, strings.Join(words, ", "))
		}
		c.Printf("\nUnknown option: %s\n", Plain(answer))
	}
}

// Pick shows a numbered list and gives the index of one; also its name is
// understood. def is the index an empty line gives.
func (c *Call) Pick(question string, names []string, def int) (int, error) {
	var b strings.Builder
	b.WriteString(question + "\n")
	for i, n := range names {
		fmt.Fprintf(&b, "%d. %s\n", i+1, Plain(n))
	}
	for {
		answer, err := c.answer(b.String(), fmt.Sprint(def+1))
		if err != nil {
			return 0, err
		}
		if answer = strings.TrimSpace(answer); answer == "" {
			return def, nil
		}
		for i, n := range names {
			if answer == fmt.Sprint(i+1) || strings.EqualFold(answer, n) {
				return i, nil
			}
		}
		if c.Batch {
			return 0, Usage("%q is not one of: %s", answer, strings.Join(names, ", "))
		}
		c.Printf("The value must be from 1 to %d.\n", len(names))
	}
}

// Password asks without echo. An executed command that may read its input
// takes one line of it.
func (c *Call) Password(prompt string) (string, error) {
	c.out.finish()
	if c.out.err != nil {
		return "", c.out.err
	}
	if c.Batch && !c.input {
		return "", Usage("a password is asked, and an executed command has nobody to ask")
	}
	s, err := c.console.ReadPassword(prompt)
	if c.Batch && errors.Is(err, io.EOF) && s != "" {
		err = nil
	}
	return s, err
}

// Line reads one more line of text, as for a filter that is pasted.
func (c *Call) Line(prompt string) (string, error) {
	c.out.finish()
	if c.out.err != nil {
		return "", c.out.err
	}
	if c.Batch && !c.input {
		return "", io.EOF
	}
	return c.console.ReadLine(prompt)
}

// Audit writes a line about a change that a menu made.
func (c *Call) Audit(what, result string) { c.audit(what, result) }

// answer takes the next argument, or asks. Without anybody to ask it gives "".
func (c *Call) answer(question, def string) (string, error) {
	if len(c.Args) > 0 {
		return c.Take(), nil
	}
	if c.Batch {
		return "", c.out.err
	}
	c.Printf("%s", question)
	// The last line of the question is the prompt: nothing may follow its blank.
	last := c.lastLine()
	c.out.finish()
	if c.out.err != nil {
		return "", c.out.err
	}
	s, err := c.console.ReadLine(last + "[" + Plain(def) + "]> ")
	if err == nil {
		c.given = append(c.given, s)
	}
	return s, err
}

// lastLine takes the begun line out of the buffer.
func (c *Call) lastLine() string {
	i := strings.LastIndexByte(string(c.out.buf), '\n') + 1
	last := string(c.out.buf[i:])
	c.out.buf = c.out.buf[:i]
	c.out.column = 0
	return last
}

// line is the command as it is written into the audit.
func (c *Call) line(args []string) string {
	return quoted(append(append([]string{}, strings.Fields(c.Name)...), append(args, c.given...)...))
}

type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// Usage is the error of a line that makes no sense for its command.
func Usage(format string, args ...any) error {
	return &usageError{text: "Invalid arguments: " + fmt.Sprintf(format, args...)}
}

// badArguments makes what a check said about the words of a line the error of
// that line. Nothing else that is invalid may come by here.
func badArguments(err error) error {
	if err == nil || isUsage(err) || !errs.Is(err, errs.Invalid) {
		return err
	}
	return Usage("%s", errs.Public(err))
}

// interrupted runs f with a context that also ends on Ctrl-C.
func interrupted(ctx context.Context, c console.Console, f func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-c.Interrupted():
			cancel(console.ErrInterrupt)
		case <-stop:
		}
	}()
	err := f(ctx)
	close(stop)
	<-done
	if err != nil && errors.Is(context.Cause(ctx), console.ErrInterrupt) && errors.Is(err, context.Canceled) {
		return console.ErrInterrupt
	}
	return err
}

func isUsage(err error) bool {
	var u *usageError
	return errors.As(err, &u)
}

// sentence is what a person reads about an error.
func sentence(err error) string {
	var u *usageError
	if errors.As(err, &u) {
		return u.text
	}
	return errs.Public(err)
}
