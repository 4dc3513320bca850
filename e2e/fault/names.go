package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lazaret/e2e/history"
)

// badNames lets a name server misbehave about one domain in one way after the
// other, and about all at once, while mail for two goes by its answers. Mail
// waits and never fails for good; where a name does not exist, it does. The other
// domain goes on where the server answers for it. A trial is one way.
func badNames(ctx context.Context, c Config, trials int) (*Result, error) {
	ns, err := newNameServer()
	if err != nil {
		return nil, err
	}
	defer ns.close()
	c.Edit = func(w *World, xml string) string {
		for _, d := range []string{"a.example", "b.example"} {
			_, port, _ := strings.Cut(w.Sinks[d].Addr, ":")
			xml = strings.Replace(xml, "<domain>"+d+"</domain><host>["+strings.Replace(w.Sinks[d].Addr, ":", "]:", 1)+"</host>", "<domain>"+d+"</domain><host>"+d+":"+port+"</host>", 1)
		}
		return strings.Replace(xml, "<dns>", "<dns><server><address>"+ns.addr+"</address></server>", 1)
	}
	w, err := New(ctx, c)
	if err != nil {
		return nil, err
	}
	defer w.Kill()
	r := &Result{Name: "F18", Trials: trials}
	w.H.Add(history.Event{Who: history.Sink, What: history.Refuses, To: []string{"@gone.example"}})
	load := w.Begin(&Load{Sessions: 10, Pause: 200 * time.Millisecond, Hold: 1})
	gone := w.Begin(&Load{Sessions: 1, Pause: time.Second, Only: history.Clean, Domains: []string{"gone.example"}})
	arrives := func(domain string) error {
		n := w.Sinks[domain].Count.Load()
		return until(ctx, "mail for "+domain+" arrives", func() (bool, error) { return w.Sinks[domain].Count.Load() > n, nil })
	}
	for i := range trials {
		kind := badWays[i%len(badWays)]
		all := i%4 == 3 // about all names: also that of the other domain
		w.Injected("name server: " + kind)
		asked := ns.asked()
		ns.set(kind, all)
		if out, code, err := w.Gateway.CLI(ctx, "dnsflush"); err != nil || code != 0 {
			return nil, fmt.Errorf("dnsflush: status %d: %w %s", code, err, out)
		}
		if err := until(ctx, "the name server is asked", func() (bool, error) { return ns.asked() > asked+2, nil }); err != nil {
			return nil, err
		}
		if !all {
			if err := arrives("a.example"); err != nil {
				r.fail("while the name server is %s: %v", kind, err)
			}
		}
		rest(ctx, 2*time.Second)
		ns.set("", false)
		for _, line := range []string{"dnsflush", "delivernow all"} {
			if out, code, err := w.Gateway.CLI(ctx, line); err != nil || code != 0 {
				return nil, fmt.Errorf("%s: status %d: %w %s", line, code, err, out)
			}
		}
		if err := errors.Join(arrives("b.example"), arrives("a.example")); err != nil {
			r.fail("behind %s: %v", kind, err)
		}
	}
	load.End()
	gone.End()
	if r.Report, err = w.Finish(ctx, 3*time.Minute); err != nil {
		return nil, err
	}
	r.note("%d questions; %d recipients failed for good, all of names that do not exist or recipients that were refused", ns.asked(), r.Report.Bounced)
	return r, nil
}

// badWays are the ways of a bad name server.
var badWays = []string{"silent", "SERVFAIL", "REFUSED", "garbage", "cut off", "another question", "a loop", "slow", "huge", "empty"}

// nameServer answers for the domains of a world, over UDP.
type nameServer struct {
	addr string
	c    net.PacketConn
	wg   sync.WaitGroup

	mu  sync.Mutex
	way string
	all bool
	n   int
}

func newNameServer() (*nameServer, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ns := &nameServer{addr: c.LocalAddr().String(), c: c}
	ns.wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			if b := ns.answer(q); b != nil {
				_, _ = c.WriteTo(b, from)
			}
		}
	})
	return ns, nil
}

func (ns *nameServer) close() {
	_ = ns.c.Close()
	ns.wg.Wait()
}

func (ns *nameServer) set(way string, all bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.way, ns.all = way, all
}

func (ns *nameServer) asked() int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.n
}

func (ns *nameServer) answer(q dnsmessage.Message) []byte {
	name := q.Questions[0].Name
	low := strings.ToLower(name.String())
	ns.mu.Lock()
	ns.n++
	way := ns.way
	if !ns.all && !strings.HasSuffix(low, "b.example.") {
		way = ""
	}
	ns.mu.Unlock()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RecursionDesired: true, RecursionAvailable: true}, Questions: q.Questions}
	ok := func() {
		switch {
		case strings.HasSuffix(low, "gone.example."):
			m.RCode = dnsmessage.RCodeNameError
		case q.Questions[0].Type == dnsmessage.TypeA && (low == "a.example." || low == "b.example."):
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1},
				Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}})
		}
	}
	switch way {
	case "silent":
		return nil
	case "SERVFAIL":
		m.RCode = dnsmessage.RCodeServerFailure
	case "REFUSED":
		m.RCode = dnsmessage.RCodeRefused
	case "garbage":
		return []byte(strings.Repeat("\xff\xc0", 100))
	case "cut off":
		m.Truncated = true // and nobody listens at TCP
	case "another question":
		ok()
		m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("other.example."), Type: q.Questions[0].Type, Class: dnsmessage.ClassINET}}
	case "a loop":
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.CNAMEResource{CNAME: name}})
	case "slow":
		time.Sleep(300 * time.Millisecond) // for all who ask: it has one hand
		ok()
	case "huge":
		for range 50 {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 1}, Body: &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 255), strings.Repeat("y", 255)}}})
		}
		m.Truncated = true
	case "empty":
		return []byte{}
	default:
		ok()
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}
