// Command prove runs faults of the matrix against the product and prints what
// was seen, and for each a line "proof: NAME trials=N violations=M". It ends
// with 1 when anything happened that must not.
//
//	go run ./e2e/prove [--short] [--trials N] [--binary FILE] [--keep DIR] NAME...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lazaret/e2e/fault"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "prove:", err)
		code = 2
	}
	os.Exit(code)
}

func run(ctx context.Context) (int, error) {
	short := flag.Bool("short", false, "the number of trials that runs with every change")
	trials := flag.Int("trials", 0, "number of trials; 0: that of the documented long run")
	binary := flag.String("binary", "", "the program to be tested; \"\": built from this directory")
	keep := flag.String("keep", "", "where to work, and leave histories and appliances for a look; \"\": a temporary directory")
	duration := flag.Duration("duration", time.Hour, "of a soak")
	every := flag.Duration("every", time.Minute, "of a soak: between two faults")
	flag.Usage = usage
	flag.Parse()
	if flag.NArg() == 0 {
		usage()
		return 2, nil
	}
	dir := *keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "lazaret-prove"); err != nil {
			return 2, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return 2, err
	}
	if *binary == "" {
		*binary = filepath.Join(dir, "lazaret")
		build := exec.CommandContext(ctx, "go", "build", "-o", *binary, ".")
		if out, err := build.CombinedOutput(); err != nil {
			return 2, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	code := 0
	for _, name := range flag.Args() {
		if name == "soak" {
			say := func(format string, args ...any) {
				fmt.Printf("%s  "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
			}
			r, err := fault.Soak{Duration: *duration, Every: *every, Say: say}.Run(ctx, fault.Config{Binary: *binary, Dir: filepath.Join(dir, "soak")})
			if err != nil {
				return 2, fmt.Errorf("soak: %w", err)
			}
			if err := r.Write(os.Stdout); err != nil {
				return 2, err
			}
			if r.Violations() > 0 {
				code = 1
			}
			continue
		}
		s, ok := find(name)
		if !ok {
			usage()
			return 2, nil
		}
		n := s.Long
		if *short {
			n = s.Short
		}
		if *trials > 0 {
			n = *trials
		}
		r, err := s.Run(ctx, fault.Config{Binary: *binary, Dir: filepath.Join(dir, s.Name)}, n)
		if err != nil {
			return 2, fmt.Errorf("%s: %w", s.Name, err)
		}
		fmt.Printf("\n%s: %s\n", s.Name, s.About)
		if err := r.Write(os.Stdout); err != nil {
			return 2, err
		}
		if r.Violations() > 0 {
			code = 1
		}
	}
	return code, nil
}

func find(name string) (fault.Scenario, bool) {
	for _, s := range fault.Scenarios() {
		if strings.EqualFold(s.Name, name) {
			return s, true
		}
	}
	return fault.Scenario{}, false
}

func usage() {
	fmt.Fprintln(os.Stderr, "Usage: prove [--short] [--trials N] [--binary FILE] [--keep DIR] NAME...")
	for _, s := range fault.Scenarios() {
		fmt.Fprintf(os.Stderr, "  %-6s %s (%d trials, short %d)\n", s.Name, s.About, s.Long, s.Short)
	}
	fmt.Fprintf(os.Stderr, "  %-6s half of the maximum load with a random fault a minute (--duration, --every)\n", "soak")
}
