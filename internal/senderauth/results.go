package senderauth

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Examine finds out all there is to know of a message's sender: SPF, DKIM,
// ARC, and DMARC on top of them. open gives the content from its start, as it
// was received, each time it is called. An error is one of reading it.
func (v *Verifier) Examine(ctx context.Context, from mail.Origin, sender mail.Address, open func() (io.ReadCloser, error)) (Result, error) {
	r := Result{SPF: v.SPF(ctx, from, sender)}
	var header []byte
	for _, step := range []func(io.Reader) error{
		func(c io.Reader) (err error) { header, err = readHeader(bufio.NewReader(c)); return err },
		func(c io.Reader) (err error) { r.DKIM, err = v.DKIM(ctx, c); return err },
		func(c io.Reader) (err error) { r.ARC, err = v.ARC(ctx, c); return err },
	} {
		content, err := open()
		if err != nil {
			return Result{}, errs.Context(err, "opening the message")
		}
		if err := errors.Join(step(content), content.Close()); err != nil {
			return Result{}, err
		}
	}
	author, err := Author(header)
	if err != nil {
		r.DMARC = DMARC{Verdict: PermError, Reason: err.Error()}
		return r, nil
	}
	r.DMARC = v.DMARC(ctx, author, r)
	return r, nil
}

// FieldName is the header field of RFC 8601.
const FieldName = "Authentication-Results"

// maxField bounds our own field: it is one line. What does not fit of many
// signatures is left out.
const maxField = 800

// Field gives the value of our own Authentication-Results field (RFC 8601
// section 2.2) on one line. What came from outside is in it only where it is a
// domain.
func (r *Result) Field(authserv string) string {
	parts := []string{authserv, "spf=" + string(r.SPF.Verdict) + property(" smtp.mailfrom=", r.SPF.Domain)}
	if r.DMARC.Verdict != "" {
		parts = append(parts, "dmarc="+string(r.DMARC.Verdict)+r.DMARC.comment()+property(" header.from=", r.DMARC.Domain))
	}
	if r.ARC.Verdict != "" && r.ARC.Verdict != None {
		parts = append(parts, "arc="+string(r.ARC.Verdict))
	}
	if len(r.DKIM) == 0 {
		parts = append(parts, "dkim=none")
	}
	out := strings.Join(parts, "; ")
	for _, s := range r.DKIM {
		part := "; dkim=" + string(s.Verdict) + property(" header.d=", s.Domain)
		if len(out)+len(part) > maxField {
			break
		}
		out += part
	}
	return out
}

// comment says in a comment what the domain asks for.
func (d *DMARC) comment() string {
	if d.Policy == "" {
		return ""
	}
	return " (p=" + string(d.Policy) + ")"
}

func property(name, domain string) string {
	if d, err := mail.ParseDomain(domain); err == nil && !strings.HasPrefix(d, "[") {
		return name + d
	}
	return ""
}

// Claims reports whether an Authentication-Results field says that it is of
// authserv. One that came from outside and does is forged, and must not reach
// those who believe it (RFC 8601 section 5). It errs on the side of yes:
// comments, quotes and versions before or behind the name do not hide it.
func Claims(value, authserv string) bool {
	id, _, _ := strings.Cut(bare(value), ";")
	for _, word := range strings.Fields(id) {
		if strings.EqualFold(strings.TrimSuffix(word, "."), authserv) {
			return true
		}
	}
	return strings.EqualFold(strings.Join(strings.Fields(id), ""), authserv)
}

// bare takes comments and quotes out of a value.
func bare(value string) string {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && (quoted || depth > 0) && i+1 < len(value):
			if i++; depth == 0 {
				b.WriteByte(value[i])
			}
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
			b.WriteByte(' ')
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	if depth > 0 { // a comment that does not end hides nothing
		return strings.NewReplacer("(", " ", ")", " ", `"`, "").Replace(value)
	}
	return b.String()
}
