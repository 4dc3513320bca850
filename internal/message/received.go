package message

import (
	"strings"
	"time"

	"lazaret/internal/mail"
)

// Received gives the trace field of RFC 5321 section 4.4 as header lines with
// CRLF: from where, by which host and how, under which number, for whom (only
// a single recipient is named, so that none learns of another), and when.
func Received(o mail.Origin, by string, mid mail.MID, to []mail.Address, at time.Time) []byte {
	b := make([]byte, 0, 320)
	b = append(b, "Received: from "...)
	b = appendWord(b, o.Helo)
	b = append(b, " ("...)
	b = appendWord(b, o.RemoteHost)
	b = append(b, " ["...)
	if o.RemoteIP.Is6() && !o.RemoteIP.Is4In6() {
		b = append(b, "IPv6:"...)
	}
	b = o.RemoteIP.Unmap().AppendTo(b)
	b = append(b, "])\r\n\tby "...)
	b = appendWord(b, by)
	b = append(b, " with "...)
	b = append(b, protocol(o.Protocol)...)
	b = append(b, " id "...)
	b = append(b, mid.String()...)
	if len(to) == 1 && len(to[0].Local)+len(to[0].Domain) < 200 && printable(to[0].String()) {
		b = append(b, "\r\n\tfor "...)
		b = append(b, to[0].Path()...)
	}
	b = append(b, ";\r\n\t"...)
	b = at.AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 -0700")
	return append(b, "\r\n"...)
}

// protocol gives the registered "with" word.
func protocol(p string) string {
	switch p {
	case "SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA", // RFC 3848
		"UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA": // RFC 6531 section 4.3
		return p
	}
	return "ESMTP"
}

// appendWord writes a name from outside: what could break the field's syntax
// becomes a question mark.
func appendWord(b []byte, s string) []byte {
	if s == "" {
		return append(b, "unknown"...)
	}
	for i := 0; i < len(s) && i < 255; i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("()<>;,\\\"", c) >= 0 {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}
