package smtp

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/mail"
)

// putMail writes MAIL with the parameters that the peer knows.
func (c *Client) putMail(t *Transaction) {
	c.putPath("MAIL FROM:<", t.From)
	b := c.out.AvailableBuffer()
	if c.ext.HasSize && t.Size > 0 {
		b = append(b, " SIZE="...)
		b = strconv.AppendInt(b, t.Size, 10)
	}
	switch {
	case t.Binary:
		b = append(b, " BODY=BINARYMIME"...)
	case t.EightBit:
		b = append(b, " BODY=8BITMIME"...)
	}
	if t.needsUTF8() {
		b = append(b, " SMTPUTF8"...)
	}
	if t.RequireTLS && c.secure && c.ext.RequireTLS {
		b = append(b, " REQUIRETLS"...)
	}
	if c.ext.DSN { // RFC 3461 section 5.2.1: as we were told
		if t.Ret != "" {
			b = append(b, " RET="...)
			b = appendPrintable(b, string(t.Ret), 4)
		}
		if t.EnvID != "" {
			b = append(b, " ENVID="...)
			b = mail.AppendXtext(b, t.EnvID)
		}
	}
	c.out.Write(append(b, '\r', '\n')) // a failure stays in the writer and comes with Flush
}

// putRcpt writes RCPT for recipient i.
func (c *Client) putRcpt(t *Transaction, i int) {
	c.putPath("RCPT TO:<", t.To[i])
	b := c.out.AvailableBuffer()
	if c.ext.DSN && i < len(t.Rcpt) {
		if n := t.Rcpt[i].Notify; n != 0 {
			b = append(b, " NOTIFY="...)
			b = append(b, n.String()...)
		}
		if o := t.Rcpt[i].ORCPT; o != "" {
			b = append(b, " ORCPT="...)
			b = appendSound(b, string(mail.AppendORCPT(nil, o, t.needsUTF8())))
		}
	}
	c.out.Write(append(b, '\r', '\n'))
}

// putPath writes an address. An Address has been parsed and can do no harm; one
// that was put together by hand is made so here (register B4).
func (c *Client) putPath(word string, a mail.Address) {
	c.out.WriteString(word)
	b := c.out.AvailableBuffer()
	b = appendSound(b, a.Local)
	if a.Domain != "" {
		b = append(b, '@')
		b = appendPrintable(b, a.Domain, mail.MaxPath)
	}
	b = append(b, '>')
	c.out.Write(b)
}

// appendSound appends at most 2 KiB of s, with a question mark for each control
// character and each octet that is no UTF-8.
func appendSound(b []byte, s string) []byte {
	for i, r := range s[:min(len(s), maxCommand)] {
		switch {
		case unicode.IsControl(r), r == utf8.RuneError && s[i] != 0xef:
			b = append(b, '?')
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
