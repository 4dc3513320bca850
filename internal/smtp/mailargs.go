package smtp

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

var (
	replyMailSyntax   = NewReply(501, "5.5.4", "syntax is MAIL FROM:<address> [parameters]")
	replyRcptSyntax   = NewReply(501, "5.5.4", "syntax is RCPT TO:<address> [parameters]")
	replyNoParameters = NewReply(555, "5.5.4", "parameter is unknown, repeated or not allowed here")
	// RFC 6531 section 3.5: 553 for addresses, with 5.6.7.
	replyNotASCII = NewReply(553, "5.6.7", "address is not ASCII: it needs MAIL with SMTPUTF8")
)

// peer is what the parameters may depend on.
type peer struct {
	loose    bool // paths as old programs send them
	extended bool // said EHLO
	tls      bool // inside TLS
	auth     bool // AUTH is offered
	utf8     bool // of RCPT: the message was announced with SMTPUTF8
}

// parseMail reads the arguments of MAIL. The reply is zero when they are good.
func parseMail(args string, p peer) (MailCommand, Reply) {
	var c MailCommand
	path, params, ok := parsePath(args, "FROM:", p.loose)
	if !ok {
		return c, replyMailSyntax
	}
	if r := eachParameter(params, p.extended, func(name, value string, given bool) Reply {
		return c.parameter(name, value, given, p)
	}); !r.IsZero() {
		return c, r
	}
	if !c.UTF8 && !ascii(path) {
		return c, replyNotASCII
	}
	from, err := mail.ParseAddress(path)
	if err != nil {
		return c, NewReply(501, "5.1.7", "sender: "+errs.Public(err))
	}
	if from.Domain == "" && !from.IsNull() {
		return c, NewReply(501, "5.1.7", "sender: address has no domain")
	}
	c.From = from
	return c, Reply{}
}

// eachParameter calls f with each parameter, once; given tells NAME from NAME=.
func eachParameter(s string, extended bool, f func(name, value string, given bool) Reply) Reply {
	if s == "" {
		return Reply{}
	}
	var room [8]string
	seen := room[:0]
	for _, p := range strings.Fields(s) {
		name, value, given := strings.Cut(p, "=")
		name = strings.ToUpper(name)
		if !extended || slices.Contains(seen, name) {
			return replyNoParameters // RFC 5321 section 4.1.1.11
		}
		seen = append(seen, name)
		if r := f(name, value, given); !r.IsZero() {
			return r
		}
	}
	return Reply{}
}

// parameter takes one parameter of MAIL.
func (c *MailCommand) parameter(name, value string, given bool, p peer) Reply {
	switch {
	case name == "SIZE":
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || len(value) > 20 { // RFC 1870 section 3: 20 digits
			return badParameter("SIZE is not a number of octets")
		}
		c.Size = int64(n)
	case name == "BODY":
		switch strings.ToUpper(value) {
		case "7BIT":
		case "8BITMIME":
			c.EightBit = true
		case "BINARYMIME":
			c.Binary = true
		default:
			return badParameter("BODY is 7BIT, 8BITMIME or BINARYMIME")
		}
	case name == "SMTPUTF8" && !given: // RFC 6531 section 3.4
		c.UTF8 = true
	case name == "REQUIRETLS" && !given && p.tls: // RFC 8689 section 2: offered inside TLS only
		c.RequireTLS = true
	case name == "RET":
		c.Ret = mail.Ret(strings.ToUpper(value))
		if c.Ret != mail.RetFull && c.Ret != mail.RetHeaders {
			return badParameter("RET is FULL or HDRS")
		}
	case name == "ENVID":
		return c.envID(value)
	case name == "AUTH" && p.auth:
		return checkAuth(value)
	default:
		return replyNoParameters
	}
	return Reply{}
}

func badParameter(why string) Reply { return NewReply(501, "5.5.4", why) }

// envID is RFC 3461 section 4.4.
func (c *MailCommand) envID(value string) Reply {
	id, err := mail.DecodeXtext(value)
	if err != nil || id == "" || len(value) > mail.MaxEnvID {
		return badParameter("ENVID is 1 to 100 characters of xtext")
	}
	c.EnvID = id
	return Reply{}
}

// checkAuth looks at AUTH=, RFC 4954 section 5, and takes every value for <>:
// who submitted a message somewhere else is nothing that we could vouch for, and
// the parameter goes no further.
func checkAuth(value string) Reply {
	who, err := mail.DecodeXtext(value)
	if err == nil && who != "<>" {
		_, err = mail.ParseAddress(who)
	}
	if err != nil || value == "" {
		return badParameter("AUTH is <> or an address as xtext")
	}
	return Reply{}
}

// parseRcpt reads the arguments of RCPT. The reply is zero when they are good.
func parseRcpt(args string, p peer) (RcptCommand, Reply) {
	var c RcptCommand
	path, params, ok := parsePath(args, "TO:", p.loose)
	if !ok {
		return c, replyRcptSyntax
	}
	if !p.utf8 && !ascii(path) {
		return c, replyNotASCII
	}
	to, err := mail.ParseAddress(path)
	if err != nil {
		return c, NewReply(501, "5.1.3", "recipient: "+errs.Public(err))
	}
	if to.IsNull() {
		return c, NewReply(501, "5.1.3", "recipient: address is empty")
	}
	c.To = to
	return c, eachParameter(params, p.extended, func(name, value string, _ bool) Reply {
		switch name {
		case "NOTIFY":
			c.Notify, err = mail.ParseNotify(value)
		case "ORCPT":
			c.ORCPT, err = mail.DecodeORCPT(value, p.utf8)
		default:
			return replyNoParameters
		}
		if err != nil {
			return badParameter(errs.Public(err))
		}
		return Reply{}
	})
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
