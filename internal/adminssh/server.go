// Package adminssh carries the command language to people and scripts: an SSH
// server for the stock client, and a Unix socket for the machine's own user.
//
// It knows no command. It has no shell behind it, starts no process, forwards
// nothing and has no subsystems (reliability F5). What a session may do comes
// only from the permissions of the method that logged it in, never from a key
// that was merely offered (CVE-2024-45337). Every wait has a deadline and every
// count a limit.
package adminssh

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/console"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Runner runs what is typed.
type Runner interface {
	// Exec runs one line and gives its exit status.
	Exec(ctx context.Context, p mail.Principal, line string, c console.Console) int
	// Shell runs lines until the person leaves.
	Shell(ctx context.Context, p mail.Principal, c console.Console)
}

// Authenticator knows the administrators.
type Authenticator interface {
	Password(name, password, from, via string) (mail.Principal, error)
	Key(name string, wire []byte, from, via string) (mail.Principal, error)
}

// Auditor takes who came and who was turned away.
type Auditor interface {
	Record(p mail.Principal, what, result string)
}

// Limits of a server; zero values mean the defaults.
type Limits struct {
	Handshake       time.Duration // until logged in: 20 s (reliability F4)
	Idle            time.Duration // of a shell's prompt: 30 min
	Connections     int           // 100
	Unauthenticated int           // 10
	Channels        int           // at a time on one connection: 5
}

// Options of a server.
type Options struct {
	Users   Authenticator
	HostKey ssh.Signer
	Runner  Runner
	Audit   Auditor
	Fault   func(component, text string)
	Limits  Limits
}

// Server serves SSH and the local socket. Safe for concurrent use.
type Server struct {
	o      Options
	config *ssh.ServerConfig
	login  chan struct{} // one slot for each connection not yet logged in

	mu     sync.Mutex
	closed bool
	stop   map[*context.CancelFunc]struct{}
	wg     sync.WaitGroup
}

// New makes a server.
func New(o Options) (*Server, error) {
	if o.Users == nil || o.HostKey == nil || o.Runner == nil || o.Audit == nil || o.Fault == nil {
		return nil, errs.New(errs.Internal, "SSH server: an option is missing")
	}
	l := &o.Limits
	l.Handshake = orDefault(l.Handshake, 20*time.Second)
	l.Idle = orDefault(l.Idle, 30*time.Minute)
	l.Connections = orDefault(l.Connections, 100)
	l.Unauthenticated = orDefault(l.Unauthenticated, 10)
	l.Channels = orDefault(l.Channels, 5)
	s := &Server{
		o:     o,
		login: make(chan struct{}, l.Unauthenticated),
		stop:  map[*context.CancelFunc]struct{}{},
	}
	s.config = s.serverConfig()
	return s, nil
}

func orDefault[T time.Duration | int](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Serve accepts SSH connections until ctx ends or Close is called, then closes
// l and waits for its sessions. Closing l ends only the accepting: the sessions
// go on, so that an administrator may move the port.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.accept(ctx, l, s.connection)
}

// ServeLocal does the same on the local socket.
func (s *Server) ServeLocal(ctx context.Context, l net.Listener) error {
	return s.accept(ctx, l, s.local)
}

// accept is the loop of both. A connection over the limit is closed at once:
// queueing strangers would only hide the limit.
func (s *Server) accept(ctx context.Context, l net.Listener, handle func(context.Context, net.Conn)) error {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer done()
	slots := make(chan struct{}, s.o.Limits.Connections) // its own for each loop: strangers at SSH never lock out the socket
	var sessions sync.WaitGroup
	defer sessions.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	unhook := context.AfterFunc(ctx, func() { l.Close() })
	defer unhook()
	defer l.Close() // a second time: a listener with a name waits until it is removed
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			sessions.Wait()
			return nil
		}
		if err != nil {
			if !pause(ctx, err) {
				return errs.Wrap(errs.Internal, err, "accepting on %s", l.Addr())
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		sessions.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			handle(ctx, conn)
		})
	}
}

// pause waits a little after a passing error, such as no free descriptors.
func pause(ctx context.Context, err error) bool {
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		return false
	}
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
	}
	return true
}

// begin registers one accept loop for Close.
func (s *Server) begin(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, errs.New(errs.Closed, "the SSH server is closed")
	}
	ctx, cancel := context.WithCancel(ctx)
	key := &cancel
	s.stop[key] = struct{}{}
	s.wg.Add(1)
	return ctx, func() {
		cancel()
		s.mu.Lock()
		delete(s.stop, key)
		s.mu.Unlock()
		s.wg.Done()
	}, nil
}

// Close ends all loops and sessions and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for cancel := range s.stop {
		(*cancel)()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}
