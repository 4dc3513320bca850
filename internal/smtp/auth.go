package smtp

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
)

// AuthCommand is who somebody says he is, and his proof: AUTH, RFC 4954.
type AuthCommand struct {
	Mechanism string // PLAIN or LOGIN
	User      string // hostile
	Password  string // never to be shown or logged
}

// Authenticator is a Session that knows users. It must be one where
// ServerConfig.Auth is set. A positive reply means that the user is believed.
type Authenticator interface {
	Auth(ctx context.Context, c AuthCommand) Reply
}

// maxAuthLine is the longest line of an exchange, RFC 4954 section 4.
const maxAuthLine = 12288

var (
	replyAuthOK     = NewReply(235, "2.7.0", "authentication succeeded")
	replyAuthSyntax = NewReply(501, "5.5.2", "response is not of the form of the mechanism")
	replyAuthCancel = NewReply(501, "5.7.0", "authentication cancelled")
	replyAuthLong   = NewReply(500, "5.5.6", "line of the authentication exchange is too long")
	replyAuthWrong  = NewReply(535, "5.7.8", "user name or password is wrong")
	replyAuthTLS    = NewReply(538, "5.7.11", "encryption is required: STARTTLS comes first")
	replyAuthTwice  = NewReply(503, "5.5.1", "authentication was done already")
	replyAuthWhat   = NewReply(504, "5.5.4", "mechanism is not offered: it is PLAIN or LOGIN")
)

// errAuth is an exchange that ended in a reply.
type errAuth struct{ Reply }

func (e errAuth) Error() string { return e.String() }

// auth is AUTH. Both mechanisms hand over the password, so that none is offered
// outside TLS; LOGIN has no RFC that is in force, and clients that know no other.
func (c *conn) auth(args string) Reply {
	switch {
	case c.tls == nil: // RFC 4954 section 4 and register B11
		return replyAuthTLS
	case !c.extended:
		return NewReply(503, "5.5.1", "say EHLO first")
	case c.authed:
		return replyAuthTwice // RFC 4954 section 4
	}
	mechanism, initial, given := strings.Cut(args, " ")
	mechanism = strings.ToUpper(mechanism)
	a := AuthCommand{Mechanism: mechanism}
	var err error
	switch mechanism {
	case "PLAIN":
		err = c.plainAuth(&a, initial, given)
	case "LOGIN":
		err = c.loginAuth(&a, initial, given)
	default:
		c.secret = true // a password may come all the same
		return replyAuthWhat
	}
	var end errAuth
	if errors.As(err, &end) {
		c.secret = true
		return end.Reply
	}
	if err != nil {
		return c.fail(err)
	}
	r := replyAuthWrong
	if who, ok := c.sess.(Authenticator); ok {
		r = withStatus(who.Auth(c.ctx, a))
	}
	c.authed = r.Positive()
	c.secret = !c.authed
	if c.authed && r.Code != 235 {
		r = replyAuthOK
	}
	return r
}

// plainAuth reads [authzid] NUL authcid NUL passwd, RFC 4616 section 2. To act
// for somebody else is not offered.
func (c *conn) plainAuth(a *AuthCommand, initial string, given bool) error {
	text, err := c.response("", initial, given)
	if err != nil {
		return err
	}
	parts := strings.Split(text, "\x00")
	switch {
	case len(parts) != 3 || parts[1] == "":
		return errAuth{replyAuthSyntax}
	case parts[0] != "" && parts[0] != parts[1]:
		return errAuth{replyAuthWrong}
	}
	a.User, a.Password = parts[1], parts[2]
	return nil
}

// loginAuth asks for name and password with the words that clients look for.
func (c *conn) loginAuth(a *AuthCommand, initial string, given bool) (err error) {
	if a.User, err = c.response("Username:", initial, given); err != nil {
		return err
	}
	a.Password, err = c.response("Password:", "", false)
	if err == nil && (strings.ContainsRune(a.User, 0) || strings.ContainsRune(a.Password, 0)) {
		err = errAuth{replyAuthSyntax}
	}
	return err
}

// response gives the initial response, or asks for one.
func (c *conn) response(challenge, initial string, given bool) (string, error) {
	line := initial
	if !given {
		c.send(NewReply(334, "", base64.StdEncoding.EncodeToString([]byte(challenge))))
		c.in.grow()
		b, err := c.in.lineOf(maxAuthLine, c.server.cfg.BareLFCommands)
		if errors.Is(err, errLineTooLong) {
			return "", errAuth{replyAuthLong}
		} else if err != nil {
			return "", err
		}
		line = string(b)
	}
	switch {
	case line == "*" && !given:
		return "", errAuth{replyAuthCancel}
	case line == "=" && given: // RFC 4954 section 4: an empty one
		return "", nil
	}
	text, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil || strings.ContainsAny(line, "\r\n") {
		return "", errAuth{replyAuthSyntax}
	}
	return string(text), nil
}

// shown is a line as the Observer may see it: no secret of AUTH is in it, nor in
// the line behind an AUTH that failed, where a client that did not wait for our
// answer goes on with its password.
func shown(line []byte, secret bool) string {
	var buf [maxVerb]byte
	switch verb, args := parseCommand(line, &buf); {
	case string(verb) == "AUTH":
		mechanism, _, _ := strings.Cut(args, " ")
		return "AUTH " + mechanism
	case secret:
		return "(not shown behind AUTH)"
	}
	return string(line)
}
