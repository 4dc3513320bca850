package smtp

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
)

// porter is a box that knows one user.
type porter struct {
	box
	seen []AuthCommand
}

func (p *porter) Auth(_ context.Context, c AuthCommand) Reply {
	p.seen = append(p.seen, c)
	if c.User != "ann" || c.Password != "pass word" {
		return NewReply(535, "5.7.8", "no")
	}
	return NewReply(235, "2.7.0", "yes")
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func withAuth(t testing.TB) func(*ServerConfig) {
	return func(c *ServerConfig) { withTLS(t)(c); c.Auth = true }
}

// secure is a dialogue inside TLS, greeted.
func secure(t testing.TB, s *Server, sess Session) *dialogue {
	d := serve(t, s, sess)
	d.expect("220")
	d.ask("EHLO c", "250")
	d.startTLS()
	d.ask("EHLO c", "250")
	return d
}

// Dialogues of AUTH inside TLS: lines and the start of each reply.
func TestAuth(t *testing.T) {
	good := b64("\x00ann\x00pass word")
	for name, c := range map[string]struct {
		steps []string
		users int // calls of the Session
	}{
		"PLAIN in one line":       {[]string{"AUTH PLAIN " + good, "235 2.7.0 ", "MAIL FROM:<a@b.c> AUTH=<>", "250"}, 1},
		"plain, same authzid":     {[]string{"auth plain " + b64("ann\x00ann\x00pass word"), "235"}, 1},
		"PLAIN asked for":         {[]string{"AUTH PLAIN", "334 ", good, "235"}, 1},
		"LOGIN":                   {[]string{"AUTH LOGIN", "334 VXNlcm5hbWU6", b64("ann"), "334 UGFzc3dvcmQ6", b64("pass word"), "235"}, 1},
		"LOGIN with the name":     {[]string{"AUTH LOGIN " + b64("ann"), "334 UGFzc3dvcmQ6", b64("pass word"), "235"}, 1},
		"wrong password":          {[]string{"AUTH PLAIN " + b64("\x00ann\x00x"), "535 5.7.8", "MAIL FROM:<a@b.c>", "250"}, 1},
		"another's mail":          {[]string{"AUTH PLAIN " + b64("bob\x00ann\x00pass word"), "535 5.7.8"}, 0},
		"wrong, then right":       {[]string{"AUTH PLAIN " + b64("\x00ann\x00x"), "535 5.7.8", "AUTH PLAIN " + good, "235"}, 2},
		"twice":                   {[]string{"AUTH PLAIN " + good, "235", "AUTH PLAIN " + good, "503 5.5.1 authentication was done already"}, 1},
		"in a transaction":        {[]string{"MAIL FROM:<>", "250", "AUTH PLAIN " + good, "503 5.5.1 AUTH is not allowed inside", "RCPT TO:<a@b.c>", "250"}, 0},
		"cancelled":               {[]string{"AUTH PLAIN", "334", "*", "501 5.7.0 authentication cancelled", "NOOP", "250"}, 0},
		"LOGIN cancelled late":    {[]string{"AUTH LOGIN", "334", b64("ann"), "334", "*", "501 5.7.0"}, 0},
		"star is no initial":      {[]string{"AUTH PLAIN *", "501 5.5.2"}, 0},
		"empty initial":           {[]string{"AUTH PLAIN =", "501 5.5.2"}, 0},
		"no base64":               {[]string{"AUTH PLAIN abc", "501 5.5.2", "AUTH PLAIN YW5u!", "501 5.5.2", "AUTH PLAIN YW5", "501 5.5.2"}, 0},
		"loose base64":            {[]string{"AUTH PLAIN AGEAYh==", "501 5.5.2"}, 0},
		"two NULs needed":         {[]string{"AUTH PLAIN " + b64("ann\x00pass word"), "501 5.5.2", "AUTH PLAIN " + b64("\x00ann\x00pass\x00word"), "501 5.5.2", "AUTH PLAIN " + b64("\x00\x00x"), "501 5.5.2"}, 0},
		"no such mechanism":       {[]string{"AUTH CRAM-MD5", "504 5.5.4", "AUTH", "504 5.5.4"}, 0},
		"12,288 octets are read":  {[]string{"AUTH PLAIN", "334", strings.Repeat("QUJD", 3071), "501 5.5.2", "NOOP", "250"}, 0},
		"and no more":             {[]string{"AUTH PLAIN", "334", strings.Repeat("QUJD", 3072), "500 5.5.6", "NOOP", "250"}, 0},
		"after HELO":              {[]string{"HELO c", "250", "AUTH PLAIN " + good, "503 5.5.1 say EHLO first"}, 0},
		"AUTH= is an address":     {[]string{"MAIL FROM:<a@b.c> AUTH=x+40y", "250"}, 0},
		"or nothing":              {[]string{"MAIL FROM:<a@b.c> AUTH=x", "501 5.5.4", "MAIL FROM:<a@b.c> AUTH=", "501", "MAIL FROM:<a@b.c> AUTH=a+0Ab@c", "501"}, 0},
		"EHLO keeps it":           {[]string{"AUTH PLAIN " + good, "235", "EHLO d", "250", "AUTH PLAIN " + good, "503"}, 1},
		"REQUIRETLS inside of it": {[]string{"MAIL FROM:<a@b.c> REQUIRETLS", "250"}, 0},
	} {
		p := &porter{}
		d := secure(t, newServer(t, withAuth(t)), p)
		for i := 0; i < len(c.steps); i += 2 {
			if got := d.ask(c.steps[i], ""); !strings.HasPrefix(got, c.steps[i+1]) {
				t.Errorf("%s: %.60q is answered %q, want %q", name, c.steps[i], got, c.steps[i+1])
			}
		}
		if len(p.seen) != c.users {
			t.Errorf("%s: asked %d times for a user", name, len(p.seen))
		}
	}
}

// Outside TLS nothing is offered and nothing is looked at; without users there is
// no such verb. What is sent all the same is never shown.
func TestSEC_B11_PlainTextIsNotTaken(t *testing.T) {
	p := &porter{}
	d := serve(t, newServer(t, withAuth(t)), p)
	d.expect("220")
	if got := d.ask("EHLO c", "250"); strings.Contains(got, "AUTH") {
		t.Error(got)
	}
	d.ask("AUTH PLAIN "+b64("\x00ann\x00pass word"), "538 5.7.11")
	d.ask("MAIL FROM:<a@b.c> AUTH=<>", "555")
	if len(p.seen) != 0 {
		t.Errorf("%v", p.seen)
	}
	b := &box{}
	d = secure(t, newServer(t, withTLS(t)), b)
	d.ask("AUTH PLAIN "+b64("\x00ann\x00pass word"), "500 5.5.2")
	if len(b.unknown) != 1 || b.unknown[0] != "AUTH PLAIN" {
		t.Errorf("%q", b.unknown)
	}
}

// What the log is told never has the password in it, however a client stumbles.
func TestSEC_B11_NoPasswordIsShown(t *testing.T) {
	pass := b64("pass word")
	plain := b64("\x00ann\x00pass word")
	for _, lines := range [][]string{
		{"AUTH PLAIN " + plain + "=", "NOOP"},
		{"AUTH PLAIN\x00 " + plain, "NOOP"},
		{"AUTH PLAIN " + strings.Repeat(plain, 200), "NOOP"},
		{"AUTH CRAM-MD5", pass, "NOOP"},
		{"AUTH LOGIN " + "!!!", pass, "NOOP"},
		{"AUTH LOGIN", "!!!", pass, "NOOP"},
		{"AUTH PLAIN", plain + "=", "NOOP"},
		{"AUTH PLAIN " + b64("\x00ann\x00wrong"), pass, "NOOP"},
		{"AUTH PLAIN", plain + "\x00", "NOOP"},
	} {
		p := &porter{}
		d := secure(t, newServer(t, withAuth(t)), p)
		for _, l := range lines {
			d.ask(l, "")
		}
		told := strings.Join(append(p.unknown, p.syntax...), "\n")
		if strings.Contains(told, pass[:8]) || strings.Contains(told, plain[:8]) || len(p.unknown)+len(p.syntax)+len(p.seen) == 0 {
			t.Errorf("%q: told %q", lines, told)
		}
	}
}

// One command behind AUTH in the same packet ends the connection: what came
// before the answer was not meant for who the client is now.
func TestAuthIsNotPipelined(t *testing.T) {
	p := &porter{}
	d := secure(t, newServer(t, withAuth(t)), p)
	d.say("AUTH PLAIN " + b64("\x00ann\x00pass word") + "\r\nMAIL FROM:<>\r\n")
	d.expect("554 5.5.0")
}
