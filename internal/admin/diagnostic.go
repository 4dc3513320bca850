package admin

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
)

// Diagnostic gives the hidden command that shows what the process itself
// uses: for whoever looks for a leak. It opens no port and shows no mail.
func Diagnostic() Command {
	return Command{Name: "diagnostic", Summary: "Show what the process uses: memory, files, goroutines", Usage: "diagnostic [heap|goroutine]", Right: auth.Status, MaxArgs: 1, Hidden: true,
		Run: func(_ context.Context, c *Call) error {
			switch what := c.Take(); what {
			case "":
				return usage(c)
			case "heap", "goroutine":
				return profile(c, what)
			default:
				return Usage("%q: there is nothing but heap and goroutine", what)
			}
		}}
}

func usage(c *Call) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	row := func(name string, n int64) { c.Printf("%-24s%16s\n", name, comma(n)) }
	row("Goroutines", int64(runtime.NumGoroutine()))
	row("Heap in use (KB)", int64(m.HeapInuse>>10))
	row("Heap live (KB)", live())
	row("Memory from system (KB)", int64(m.Sys>>10))
	row("Memory limit (KB)", limit())
	row("Resident (KB)", resident())
	row("Open files", openFiles())
	row("Garbage collections", int64(m.NumGC))
	return c.Err()
}

// profile prints where memory was made, or what goroutines do, in the text form
// that "go tool pprof PROGRAM FILE" reads. Names of functions and numbers are
// all that is in it. For administrators only: to make it stops the program for
// a moment.
func profile(c *Call, what string) error {
	if !auth.Can(c.Principal.Role, auth.UserConfig) {
		return errs.New(errs.Denied, "a profile is for administrators")
	}
	if what == "heap" {
		runtime.GC() // what is not in use any more shall not be in it
	}
	c.Live()
	if err := pprof.Lookup(what).WriteTo(c, 1); err != nil {
		return errs.Wrap(errs.Internal, err, "writing the profile")
	}
	return c.Err()
}

// live gives what the last collection of garbage left, in KB.
func live() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return -1
	}
	return int64(s[0].Value.Uint64() >> 10)
}

// limit gives the soft limit of memory in KB, 0 for none.
func limit() int64 {
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 { // a negative number only asks
		return n >> 10
	}
	return 0
}

// resident gives the resident set in KB, -1 where the system does not say.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return -1
	}
	_, rest, _ := strings.Cut(string(b), "\nVmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// openFiles counts descriptors, -1 where the system does not say.
func openFiles() int64 {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return int64(len(list)) - 1 // one is that of the directory itself
}
