package appliance

import (
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// flock locks the file for this process; the kernel drops the lock at its end,
// however it ends.
func flock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// freeBytes is what is free on the disk of a directory; 0 when nobody knows.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

// BuildDate is the date of the source that the program was built from, as far
// as the build knows it.
func BuildDate() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" && len(s.Value) >= 10 {
				return s.Value[:10]
			}
		}
	}
	return "unknown"
}
