package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/errs"
)

// listener is one socket with its sessions. Fields without a note of their
// own are guarded by the group's lock.
type listener struct {
	group *Group
	name  string
	rules atomic.Pointer[rules]
	state State

	socket net.Listener
	ctx    context.Context // of the sessions of this opening; its end is 421
	cancel context.CancelFunc
	timer  *time.Timer // will call cancel after a suspend

	clients atomic.Int64
	full    atomic.Bool // the limit was hit and said so
	places  places
	ipLock  sync.Mutex
	perIP   map[netip.Addr]int
}

// open opens the socket and starts the accept loop.
func (l *listener) open() error {
	r := l.rules.Load()
	socket, err := l.group.opts.Listen(context.Background(), r.Addr, r.Backlog)
	if err != nil {
		return errs.Context(err, "listener %q", l.name)
	}
	l.socket = socket
	if l.timer != nil {
		l.timer.Stop() // too late is well too: then the context is at its end
		l.timer = nil
	}
	if l.ctx == nil || l.ctx.Err() != nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
	}
	l.group.wg.Add(1)
	go l.accept(socket, l.ctx)
	return nil
}

// closeSocket makes new connections fail; sessions go on.
func (l *listener) closeSocket() {
	if l.socket == nil {
		return
	}
	if err := l.socket.Close(); err != nil {
		l.group.opts.Log.Fault("listener "+l.name, err.Error())
	}
	l.socket = nil
}

// cutAfter tells the sessions 421 after a time.
func (l *listener) cutAfter(d time.Duration) {
	if l.cancel == nil {
		return
	}
	if d <= 0 {
		l.cut()
		return
	}
	l.timer = time.AfterFunc(d, l.cancel)
}

// cut tells the sessions 421 now.
func (l *listener) cut() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if l.cancel != nil {
		l.cancel()
		l.ctx, l.cancel = nil, nil
	}
}

func (l *listener) addr() netip.AddrPort {
	if l.socket != nil {
		if a, err := netip.ParseAddrPort(l.socket.Addr().String()); err == nil {
			return a
		}
	}
	return l.rules.Load().Addr
}

// accept takes connections until the socket is closed. When the machine is out
// of files or memory it waits a little: the queue of the socket holds the rest.
func (l *listener) accept(socket net.Listener, ctx context.Context) {
	defer l.group.wg.Done()
	wait := time.Duration(0)
	for {
		conn, err := socket.Accept()
		if err == nil {
			wait = 0
			l.group.wg.Add(1)
			go l.handle(ctx, conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if wait == 0 {
			l.group.opts.Log.Fault("listener "+l.name, "cannot accept connections: "+err.Error())
		}
		wait = min(max(2*wait, 50*time.Millisecond), time.Second)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// enterIP counts a client in; false: it has as many connections as it may.
func (l *listener) enterIP(ip netip.Addr, most int) bool {
	ip = site(ip)
	l.ipLock.Lock()
	defer l.ipLock.Unlock()
	if l.perIP[ip] >= most {
		return false
	}
	l.perIP[ip]++
	return true
}

func (l *listener) leaveIP(ip netip.Addr) {
	ip = site(ip)
	l.ipLock.Lock()
	defer l.ipLock.Unlock()
	if l.perIP[ip]--; l.perIP[ip] <= 0 {
		delete(l.perIP, ip)
	}
}

// site is what is counted as one client: a host has a whole IPv6 network to
// itself, and 2^64 addresses would make the limit no limit.
func site(ip netip.Addr) netip.Addr {
	if ip.Is4() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}
