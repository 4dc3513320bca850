package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/smtp"
)

// Limits of the mailbox server.
const (
	mailboxConnections = 200
	mailboxMaxSize     = 200 << 20
	mailboxBuffer      = 64 << 10
	maildirStale       = 36 * time.Hour // the age at which Maildir allows tmp to be swept
)

// Mailbox is a mail server that takes everything for everybody and writes each
// message as one file of a Maildir: the bytes received, CR LF included, and no
// header of its own. It answers 250 when the file is on stable storage.
type Mailbox struct {
	dir    string
	ln     net.Listener
	server *smtp.Server
	slots  chan struct{}
	seq    atomic.Uint64

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when closed
	wg    sync.WaitGroup
}

// NewMailbox makes the Maildir under dir if there is none and listens on addr.
func NewMailbox(dir, addr string) (*Mailbox, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "make the Maildir")
		}
	}
	if err := sweepTmp(filepath.Join(dir, "tmp")); err != nil {
		return nil, err
	}
	server, err := smtp.NewServer(smtp.ServerConfig{Hostname: "mailbox.example.com", MaxSize: mailboxMaxSize})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, errs.Wrap(errs.Conflict, errs.Network(err), "cannot listen on %s", addr)
	}
	return &Mailbox{dir: dir, ln: ln, server: server,
		slots: make(chan struct{}, mailboxConnections), conns: map[net.Conn]struct{}{}}, nil
}

// sweepTmp removes what a dead writer left long ago.
func sweepTmp(tmp string) error {
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "read %s", tmp)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < maildirStale {
			continue
		}
		if err := os.Remove(filepath.Join(tmp, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errs.Wrap(errs.Internal, err, "sweep %s", tmp)
		}
	}
	return nil
}

// Addr is where the server listens.
func (m *Mailbox) Addr() netip.AddrPort { return m.ln.Addr().(*net.TCPAddr).AddrPort() }

// Dir is the Maildir.
func (m *Mailbox) Dir() string { return m.dir }

// Run serves until ctx ends or Close is called; then every connection has ended.
func (m *Mailbox) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = m.ln.Close() })
	defer stop()
	defer m.wg.Wait()
	for {
		m.slots <- struct{}{}
		conn, err := m.ln.Accept()
		if err != nil {
			<-m.slots
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if isTransient(err) {
				select { // out of descriptors: wait for one
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
				continue
			}
			return errs.Wrap(errs.Internal, err, "mailbox: accept")
		}
		m.serve(ctx, conn)
	}
}

func isTransient(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Temporary()
}

func (m *Mailbox) serve(ctx context.Context, conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		_ = conn.Close()
		<-m.slots
		return
	}
	m.conns[conn] = struct{}{}
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		// How a session ended does not matter here: what was acknowledged is in the Maildir.
		_, _ = m.server.Serve(ctx, conn, &mailboxSession{box: m})
		_ = conn.Close()
		m.mu.Lock()
		delete(m.conns, conn)
		m.mu.Unlock()
		<-m.slots
	}()
}

// Close stops listening, ends all connections and waits for them.
func (m *Mailbox) Close() error {
	err := m.ln.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	m.mu.Lock()
	for c := range m.conns {
		_ = c.Close()
	}
	m.conns = nil
	m.mu.Unlock()
	m.wg.Wait()
	return err
}

// mailboxSession accepts every sender and every recipient.
type mailboxSession struct{ box *Mailbox }

var ok250 = smtp.NewReply(250, "2.0.0", "ok")

func (s *mailboxSession) Hello(context.Context, smtp.HelloCommand) smtp.Reply {
	return smtp.NewReply(250, "", "mailbox.example.com")
}
func (s *mailboxSession) Mail(context.Context, smtp.MailCommand) smtp.Reply { return ok250 }
func (s *mailboxSession) Rcpt(context.Context, smtp.RcptCommand) smtp.Reply { return ok250 }
func (s *mailboxSession) Reset(context.Context)                             {}

func (s *mailboxSession) Data(_ context.Context, content io.Reader) smtp.Reply {
	name, err := s.box.store(content)
	if err != nil {
		return smtp.ErrorReply(err)
	}
	return smtp.NewReply(250, "2.0.0", "ok: stored as "+name)
}

// store writes one file: into tmp, sync, rename into new, sync the directory.
// Only then may 250 be said (house rule 16).
func (m *Mailbox) store(content io.Reader) (string, error) {
	name := m.name()
	tmp := filepath.Join(m.dir, "tmp", name)
	if err := writeSynced(tmp, content); err != nil {
		if rm := os.Remove(tmp); rm != nil && !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return "", errs.Context(err, "mailbox: write the message")
	}
	if err := os.Rename(tmp, filepath.Join(m.dir, "new", name)); err != nil {
		return "", errs.Wrap(errs.Internal, err, "mailbox: move the message to new")
	}
	return name, errs.Wrap(errs.Internal, config.SyncDir(filepath.Join(m.dir, "new")), "mailbox")
}

// name is unique as Maildir asks: time, process, count, host.
func (m *Mailbox) name() string {
	now := time.Now()
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	host = strings.NewReplacer("/", "_", ":", "_").Replace(host)
	return strconv.FormatInt(now.Unix(), 10) + ".M" + strconv.Itoa(now.Nanosecond()/1000) +
		"P" + strconv.Itoa(os.Getpid()) + "Q" + strconv.FormatUint(m.seq.Add(1), 10) + "." + host
}

func writeSynced(path string, content io.Reader) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	// The wrapper hides ReadFrom: the copy is to use the buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, content, make([]byte, mailboxBuffer)); err != nil {
		return err
	}
	return f.Sync()
}
