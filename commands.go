package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"lazaret/internal/adminssh"
	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/demo"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
	"lazaret/internal/unpack/worker"
)

func runDemo(ctx context.Context, e env, args []string) (int, error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	o := demo.Options{Stdout: e.stdout, Stderr: e.stderr, Program: program(os.Args[0]), Worker: unpackWorker()}
	f.StringVar(&o.Dir, "dir", "", "")
	f.BoolVar(&o.JSON, "json", false, "")
	f.StringVar(&o.Only, "only", "", "")
	f.IntVar(&o.PortBase, "port-base", 0, "")
	rest, err := parse(f, args)
	if err != nil {
		return 0, err
	}
	if len(rest) > 0 {
		return 0, usageError{fmt.Errorf("unexpected argument %q", rest[0])}
	}
	return 0, demo.Run(ctx, o)
}

// program gives how the user called this program, to be suggested again. What
// go run made is gone at the end, and its path tells nobody anything.
func program(arg0 string) string {
	if strings.Contains(arg0, "/go-build") {
		return "go run ."
	}
	return arg0
}

func runInit(_ context.Context, e env, args []string) (int, error) {
	if len(args) == 0 {
		return 0, usageError{errors.New("say which role: gateway or manager")}
	}
	if strings.HasPrefix(args[0], "-h") || args[0] == "--help" {
		return 0, flag.ErrHelp
	}
	role := config.Role(args[0])
	if role != config.Gateway && role != config.Manager {
		return 0, usageError{fmt.Errorf("%q is neither gateway nor manager", args[0])}
	}
	f := flag.NewFlagSet("init", flag.ContinueOnError)
	dir := f.String("dir", "", "")
	host := f.String("hostname", "", "")
	rest, err := parse(f, args[1:])
	if err == nil && len(rest) > 0 {
		err = usageError{fmt.Errorf("unexpected argument %q", rest[0])}
	}
	if err == nil {
		err = needDir(*dir)
	}
	if err != nil {
		return 0, err
	}
	password, err := appliance.Init(*dir, role, appliance.InitOptions{Hostname: *host})
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(e.stdout, "A %s was made in %s.\nUser admin, password (shown once): %s\nEdit %s, then: lazaret checkconfig --dir %s; lazaret %s --dir %s\n",
		role, *dir, password, *dir+"/"+appliance.ConfigName, *dir, role, *dir)
	return 0, err
}

func runGateway(ctx context.Context, e env, args []string) (int, error) {
	return e.runRole(ctx, "gateway", args, appliance.GatewayMemory, func(o appliance.Options) (role, error) {
		o.Worker = unpackWorker()
		return gateway.New(o)
	})
}

// unpackWorker is how a gateway starts this same program to open files in. On
// Linux it is the running one, also when its file was replaced meanwhile.
func unpackWorker() []string {
	self := "/proc/self/exe"
	if _, err := os.Stat(self); err != nil {
		if self, err = os.Executable(); err != nil {
			self = os.Args[0]
		}
	}
	return []string{self, "unpack-worker"}
}

func runManager(ctx context.Context, e env, args []string) (int, error) {
	return e.runRole(ctx, "manager", args, appliance.ManagerMemory, func(o appliance.Options) (role, error) { return manager.New(o) })
}

// role is an appliance that runs.
type role interface {
	Run(ctx context.Context) error
}

// runRole runs an appliance to its end, and says why it ends.
func (e env) runRole(ctx context.Context, name string, args []string, memory int64, build func(appliance.Options) (role, error)) (int, error) {
	dir, err := parseDir(name, args)
	if err != nil {
		return 0, err
	}
	// Who read stderr may go away; that is no reason to end, and Go would make it one.
	signal.Ignore(syscall.SIGPIPE)
	o := appliance.Options{
		Dir: dir, Trouble: e.stderr, Ready: e.ready(name), Reread: hangups(ctx), Memory: appliance.NewMemory(memory, "/"), Status: statusOf,
		OnCrash: func(f *os.File) error { return debug.SetCrashOutput(f, debug.CrashOptions{}) },
	}
	go o.Memory.Keep(ctx)
	r, err := build(o)
	if err != nil {
		return 0, err
	}
	if err = r.Run(ctx); err == nil {
		_, _ = fmt.Fprintf(e.stderr, "lazaret %s: ends with status 0: %v\n", name, context.Cause(ctx))
	}
	return 0, err
}

// ready says on stderr that a role runs: stdout is for results.
func (e env) ready(role string) func(string) {
	return func(line string) { _, _ = fmt.Fprintf(e.stderr, "lazaret %s: %s\n", role, line) }
}

// runCheck builds the whole appliance and throws it away (house rule 30).
func runCheck(_ context.Context, e env, args []string) (int, error) {
	dir, err := parseDir("checkconfig", args)
	if err != nil {
		return 0, err
	}
	c, err := config.Load(dir + "/" + appliance.ConfigName)
	if err != nil {
		return 0, err
	}
	var built interface{ Close() error }
	if c.Role == string(config.Manager) {
		built, err = manager.New(manager.Options{Dir: dir, Check: true})
	} else {
		built, err = gateway.New(gateway.Options{Dir: dir, Check: true})
	}
	if err == nil {
		err = built.Close()
	}
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(e.stdout, "%s/%s is good: a %s named %s\n", dir, appliance.ConfigName, c.Role, c.Hostname)
	return 0, err
}

// runMoveDatabase carries a manager's records to the server that its
// configuration names.
func runMoveDatabase(ctx context.Context, e env, args []string) (int, error) {
	dir, err := parseDir("movedatabase", args)
	if err != nil {
		return 0, err
	}
	n, err := manager.MoveDatabase(ctx, manager.Options{Dir: dir, Trouble: e.stderr}, func(table string, done, total int64) {
		if total > 0 {
			_, _ = fmt.Fprintf(e.stderr, "lazaret movedatabase: %s: %d of %d\n", table, done, total)
		}
	})
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(e.stdout, "%d messages and all that belongs to them are in PostgreSQL, compared row by row.\n"+
		"The file is now %s/quarantine.db.moved; remove it when the manager runs. Start: lazaret manager --dir %s\n", n, dir, dir)
	return 0, err
}

func runCLI(ctx context.Context, e env, args []string) (int, error) {
	f := flag.NewFlagSet("cli", flag.ContinueOnError)
	dir := f.String("dir", "", "")
	rest, err := parse(f, args)
	if err == nil {
		err = needDir(*dir)
	}
	if err == nil && len(rest) == 0 {
		err = usageError{errors.New("say which command")}
	}
	if err != nil {
		return 0, err
	}
	line := rest[0]
	if len(rest) > 1 {
		line = joinWords(rest)
	}
	return adminssh.Local(ctx, appliance.SocketPath(*dir), line, e.stdin, e.stdout)
}

// joinWords puts the shell's words together again, so that one with blanks
// stays one. A single word is a line as it stands, as with ssh.
func joinWords(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\"';\\") {
			w = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
		out[i] = w
	}
	return strings.Join(out, " ")
}

// runUnpackWorker is what a gateway starts to open files in; by hand it does nothing.
func runUnpackWorker(context.Context, env, []string) (int, error) {
	return worker.Main(nil), nil
}

func runVersion(_ context.Context, e env, _ []string) (int, error) {
	_, err := fmt.Fprintf(e.stdout, "lazaret %s (%s)\n", appliance.Version, appliance.BuildDate())
	return 0, err
}

// hangups gives each SIGHUP until ctx ends: who renews certificate files sends
// one to have them read at once.
func hangups(ctx context.Context) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(c) })
	return c
}
