package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazaret/internal/adminssh"
	"lazaret/internal/appliance"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	wire "lazaret/internal/smtp"
)

// Both roles in one test process: a message goes gateway, manager, release,
// gateway, mailbox, and Close leaves nothing behind.
func TestCircleInOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	a, cancel, done := launch(t, dir)
	for _, only := range []string{"", "gw1"} {
		err := Run(t.Context(), Options{Dir: dir, Only: only, Stdout: io.Discard, Stderr: io.Discard})
		if !errs.Is(err, errs.Conflict) || err.Error() != dir+" is in use by another demonstration" {
			t.Errorf("a second one, --only %q: %v", only, err)
		}
	}
	const content = "Subject: HOLDME\r\n\r\nMarker circle\r\n"
	send(t, a.Gateways[0].SMTP, content)
	mid := waitHeld(t, a.Manager.Dir, "HOLDME")
	local(t, a.Manager.Dir, "quarantine release "+strconv.FormatUint(mid, 10))
	waitFor(t, func() bool {
		for _, b := range files(t, a.Mailbox.Maildir) {
			if bytes.HasSuffix(b, []byte(content)) {
				return true
			}
		}
		return false
	})
	// What only BINARYMIME and SMTPUTF8 can carry goes the same way: kept octet
	// for octet at both ends and on the link.
	const binary = "Subject: HOLDME binary\r\n\r\n\x00\r\xff\n.\nno end"
	sendBinary(t, a.Gateways[0].SMTP, binary)
	mid = waitHeld(t, a.Manager.Dir, "HOLDME binary")
	if got := local(t, a.Manager.Dir, "quarantine search --json"); !strings.Contains(got, "j\u00fcrg@example.com") || !strings.Contains(got, "\u00e4nn@xn--bcher-kva.example") {
		t.Errorf("the addresses are shown as\n%s", got)
	}
	local(t, a.Manager.Dir, "quarantine release "+strconv.FormatUint(mid, 10))
	waitFor(t, func() bool {
		for _, b := range files(t, a.Mailbox.Maildir) {
			if bytes.HasSuffix(b, []byte(binary)) && bytes.Contains(b, []byte(" with UTF8SMTP id ")) {
				return true
			}
		}
		return false
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// sendBinary gives a message by BDAT from an address and to one in UTF-8.
func sendBinary(t *testing.T, addr, content string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := wire.NewClient(conn, wire.ClientConfig{})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	if _, err := c.Greet(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Hello(ctx, "client.example"); err != nil {
		t.Fatal(err)
	}
	from, err1 := mail.ParseAddress("\u00e4nn@b\u00fccher.example")
	to, err2 := mail.ParseAddress("j\u00fcrg@EXAMPLE.com")
	res, err3 := c.Send(ctx, &wire.Transaction{Params: mail.Params{Binary: true, UTF8: true, Ret: mail.RetHeaders, EnvID: "x y"}, From: from, To: []mail.Address{to},
		Rcpt: []mail.RcptParams{{Notify: mail.NotifyNever, ORCPT: "utf-8;j\u00fcrg@example.com"}}, Content: strings.NewReader(content)})
	if err := errors.Join(err1, err2, err3); err != nil || !res.Recipient(0).Positive() {
		t.Fatal(err, res)
	}
}

// send gives a message to a gateway, in clear: its certificate is its own.
func send(t *testing.T, addr, content string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := errors.Join(c.Mail("alice@partner.example"), c.Rcpt("bob@example.com")); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), c.Quit()); err != nil {
		t.Fatal(err)
	}
}

// waitHeld gives the number of the held message with that subject.
func waitHeld(t *testing.T, dir, subject string) (mid uint64) {
	t.Helper()
	waitFor(t, func() bool {
		dec := json.NewDecoder(strings.NewReader(local(t, dir, "quarantine search --json")))
		for {
			var m struct {
				MID     uint64 `json:"mid"`
				Subject string `json:"subject"`
			}
			if dec.Decode(&m) != nil {
				return false
			}
			if m.Subject == subject {
				mid = m.MID
				return true
			}
		}
	})
	return mid
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
		time.Sleep(20 * time.Millisecond) // real sockets: there is no fake clock
	}
}

func local(t *testing.T, dir, line string) string {
	t.Helper()
	var b bytes.Buffer
	code, err := adminssh.Local(context.Background(), appliance.SocketPath(dir), line, strings.NewReader(""), &b)
	if err != nil || code != 0 {
		t.Fatalf("%s: %d %v\n%s", line, code, err, b.String())
	}
	return b.String()
}

func files(t *testing.T, maildir string) (all [][]byte) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(maildir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}
