package disk

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Each sync takes as much longer, whichever way the file was opened; nothing else does.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := Slow(vfs.NewMem(), 20*time.Millisecond)
		open := func(f vfs.File, err error) vfs.File {
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		began := time.Now()
		for i, f := range []vfs.File{
			open(fs.Create("a", "")),
			open(fs.ReuseForWrite("a", "b", "")),
			open(fs.OpenReadWrite("b", "")),
		} {
			if _, err := f.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			for n, sync := range []func() error{f.Sync, f.SyncData} {
				if err := sync(); err != nil {
					t.Fatal(err)
				}
				if took, want := time.Since(began), time.Duration(2*i+n+1)*20*time.Millisecond; took != want {
					t.Errorf("file %d, sync %d: %s behind the start, want %s", i, n, took, want)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fs.Create("no/dir", ""); err == nil {
			t.Error("an error is lost")
		}
	})
}
