package mail

import (
	"net/netip"
	"strings"

	"lazaret/internal/errs"
)

// Address is an envelope address after parsing. The zero value is the null
// path <>. Local keeps its case and its quotes as received; Domain is in lower
// case without a final dot, or an address literal in brackets. What is routed
// and what is checked is always this Domain (register B6).
type Address struct {
	Local  string
	Domain string
}

// Limits of RFC 5321, section 4.5.3.1.
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

// Path gives the address in angle brackets.
func (a Address) Path() string { return "<" + a.String() + ">" }

// ParseAddress reads a mailbox, RFC 5321 section 4.1.2, without angle
// brackets: a dot-string or a quoted string, an at sign, a domain or an
// address literal. Source routes, non-ASCII and control characters are
// refused. "postmaster" alone is an address; the empty string is the null path.
func ParseAddress(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	if len(s) > MaxPath-2 {
		return Address{}, errs.New(errs.Invalid, "address is longer than %d characters", MaxPath-2)
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
	for _, atom := range strings.Split(s[:at], ".") {
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
			if i >= len(s) || s[i] < 32 || s[i] > 126 {
				return "", "", errs.New(errs.Invalid, "quoted local part ends in a backslash")
			}
		case c == '"':
			if i == 1 || i+1 >= len(s) || s[i+1] != '@' {
				return "", "", errs.New(errs.Invalid, "quoted local part is not followed by a domain")
			}
			return s[:i+1], s[i+2:], nil
		case c < 32 || c > 126:
			return "", "", errs.New(errs.Invalid, "quoted local part has a forbidden character")
		}
	}
	return "", "", errs.New(errs.Invalid, "quoted local part is not closed")
}

// ParseDomain reads a domain or an address literal and gives its normal form:
// lower case, no final dot. RFC 5321 sections 4.1.2 and 4.1.3.
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if len(s) > MaxDomain {
		return "", errs.New(errs.Invalid, "domain is longer than %d characters", MaxDomain)
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" {
		return "", errs.New(errs.Invalid, "domain is empty")
	}
	for _, label := range strings.Split(s, ".") {
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

// isAtext is the set of RFC 5322 section 3.2.3.
func isAtext(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}
