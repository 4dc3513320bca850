package listener

import (
	"context"

	"lazaret/internal/access"
	"lazaret/internal/errs"
	"lazaret/internal/smtp"
)

// Logins knows who may send after SMTP AUTH. auth.Senders is one. The error of a
// login that is not believed is Denied; Temporary says that it was not looked at.
type Logins interface {
	Login(name, password, from string) error
}

// authProfile is the list of users in the log line: there is one.
const authProfile = "local"

var _ smtp.Authenticator = (*session)(nil)

// offersAuth reports whether a policy lets clients log in.
func (g *Group) offersAuth(s Settings, p *access.Policy) bool {
	return s.Protocol == SMTP && p.Params.Auth != access.AuthOff && g.opts.Logins != nil
}

// Auth implements smtp.Authenticator. Who has logged in may send to anyone,
// like a host that the HAT relays for; the limits of the policy stay.
func (s *session) Auth(_ context.Context, c smtp.AuthCommand) smtp.Reply {
	err := s.listener.group.opts.Logins.Login(c.User, c.Password, s.origin.RemoteIP.String())
	s.log.SMTPAuth(s.icid, err == nil, c.User, c.Mechanism, authProfile)
	switch {
	case err == nil:
	case errs.Is(err, errs.Denied):
		return smtp.NewReply(535, "5.7.8", "user name or password is wrong")
	default:
		return smtp.NewReply(454, "4.7.0", errs.Public(err)) // RFC 4954 section 6
	}
	s.relay, s.origin.Relay, s.origin.User = true, true, c.User
	s.setProtocol()
	return smtp.NewReply(235, "2.7.0", "authentication succeeded")
}

// unproven refuses MAIL where the policy wants a login first.
func (s *session) unproven() bool {
	return s.rules.Protocol == SMTP && s.policy.Params.Auth == access.AuthRequired && s.origin.User == ""
}

// setProtocol gives the "with" word of Received: RFC 3848, and for a message
// with SMTPUTF8 RFC 6531 section 4.3.
func (s *session) setProtocol() {
	word := "ESMTP"
	switch {
	case !s.extended && !s.secure:
		word = "SMTP"
	case s.tx.env.UTF8:
		word = "UTF8SMTP"
	}
	if s.secure {
		word += "S"
	}
	if s.origin.User != "" {
		word += "A"
	}
	s.origin.Protocol = word
}
