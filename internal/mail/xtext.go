package mail

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// DecodeXtext reads xtext, RFC 3461 section 4: printable ASCII without "+" and
// "=", anything else as "+" and two upper-case hexadecimal digits. It is strict,
// and refuses what would decode to something that is not printable ASCII: the
// values end up in header lines of reports.
func DecodeXtext(s string) (string, error) {
	bad := errs.New(errs.Invalid, "value is not xtext of printable characters")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			if i+2 >= len(s) || !upperHex(s[i+1]) || !upperHex(s[i+2]) {
				return "", bad
			}
			n, _ := strconv.ParseUint(s[i+1:i+3], 16, 8)
			c = byte(n)
			i += 2
			if c < 32 || c > 126 {
				return "", bad
			}
		case c < 33 || c > 126 || c == '=':
			return "", bad
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// AppendXtext writes s as xtext.
func AppendXtext(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 33 || c > 126 || c == '+' || c == '=' {
			b = append(b, '+', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// DecodeORCPT reads the value of ORCPT=, RFC 3461 section 4.2: an address type,
// a semicolon, the address as xtext; of the type utf-8 as RFC 6533 section 3 has
// it, with \x{HEX} for a character, or in clear where utf8 says that the peer
// may send UTF-8. It gives "type;address".
func DecodeORCPT(s string, utf8ok bool) (string, error) {
	kind, address, ok := strings.Cut(s, ";")
	switch {
	case len(s) > MaxORCPT:
		return "", errs.New(errs.Invalid, "ORCPT is longer than %d characters", MaxORCPT)
	case !ok || address == "" || !addrType(kind):
		return "", errs.New(errs.Invalid, "ORCPT is not of the form type;address")
	}
	var err error
	if strings.EqualFold(kind, "utf-8") {
		address, err = decodeUTF8Addr(address, utf8ok)
	} else {
		address, err = DecodeXtext(address)
	}
	if err != nil || address == "" {
		return "", errs.New(errs.Invalid, "ORCPT has an address that is not in the form of its type")
	}
	return kind + ";" + address, nil
}

// AppendORCPT writes "type;address" as the value of ORCPT=. With utf8ok the peer
// takes characters as they are, RFC 6533 section 3.
func AppendORCPT(b []byte, s string, utf8ok bool) []byte {
	kind, address, _ := strings.Cut(s, ";")
	b = append(append(b, kind...), ';')
	if !strings.EqualFold(kind, "utf-8") {
		return AppendXtext(b, address)
	}
	for _, r := range address {
		switch {
		case r < 33 || r == '+' || r == '=' || r == '\\' || r == 127 || r > 127 && !utf8ok:
			b = append(b, '\\', 'x', '{')
			if r < 16 {
				b = append(b, '0') // two digits at least
			}
			b = append(b, strings.ToUpper(strconv.FormatInt(int64(r), 16))...)
			b = append(b, '}')
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// decodeUTF8Addr reads utf-8-addr-xtext, and with utf8ok utf-8-addr-unitext.
func decodeUTF8Addr(s string, utf8ok bool) (string, error) {
	bad := errs.New(errs.Invalid, "address is not in the form of utf-8-addr-xtext")
	if !utf8ok && !isASCII(s) {
		return "", bad
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\':
			end := strings.IndexByte(s[i:], '}')
			if !strings.HasPrefix(s[i:], `\x{`) || end < 5 || end > 9 {
				return "", bad
			}
			digits := s[i+3 : i+end]
			n, err := strconv.ParseUint(digits, 16, 32)
			if err != nil || strings.ToUpper(digits) != digits || !utf8.ValidRune(rune(n)) {
				return "", bad
			}
			b.WriteRune(rune(n))
			i += end
		case c < 33 || c == 127 || c == '+' || c == '=':
			return "", bad
		default:
			b.WriteByte(c)
		}
	}
	if out := b.String(); validUTF8(out) && !strings.ContainsFunc(out, func(r rune) bool { return r < 32 }) {
		return out, nil
	}
	return "", bad
}

// addrType is an atom, RFC 3461 section 4.2.
func addrType(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || !isAtext(s[i]) || s[i] == '+' || s[i] == '=' {
			return false
		}
	}
	return true
}

func upperHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }
