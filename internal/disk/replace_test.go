package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/errs"
	"lazaret/internal/testlib/proof"
)

// F4: a crash before every operation of a chain of Replace, with every share of
// unsynced blocks surviving: the file has the last content that was promised,
// or the one that was being written, whole. Replace after the crash works, and
// one Clean leaves no second file.
func TestReplaceCrash(t *testing.T) {
	images := 0
	for seed := range uint64(proof.Rounds(20)) {
		done, under := "", ""
		c := proof.NewImages[[2]string](seed)
		c.Know = func() [2]string { return [2]string{done, under} }
		c.Check = func(_ string, image *vfs.MemFS, know [2]string) error {
			return checkReplaced(proof.Small{FS: image}, know[0], know[1])
		}
		d := proof.Small{FS: c.Life()}
		for i := range 4 {
			c.Learn(func() { under = string(make([]byte, 3000*i)) + string(rune('a'+i)) })
			if err := Replace(d, "x.xml", []byte(under), 0o600); err != nil {
				t.Fatal(err)
			}
			c.Learn(func() { done = under })
		}
		n, err := c.End()
		if images += n; err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	proof.Line(t, "replace-crash-images", images)
}

func checkReplaced(d proof.Small, done, under string) error {
	got, err := d.Read("x.xml")
	if errors.Is(err, fs.ErrNotExist) && done == "" {
		got, err = "", nil
	}
	if err != nil || got != done && got != under {
		return fmt.Errorf("%d bytes, neither the %d promised nor the %d under way: %w", len(got), len(done), len(under), err)
	}
	if err := Clean(d, "x.xml"); err != nil {
		return err
	}
	if names, err := d.List(""); err != nil || len(names) > 1 {
		return fmt.Errorf("files are left: %q, %w", names, err)
	}
	if err := Replace(d, "x.xml", []byte("next"), 0o600); err != nil {
		return err
	}
	if got, err := d.Read("x.xml"); got != "next" || err != nil {
		return fmt.Errorf("after recovery: %q, %w", got, err)
	}
	return nil
}

// F7: each operation fails, once and from then on, with each kind of error. An
// error is given, the file is old or new and whole, Unsure does not lie, nothing
// is left beside it when the disk works again, and no descriptor is open.
func TestReplaceFails(t *testing.T) {
	trials := 0
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		for _, forever := range []bool{false, true} {
			for k := 0; ; k++ {
				trials++
				mem, on, n := vfs.NewMem(), false, 0
				inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
					if !on {
						return nil
					}
					if n++; n-1 == k || forever && n > k {
						return &os.PathError{Op: "x", Path: op.Path, Err: cause}
					}
					return nil
				})
				d := proof.Small{FS: errorfs.Wrap(mem, inject)}
				if err := Replace(d, "x", []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				on = true
				err := Replace(d, "x", []byte("new"), 0o600)
				hit := n > k
				on = false
				got, rerr := d.Read("x")
				want := "old"
				if err == nil || Unsure(err) {
					want = "new"
				}
				if rerr != nil || got != want {
					t.Errorf("%v at %d, forever %v: Replace %v, the file has %q, %v", cause, k, forever, err, got, rerr)
				}
				if err != nil && (cause == syscall.ENOSPC) != errs.Is(err, errs.Full) {
					t.Errorf("%v: kind %v", cause, errs.KindOf(err))
				}
				if err := Replace(d, "x", []byte("again"), 0o600); err != nil {
					t.Errorf("when it works again: %v", err)
				}
				if names, _ := mem.List(""); len(names) != 1 {
					t.Errorf("%v at %d: left over %q", cause, k, names)
				}
				if !hit {
					if k < 6 {
						t.Errorf("only %d operations", k)
					}
					break
				}
			}
		}
	}
	proof.Line(t, "replace-fail-at-n", trials)
}

// The operating system's file system does the same: mode, no second file.
func TestReplaceOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path+suffix, []byte("of a crash"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := Replace(OS{}, path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st, err)
		}
		if b, err := os.ReadFile(path); string(b) != text || err != nil {
			t.Errorf("%q %v", b, err)
		}
	}
	if l, _ := os.ReadDir(filepath.Dir(path)); len(l) != 1 {
		t.Errorf("left over: %v", l)
	}
	if err := Replace(OS{}, filepath.Join(path, "below"), nil, 0o600); err == nil || Unsure(err) {
		t.Error(err)
	}
}

var _ io.Writer = File(nil)
