package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"lazaret/internal/errs"
)

// tick is the unit of CPU time in /proc (USER_HZ, the same on every Linux that Go knows).
const tick = 10 * time.Millisecond

// stat gives the fields of a process behind its name; nil when it is gone.
func stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil
	}
	f := bytes.Fields(b[i+1:])
	out := make([]string, len(f))
	for i := range f {
		out[i] = string(f[i])
	}
	return out
}

// ticks adds fields of stat.
func ticks(f []string, fields ...int) (d time.Duration) {
	for _, i := range fields {
		if i < len(f) {
			n, _ := strconv.ParseInt(f[i], 10, 64) // the kernel writes numbers
			d += time.Duration(n) * tick
		}
	}
	return d
}

// Fields of stat, counted from behind the name: proc(5).
const (
	fieldParent = 1
	fieldUser   = 11
	fieldSystem = 12
	fieldWaited = 13 // of children that were waited for, user
	fieldReaped = 14 // and system
)

// cpu is the CPU time of one process so far.
func cpu(pid int) time.Duration { return ticks(stat(pid), fieldUser, fieldSystem) }

// treeCPU is that of a process, of its children, and of those that ended.
func treeCPU(pid int) time.Duration {
	d := ticks(stat(pid), fieldUser, fieldSystem, fieldWaited, fieldReaped)
	for _, c := range children(pid) {
		d += cpu(c)
	}
	return d
}

// children gives the processes that have pid for a parent.
func children(pid int) (out []int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, p := range all {
		n, err := strconv.Atoi(filepath.Base(p))
		if err != nil {
			continue
		}
		if f := stat(n); len(f) > fieldParent && f[fieldParent] == strconv.Itoa(pid) {
			out = append(out, n)
		}
	}
	return out
}

// memory is what a process holds in RAM, in bytes: its own pages, and its share
// of those it shares with others.
func memory(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) >= 2 && string(f[0]) == "Pss:" {
			n, _ := strconv.ParseUint(string(f[1]), 10, 64)
			return n << 10
		}
	}
	return 0
}

// busy is the CPU time of the whole machine so far.
func busy() (d time.Duration) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	for i, f := range bytes.Fields(line) {
		if i >= 1 && i != 4 && i != 5 && i <= 7 { // idle and waiting for a disk are not busy
			n, _ := strconv.ParseInt(string(f), 10, 64)
			d += time.Duration(n) * tick
		}
	}
	return d
}

// flushRate gives how many appends of 4 KiB a second the disk of a directory
// makes durable one after the other, which is what limits a single session.
func flushRate(dir string) (rate float64, err error) {
	f, err := os.CreateTemp(dir, "flush")
	if err != nil {
		return 0, errs.Wrap(errs.Internal, err, "asking how fast the disk is")
	}
	defer func() {
		if e := os.Remove(f.Name()); err == nil {
			err = e
		}
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	buf := make([]byte, 4096)
	began, n := time.Now(), 0
	for time.Since(began) < 300*time.Millisecond {
		if _, err := f.Write(buf); err != nil {
			return 0, errs.Wrap(errs.Internal, err, "asking how fast the disk is")
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return 0, errs.Wrap(errs.Internal, err, "asking how fast the disk is")
		}
		n++
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
