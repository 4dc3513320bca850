package proof

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Small makes a file system in memory one for disk.Replace.
type Small struct{ vfs.FS }

// File is what Create gives; it is declared here and in disk alike.
type File = interface {
	io.WriteCloser
	Sync() error
}

// Create makes an empty file; memory has no modes.
func (s Small) Create(name string, _ os.FileMode) (File, error) {
	return s.FS.Create(name, vfs.WriteCategoryUnspecified)
}

// Remove removes a file.
func (s Small) Remove(name string) error {
	if _, err := s.Stat(name); oserror.IsNotExist(err) {
		return fs.ErrNotExist
	}
	return s.FS.Remove(name)
}

// SyncDir makes the names in a directory durable.
func (s Small) SyncDir(name string) error {
	if name == "." {
		name = ""
	}
	d, err := s.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Read reads a file.
func (s Small) Read(name string) (string, error) {
	f, err := s.Open(name)
	if oserror.IsNotExist(err) {
		return "", fs.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}
