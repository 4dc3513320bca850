package demo

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	wire "lazaret/internal/smtp"
)

// office is a mail server that says what it is told to each recipient, and
// counts what it has taken.
type office struct {
	ln     net.Listener
	server *wire.Server
	wg     sync.WaitGroup

	mu    sync.Mutex
	says  map[string]wire.Reply // by address; none: 250
	taken map[string]int        // by address
	conns []net.Conn
}

func newOffice(t *testing.T, addr string) *office {
	t.Helper()
	o := &office{says: map[string]wire.Reply{}, taken: map[string]int{}}
	var err error
	if o.server, err = wire.NewServer(wire.ServerConfig{Hostname: "office.example.com", MaxSize: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if o.ln, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	o.wg.Go(func() {
		for {
			conn, err := o.ln.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			o.conns = append(o.conns, conn)
			o.mu.Unlock()
			o.wg.Go(func() {
				_, _ = o.server.Serve(context.Background(), conn, &officeSession{o: o})
				_ = conn.Close()
			})
		}
	})
	return o
}

func (o *office) close() {
	_ = o.ln.Close()
	o.mu.Lock()
	for _, c := range o.conns {
		_ = c.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *office) set(to string, r wire.Reply) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.says[to] = r
}

func (o *office) count(to string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken[to]
}

type officeSession struct {
	o  *office
	to []string
}

func (s *officeSession) Hello(context.Context, wire.HelloCommand) wire.Reply {
	return wire.NewReply(250, "", "office.example.com")
}
func (s *officeSession) Mail(context.Context, wire.MailCommand) wire.Reply { s.to = nil; return ok250 }
func (s *officeSession) Reset(context.Context)                             { s.to = nil }
func (s *officeSession) Rcpt(_ context.Context, c wire.RcptCommand) wire.Reply {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if r, no := s.o.says[c.To.String()]; no {
		return r
	}
	s.to = append(s.to, c.To.String())
	return ok250
}
func (s *officeSession) Data(_ context.Context, content io.Reader) wire.Reply {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return wire.ErrorReply(err)
	}
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	for _, to := range s.to {
		s.o.taken[to]++
	}
	return wire.NewReply(250, "2.0.0", "ok: kept at the office")
}

// shown is what quarantine show --json says of a release.
type shown struct {
	State   string
	Release []struct {
		Recipient, State, Reply, Host string
		HostReply                     string `json:"host_reply"`
		Rescanned                     string
		Code, Attempts                int
		NewMID                        uint64 `json:"new_mid"`
		Asked, Taken, Tried, Next     time.Time
	}
}

func show(t *testing.T, dir string, mid uint64) (s shown) {
	t.Helper()
	if err := json.Unmarshal([]byte(local(t, dir, "quarantine show "+strconv.FormatUint(mid, 10)+" --json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// waitShown waits until a release is shown as something.
func waitShown(t *testing.T, dir string, mid uint64, is func(shown) bool) (s shown) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) { // real sockets
		if s = show(t, dir, mid); is(s) {
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("it is not to be: %+v", s)
		}
	}
}

// postTo gives a message for several recipients to a gateway.
func postTo(t *testing.T, addr, content string, to ...string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	err = c.Mail("alice@partner.example")
	for _, a := range to {
		err = errors.Join(err, c.Rcpt(a))
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, content)
	if err := errors.Join(err, w.Close(), c.Quit()); err != nil {
		t.Fatal(err)
	}
}

// The proof of a release, the whole circle in one process: a server that refuses
// one of two recipients makes the release fail for that one, and the second
// release goes to that one alone; a server that is away is said to be, with the
// reason and the next try, and what it takes later is proven.
func TestReleaseProvenCircle(t *testing.T) {
	a := made(t)
	m, _ := pair(t, a)
	at := a.Mailbox.SMTP
	o := newOffice(t, at)
	o.set("carol@example.com", wire.NewReply(550, "5.1.1", "no such \x1b[31muser"))
	postTo(t, a.Gateways[0].SMTP, "Subject: HOLDME two\r\n\r\nx\r\n", "bob@example.com", "carol@example.com")
	mid := waitHeld(t, a.Manager.Dir, "HOLDME two")
	n := strconv.FormatUint(mid, 10)
	local(t, a.Manager.Dir, "quarantine release "+n)
	s := waitShown(t, a.Manager.Dir, mid, func(s shown) bool { return s.State == "failed" })
	bob, carol := s.Release[0], s.Release[1]
	if bob.State != "accepted" || bob.Code != 250 || !strings.Contains(bob.HostReply, "kept at the office") || bob.Host == "" || bob.NewMID == 0 || bob.Asked.IsZero() || bob.Taken.IsZero() {
		t.Errorf("bob: %+v", bob)
	}
	if carol.State != "bounced" || carol.Code != 550 || !strings.Contains(carol.HostReply, "no such ") {
		t.Errorf("carol: %+v", carol)
	}
	if out := local(t, a.Manager.Dir, "quarantine show "+n); !strings.Contains(out, "accepted by ") || !strings.Contains(out, "refused by 127.0.0.1 on ") || strings.Contains(out, "\x1b") {
		t.Errorf("shown:\n%s", out)
	}
	o.mu.Lock()
	delete(o.says, "carol@example.com")
	o.mu.Unlock()
	local(t, a.Manager.Dir, "quarantine release "+n)
	waitShown(t, a.Manager.Dir, mid, func(s shown) bool { return s.State == "released" && s.Release[1].State == "accepted" })
	if o.count("bob@example.com") != 1 || o.count("carol@example.com") != 1 {
		t.Errorf("bob %d, carol %d", o.count("bob@example.com"), o.count("carol@example.com"))
	}
	o.close()

	postTo(t, a.Gateways[0].SMTP, "Subject: HOLDME later\r\n\r\nx\r\n", "bob@example.com")
	mid = waitHeld(t, a.Manager.Dir, "HOLDME later")
	local(t, a.Manager.Dir, "quarantine release "+strconv.FormatUint(mid, 10))
	s = waitShown(t, a.Manager.Dir, mid, func(s shown) bool { return s.State == "taken" && s.Release[0].State == "waiting" })
	if r := s.Release[0]; !strings.Contains(r.HostReply, "refused") || r.Next.IsZero() || r.Code != 0 {
		t.Errorf("waiting: %+v", r)
	}
	o = newOffice(t, at)
	defer o.close()
	local(t, a.Gateways[0].Dir, "delivernow example.com")
	waitShown(t, a.Manager.Dir, mid, func(s shown) bool { return s.State == "released" && s.Release[0].State == "accepted" })

	m.MailLog.Sync()
	log := logged(t, a.Manager.Dir)
	for _, want := range []string{"Release of MID " + n + " to RID 0: accepted at gw1.lazaret.example as MID ", "Release of MID " + n + " failed", "Release of MID " + n + " proven"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log", want)
		}
	}
}

// logged gives what an appliance has in mail_logs now.
func logged(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "log", "mail_logs", "mail.current"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
