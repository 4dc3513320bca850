package admin

import (
	"strings"
	"testing"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/mail"
)

// The users of SMTP AUTH: made, given another password, removed; each change
// waits for a commit; who may not keep users does not know the command.
func TestSMTPAuthConfig(t *testing.T) {
	l, st := settings(t, config.Gateway)
	self := mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.9", Via: "ssh"}
	operator := mail.Principal{Name: "op", Role: mail.Operator, From: "192.0.2.9", Via: "ssh"}
	works := func(name, password string) bool {
		conf, _ := st.Pending()
		users, err := auth.NewSenders(conf.AuthSenders(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return users.Login(name, password, "192.0.2.9") == nil
	}
	for _, c := range []struct {
		p        mail.Principal
		line     string
		input    []string
		want     string
		password string // that ann has then
	}{
		{self, "smtpauthconfig", nil, "There are no SMTP AUTH users.", ""},
		{self, "smtpauthconfig delete ann", nil, "There are no SMTP AUTH users", ""},
		{self, "smtpauthconfig new", []string{}, "", ""},
		{self, "smtpauthconfig new 'ann smith'", []string{"first-secret", "first-secret"}, "without blanks", ""},
		{self, "smtpauthconfig new ann", []string{"short", "short"}, "8 characters", ""},
		{self, "smtpauthconfig new ann", []string{"first-secret", "other-secret"}, "differ", ""},
		{self, "smtpauthconfig new ann", []string{"first-secret", "first-secret"}, "Commit to put this in force.", "first-secret"},
		{self, "smtpauthconfig new ann", []string{"x-secret-x", "x-secret-x"}, "exists already", "first-secret"},
		{self, "smtpauthconfig", nil, "No mail flow policy offers SMTP AUTH", "first-secret"},
		{self, "smtpauthconfig passwd bob", []string{"other-secret", "other-secret"}, "is not one of: ann", "first-secret"},
		{self, "smtpauthconfig passwd ann", []string{"other-secret", "other-secret"}, "Commit", "other-secret"},
		{operator, "smtpauthconfig delete ann", nil, "Unknown command", "other-secret"},
		{self, "smtpauthconfig delete ann", nil, "Commit", ""},
	} {
		s := newScript(c.input...)
		l.Exec(t.Context(), c.p, c.line, s)
		if !strings.Contains(s.String(), c.want) || strings.Contains(s.String(), "-secret") {
			t.Errorf("%s %v: %q, want %q", c.line, c.input, s.String(), c.want)
		}
		if c.password != "" && !works("ann", c.password) || c.password == "" && works("ann", "first-secret") {
			t.Errorf("%s %v: the password of ann is not %q", c.line, c.input, c.password)
		}
	}
	if st.Committed().Sender("ann") != nil {
		t.Error("in force without a commit")
	}
}
