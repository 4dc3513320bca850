package adminssh

import (
	"context"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// The names under which the principal travels in the permissions.
const (
	extName = "lazaret-name"
	extRole = "lazaret-role"
)

// serverConfig offers password and publickey, nothing else.
func (s *Server) serverConfig() *ssh.ServerConfig {
	c := &ssh.ServerConfig{
		MaxAuthTries:  6,
		ServerVersion: "SSH-2.0-Lazaret",
		PasswordCallback: func(m ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			return s.admit(m, "password")(s.o.Users.Password(m.User(), string(password), hostOf(m.RemoteAddr()), "ssh"))
		},
		// An offered key: say whether a signature is worth making. Nothing is
		// remembered and nothing granted here.
		PublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			_, err := s.o.Users.Key(m.User(), key.Marshal(), hostOf(m.RemoteAddr()), "ssh")
			return nil, err
		},
		VerifiedPublicKeyCallback: func(m ssh.ConnMetadata, key ssh.PublicKey, _ *ssh.Permissions, _ string) (*ssh.Permissions, error) {
			return s.admit(m, "publickey")(s.o.Users.Key(m.User(), key.Marshal(), hostOf(m.RemoteAddr()), "ssh"))
		},
	}
	c.AddHostKey(s.o.HostKey)
	return c
}

// admit turns a principal into permissions, and audits either outcome. A name
// that was refused may be a password typed in the wrong place, but without it
// the line would not show what is being guessed at.
func (s *Server) admit(m ssh.ConnMetadata, method string) func(mail.Principal, error) (*ssh.Permissions, error) {
	return func(p mail.Principal, err error) (*ssh.Permissions, error) {
		if err != nil {
			refused := mail.Principal{Name: clip(m.User()), From: hostOf(m.RemoteAddr()), Via: "ssh"}
			s.o.Audit.Record(refused, "login by "+method, "failed: "+errs.Public(err))
			return nil, err
		}
		s.o.Audit.Record(p, "login by "+method, "ok")
		return &ssh.Permissions{Extensions: map[string]string{extName: p.Name, extRole: string(p.Role)}}, nil
	}
}

// principal reads who the connection belongs to from the permissions of the
// method that succeeded, and from nothing else (reliability F1).
func principal(c *ssh.ServerConn) (mail.Principal, bool) {
	if c.Permissions == nil {
		return mail.Principal{}, false
	}
	p := mail.Principal{
		Name: c.Permissions.Extensions[extName],
		Role: mail.Role(c.Permissions.Extensions[extRole]),
		From: hostOf(c.RemoteAddr()),
		Via:  "ssh",
	}
	return p, p.Name != "" && p.Role != ""
}

// connection serves one SSH connection.
func (s *Server) connection(ctx context.Context, raw net.Conn) {
	unhook := context.AfterFunc(ctx, func() { raw.Close() })
	defer unhook()
	conn, channels, requests, ok := s.handshake(raw)
	if !ok {
		return
	}
	defer conn.Close()
	p, ok := principal(conn)
	if !ok {
		s.o.Fault("adminssh", "a login without permissions was refused")
		return
	}
	go ssh.DiscardRequests(requests) // ends with the connection
	s.channels(ctx, p, channels)
}

// handshake logs a client in before the deadline, within the number of
// connections that may be at it.
func (s *Server) handshake(raw net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, bool) {
	select {
	case s.login <- struct{}{}:
	default:
		return nil, nil, nil, false
	}
	defer func() { <-s.login }()
	if err := raw.SetDeadline(time.Now().Add(s.o.Limits.Handshake)); err != nil {
		return nil, nil, nil, false
	}
	// A failed handshake is a port scan or a wrong password, and the latter is in the audit.
	conn, channels, requests, err := ssh.NewServerConn(raw, s.config)
	if err != nil {
		return nil, nil, nil, false
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		conn.Close()
		return nil, nil, nil, false
	}
	return conn, channels, requests, true
}

// hostOf gives the address without the port.
func hostOf(a net.Addr) string {
	if host, _, err := net.SplitHostPort(a.String()); err == nil {
		return host
	}
	return a.String()
}

func clip(s string) string {
	if len(s) > 64 {
		return s[:64]
	}
	return s
}
