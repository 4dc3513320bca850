package smtp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// postfix runs a real Postfix for one session, stand-alone, with a configuration
// and a queue of its own: as Debian has it, which takes a bare LF for a line end.
// It gives our end of the session, and how many messages Postfix has.
func postfix(t *testing.T) (net.Conn, func() int) {
	t.Helper()
	const sendmail = "/usr/sbin/sendmail"
	owner, err := user.Lookup("postfix")
	if _, serr := os.Stat(sendmail); err != nil || serr != nil || os.Getuid() != 0 {
		t.Skip("needs Postfix, and root for its directories")
	}
	group, err := user.LookupGroup("postdrop")
	if err != nil {
		t.Skip("needs the group postdrop of Postfix")
	}
	dir, err := os.MkdirTemp("", "postfix") // not t.TempDir: Postfix's own user has to come in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(group.Gid)
	for name, mode := range map[string]os.FileMode{"etc": 0o755, "data": 0o700, "queue": 0o755, "queue/pid": 0o755, "queue/public": 0o710, "queue/maildrop": 0o730} {
		d := filepath.Join(dir, name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if name == "data" || strings.HasSuffix(name, "drop") || strings.HasSuffix(name, "public") {
			os.Chown(d, uid, gid)
		}
		os.Chmod(d, mode)
	}
	conf := "compatibility_level = 3.6\nqueue_directory = " + dir + "/queue\ndata_directory = " + dir + "/data\nmyhostname = postfix.example\nmydestination =\n" +
		"inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nalias_maps =\nalias_database =\nlocal_recipient_maps =\n"
	if err := os.WriteFile(filepath.Join(dir, "etc", "main.cf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "etc", "master.cf"), nil, 0o644)
	near, far := net.Pipe() // not a socket: Postfix would want to know who is behind it
	cmd := exec.Command(sendmail, "-C", filepath.Join(dir, "etc"), "-bs")
	cmd.Stdin, cmd.Stdout = far, far
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); cmd.Process.Kill(); cmd.Wait() })
	return near, func() int {
		names, _ := filepath.Glob(filepath.Join(dir, "queue", "maildrop", "*"))
		return len(names)
	}
}

// Register B1 against a server by other hands that is known to take a bare LF for
// a line end: whatever our server took, our client sends to Postfix as exactly one
// message, and the commands in it are never commands.
func TestSEC_B1_Postfix(t *testing.T) {
	conn, queued := postfix(t)
	c := NewClient(conn, ClientConfig{})
	ctx := context.Background()
	if r, err := c.Greet(ctx); err != nil || !r.Positive() {
		t.Fatal(r, err)
	}
	if _, r, err := c.Hello(ctx, "c.example"); err != nil || !r.Positive() {
		t.Fatal(r, err)
	}
	servers := []*Server{newServer(t), newServer(t, func(c *ServerConfig) { c.BareNewlines = Normalise })}
	sent := 0
	everyString(1+maxString()/8, func(str string) { // 1, and 2 with LAZARET_EXHAUSTIVE: each message costs Postfix two processes
		text := "a" + str + "." + str + "MAIL FROM:<x@y.example>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n" + str + "smuggled" + str + ".\r\n"
		for _, s := range servers {
			for _, wire := range []string{
				"DATA\r\n" + text + "\r\n.\r\nQUIT\r\n",
				fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(text), text),
			} {
				b := &box{}
				s.Serve(ctx, &script{pieces: []string{"EHLO c\r\n", "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n", wire[:6], wire[6:]}}, b)
				for _, m := range b.messages {
					res, err := c.Send(ctx, &Transaction{From: mail.Address{Local: "a", Domain: "b.example"}, To: []mail.Address{{Local: "c", Domain: "d.example"}}, Content: bytes.NewReader([]byte(m))})
					if err != nil || !res.Data.Positive() {
						t.Fatalf("%q: %v %v", m, res, err)
					}
					if err := c.Reset(ctx); err != nil { // in step: no reply too many
						t.Fatalf("%q: %v", m, err)
					}
					if sent++; queued() != sent {
						t.Fatalf("%q: Postfix has %d messages of %d", m, queued(), sent)
					}
				}
			}
		}
	})
	if sent < 10 {
		t.Errorf("only %d messages were taken", sent)
	}
	t.Logf("proof: SEC_B1_Postfix trials=%d violations=0", sent)
}
