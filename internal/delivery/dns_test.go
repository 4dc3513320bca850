package delivery

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lazaret/internal/dns"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
)

// The whole of DANE with a real validating resolver: what it validated is
// obeyed, what was changed on the way makes mail wait, and an unsigned domain
// gets its mail as before.
func TestDANEWithUnbound(t *testing.T) {
	m := newMXWorld(t, testlib.Behaviour{}, "mx.signed.example")
	r := key(m.cert.Leaf)
	good, other := hex.EncodeToString(r.Data), strings.Repeat("00", 31)+"ff"
	at := testlib.NewUnbound(t,
		testlib.Zone{Name: "signed.example", Signed: true, Text: `@ IN MX 10 mx
mx IN A 127.0.0.1
_25._tcp.mx IN TLSA 3 1 1 ` + good + `
wrong IN MX 10 mx.wrong
mx.wrong IN A 127.0.0.1
_25._tcp.mx.wrong IN TLSA 3 1 1 ` + strings.Repeat("ab", 32) + `
spoilt IN MX 10 mx.spoilt
mx.spoilt IN A 127.0.0.1
_25._tcp.mx.spoilt IN TLSA 3 1 1 ` + other,
			Spoil: func(s string) string { return strings.ReplaceAll(s, "0000ff", "0000fe") }},
		testlib.Zone{Name: "plain.example", Text: "@ IN MX 10 mx\nmx IN A 127.0.0.1\n_25._tcp.mx IN TLSA 3 1 1 " + strings.Repeat("ab", 32)},
	)
	stub := dns.New(dns.Options{Servers: func() []dns.Server { return []dns.Server{{Addr: at}} }})
	defer stub.Close()
	m.opt.Resolver = stub
	m.start()
	for _, to := range []string{"b@signed.example", "b@plain.example"} {
		if s := states(m.settled(m.add(body, nil, to))); s != "delivered" {
			t.Errorf("%s: %s; the log:\n%s", to, s, m.log)
		}
	}
	m.logged("TLS verified: DANE, TLSA 3 1 1 of mx.signed.example")
	m.add(body, nil, "b@wrong.signed.example")
	m.logged("TLS failed: DANE: verify error")
	m.add(body, nil, "b@spoilt.signed.example")
	m.logged("DANE: look up TLSA of mx.spoilt.signed.example")
	if n := len(m.sink.Messages()); n != 2 {
		t.Errorf("%d messages arrived", n)
	}
}

// liar is a name server that misbehaves by the first label of the name.
func liar(t *testing.T, good netip.Addr) netip.AddrPort {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			if b := lie(q, good); b != nil {
				_, _ = udp.WriteTo(b, from)
			}
		}
	})
	t.Cleanup(func() {
		_ = udp.Close()
		wg.Wait()
	})
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

func lie(q dnsmessage.Message, good netip.Addr) []byte {
	ask := q.Questions[0]
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions}
	rr := func(body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: ask.Name, Class: dnsmessage.ClassINET, TTL: 60}, Body: body})
	}
	label, _, _ := strings.Cut(ask.Name.String(), ".")
	switch label {
	case "silent":
		return nil
	case "servfail":
		m.RCode = dnsmessage.RCodeServerFailure
	case "refused":
		m.RCode = dnsmessage.RCodeRefused
	case "otherid":
		m.ID++
		m.RCode = dnsmessage.RCodeNameError
	case "otherquestion":
		m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("x.example."), Type: ask.Type, Class: ask.Class}}
		m.RCode = dnsmessage.RCodeNameError
	case "truncated": // and nobody listens on TCP
		m.Truncated = true
	case "loop":
		rr(&dnsmessage.CNAMEResource{CNAME: ask.Name})
	case "badmx":
		rr(&dnsmessage.MXResource{Pref: 1, MX: dnsmessage.MustNewName("a b.example.")})
	case "garbage":
		return append([]byte{byte(q.ID >> 8), byte(q.ID), 0x80, 0}, strings.Repeat("\xc0", 600)...)
	case "huge":
		for i := range 60 {
			rr(&dnsmessage.MXResource{Pref: uint16(i), MX: dnsmessage.MustNewName(fmt.Sprintf("silent.%d.example.", i))})
		}
	case "good":
		if ask.Type == dnsmessage.TypeA {
			rr(&dnsmessage.AResource{A: good.As4()})
		}
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// Fault F18: whatever name servers do, mail for their domains waits and is not
// bounced, nothing leaves in clear for want of an answer, and mail for others
// goes meanwhile. Only a resolver's plain word that there is no such name ends a
// message.
func TestSEC_F18_DNS(t *testing.T) {
	m := newMXWorld(t, testlib.Behaviour{})
	at := liar(t, netip.MustParseAddr("127.0.0.1"))
	stub := dns.New(dns.Options{Timeout: 100 * time.Millisecond, Servers: func() []dns.Server { return []dns.Server{{Addr: at}} }})
	defer stub.Close()
	m.opt.Resolver = stub
	set := m.set
	m.set = func(d queue.Dest) queue.Settings {
		s := set(d)
		if d.Name == "good.test.example" || d.Name == "none.test.example" {
			s.FirstRetry, s.LongestWait = 100*time.Millisecond, time.Second // our own answer may be late on a busy machine
		}
		return s
	}
	m.start()
	bad := []string{"silent", "servfail", "refused", "otherid", "otherquestion", "truncated", "loop", "badmx", "garbage", "huge"}
	for _, label := range bad {
		m.add(body, nil, "b@"+label+".test.example")
	}
	if s := states(m.settled(m.add(body, nil, "b@good.test.example"))); s != "delivered" {
		t.Errorf("among %d bad ones: %s; the log:\n%s", len(bad), s, m.log)
	}
	if s := states(m.settled(m.add(body, nil, "b@none.test.example"))); s != "bounced" {
		t.Errorf("no such name: %s", s)
	}
	for _, label := range bad {
		name := label + ".test.example"
		for deadline := time.Now().Add(2 * time.Minute); ; <-tick() {
			d := m.q.Lanes(name)
			if len(d) == 1 && d[0].State == queue.Down {
				if d[0].HardBounced != 0 || d[0].Delivered != 0 {
					t.Errorf("%s: %+v", label, d[0])
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: no attempt has ended: %+v", label, d)
			}
		}
	}
	if n := len(m.sink.Messages()); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}
