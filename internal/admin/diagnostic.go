package admin

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"

	"lazaret/internal/auth"
)

// Diagnostic gives the hidden command that shows what the process itself
// uses: for whoever looks for a leak. It opens no port and shows no mail.
func Diagnostic() Command {
	return Command{Name: "diagnostic", Summary: "Show what the process uses: memory, files, goroutines", Usage: "diagnostic", Right: auth.Status, Hidden: true,
		Run: func(_ context.Context, c *Call) error {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			row := func(name string, n int64) { c.Printf("%-24s%16s\n", name, comma(n)) }
			row("Goroutines", int64(runtime.NumGoroutine()))
			row("Heap in use (KB)", int64(m.HeapInuse>>10))
			row("Memory from system (KB)", int64(m.Sys>>10))
			row("Resident (KB)", resident())
			row("Open files", openFiles())
			row("Garbage collections", int64(m.NumGC))
			return c.Err()
		}}
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
