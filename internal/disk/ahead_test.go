package disk

import (
	"bytes"
	"errors"
	"io"
	iofs "io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

const aheadSize = 64 << 10

func newAhead(t *testing.T, fs vfs.FS, room func() bool) *Ahead {
	t.Helper()
	if err := fs.MkdirAll("d", 0o700); err != nil {
		t.Fatal(err)
	}
	a := NewAhead(AheadOptions{FS: fs, Dir: "d", Size: aheadSize, Room: room})
	t.Cleanup(a.Close)
	return a
}

func yes() bool { return true }

// create makes a file, waits for what is made ahead behind it, and gives its size.
func create(t *testing.T, a *Ahead, name string) int64 {
	t.Helper()
	f, err := a.Create("d/"+name, "")
	return size(t, a, f, err)
}

func size(t *testing.T, a *Ahead, f vfs.File, err error) int64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	a.wg.Wait()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// The first log is an ordinary file, and the second has another made; from the
// third on all are of full size. Other files are what they always are.
func TestAhead(t *testing.T) {
	fs := vfs.NewMem()
	a := newAhead(t, fs, yes)
	for i, want := range []struct {
		name string
		size int64
	}{{"1.log", 0}, {"MANIFEST-1", 0}, {"2.log", 0}, {"3.sst", 0}, {"4.log", aheadSize}, {"5.log", aheadSize}} {
		if got := create(t, a, want.name); got != want.size {
			t.Errorf("%d: %s has %d octets, want %d", i, want.name, got, want.size)
		}
	}
	r, err := fs.Open("d/5.log")
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(all, make([]byte, aheadSize)) {
		t.Errorf("not zeros: %v", err)
	}
	_ = r.Close()
	// A small log gives way to the spare, one of full size is used again.
	f, err := a.ReuseForWrite("d/1.log", "d/6.log", "")
	if got := size(t, a, f, err); got != aheadSize {
		t.Errorf("in place of a small one: %d octets", got)
	}
	if _, err := fs.Stat("d/1.log"); err == nil {
		t.Error("the small one is still there")
	}
	f, err = a.ReuseForWrite("d/5.log", "d/7.log", "")
	if got := size(t, a, f, err); got != aheadSize {
		t.Errorf("used again: %d octets", got)
	}
	if _, err := fs.Stat("d/" + spareName); err != nil {
		t.Error("the spare was taken in place of a log of full size")
	}
	a.Close()
	if _, err := fs.Stat("d/" + spareName); err == nil {
		t.Error("the spare is left behind")
	}
}

// Without room, and where a file cannot be made, logs are ordinary files; what an
// earlier life left is not used.
func TestAheadGivesUp(t *testing.T) {
	fs := vfs.NewMem()
	var room atomic.Bool
	a := newAhead(t, fs, room.Load)
	for _, name := range []string{"1.log", "2.log", "3.log"} {
		if got := create(t, a, name); got != 0 {
			t.Errorf("no room: %s has %d octets", name, got)
		}
	}
	if _, err := fs.Stat("d/" + spareName); err == nil {
		t.Error("no room, and there is a spare")
	}
	room.Store(true)
	create(t, a, "4.log")
	if _, err := fs.Stat("d/" + spareName); err != nil {
		t.Fatal("there is room, and no spare")
	}
	if b := newAhead(t, fs, yes); create(t, b, "5.log") != 0 {
		t.Error("the spare of an earlier life was used")
	}
	failing := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSyncData {
			return syscall.ENOSPC
		}
		return nil
	}))
	c := newAhead(t, failing, yes)
	for _, name := range []string{"6.log", "7.log", "8.log"} {
		if got := create(t, c, name); got != 0 {
			t.Errorf("nothing can be written: %s has %d octets", name, got)
		}
	}
	if _, err := fs.Stat("d/" + spareName); !errors.Is(err, iofs.ErrNotExist) {
		t.Error("a spare that is not whole is left:", err)
	}
}
