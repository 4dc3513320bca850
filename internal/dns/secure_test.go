package dns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lazaret/internal/errs"
	"lazaret/internal/testlib"
)

// What a real validating resolver says: signed is secure, unsigned is not, and
// what was changed on the way does not exist for us but fails.
func TestUnbound(t *testing.T) {
	at := testlib.NewUnbound(t,
		testlib.Zone{Name: "signed.example", Signed: true, Text: `
@ IN MX 10 mx
mx IN A 192.0.2.1
mx IN AAAA 2001:db8::1
alias IN CNAME mx
out IN CNAME host.plain.example.
_25._tcp.mx IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000001
_mta-sts IN TXT "v=STSv1; " "id=1;"
spoilt IN A 192.0.2.66
_25._tcp.spoilt IN TLSA 3 1 1 00000000000000000000000000000000000000000000000000000000000000ff`,
			Spoil: func(s string) string {
				return strings.NewReplacer("192.0.2.66", "192.0.2.67", "0000ff", "0000fe").Replace(s)
			}},
		testlib.Zone{Name: "plain.example", Text: "@ IN MX 10 host\nhost IN A 192.0.2.2\n_25._tcp.host IN TLSA 3 1 1 0000000000000000000000000000000000000000000000000000000000000002"},
	)
	s := New(Options{Servers: func() []Server { return []Server{{Addr: at}} }})
	defer s.Close()
	ctx := t.Context()
	check := func(what, want string, v any, err error) {
		t.Helper()
		if got := fmt.Sprintf("%v %v", v, err); got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	mx, err := s.LookupMX(ctx, "signed.example")
	check("MX", "{false [{mx.signed.example 10}] true} <nil>", mx, err)
	mx, err = s.LookupMX(ctx, "plain.example")
	check("MX of an unsigned zone", "{false [{host.plain.example 10}] false} <nil>", mx, err)
	mx, err = s.LookupMX(ctx, "mx.signed.example")
	check("no MX, for certain", "{false [] true} mx.signed.example has no such record", mx, err)
	mx, err = s.LookupMX(ctx, "none.signed.example")
	check("no such name, for certain", "{false [] true} none.signed.example does not exist", mx, err)
	host, err := s.LookupHost(ctx, "mx.signed.example")
	check("addresses", "{[192.0.2.1 2001:db8::1] mx.signed.example true} <nil>", host, err)
	host, err = s.LookupHost(ctx, "alias.signed.example")
	check("an alias", "{[192.0.2.1 2001:db8::1] mx.signed.example true} <nil>", host, err)
	host, err = s.LookupHost(ctx, "out.signed.example")
	check("an alias into an unsigned zone", "{[192.0.2.2] host.plain.example false} <nil>", host, err)
	tlsa, err := s.LookupTLSA(ctx, "_25._tcp.mx.signed.example")
	check("TLSA", fmt.Sprintf("{[{3 1 1 %v}] true} <nil>", append(make([]byte, 31), 1)), tlsa, err)
	tlsa, err = s.LookupTLSA(ctx, "_25._tcp.host.plain.example")
	check("TLSA of an unsigned zone", fmt.Sprintf("{[{3 1 1 %v}] false} <nil>", append(make([]byte, 31), 2)), tlsa, err)
	txt, err := s.LookupTXT(ctx, "_mta-sts.signed.example")
	check("TXT", "[v=STSv1; id=1;] <nil>", txt, err)
	if _, err := s.LookupHost(ctx, "spoilt.signed.example"); !errs.Is(err, errs.Temporary) {
		t.Errorf("a changed address gives %v", err)
	}
	if tlsa, err := s.LookupTLSA(ctx, "_25._tcp.spoilt.signed.example"); !errs.Is(err, errs.Temporary) {
		t.Errorf("a changed TLSA gives %v %v", tlsa, err)
	}
}

// The AD bit counts from a server on this machine or one that was named as
// validating, from no other; and only if each step of an alias has it.
func TestTrust(t *testing.T) {
	ad := func(m *dnsmessage.Message) { m.AuthenticData = true }
	reply := func(_ string, q dnsmessage.Message) [][]byte {
		if !q.AuthenticData {
			t.Error("the question does not ask for AD (RFC 6840 section 5.7)")
		}
		switch q.Questions[0].Name.String() {
		case "half.example.":
			return [][]byte{answerTo(q, nil, cname("half.example.", "host.example."))}
		case "whole.example.":
			return [][]byte{answerTo(q, ad, cname("whole.example.", "host.example."))}
		}
		return [][]byte{onlyAAD(q, ad)}
	}
	for _, c := range []struct {
		server Server
		host   string
		want   bool
	}{
		{Server{Addr: netip.MustParseAddrPort("192.0.2.53:53")}, "host.example", false},
		{Server{Addr: netip.MustParseAddrPort("192.0.2.53:53"), Validates: true}, "host.example", true},
		{Server{Addr: netip.MustParseAddrPort("127.0.0.53:53")}, "host.example", true},
		{Server{Addr: netip.MustParseAddrPort("[::1]:53")}, "host.example", true},
		{Server{Addr: netip.MustParseAddrPort("127.0.0.53:53")}, "half.example", false},
		{Server{Addr: netip.MustParseAddrPort("127.0.0.53:53")}, "whole.example", true},
	} {
		bubble(t, reply, func(t *testing.T, s *Stub, _ *server) {
			s.files.fixed = func() []Server { return []Server{c.server} }
			set, err := s.LookupHost(t.Context(), c.host)
			if err != nil || set.Secure != c.want || set.Name != "host.example" {
				t.Errorf("%v %s: %+v %v", c.server, c.host, set, err)
			}
			if s.Validating() != (c.server.Validates || c.server.Addr.Addr().IsLoopback()) {
				t.Errorf("%v: Validating is %v", c.server, s.Validating())
			}
		})
	}
}

func onlyAAD(q dnsmessage.Message, change func(*dnsmessage.Message)) []byte {
	if q.Questions[0].Type != dnsmessage.TypeA {
		return answerTo(q, change)
	}
	return answerTo(q, change, a("host.example.", "192.0.2.1"))
}

// A TLSA set that cannot be read is not "there is none": mail waits.
func TestTLSAUnreadable(t *testing.T) {
	short := func(n int) func(string, dnsmessage.Message) [][]byte {
		return func(_ string, q dnsmessage.Message) [][]byte {
			return [][]byte{answerTo(q, nil, rr("_25._tcp.mx.example.", 60, &dnsmessage.UnknownResource{Type: typeTLSA, Data: make([]byte, n)}))}
		}
	}
	bubble(t, short(3), func(t *testing.T, s *Stub, _ *server) {
		if set, err := s.LookupTLSA(t.Context(), "_25._tcp.mx.example"); !errs.Is(err, errs.Temporary) {
			t.Errorf("%v %v", set, err)
		}
	})
	bubble(t, short(4), func(t *testing.T, s *Stub, _ *server) {
		if set, err := s.LookupTLSA(t.Context(), "_25._tcp.mx.example"); err != nil || len(set.Records) != 1 {
			t.Errorf("%v %v", set, err)
		}
	})
}

// Register A4: however slow and twisted the answers are, one question ends in
// bounded time, the cache stays small, and others are answered meanwhile.
func TestSEC_A4_HostileDNS(t *testing.T) {
	huge := strings.Repeat("x", 255)
	reply := func(network string, q dnsmessage.Message) [][]byte {
		name := q.Questions[0].Name.String()
		switch {
		case strings.HasPrefix(name, "good"):
			return [][]byte{onlyAGood(q)}
		case strings.HasPrefix(name, "huge"):
			if network == "udp" {
				return [][]byte{answerTo(q, func(m *dnsmessage.Message) { m.Truncated = true })}
			}
			var all []dnsmessage.Resource
			for range 200 {
				all = append(all, rr(name, 3600, &dnsmessage.TXTResource{TXT: []string{huge}}))
			}
			return [][]byte{answerTo(q, nil, all...)}
		case strings.HasPrefix(name, "loop"):
			var n int
			fmt.Sscanf(name, "loop%d.", &n)
			return [][]byte{answerTo(q, nil, cname(name, fmt.Sprintf("loop%d.example.", n+1)))}
		}
		return nil // silent
	}
	bubble(t, reply, func(t *testing.T, s *Stub, srv *server) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 900 { // silent servers hold their places
			go s.LookupMX(ctx, fmt.Sprintf("slow%d.example", i))
		}
		time.Sleep(time.Millisecond)
		if got, err := s.LookupAddr(ctx, "good.example"); err != nil || len(got) != 1 {
			t.Errorf("good.example among 900 silent ones: %v %v", got, err)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("the good one waited %v", d)
		}
		if _, err := s.LookupMX(ctx, "loop0.example"); !errs.Is(err, errs.Temporary) {
			t.Errorf("loop: %v", err)
		}
		for i := range 1000 {
			if texts, err := s.LookupTXT(ctx, fmt.Sprintf("huge%d.example", i)); err != nil || len(texts) != 200 {
				t.Fatalf("huge: %d %v", len(texts), err)
			}
		}
		s.mu.Lock()
		if s.cache.bytes > maxCachedBytes {
			t.Errorf("the cache holds %d bytes", s.cache.bytes)
		}
		sum := 0
		for _, e := range s.cache.kept {
			sum += e.ans.size()
		}
		if sum != s.cache.bytes {
			t.Errorf("the cache counts %d bytes and holds %d", s.cache.bytes, sum)
		}
		s.mu.Unlock()
		cancel()
	})
}

func onlyAGood(q dnsmessage.Message) []byte {
	if q.Questions[0].Type != dnsmessage.TypeA {
		return answerTo(q, nil)
	}
	return answerTo(q, nil, a(q.Questions[0].Name.String(), "192.0.2.1"))
}

// A chain of aliases, each behind a server that takes its time, ends too.
func TestOneQuestionEnds(t *testing.T) {
	reply := func(_ string, q dnsmessage.Message) [][]byte {
		time.Sleep(2900 * time.Millisecond)
		name := q.Questions[0].Name.String()
		return [][]byte{answerTo(q, nil, cname(name, "x"+name))}
	}
	bubble(t, reply, func(t *testing.T, s *Stub, _ *server) {
		start := time.Now()
		if _, err := s.LookupMX(t.Context(), "a.example"); !errs.Is(err, errs.Temporary) {
			t.Error(err)
		}
		if d := time.Since(start); d > maxQuestion {
			t.Errorf("it took %v", d)
		}
	})
}
