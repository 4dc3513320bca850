package listener

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lazaret/internal/access"
	"lazaret/internal/errs"
)

func TestTransitions(t *testing.T) {
	want := map[string]State{
		"offline 0": Listening, "offline 1": Suspended, "offline 3": Offline,
		"listening 1": Suspended, "listening 3": Offline,
		"suspended 2": Listening, "suspended 3": Offline,
	}
	for s := State(0); s < numStates; s++ {
		for e := event(0); e < numEvents; e++ {
			next, ok := transition(s, e)
			w, legal := want[fmt.Sprintf("%s %d", s, e)]
			if ok != legal || ok && next != w {
				t.Errorf("%s, event %d: %s %v", s, e, next, ok)
			}
		}
	}
}

// Suspending closes the socket, keeps the sessions for the time given, and all
// means the hidden listener too.
func TestSuspendResume(t *testing.T) {
	hidden := settings(CPQName, acceptAll)
	hidden.Protocol, hidden.TLS = CPQ, &tls.Config{}
	r := newRig(t, settings("Incoming", acceptAll), hidden)
	inSession, other := r.dial("Incoming"), r.dial(CPQName)
	inSession.say("", "220")
	other.say("", "220 gw1.example.com ESMTP CPQ")
	addr := r.Addr("Incoming")
	if _, err := r.Suspend(time.Hour, "Incoming", "Nonsense"); !errs.Is(err, errs.NotFound) || len(r.Suspended()) != 0 {
		t.Errorf("%v %v", err, r.Suspended())
	}
	names, err := r.Suspend(time.Hour, "Incoming")
	if err != nil || fmt.Sprint(names) != "[Incoming]" {
		t.Errorf("%v %v", names, err)
	}
	if c, err := net.Dial("tcp", addr.String()); err == nil {
		c.Close()
		t.Error("a suspended listener takes connections")
	}
	inSession.say("NOOP", "250")
	names, err = r.Suspend(0)
	if err != nil || fmt.Sprint(names, r.Suspended()) != "[cpq_listener] [Incoming cpq_listener]" {
		t.Errorf("%v %v", names, err)
	}
	other.all("", "421 4.3.2", "", "END")
	if names, err := r.Resume(); err != nil || fmt.Sprint(names) != "[Incoming cpq_listener]" {
		t.Errorf("%v %v", names, err)
	}
	inSession.say("NOOP", "250") // the hour was not over
	r.dial("Incoming").say("", "220")
	r.dial(CPQName).say("", "220")
	if names, err := r.Resume(); err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
}

// A listener suspended before the start stays so.
func TestSuspendedAtStart(t *testing.T) {
	r := newRig(t)
	s := settings("Incoming", acceptAll)
	if err := r.Add(s); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Suspend(0, "Incoming"); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if st := r.Status()[0]; st.State != Suspended || st.Addr != s.Addr {
		t.Errorf("%+v", st)
	}
	if err := r.Add(s); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
	if err := r.Replace([]Settings{s}); err != nil || r.Status()[0].State != Suspended {
		t.Errorf("new settings opened it: %v", err)
	}
	if err := r.Replace(nil); err != nil || len(r.Status()) != 0 {
		t.Error(err)
	}
}

// At the end the idle are told 421 at once; a message in hand is finished and acknowledged.
func TestClose(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	idle := r.dial("Incoming").upTo("EHLO")
	busy := r.dial("Incoming").upTo("DATA")
	done := make(chan struct{})
	go func() { r.stop(); close(done) }()
	idle.all("", "421 4.3.2", "", "END")
	busy.all("x\r\n.", "250 2.0.0", "", "421 4.3.2", "", "END")
	<-done
	if len(r.sink.messages()) != 1 || r.Clients() != 0 || r.Status()[0].State != Offline {
		t.Errorf("%d messages, %d clients, %s", len(r.sink.messages()), r.Clients(), r.Status()[0].State)
	}
	if err := r.Add(settings("Late", acceptAll)); !errs.Is(err, errs.Closed) {
		t.Error(err)
	}
}

// Who does not come to an end is cut when the patience of Close ends.
func TestCloseCuts(t *testing.T) {
	r := newRig(t, settings("Incoming", acceptAll))
	r.dial("Incoming").upTo("DATA")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Close(ctx)
	if len(r.sink.messages()) != 0 || !strings.Contains(r.log.lines(), "Message aborted MID 1 Receiving aborted\n") {
		t.Errorf("%v\n%s", r.sink.messages(), r.log.lines())
	}
}

// The queue length asked for is the socket's: the kernel tells it in the field
// tcpi_sacked of a listening socket.
func TestBacklog(t *testing.T) {
	for _, want := range []int{1, 50, 77} {
		l, err := listenTCP(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), want)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			if err != nil || int(info.Sacked) != want {
				t.Errorf("listen queue is %d, want %d, %v", info.Sacked, want, err)
			}
		})
		l.Close()
	}
}

// A port that is taken is an error that names listener and address; the others start.
func TestPortTaken(t *testing.T) {
	r := newRig(t, settings("First", acceptAll))
	second, third := settings("Second", acceptAll), settings("Third", acceptAll)
	second.Addr = r.Addr("First")
	for _, s := range []Settings{second, third} {
		if err := r.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	err := r.Start()
	if err == nil || !strings.HasPrefix(err.Error(), `listener "Second": cannot listen on `+second.Addr.String()) {
		t.Error(err)
	}
	if st := r.Status(); st[1].State != Offline || st[2].State != Listening {
		t.Errorf("%+v", st)
	}
	second.Addr = netip.MustParseAddrPort("127.0.0.1:0")
	first := settings("First", acceptAll)
	if err := r.Replace([]Settings{first, second, third}); err != nil || r.Status()[1].State != Listening {
		t.Error(err)
	}
}

// A change of rules leaves port and sessions alone; a change of the queue opens
// the socket anew and still keeps the sessions.
func TestReplaceKeepsSessions(t *testing.T) {
	s := settings("Incoming", acceptAll)
	s.Timeouts.Close = time.Millisecond
	r := newRig(t, s)
	d := r.dial("Incoming").upTo("EHLO")
	before := r.Addr("Incoming")
	s.HAT = access.DefaultHAT(access.Private)
	if err := r.Replace([]Settings{s}); err != nil || r.Addr("Incoming") != before {
		t.Errorf("%v %s %s", err, r.Addr("Incoming"), before)
	}
	d.all("MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@example.com>", "250")
	r.dial("Incoming").say("", "554")
	s.Backlog = 7
	if err := r.Replace([]Settings{s}); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", before.String()); err == nil && r.Addr("Incoming") != before {
		c.Close()
		t.Error("the old socket is open")
	}
	r.dial("Incoming").say("", "554")
	d.say("NOOP", "250")
	go r.stop()
	d.say("", "421 4.3.2")
}

// TLS by STARTTLS, with the line of the log and the protocol of RFC 3848.
func TestSTARTTLS(t *testing.T) {
	s := settings("Incoming", "$P\n ACCEPT {tls = required}\nALL\n $P\n")
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, time.Now().Add(time.Hour))}}
	r := newRig(t, s)
	d := r.dial("Incoming").upTo("EHLO")
	d.all("MAIL FROM:<a@b.example>", "530 5.7.0", "STARTTLS", "220 2.0.0")
	d = d.secure(&tls.Config{InsecureSkipVerify: true})
	d.all("EHLO y", "250", "MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@example.com>", "250", "DATA", "354", ".", "250", "QUIT", "221")
	r.stop()
	if !strings.Contains(r.log.lines(), "ICID 1 TLS success protocol TLSv1.3 cipher TLS_") {
		t.Error(r.log.lines())
	}
	if m := r.sink.messages(); len(m) != 1 || m[0].Origin.Protocol != "ESMTPS" || m[0].Origin.Helo != "y" {
		t.Errorf("%+v", m)
	}
}

// A port may pass from one listener to another in one change, whatever their
// order, and a listener that goes ends its sessions.
func TestReplacePassesPorts(t *testing.T) {
	r := newRig(t, settings("One", acceptAll), settings("Two", acceptAll), settings("Three", acceptAll))
	guest := r.dial("Three").upTo("EHLO")
	one, two, four := settings("One", acceptAll), settings("Two", acceptAll), settings("Four", acceptAll)
	one.Addr, two.Addr, four.Addr = r.Addr("Two"), r.Addr("One"), r.Addr("Three")
	if err := r.Replace([]Settings{one, two, four}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []Settings{one, two, four} {
		if r.Addr(s.Name) != s.Addr {
			t.Errorf("%s is at %s, not %s", s.Name, r.Addr(s.Name), s.Addr)
		}
		r.dial(s.Name).say("", "220")
	}
	guest.say("", "421 4.3.2")
	bad := settings("One", acceptAll)
	bad.Kind = "neither"
	if err := r.Replace([]Settings{two, bad}); !errs.Is(err, errs.Invalid) || len(r.Status()) != 3 {
		t.Errorf("%v, %+v", err, r.Status())
	}
	if err := r.Check([]Settings{two, two}); !errs.Is(err, errs.Conflict) {
		t.Error(err)
	}
}

// The limits of all listeners hold above those of the policies.
func TestLimitsOfAll(t *testing.T) {
	s := settings("Incoming", acceptAll)
	s.MaxSize, s.MaxRecipients, s.Normalise = 2000, 2, true
	r := newRig(t, s)
	d := r.dial("Incoming")
	d.say("", "220")
	if got := d.say("EHLO x", "250"); !strings.Contains(got, "SIZE 2000") {
		t.Error(got)
	}
	d.all("MAIL FROM:<a@b.example>", "250", "RCPT TO:<x@example.com>", "250", "RCPT TO:<y@example.com>", "250", "RCPT TO:<z@example.com>", "452",
		"DATA", "354", "a\nb\r\n.", "250")
	if got := r.sink.messages(); len(got) != 1 || got[0].body != "a\r\nb\r\n" {
		t.Errorf("%+v", got)
	}
}
