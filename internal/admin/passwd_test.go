package admin

import (
	"strings"
	"testing"

	"lazaret/internal/auth"
	"lazaret/internal/config"
	"lazaret/internal/mail"
)

// One's own password needs the old one, another's needs the right; what is
// wrong changes nothing; a change is in force at once and keeps what is pending.
func TestPasswd(t *testing.T) {
	l, st := settings(t, config.Gateway)
	self := mail.Principal{Name: "admin", Role: mail.Administrator, From: "192.0.2.9", Via: "ssh"}
	root := mail.Principal{Name: "root", Role: mail.Administrator, From: "local", Via: "socket"}
	guest := mail.Principal{Name: "guest", Role: mail.Guest, From: "192.0.2.9", Via: "ssh"}
	if err := st.Change(self, "hostname", func(c *config.Config) error { c.Hostname = "gw2.demo.example"; return nil }); err != nil {
		t.Fatal(err)
	}
	works := func(password string) bool {
		users, err := auth.NewUsers(st.Committed().AuthUsers(), auth.Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = users.Password("admin", password, "192.0.2.9", "ssh")
		return err == nil
	}
	for _, c := range []struct {
		p          mail.Principal
		line       string
		input      []string
		want, then string
	}{
		{self, "passwd", []string{"wrong", "new-secret", "new-secret"}, "old password is not right", "secret"},
		{self, "passwd", []string{"secret", "short", "short"}, "8 characters", "secret"},
		{self, "passwd", []string{"secret", "new-secret", "other-secret"}, "differ", "secret"},
		{guest, "passwd admin", []string{"new-secret", "new-secret"}, "Only the users themselves", "secret"},
		{root, "passwd", []string{"x"}, `"root" does not exist`, "secret"},
		{self, "passwd", []string{"secret", "new-secret", "new-secret"}, "password of admin is changed", "new-secret"},
		{root, "passwd admin", []string{"third-secret", "third-secret"}, "password of admin is changed", "third-secret"},
	} {
		s := newScript(c.input...)
		l.Exec(t.Context(), c.p, c.line, s)
		if !strings.Contains(s.String(), c.want) || strings.Contains(s.String(), "third-secret") {
			t.Errorf("%s %v: %q, want %q", c.line, c.input, s.String(), c.want)
		}
		if !works(c.then) {
			t.Errorf("%s %v: the password is not %q", c.line, c.input, c.then)
		}
	}
	if conf, pending := st.Pending(); !pending || conf.Hostname != "gw2.demo.example" || conf.User("admin").Password != st.Committed().User("admin").Password {
		t.Error("what was pending is lost, or would undo the change")
	}
}
