// Package auth knows the administrators: who they are, how they prove it, and
// what their role may do; and beside them the users who may send mail after SMTP AUTH.
//
// It is not a session store and knows no transport: the SSH server, the local
// socket and the web pages ask it and keep the principal it gives. It promises
// that an unknown name costs as much time as a wrong password, that an empty
// password never opens anything, and that guessing gets slower and slower.
package auth

import (
	"strings"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// User is one administrator as the configuration holds it.
type User struct {
	Name     string
	FullName string
	Group    mail.Role
	Hash     string   // of HashPassword; empty: no login by password
	Keys     []string // lines of authorized_keys, without options
}

// Limits of one user and of the list.
const (
	maxName  = 64
	maxFull  = 128
	maxKeys  = 20
	maxUsers = 1000
)

// Check reports what is wrong with the user's settings.
func (u User) Check() error {
	if !validName(u.Name) {
		return errs.New(errs.Invalid, "user name %q is not 1 to %d lower-case letters, digits, dots, dashes and underscores", clip(u.Name), maxName)
	}
	if len(u.FullName) > maxFull || strings.ContainsFunc(u.FullName, func(r rune) bool { return r < ' ' || r == 127 }) {
		return errs.New(errs.Invalid, "user %s: the full name is longer than %d bytes or has control characters", u.Name, maxFull)
	}
	if _, ok := table[u.Group]; !ok {
		return errs.New(errs.Invalid, "user %s: unknown role %q", u.Name, clip(string(u.Group)))
	}
	if u.Hash != "" {
		if _, err := parseHash(u.Hash); err != nil {
			return errs.Context(err, "user %s", u.Name)
		}
	}
	if len(u.Keys) > maxKeys {
		return errs.New(errs.Invalid, "user %s has more than %d keys", u.Name, maxKeys)
	}
	for i, line := range u.Keys {
		if _, err := ParseKey(line); err != nil {
			return errs.Context(err, "user %s, key %d", u.Name, i+1)
		}
	}
	return nil
}

// CheckUsers checks a whole list: each user, and that names are unique.
func CheckUsers(list []User) error {
	if len(list) > maxUsers {
		return errs.New(errs.Invalid, "more than %d users", maxUsers)
	}
	seen := make(map[string]bool, len(list))
	for _, u := range list {
		if err := u.Check(); err != nil {
			return err
		}
		if seen[u.Name] {
			return errs.New(errs.Invalid, "user %s is there twice", u.Name)
		}
		seen[u.Name] = true
	}
	return nil
}

// ParseKey reads one line of an authorized_keys file. Options are refused: a
// restriction that was silently dropped is worse than none.
func ParseKey(line string) (ssh.PublicKey, error) {
	if len(line) > 8192 || strings.ContainsAny(line, "\r\n") {
		return nil, errs.New(errs.Invalid, "public key is longer than 8192 bytes or has a line end")
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "public key is not in the form of authorized_keys")
	}
	if len(options) > 0 {
		return nil, errs.New(errs.Invalid, "public key has options; they are not supported")
	}
	if _, cert := key.(*ssh.Certificate); cert {
		return nil, errs.New(errs.Invalid, "public key is a certificate; only plain keys are supported")
	}
	return key, nil
}

func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' || s[0] == '.' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}
