package disk

import (
	"errors"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Ahead is a file system that has a log file ready before the key-value engine
// asks for one: of full size, its blocks written with zeros. A flush of a file
// that grows has the file system write its own journal as well; one that writes
// over blocks that are there does not, and takes half the time. The engine uses
// its log files again for that reason, but the first of them are small, and
// those of full size come back only after some 50,000 messages.
//
// What the engine finds behind its last record are zeros in place of an older
// record; it takes both for the end. A file that was not used is removed when
// the next life begins: nobody knows how much of it was written.
//
// It is a help and never a fault: what goes wrong here leaves the engine with a
// file that grows.
type Ahead struct {
	vfs.FS
	opt AheadOptions

	mu     sync.Mutex
	asked  int  // log files so far
	spare  bool // one is ready
	making bool
	closed bool
	wg     sync.WaitGroup
}

// AheadOptions are needed all of them.
type AheadOptions struct {
	FS   vfs.FS
	Dir  string
	Size int64       // of a log file, at least what the engine writes into one
	Room func() bool // whether the disk has room for one more
}

const spareName = "log-ahead"

// NewAhead makes the file system and removes what an earlier life left.
func NewAhead(opt AheadOptions) *Ahead {
	a := &Ahead{FS: opt.FS, opt: opt}
	_ = a.FS.Remove(a.path()) // mostly there is none; one that stays is written over
	return a
}

// Unwrap lets the engine find the file system below.
func (a *Ahead) Unwrap() vfs.FS { return a.FS }

func (a *Ahead) path() string { return a.FS.PathJoin(a.opt.Dir, spareName) }

// Create gives the spare in place of a new log file.
func (a *Ahead) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if filepath.Ext(name) == ".log" {
		if f := a.take(name, c); f != nil {
			return f, nil
		}
	}
	return a.FS.Create(name, c)
}

// ReuseForWrite gives the spare in place of a small log file.
func (a *Ahead) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if info, err := a.FS.Stat(oldname); err == nil && info.Size() < a.opt.Size {
		if f := a.take(newname, c); f != nil {
			// One that stays is deleted by the engine at its next start.
			_ = a.FS.Remove(oldname)
			return f, nil
		}
	}
	return a.FS.ReuseForWrite(oldname, newname, c)
}

// take gives the spare the name of a log, if there is one, and has another made.
// An appliance that never fills its first, smallest log needs none.
func (a *Ahead) take(name string, c vfs.DiskWriteCategory) vfs.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	var f vfs.File
	if a.spare {
		a.spare = false
		var err error
		if f, err = a.FS.ReuseForWrite(a.path(), name, c); err != nil {
			f = nil
		}
	}
	if a.asked++; a.asked > 1 && !a.making && !a.closed {
		a.making = true
		a.wg.Go(a.make)
	}
	return f
}

// make makes a spare.
func (a *Ahead) make() {
	err := a.fill()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.making = false
	a.spare = err == nil && !a.closed
	if !a.spare {
		_ = a.FS.Remove(a.path()) // the next start removes one that stays
	}
}

var errNotNow = errors.New("no log file is made ahead")

// fill writes the zeros, a piece at a time, so that a flush of the log that is
// written meanwhile waits for a piece of it at most.
func (a *Ahead) fill() (err error) {
	f, err := a.FS.Create(a.path(), "pebble-wal")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	zeros := make([]byte, min(a.opt.Size, 1<<20))
	for left := a.opt.Size; left > 0; left -= int64(len(zeros)) {
		if a.isClosed() || !a.opt.Room() {
			return errNotNow
		}
		if _, err := f.Write(zeros[:min(left, int64(len(zeros)))]); err != nil {
			return err
		}
		if err := f.SyncData(); err != nil {
			return err
		}
	}
	return f.Sync()
}

func (a *Ahead) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// Close removes the spare. The engine has to be closed before. A nil Ahead has
// nothing to close.
func (a *Ahead) Close() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wg.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.spare {
		a.spare = false
		_ = a.FS.Remove(a.path()) // the next start removes one that stays
	}
}
