// Package e2e walks the product from outside: the built binary, real sockets,
// the stock ssh client, swaks and openssl. Nothing here imports a room but what
// tests have in common.
package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lazaret/internal/testlib"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lazaret-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "lazaret")
	build := exec.Command("go", "build", "-o", binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

type endpoint struct {
	Name, SSH, CPQ, SMTP, User, Password, Dir string
	Pid                                       int
}

type layout struct {
	Manager  endpoint
	Gateways []endpoint
	Mailbox  struct{ SMTP, Maildir string }
}

// demo is one running demo process.
type demo struct {
	layout
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	done   chan struct{}
}

// patience is how long anything may take on a slow, busy machine before it counts
// as never: what is measured is measured elsewhere.
const patience = 2 * time.Minute

// start runs `lazaret demo --dir DIR --json ARGS` and waits for its line.
func start(t testing.TB, dir string, args ...string) *demo {
	t.Helper()
	d := &demo{t: t, dir: dir, stderr: &bytes.Buffer{}, done: make(chan struct{})}
	if _, err := os.Stat(filepath.Join(dir, "demo.json")); err != nil { // a new one: at ports that no other test knows
		args = append(args, "--port-base", fmt.Sprint(testlib.FreePorts(t, 9)[0]))
	}
	d.cmd = exec.Command(binary, append([]string{"demo", "--dir", dir, "--json"}, args...)...)
	d.cmd.Stderr = d.stderr
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	line := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		s, _ := r.ReadString('\n')
		line <- s
		rest, _ := io.ReadAll(r)
		if len(rest) > 0 {
			t.Errorf("more than one line on stdout: %q", rest)
		}
		_ = d.cmd.Wait()
		close(d.done)
	}()
	select {
	case s := <-line:
		if err := json.Unmarshal([]byte(s), &d.layout); err != nil {
			d.kill()
			t.Fatalf("stdout %q is not the contract's JSON: %v\n%s", s, err, d.stderr)
		}
	case <-time.After(patience):
		d.kill()
		t.Fatalf("not ready after two minutes\n%s", d.stderr)
	}
	return d
}

// kill is kill -9; a second call does nothing.
func (d *demo) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

// stop is Ctrl-C and must end cleanly.
func (d *demo) stop() {
	d.t.Helper()
	_ = d.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatal("does not end on Ctrl-C")
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Fatalf("exit status %d on Ctrl-C\n%s", code, d.stderr)
	}
}

// ssh runs a command line on an appliance with the stock client.
func (d *demo) ssh(e endpoint, line string) (string, int) {
	d.t.Helper()
	host, port, _ := net.SplitHostPort(e.SSH)
	cmd := exec.Command("sshpass", "-p", e.Password, "ssh", "-p", port, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "PubkeyAuthentication=no", e.User+"@"+host, line)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode()
	if err != nil && code < 0 || code == 255 {
		d.t.Fatalf("ssh %q: %v %s", line, err, errs.String())
	}
	return out.String(), code
}

// must is ssh that expects exit status 0.
func (d *demo) must(e endpoint, line string) string {
	d.t.Helper()
	out, code := d.ssh(e, line)
	if code != 0 {
		d.t.Fatalf("%s> %s: exit status %d\n%s", e.Name, line, code, out)
	}
	return out
}

// send gives one message to a gateway.
func send(addr, from string, to []string, body string) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, rcpt := range to {
		if err := c.Rcpt(rcpt); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// text makes a message with a subject and a marker line.
func text(subject, marker string) string {
	return "From: Alice <alice@partner.example>\r\nTo: bob@example.com\r\nSubject: " + subject + "\r\nMessage-ID: <" + marker +
		"@partner.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nMarker " + marker + "\r\n.starts with a dot\r\n..and two\r\n"
}

type held struct {
	ID, Mid, ESAMid json.Number `json:"-"`
	Raw             map[string]any
	Subject, Sender string
	Quarantines     []struct{ Name, Reason, Exit, State string }
	Release         []struct{ Recipient, State, Reply string }
}

// search runs `quarantine search CONDITIONS --json` on the manager.
func (d *demo) search(conditions string) []held {
	d.t.Helper()
	var all []held
	for _, line := range strings.Split(strings.TrimSpace(d.must(d.Manager, "quarantine search "+conditions+" --json")), "\n") {
		if line == "" {
			continue
		}
		var h held
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			d.t.Fatalf("line %q: %v", line, err)
		}
		if err := json.Unmarshal([]byte(line), &h.Raw); err != nil {
			d.t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

func (h held) id() string { return fmt.Sprint(h.Raw["id"]) }

// bySubject waits until n messages with the subject are held.
func (d *demo) bySubject(subject string, n int, within time.Duration) []held {
	d.t.Helper()
	deadline := time.Now().Add(max(within, patience))
	for {
		var found []held
		for _, h := range d.search("") {
			if h.Subject == subject {
				found = append(found, h)
			}
		}
		if len(found) >= n || time.Now().After(deadline) {
			if len(found) != n {
				d.t.Fatalf("%d messages with subject %q are held, not %d", len(found), subject, n)
			}
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// mailbox reads every delivered file that holds the marker.
func (d *demo) mailbox(marker string) [][]byte {
	d.t.Helper()
	var found [][]byte
	for _, sub := range []string{"new", "cur"} {
		files, _ := filepath.Glob(filepath.Join(d.Mailbox.Maildir, sub, "*"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				d.t.Fatal(err)
			}
			if bytes.Contains(b, []byte("Marker "+marker+"\r\n")) {
				found = append(found, b)
			}
		}
	}
	return found
}

// delivered waits for exactly n copies.
func (d *demo) delivered(marker string, n int, within time.Duration) [][]byte {
	d.t.Helper()
	deadline := time.Now().Add(max(within, patience))
	for {
		got := d.mailbox(marker)
		if len(got) >= n || time.Now().After(deadline) {
			if len(got) != n {
				d.t.Fatalf("marker %s is in the mailbox %d times, not %d", marker, len(got), n)
			}
			return got
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
