package disk

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Engine gives the file system that the key-value engine is to use on top of
// fs. It stands between for four things, the first three of which crash tests
// and fault injection found in Pebble 2.1.7.
//
// One: a write or sync that fails is an error that the engine may survive, and
// often badly: a change of log files panics with a mutex in the wrong state, a
// flush is repeated in a loop without a pause, a flush with value separation
// meets a nil pointer. What the disk holds after it is not known anyway (rule
// Here it is given to fatal, and the engine waits at that place for the
// end of the process.
//
// Two: when the disk fails while the engine opens, reads as well, it gives up
// what its own goroutines are still using, and one of them may panic. The same.
//
// Three: the marker that names the current MANIFEST is made before the
// directory was synced with that MANIFEST's name in it. A power cut may keep
// the one name and lose the other, and nothing can be opened any more; ext4
// keeps the order, POSIX does not promise it. Here the directory is synced
// before a marker is made or removed. To be removed when versionSet syncs the
// directory before it moves the marker.
//
// Four: room may come back on a full disk. A write for which there is none
// waits, by w, which also watches how long the disk takes. A sync never waits
// and is never repeated.
//
// fatal is called on a goroutine of the engine and may return.
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

// wrote ends matters when something that was to be written was not.
func (g *engineFS) wrote(err error) error {
	if !ofDisk(err) {
		return err
	}
	g.fatal(err)
	select {}
}

// read ends matters when the disk fails while the engine opens. Later it is an
// error of the one who reads.
func (g *engineFS) read(err error) error {
	if !ofDisk(err) || g.w.isPatient() {
		return err
	}
	g.fatal(err)
	select {}
}

// ofDisk reports whether err is a failure of the disk: not damage, and not a
// file that is not there.
func ofDisk(err error) bool {
	var errno syscall.Errno
	return err != nil && errors.As(err, &errno) && errno != syscall.ENOENT
}

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

func (g *engineFS) file(name string, f vfs.File, err error) (vfs.File, error) {
	if g.wrote(err) != nil {
		return nil, err
	}
	return engineFile{f, g, name}, nil
}

func (g *engineFS) Link(oldname, newname string) error {
	return g.wrote(g.w.retry("linking", newname, func() error { return g.FS.Link(oldname, newname) }))
}

func (g *engineFS) Rename(oldname, newname string) error {
	return g.wrote(g.w.retry("renaming", newname, func() error { return g.FS.Rename(oldname, newname) }))
}

func (g *engineFS) MkdirAll(name string, mode os.FileMode) error {
	return g.wrote(g.w.retry("making", name, func() error { return g.FS.MkdirAll(name, mode) }))
}

// Remove deletes a file. One that stays does no harm but while the engine opens.
func (g *engineFS) Remove(name string) error {
	if err := g.beforeMarker(name); err != nil {
		return err
	}
	return g.read(g.FS.Remove(name))
}

// beforeMarker syncs the directory of a marker.
func (g *engineFS) beforeMarker(name string) error {
	if !strings.HasPrefix(g.PathBase(name), "marker.") {
		return nil
	}
	d, err := g.OpenDir(g.PathDir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (g *engineFS) List(name string) ([]string, error) {
	names, err := g.FS.List(name)
	return names, g.read(err)
}

func (g *engineFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := g.FS.Stat(name)
	return info, g.read(err)
}

// OpenDir opens a directory to sync it: a failure is one of a write.
func (g *engineFS) OpenDir(name string) (vfs.File, error) {
	f, err := g.FS.OpenDir(name)
	if g.wrote(err) != nil {
		return nil, err
	}
	return engineFile{f, g, name}, nil
}

func (g *engineFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := g.FS.Open(name, opts...)
	if g.read(err) != nil || g.w.isPatient() {
		return f, err
	}
	return engineReader{f, g}, nil
}

// engineReader is a file that is read, from while the engine opened.
type engineReader struct {
	vfs.File
	g *engineFS
}

func (r engineReader) Read(p []byte) (int, error) {
	n, err := r.File.Read(p)
	return n, r.g.read(err)
}

func (r engineReader) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.File.ReadAt(p, at)
	return n, r.g.read(err)
}

func (r engineReader) Stat() (vfs.FileInfo, error) {
	info, err := r.File.Stat()
	return info, r.g.read(err)
}

// engineFile is a file that is written, or a directory.
type engineFile struct {
	vfs.File
	g    *engineFS
	name string
}

func (f engineFile) Write(p []byte) (n int, err error) {
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
	return n, f.g.wrote(err)
}

func (f engineFile) WriteAt(p []byte, at int64) (n int, err error) {
	err = f.g.w.retry("write", f.name, func() (err error) { n, err = f.File.WriteAt(p, at); return err })
	return n, f.g.wrote(err)
}

func (f engineFile) Sync() error {
	o := f.g.w.Begin("sync", f.name)
	err := f.File.Sync()
	o.End()
	return f.g.wrote(err)
}

func (f engineFile) SyncData() error {
	o := f.g.w.Begin("sync", f.name)
	err := f.File.SyncData()
	o.End()
	return f.g.wrote(err)
}

func (f engineFile) SyncTo(n int64) (bool, error) {
	o := f.g.w.Begin("sync", f.name)
	full, err := f.File.SyncTo(n)
	o.End()
	return full, f.g.wrote(err)
}

func (f engineFile) Close() error { return f.g.wrote(f.File.Close()) }

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
