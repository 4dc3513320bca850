package adminssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeUsers has admin by password and by keys, and another by key only.
type fakeUsers struct {
	mu   sync.Mutex
	keys map[string]string // wire form to user
}

func (u *fakeUsers) Password(name, password, from, via string) (mail.Principal, error) {
	if name == "admin" && password == "secret" {
		return mail.Principal{Name: name, Role: mail.Administrator, From: from, Via: via}, nil
	}
	return mail.Principal{}, errs.New(errs.Denied, "user name or password is wrong")
}

func (u *fakeUsers) Key(name string, wire []byte, from, via string) (mail.Principal, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if owner, ok := u.keys[string(wire)]; ok && owner == name {
		role := mail.Administrator
		if name != "admin" {
			role = mail.CommandClient
		}
		return mail.Principal{Name: name, Role: role, From: from, Via: via}, nil
	}
	return mail.Principal{}, errs.New(errs.Denied, "key is not known for this user")
}

// fakeRunner has the few commands that show what the transport does.
type fakeRunner struct{ running chan struct{} }

func (r *fakeRunner) Exec(ctx context.Context, p mail.Principal, line string, c console.Console) int {
	switch word, rest, _ := strings.Cut(line, " "); word {
	case "who":
		fmt.Fprintf(c, "%s|%s|%s|%s\n", p.Name, p.Role, p.From, p.Via)
	case "echo":
		fmt.Fprintf(c, "%s\nend\n", rest)
	case "size":
		columns, rows := c.Size()
		fmt.Fprintf(c, "%d %d\n", columns, rows)
	case "read":
		for {
			l, err := c.ReadLine("prompt> ")
			if err != nil {
				return 0
			}
			fmt.Fprintf(c, "<%s>\n", l)
		}
	case "big":
		c.Write(bytes.Repeat([]byte("0123456789abcde\n"), 1<<16))
	case "follow":
		fmt.Fprintf(c, "following\n")
		r.running <- struct{}{}
		select {
		case <-ctx.Done():
		case <-c.Interrupted():
			fmt.Fprintf(c, "stopped\n")
		}
		r.running <- struct{}{}
	case "panic":
		panic("as asked")
	case "fail":
		return 3
	}
	return 0
}

func (r *fakeRunner) Shell(ctx context.Context, p mail.Principal, c console.Console) {
	fmt.Fprintf(c, "Welcome\n")
	for {
		if t, ok := c.(console.Completer); ok {
			t.Complete(func(line string) (out []string) {
				for _, w := range []string{"echo", "echoes", `"two words"`, "wörter"} {
					if strings.HasPrefix(w, line[strings.LastIndexByte(line, ' ')+1:]) || strings.HasSuffix(line, `"two w`) && w[0] == '"' {
						out = append(out, w)
					}
				}
				return out
			})
		}
		l, err := c.ReadLine("gw1.demo.example> ")
		if errors.Is(err, console.ErrInterrupt) {
			fmt.Fprintf(c, "[interrupted]\n")
			continue
		}
		if err != nil || l == "exit" {
			return
		}
		if l == "password" {
			s, err := c.ReadPassword("Password: ")
			fmt.Fprintf(c, "%d %v\n", len(s), err)
			continue
		}
		if l == "key" {
			fmt.Fprintf(c, "-Press-")
			b, err := c.(console.KeyReader).ReadKey()
			fmt.Fprintf(c, "\n%q %v\n", b, err)
			continue
		}
		r.Exec(ctx, p, l, c)
	}
}

type trail struct {
	mu    sync.Mutex
	lines []string
}

func (t *trail) Record(p mail.Principal, what, result string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, p.Name+": "+what+": "+result)
}

func (t *trail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

type bench struct {
	t      *testing.T
	dir    string
	addr   string
	host   ssh.PublicKey
	users  *fakeUsers
	runner *fakeRunner
	trail  *trail
	server *Server
}

func start(t *testing.T, limits Limits) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), users: &fakeUsers{keys: map[string]string{}}, runner: &fakeRunner{running: make(chan struct{}, 2)}, trail: &trail{}}
	key, err := NewKey(filepath.Join(b.dir, "host"))
	if err != nil {
		t.Fatal(err)
	}
	b.host = key.PublicKey()
	b.server, err = New(Options{Users: b.users, HostKey: key, Runner: b.runner, Audit: b.trail, Limits: limits,
		Fault: func(c, text string) { b.trail.Record(mail.System(), c, strings.SplitN(text, "\n", 2)[0]) }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		b.server.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// openssh runs the stock client.
func (b *bench) openssh(stdin string, args ...string) (out string, status int) {
	b.t.Helper()
	return b.client("admin", []string{"sshpass", "-p", "secret"}, stdin, args...)
}

func (b *bench) client(user string, before []string, stdin string, args ...string) (string, int) {
	b.t.Helper()
	if _, err := exec.LookPath("ssh"); err != nil {
		testlib.Absent(b.t, "no ssh client here")
	}
	if len(before) > 0 {
		if _, err := exec.LookPath(before[0]); err != nil {
			testlib.Absent(b.t, "no sshpass here")
		}
	}
	host, port, _ := net.SplitHostPort(b.addr)
	line := append(append([]string{}, before...), "ssh", "-F", "none", "-p", port, "-l", user, "-o", "StrictHostKeyChecking=yes",
		"-o", "UserKnownHostsFile="+filepath.Join(b.dir, "known"), "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", "-o", "SetEnv=LANG=C")
	known := fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(b.host))
	if err := os.WriteFile(filepath.Join(b.dir, "known"), []byte(known), 0o600); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	line = append(line, args...)
	c := exec.CommandContext(ctx, line[0], line[1:]...)
	c.Stdin = strings.NewReader(stdin)
	var errOut strings.Builder
	c.Stderr = &errOut
	out, err := c.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		b.t.Fatalf("%v: %v", line, err)
	}
	if errOut.Len() > 0 {
		b.t.Logf("ssh says: %s", errOut.String())
	}
	return string(out), c.ProcessState.ExitCode()
}

func (b *bench) hostArgs(args ...string) []string {
	host, _, _ := net.SplitHostPort(b.addr)
	return append(append([]string{}, args[:len(args)-1]...), host, args[len(args)-1])
}

// Closing the port leaves its sessions alone; Close ends them.
func TestClosedPortKeepsSessions(t *testing.T) {
	b := start(t, Limits{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(context.Background(), l) }()
	c, err := ssh.Dial("tcp", l.Addr().String(), &ssh.ClientConfig{User: "admin", Auth: []ssh.AuthMethod{ssh.Password("secret")}, HostKeyCallback: ssh.FixedHostKey(b.host)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	running, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Start("follow"); err != nil {
		t.Fatal(err)
	}
	<-b.runner.running
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-served:
		t.Fatalf("ended with its port: %v", err)
	case <-b.runner.running:
		t.Fatal("the command was ended with the port")
	case <-time.After(100 * time.Millisecond):
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := s.Output("who"); err != nil || !strings.HasPrefix(string(out), "admin|") {
		t.Errorf("%q, %v", out, err)
	}
	b.server.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// The stock client, as the scripts of clients 2.1 use it.
func TestOpenSSHExec(t *testing.T) {
	b := start(t, Limits{})
	for _, c := range []struct {
		stdin string
		args  []string
		out   string
		code  int
	}{
		{"", []string{"who"}, "admin|Administrator|127.0.0.1|ssh\n", 0},
		{"", []string{"echo a b; id"}, "a b; id\nend\n", 0},
		{"", []string{"-tt", "echo x"}, "x\r\nend\r\n", 0},
		{"secret\n", []string{"-tt", "echo x"}, "x\r\nend\r\n", 0}, // a client that types its password again
		{"", []string{"fail"}, "", 3},
		{"", []string{"size"}, "0 0\n", 0},
		{"secret\n", []string{"echo x"}, "x\nend\n", 0},
		{"one\ntwo", []string{"read"}, "<one>\n<two>\n", 0},
	} {
		out, code := b.openssh(c.stdin, b.hostArgs(c.args...)...)
		if out != c.out || code != c.code {
			t.Errorf("%q: %q, status %d; want %q, %d", c.args, out, code, c.out, c.code)
		}
	}
	if out, _ := b.openssh("", b.hostArgs("big")...); len(out) != 1<<20 {
		t.Errorf("a MiB came out as %d bytes", len(out))
	}
	if out, code := b.openssh("", b.hostArgs("panic")...); code != 1 || !strings.Contains(out, "fault of the program") {
		t.Errorf("panic: %q %d", out, code)
	}
	if !strings.Contains(b.trail.String(), "system: adminssh: panic: as asked") {
		t.Errorf("the panic is not reported:\n%s", b.trail)
	}
	if _, code := b.client("admin", []string{"sshpass", "-p", "wrong"}, "", b.hostArgs("who")...); code == 0 {
		t.Error("a wrong password got in")
	}
	if !strings.Contains(b.trail.String(), "admin: login by password: failed: user name or password is wrong") {
		t.Errorf("no trace of the wrong password:\n%s", b.trail)
	}
}

// No forwarding, no subsystems.
func TestOpenSSHRefusals(t *testing.T) {
	b := start(t, Limits{})
	if out, code := b.openssh("", b.hostArgs("-W", b.addr, "unused")[:3]...); code == 0 {
		t.Errorf("forwarded: %q", out)
	}
	if out, code := b.openssh("", b.hostArgs("-s", "sftp")...); code == 0 {
		t.Errorf("subsystem: %q", out)
	}
}

// Keys decide only when a signature was seen: a client that owns one key and
// merely names the administrator's gets what its own key is for (F1).
func TestOpenSSHKeys(t *testing.T) {
	b := start(t, Limits{})
	key, err := NewKey(filepath.Join(b.dir, "id"))
	if err != nil {
		t.Fatal(err)
	}
	b.users.keys[string(key.PublicKey().Marshal())] = "cpq"
	args := []string{"-i", filepath.Join(b.dir, "id"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"}
	if out, code := b.client("cpq", nil, "", append(args, b.hostArgs("who")...)...); code != 0 || out != "cpq|Command Client|127.0.0.1|ssh\n" {
		t.Errorf("%q %d", out, code)
	}
	if out, code := b.client("admin", nil, "", append(args, b.hostArgs("who")...)...); code == 0 {
		t.Errorf("another user's key got in: %q", out)
	}
}

func TestOfferedKeyGrantsNothing(t *testing.T) {
	b := start(t, Limits{})
	mine, err := NewKey(filepath.Join(b.dir, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := NewKey(filepath.Join(b.dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	b.users.keys[string(mine.PublicKey().Marshal())] = "cpq"
	b.users.keys[string(theirs.PublicKey().Marshal())] = "cpq2"
	// The signer shows their key and signs with mine.
	_, err = ssh.Dial("tcp", b.addr, &ssh.ClientConfig{User: "cpq2", HostKeyCallback: ssh.FixedHostKey(b.host),
		Auth: []ssh.AuthMethod{ssh.PublicKeys(liar{Signer: mine, show: theirs.PublicKey()})}})
	if err == nil {
		t.Fatal("a key that was only offered logged in")
	}
	if strings.Contains(b.trail.String(), "ok") {
		t.Errorf("the audit believes it:\n%s", b.trail)
	}
}

type liar struct {
	ssh.Signer
	show ssh.PublicKey
}

func (l liar) PublicKey() ssh.PublicKey { return l.show }

func dial(t *testing.T, b *bench) *ssh.Client {
	t.Helper()
	c, err := ssh.Dial("tcp", b.addr, &ssh.ClientConfig{User: "admin", Auth: []ssh.AuthMethod{ssh.Password("secret")}, HostKeyCallback: ssh.FixedHostKey(b.host)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// tty is a shell on a pty that a test types at.
type tty struct {
	t   *testing.T
	in  io.Writer
	out io.Reader
	s   *ssh.Session
}

func shell(t *testing.T, c *ssh.Client) *tty {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("vt100", 24, 80, ssh.TerminalModes{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	return &tty{t: t, in: in, out: out, s: s}
}

// until reads up to the text, which must be the last bytes sent. A shell that
// does not send it in a minute is closed.
func (y *tty) until(text string) string {
	y.t.Helper()
	defer time.AfterFunc(time.Minute, func() { _ = y.s.Close() }).Stop()
	var got []byte
	buf := make([]byte, 1024)
	for {
		n, err := y.out.Read(buf)
		got = append(got, buf[:n]...)
		if strings.HasSuffix(string(got), text) {
			return string(got)
		}
		if err != nil {
			y.t.Fatalf("%v after %q, waiting for %q", err, got, text)
		}
	}
}

func (y *tty) send(s string) {
	y.t.Helper()
	if _, err := io.WriteString(y.in, s); err != nil {
		y.t.Fatal(err)
	}
}

const prompt = "gw1.demo.example> "

func TestShell(t *testing.T) {
	b := start(t, Limits{})
	y := shell(t, dial(t, b))
	if got := y.until(prompt); got != "Welcome\r\n"+prompt {
		t.Errorf("greeting %q", got)
	}
	y.send("echo hi\n")
	if got := y.until(prompt); got != "echo hi\r\nhi\r\nend\r\n"+prompt {
		t.Errorf("line ended by LF: %q", got)
	}
	y.send("echo crlf\r\n")
	if got := y.until(prompt); got != "echo crlf\r\ncrlf\r\nend\r\n"+prompt {
		t.Errorf("line ended by CR LF: %q", got)
	}
	y.send("\x1b[A\r") // the history
	if got := y.until("end\r\n" + prompt); !strings.Contains(got, "\r\ncrlf\r\n") {
		t.Errorf("history: %q", got)
	}
	y.send("half a line\x03")
	if got := y.until("[interrupted]\r\n" + prompt); !strings.Contains(got, "^C\r\n") {
		t.Errorf("Ctrl-C at the prompt: %q", got)
	}
	y.send("who\r") // without the half line
	y.until("who\r\nadmin|Administrator|127.0.0.1|ssh\r\n" + prompt)
	y.send("password\r")
	y.until("Password: ")
	y.send("hunter2\r")
	if got := y.until("7 <nil>\r\n" + prompt); strings.Contains(got, "hunter2") {
		t.Errorf("the password is shown: %q", got)
	}
	y.send("key\r")
	y.until("-Press-")
	y.send(" ")
	y.until("\r\n' ' <nil>\r\n" + prompt)
	// With a reply asked for, so that the change is done before the next key.
	if ok, err := y.s.SendRequest("window-change", true, ssh.Marshal(struct{ C, R, W, H uint32 }{132, 50, 0, 0})); !ok || err != nil {
		t.Fatal(ok, err)
	}
	y.send("echo sync\r")
	y.until("end\r\n" + prompt)
	y.send("size\r")
	y.until("132 50\r\n" + prompt)
	y.send("exit\r")
	if err := y.s.Wait(); err != nil {
		t.Errorf("exit status: %v", err)
	}
}

// Ctrl-C ends what runs, and what was typed ahead is forgotten; then the shell
// goes on. A connection that goes away ends it as well.
func TestInterruptRunning(t *testing.T) {
	b := start(t, Limits{})
	c := dial(t, b)
	y := shell(t, c)
	y.until(prompt)
	y.send("follow\r")
	<-b.runner.running
	y.send("typed ahead\r\x03")
	if got := y.until("stopped\r\n" + prompt); strings.Contains(got, "ahead") {
		t.Errorf("%q", got)
	}
	<-b.runner.running
	y.send("follow\r")
	<-b.runner.running
	c.Close()
	<-b.runner.running
}

// Sessions one after the other on one connection, and no more than allowed at once.
func TestChannels(t *testing.T) {
	b := start(t, Limits{Channels: 2})
	c := dial(t, b)
	for range 10 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := s.Output("echo x"); err != nil || string(out) != "x\nend\n" {
			t.Fatalf("%q %v", out, err)
		}
	}
	if _, _, err := c.OpenChannel("direct-tcpip", nil); err == nil {
		t.Error("forwarding was accepted")
	}
	for range 2 {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	if s, err := c.NewSession(); err == nil {
		s.Close()
		t.Error("a third session at once was accepted")
	}
}

// Who does not log in is cut off, and strangers are only so many (F4).
func TestUnauthenticated(t *testing.T) {
	b := start(t, Limits{Handshake: time.Second, Unauthenticated: 1})
	first, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := io.ReadFull(first, make([]byte, 8)); err != nil { // its version: it holds the slot
		t.Fatal(err)
	}
	second, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if n, err := second.Read(make([]byte, 1)); err == nil {
		t.Errorf("a second stranger was served: %d bytes", n)
	}
	if _, err := io.Copy(io.Discard, first); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	// The slot is free again, at the latest when the server has noted the end.
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := ssh.Dial("tcp", b.addr, &ssh.ClientConfig{User: "admin", Auth: []ssh.AuthMethod{ssh.Password("secret")}, HostKeyCallback: ssh.FixedHostKey(b.host)})
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestIdleShell(t *testing.T) {
	b := start(t, Limits{Idle: 50 * time.Millisecond})
	y := shell(t, dial(t, b))
	got, err := io.ReadAll(y.out)
	if err != nil || !strings.HasSuffix(string(got), "\r\nThe session was idle for too long.\r\n") {
		t.Errorf("%q %v", got, err)
	}
}
