package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopDisk is a real ext4 in a file, mounted.
type loopDisk struct {
	t     testing.TB
	image string
	dir   string
	at    *os.File // of the mounted root, for the cut
}

// newLoopDisk makes and mounts one, or skips the test, loudly: what it proves
// is not proved there.
func newLoopDisk(t testing.TB, megabytes int64, mkfs ...string) *loopDisk {
	t.Helper()
	skip := func(why string) {
		fmt.Printf("NOT PROVED: %s needs root and a loop device for a real ext4: %s\n", t.Name(), why)
		t.Skip("NOT PROVED here: ", why)
	}
	if os.Getuid() != 0 {
		skip("not root")
	}
	base, err := os.MkdirTemp("", "lzdisk") // short: a socket's path has to fit
	if err != nil {
		t.Fatal(err)
	}
	d := &loopDisk{t: t, image: filepath.Join(base, "image"), dir: filepath.Join(base, "m")}
	t.Cleanup(func() {
		d.unmount()
		_ = os.RemoveAll(base)
	})
	if err := errors.Join(os.Mkdir(d.dir, 0o700), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, megabytes<<20)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", append([]string{"-q", "-F", "-m", "0", "-E", "lazy_itable_init=0"}, append(mkfs, d.image)...)...).CombinedOutput(); err != nil {
		skip(fmt.Sprintf("mkfs.ext4: %v %s", err, out))
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		skip(fmt.Sprintf("mount: %v %s", err, bytes.TrimSpace(out)))
	}
	d.open()
	return d
}

func (d *loopDisk) open() {
	var err error
	if d.at, err = os.Open(d.dir); err != nil {
		d.t.Fatal(err)
	}
}

func (d *loopDisk) mount() {
	d.t.Helper()
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		d.t.Fatalf("mount: %v %s", err, out)
	}
	d.open()
}

// unmount waits for those who die to be gone.
func (d *loopDisk) unmount() {
	if d.at == nil {
		return
	}
	_ = d.at.Close()
	d.at = nil
	for n := 0; ; n++ {
		out, err := exec.Command("umount", d.dir).CombinedOutput()
		if err == nil {
			return
		}
		if n == 100 {
			d.t.Errorf("umount: %v %s", err, out)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// cut is the power cut: from now on nothing reaches the disk, also nothing of
// the journal that was not flushed (EXT4_GOING_FLAGS_NOLOGFLUSH).
func (d *loopDisk) cut() {
	const shutdown, noLogFlush = 0x8004587d, 2 // _IOR('X', 125, __u32)
	if err := unix.IoctlSetPointerInt(int(d.at.Fd()), shutdown, noLogFlush); err != nil {
		d.t.Fatalf("the shutdown of ext4: %v", err)
	}
}

// again brings the power back: the journal is replayed, the file system is
// clean, and mounted.
func (d *loopDisk) again() {
	d.t.Helper()
	d.unmount()
	d.mount()
	d.unmount()
	if out, err := exec.Command("e2fsck", "-fn", d.image).CombinedOutput(); err != nil {
		d.t.Fatalf("e2fsck: %v\n%s", err, out)
	}
	d.mount()
}

// plain is one process of the program that is no demo.
type plain struct {
	cmd    *exec.Cmd
	stderr *output
	done   chan struct{}
}

// role runs `lazaret ROLE --dir DIR` and waits until it is ready. before are
// words in front of it, such as strace.
func role(t testing.TB, name, dir string, before ...string) *plain {
	t.Helper()
	p, err := tryRole(t, name, dir, before...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// output is what a process said, read while it still speaks.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func tryRole(t testing.TB, name, dir string, before ...string) (*plain, error) {
	words := append(before, binary, name, "--dir", dir)
	p := &plain{cmd: exec.Command(words[0], words[1:]...), stderr: &output{}, done: make(chan struct{})}
	ready, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stderr = w
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	_ = w.Close()
	up := make(chan struct{})
	go func() {
		defer close(p.done)
		told, buf := false, make([]byte, 4096)
		for {
			n, err := ready.Read(buf)
			p.stderr.Write(buf[:n])
			if !told && strings.Contains(p.stderr.String(), " is ready: ") { // why it could not begin stands behind its name as well
				told = true
				close(up)
			}
			if err != nil {
				break
			}
		}
		_ = ready.Close()
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	select {
	case <-up:
		return p, nil
	case <-p.done:
		return nil, fmt.Errorf("%s ended before it was ready: %s", name, p.stderr)
	case <-time.After(patience):
		p.kill()
		return nil, fmt.Errorf("%s is not ready after two minutes: %s", name, p.stderr)
	}
}

// kill is kill -9.
func (p *plain) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// cli runs a command line over the local socket.
func cli(dir, line string) (string, error) {
	cmd := exec.Command(binary, "cli", "--dir", dir, line)
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}
