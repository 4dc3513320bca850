package disk

import (
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Slow gives a file system on which each sync of a file takes longer: a disk that
// stalls, for a measurement or a test.
func Slow(fs vfs.FS, by time.Duration) vfs.FS { return slowFS{fs, by} }

type slowFS struct {
	vfs.FS
	by time.Duration
}

// Unwrap lets the engine find the file system below.
func (s slowFS) Unwrap() vfs.FS { return s.FS }

func (s slowFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return slowFile{f, s.by}, nil
}

func (s slowFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.Create(name, c))
}

func (s slowFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return s.file(s.FS.ReuseForWrite(oldname, newname, c))
}

func (s slowFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, c, opts...))
}

type slowFile struct {
	vfs.File
	by time.Duration
}

func (f slowFile) Sync() error {
	time.Sleep(f.by)
	return f.File.Sync()
}

func (f slowFile) SyncData() error {
	time.Sleep(f.by)
	return f.File.SyncData()
}
