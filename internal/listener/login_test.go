package listener

import (
	"crypto/tls"
	"encoding/base64"
	"os"
	"os/exec"
	"strings"
	"testing"

	"lazaret/internal/auth"
	"lazaret/internal/testlib"
)

const authHAT = "$IN\n ACCEPT {smtp_auth = preferred}\n$MUST\n ACCEPT {smtp_auth = required}\n$OUT\n ACCEPT {}\nALL\n $"

// authRig has listeners whose policies offer AUTH, demand it, and do neither.
func authRig(t *testing.T) *rig {
	t.Helper()
	hash, err := auth.HashPassword("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.NewSenders([]auth.Sender{{Name: "ann@example.com", Hash: hash}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var list []Settings
	for _, name := range []string{"IN", "MUST", "OUT"} {
		s := settings(name, authHAT+name+"\n")
		s.TLS = &tls.Config{Certificates: []tls.Certificate{testlib.Certificate(t, testlib.CertOptions{})}}
		list = append(list, s)
	}
	return newRigWith(t, func(o *Options) { o.Logins = users }, list...)
}

// swaks speaks as a user's program does, with AUTH inside TLS.
func swaks(t *testing.T, r *rig, listener string, args ...string) string {
	t.Helper()
	cmd := exec.Command("swaks", append([]string{"--server", r.Addr(listener).String(), "--from", "ann@example.com", "--timeout", "10"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, _ := cmd.CombinedOutput() // what it exits with says less than the dialogue
	return string(out)
}

// Real swaks logs in with both mechanisms and may send to anybody then; with a
// wrong password, without TLS or without a login it may not. The log has the
// original's lines, and no password.
func TestAuthBySwaks(t *testing.T) {
	r := authRig(t)
	good := []string{"--to", "bob@elsewhere.example", "--auth-user", "ann@example.com", "--auth-password", "correct horse"}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		out := swaks(t, r, "MUST", append(good, "--auth", mechanism, "--tls")...)
		if !strings.Contains(out, "<~  235 2.7.0 authentication succeeded") || !strings.Contains(out, "<~  250 2.0.0 ok:  Message") {
			t.Fatalf("%s:\n%s", mechanism, out)
		}
		if want := ") succeeded for user: ann@example.com using AUTH mechanism: " + mechanism + " with profile: local"; !strings.Contains(r.log.lines(), want) {
			t.Errorf("no %q in\n%s", want, r.log.lines())
		}
	}
	for _, c := range []struct {
		listener, want string
		args           []string
	}{
		{"IN", "<~* 535 5.7.8 user name or password is wrong", []string{"--to", "bob@elsewhere.example", "--auth", "PLAIN", "--tls", "--auth-user", "nobody", "--auth-password", "correct horse"}},
		{"IN", "Host did not advertise authentication", []string{"--to", "bob@elsewhere.example", "--auth", "PLAIN", "--auth-user", "ann@example.com", "--auth-password", "correct horse"}},
		{"OUT", "Host did not advertise authentication", append(good, "--auth", "PLAIN", "--tls")},
		{"IN", "<~* 550 5.1.0", []string{"--to", "bob@elsewhere.example", "--tls"}},
		{"IN", "<~  250 2.0.0 ok:  Message", []string{"--to", "bob@example.com", "--tls"}},
		{"MUST", "<~* 530 5.7.0 authentication required", []string{"--to", "bob@example.com", "--tls"}},
	} {
		if out := swaks(t, r, c.listener, c.args...); !strings.Contains(strings.ReplaceAll(out, "<** ", "<~* "), c.want) {
			t.Errorf("%s %q: no %q in\n%s", c.listener, c.args, c.want, out)
		}
	}
	got := r.sink.messages()
	if len(got) != 3 || got[0].Origin.User != "ann@example.com" || got[0].Origin.Protocol != "ESMTPSA" || !got[0].Origin.Relay || got[2].Origin.User != "" || got[2].Origin.Protocol != "ESMTPS" {
		t.Errorf("%d messages: %+v", len(got), got)
	}
	if want := ") failed for user: nobody using AUTH mechanism: PLAIN"; !strings.Contains(r.log.lines(), want) {
		t.Errorf("no %q", want)
	}
	for _, secret := range []string{"correct horse", base64.StdEncoding.EncodeToString([]byte("correct horse")), "Y29ycmVjdCBob3JzZ"} {
		if strings.Contains(r.log.lines(), secret) {
			t.Errorf("the log has the password as %q", secret)
		}
	}
}

// Guessing is refused unseen after some tries, alike for a name that exists and
// one that does not (register B11).
func TestAuthGuessing(t *testing.T) {
	r := authRig(t)
	for _, name := range []string{"ann@example.com", "nobody"} {
		d := r.dial("IN").upTo("EHLO")
		d.say("STARTTLS", "220")
		d = d.secure(&tls.Config{InsecureSkipVerify: true})
		d.say("EHLO c", "250")
		var all []string
		for range 6 {
			all = append(all, d.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+name+"\x00wrong")), "")[:9])
		}
		if last := all[len(all)-1]; name != "nobody" && (all[0] != "535 5.7.8" || last != "454 4.7.0") || name == "nobody" && last != "454 4.7.0" {
			t.Errorf("%s: %q", name, all)
		}
	}
}

// UTF-8 and DSN parameters reach the sink with the message, and the trace says
// how it came; where 8-bit headers are refused, one with SMTPUTF8 is not.
func TestUTF8Message(t *testing.T) {
	s := settings("In", acceptAll)
	s.ASCIIHeaders = true
	r := newRig(t, s)
	d := r.dial("In")
	d.all("", "220", "EHLO c", "250",
		"MAIL FROM:<\u00fc@b\u00fccher.example> SMTPUTF8 RET=HDRS ENVID=x", "250 2.1.0", "RCPT TO:<x@example.com>", "250", "RCPT TO:<\u00fc@EXAMPLE.com> NOTIFY=NEVER ORCPT=utf-8;\u00fc@x", "250",
		"DATA", "354", "Subject: \u00fc\r\n\r\n\u00fc\r\n.", "250 2.0.0",
		"MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@example.com>", "250", "DATA", "354", "Subject: \u00fc\r\n\r\nx\r\n.", "550 5.6.9",
		"MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@example.com>", "250", "BDAT 12 LAST\r\nX: y\r\n\r\n\u00fc", "250 2.0.0", "QUIT", "221")
	got := r.sink.messages()
	if len(got) != 2 || got[1].body != "X: y\r\n\r\n\u00fc\r\n" {
		t.Fatalf("%+v", got)
	}
	e := got[0].Envelope
	if e.From.String() != "\u00fc@xn--bcher-kva.example" || !e.UTF8 || e.Ret != "HDRS" || e.EnvID != "x" || got[0].Origin.Protocol != "UTF8SMTP" || got[1].Origin.Protocol != "ESMTP" {
		t.Errorf("%+v %s %s", e, got[0].Origin.Protocol, got[1].Origin.Protocol)
	}
	if e.RcptParams(0).Notify != 0 || e.RcptParams(1).Notify.String() != "NEVER" || e.RcptParams(1).ORCPT != "utf-8;\u00fc@x" || e.To[1].Domain != "example.com" {
		t.Errorf("%+v", e)
	}
	waitFor(t, func() bool { return strings.Contains(r.log.lines(), "close") })
	for _, want := range []string{"From: <\u00fc@xn--bcher-kva.example>", "RID 1 To: <\u00fc@example.com>", "Receiving Failed: Header is not ASCII"} {
		if !strings.Contains(r.log.lines(), want) {
			t.Errorf("no %q in\n%s", want, r.log.lines())
		}
	}
}
