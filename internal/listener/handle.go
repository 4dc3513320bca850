package listener

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
	"lazaret/internal/stats"
)

// handle is the life of one connection.
func (l *listener) handle(ctx context.Context, conn net.Conn) {
	defer l.group.wg.Done()
	r := l.rules.Load()
	place := l.enter(conn, r.MaxClients, r.stressPatience())
	if place == nil {
		if !l.full.Swap(true) { // once, not for each of a flood
			l.group.opts.Log.ReceivingFailed(0, "Connection limit exceeded")
		}
		farewell(conn, "421 4.3.2 too many connections, try again later\r\n")
		return
	}
	defer l.leave(place)
	l.group.opts.Stats.Add(stats.ConnectionsIn, 1)
	remote, local := address(conn.RemoteAddr()), address(conn.LocalAddr())
	client := l.lookUp(ctx, remote, r.HAT)
	d := r.HAT.Decide(client)
	if d.Action == access.TCPRefuse {
		l.group.opts.Log.HAT(0, d.Action.String(), d.Group, d.Match, sbrs(client))
		reset(conn)
		return
	}
	s := &session{
		listener: l, rules: r, log: l.group.opts.Log, policy: d.Policy, relay: d.Action == access.Relay,
		icid: l.group.opts.NextICID(), place: place,
	}
	s.origin = mail.Origin{
		ICID: s.icid, Listener: l.name, Interface: r.Interface, RemoteIP: remote, RemoteHost: hostOf(client),
		Protocol: "SMTP", SenderGroup: d.Group, Policy: d.Policy.Name, Relay: s.relay,
	}
	s.log.NewICID(string(r.Protocol), s.icid, r.Interface, local, remote, hostOf(client), yesNo(client.Verified))
	s.log.HAT(s.icid, d.Action.String(), d.Group, d.Match, sbrs(client))
	if !l.enterIP(remote, d.Policy.Concurrency()) {
		s.log.ReceivingFailed(s.icid, "Connection limit exceeded")
		farewell(conn, "421 4.7.0 too many connections from your address\r\n")
		s.log.ICIDClose(s.icid)
		return
	}
	defer l.leaveIP(remote)
	if text, over := s.harvested(); over {
		s.log.ReceivingFailed(s.icid, "Too Many Invalid Recipients")
		farewell(conn, text+"\r\n")
		s.log.ICIDClose(s.icid)
		return
	}
	s.run(ctx, conn)
}

// run speaks until the end and writes how it ended.
func (s *session) run(ctx context.Context, conn net.Conn) {
	server := s.rules.servers[s.policy.Name]
	var sess smtp.Session = s
	if s.rules.Protocol == CPQ {
		link := &cpqSession{session: s}
		defer link.leave()
		sess = link
	}
	end, err := server.Serve(ctx, conn, sess)
	if s.place.gone.Load() {
		s.log.ICIDTooLong(s.icid, s.origin.RemoteIP)
		s.log.ICIDClose(s.icid)
		return
	}
	switch end {
	case smtp.EndLost:
		s.log.ICIDLost(s.icid)
	case smtp.EndTimeout:
		if s.messages == 0 {
			s.log.ICIDIdle(s.icid, s.origin.RemoteIP)
		} else {
			s.log.ICIDLost(s.icid)
		}
	case smtp.EndErrors:
		s.log.ReceivingFailed(s.icid, "Too Many Errors")
	case smtp.EndRefused:
		if err != nil {
			s.log.ReceivingFailed(s.icid, errs.Public(err))
		}
	}
	s.log.ICIDClose(s.icid)
}

// lookUp asks for the client's name and for what others say of it, all at
// once, but not for long: it waits for a greeting.
func (l *listener) lookUp(ctx context.Context, ip netip.Addr, hat *access.HAT) access.Client {
	ctx, cancel := context.WithTimeout(ctx, l.group.opts.LookupTimeout)
	defer cancel()
	c := access.Client{IP: ip}
	var wg sync.WaitGroup
	if n := hat.Needs(ip); l.group.opts.Reputation != nil && (n.Score || len(n.Zones) > 0) {
		wg.Go(func() { c.Listed, c.Score = l.group.opts.Reputation.Ask(ctx, ip, n) })
	}
	rev := dns.Verify(ctx, l.group.opts.Resolver, ip)
	wg.Wait()
	c.Host, c.Verified = rev.Host, rev.Verified
	switch {
	case rev.Err == nil:
	case errs.Is(rev.Err, errs.NotFound):
		c.Lookup = access.LookupMissing
	default:
		c.Lookup = access.LookupFailed
	}
	return c
}

func address(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func hostOf(c access.Client) string {
	if c.Host == "" {
		return "unknown"
	}
	return c.Host
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// sbrs is the reputation score as the log has it: nobody gives one to private
// addresses, and without a reputation service none to others (reference 5.2).
func sbrs(c access.Client) string {
	if c.Score.State == access.ScoreNone && c.IP.IsPrivate() {
		return "rfc1918"
	}
	return c.Score.String()
}

// farewell says one line and closes. The line fits the socket's buffer.
func farewell(conn net.Conn, line string) {
	conn.SetDeadline(time.Now().Add(time.Second))
	conn.Write([]byte(line)) // who is gone already needs no word
	conn.Close()
}

// reset closes with a reset in place of an orderly end.
func reset(conn net.Conn) {
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	conn.Close()
}
