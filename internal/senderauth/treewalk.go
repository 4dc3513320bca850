package senderauth

import (
	"context"
	"strings"

	"lazaret/internal/errs"
)

const (
	// maxLabels is where a walk begins at the latest: a longer name is cut to
	// seven labels after the first question (RFC 9989 section 4.10).
	maxLabels = 8
	// maxWalk bounds the questions for one message: a walk of the author's domain
	// and of some names below it that a sender chose (register C6).
	maxWalk = 32
)

// walker asks for policy records, each name once a message.
type walker struct {
	ctx      context.Context
	resolver Resolver
	seen     map[string]answer
}

type answer struct {
	rec *policyRecord // nil: there is none
	err error         // temporary
}

// at gives the record of exactly this domain. Several are none.
func (w *walker) at(domain string) (*policyRecord, error) {
	if a, ok := w.seen[domain]; ok {
		return a.rec, a.err
	}
	if len(w.seen) >= maxWalk {
		return nil, nil // the author's own walk came first and is complete
	}
	var a answer
	txt, err := w.resolver.LookupTXT(w.ctx, "_dmarc."+domain)
	if err != nil && !gone(err) {
		a.err = errs.Context(err, "asking for the policy of %s", domain)
	}
	for _, t := range txt {
		rec, ok := parseRecord(domain, t)
		switch {
		case !ok:
		case a.rec != nil: // two or more: all are discarded (section 4.10 step 2)
			w.seen[domain] = answer{}
			return nil, nil
		default:
			a.rec = &rec
		}
	}
	w.seen[domain] = a
	return a.rec, a.err
}

// walk gives the records from a domain upwards, the lowest first. It ends
// behind one that says that it is, or is not, of a public suffix.
func (w *walker) walk(domain string) (found []*policyRecord, err error) {
	for {
		rec, err := w.at(domain)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			if found = append(found, rec); rec.psd != 'u' {
				return found, nil
			}
		}
		var ok bool
		if domain, ok = parent(domain); !ok {
			return found, nil
		}
	}
}

// parent is the next name of a walk.
func parent(domain string) (string, bool) {
	labels := strings.Split(domain, ".")
	cut := max(1, len(labels)-maxLabels+1)
	if len(labels) <= cut {
		return "", false
	}
	return strings.Join(labels[cut:], "."), true
}

// organisation gives the organisational domain of a domain and the record
// there, which may be nil (section 4.10.2).
func organisation(domain string, found []*policyRecord) (string, *policyRecord) {
	for _, r := range found {
		switch {
		case r.psd == 'n':
			return r.domain, r
		case r.psd == 'y' && r.domain != domain:
			return below(domain, r.domain, found)
		}
	}
	if len(found) > 0 {
		r := found[len(found)-1] // the fewest labels
		return r.domain, r
	}
	return domain, nil
}

// below gives the name one label below a public suffix, on the way to domain.
func below(domain, suffix string, found []*policyRecord) (string, *policyRecord) {
	rest := strings.TrimSuffix(domain, "."+suffix)
	org := rest[strings.LastIndexByte(rest, '.')+1:] + "." + suffix
	for _, r := range found {
		if r.domain == org {
			return org, r
		}
	}
	return org, nil
}

// policy gives the record that counts for mail of a domain (section 4.10.1):
// its own, else that of its organisation, else that of its public suffix.
func (w *walker) policy(domain string) (*policyRecord, error) {
	if rec, err := w.at(domain); rec != nil || err != nil {
		return rec, err
	}
	found, err := w.walk(domain)
	if err != nil {
		return nil, err
	}
	_, rec := organisation(domain, found)
	if rec == nil && len(found) > 0 {
		rec = found[len(found)-1] // of the suffix
	}
	return rec, nil
}

// aligned reports whether an identifier belongs to the author's domain
// (section 4.5): it is the same or, relaxed, of the same organisation. Nothing
// is asked about a name that is not of the author's organisation in any case:
// who sends mail would choose it, and could have the answer delayed or refused.
func (w *walker) aligned(author, id string, strict bool) (bool, error) {
	id = strings.ToLower(strings.TrimSuffix(id, "."))
	if id == author || strict || id == "" {
		return id == author, nil
	}
	mine, err := w.walk(author)
	if err != nil {
		return false, err
	}
	org, _ := organisation(author, mine)
	if id != org && !strings.HasSuffix(id, "."+org) {
		return false, nil
	}
	other, err := w.walk(id)
	if err != nil {
		return false, err
	}
	of, _ := organisation(id, other)
	return of == org, nil
}
