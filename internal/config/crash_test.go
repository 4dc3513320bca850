package config

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"lazaret/internal/logs"
	"lazaret/internal/mail"
	"lazaret/internal/testlib/proof"
)

// onMemory is a store whose file is in memory.
func onMemory(t *testing.T, fs vfs.FS) (*Store, proof.Small) {
	t.Helper()
	d := proof.Small{FS: fs}
	c := sample(t, Gateway)
	s := NewStore("config.xml", c, logs.DiscardAudit(), nil)
	s.disk = d
	if err := s.save(c); err != nil {
		t.Fatal(err)
	}
	return s, d
}

// rename commits a change.
func rename(s *Store, host string) error {
	p := mail.Principal{Name: "admin", Role: mail.Administrator}
	if err := s.Change(p, "hostname", func(c *Config) error { c.Hostname = host; return nil }); err != nil {
		return err
	}
	_, err := s.Commit(p, "")
	return err
}

// F4: a crash before every operation of a commit: the next start reads the old
// configuration or the new one, and the new one once it was confirmed.
func TestSaveCrash(t *testing.T) {
	images := 0
	for seed := range uint64(proof.Rounds(2)) {
		c := proof.NewImages[[2]string](seed)
		now, next := "gw1.example.com", ""
		c.Know = func() [2]string { return [2]string{now, next} }
		started := false
		c.Check = func(_ string, image *vfs.MemFS, know [2]string) error {
			if !started {
				return nil
			}
			text, err := proof.Small{FS: image}.Read("config.xml")
			if err != nil {
				return err
			}
			got, err := Parse([]byte(text))
			if err == nil && got.Hostname != know[0] && got.Hostname != know[1] {
				err = errors.New("host name " + got.Hostname)
			}
			return err
		}
		s, _ := onMemory(t, c.Life())
		started = true
		for _, host := range []string{"b.example.com", "c.example.com"} {
			c.Learn(func() { next = host })
			if err := rename(s, host); err != nil {
				t.Fatal(err)
			}
			c.Learn(func() { now = host })
		}
		n, err := c.End()
		if images += n; err != nil {
			t.Fatal(err)
		}
	}
	proof.Line(t, "config-crash-images", images)
}

// F7: each operation of a commit fails, with each error: an error changes
// nothing, neither in force nor in the file, and a later commit works.
func TestSaveFails(t *testing.T) {
	trials := 0
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		for k := 0; ; k++ {
			trials++
			on, n := false, 0
			s, d := onMemory(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !on {
					return nil
				}
				if n++; n-1 == k {
					return &os.PathError{Op: "x", Path: op.Path, Err: cause}
				}
				return nil
			})))
			on = true
			err := rename(s, "b.example.com")
			on = false
			want := "gw1.example.com"
			if err == nil {
				want = "b.example.com"
			}
			if got := s.Committed().Hostname; got != want {
				t.Errorf("%v at %d: in force is %s after %v", cause, k, got, err)
			}
			text, rerr := d.Read("config.xml")
			if rerr != nil || !strings.Contains(text, "<hostname>"+want+"</hostname>") {
				t.Errorf("%v at %d: the file is not that of %s: %v", cause, k, want, rerr)
			}
			if err := rename(s, "c.example.com"); err != nil {
				t.Errorf("%v at %d: later: %v", cause, k, err)
			}
			if n <= k {
				break
			}
		}
	}
	proof.Line(t, "config-fail-at-n", trials)
}

// F6: each byte of the file flipped, the file cut at each length: it is refused
// with a place or a reason, or it is another configuration that is valid; never
// a panic.
func TestDamagedFile(t *testing.T) {
	text := sample(t, Gateway).Text(false)
	step := 61
	if os.Getenv(proof.RoundsVar) != "" {
		step = 1
	}
	trials := 0
	for i := 0; i < len(text); i += step {
		bad := append([]byte(nil), text...)
		bad[i] ^= 0x55
		for _, b := range [][]byte{bad, text[:i]} {
			trials++
			if c, err := Parse(b); err != nil && len(err.Error()) < 10 || err == nil && c == nil {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
	proof.Line(t, "config-damaged", trials)
}
