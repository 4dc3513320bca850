package appliance

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/testlib"
)

// nobody takes no mail.
type nobody struct{ listener.CPQSink }

func (nobody) NextMID() mail.MID                                         { return 1 }
func (nobody) Ready(int64) error                                         { return nil }
func (nobody) Receive(context.Context, *listener.Message) error          { return io.ErrClosedPipe }
func (nobody) Accept(context.Context, string, cpq.Metadata) error        { return nil }
func (nobody) Take(context.Context, *listener.Message) (mail.MID, error) { return 0, nil }
func freePort(t *testing.T) int {
	t.Helper()
	return int(testlib.FreePort(t).Port())
}

// bare is a gateway's common part with its listeners.
func bare(t *testing.T) *Appliance {
	t.Helper()
	dir := t.TempDir()
	if _, err := Init(dir, config.Gateway, InitOptions{SMTPPort: freePort(t), CPQPort: freePort(t), SSHPort: freePort(t)}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(Options{Dir: dir, Resolver: &dns.Fake{}}, config.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := a.Listen(Sinks{SMTP: nobody{}, CPQ: nobody{}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.ClosePorts(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func (a *Appliance) reachable(t *testing.T, port int) {
	t.Helper()
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Error(err)
		return
	}
	c.Close()
}

// A listener whose port was taken at the start opens when a commit gives it a
// free one, and a renamed listener takes its own port over.
func TestCommitOpensPorts(t *testing.T) {
	a := bare(t)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(a.Config.Committed().Listeners[0].Port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := a.OpenPorts(); err == nil {
		t.Fatal("opened a port that another has")
	}
	port := freePort(t)
	update := func(f func(l *config.Listener)) {
		t.Helper()
		err := a.Config.Update(mail.System(), "probe", func(c *config.Config) error { f(&c.Listeners[0]); return nil })
		if err != nil {
			t.Error(err)
		}
	}
	update(func(l *config.Listener) { l.Port = port })
	a.reachable(t, port)
	update(func(l *config.Listener) { l.Name = "Renamed" })
	a.reachable(t, port)
	if st := a.Listeners.Status(); slices.ContainsFunc(st, func(s listener.Status) bool { return s.State != listener.Listening }) {
		t.Errorf("%+v", st)
	}
}

// What the listeners would refuse at the next start is refused at the commit.
func TestCommitRefusesBadListener(t *testing.T) {
	a := bare(t)
	err := a.Config.Update(mail.System(), "probe", func(c *config.Config) error { c.Listeners[0].Name = "In.Coming"; return nil })
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("commit: %v", err)
	}
	if c, err := config.Load(filepath.Join(a.Dir, ConfigName)); err != nil || c.Listeners[0].Name != "IncomingMail" {
		t.Errorf("on disk: %v", err)
	}
}

// The limits of the configuration reach the SMTP listeners, and not CPQ.
func TestLimitsReachListeners(t *testing.T) {
	a := bare(t)
	c := a.Config.Committed().Clone()
	c.Limits = config.Limits{MessageSize: 5000, Recipients: 123, Clients: 7, Newlines: "normalise"}
	all, err := a.listenerSettings(c)
	if err != nil {
		t.Fatal(err)
	}
	if s := all[0]; s.MaxSize != 5000 || s.MaxRecipients != 123 || s.MaxClients != 7 || !s.Normalise {
		t.Errorf("%+v", s)
	}
	if s := all[1]; s.Protocol != listener.CPQ || s.MaxSize != 0 || s.MaxRecipients != 0 || s.Normalise {
		t.Errorf("%+v", s)
	}
}

// An address that this machine does not have, or a port that another program
// has, is refused at the commit with its place; a port of our own may pass
// from one listener to another.
func TestCommitRefusesWhatCannotBeOpened(t *testing.T) {
	a := bare(t)
	if err := a.OpenPorts(); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taken := other.Addr().(*net.TCPAddr).Port
	update := func(f func(c *config.Config)) error {
		return a.Config.Update(mail.System(), "probe", func(c *config.Config) error { f(c); return nil })
	}
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return errs.Public(err)
	}
	for _, c := range []struct {
		change func(c *config.Config)
		want   string
	}{
		{func(c *config.Config) { c.Interfaces[0].IP = "192.0.2.77" }, `config/interfaces/interface: 192.0.2.77 is not an address of this machine (interface "Management")`},
		{func(c *config.Config) { c.SSH.Port = taken }, "config/ssh/port: 127.0.0.1:" + strconv.Itoa(taken) + " is in use by another program"},
		{func(c *config.Config) { c.Listeners[0].Port = taken }, "config/listeners/listener/port: 127.0.0.1:" + strconv.Itoa(taken) + " is in use by another program"},
		{func(c *config.Config) { // nobody uses it yet
			c.Interfaces = append(c.Interfaces, config.Interface{Name: "Later", IP: "192.0.2.78"})
		}, ""},
		{func(c *config.Config) { c.Interfaces[0].IP = "0.0.0.0" }, ""},
		{func(c *config.Config) {
			c.Listeners[0].Port, c.Listeners[1].Port = c.Listeners[1].Port, c.Listeners[0].Port
		}, ""},
	} {
		if got := text(update(c.change)); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
	if st := a.Listeners.Status(); slices.ContainsFunc(st, func(s listener.Status) bool { return s.State != listener.Listening }) {
		t.Errorf("%+v", st)
	}
}

// checkconfig and the start refuse it as well.
func TestOpenRefusesForeignAddress(t *testing.T) {
	dir := t.TempDir()
	if _, err := Init(dir, config.Gateway, InitOptions{IP: "192.0.2.77"}); err != nil {
		t.Fatal(err)
	}
	for _, check := range []bool{true, false} {
		_, err := Open(Options{Dir: dir, Resolver: &dns.Fake{}, Check: check}, config.Gateway)
		if !errs.Is(err, errs.Invalid) {
			t.Errorf("check %v: %v", check, err)
		}
	}
}

// A listener that a commit could not open is tried again by the next one.
func TestCommitTriesAgain(t *testing.T) {
	a := bare(t)
	port := a.Config.Committed().Listeners[0].Port
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.OpenPorts(); err == nil {
		t.Fatal("opened a port that another has")
	}
	state := func(n int) listener.State {
		t.Helper()
		err := a.Config.Update(mail.System(), "probe", func(c *config.Config) error { c.Limits.Clients = n; return nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range a.Listeners.Status() {
			if s.Name == "IncomingMail" {
				return s.State
			}
		}
		return listener.Suspended
	}
	if s := state(11); s != listener.Offline {
		t.Errorf("with the port taken it is %v", s)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := state(12); s != listener.Listening {
		t.Errorf("with the port free it is %v", s)
	}
	a.reachable(t, port)
}
