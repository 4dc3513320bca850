package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"lazaret/internal/errs"
)

// exchangeOver asks one server once. An error means: ask another one. A new
// socket, and so a new port, is taken for each question (RFC 5452 section 4.5).
func (s *Stub) exchangeOver(ctx context.Context, network string, server netip.AddrPort, q question) (answer, error) {
	id := uint16(rand.Uint32()) // math/rand/v2 top-level functions are seeded ChaCha8
	msg, err := pack(id, q)
	if err != nil {
		return answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	conn, err := s.opts.Dial(ctx, network, server.String())
	if err != nil {
		return answer{}, err
	}
	defer conn.Close() // nothing was kept in it
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return exchangeTCP(conn, msg, id, q)
	}
	return exchangeUDP(conn, msg, id, q)
}

func pack(id uint16, q question) ([]byte, error) {
	name, err := dnsmessage.NewName(q.name)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "%s cannot be asked for", q.name)
	}
	// AD in a question: tell me whether you have validated, RFC 6840 section 5.7.
	b := dnsmessage.NewBuilder(make([]byte, 0, 300), dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true})
	b.EnableCompression()
	var opt dnsmessage.ResourceHeader
	return finish(&b, firstError(
		b.StartQuestions(),
		b.Question(dnsmessage.Question{Name: name, Type: q.kind, Class: dnsmessage.ClassINET}),
		b.StartAdditionals(),
		opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false),
		b.OPTResource(opt, dnsmessage.OPTResource{}),
	))
}

func finish(b *dnsmessage.Builder, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

func firstError(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// exchangeUDP reads until the answer comes: a packet that does not fit the
// question is somebody else's guess and is passed over, but not for ever.
func exchangeUDP(conn net.Conn, msg []byte, id uint16, q question) (answer, error) {
	const mostStrays = 100
	if _, err := conn.Write(msg); err != nil {
		return answer{}, err
	}
	buf := make([]byte, 4096)
	for range mostStrays {
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, err
		}
		a, err := read(buf[:n], id, q)
		if !errors.Is(err, errStray) {
			return a, err
		}
	}
	return answer{}, fmt.Errorf("%d answers did not fit the question", mostStrays)
}

// exchangeTCP has two octets of length before each message, RFC 1035 section 4.2.2.
func exchangeTCP(conn net.Conn, msg []byte, id uint16, q question) (answer, error) {
	framed := binary.BigEndian.AppendUint16(make([]byte, 0, len(msg)+2), uint16(len(msg)))
	if _, err := conn.Write(append(framed, msg...)); err != nil {
		return answer{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return answer{}, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:])) // 64 KiB at most
	if _, err := io.ReadFull(conn, buf); err != nil {
		return answer{}, err
	}
	a, err := read(buf, id, q)
	if errors.Is(err, errTruncated) {
		return answer{}, errors.New("answer over TCP is truncated")
	}
	return a, err
}

// errStray is a message that does not answer our question.
var errStray = errors.New("message does not answer the question")

// read takes an answer apart. An error other than errStray means that this
// server is of no use for the question.
func read(msg []byte, id uint16, q question) (answer, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return answer{}, errStray
	}
	got, err := p.Question()
	if err != nil || !strings.EqualFold(got.Name.String(), q.name) || got.Type != q.kind || got.Class != dnsmessage.ClassINET {
		return answer{}, errStray
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return answer{}, errStray
	}
	if h.Truncated {
		return answer{}, errTruncated
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		a := negative(&p, q, "%s does not exist")
		a.secure = h.AuthenticData
		return a, nil
	default:
		return answer{}, fmt.Errorf("server answered %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	rs, err := readRecords(&p)
	if err != nil {
		return answer{}, err
	}
	a, err := rs.choose(&p, q)
	a.secure = h.AuthenticData
	return a, err
}

// typeTLSA is the type of RFC 6698 section 2.1.
const typeTLSA = dnsmessage.Type(52)

// negative says that there is nothing, for the time that the SOA record gives,
// RFC 2308 section 5.
func negative(p *dnsmessage.Parser, q question, format string) answer {
	a := answer{err: notFound(format, strings.TrimSuffix(q.name, ".")), ttl: minTTL}
	if p.SkipAllAnswers() != nil {
		return a
	}
	for range maxAnswers {
		h, err := p.AuthorityHeader()
		if err != nil {
			return a
		}
		if h.Type != dnsmessage.TypeSOA {
			if p.SkipAuthority() != nil {
				return a
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return a
		}
		a.ttl = clamp(min(h.TTL, soa.MinTTL), maxNegative)
		return a
	}
	return a
}

func clamp(seconds uint32, most time.Duration) time.Duration {
	return max(minTTL, min(most, time.Duration(seconds)*time.Second))
}

// record is one record of the answer section.
type record struct {
	owner string // lower case
	body  dnsmessage.ResourceBody
	kind  dnsmessage.Type
	ttl   uint32
}

type records []record

func readRecords(p *dnsmessage.Parser) (records, error) {
	var out records
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if len(out) == maxAnswers {
			return nil, fmt.Errorf("answer has more than %d records", maxAnswers)
		}
		r := record{owner: strings.ToLower(h.Name.String()), kind: h.Type, ttl: h.TTL}
		if h.Class != dnsmessage.ClassINET || !wanted(h.Type) {
			err = p.SkipAnswer()
		} else {
			r.body, err = body(p, h.Type)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
}

func wanted(t dnsmessage.Type) bool {
	switch t {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeMX, dnsmessage.TypePTR, dnsmessage.TypeCNAME,
		dnsmessage.TypeTXT, typeTLSA:
		return true
	}
	return false
}

func body(p *dnsmessage.Parser, t dnsmessage.Type) (dnsmessage.ResourceBody, error) {
	switch t {
	case dnsmessage.TypeA:
		r, err := p.AResource()
		return &r, err
	case dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		return &r, err
	case dnsmessage.TypeMX:
		r, err := p.MXResource()
		return &r, err
	case dnsmessage.TypePTR:
		r, err := p.PTRResource()
		return &r, err
	case dnsmessage.TypeTXT:
		r, err := p.TXTResource()
		return &r, err
	case typeTLSA:
		r, err := p.UnknownResource()
		return &r, err
	}
	r, err := p.CNAMEResource()
	return &r, err
}

// choose follows the aliases from the name asked for and takes the records at
// their end. Records of other owners are not looked at.
func (rs records) choose(p *dnsmessage.Parser, q question) (answer, error) {
	at, ttl := strings.ToLower(q.name), uint32(1<<31-1)
	for hops := 0; ; hops++ {
		if hops > maxChain {
			return answer{}, fmt.Errorf("more than %d aliases in a row", maxChain)
		}
		a := answer{owner: at}
		found, alias := false, ""
		for _, r := range rs {
			if r.owner != at || r.body == nil {
				continue
			}
			switch {
			case r.kind == q.kind:
				found, ttl = true, min(ttl, r.ttl)
				a.add(r.body)
			case r.kind == dnsmessage.TypeCNAME:
				alias, ttl = strings.ToLower(r.body.(*dnsmessage.CNAMEResource).CNAME.String()), min(ttl, r.ttl)
			}
		}
		a.ttl = clamp(ttl, maxTTL)
		switch {
		case found:
			return a.checked(q)
		case alias != "":
			at = alias
		case hops > 0:
			a.cname = at
			return a, nil
		default:
			return negative(p, q, "%s has no such record"), nil
		}
	}
}

// add takes a record over, if what it holds can be used.
func (a *answer) add(b dnsmessage.ResourceBody) {
	switch r := b.(type) {
	case *dnsmessage.AResource:
		if len(a.addrs) < maxAddrs {
			a.addrs = append(a.addrs, netip.AddrFrom4(r.A))
		}
	case *dnsmessage.AAAAResource:
		if len(a.addrs) < maxAddrs {
			a.addrs = append(a.addrs, netip.AddrFrom16(r.AAAA))
		}
	case *dnsmessage.MXResource:
		if r.MX.String() == "." {
			a.null = true
		} else if host, err := hostName(r.MX.String()); err == nil {
			a.mx = append(a.mx, MX{Host: host, Preference: r.Pref})
		}
	case *dnsmessage.PTRResource:
		if host, err := hostName(r.PTR.String()); err == nil && len(a.names) < maxAddrs {
			a.names = append(a.names, host)
		}
	case *dnsmessage.TXTResource:
		a.texts = append(a.texts, strings.Join(r.TXT, ""))
	case *dnsmessage.UnknownResource:
		if len(r.Data) > 3 && len(a.tlsa) < maxTLSA {
			a.tlsa = append(a.tlsa, TLSA{Usage: r.Data[0], Selector: r.Data[1], Matching: r.Data[2], Data: r.Data[3:]})
		}
	}
}

// checked looks at the whole. A null MX counts only alone, RFC 7505 section 3.
func (a answer) checked(q question) (answer, error) {
	name := strings.TrimSuffix(q.name, ".")
	switch q.kind {
	case dnsmessage.TypeMX:
		if len(a.mx) > 0 {
			a.null = false
		} else if !a.null {
			a.err = temporary("%s has no MX record with a valid name", name)
		}
	case dnsmessage.TypePTR:
		if len(a.names) == 0 {
			a.err = notFound("%s has no valid reverse name", name)
		}
	case typeTLSA:
		if len(a.tlsa) == 0 { // there are records, and none can be read: not the same as none
			a.err = temporary("%s has no TLSA record that can be read", name)
		}
	}
	return a, nil
}
