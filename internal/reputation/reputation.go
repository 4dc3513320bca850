// Package reputation asks what others say of a client: DNS lists, and one
// source of scores. It also asks whether the domain of an envelope sender
// exists.
//
// It decides nothing: access does. It promises that a question takes no longer
// than its context, that whatever goes wrong counts as "nothing is said" and
// not as a bad word, that a trouble is logged once in a while and not for each
// connection, and that memory has a bound. Answers of the DNS are kept by the
// resolver for as long as they hold.
package reputation

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/access"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
)

// Resolver is what is asked of DNS. dns.Resolver is one.
type Resolver interface {
	LookupIPv4(ctx context.Context, name string) ([]netip.Addr, error)
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
	LookupMX(ctx context.Context, domain string) (dns.MXSet, error)
}

// Log is where troubles go; *logs.Mail implements it.
type Log interface {
	ReputationFailed(source, cause string)
}

// Source gives scores. known is false for an address that it says nothing of.
type Source interface {
	Score(ctx context.Context, ip netip.Addr) (tenths int, known bool, err error)
	String() string // for the log, such as "score zone rep.example"
}

// Options of a Service; Resolver and Log are required.
type Options struct {
	Resolver Resolver
	Log      Log
	Clock    func() time.Time // nil: time.Now
}

// Limits of a Service.
const (
	maxQuestions = 1000             // on the way at a time; who comes later waits, within his context
	quiet        = 10 * time.Minute // between two lines about one trouble
	maxTroubles  = 1000             // remembered
)

// Service answers for all listeners of an appliance. Safe for concurrent use.
type Service struct {
	o      Options
	slots  chan struct{}
	source atomic.Pointer[Source]

	mu      sync.Mutex
	trouble map[string]time.Time // when it was last logged
}

// New makes a Service without a source of scores.
func New(o Options) (*Service, error) {
	if o.Resolver == nil || o.Log == nil {
		return nil, errs.New(errs.Internal, "reputation: resolver or log is missing")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Service{o: o, slots: make(chan struct{}, maxQuestions), trouble: map[string]time.Time{}}, nil
}

// Use takes scores from another source from now on; nil: from none.
func (s *Service) Use(source Source) {
	if source == nil {
		s.source.Store(nil)
		return
	}
	s.source.Store(&source)
}

// Ask puts all questions at once and gives what was answered before ctx ended.
func (s *Service) Ask(ctx context.Context, ip netip.Addr, n access.Needs) (map[string]bool, access.Score) {
	ip = ip.Unmap().WithZone("")
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		listed map[string]bool
		score  access.Score
	)
	for _, zone := range n.Zones {
		wg.Go(func() {
			if s.listed(ctx, zone, ip) {
				mu.Lock()
				defer mu.Unlock()
				if listed == nil {
					listed = map[string]bool{}
				}
				listed[zone] = true
			}
		})
	}
	if n.Score {
		score = s.score(ctx, ip)
	}
	wg.Wait()
	return listed, score
}

func (s *Service) listed(ctx context.Context, zone string, ip netip.Addr) bool {
	if !s.enter(ctx) {
		return false
	}
	defer s.leave()
	is, err := Listed(ctx, s.o.Resolver, zone, ip)
	if err != nil {
		s.failed("DNS list "+zone, err)
	}
	return is
}

func (s *Service) score(ctx context.Context, ip netip.Addr) access.Score {
	p := s.source.Load()
	if p == nil {
		return access.Score{}
	}
	if !s.enter(ctx) {
		return access.Score{State: access.ScoreFailed}
	}
	defer s.leave()
	tenths, known, err := (*p).Score(ctx, ip)
	switch {
	case err != nil:
		s.failed((*p).String(), err)
		return access.Score{State: access.ScoreFailed}
	case !known:
		return access.Score{}
	}
	return access.KnownScore(tenths)
}

func (s *Service) enter(ctx context.Context) bool {
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Service) leave() { <-s.slots }

// failed logs a trouble, unless it was logged a little while ago.
func (s *Service) failed(what string, err error) {
	now := s.o.Clock()
	s.mu.Lock()
	last, known := s.trouble[what]
	say := !known || now.Sub(last) >= quiet || now.Before(last)
	if say {
		if len(s.trouble) >= maxTroubles {
			clear(s.trouble)
		}
		s.trouble[what] = now
	}
	s.mu.Unlock()
	if say {
		s.o.Log.ReputationFailed(what, err.Error())
	}
}

// Listed asks one DNS list for an address, RFC 5782. Only an answer in
// 127.0.0.0/8 lists it: anything else comes from a domain that is no list (any
// more). 127.255.255.0/24 is how lists say that they do not answer this
// resolver, because it is a public one or asks too much: an error, and never a
// listing of the whole world.
func Listed(ctx context.Context, r Resolver, zone string, ip netip.Addr) (bool, error) {
	addrs, err := r.LookupIPv4(ctx, dns.ReverseName(ip)+"."+zone)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		b := a.As4()
		if b[0] != 127 {
			return false, errs.New(errs.Temporary, "it answers with %s, which is no answer of a DNS list", a)
		}
		if b[1] == 255 && b[2] == 255 {
			return false, errs.New(errs.Temporary, "it refuses to answer (%s): the resolver is a public one, or asks too much", a)
		}
	}
	return len(addrs) > 0, nil
}

// Sender is what is known of the domain of an envelope sender.
type Sender uint8

// What the question about a sender's domain can give.
const (
	SenderExists   Sender = iota // mail can be sent back to it
	SenderMissing                // no MX and no address: nobody could be answered
	SenderNullMX                 // it says itself that it takes no mail, RFC 7505
	SenderNotKnown               // nobody answered now
)

// CheckSender asks whether mail could be sent to a domain, as a courier would:
// MX records, or else an address (RFC 5321 section 5.1). An address literal
// needs no question.
func CheckSender(ctx context.Context, r Resolver, domain string) Sender {
	if strings.HasPrefix(domain, "[") {
		return SenderExists
	}
	set, err := r.LookupMX(ctx, domain)
	switch {
	case err == nil && set.Null:
		return SenderNullMX
	case err == nil && len(set.Records) > 0:
		return SenderExists
	case err != nil && !errs.Is(err, errs.NotFound):
		return SenderNotKnown
	}
	addrs, err := r.LookupAddr(ctx, domain)
	switch {
	case err == nil && len(addrs) > 0:
		return SenderExists
	case err != nil && !errs.Is(err, errs.NotFound):
		return SenderNotKnown
	}
	return SenderMissing
}
