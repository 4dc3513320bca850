package demo

import (
	"io"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

func sample(o Options) *demo {
	o.Program = "./lazaret"
	at := func(n, port string) place {
		return place{Name: n, SMTP: "127.0.0.1:25" + port, CPQ: "127.0.0.1:70" + port, SSH: "127.0.0.1:22" + port, User: "admin", Password: "secret-" + n}
	}
	return &demo{Options: o, temporary: o.Dir == "", layout: &layout{Manager: at("sma1", "00"), Gateways: []place{at("gw1", "01"), at("gw2", "02")}, Mailbox: "127.0.0.1:2600"}}
}

// What people read tells what runs here, what stays, and commands that work.
func TestText(t *testing.T) {
	const whole, gone = "Lazaret is running in", "is removed at the end"
	for _, c := range []struct {
		opt        Options
		has, lacks []string
	}{
		{Options{}, []string{whole, gone, "./lazaret demo --dir DIR keeps one", "secret-sma1", "secret-gw2", "127.0.0.1:2600", "quarantine release MID", "swaks"}, []string{"--only"}},
		{Options{Dir: "/d"}, []string{whole, "./lazaret cli --dir /d/sma1 quarantine list"}, []string{gone}},
		{Options{Dir: "/d", Only: "gw1"}, []string{"gw1 of the demonstration in /d is running", "secret-gw1", "./lazaret cli --dir /d/gw1 status", "./lazaret demo --dir /d --only sma1", "--only mailbox"},
			[]string{whole, gone, "secret-sma1", "secret-gw2", "127.0.0.1:2600", "swaks", "--only gw1"}},
		{Options{Dir: "/d", Only: "mailbox"}, []string{"127.0.0.1:2600", "/d/mailbox/new", "--only gw2"}, []string{"secret-", " cli "}},
	} {
		text := sample(c.opt).text()
		for _, s := range c.has {
			if !strings.Contains(text, s) {
				t.Errorf("%+v: %q is missing in\n%s", c.opt, s, text)
			}
		}
		for _, s := range c.lacks {
			if strings.Contains(text, s) {
				t.Errorf("%+v: %q is in\n%s", c.opt, s, text)
			}
		}
	}
}

// Parts of one directory run side by side, and the same one twice does not.
func TestOnlyBesideOnly(t *testing.T) {
	dir := t.TempDir()
	claim := func(only string) (io.Closer, error) {
		return (&demo{Options: Options{Dir: dir, Only: only}}).claim()
	}
	for _, only := range []string{"gw1", "gw2"} {
		f, err := claim(only)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	if _, err := claim(""); !errs.Is(err, errs.Conflict) {
		t.Errorf("all beside some: %v", err)
	}
	box, err := NewMailbox(t.TempDir(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	d := sample(Options{Dir: dir, Only: mailboxName})
	d.layout.Mailbox = box.Addr().String()
	if _, err := d.start(t.Context(), []string{mailboxName}); !errs.Is(err, errs.Conflict) || strings.Count(err.Error(), "mailbox:") != 1 {
		t.Errorf("the mailbox twice: %v", err)
	}
}
