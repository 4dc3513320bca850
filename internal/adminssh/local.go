package adminssh

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// The local socket speaks frames: a letter, a length of four bytes (big
// endian), that many bytes. The client sends one line, the server answers with
// output and ends with the exit status. Input is sent only when it is asked
// for, so that a command in a script's loop does not eat the loop's input.
const (
	frameLine  = 'L' // client: the command line
	frameData  = 'D' // client: input that was asked for; empty: there is no more
	frameOut   = 'O' // server: output
	frameWant  = 'W' // server: input is wanted
	frameExit  = 'X' // server: exit status, four bytes
	maxFrame   = 64 * 1024
	firstFrame = 10 * time.Second
)

// ListenLocal makes the socket, for its owner only. A socket that nobody
// listens at any more is replaced.
func ListenLocal(path string) (net.Listener, error) {
	if c, err := dialLocal(path); err == nil {
		c.Close()
		return nil, errs.New(errs.Conflict, "%s is in use: the appliance is running already", path)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, errs.New(errs.Conflict, "%s exists and is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "removing the old socket")
		}
	}
	var l *net.UnixListener
	err := shortPath(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "listening at %s", path)
	}
	l.SetUnlinkOnClose(false) // by its short name, it would not find it
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(errs.Wrap(errs.Internal, err, "protecting %s", path), l.Close())
	}
	return &localListener{UnixListener: l, path: path}, nil
}

type localListener struct {
	*net.UnixListener
	path string
	once sync.Once
	err  error
}

// Close returns when the socket is gone, whoever began to close it.
func (l *localListener) Close() error {
	l.once.Do(func() {
		if l.err = l.UnixListener.Close(); l.err == nil {
			l.err = os.Remove(l.path)
		}
	})
	return l.err
}

// shortPath names path by its directory's descriptor: the address of a socket
// has room for 107 bytes only, and directories are often deeper.
func shortPath(path string, f func(string) error) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Dir(path), Err: err}
	}
	defer unix.Close(dir)
	return f("/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path))
}

func dialLocal(path string) (conn net.Conn, err error) {
	err = shortPath(path, func(short string) (err error) {
		conn, err = net.DialTimeout("unix", short, 5*time.Second)
		return err
	})
	return conn, err
}

// local serves one connection at the socket: one line. The caller is whoever
// the kernel says.
func (s *Server) local(ctx context.Context, conn net.Conn) {
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	p, err := peerOf(conn)
	if err != nil {
		s.o.Audit.Record(p, "login by socket", "failed: "+errs.Public(err))
		return
	}
	if conn.SetReadDeadline(time.Now().Add(firstFrame)) != nil {
		return
	}
	in := bufio.NewReader(conn)
	kind, line, err := readFrame(in)
	if err != nil || kind != frameLine || conn.SetReadDeadline(time.Time{}) != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &localSession{conn: conn, frames: make(chan []byte)}
	go x.read(ctx, in, cancel) // ends when conn is closed, which accept does
	status := s.localExec(ctx, p, string(line), newPipe(x))
	writeFrame(conn, frameExit, binary.BigEndian.AppendUint32(nil, uint32(status)))
}

func (s *Server) localExec(ctx context.Context, p mail.Principal, line string, c *pipe) (status int) {
	defer func() {
		if r := recover(); r != nil {
			s.o.Fault("adminssh", fmt.Sprintf("panic: %v\n%s", r, debug.Stack()))
			status = 1
		}
	}()
	return s.o.Runner.Exec(ctx, p, line, c)
}

// localSession is the byte stream of a local connection.
type localSession struct {
	conn   net.Conn
	frames chan []byte
	left   []byte
	ended  bool
}

// read takes the client's frames; its end cancels what runs.
func (x *localSession) read(ctx context.Context, in *bufio.Reader, gone func()) {
	defer gone()
	defer close(x.frames)
	for {
		kind, data, err := readFrame(in)
		if err != nil || kind != frameData {
			return
		}
		select {
		case x.frames <- data:
		case <-ctx.Done():
			return
		}
	}
}

func (x *localSession) Read(p []byte) (int, error) {
	if len(x.left) == 0 && !x.ended {
		if err := writeFrame(x.conn, frameWant, nil); err != nil {
			return 0, err
		}
		data, ok := <-x.frames
		x.left, x.ended = data, !ok || len(data) == 0
	}
	if x.ended {
		return 0, io.EOF
	}
	n := copy(p, x.left)
	x.left = x.left[n:]
	return n, nil
}

func (x *localSession) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, maxFrame)
		if err := writeFrame(x.conn, frameOut, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// peerOf asks the kernel who is at the other end. The socket's mode lets in its
// owner and root only; the check here does not depend on the file system.
func peerOf(conn net.Conn) (mail.Principal, error) {
	p := mail.Principal{Name: "unknown", From: "local", Via: "socket"}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return p, errs.New(errs.Internal, "not a Unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return p, errs.Wrap(errs.Internal, err, "asking who is at the socket")
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return p, errs.Wrap(errs.Internal, errors.Join(err, credErr), "asking who is at the socket")
	}
	p.Name = "uid-" + strconv.FormatUint(uint64(cred.Uid), 10)
	if who, err := user.LookupId(strconv.FormatUint(uint64(cred.Uid), 10)); err == nil {
		p.Name = who.Username
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return p, errs.New(errs.Denied, "user %s does not own this appliance", p.Name)
	}
	p.Role = mail.Administrator
	return p, nil
}

func writeFrame(w io.Writer, kind byte, data []byte) error {
	b := make([]byte, 0, 5+len(data))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := w.Write(append(b, data...))
	return err
}

func readFrame(r io.Reader) (byte, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, errs.New(errs.Invalid, "a frame of %d bytes is too long", n)
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return head[0], data, err
}
