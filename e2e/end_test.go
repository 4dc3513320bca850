package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each end of a manager explains itself: on stderr, in mail_logs, and, where the
// process had no time for that, in the mail_logs of the next life.
func TestEachEndExplainsItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	first := start(t, dir)
	first.stop()
	sma := first.Manager.Dir
	log := func() string {
		b, err := os.ReadFile(filepath.Join(sma, "log", "mail_logs", "mail.current"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	wait := func(p *plain) string {
		t.Helper()
		select {
		case <-p.done:
		case <-time.After(patience):
			t.Fatal("it does not end")
		}
		return p.stderr.String()
	}

	p := role(t, "manager", sma)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if text := wait(p); !strings.Contains(text, "lazaret manager: ends with status 0: terminated signal received\n") || p.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("SIGTERM: %v %s", p.cmd.ProcessState, text)
	}
	if !strings.Contains(log(), "Info: Ends with status 0: terminated signal received\n") {
		t.Error("SIGTERM is not in the log")
	}

	p = role(t, "manager", sma)
	p.kill()
	p = role(t, "manager", sma)
	if !strings.Contains(log(), "did not end in good order: process ") || !strings.Contains(log(), "it was killed, or the machine stopped\n") {
		t.Error("the kill is not in the log of the next life")
	}

	// Go's own way to die: what it says is on stderr, in a file, and in the next log.
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	if text := wait(p); !strings.Contains(text, "SIGQUIT") || p.cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("a crash: %v %.200s", p.cmd.ProcessState, text)
	}
	p = role(t, "manager", sma)
	if !strings.Contains(log(), "; SIGQUIT: quit") {
		t.Error("the crash is not in the log of the next life")
	}
	if b, err := os.ReadFile(filepath.Join(sma, "log", "crash.old")); err != nil || !strings.Contains(string(b), "goroutine ") {
		t.Errorf("what is kept of the crash: %v %.100s", err, b)
	}

	// A second process says so and leaves the first alone.
	if q, err := tryRole(t, "manager", sma); err == nil || !strings.Contains(err.Error(), "in use by another process") || q != nil {
		t.Errorf("a second process: %v", err)
	}
	p.kill()

	// Somebody else has its port.
	l, err := net.Listen("tcp", first.Manager.CPQ)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tryRole(t, "manager", sma)
	l.Close()
	if err == nil || !strings.Contains(err.Error(), first.Manager.CPQ) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a port in use: %v", err)
	}
	if !strings.Contains(log(), "Critical: Ends with status 75: listener \"cpq_listener\": cannot listen on "+first.Manager.CPQ) {
		t.Errorf("the port in use is not in the log:\n%s", log())
	}
}

// Nobody reads stderr any more: no reason to end, even when there is something
// to say.
func TestNobodyReadsStderr(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	first := start(t, dir)
	first.stop()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "manager", "--dir", first.Manager.Dir)
	cmd.Stderr = w
	_ = r.Close()
	if err := cmd.Start(); err != nil { // its line that it is ready goes nowhere already
		t.Fatal(err)
	}
	_ = w.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if out, err := cli(first.Manager.Dir, "status"); err == nil && strings.Contains(out, "Status") {
			break
		}
		select {
		case err := <-done:
			t.Fatalf("it has ended: %v", err)
		default:
		}
		if time.Since(began) > patience {
			t.Fatal("it does not answer")
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := <-done; err != nil {
		t.Errorf("it ends: %v", err)
	}
}
