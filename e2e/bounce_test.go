package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// refuseAll is a mail server that knows no recipient.
func refuseAll(t *testing.T) string {
	l := listen(t)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				fmt.Fprint(c, "220 refuses.example\r\n")
				for in := bufio.NewScanner(c); in.Scan(); {
					reply := "250 ok"
					switch strings.ToUpper(in.Text() + "    ")[:4] {
					case "RCPT":
						reply = "550 5.1.1 no such user"
					case "DATA":
						reply = "554 5.5.1 no valid recipients"
					}
					fmt.Fprint(c, reply+"\r\n")
				}
			}()
		}
	}()
	return l.Addr().String()
}

// Refused mail of a host that may relay comes back to its sender as one report
// that a strict reader of MIME takes apart (F167, register B7, B8).
func TestReportReachesTheSender(t *testing.T) {
	d := start(t, filepath.Join(t.TempDir(), "demo"))
	gw := d.Gateways[0]
	d.stop()
	conf := filepath.Join(gw.Dir, "config.xml")
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`(<domain>example\.org</domain>\s*<host>)[^<]*`).ReplaceAll(b, []byte("${1}["+strings.Replace(refuseAll(t), ":", "]:", 1)))
	b = bytes.Replace(b, []byte("  $RELAYED (Hosts that"), []byte("  127.0.0.1\n  $RELAYED (Hosts that"), 1)
	if err := os.WriteFile(conf, b, 0o600); err != nil {
		t.Fatal(err)
	}
	d = start(t, d.dir)
	defer d.stop()
	for _, from := range []string{"alice@example.com", "<>"} {
		out, err := exec.Command("swaks", "--server", gw.SMTP, "--from", from, "--to", "ines@example.org", "--header", "Subject: refused", "--body", "Marker refused-1").CombinedOutput()
		if err != nil {
			t.Fatalf("swaks: %v\n%s", err, out)
		}
	}
	eventually(t, func() string { return d.must(gw, `grep "Double bounce" mail_logs`) }, regexp.MustCompile(`no such user`))
	report := d.delivered("refused-1", 1, 10*time.Second)[0]
	time.Sleep(500 * time.Millisecond) // a second one would still be on its way
	d.delivered("refused-1", 1, 0)
	readReport(t, report)
}

// readReport takes a report apart as RFC 6522 and RFC 3464 have it.
func readReport(t *testing.T, raw []byte) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" || m.Header.Get("Auto-Submitted") != "auto-replied" ||
		m.Header.Get("To") != "<alice@example.com>" || m.Header.Get("X-Lazaret-Pass") == "" {
		t.Fatalf("%v\n%s", err, raw)
	}
	var types []string
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, kind)
		if kind != "message/delivery-status" {
			continue
		}
		in := textproto.NewReader(bufio.NewReader(p))
		whole, err1 := in.ReadMIMEHeader()
		one, err2 := in.ReadMIMEHeader()
		if err1 != nil || err2 != nil && err2 != io.EOF {
			t.Fatal(err1, err2)
		}
		if whole.Get("Reporting-MTA") != "dns; gw1.lazaret.example" || one.Get("Final-Recipient") != "rfc822; ines@example.org" ||
			one.Get("Action") != "failed" || one.Get("Status") != "5.1.1" || one.Get("Diagnostic-Code") != "smtp; 550 5.1.1 no such user" {
			t.Errorf("%v\n%v", whole, one)
		}
	}
	if got := strings.Join(types, " "); got != "text/plain message/delivery-status message/rfc822" {
		t.Errorf("parts: %s", got)
	}
}
