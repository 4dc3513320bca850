package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// announced is the contract of `demo --json`: names may be added, none changed.
type announced struct {
	Manager  running   `json:"manager"`
	Gateways []running `json:"gateways"`
	Mailbox  struct {
		SMTP    string `json:"smtp"`
		Maildir string `json:"maildir"`
		Pid     int    `json:"pid"`
	} `json:"mailbox"`
}

// running is one appliance; the pid is 0 for one that this process does not run.
type running struct {
	place
	Dir string `json:"dir"`
	Pid int    `json:"pid"`
}

// announce sends the sample mail when that was not done yet, and says where
// everything is.
func (d *demo) announce(ctx context.Context) error {
	if d.Only == "" && !d.layout.Sampled {
		if err := d.sendSamples(ctx); err != nil {
			return err
		}
		d.layout.Sampled = true
		if err := d.layout.save(); err != nil {
			return err
		}
	}
	if d.JSON {
		return d.announceJSON()
	}
	_, err := fmt.Fprint(d.Stdout, d.text())
	return err
}

func (d *demo) announceJSON() error {
	var a announced
	a.Manager = d.running(d.layout.Manager)
	for _, g := range d.layout.Gateways {
		a.Gateways = append(a.Gateways, d.running(g))
	}
	a.Mailbox.SMTP, a.Mailbox.Maildir, a.Mailbox.Pid = d.layout.Mailbox, filepath.Join(d.Dir, mailboxName), d.pid(mailboxName)
	b, err := json.Marshal(a)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "demonstration")
	}
	_, err = fmt.Fprintf(d.Stdout, "%s\n", b)
	return err
}

func (d *demo) running(p place) running {
	return running{place: p, Dir: filepath.Join(d.Dir, p.Name), Pid: d.pid(p.Name)}
}

func (d *demo) pid(name string) int {
	if d.Only != "" && d.Only != name {
		return 0
	}
	return os.Getpid()
}

// sendSamples sends the sample mail through the gateways.
func (d *demo) sendSamples(ctx context.Context) error {
	all, err := Samples()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, s := range all {
		if err := d.send(ctx, s); err != nil {
			return errs.Context(err, "sending sample %s", s.Name)
		}
	}
	return nil
}

func (d *demo) send(ctx context.Context, s Sample) error {
	from, err := mail.ParseAddress(s.From)
	if err != nil {
		return err
	}
	t := smtp.Transaction{From: from, Size: int64(len(s.Content)), Params: mail.Params{EightBit: true}, Content: strings.NewReader(string(s.Content)), Whole: true}
	for _, to := range s.To {
		a, err := mail.ParseAddress(to)
		if err != nil {
			return err
		}
		t.To = append(t.To, a)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.layout.Gateways[s.Gateway].SMTP)
	if err != nil {
		return errs.Wrap(errs.Temporary, err, "connecting")
	}
	c := smtp.NewClient(conn, smtp.ClientConfig{})
	defer func() { _ = c.Close() }() // QUIT below has ended it in order
	if r, err := c.Greet(ctx); err != nil || !r.Positive() {
		return failure(err, r)
	}
	if _, r, err := c.Hello(ctx, "sender.partner.example"); err != nil || !r.Positive() {
		return failure(err, r)
	}
	res, err := c.Send(ctx, &t)
	if err != nil || !res.Recipient(0).Positive() {
		return failure(err, res.Recipient(0))
	}
	return c.Quit(ctx)
}

// failure gives the failure: of the connection, or the peer's refusal.
func failure(err error, r smtp.Reply) error {
	if err != nil {
		return err
	}
	return r.Err()
}
