// Package senderauth finds out whether a message is really from the domain
// that it says: SPF (RFC 7208) for the address it came from, DKIM (RFC 6376)
// for its signatures, DMARC (RFC 9989) for what people see of it, and ARC (RFC
// 8617) for those who passed it on.
//
// SPF and DKIM are two libraries with the limits that hostile mail asks for
// (register C6): 10 look-ups of SPF and 2 that find nothing, 10 signatures,
// keys up to 8192 bits, no l= tag, one From field. DMARC and ARC are our own,
// for no library follows them. It decides nothing: what a result means for a
// message is up to who asks.
//
// It promises that no message and no answer of DNS makes it panic, wait longer
// than its context, or hold more of a message in memory than its header.
package senderauth

import (
	"context"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"

	"lazaret/internal/dns"
	"lazaret/internal/mail"
)

// Resolver is what is asked of DNS. dns.Resolver is one.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, domain string) (dns.MXSet, error)
	LookupAddr(ctx context.Context, host string) ([]netip.Addr, error)
	LookupPTR(ctx context.Context, ip netip.Addr) ([]string, error)
}

// Verdict is a result in the words of RFC 8601 section 2.7.
type Verdict string

// The verdicts. SPF knows them all, DKIM those without a remark.
const (
	None      Verdict = "none"
	Pass      Verdict = "pass"
	Fail      Verdict = "fail"
	SoftFail  Verdict = "softfail" // SPF
	Neutral   Verdict = "neutral"
	TempError Verdict = "temperror" // DNS did not answer: ask again later
	PermError Verdict = "permerror"
)

// SPF is the result for the envelope sender, or for the name in HELO when that
// is the null path (RFC 7208 section 2.4).
type SPF struct {
	Verdict Verdict
	Domain  string
	Reason  string // in words, may hold text of the domain: hostile
}

// Signature is the result of one DKIM-Signature field.
type Signature struct {
	Verdict Verdict
	Domain  string // d=; hostile unless Verdict is Pass
	Reason  string // why not, in words; hostile
}

// Result is all that is known of who sent a message.
type Result struct {
	SPF   SPF
	DKIM  []Signature
	DMARC DMARC // of Examine
	ARC   ARC   // of Examine
}

// Verifier verifies. Safe for concurrent use.
type Verifier struct{ resolver Resolver }

// New makes a Verifier.
func New(r Resolver) *Verifier { return &Verifier{resolver: r} }

// Verify makes both checks. content is read once, from its start, as it was
// received. An error is one of reading it.
func (v *Verifier) Verify(ctx context.Context, from mail.Origin, sender mail.Address, content io.Reader) (Result, error) {
	r := Result{SPF: v.SPF(ctx, from, sender)}
	var err error
	r.DKIM, err = v.DKIM(ctx, content)
	return r, err
}

// Genuine reports whether a message is proven to come from a domain: SPF
// passes for it, or a signature verifies that is aligned with it. unknown says
// that it is not, but may be once DNS answers.
func (r *Result) Genuine(domain string) (genuine, unknown bool) {
	if r.SPF.Domain == domain {
		genuine, unknown = r.SPF.Verdict == Pass, r.SPF.Verdict == TempError
	}
	for _, s := range r.DKIM {
		if Aligned(s.Domain, domain) {
			genuine = genuine || s.Verdict == Pass
			unknown = unknown || s.Verdict == TempError
		}
	}
	return genuine, unknown && !genuine
}

// Aligned reports whether two domains belong to one organisation: the same, or
// below the same registered domain (RFC 7489 section 3.1, relaxed).
func Aligned(a, b string) bool {
	a, b = strings.ToLower(strings.TrimSuffix(a, ".")), strings.ToLower(strings.TrimSuffix(b, "."))
	if a == b {
		return a != ""
	}
	orgA, errA := publicsuffix.EffectiveTLDPlusOne(a)
	orgB, errB := publicsuffix.EffectiveTLDPlusOne(b)
	return errA == nil && errB == nil && orgA == orgB
}
