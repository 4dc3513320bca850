package store

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"lazaret/internal/errs"
)

// smallDisk is a file system of its own in memory, or the test is skipped,
// loudly: a full disk cannot be had otherwise.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		fmt.Printf("NOT PROVED: %s has to mount a file system: %v\n", t.Name(), err)
		t.Skip("NOT PROVED here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// leave fills the disk but for so many octets.
func leave(t *testing.T, dir string, octets int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var u syscall.Statfs_t
	if err := syscall.Statfs(dir, &u); err != nil {
		t.Fatal(err)
	}
	i, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size := i.Size() + int64(u.Bavail)*u.Bsize - octets
	if size < i.Size() {
		err = f.Truncate(max(size, 0))
	} else {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A disk without room at any moment of a commit: the change is refused as
// errs.Full, and the next one is made when there is room again. The index of
// SQLite's log grows by 32 KiB at a time, in a file of its own: that it cannot
// says nothing against what was written (F8).
func TestNoRoom(t *testing.T) {
	dir := smallDisk(t, "64m")
	s := openSQLite(t, filepath.Join(dir, "q.db"), &memContents{})
	write := func(octets int) error {
		return s.do(ctx, true, func(t *tx) error {
			return t.exec("UPDATE filler SET x = zeroblob($1)", octets)
		})
	}
	if err := s.do(ctx, true, func(t *tx) error { return t.exec("CREATE TABLE filler (x BLOB)") }); err != nil {
		t.Fatal(err)
	}
	if err := s.do(ctx, true, func(t *tx) error { return t.exec("INSERT INTO filler VALUES (NULL)") }); err != nil {
		t.Fatal(err)
	}
	reader, err := s.read.BeginTx(ctx, nil) // its view keeps the log from starting anew
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	if err := reader.QueryRow("SELECT COUNT(*) FROM filler").Scan(new(int)); err != nil {
		t.Fatal(err)
	}
	if err := write(3900 * 4096); err != nil { // the first part of the index has 4,062 places; here are 3,998
		t.Fatal(err)
	}
	const page = 4096
	refused := 0
	for n := range 200 {
		leave(t, dir, 7*page) // the log may grow a little, its index may not
		err := write(n)
		if err == nil {
			continue
		}
		refused++
		if !errs.Is(err, errs.Full) {
			t.Fatalf("after %d: %v", n, err)
		}
		leave(t, dir, 1<<20)
		if err := write(n); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	if refused == 0 {
		t.Error("the disk was never full: nothing is shown")
	}
	leave(t, dir, 0)
	if err := write(100 * page); !errs.Is(err, errs.Full) {
		t.Errorf("on a full disk: %v", err)
	}
	leave(t, dir, 4<<20)
	if err := write(100 * page); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
