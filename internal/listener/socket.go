package listener

import (
	"context"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"lazaret/internal/errs"
)

// listenTCP opens a socket whose queue of connections that wait to be accepted
// has the length asked for. The standard library always asks for the most the
// kernel gives (net.core.somaxconn); a second listen(2) on the same socket
// changes nothing but the length.
func listenTCP(ctx context.Context, addr netip.AddrPort, backlog int) (net.Listener, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6" // with 0.0.0.0 beside ::, both can be listened to
	}
	l, err := new(net.ListenConfig).Listen(ctx, network, addr.String())
	if err != nil {
		return nil, errs.Wrap(errs.Temporary, errs.Network(err), "cannot listen on %s", addr)
	}
	if err := setBacklog(l.(*net.TCPListener), backlog); err != nil {
		l.Close() // the first error counts
		return nil, errs.Wrap(errs.Internal, err, "cannot set the listen queue of %s to %d", addr, backlog)
	}
	return l, nil
}

func setBacklog(l *net.TCPListener, backlog int) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = unix.Listen(int(fd), backlog) }); err != nil {
		return err
	}
	return inner
}
