// Command lazaret holds doubtful mail in one place and lets people decide
// about it fast. One binary plays two roles, gateway and manager.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"lazaret/internal/errs"
)

// Exit statuses, after sysexits.
const (
	exitUsage       = 64
	exitData        = 65
	exitUnavailable = 69
	exitSoftware    = 70
	exitCantCreate  = 73
	exitTempFail    = 75
	exitNoPerm      = 77
)

// env is what a subcommand gets of the process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// subcommand is one word behind lazaret.
type subcommand struct {
	name, args, summary string // a subcommand without a summary is the program's own, and not listed
	run                 func(ctx context.Context, e env, args []string) (int, error)
}

// usageError is a wrong call; its text is shown with the usage line.
type usageError struct{ error }

func subcommands() []subcommand {
	return []subcommand{
		{"demo", "[--dir DIR] [--json] [--only NAME] [--port-base N]", "two gateways, a manager and a mailbox on loopback", runDemo},
		{"bench", benchArgs, "measure this machine; lazaret bench help says more", runBench},
		{"init", "gateway|manager --dir DIR [--hostname NAME]", "make an appliance: configuration, keys, first administrator", runInit},
		{"gateway", "--dir DIR", "run a gateway", runGateway},
		{"manager", "--dir DIR", "run a manager", runManager},
		{"checkconfig", "--dir DIR", "build the whole appliance from its configuration and throw it away", runCheck},
		{"movedatabase", "--dir DIR", "carry the records of a manager that does not run from its file to PostgreSQL", runMoveDatabase},
		{"cli", "--dir DIR COMMAND...", "run a command of the command language over the local socket", runCLI},
		{"feed", feedArgs, "write and sign feeds of outbreak rules", runFeed},
		{"version", "", "print the version", runVersion},
		{"unpack-worker", "", "", runUnpackWorker},
	}
}

// heapGrowth is how far the heap may grow beyond what is in use before it is
// collected, in percent. What a message needs is small and soon forgotten: with
// Go's own 100, a tenth of the CPU time went into collecting it.
const heapGrowth = 300

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	ctx := untilSignal()
	os.Exit(run(ctx, env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:]))
}

// untilSignal gives a context that ends with the first SIGINT or SIGTERM. The
// second ends the process at once, as if nobody listened for it. Both are kept
// in one channel from the start: one that comes while the first is still being
// passed on is not lost.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(fmt.Errorf("%s signal received", <-c)) // what a role says when it ends
		second := <-c
		signal.Reset(second)
		_ = syscall.Kill(os.Getpid(), second.(syscall.Signal))
	}()
	return ctx
}

// run finds the subcommand and turns its error into a line and a status.
func run(ctx context.Context, e env, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(e.stdout)
		return 0
	}
	if args[0] == "-v" || args[0] == "--version" {
		args = []string{"version"}
	}
	for _, c := range subcommands() {
		if c.name != args[0] {
			continue
		}
		code, err := c.run(ctx, e, args[1:])
		return report(e, c, code, err)
	}
	_, _ = fmt.Fprintf(e.stderr, "lazaret: unknown subcommand %q\n\n", args[0])
	usage(e.stderr)
	return exitUsage
}

func usage(w io.Writer) {
	_, _ = fmt.Fprintln(w, "Usage: lazaret SUBCOMMAND [ARGUMENTS]")
	_, _ = fmt.Fprintln(w)
	for _, c := range subcommands() {
		if c.summary == "" {
			continue
		}
		_, _ = fmt.Fprintf(w, "  lazaret %s %s\n      %s\n", c.name, c.args, c.summary)
	}
}

func report(e env, c subcommand, code int, err error) int {
	var wrong usageError
	switch {
	case err == nil:
		return code
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprintf(e.stdout, "Usage: lazaret %s %s\n%s\n", c.name, c.args, c.summary)
		return 0
	case errors.As(err, &wrong):
		_, _ = fmt.Fprintf(e.stderr, "lazaret %s: %v\nUsage: lazaret %s %s\n", c.name, err, c.name, c.args)
		return exitUsage
	}
	_, _ = fmt.Fprintf(e.stderr, "lazaret %s: %v\n", c.name, err)
	return statusOf(err)
}

// statusOf gives the exit status for a kind of error.
func statusOf(err error) int {
	switch errs.KindOf(err) {
	case errs.Invalid, errs.Damaged:
		return exitData
	case errs.NotFound, errs.Closed:
		return exitUnavailable
	case errs.Conflict:
		return exitCantCreate
	case errs.Denied:
		return exitNoPerm
	case errs.Temporary, errs.Full:
		return exitTempFail
	}
	return exitSoftware
}

// parse reads the flags of a subcommand; words behind the flags are returned.
func parse(f *flag.FlagSet, args []string) ([]string, error) {
	f.SetOutput(io.Discard)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, usageError{err}
	}
	return f.Args(), nil
}

// parseDir reads the flags of a subcommand that takes --dir DIR and nothing else.
func parseDir(name string, args []string) (string, error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	dir := f.String("dir", "", "")
	rest, err := parse(f, args)
	if err != nil {
		return "", err
	}
	if len(rest) > 0 {
		return "", usageError{fmt.Errorf("unexpected argument %q", rest[0])}
	}
	return *dir, needDir(*dir)
}

func needDir(dir string) error {
	if dir == "" {
		return usageError{errors.New("--dir is missing")}
	}
	return nil
}
