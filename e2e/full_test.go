package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lazaret/internal/testlib/proof"
)

// fill is another process's file that takes all room of a disk.
func (d *loopDisk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "filler"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	at := int64(0)
	for step := int64(1 << 30); step >= 4096; {
		if err := unix.Fallocate(int(f.Fd()), 0, at, step); err == nil {
			at += step
		} else if errors.Is(err, syscall.ENOSPC) {
			step /= 2
		} else {
			d.t.Fatal(err)
		}
	}
}

// fillInodes makes files until there is no inode left.
func (d *loopDisk) fillInodes() {
	d.t.Helper()
	dir := filepath.Join(d.dir, "many")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	for n := 0; ; n++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(n)))
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			d.t.Fatal(err)
		}
		_ = f.Close()
	}
}

func (d *loopDisk) free() {
	d.t.Helper()
	if err := errors.Join(os.RemoveAll(filepath.Join(d.dir, "filler")), os.RemoveAll(filepath.Join(d.dir, "many"))); err != nil {
		d.t.Fatal(err)
	}
}

// half sends a message up to the middle of its content.
type half struct {
	p    *textproto.Conn
	rest string
}

func begin(t testing.TB, addr, text string) half {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	p := textproto.NewConn(c)
	for began := time.Now(); firstReply(t, addr) != 354 && time.Since(began) < patience; {
		time.Sleep(50 * time.Millisecond)
	}
	for _, s := range []struct {
		want int
		line string
	}{{220, ""}, {250, "EHLO half"}, {250, "MAIL FROM:<alice@partner.example>"}, {250, "RCPT TO:<bob@example.com>"}, {354, "DATA"}} {
		if s.line != "" {
			if err := p.PrintfLine("%s", s.line); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := p.ReadResponse(s.want); err != nil {
			t.Fatal(err)
		}
	}
	n := len(text) / 2
	if _, err := p.W.WriteString(text[:n]); err != nil {
		t.Fatal(err)
	}
	_ = p.W.Flush()
	return half{p, text[n:]}
}

// finish sends the rest and gives the reply's code.
func (h half) finish() int {
	_, _ = h.p.W.WriteString(h.rest)
	_ = h.p.PrintfLine(".")
	code, _, err := h.p.ReadResponse(0)
	if err != nil && code == 0 {
		return -1
	}
	return code
}

// F8: another process takes all room, or all inodes, of the disk that gateway
// and manager are on: in the middle of a message, of commits under load, of
// deposits, releases and log lines. Clients hear 452 and lose nothing;
// management answers and says why; when there is room again mail is taken
// within 30 seconds, by itself, and everything acknowledged arrives.
//
// It runs when LAZARET_POWER_CUTS is set: a full disk is waited out by half
// minutes, which takes minutes.
func TestDiskFull(t *testing.T) {
	if os.Getenv("LAZARET_POWER_CUTS") == "" {
		t.Skip("set LAZARET_POWER_CUTS, or run ./prove.sh power")
	}
	s := newSite(t, newLoopDisk(t, 2048, "-N", "6000"))
	s.start()
	addr := s.layout.Gateways[0].SMTP
	rounds := proof.Rounds(1)
	trials := 0
	for n := range rounds {
		for _, fill := range []struct {
			name string
			do   func()
		}{{"bytes", s.d.fill}, {"inodes", s.d.fillInodes}} {
			trials++
			name := fmt.Sprintf("%s-%d", fill.name, n)
			l := newLoad(t, addr, name, 4)
			for range 20 + n*7%60 {
				s.note(<-l.acks)
			}
			s.release(1)
			middle := begin(t, addr, letter(name+"-middle", "flows", 3<<20))
			fill.do()
			s.release(1) // while it is full: confirmed or refused
			if code := middle.finish(); code == 250 {
				s.note(name + "-middle")
			} else if code/100 != 4 {
				t.Errorf("%s: the message in the middle heard %d", name, code)
			}
			for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
				out, err := cli(s.gwDir(), "status")
				if err == nil && (strings.Contains(out, "disk is full for") || strings.Contains(out, "too little free space")) {
					break
				}
				if time.Since(began) > 30*time.Second {
					t.Fatalf("%s: status does not say that the disk is full: %v\n%s", name, err, out)
				}
			}
			l.mu.Lock()
			refused := l.codes["452"]
			l.mu.Unlock()
			code := 0
			for began := time.Now(); time.Since(began) < 30*time.Second; { // what is free is asked for four times a second
				if code = firstReply(t, addr); code == 452 {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if code != 452 {
				status, _ := cli(s.gwDir(), "status")
				lines, _ := cli(s.gwDir(), `grep "Disk" mail_logs`)
				df, _ := exec.Command("df", "-k", s.d.dir).Output()
				t.Errorf("%s: a new message hears %d, and %d in the load heard 452\n%s%s%s", name, code, refused, status, lines, df)
			}
			s.d.free()
			began := time.Now()
			for firstReply(t, addr) != 354 {
				if time.Since(began) > 30*time.Second {
					out, _ := cli(s.gwDir(), "status")
					t.Fatalf("%s: no mail is taken 30 s after there is room\n%s%s", name, out, s.gw.stderr)
				}
				time.Sleep(100 * time.Millisecond)
			}
			l.end()
			for m := range l.acks {
				s.note(m)
			}
			if n == 0 { // else it is tried within a minute, by itself
				_, _ = cli(s.gwDir(), "delivernow all")
			}
			if missing := s.settle(3 * time.Minute); len(missing) > 0 || len(s.sink.damaged) > 0 {
				t.Fatalf("%s: %d missing of %d, damaged %q\n%s", name, len(missing), len(s.acked)+len(s.held), s.sink.damaged, s.trace(missing))
			}
			select {
			case <-s.gw.done:
				t.Fatalf("%s: the gateway has ended: %s", name, s.gw.stderr)
			case <-s.sma.done:
				t.Fatalf("%s: the manager has ended: %s", name, s.sma.stderr)
			default:
			}
			t.Logf("%s: refused with %v; %d acknowledged so far", name, l.codes, len(s.acked)+len(s.held))
		}
	}
	for _, line := range []string{"Disk is full", "Disk has room again"} {
		if out, err := cli(s.gwDir(), `grep "`+line+`" mail_logs`); err != nil || !strings.Contains(out, line) {
			t.Errorf("the log does not say %q: %v %s", line, err, out)
		}
	}
	proof.Line(t, "disk-full", trials)
}

// firstReply gives a new client's first reply that is not 250, or 354.
func firstReply(t testing.TB, addr string) int {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return -1
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	p := textproto.NewConn(c)
	code := 0
	for _, line := range []string{"", "EHLO x", "MAIL FROM:<alice@partner.example>", "RCPT TO:<bob@example.com>", "DATA"} {
		if line != "" {
			_ = p.PrintfLine("%s", line)
		}
		if code, _, err = p.ReadResponse(0); err != nil {
			return -1
		}
		if code >= 400 {
			return code
		}
	}
	return code
}

// F7 on the real binary: strace makes the n-th fsync, fdatasync or write of a
// thread fail. No 250 is false: the process says why and ends, with a status
// that is not 0, or goes on; and the next start has everything acknowledged.
func TestFailingSystemCall(t *testing.T) {
	if out, err := exec.Command("strace", "-f", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		fmt.Printf("NOT PROVED: %s needs strace, and to be allowed to trace: %v %s\n", t.Name(), err, out)
		t.Skip("NOT PROVED here: strace ", err)
	}
	dir := filepath.Join(t.TempDir(), "d")
	first := start(t, dir)
	first.stop()
	s := &site{t: t, d: &loopDisk{t: t, dir: filepath.Dir(dir)}, layout: first.layout, acked: map[string]bool{}, held: map[string]bool{}, released: map[string]bool{}}
	s.sink = newTakeAll(t, first.Mailbox.SMTP)
	type fault struct {
		call, errno string
		when        int
	}
	faults := []fault{{"fdatasync", "EIO", 3}, {"fsync", "EIO", 2}, {"fdatasync", "ENOSPC", 9}, {"pwrite64", "EIO", 5}}
	if os.Getenv(proof.RoundsVar) != "" {
		faults = nil
		for n := 1; n <= 12; n++ {
			for _, call := range []string{"fdatasync", "fsync", "pwrite64", "renameat", "unlinkat"} {
				for _, errno := range []string{"EIO", "EROFS", "ENOSPC"} {
					faults = append(faults, fault{call, errno, n * n})
				}
			}
		}
	}
	s.sma = role(t, "manager", s.smaDir())
	ended := 0
	for n, f := range faults {
		inject := fmt.Sprintf("inject=%s:error=%s:when=%d", f.call, f.errno, f.when)
		p, err := tryRole(t, "gateway", s.gwDir(), "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace="+f.call, "-e", inject)
		if err != nil {
			if !strings.Contains(err.Error(), "ended before") || strings.Contains(err.Error(), "panic") {
				t.Errorf("%s at the start: %v", inject, err)
			}
			ended++
		} else {
			s.gw = p
			l := newLoad(t, s.layout.Gateways[0].SMTP, fmt.Sprintf("s%d", n), 4)
			select {
			case <-p.done:
				ended++
			case <-time.After(4 * time.Second):
			}
			if strings.Contains(p.stderr.String(), "panic") || strings.Contains(p.stderr.String(), "fatal error") {
				t.Errorf("%s: %s", inject, p.stderr)
			}
			p.end()
			l.end()
			for m := range l.acks {
				s.note(m)
			}
		}
		s.gw = role(t, "gateway", s.gwDir())
		if missing := s.settle(3 * time.Minute); len(missing) > 0 || len(s.sink.damaged) > 0 {
			t.Fatalf("%s: %d missing of %d, damaged %q\n%s", inject, len(missing), len(s.acked)+len(s.held), s.sink.damaged, s.trace(missing))
		}
		s.acked, s.held = map[string]bool{}, map[string]bool{}
		s.gw.end()
	}
	t.Logf("%d faults, the gateway ended %d times", len(faults), ended)
	proof.Line(t, "failing-system-calls", len(faults))
}

// end ends a process and all that it started: strace leaves its child alone
// when it is killed.
func (p *plain) end() {
	out, _ := exec.Command("pgrep", "-P", fmt.Sprint(p.cmd.Process.Pid)).Output()
	for _, pid := range strings.Fields(string(out)) {
		var n int
		if _, err := fmt.Sscan(pid, &n); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	}
	p.kill()
}
