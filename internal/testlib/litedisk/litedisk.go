// Package litedisk puts a disk that can be crashed, filled, broken or stopped
// under SQLite, for tests.
//
// It is no file system of its own: SQLite's files lie where they always do,
// and its own code for Unix works on them. Between the two stands a VFS that
// is that code with other functions for what writes. It notes what was written
// and what was synced since, so that at any moment Image can give what a power
// cut may leave, and it asks Before, which may fail an operation or hold it up.
//
// The model is that of crash images elsewhere: each sector of 512 bytes that
// was not synced survives or not, each by itself, as do names. A file shorter
// than what survives behind it has zeros there. What SQLite keeps in shared
// memory (the index of its log) survives no power cut and is in no image.
package litedisk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The operations that Before hears of.
const (
	Create   = "create"
	Write    = "write"
	Truncate = "truncate"
	Sync     = "sync"
	Delete   = "delete"
)

// Disk is the disk of one test.
type Disk struct {
	// Before is called before each operation that changes a file, with its
	// base name, and may block. An error fails the operation: one that says
	// that there is no room as such, any other as an error of the disk. It is
	// to be set before the first database is opened.
	Before func(operation, file string) error

	// Quick: nothing is noted, and Image gives nothing; only that syncs cost
	// nothing is left.
	Quick bool

	vfs vfs

	mu    sync.Mutex
	files map[string]*file // by path
	gone  map[string]*file // deleted, and the directory was not synced since
}

// file is a file as the disk has it.
type file struct {
	stable  []byte   // on stable storage
	pending []change // since
	named   bool     // so is its name
	log     bool     // its first sync takes its name along (os_unix.c, UNIXFILE_DIRSYNC)
}

// change is a write or, without data, a change of the length.
type change struct {
	at   int64
	data []byte
}

const sector = 512

// New makes a disk and the VFS named Name for it.
func New(t testing.TB) *Disk {
	d := &Disk{files: map[string]*file{}, gone: map[string]*file{}}
	if err := d.vfs.register(d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.vfs.unregister)
	return d
}

// Name is for the parameter vfs in the address of a database. The databases are
// to be closed before the test ends.
func (d *Disk) Name() string { return d.vfs.name }

// Image writes into dir what a power cut at this moment may leave: of what is
// not on stable storage each sector with a probability of so many percent.
func (d *Disk) Image(dir string, percent int, rng *rand.Rand) error {
	survives := func() bool { return rng.IntN(100) < percent }
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, f := range d.gone {
		if d.files[path] == nil && !survives() { // that it was deleted does not
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), f.left(survives), 0o600); err != nil {
				return err
			}
		}
	}
	for path, f := range d.files {
		if f.named || survives() {
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), f.left(survives), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// left gives what of the content survives.
func (f *file) left(survives func() bool) []byte {
	b := append([]byte(nil), f.stable...)
	for _, c := range f.pending {
		if c.data == nil {
			if survives() {
				b = c.on(b)
			}
			continue
		}
		for i := 0; i < len(c.data); i += sector {
			if survives() {
				b = change{c.at + int64(i), c.data[i:min(i+sector, len(c.data))]}.on(b)
			}
		}
	}
	return b
}

// on makes the change.
func (c change) on(b []byte) []byte {
	end := c.at + int64(len(c.data))
	if missing := end - int64(len(b)); missing > 0 {
		b = append(b, make([]byte, missing)...)
	}
	if c.data == nil {
		return b[:end]
	}
	copy(b[c.at:], c.data)
	return b
}

// before asks Before.
func (d *Disk) before(operation, path string) error {
	if d.Before == nil {
		return nil
	}
	return d.Before(operation, filepath.Base(path))
}

// opened notes a file that was there or was made just now.
func (d *Disk) opened(path string, made bool) error {
	if d.Quick {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[path] != nil {
		return nil
	}
	log := strings.HasSuffix(path, "-wal") || strings.HasSuffix(path, "-journal")
	if made {
		d.files[path] = &file{log: log}
		return nil
	}
	b, err := os.ReadFile(path) // from before this disk
	if err != nil {
		return fmt.Errorf("litedisk: %w", err)
	}
	d.files[path] = &file{stable: b, named: true}
	return nil
}

// changed notes a write or, without data, a new length.
func (d *Disk) changed(path string, c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[path]; f != nil {
		f.pending = append(f.pending, c)
	}
}

// synced notes that a file is on stable storage.
func (d *Disk) synced(path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[path]
	if f == nil {
		return
	}
	for _, c := range f.pending {
		f.stable = c.on(f.stable)
	}
	f.pending = nil
	if f.log && !f.named {
		d.dirSynced(filepath.Dir(path))
	}
}

// dirSynced notes that the names in a directory are. mu is held.
func (d *Disk) dirSynced(dir string) {
	for path, f := range d.files {
		f.named = f.named || filepath.Dir(path) == dir
	}
	for path := range d.gone {
		if filepath.Dir(path) == dir {
			delete(d.gone, path)
		}
	}
}

// deleted notes that a name is gone.
func (d *Disk) deleted(path string, sync bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[path]; f != nil {
		if f.named {
			d.gone[path] = f
		}
		delete(d.files, path)
	}
	if sync {
		d.dirSynced(filepath.Dir(path))
	}
}

// noRoom says whether an error of Before is that of a full disk.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
