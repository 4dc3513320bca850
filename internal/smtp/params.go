package smtp

import (
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// parsePath reads "FROM:<path> parameters" behind a verb, RFC 5321 section
// 4.1.1.2. loose allows what section 3.3 forbids but old programs send: no
// angle brackets, and blanks behind the colon.
//
// Source routes (<@a,@b:c@d>) are refused, not ignored as section 4.1.1.3 would
// like: what is checked must be what is routed, and nobody needs them (register B6).
func parsePath(args, word string, loose bool) (path, params string, ok bool) {
	if len(args) < len(word) || !strings.EqualFold(args[:len(word)], word) {
		return "", "", false
	}
	rest := args[len(word):]
	if loose {
		rest = strings.TrimLeft(rest, " ")
	}
	if rest == "" {
		return "", "", false
	}
	if rest[0] != '<' {
		if !loose {
			return "", "", false
		}
		path, params, _ = strings.Cut(rest, " ")
		return path, params, path != "" && !strings.ContainsAny(path, "<>")
	}
	end := pathEnd(rest)
	if end < 0 {
		return "", "", false
	}
	path, params = rest[1:end], rest[end+1:]
	if params != "" {
		if params[0] != ' ' {
			return "", "", false
		}
		params = params[1:]
	}
	return path, params, true
}

// pathEnd finds the closing bracket, which may not be inside a quoted string.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '>':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

var (
	replyMailSyntax   = NewReply(501, "5.5.4", "syntax is MAIL FROM:<address> [parameters]")
	replyRcptSyntax   = NewReply(501, "5.5.4", "syntax is RCPT TO:<address>")
	replyNoParameters = NewReply(555, "5.5.4", "parameter is unknown, repeated or not allowed here")
)

// parseMail reads the arguments of MAIL. The reply is zero when they are good.
func parseMail(args string, loose, extended bool) (MailCommand, Reply) {
	var c MailCommand
	path, params, ok := parsePath(args, "FROM:", loose)
	if !ok {
		return c, replyMailSyntax
	}
	from, err := mail.ParseAddress(path)
	if err != nil {
		return c, NewReply(501, "5.1.7", "sender: "+errs.Public(err))
	}
	if from.Domain == "" && !from.IsNull() {
		return c, NewReply(501, "5.1.7", "sender: address has no domain")
	}
	c.From = from
	return c, c.parameters(params, extended)
}

// parameters reads SIZE= (RFC 1870) and BODY= (RFC 6152), each at most once.
func (c *MailCommand) parameters(s string, extended bool) Reply {
	var size, body bool
	for _, p := range strings.Fields(s) {
		name, value, _ := strings.Cut(p, "=")
		switch {
		case !extended:
			return replyNoParameters
		case strings.EqualFold(name, "SIZE") && !size:
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || len(value) > 20 { // RFC 1870 section 3: 20 digits
				return NewReply(501, "5.5.4", "SIZE is not a number of octets")
			}
			c.Size, size = int64(n), true
		case strings.EqualFold(name, "BODY") && !body:
			if body = true; strings.EqualFold(value, "8BITMIME") {
				c.EightBit = true
			} else if !strings.EqualFold(value, "7BIT") {
				return NewReply(501, "5.5.4", "BODY is 7BIT or 8BITMIME")
			}
		default:
			return replyNoParameters
		}
	}
	return Reply{}
}

// parseRcpt reads the arguments of RCPT. The reply is zero when they are good.
func parseRcpt(args string, loose bool) (mail.Address, Reply) {
	path, params, ok := parsePath(args, "TO:", loose)
	if !ok {
		return mail.Address{}, replyRcptSyntax
	}
	to, err := mail.ParseAddress(path)
	if err != nil {
		return to, NewReply(501, "5.1.3", "recipient: "+errs.Public(err))
	}
	if to.IsNull() {
		return to, NewReply(501, "5.1.3", "recipient: address is empty")
	}
	if strings.TrimSpace(params) != "" {
		return to, replyNoParameters
	}
	return to, Reply{}
}
