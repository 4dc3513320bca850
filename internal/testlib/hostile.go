package testlib

import (
	"crypto/tls"
	"strings"
)

// Hostile gives the table of misbehaviours, F19 of the fault matrix and B3 of
// the register. Each is the behaviour of one remote host; cert is what it
// shows where it speaks TLS at all.
func Hostile(cert tls.Certificate) []Behaviour {
	long := strings.Repeat("x", 100<<10)
	conf := &tls.Config{Certificates: []tls.Certificate{cert}}
	one := func(event, say string, end End) map[string]Act {
		return map[string]Act{event: {Say: say, End: end}}
	}
	endless := func(event, say string) map[string]Act {
		return map[string]Act{event: {Say: say, Forever: true}}
	}
	return []Behaviour{
		{Name: "closes at connect", Acts: one("connect", "", Close)},
		{Name: "resets at connect", Acts: one("connect", "", Reset)},
		{Name: "no service", Acts: one("connect", "554 5.3.2 no service\r\n", Close)},
		{Name: "busy", Acts: one("connect", "421 4.3.2 busy\r\n", Close)},
		{Name: "endless greeting", Acts: endless("connect", "220-welcome\r\n")},
		{Name: "endless greeting line", Acts: endless("connect", "220 welcome ")},
		{Name: "not SMTP", Acts: one("connect", "SSH-2.0-OpenSSH_9.9\r\n", Stay)},
		{Name: "long EHLO line", Acts: one("EHLO", "250 "+long+"\r\n", Stay)},
		{Name: "endless EHLO", Acts: endless("EHLO", "250-X-WORD\r\n")},
		{Name: "mixed codes in one reply", Acts: one("EHLO", "250-sink\r\n550 no\r\n", Stay)},
		{Name: "closes at MAIL", Acts: one("MAIL", "", Close)},
		{Name: "421 at MAIL", Acts: one("MAIL", "421 4.3.2 going down\r\n", Close)},
		{Name: "4xx for ever at RCPT", Rcpt: func(int, string) string { return "450 4.2.1 later\r\n" }},
		{Name: "4xx for ever at DATA", Acts: one("DATA", "451 4.3.0 later\r\n", Stay)},
		{Name: "4xx for ever after the dot", Acts: one(".", "451 4.3.0 later\r\n", Stay)},
		{Name: "drop after the dot", Acts: one(".", "", Close)},
		{Name: "reset after the dot", Acts: one(".", "", Reset)},
		{Name: "endless reply after the dot", Acts: endless(".", "250-still thinking\r\n")},
		{Name: "endless line after the dot", Acts: endless(".", "250 thinking ")},
		{Name: "binary reply after the dot", Acts: one(".", "250 \x00\x1b[2J\xff\r\n", Stay)},
		{Name: "250 then close", Acts: one(".", "250 2.0.0 ok\r\n", Close)},
		{Name: "more replies than commands", Acts: one("MAIL", "250 ok\r\n250 ok\r\n354 go on\r\n250 2.0.0 taken\r\n", Stay)},
		{Name: "refuses STARTTLS", TLS: conf, Acts: one("STARTTLS", "454 4.7.0 not now\r\n", Stay)},
		{Name: "aborts TLS", TLS: conf, Acts: one("tls", "", Reset)},
		{Name: "no TLS but text", TLS: conf, Acts: one("tls", "500 what is this?\r\n", Close)},
		{Name: "injects behind STARTTLS", TLS: conf, Acts: one("STARTTLS", "220 go ahead\r\n250-injected\r\n250 XCPQ 1\r\n", Stay)},
	}
}
