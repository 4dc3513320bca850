package senderauth

import (
	"bytes"
	netmail "net/mail"
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
	list, err := netmail.ParseAddressList(strings.TrimSpace(unfold(value)))
	if err != nil {
		return "", errs.Wrap(errs.Invalid, err, "the From field cannot be read")
	}
	author := ""
	for _, a := range list {
		domain, err := mail.ParseDomain(a.Address[strings.LastIndexByte(a.Address, '@')+1:])
		if err != nil || strings.HasPrefix(domain, "[") {
			return "", errs.New(errs.Invalid, "the From field names no domain")
		}
		if domain = strings.ToLower(domain); author != "" && author != domain {
			return "", errs.New(errs.Invalid, "the From field names several domains")
		}
		author = domain
	}
	if author == "" {
		return "", errs.New(errs.Invalid, "the From field names nobody")
	}
	return author, nil
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
	for len(header) > 0 {
		n := bytes.IndexByte(header, '\n') + 1
		if n == 0 {
			n = len(header)
		}
		line := string(header[:n])
		header = header[n:]
		switch {
		case line == "\r\n" || line == "\n":
			return out
		case len(out) > 0 && (line[0] == ' ' || line[0] == '\t'):
			out[len(out)-1] += line
		default:
			out = append(out, line)
		}
	}
	return out
}

// unfold takes out the line ends of a folded value (RFC 5322 section 2.2.3).
func unfold(s string) string { return strings.NewReplacer("\r\n", "", "\n", "").Replace(s) }
