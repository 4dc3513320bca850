package spool

import (
	"math"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lazaret/internal/errs"
)

// space remembers what is free for a moment, so that a flood of mail does not
// ask for each message.
type space struct {
	mu     sync.Mutex
	asked  time.Time
	bytes  uint64
	inodes uint64
	err    error
	known  bool
}

// spaceAge is how long an answer holds. Even a full disk of writes fits many
// times under the floor in it.
const spaceAge = 250 * time.Millisecond

// free asks the file system of a directory.
func free(dir string) (bytes, inodes uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	inodes = st.Ffree
	if st.Files == 0 { // file systems that have no fixed number
		inodes = math.MaxUint64
	}
	return st.Bavail * uint64(st.Bsize), inodes, nil
}

// Ready says whether a message of a size may come in: errs.Full when a floor
// of bytes or inodes would be broken, the reason when the spool has stopped.
func (s *Spool) Ready(size int64) error {
	if e := s.dead.Load(); e != nil {
		return *e
	}
	if err := s.opt.Disk.Ready(); err != nil || s.opt.Space == nil {
		return err
	}
	bytes, inodes, err := s.Free()
	if err != nil {
		return errs.Wrap(errs.Temporary, err, "asking for free space")
	}
	s.opt.Disk.Floor(bytes < s.opt.MinBytes || inodes < s.opt.MinInodes)
	if bytes < s.opt.MinBytes+uint64(max(size, 0)) {
		return errs.New(errs.Full, "insufficient system storage")
	}
	if inodes < s.opt.MinInodes {
		return errs.New(errs.Full, "insufficient system storage: no inodes")
	}
	return nil
}

// Free gives the free bytes and inodes of the spool's file system.
func (s *Spool) Free() (bytes, inodes uint64, err error) {
	if s.opt.Space == nil {
		return math.MaxUint64, math.MaxUint64, nil
	}
	sp := &s.space
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if now := s.now(); !sp.known || now.Sub(sp.asked) >= spaceAge || now.Before(sp.asked) {
		sp.bytes, sp.inodes, sp.err = s.opt.Space()
		sp.asked, sp.known = now, true
	}
	return sp.bytes, sp.inodes, sp.err
}

// Used gives the bytes that the spool takes on disk.
func (s *Spool) Used() uint64 { return s.db.Metrics().DiskSpaceUsage() }

// roomAhead says whether there is room for a log file that is not needed yet:
// mail goes first.
func (s *Spool) roomAhead() bool {
	bytes, inodes, err := s.Free()
	return err == nil && bytes >= s.opt.MinBytes+4*uint64(s.opt.ahead) && inodes > s.opt.MinInodes
}
