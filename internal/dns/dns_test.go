package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"lazaret/internal/errs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a name server behind a Dial function. reply gets the question and
// gives the packets to send back, in order.
type server struct {
	reply func(network string, q dnsmessage.Message) [][]byte
	asked atomic.Int32
	wg    sync.WaitGroup
}

func (s *server) dial(_ context.Context, network, address string) (net.Conn, error) {
	near, far := net.Pipe()
	s.wg.Go(func() {
		defer far.Close()
		buf := make([]byte, 4096)
		n, err := far.Read(buf)
		if err != nil {
			return
		}
		query := buf[:n]
		if network == "tcp" {
			query = query[2:]
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return
		}
		s.asked.Add(1)
		for _, packet := range s.reply(network, m) {
			if network == "tcp" {
				packet = append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
			}
			if _, err := far.Write(packet); err != nil {
				return
			}
		}
		io.Copy(io.Discard, far) // silent until the client gives up
	})
	return near, nil
}

// bubble runs f with a stub that asks reply only, in synthetic time.
func bubble(t *testing.T, reply func(network string, q dnsmessage.Message) [][]byte, f func(t *testing.T, s *Stub, srv *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := &server{reply: reply}
		none := filepath.Join(t.TempDir(), "none")
		s := New(Options{Servers: func() []Server { return []Server{{Addr: netip.MustParseAddrPort("192.0.2.53:53")}} }, HostsFile: none, ResolvConf: none, Dial: srv.dial})
		f(t, s, srv)
		s.Close()
		srv.wg.Wait()
	})
}

func name(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

func rr(owner string, ttl uint32, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name(owner), Class: dnsmessage.ClassINET, TTL: ttl}, Body: body}
}

func a(owner, ip string) dnsmessage.Resource {
	return rr(owner, 60, &dnsmessage.AResource{A: netip.MustParseAddr(ip).As4()})
}

func cname(owner, to string) dnsmessage.Resource {
	return rr(owner, 60, &dnsmessage.CNAMEResource{CNAME: name(to)})
}

func mx(owner string, pref uint16, host string) dnsmessage.Resource {
	return rr(owner, 60, &dnsmessage.MXResource{Pref: pref, MX: name(host)})
}

// answerTo gives a proper answer; change may spoil it.
func answerTo(q dnsmessage.Message, change func(*dnsmessage.Message), answers ...dnsmessage.Resource) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions, Answers: answers}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func rcode(c dnsmessage.RCode) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.RCode = c }
}

// onlyA answers A questions from a list and has nothing else.
func onlyA(answers ...dnsmessage.Resource) func(string, dnsmessage.Message) [][]byte {
	return func(_ string, q dnsmessage.Message) [][]byte {
		if q.Questions[0].Type != dnsmessage.TypeA {
			return [][]byte{answerTo(q, nil)}
		}
		return [][]byte{answerTo(q, nil, answers...)}
	}
}

func TestLookupMX(t *testing.T) {
	bubble(t, func(_ string, q dnsmessage.Message) [][]byte {
		switch q.Questions[0].Name.String() {
		case "null.example.":
			return [][]byte{answerTo(q, nil, mx("null.example.", 0, "."))}
		case "part.example.": // RFC 7505: a null MX among others counts for nothing
			return [][]byte{answerTo(q, nil, mx("part.example.", 0, "."), mx("part.example.", 9, "mx.example."))}
		case "bad.example.":
			return [][]byte{answerTo(q, nil, mx("bad.example.", 0, "evil\r\n250 ok.example."))}
		case "none.example.":
			return [][]byte{answerTo(q, nil)}
		case "gone.example.":
			return [][]byte{answerTo(q, rcode(dnsmessage.RCodeNameError))}
		case "lame.example.":
			return [][]byte{answerTo(q, rcode(dnsmessage.RCodeServerFailure))}
		}
		return [][]byte{answerTo(q, nil, mx("Example.com.", 20, "B.example.com."), mx("example.com.", 10, "a.example.com."), mx("other.example.", 1, "stray.example."))}
	}, func(t *testing.T, s *Stub, _ *server) {
		for domain, want := range map[string]string{
			"Example.COM.":  "{false [{a.example.com 10} {b.example.com 20}] false} <nil>",
			"null.example":  "{true [] false} <nil>",
			"part.example":  "{false [{mx.example 9}] false} <nil>",
			"bad.example":   "{false [] false} bad.example has no MX record with a valid name",
			"none.example":  "{false [] false} none.example has no such record",
			"gone.example":  "{false [] false} gone.example does not exist",
			"lame.example":  "{false [] false} lame.example.: no name server answered: server answered ServerFailure",
			"a..b":          `{false [] false} domain "a..b" is not valid`,
			"[192.0.2.1]":   "{false [] false} an address literal is not a name",
			"x\r\n.example": "{false [] false} domain \"x\\r\\n.example\" is not valid",
		} {
			set, err := s.LookupMX(t.Context(), domain)
			if got := fmt.Sprintf("%v %v", set, err); got != want {
				t.Errorf("%q:\n got %s\nwant %s", domain, got, want)
			}
		}
		for domain, kind := range map[string]errs.Kind{"none.example": errs.NotFound, "gone.example": errs.NotFound, "lame.example": errs.Temporary, "bad.example": errs.Temporary} {
			if _, err := s.LookupMX(t.Context(), domain); errs.KindOf(err) != kind {
				t.Errorf("%s: %v is %v, not %v", domain, err, errs.KindOf(err), kind)
			}
		}
	})
}

// Packets that do not answer the question are passed over, the true one behind
// them counts; without a true one the answer is "try later", never "no such name".
func TestSpoofedAnswers(t *testing.T) {
	lie := a("host.example.", "203.0.113.66")
	strays := map[string]func(q dnsmessage.Message) []byte{
		"wrong id": func(q dnsmessage.Message) []byte { return answerTo(q, func(m *dnsmessage.Message) { m.ID++ }, lie) },
		"a question": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) { m.Response = false }, lie)
		},
		"other name": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) {
				m.Questions = []dnsmessage.Question{{Name: name("other.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
			}, lie)
		},
		"other type": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) {
				m.Questions = []dnsmessage.Question{{Name: q.Questions[0].Name, Type: dnsmessage.TypeMX, Class: dnsmessage.ClassINET}}
			}, lie)
		},
		"no question": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) { m.Questions = nil }, lie)
		},
		"two questions": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }, lie)
		},
		"short": func(q dnsmessage.Message) []byte { return answerTo(q, nil, lie)[:7] },
		"a lie about no": func(q dnsmessage.Message) []byte {
			return answerTo(q, func(m *dnsmessage.Message) { m.ID++; m.RCode = dnsmessage.RCodeNameError })
		},
	}
	for label, stray := range strays {
		t.Run(label, func(t *testing.T) {
			bubble(t, func(_ string, q dnsmessage.Message) [][]byte {
				return [][]byte{stray(q), onlyA(a("host.example.", "192.0.2.1"))("", q)[0]}
			}, func(t *testing.T, s *Stub, _ *server) {
				got, err := s.LookupAddr(t.Context(), "host.example")
				if err != nil || fmt.Sprint(got) != "[192.0.2.1]" {
					t.Errorf("%v %v", got, err)
				}
			})
			bubble(t, func(_ string, q dnsmessage.Message) [][]byte { return [][]byte{stray(q)} }, func(t *testing.T, s *Stub, srv *server) {
				start := time.Now()
				got, err := s.LookupAddr(t.Context(), "host.example")
				if !errs.Is(err, errs.Temporary) || time.Since(start) != rounds*defaultTimeout {
					t.Errorf("%v %v after %v", got, err, time.Since(start))
				}
				if n := srv.asked.Load(); n != 2*rounds { // A and AAAA
					t.Errorf("asked %d times", n)
				}
			})
		})
	}
}

func TestAliases(t *testing.T) {
	chain := func(n int) []dnsmessage.Resource {
		list := []dnsmessage.Resource{cname("host.example.", "c0.example.")}
		for i := range n {
			list = append(list, cname(fmt.Sprintf("c%d.example.", i), fmt.Sprintf("c%d.example.", i+1)))
		}
		return append(list, a(fmt.Sprintf("c%d.example.", n), "192.0.2.7"))
	}
	for label, c := range map[string]struct {
		answers []dnsmessage.Resource
		want    string
		kind    errs.Kind
	}{
		"chain":         {chain(5), "[192.0.2.7]", errs.Internal},
		"out of order":  {[]dnsmessage.Resource{a("b.example.", "192.0.2.8"), cname("a.example.", "B.example."), cname("host.example.", "A.example.")}, "[192.0.2.8]", errs.Internal},
		"long chain":    {chain(20), "[]", errs.Temporary},
		"loop":          {[]dnsmessage.Resource{cname("host.example.", "b.example."), cname("b.example.", "host.example.")}, "[]", errs.Temporary},
		"self":          {[]dnsmessage.Resource{cname("host.example.", "host.example.")}, "[]", errs.Temporary},
		"other's":       {[]dnsmessage.Resource{a("bank.example.", "203.0.113.66")}, "[]", errs.NotFound},
		"stray besides": {[]dnsmessage.Resource{a("bank.example.", "203.0.113.66"), a("host.example.", "192.0.2.9")}, "[192.0.2.9]", errs.Internal},
	} {
		t.Run(label, func(t *testing.T) {
			bubble(t, onlyA(c.answers...), func(t *testing.T, s *Stub, _ *server) {
				got, err := s.LookupAddr(t.Context(), "host.example")
				if fmt.Sprint(got) != c.want || errs.KindOf(err) != c.kind {
					t.Errorf("%v %v", got, err)
				}
			})
		})
	}
}

// An alias that leads out of the answer is followed by new questions, so far and no further.
func TestAliasAcrossAnswers(t *testing.T) {
	next := func(end int) func(string, dnsmessage.Message) [][]byte {
		return func(_ string, q dnsmessage.Message) [][]byte {
			at := q.Questions[0].Name.String()
			var n int
			fmt.Sscanf(at, "c%d.example.", &n)
			if n == end {
				return onlyA(a(at, "192.0.2.7"))("", q)
			}
			return [][]byte{answerTo(q, nil, cname(at, fmt.Sprintf("c%d.example.", n+1)))}
		}
	}
	bubble(t, next(5), func(t *testing.T, s *Stub, _ *server) {
		if got, err := s.LookupAddr(t.Context(), "c0.example"); err != nil || fmt.Sprint(got) != "[192.0.2.7]" {
			t.Errorf("%v %v", got, err)
		}
	})
	bubble(t, next(-1), func(t *testing.T, s *Stub, srv *server) {
		if got, err := s.LookupAddr(t.Context(), "c0.example"); !errs.Is(err, errs.Temporary) {
			t.Errorf("%v %v", got, err)
		}
		if n := srv.asked.Load(); n != 2*maxChain {
			t.Errorf("asked %d times", n)
		}
	})
}

// Answers too big for a packet come over TCP; too big for us, not at all.
func TestHugeAnswers(t *testing.T) {
	many := func(n int) []dnsmessage.Resource {
		var list []dnsmessage.Resource
		for i := range n {
			list = append(list, a("host.example.", fmt.Sprintf("10.0.%d.%d", i>>8, i&255)))
		}
		return list
	}
	cut := func(answers []dnsmessage.Resource) func(string, dnsmessage.Message) [][]byte {
		return func(network string, q dnsmessage.Message) [][]byte {
			if network == "udp" {
				return [][]byte{answerTo(q, func(m *dnsmessage.Message) { m.Truncated = true })}
			}
			return onlyA(answers...)("", q)
		}
	}
	bubble(t, cut(many(300)), func(t *testing.T, s *Stub, _ *server) {
		if got, err := s.LookupAddr(t.Context(), "host.example"); err != nil || len(got) != maxAddrs {
			t.Errorf("%d addresses, %v", len(got), err)
		}
	})
	bubble(t, cut(many(2000)), func(t *testing.T, s *Stub, _ *server) {
		if got, err := s.LookupAddr(t.Context(), "host.example"); !errs.Is(err, errs.Temporary) {
			t.Errorf("%d addresses, %v", len(got), err)
		}
	})
	bubble(t, func(_ string, q dnsmessage.Message) [][]byte { // truncated over TCP as well
		return [][]byte{answerTo(q, func(m *dnsmessage.Message) { m.Truncated = true })}
	}, func(t *testing.T, s *Stub, _ *server) {
		if _, err := s.LookupAddr(t.Context(), "host.example"); !errs.Is(err, errs.Temporary) {
			t.Error(err)
		}
	})
}

// The cache keeps an answer for its TTL, a "no" for what the SOA record says,
// and a hundred askers at a time make one question.
func TestCache(t *testing.T) {
	bubble(t, func(_ string, q dnsmessage.Message) [][]byte {
		if q.Questions[0].Name.String() == "gone.example." {
			return [][]byte{answerTo(q, func(m *dnsmessage.Message) {
				m.RCode = dnsmessage.RCodeNameError
				m.Authorities = []dnsmessage.Resource{rr("example.", 900, &dnsmessage.SOAResource{NS: name("a."), MBox: name("b."), MinTTL: 30})}
			})}
		}
		return [][]byte{answerTo(q, nil, mx("example.com.", 10, "a.example.com."))}
	}, func(t *testing.T, s *Stub, srv *server) {
		ask := func(domain string, want int32) {
			t.Helper()
			s.LookupMX(t.Context(), domain)
			if n := srv.asked.Load(); n != want {
				t.Errorf("%s: %d questions, want %d", domain, n, want)
			}
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { s.LookupMX(t.Context(), "example.com") })
		}
		wg.Wait()
		ask("EXAMPLE.com", 1)
		time.Sleep(59 * time.Second)
		ask("example.com", 1)
		time.Sleep(time.Second)
		ask("example.com", 2)
		ask("gone.example", 3)
		time.Sleep(29 * time.Second)
		ask("gone.example", 3)
		time.Sleep(time.Second)
		ask("gone.example", 4)
		for i := range 2 * maxCached {
			s.mu.Lock()
			s.cache.put(question{fmt.Sprint(i), dnsmessage.TypeA}, answer{ttl: time.Hour})
			s.mu.Unlock()
		}
		if n := len(s.cache.kept); n > maxCached {
			t.Errorf("%d answers kept", n)
		}
	})
}

// Who gives up does not take the others with him, and Close ends all.
func TestGivingUp(t *testing.T) {
	bubble(t, func(string, dnsmessage.Message) [][]byte { return nil }, func(t *testing.T, s *Stub, _ *server) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.LookupMX(ctx, "slow.example"); !errs.Is(err, errs.Temporary) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		go s.Close()
		if _, err := s.LookupMX(t.Context(), "slow.example"); !errs.Is(err, errs.Temporary) || time.Since(start) != time.Second {
			t.Errorf("after Close: %v after %v", err, time.Since(start))
		}
	})
}

func TestReverse(t *testing.T) {
	if got := arpa(netip.MustParseAddr("192.0.2.1")); got != "1.2.0.192.in-addr.arpa." {
		t.Error(got)
	}
	if got := arpa(netip.MustParseAddr("2001:db8::1")); got != "1."+strings.Repeat("0.", 23)+"8.b.d.0.1.0.0.2.ip6.arpa." {
		t.Error(got)
	}
	ip := netip.MustParseAddr("192.0.2.1")
	f := &Fake{
		PTR:  map[netip.Addr][]string{ip: {"liar.example", "mx.example"}, netip.MustParseAddr("192.0.2.2"): {"liar.example"}},
		Addr: map[string][]netip.Addr{"mx.example": {netip.MustParseAddr("::ffff:192.0.2.1")}, "liar.example": {netip.MustParseAddr("203.0.113.1")}},
	}
	if r := Verify(t.Context(), f, ip); r != (Reverse{Host: "mx.example", Verified: true}) {
		t.Errorf("%+v", r)
	}
	if r := Verify(t.Context(), f, netip.MustParseAddr("192.0.2.2")); r != (Reverse{Host: "liar.example"}) {
		t.Errorf("%+v", r)
	}
	if r := Verify(t.Context(), f, netip.MustParseAddr("192.0.2.3")); !errs.Is(r.Err, errs.NotFound) {
		t.Errorf("%+v", r)
	}
	bubble(t, func(_ string, q dnsmessage.Message) [][]byte {
		return [][]byte{answerTo(q, nil, rr(q.Questions[0].Name.String(), 60, &dnsmessage.PTRResource{PTR: name("a\nICID 1 lost.example.")}))}
	}, func(t *testing.T, s *Stub, _ *server) {
		if names, err := s.LookupPTR(t.Context(), ip); len(names) != 0 || !errs.Is(err, errs.NotFound) {
			t.Errorf("%q %v", names, err)
		}
	})
}

// Without any resolver the hosts file still works, all else is "later".
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	hosts, resolv := filepath.Join(dir, "hosts"), filepath.Join(dir, "resolv.conf")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(hosts, "127.0.0.1 localhost\n192.0.2.5\tMail.Example mail # comment\nnonsense here\n::1 bad..name six\n")
	now := time.Unix(1000, 0)
	s := New(Options{ResolvConf: resolv, HostsFile: hosts, Clock: func() time.Time { return now }})
	defer s.Close()
	for host, want := range map[string]string{"mail.example": "[192.0.2.5] <nil>", "six": "[::1] <nil>", "192.0.2.77": "[192.0.2.77] <nil>", "localhost": "[127.0.0.1] <nil>", "a.localhost": "[127.0.0.1 ::1] <nil>", "other.example": "[] other.example.: no name server is known"} {
		got, err := s.LookupAddr(t.Context(), host)
		if fmt.Sprintf("%v %v", got, err) != want {
			t.Errorf("%s: %v %v", host, got, err)
		}
	}
	if names, err := s.LookupPTR(t.Context(), netip.MustParseAddr("::ffff:192.0.2.5")); err != nil || fmt.Sprint(names) != "[mail.example mail]" {
		t.Errorf("%v %v", names, err)
	}
	if _, err := s.LookupMX(t.Context(), "mail.example"); !errs.Is(err, errs.Temporary) {
		t.Error(err)
	}
	write(hosts, "192.0.2.6 mail.example\n")
	write(resolv, "search example\nnameserver 192.0.2.53\nnameserver fe80::1%lo\nnameserver bad\nnameserver 192.0.2.54\nnameserver 192.0.2.55\n")
	if got, _ := s.LookupAddr(t.Context(), "mail.example"); fmt.Sprint(got) != "[192.0.2.5]" {
		t.Errorf("the file is read at every question: %v", got)
	}
	now = now.Add(lookAgain)
	if got, _ := s.LookupAddr(t.Context(), "mail.example"); fmt.Sprint(got) != "[192.0.2.6]" {
		t.Errorf("a changed file is not seen: %v", got)
	}
	if got := s.files.servers(); fmt.Sprint(got) != "[{192.0.2.53:53 false} {[fe80::1%lo]:53 false} {192.0.2.54:53 false}]" {
		t.Error(got)
	}
}

// Over real sockets once: UDP, and TCP behind a truncated answer.
func TestOverSockets(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		tcp.Close()
		t.Skip("the UDP port of the same number is taken: ", err)
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
			if q.Unpack(buf[:n]) == nil {
				udp.WriteTo(answerTo(q, func(m *dnsmessage.Message) { m.Truncated = true }), from)
			}
		}
	})
	wg.Go(func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			io.ReadFull(c, size[:])
			buf := make([]byte, binary.BigEndian.Uint16(size[:]))
			io.ReadFull(c, buf)
			var q dnsmessage.Message
			if q.Unpack(buf) == nil {
				b := answerTo(q, nil, mx("example.com.", 1, "mx.example.com."))
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
			}
			c.Close()
		}
	})
	s := New(Options{Servers: func() []Server { return []Server{{Addr: netip.MustParseAddrPort(tcp.Addr().String())}} }})
	set, err := s.LookupMX(t.Context(), "example.com")
	if err != nil || fmt.Sprint(set) != "{false [{mx.example.com 1}] false}" {
		t.Errorf("%v %v", set, err)
	}
	s.Close()
	udp.Close()
	tcp.Close()
	wg.Wait()
}

// No packet makes the reader panic or give out a name that is none.
func FuzzRead(f *testing.F) {
	q := question{"example.com.", dnsmessage.TypeMX}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: name(q.name), Type: q.kind, Class: dnsmessage.ClassINET}}}
	f.Add(answerTo(m, nil, mx("example.com.", 1, "mx.example.com."), cname("example.com.", "a.")))
	f.Add(answerTo(m, rcode(dnsmessage.RCodeNameError)))
	loop := answerTo(m, nil, mx("example.com.", 1, "mx.example.com."))
	loop[len(loop)-2], loop[len(loop)-1] = 0xc0, byte(len(loop)-2) // a name that points to itself
	f.Add(loop)
	f.Fuzz(func(t *testing.T, b []byte) {
		ans, err := read(b, 7, q)
		if err != nil {
			return
		}
		for _, m := range ans.mx {
			if h, err := hostName(m.Host); err != nil || h != m.Host {
				t.Fatalf("host %q", m.Host)
			}
		}
		if ans.ttl < minTTL || ans.ttl > maxTTL {
			t.Fatalf("ttl %v", ans.ttl)
		}
	})
}
