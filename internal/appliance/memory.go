package appliance

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// Memory is what the process may use. The collector of garbage is told to be
// lazy (GOGC, main.go), which costs three times what is in use; this bounds it.
type Memory struct {
	// Base is what the process may use without a reason of its own.
	Base int64
	// Ceiling is never passed on purpose: GOMEMLIMIT, or six tenths of what
	// the control group has. The rest is for what Go does not count: SQLite's
	// pages, the program itself, and what a soft limit lets pass in a burst. math.MaxInt64: none.
	Ceiling int64
	fixed   bool // GOMEMLIMIT: the administrator's word stands
}

// What a role uses at its stated loads without being told otherwise.
const (
	GatewayMemory = 384 << 20
	ManagerMemory = 512 << 20
)

// NewMemory looks at GOMEMLIMIT and at the control groups below root, which is
// "/" but for tests.
func NewMemory(base int64, root string) Memory {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 { // a negative number only asks
		return Memory{Base: min(base, n), Ceiling: n, fixed: true}
	}
	m := Memory{Base: base, Ceiling: math.MaxInt64}
	if n := groupLimit(root); n < math.MaxInt64 {
		m.Ceiling = n / 10 * 6
	}
	m.Base = min(m.Base, m.Ceiling)
	return m
}

// groupLimit gives the least limit of the control groups that this process is in.
func groupLimit(root string) int64 {
	b, err := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	if err != nil {
		return math.MaxInt64
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max" // version 2
		if part[1] != "" {
			if dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"; part[1] != "memory" {
				continue
			}
		}
		for at := filepath.Clean("/" + part[2]); ; at = filepath.Dir(at) { // a group above may have less
			least = min(least, readLimit(filepath.Join(root, dir, at, file)))
			if at == "/" {
				break
			}
		}
	}
	return least
}

func readLimit(name string) int64 {
	b, err := os.ReadFile(name)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64) // "max" is none
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}

// Buffer gives the size of an engine's write buffer. An engine has two of them
// mostly, four when its disk is behind.
func (m Memory) Buffer() uint64 {
	if m.Base == 0 {
		return 0 // the engine's own choice
	}
	return uint64(max(min((m.Base-64<<20)/5, 64<<20), 4<<20)) // 64 MiB are for all else
}

// limit is the soft limit for a heap of which live is in use. A million waiting
// messages are a reason to use more than Base; garbage is one for half as much
// again, and 64 MiB.
func (m Memory) limit(live int64) int64 {
	return min(max(m.Base, live+live/2+64<<20), m.Ceiling)
}

// Keep holds the process to it until ctx ends. The limit is soft: what is
// really needed is used, at the price of more work for the collector.
func (m Memory) Keep(ctx context.Context) {
	if m.fixed {
		return
	}
	debug.SetMemoryLimit(m.limit(0))
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			debug.SetMemoryLimit(m.limit(liveHeap()))
		}
	}
}

// liveHeap is what the last collection left.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	if metrics.Read(s); s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(s[0].Value.Uint64())
}
