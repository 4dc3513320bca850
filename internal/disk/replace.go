package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"lazaret/internal/errs"
)

// FS is what it takes to replace a file. OS is the operating system's; tests
// have one that can be crashed before each operation.
type FS interface {
	Create(name string, mode os.FileMode) (File, error) // empty
	Rename(oldname, newname string) error
	Remove(name string) error // one that is not there is fs.ErrNotExist
	SyncDir(name string) error
}

// File is a file that is written once.
type File = interface {
	io.WriteCloser
	Sync() error
}

// OS is the file system of the machine.
type OS struct{}

// Create makes an empty file.
func (OS) Create(name string, mode os.FileMode) (File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
}

// Rename is os.Rename.
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// Remove is os.Remove.
func (OS) Remove(name string) error { return os.Remove(name) }

// SyncDir makes the names in a directory durable.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// suffix of what is not complete yet.
const suffix = ".new"

// Replace puts data in place of the file at path: temp, sync, rename, directory
// sync, each error checked (rule Q-1, idiom C). After nil the new content is on
// stable storage. After an error, and after a crash, the file has the old
// content or the new one, whole; Unsure says whether it may be the new one.
func Replace(d FS, path string, data []byte, mode os.FileMode) error {
	tmp := path + suffix
	err := writeNew(d, tmp, data, mode)
	if err == nil {
		err = d.Rename(tmp, path)
	}
	if err != nil {
		if e := d.Remove(tmp); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
		return errs.Wrap(kindOf(err), err, "writing %s", path)
	}
	if err := d.SyncDir(filepath.Dir(path)); err != nil {
		return &unsure{errs.Wrap(kindOf(err), err, "writing %s", path)}
	}
	return nil
}

// writeNew writes and syncs a file. One that is left from before goes first: a
// sync that failed on it once says nothing about it any more (rule Q-2).
func writeNew(d FS, name string, data []byte, mode os.FileMode) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.Create(name, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func kindOf(err error) errs.Kind {
	if IsFull(err) {
		return errs.Full
	}
	return errs.Internal
}

// unsure is the error of a Replace whose rename was made and may not last.
type unsure struct{ error }

func (u *unsure) Unwrap() error { return u.error }

// Unsure reports whether err is of a Replace that may have put the new content
// in place all the same.
func Unsure(err error) bool {
	var u *unsure
	return errors.As(err, &u)
}

// Clean removes what a crash within Replace left beside path.
func Clean(d FS, path string) error {
	if err := d.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errs.Wrap(errs.Internal, err, "removing an unfinished file")
	}
	return nil
}
