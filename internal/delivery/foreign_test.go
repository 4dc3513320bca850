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

	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// foreign is a server that is not ours: emersion/go-smtp.
type foreign struct {
	mu  sync.Mutex
	got []string
	to  []string
}

func (f *foreign) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &foreignSession{f: f}, nil }

type foreignSession struct {
	f  *foreign
	to []string
}

func (s *foreignSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *foreignSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
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
	s := gosmtp.NewServer(f)
	s.Domain, s.AllowInsecureAuth = "foreign.example", true
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
	w := newWorld(t)
	w.routes("ALL [%s]:%d", addr.Addr(), addr.Port())
	w.opt.Control = func(string) Control { return Control{TLS: TLSRequired} }
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

func (w *world) wantOneConnection() {
	w.t.Helper()
	if all, _ := w.log.look(); strings.Count(all, "New SMTP DCID") != 1 {
		w.t.Errorf("more than one connection:\n%s", all)
	}
}
