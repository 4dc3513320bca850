package delivery

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// foreign is a server that is not ours: emersion/go-smtp.
type foreign struct {
	mu  sync.Mutex
	got []string
	to  []string

	mail []gosmtp.MailOptions
	rcpt []gosmtp.RcptOptions
}

func (f *foreign) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &foreignSession{f: f}, nil }

type foreignSession struct {
	f  *foreign
	to []string
}

func (s *foreignSession) Mail(_ string, o *gosmtp.MailOptions) error {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.mail = append(s.f.mail, *o)
	return nil
}
func (s *foreignSession) Rcpt(to string, o *gosmtp.RcptOptions) error {
	s.f.mu.Lock()
	s.f.rcpt = append(s.f.rcpt, *o)
	s.f.mu.Unlock()
	if to == "no@example.com" {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "unknown here"}
	}
	s.to = append(s.to, to)
	return nil
}
func (s *foreignSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.got, s.f.to = append(s.f.got, string(b)), append(s.f.to, s.to...)
	return nil
}
func (s *foreignSession) Reset()        { s.to = nil }
func (s *foreignSession) Logout() error { return nil }

// A server by other hands reads from us what we were given: over TLS, in one
// connection, dots and all.
func TestForeignServer(t *testing.T) {
	f := &foreign{}
	w := newWorld(t)
	f.serve(w, func(*gosmtp.Server) {})
	w.set = func(queue.Dest) queue.Settings { return queue.Settings{Concurrency: 1, Idle: patience} }
	w.start()
	bodies := []string{body, ".\r\n", "..\r\n.\r\n", "", "\r\n"}
	for _, b := range bodies {
		if s := states(w.settled(w.add(b, nil, "a@example.com", "no@example.com"))); s != "delivered bounced" {
			t.Fatalf("%q: %s; the log:\n%s", b, s, w.log)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range bodies {
		if f.got[i] != b {
			t.Errorf("arrived %q, sent %q", f.got[i], b)
		}
	}
	if len(f.to) != len(bodies) || f.to[0] != "a@example.com" {
		t.Errorf("recipients %v", f.to)
	}
	w.logged("DCID 1 TLS success protocol TLSv1.3 cipher ")
	w.wantOneConnection()
}

// serve starts the server inside TLS and sends all mail of w to it.
func (f *foreign) serve(w *world, change func(*gosmtp.Server)) {
	t := w.t
	s := gosmtp.NewServer(f)
	s.Domain, s.AllowInsecureAuth = "foreign.example", true
	change(s)
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{testlib.Certificate(t, testlib.CertOptions{})}}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; err != nil && !errors.Is(err, gosmtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	w.routes("ALL [%s]:%d", addr.Addr(), addr.Port())
	w.opt.Control = func(string) Control { return Control{TLS: TLSRequired} }
}

// What a client asked for arrives at a server by other hands that offers the
// extensions: BINARYMIME octet for octet in chunks, SMTPUTF8, DSN. One that does
// not offer them gets what it takes, and what it does not take bounces.
func TestForeignExtensions(t *testing.T) {
	binary := strings.Repeat("\x00\r\xff\n.\n", 100_000) + "end"
	asked := mail.Params{Ret: mail.RetHeaders, EnvID: "a+b=c", Binary: true, UTF8: true}
	change := func(p mail.Params) func(*queue.Item) {
		return func(it *queue.Item) {
			it.Params, it.Prepend = p, []byte("Received: here\r\n")
			for i := range it.Recipients {
				it.Recipients[i].RcptParams = mail.RcptParams{Notify: mail.NotifySuccess | mail.NotifyDelay, ORCPT: "rfc822;x+y@example.org"}
			}
		}
	}
	f := &foreign{}
	w := newWorld(t)
	f.serve(w, func(s *gosmtp.Server) { s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = true, true, true })
	w.start()
	if s := states(w.settled(w.add(binary, change(asked), "\u00fc@example.com"))); s != "delivered" {
		t.Fatalf("%s; the log:\n%s", s, w.log)
	}
	f.mu.Lock()
	if f.got[0] != "Received: here\r\n"+binary || f.to[0] != "\u00fc@example.com" {
		t.Errorf("%d octets arrived of %d, for %q", len(f.got[0]), len(binary)+16, f.to)
	}
	if o := f.mail[0]; o.Body != gosmtp.BodyBinaryMIME || !o.UTF8 || o.Return != gosmtp.DSNReturnHeaders || o.EnvelopeID != "a+b=c" || o.Size != int64(len(binary)+16) {
		t.Errorf("%+v", o)
	}
	if o := f.rcpt[0]; len(o.Notify) != 2 || o.OriginalRecipient != "x+y@example.org" {
		t.Errorf("%+v", o)
	}
	f.mu.Unlock()

	f = &foreign{}
	w = newWorld(t)
	f.serve(w, func(*gosmtp.Server) {})
	w.start()
	for _, c := range []struct {
		p            mail.Params
		to, want, in string
	}{
		{mail.Params{Ret: mail.RetFull, EnvID: "x"}, "a@example.com", "delivered", "Message done"},
		{mail.Params{Binary: true}, "a@example.com", "bounced", "5.6.3 - Message content not supported ('554', ['5.6.3 message is BINARYMIME and the peer does not offer that'])"},
		{mail.Params{UTF8: true}, "a@example.com", "bounced", "5.6.7 - Message content not supported ('553', ['5.6.7 message needs SMTPUTF8 and the peer does not offer that'])"},
		{mail.Params{}, "\u00fc@example.com", "bounced", "5.6.7 - "},
		{mail.Params{}, "a@b\u00fccher.example", "delivered", "Message done"},
	} {
		if s := states(w.settled(w.add("x\r\n", change(c.p), c.to))); s != c.want {
			t.Errorf("%+v to %s: %s; the log:\n%s", c.p, c.to, s, w.log)
		}
		w.logged(c.in)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.got) != 2 || f.mail[0].EnvelopeID != "" || f.to[1] != "a@xn--bcher-kva.example" {
		t.Errorf("%q %+v %q", f.got, f.mail, f.to)
	}
}

func (w *world) wantOneConnection() {
	w.t.Helper()
	if all, _ := w.log.look(); strings.Count(all, "New SMTP DCID") != 1 {
		w.t.Errorf("more than one connection:\n%s", all)
	}
}
