package senderauth

import (
	"bytes"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// maxFrom bounds the From field that is taken apart: longer ones are nobody's name.
const maxFrom = 8 << 10

// Author gives the domain of the From field of a header block: the one that
// people see (RFC 9989 section 4.2, "Author Domain"), in A-labels. It is an
// error of kind Invalid when there is not exactly one field with addresses of
// one domain: what a reader would show is then anybody's guess.
func Author(header []byte) (string, error) {
	from := fields(header, "From")
	if len(from) != 1 {
		return "", errs.New(errs.Invalid, "the message has %d From fields", len(from))
	}
	_, value, _ := strings.Cut(from[0], ":")
	if len(value) > maxFrom {
		return "", errs.New(errs.Invalid, "the From field is longer than %d bytes", maxFrom)
	}
	list, err := domains(unfold(value))
	if err != nil {
		return "", err
	}
	author := ""
	for _, d := range list {
		domain, err := mail.ParseDomain(d)
		switch {
		case err != nil || strings.HasPrefix(domain, "["):
			return "", errs.New(errs.Invalid, "the From field names no domain")
		case author != "" && author != domain:
			return "", errs.New(errs.Invalid, "the From field names several domains")
		}
		author = domain
	}
	if author == "" {
		return "", errs.New(errs.Invalid, "the From field names nobody")
	}
	return author, nil
}

// domains gives what stands behind each @ of an address list: of those in
// angle brackets when there are any, for what stands before one is a name,
// however it looks. Quoted strings and comments are passed over. It reads on
// where the grammar of RFC 5322 section 3.4 would give up: so do the programs
// that show the field.
func domains(value string) (out []string, err error) {
	var named, plain []string
	inside := false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case '"', '(':
			end := skip(value[i:])
			if end < 0 {
				return nil, errs.New(errs.Invalid, "the From field has a quote or comment without an end")
			}
			i += end
		case '<', '>':
			inside = c == '<'
		case '@':
			end := strings.IndexAny(value[i+1:], " \t,;:<>()\"@")
			if end < 0 {
				end = len(value) - i - 1
			}
			d := value[i+1 : i+1+end]
			i += end
			if inside {
				named = append(named, d)
			} else {
				plain = append(plain, d)
			}
		}
	}
	if named != nil {
		return named, nil
	}
	return plain, nil
}

// skip gives the place of the last octet of the quoted string or comment that s
// begins with, -1 without one.
func skip(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case s[0] == '"':
			if c == '"' && i > 0 {
				return i
			}
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// fields gives all fields of a name with their line ends, from the top.
func fields(header []byte, name string) (out []string) {
	for _, f := range split(header) {
		if field, _, ok := strings.Cut(f, ":"); ok && strings.EqualFold(strings.TrimRight(field, " \t"), name) {
			out = append(out, f)
		}
	}
	return out
}

// split cuts a header block into its fields, each with its continuations and
// line ends. The blank line is no field.
func split(header []byte) (out []string) {
	start := 0
	for at := 0; at < len(header); {
		n := bytes.IndexByte(header[at:], '\n') + 1
		if n == 0 {
			n = len(header) - at
		}
		line := header[at : at+n]
		if line[0] != ' ' && line[0] != '\t' && at > start {
			out = append(out, string(header[start:at]))
			start = at
		}
		if string(line) == "\r\n" || string(line) == "\n" {
			return out
		}
		at += n
	}
	if start < len(header) {
		out = append(out, string(header[start:]))
	}
	return out
}

// unfold takes out the line ends of a folded value (RFC 5322 section 2.2.3).
func unfold(s string) string { return strings.NewReplacer("\r\n", "", "\n", "").Replace(s) }
