package senderauth

import (
	"context"
	"strings"

	"lazaret/internal/errs"
)

// Policy is what a domain asks to be done with mail that is not proven to be
// its own (RFC 9989 section 4.7, tag p).
type Policy string

// The policies.
const (
	PolicyNone       Policy = "none"
	PolicyQuarantine Policy = "quarantine"
	PolicyReject     Policy = "reject"
)

// DMARC is the result for the domain of the From field (RFC 9989).
type DMARC struct {
	Verdict Verdict // none: the domain publishes nothing
	Domain  string  // of the author; "" when the field could not be read
	Record  string  // the domain whose record counts
	Policy  Policy  // what that asks for this message when Verdict is Fail; "" without a record
	By      string  // "spf" or "dkim" when Verdict is Pass
	Testing bool    // the record has t=y: Policy is one step milder than written
	Reason  string  // in words; hostile
}

// policyRecord is what a domain publishes, as far as it matters to one who receives mail.
type policyRecord struct {
	domain                  string
	p, sp, np               Policy
	strictDKIM, strictSPF   bool
	psd                     byte // 'y', 'n', or 'u'
	testing                 bool
	unusable                bool // a policy in it is none that there is
	hasReporting, hasPolicy bool
}

// parseRecord reads a TXT record. ok is false when it is no DMARC record at
// all. Tags that it does not know are passed over (RFC 9989 section 4.8).
func parseRecord(domain, txt string) (r policyRecord, ok bool) {
	tags := strings.Split(txt, ";")
	name, value, _ := strings.Cut(tags[0], "=")
	if strings.TrimSpace(name) != "v" || strings.TrimSpace(value) != "DMARC1" {
		return r, false
	}
	r = policyRecord{domain: domain, psd: 'u'}
	for _, tag := range tags[1:] {
		name, value, found := strings.Cut(tag, "=")
		if !found {
			continue
		}
		value = strings.ToLower(strings.TrimSpace(value))
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "p":
			r.p, r.hasPolicy = r.policy(value), true
		case "sp":
			r.sp = r.policy(value)
		case "np":
			r.np = r.policy(value)
		case "adkim":
			r.strictDKIM = value == "s"
		case "aspf":
			r.strictSPF = value == "s"
		case "t":
			r.testing = value == "y"
		case "rua":
			r.hasReporting = strings.HasPrefix(value, "mailto:")
		case "psd":
			if value == "y" || value == "n" {
				r.psd = value[0]
			}
		}
	}
	if !r.hasPolicy {
		r.p = PolicyNone
	}
	return r, true
}

func (r *policyRecord) policy(value string) Policy {
	switch p := Policy(value); p {
	case PolicyNone, PolicyQuarantine, PolicyReject:
		return p
	}
	r.unusable = true
	return PolicyNone
}

// asks gives what the record wants for mail of a domain at or below its own.
func (r *policyRecord) asks(domain string, exists bool) Policy {
	p := r.p
	if domain != r.domain {
		if r.sp != "" {
			p = r.sp
		}
		if !exists && r.np != "" {
			p = r.np
		}
	}
	if !r.testing {
		return p
	}
	if p == PolicyReject { // section 4.7, tag t: one step down
		return PolicyQuarantine
	}
	return PolicyNone
}

// DMARC says whether a message is proven to come from its author's domain, and
// what that domain wants done when not. r holds what SPF and DKIM found.
func (v *Verifier) DMARC(ctx context.Context, author string, r Result) DMARC {
	w := &walker{ctx: ctx, resolver: v.resolver, seen: make(map[string]answer)}
	out := DMARC{Verdict: None, Domain: author}
	rec, err := w.policy(author)
	if err != nil {
		return DMARC{Verdict: TempError, Domain: author, Reason: err.Error()}
	}
	if rec == nil {
		out.Reason = "the domain publishes no policy"
		return out
	}
	if rec.unusable && !rec.hasReporting { // section 4.7: no policy that could be followed
		return DMARC{Verdict: PermError, Domain: author, Record: rec.domain, Reason: "the policy of the record is none that there is"}
	}
	out.Record, out.Testing = rec.domain, rec.testing
	by, unsure := w.proof(author, rec, r)
	if by != "" {
		out.Verdict, out.By = Pass, by
		return out
	}
	if unsure != "" {
		out.Verdict, out.Reason = TempError, unsure
		return out
	}
	exists := true
	if author != rec.domain && rec.np != "" {
		if exists, err = w.exists(author); err != nil {
			out.Verdict, out.Reason = TempError, err.Error()
			return out
		}
	}
	out.Verdict, out.Policy = Fail, rec.asks(author, exists)
	out.Reason = "neither SPF nor DKIM proves the domain of the From field"
	return out
}

// proof looks for an identifier that passed and is aligned with the author's
// domain. unsure says why there may be one all the same.
func (w *walker) proof(author string, rec *policyRecord, r Result) (by, unsure string) {
	try := func(kind string, verdict Verdict, domain string, strict bool) {
		if by != "" || verdict != Pass && verdict != TempError {
			return
		}
		same, err := w.aligned(author, domain, strict)
		switch {
		case err != nil:
			unsure = err.Error()
		case same && verdict == Pass:
			by = kind
		case same:
			unsure = kind + " could not be checked: " + string(TempError)
		}
	}
	for _, s := range r.DKIM {
		try("dkim", s.Verdict, s.Domain, rec.strictDKIM)
	}
	try("spf", r.SPF.Verdict, r.SPF.Domain, rec.strictSPF)
	return by, unsure
}

// exists reports whether DNS knows a domain. RFC 9989 means by it that a query
// is answered with NXDOMAIN; here a domain without addresses, mail servers and
// texts does not exist either, which no one who sends mail is.
func (w *walker) exists(domain string) (bool, error) {
	if _, err := w.resolver.LookupAddr(w.ctx, domain); !gone(err) {
		return true, err
	}
	if _, err := w.resolver.LookupMX(w.ctx, domain); !gone(err) {
		return true, err
	}
	_, err := w.resolver.LookupTXT(w.ctx, domain)
	if gone(err) {
		return false, nil
	}
	return true, err
}

func gone(err error) bool { return errs.Is(err, errs.NotFound) || errs.Is(err, errs.Invalid) }
