package spool

import (
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// guardFS stands between the engine and the file system for two things that
// crash tests and fault injection found in Pebble 2.1.7.
//
// One: when the engine changes over to a new log file and cannot close the old
// or make the new one, it panics with its own mutex in the wrong state, and
// the Go runtime ends the process at once, without a log line. Here the
// failure is reported like any other fatal one, and the engine waits at that
// place for the end that OnFatal brings. To be removed when DB.rotateWAL
// reports it through the logger.
//
// Two: the marker that names the current MANIFEST is made before the
// directory was synced with that MANIFEST's name in it. A power cut may keep
// the one name and lose the other, and nothing can be opened any more; ext4
// keeps the order, POSIX does not promise it. Here the directory is synced
// before a marker is made or removed. To be removed when versionSet syncs the
// directory before it moves the marker.
type guardFS struct {
	vfs.FS
	s *Spool
}

func (g guardFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := g.beforeMarker(name); err != nil {
		return nil, err
	}
	f, err := g.FS.Create(name, c)
	return g.file(name, f, err)
}

func (g guardFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(oldname, newname, c)
	return g.file(newname, f, err)
}

// Remove deletes a file.
func (g guardFS) Remove(name string) error {
	if err := g.beforeMarker(name); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

// beforeMarker syncs the directory of a marker.
func (g guardFS) beforeMarker(name string) error {
	if !strings.HasPrefix(g.FS.PathBase(name), "marker.") {
		return nil
	}
	d, err := g.FS.OpenDir(g.FS.PathDir(name))
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

func (g guardFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		g.s.changeOver(err)
		return nil, err
	}
	return guardDir{f, g.s}, nil
}

// guardDir is a directory: the name of the new log is synced with it.
type guardDir struct {
	vfs.File
	s *Spool
}

func (d guardDir) Sync() error {
	err := d.File.Sync()
	if err != nil {
		d.s.changeOver(err)
	}
	return err
}

// Unwrap lets the engine find the file system below.
func (g guardFS) Unwrap() vfs.FS { return g.FS }

func (g guardFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	if filepath.Ext(name) != ".log" {
		return f, err
	}
	if err != nil {
		g.s.changeOver(err)
		return nil, err
	}
	return &guardFile{File: f, s: g.s}, nil
}

// guardFile is a log file that remembers that a write failed.
type guardFile struct {
	vfs.File
	s      *Spool
	failed atomic.Pointer[error]
}

func (f *guardFile) note(err error) error {
	if err != nil {
		f.failed.Store(&err)
	}
	return err
}

func (f *guardFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, f.note(err)
}

func (f *guardFile) Sync() error     { return f.note(f.File.Sync()) }
func (f *guardFile) SyncData() error { return f.note(f.File.SyncData()) }

func (f *guardFile) SyncTo(n int64) (bool, error) {
	full, err := f.File.SyncTo(n)
	return full, f.note(err)
}

func (f *guardFile) Close() error {
	err := f.note(f.File.Close())
	if e := f.failed.Load(); e != nil {
		f.s.changeOver(*e)
	}
	return err
}

// changeOver ends matters when the caller is the engine's change of log files.
func (s *Spool) changeOver(cause error) {
	if !below("pebble/v2.(*DB).rotateWAL") {
		return // elsewhere the engine reports it
	}
	s.die(cause)
	select {}
}

// below reports whether a function is among the callers. Only failures ask.
func below(function string) bool {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, function) {
			return true
		}
		if !more {
			return false
		}
	}
}
