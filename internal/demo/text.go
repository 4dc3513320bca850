package demo

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
)

// page is what people read when the demonstration is ready.
type page struct {
	*demo
	b strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text is for people. It lists what this process runs and nothing else.
func (d *demo) text() string {
	p := &page{demo: d}
	if d.Only != "" {
		p.line("\n%s of the demonstration in %s is running, and nothing else of it in this process. Ctrl-C stops it.", d.Only, d.Dir)
	} else {
		p.line("\nLazaret is running in %s. Ctrl-C stops it.", d.Dir)
	}
	if d.temporary {
		p.line("The directory is removed at the end; %s demo --dir DIR keeps one.", d.Program)
	}
	p.table()
	if d.Only != "" {
		p.others()
	} else {
		p.line("\nWhat to try next:")
		p.sending(d.layout.Gateways[0])
		p.deciding(d.layout.Manager)
		p.link(d.layout.Gateways[0], d.layout.Manager)
	}
	if d.Only != mailboxName {
		p.local()
	}
	p.line("")
	return p.b.String()
}

func (p *page) here(name string) bool { return p.Only == "" || p.Only == name }

func (p *page) table() {
	p.line("\n  %-8s %-22s %-22s %-22s %s", "", "SMTP", "SSH", "CPQ", "password of admin")
	for _, a := range append([]place{p.layout.Manager}, p.layout.Gateways...) {
		if p.here(a.Name) {
			p.line("  %-8s %-22s %-22s %-22s %s", a.Name, a.SMTP, a.SSH, a.CPQ, a.Password)
		}
	}
	if p.here(mailboxName) {
		p.line("  %-8s %-22s files in %s", mailboxName, p.layout.Mailbox, filepath.Join(p.Dir, mailboxName, "new"))
	}
}

// others says how to start what this process does not run.
func (p *page) others() {
	p.line("\nThe rest is started, each by a process of its own, with")
	for _, name := range p.layout.names() {
		if name != p.Only {
			p.line("  %s demo --dir %s --only %s", p.Program, p.Dir, name)
		}
	}
}

func (p *page) ssh(a place, command string) {
	host, port, _ := net.SplitHostPort(a.SSH)
	p.line("  ssh -p %s %s@%s %s", port, a.User, host, command)
}

func (p *page) sending(g place) {
	p.line("\n  # mail that is delivered, and mail that a filter holds")
	p.line("  swaks --server %s --to bob@example.com --header 'Subject: hello'", g.SMTP)
	p.line("  swaks --server %s --to bob@example.com --header 'Subject: HOLDME please'", g.SMTP)
}

func (p *page) deciding(m place) {
	p.line("\n  # look at it on the manager, release one, delete another")
	for _, command := range []string{"quarantine list", "quarantine search", "quarantine show MID", "quarantine release MID", "quarantine delete MID"} {
		p.ssh(m, command)
	}
}

func (p *page) link(g, m place) {
	p.line("\n  # the link between the two sides")
	p.ssh(g, "tophosts")
	p.ssh(g, "showhosts the.cpq.host")
	p.ssh(m, `'grep "CPQ ICID" mail_logs'`)
}

// local shows the way in that needs no password.
func (p *page) local() {
	name, command := p.layout.Manager.Name, "quarantine list"
	if p.Only != "" && p.Only != name {
		name, command = p.Only, "status"
	}
	p.line("\n  # without a password, from this machine")
	p.line("  %s cli --dir %s %s", p.Program, filepath.Join(p.Dir, name), command)
}
