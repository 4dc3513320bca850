package mail

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"lazaret/internal/errs"
)

// Address is an envelope address after parsing. The zero value is the null
// path <>. Local keeps its case and its quotes as received, and may be UTF-8
// (RFC 6531 section 3.3), which is never normalised: only the host of the
// mailbox knows which spellings are the same. Domain is in lower case without a
// final dot, each label as in DNS (the A-labels of RFC 5890, so it is ASCII
// always), or an address literal in brackets. What is routed and what is checked
// is always this Domain (register B6), and two spellings of a domain are one.
type Address struct {
	Local  string
	Domain string
}

// Limits of RFC 5321, section 4.5.3.1, in octets, also of UTF-8.
const (
	MaxLocal  = 64
	MaxDomain = 255
	MaxPath   = 256 // with the angle brackets
)

// IsNull reports whether a is the null path.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// String gives local@domain, or nothing for the null path.
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	if a.Domain == "" {
		return a.Local // postmaster without a domain, RFC 5321 section 4.1.1.3
	}
	return a.Local + "@" + a.Domain
}

// ASCII reports whether a can go to a host that does not offer SMTPUTF8.
func (a Address) ASCII() bool { return isASCII(a.Local) }

// Unicode gives local@domain as a person would write it, with the labels of the
// domain in their own script where they are what such a name stands for. For
// screens only: it is not the form that is compared or routed.
func (a Address) Unicode() string {
	if u, err := idna.Display.ToUnicode(a.Domain); err == nil {
		a.Domain = u
	}
	return a.String()
}

// Path gives the address in angle brackets.
func (a Address) Path() string { return "<" + a.String() + ">" }

// ParseAddress reads a mailbox, RFC 5321 section 4.1.2, without angle
// brackets: a dot-string or a quoted string, an at sign, a domain or an
// address literal. Source routes and control characters are refused. UTF-8 is
// taken as RFC 6531 section 3.3 has it; whether the peer may send it is a
// question for smtp. "postmaster" alone is an address; the empty string is the
// null path.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	if len(s) > MaxPath-2 {
		return Address{}, errs.New(errs.Invalid, "address is longer than %d characters", MaxPath-2)
	}
	if !isASCII(s) && !validUTF8(s) {
		return Address{}, errs.New(errs.Invalid, "address is no UTF-8, or has a control character")
	}
	if strings.EqualFold(s, "postmaster") {
		return Address{Local: s}, nil
	}
	local, rest, err := parseLocal(s)
	if err != nil {
		return Address{}, err
	}
	if len(local) > MaxLocal {
		return Address{}, errs.New(errs.Invalid, "local part is longer than %d characters", MaxLocal)
	}
	domain, err := ParseDomain(rest)
	if err != nil {
		return Address{}, err
	}
	if len(local)+1+len(domain) > MaxPath-2 { // the form for DNS may be longer than the one given
		return Address{}, errs.New(errs.Invalid, "address is longer than %d characters", MaxPath-2)
	}
	return Address{Local: local, Domain: domain}, nil
}

// parseLocal splits s at the at sign that ends the local part.
func parseLocal(s string) (local, domain string, err error) {
	if s[0] == '"' {
		return parseQuoted(s)
	}
	at := strings.IndexByte(s, '@')
	if at < 0 {
		return "", "", errs.New(errs.Invalid, "address has no domain")
	}
	if at == 0 {
		return "", "", errs.New(errs.Invalid, "address has no local part, or is a source route")
	}
	for atom := range strings.SplitSeq(s[:at], ".") {
		if atom == "" {
			return "", "", errs.New(errs.Invalid, "local part has an empty atom")
		}
		for i := 0; i < len(atom); i++ {
			if !isAtext(atom[i]) {
				return "", "", errs.New(errs.Invalid, "local part has a forbidden character")
			}
		}
	}
	return s[:at], s[at+1:], nil
}

// parseQuoted reads a quoted local part, RFC 5321 section 4.1.2.
func parseQuoted(s string) (local, domain string, err error) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
			if i >= len(s) || s[i] < 32 || s[i] > 126 { // a quoted-pair is ASCII, also in RFC 6531
				return "", "", errs.New(errs.Invalid, "quoted local part ends in a backslash")
			}
		case c == '"':
			if i == 1 || i+1 >= len(s) || s[i+1] != '@' {
				return "", "", errs.New(errs.Invalid, "quoted local part is not followed by a domain")
			}
			return s[:i+1], s[i+2:], nil
		case c < 32 || c == 127:
			return "", "", errs.New(errs.Invalid, "quoted local part has a forbidden character")
		}
	}
	return "", "", errs.New(errs.Invalid, "quoted local part is not closed")
}

// ParseDomain reads a domain or an address literal and gives its normal form:
// lower case, no final dot, A-labels. RFC 5321 sections 4.1.2 and 4.1.3, RFC
// 6531 section 3.3, RFC 5891 section 5.
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if !isASCII(s) && len(s) <= MaxDomain {
		a, err := idna.Lookup.ToASCII(s)
		if err != nil || !isASCII(a) {
			return "", errs.New(errs.Invalid, "domain %q is not valid", clip(s))
		}
		s = a
	}
	if len(s) > MaxDomain {
		return "", errs.New(errs.Invalid, "domain is longer than %d characters", MaxDomain)
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" {
		return "", errs.New(errs.Invalid, "domain is empty")
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return "", errs.New(errs.Invalid, "domain %q is not valid", clip(s))
		}
	}
	return s, nil
}

func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := 0; i < len(l); i++ {
		c := l[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// parseLiteral reads [192.0.2.1] or [IPv6:2001:db8::1].
func parseLiteral(s string) (string, error) {
	bad := errs.New(errs.Invalid, "address literal is not valid")
	if !strings.HasSuffix(s, "]") || len(s) > 64 {
		return "", bad
	}
	in := s[1 : len(s)-1]
	v6 := len(in) > 5 && strings.EqualFold(in[:5], "ipv6:")
	if v6 {
		in = in[5:]
	}
	ip, err := netip.ParseAddr(in)
	if err != nil || ip.Zone() != "" || ip.Is4() == v6 {
		return "", bad
	}
	if v6 {
		return "[IPv6:" + ip.String() + "]", nil
	}
	return "[" + ip.String() + "]", nil
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validUTF8 refuses, beside what is no UTF-8, the control characters above
// ASCII and the separators of lines: RFC 6531 allows them, nobody has them, and
// they do harm wherever an address is shown.
func validUTF8(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
	})
}

// isAtext is the set of RFC 5322 section 3.2.3, and what RFC 6531 section 3.3
// adds to it: all that is not ASCII.
func isAtext(c byte) bool {
	switch {
	case c >= utf8.RuneSelf:
		return true
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
