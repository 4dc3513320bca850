package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
	"lazaret/internal/logs"
)

// Dialer opens connections; nil means the network.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// question is one command for one appliance.
type question struct {
	addr  string // host:port of its SSH server
	user  string
	auth  ssh.AuthMethod
	trust func(key ssh.PublicKey) error
	types []string // host key algorithms; nil: any
	line  string
	most  int // bytes of the answer; 0: maxAnswer
}

// ask runs the command and gives its output. It ends when ctx does.
func ask(ctx context.Context, dial Dialer, q question) ([]byte, net.IP, error) {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, "tcp", q.addr)
	if err != nil {
		return nil, nil, errs.Wrap(errs.Temporary, errs.Network(err), "connecting to %s", q.addr)
	}
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	var distrust error
	c, channels, requests, err := ssh.NewClientConn(conn, q.addr, &ssh.ClientConfig{
		User:              q.user,
		Auth:              []ssh.AuthMethod{q.auth},
		ClientVersion:     "SSH-2.0-Lazaret",
		HostKeyAlgorithms: q.types,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			distrust = q.trust(key)
			return distrust
		},
	})
	if distrust != nil {
		return nil, nil, distrust
	}
	if err != nil {
		return nil, nil, refused(q, err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		return nil, nil, errs.Wrap(errs.Temporary, err, "opening a session at %s", q.addr)
	}
	out := &limited{most: q.most}
	if out.most == 0 {
		out.most = maxAnswer
	}
	session.Stdout = out
	if err := session.Run(q.line); err != nil {
		return nil, nil, failed(q, out, err)
	}
	var ip net.IP
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ip = tcp.IP
	}
	return out.b.Bytes(), ip, nil
}

// refused says what a failed login means for who reads it.
func refused(q question, err error) error {
	if strings.Contains(err.Error(), "unable to authenticate") {
		return errs.Wrap(errs.Denied, err, "%s does not accept the login of user %s", q.addr, q.user)
	}
	return errs.Wrap(errs.Temporary, err, "SSH with %s failed", q.addr)
}

// failed says what the other side printed before a failing exit status.
func failed(q question, out *limited, err error) error {
	word, _, _ := strings.Cut(q.line, " ")
	var status *ssh.ExitError
	if errors.As(err, &status) {
		said, _, _ := strings.Cut(strings.TrimSpace(out.b.String()), "\n")
		return errs.New(errs.Conflict, "%s: %s ended with status %d: %s", q.addr, word, status.ExitStatus(), logs.Escape(clip(said)))
	}
	return errs.Wrap(errs.Temporary, err, "%s: %s was broken off", q.addr, word)
}

// limited keeps output up to a size; more is an error.
// The buffer is not embedded: its ReadFrom would go around Write.
type limited struct {
	b    bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.b.Len()+len(p) > l.most {
		return 0, errs.New(errs.Invalid, "the answer is longer than %d bytes", l.most)
	}
	return l.b.Write(p)
}

// supervise runs f with a deadline in a goroutine of its own. A panic becomes
// an error. A hang is left behind when the deadline passes: f's connection is
// closed by then, and its result goes nowhere. In the product this replaces,
// either fault took the release of mail down until a reboot.
func supervise[T any](ctx context.Context, timeout time.Duration, fault func(string), f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type outcome struct {
		v   T
		err error
	}
	result := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = faulty{errs.New(errs.Temporary, "the command client failed by a fault of the program: %v", r)}
				fault(fmt.Sprintf("panic: %v", r))
			}
			result <- o
		}()
		o.v, o.err = f(ctx)
	}()
	var none T
	select {
	case o := <-result:
		if o.err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return none, hung(timeout, fault)
		}
		return o.v, o.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return none, hung(timeout, fault)
		}
		return none, errs.Wrap(errs.Closed, ctx.Err(), "the command client was stopped")
	}
}

func hung(timeout time.Duration, fault func(string)) error {
	err := errs.New(errs.Temporary, "the command client had no answer within %s", timeout)
	fault(err.Error())
	return faulty{err}
}

// faulty is an error whose line as an application fault has been written.
type faulty struct{ error }

// Logged tells who has the error in hand that it need not be written again.
func (faulty) Logged() bool { return true }

// Unwrap keeps the kind and the text.
func (f faulty) Unwrap() error { return f.error }
