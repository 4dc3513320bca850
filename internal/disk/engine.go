package disk

import (
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Engine gives the file system that the key-value engine is to use on top of
// fs. It stands between for three things; crash tests and fault injection found
// the first two in Pebble 2.1.7.
//
// One: when the engine changes over to a new log file and cannot close the old
// or make the new one, it panics with its own mutex in the wrong state, and
// the Go runtime ends the process at once, without a log line. Here the
// failure is given to fatal like any other, and the engine waits at that place
// for the end of the process. To be removed when DB.rotateWAL reports it
// through the logger.
//
// Two: the marker that names the current MANIFEST is made before the
// directory was synced with that MANIFEST's name in it. A power cut may keep
// the one name and lose the other, and nothing can be opened any more; ext4
// keeps the order, POSIX does not promise it. Here the directory is synced
// before a marker is made or removed. To be removed when versionSet syncs the
// directory before it moves the marker.
//
// Three: a write for which there is no room is fatal for the engine, although
// room may come back. Here it waits, by w, which also watches how long the
// disk takes. A failed sync is passed on, always (rule Q-2).
//
// fatal is called on the goroutine of the engine and may return.
func Engine(fs vfs.FS, w *Watch, fatal func(error)) vfs.FS {
	return &engineFS{FS: fs, w: w, fatal: fatal}
}

type engineFS struct {
	vfs.FS
	w     *Watch
	fatal func(error)
}

// Unwrap lets the engine find the file system below.
func (g *engineFS) Unwrap() vfs.FS { return g.FS }

func (g *engineFS) Create(name string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	if err := g.beforeMarker(name); err != nil {
		return nil, err
	}
	err = g.w.retry("making", name, func() (err error) { f, err = g.FS.Create(name, c); return err })
	return g.file(name, f, err)
}

func (g *engineFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = g.w.retry("making", newname, func() (err error) { f, err = g.FS.ReuseForWrite(oldname, newname, c); return err })
	return g.file(newname, f, err)
}

func (g *engineFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (f vfs.File, err error) {
	err = g.w.retry("opening", name, func() (err error) { f, err = g.FS.OpenReadWrite(name, c, opts...); return err })
	return g.file(name, f, err)
}

func (g *engineFS) Link(oldname, newname string) error {
	return g.w.retry("linking", newname, func() error { return g.FS.Link(oldname, newname) })
}

func (g *engineFS) Rename(oldname, newname string) error {
	return g.w.retry("renaming", newname, func() error { return g.FS.Rename(oldname, newname) })
}

// Remove deletes a file.
func (g *engineFS) Remove(name string) error {
	if err := g.beforeMarker(name); err != nil {
		return err
	}
	return g.FS.Remove(name)
}

// beforeMarker syncs the directory of a marker.
func (g *engineFS) beforeMarker(name string) error {
	if !strings.HasPrefix(g.PathBase(name), "marker.") {
		return nil
	}
	d, err := g.FS.OpenDir(g.PathDir(name))
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

func (g *engineFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if err != nil {
		g.changeOver(err)
		return nil, err
	}
	return engineDir{f, g, name}, nil
}

// engineDir is a directory: the name of the new log is synced with it.
type engineDir struct {
	vfs.File
	g    *engineFS
	name string
}

func (d engineDir) Sync() error {
	o := d.g.w.Begin("sync", d.name)
	err := d.File.Sync()
	o.End()
	if err != nil {
		d.g.changeOver(err)
	}
	return err
}

func (g *engineFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	isLog := filepath.Ext(name) == ".log"
	if err != nil {
		if isLog {
			g.changeOver(err)
		}
		return nil, err
	}
	return &engineFile{File: f, g: g, name: name, log: isLog}, nil
}

// engineFile is a file that is written. A log remembers that a write failed.
type engineFile struct {
	vfs.File
	g      *engineFS
	name   string
	log    bool
	failed atomic.Pointer[error]
}

func (f *engineFile) note(err error) error {
	if err != nil && f.log {
		f.failed.Store(&err)
	}
	return err
}

func (f *engineFile) Write(p []byte) (n int, err error) {
	o := f.g.w.Begin("write", f.name)
	n, err = f.File.Write(p)
	o.End()
	if err == nil {
		return n, nil // the common case, without a closure
	}
	// Part of it may be written: go on behind it when there is room.
	err = f.g.w.again(err, "write", f.name, func() error {
		m, err := f.File.Write(p[n:])
		n += m
		return err
	})
	return n, f.note(err)
}

func (f *engineFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.g.w.retry("write", f.name, func() (err error) { n, err = f.File.WriteAt(p, at); return err })
	return n, f.note(err)
}

func (f *engineFile) Sync() error {
	o := f.g.w.Begin("sync", f.name)
	defer o.End()
	return f.note(f.File.Sync())
}

func (f *engineFile) SyncData() error {
	o := f.g.w.Begin("sync", f.name)
	defer o.End()
	return f.note(f.File.SyncData())
}

func (f *engineFile) SyncTo(n int64) (bool, error) {
	o := f.g.w.Begin("sync", f.name)
	defer o.End()
	full, err := f.File.SyncTo(n)
	return full, f.note(err)
}

func (f *engineFile) Close() error {
	err := f.note(f.File.Close())
	if e := f.failed.Load(); e != nil {
		f.g.changeOver(*e)
	}
	return err
}

// changeOver ends matters when the caller is the engine's change of log files.
func (g *engineFS) changeOver(cause error) {
	if !Below("pebble/v2.(*DB).rotateWAL") {
		return // elsewhere the engine reports it
	}
	g.fatal(cause)
	select {}
}

// Below reports whether a function is among the callers of the caller. Only
// failures ask.
func Below(function string) bool {
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
