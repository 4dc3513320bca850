package access

import (
	"net/netip"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// RAT is a recipient access table: for whom mail is taken from a host that may
// not relay. It is read from top to bottom, the first match decides, and who
// matches nothing is refused. A nil RAT takes everybody: a private listener
// has none.
type RAT struct {
	entries []ratEntry
}

// RATEntry is one line, and one rat_entry element of the configuration.
type RATEntry struct {
	Address  string `xml:"rat_address"`             // user@domain, domain, .domain, user@, [address], ALL
	Access   string `xml:"access"`                  // ACCEPT or REJECT
	Response string `xml:"smtp_response,omitempty"` // "550 5.7.1 text" instead of our own words
}

type ratEntry struct {
	RATEntry
	local    string // lower case, empty: any
	domain   string // normal form, empty: any
	below    bool   // .domain
	all      bool
	response Response
}

// Response is an SMTP reply of an entry's own. Code is 0 without one.
type Response struct {
	Code int
	Text string // may start with an enhanced status code
}

// RATDecision is the table's answer.
type RATDecision struct {
	Accept   bool
	Match    string // the entry that decided, empty when none did
	Response Response
}

// Limits of a RAT.
const (
	maxRATEntries = 100_000
	maxResponse   = 300
)

// NewRAT makes a table from entries; an error names the entry by its number.
func NewRAT(entries []RATEntry) (*RAT, error) {
	if len(entries) > maxRATEntries {
		return nil, errs.New(errs.Invalid, "RAT: more than %d entries", maxRATEntries)
	}
	r := &RAT{}
	for i, e := range entries {
		if err := r.add(e); err != nil {
			return nil, errs.New(errs.Invalid, "RAT entry %d: %s", i+1, errs.Public(err))
		}
	}
	return r, nil
}

// ParseRAT reads the text form: an entry a line, "ADDRESS ACCESS [RESPONSE]".
// Empty lines and lines that start with # are skipped.
func ParseRAT(text string) (*RAT, error) {
	lines, err := splitLines(text)
	if err != nil {
		return nil, errs.Context(err, "RAT")
	}
	if len(lines) > maxRATEntries {
		return nil, errs.New(errs.Invalid, "RAT: more than %d entries", maxRATEntries)
	}
	r := &RAT{}
	for _, l := range lines {
		address, rest := cutWord(l.text)
		access, response := cutWord(rest)
		if err := r.add(RATEntry{Address: address, Access: access, Response: response}); err != nil {
			return nil, errs.New(errs.Invalid, "RAT line %d: %s", l.number, errs.Public(err))
		}
	}
	return r, nil
}

// cutWord splits at the first blank that is not inside a quoted local part.
func cutWord(s string) (word, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return s[:i], strings.TrimSpace(s[i:])
		}
	}
	return s, ""
}

func (r *RAT) add(e RATEntry) error {
	if n := len(r.entries); n > 0 && r.entries[n-1].all {
		return errs.New(errs.Invalid, "nothing may follow ALL")
	}
	if e.Access != "ACCEPT" && e.Access != "REJECT" {
		return errs.New(errs.Invalid, "access %q is not known: it is ACCEPT or REJECT", clip(e.Access))
	}
	e.Response = strings.TrimSpace(e.Response)
	c := ratEntry{RATEntry: e}
	if err := c.parseAddress(e.Address); err != nil {
		return err
	}
	resp, err := parseResponse(e.Response, e.Access == "ACCEPT")
	if err != nil {
		return err
	}
	c.response = resp
	r.entries = append(r.entries, c)
	return nil
}

func (e *ratEntry) parseAddress(s string) error {
	bad := errs.New(errs.Invalid, "%q is none of user@domain, domain, .domain, user@, [address], ALL", clip(s))
	switch {
	case strings.HasPrefix(s, "#"): // would be a comment in the text form
		return bad
	case s == All:
		e.all = true
		return nil
	case strings.HasSuffix(s, "@"):
		a, err := mail.ParseAddress(s + "x")
		e.local = strings.ToLower(a.Local)
		if err != nil {
			return bad
		}
		return nil
	case strings.Contains(s, "@"):
		a, err := mail.ParseAddress(s)
		e.local, e.domain = strings.ToLower(a.Local), a.Domain
		if err != nil {
			return bad
		}
		return nil
	}
	if ip, err := netip.ParseAddr(s); err == nil {
		s = literal(ip)
	}
	s, e.below = strings.CutPrefix(s, ".")
	d, err := mail.ParseDomain(s)
	if err != nil || e.below && d[0] == '[' {
		return bad
	}
	e.domain = d
	return nil
}

func literal(ip netip.Addr) string {
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.String() + "]"
}

// parseResponse reads "550 5.7.1 text": a refusal is 4xx or 5xx, a consent 250.
func parseResponse(s string, accept bool) (Response, error) {
	if s == "" {
		return Response{}, nil
	}
	word, text, _ := strings.Cut(s, " ")
	code, err := strconv.Atoi(word)
	ok := err == nil && len(word) == 3 && text != "" && len(s) <= maxResponse && printable(strings.ReplaceAll(s, `"`, ""))
	if accept {
		ok = ok && code == 250
	} else {
		ok = ok && code >= 400 && code <= 599 && code != 421
	}
	if !ok {
		return Response{}, errs.New(errs.Invalid, "response %q: a code (250 for ACCEPT, 4xx or 5xx for REJECT, not 421) and printable text, at most %d characters", clip(s), maxResponse)
	}
	return Response{Code: code, Text: text}, nil
}

// Decide gives the answer for one recipient. Case counts in no part of it.
// <postmaster> without a domain is taken unless an entry refuses "postmaster@":
// RFC 5321 section 4.5.1 wants it reachable wherever mail is taken at all.
func (r *RAT) Decide(a mail.Address) RATDecision {
	if r == nil {
		return RATDecision{Accept: true}
	}
	bare := a.Domain == "" && strings.EqualFold(a.Local, "postmaster")
	local := strings.ToLower(a.Local)
	for i := range r.entries {
		e := &r.entries[i]
		if e.matches(local, a.Domain) {
			return RATDecision{Accept: e.Access == "ACCEPT" || bare && e.all, Match: e.Address, Response: e.ownResponse(bare)}
		}
	}
	return RATDecision{Accept: bare}
}

// ownResponse keeps the refusal of ALL from answering a postmaster that is taken.
func (e *ratEntry) ownResponse(bare bool) Response {
	if bare && e.all && e.Access != "ACCEPT" {
		return Response{}
	}
	return e.response
}

func (e *ratEntry) matches(local, domain string) bool {
	switch {
	case e.all:
		return true
	case e.local != "" && e.local != local:
		return false
	case e.below:
		return len(domain) > len(e.domain) && strings.HasSuffix(domain, e.domain) && domain[len(domain)-len(e.domain)-1] == '.'
	}
	return e.domain == "" || e.domain == domain
}

// Home gives the first whole domain that mail is taken for: whose postmaster a
// bare <postmaster> is. Empty when the table takes mail for no domain by name.
func (r *RAT) Home() string {
	if r == nil {
		return ""
	}
	for i := range r.entries {
		if e := &r.entries[i]; e.Access == "ACCEPT" && e.domain != "" && e.local == "" && !e.below && e.domain[0] != '[' {
			return e.domain
		}
	}
	return ""
}

// Entries gives the table's entries in order.
func (r *RAT) Entries() []RATEntry {
	if r == nil {
		return nil
	}
	out := make([]RATEntry, len(r.entries))
	for i, e := range r.entries {
		out[i] = e.RATEntry
	}
	return out
}

// String gives the text form.
func (r *RAT) String() string {
	var b strings.Builder
	for _, e := range r.Entries() {
		b.WriteString(e.Address + " " + e.Access)
		if e.Response != "" {
			b.WriteString(" " + e.Response)
		}
		b.WriteString("\n")
	}
	return b.String()
}
