package demo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lazaret/internal/access"
	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// claim keeps a second demonstration out of DIR for as long as the file is
// open. Processes that run one part each (--only) share it; that no two run the
// same part is seen to by the part.
func (d *demo) claim() (*os.File, error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, errs.Wrap(errs.Invalid, err, "--dir")
	}
	f, err := os.OpenFile(filepath.Join(d.Dir, "running.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "demonstration")
	}
	how := unix.LOCK_EX
	if d.Only != "" {
		how = unix.LOCK_SH
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errs.New(errs.Conflict, "%s is in use by another demonstration", d.Dir), f.Close())
	}
	return f, nil
}

// setUp makes DIR, once: several processes may start on a new DIR at the same
// time (--only), so one does it and the others wait.
func (d *demo) setUp(ctx context.Context) error {
	lock, err := os.OpenFile(filepath.Join(d.Dir, "demo.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "demonstration")
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return errs.Wrap(errs.Internal, err, "demonstration")
	}
	path := filepath.Join(d.Dir, layoutName)
	if d.layout, err = loadLayout(path); d.layout != nil || err != nil {
		return err
	}
	return d.make(ctx, path)
}

// make builds everything anew. demo.json comes last: without it, DIR is not a
// demonstration yet, and what a broken attempt left is replaced.
func (d *demo) make(ctx context.Context, path string) (err error) {
	if d.layout, err = newLayout(path, d.PortBase); err != nil {
		return err
	}
	for _, name := range d.layout.names() {
		if err := os.RemoveAll(filepath.Join(d.Dir, name)); err != nil {
			return errs.Wrap(errs.Internal, err, "removing what an earlier attempt left")
		}
	}
	l := d.layout
	m := &l.Manager
	m.Password, err = appliance.Init(filepath.Join(d.Dir, m.Name), config.Manager, appliance.InitOptions{
		Hostname: m.Name + ".lazaret.example", SSHPort: portOf(m.SSH), CPQPort: portOf(m.CPQ), Edit: editManager,
	})
	if err != nil {
		return err
	}
	for i := range l.Gateways {
		g := &l.Gateways[i]
		g.Password, err = appliance.Init(filepath.Join(d.Dir, g.Name), config.Gateway, appliance.InitOptions{
			Hostname: g.Name + ".lazaret.example", SSHPort: portOf(g.SSH), CPQPort: portOf(g.CPQ), SMTPPort: portOf(g.SMTP), Edit: d.editGateway,
		})
		if err != nil {
			return err
		}
	}
	if err := d.pair(ctx); err != nil {
		return err
	}
	return l.save()
}

// editManager lets releases leave at once: a demonstration has nobody who
// regrets them.
func editManager(c *config.Config) { c.QuarantineRules.UndoRelease = "0" }

// editGateway makes a gateway take mail for the two domains from this machine
// and deliver it to the mailbox.
func (d *demo) editGateway(c *config.Config) {
	l := c.Listener("IncomingMail")
	l.RAT = []access.RATEntry{{Address: "example.com", Access: "ACCEPT"}, {Address: "example.org", Access: "ACCEPT"}, {Address: "ALL", Access: "REJECT"}}
	for _, domain := range []string{"example.com", "example.org"} {
		c.SMTPRoutes = append(c.SMTPRoutes, config.SMTPRoute{Domain: domain, Hosts: []string{"[127.0.0.1]:" + d.layout.Mailbox[strings.LastIndexByte(d.layout.Mailbox, ':')+1:]}})
	}
	c.Filters = strings.TrimSpace(SampleFilters)
}

// pair starts the appliances and adds both gateways to the manager, by the
// manager's own command.
func (d *demo) pair(ctx context.Context) (err error) {
	parts, err := d.start(ctx, d.layout.names()[1:])
	defer func() { err = errors.Join(err, closeAll(parts)) }()
	if err != nil {
		return err
	}
	for _, g := range d.layout.Gateways {
		if err := d.command(ctx, d.layout.Manager.Name, "applianceconfig add "+g.SSH+" "+g.User+" Y", g.Password+"\n"); err != nil {
			return err
		}
	}
	return d.command(ctx, d.layout.Manager.Name, `commit "add the gateways of the demonstration"`, "")
}

// command runs a line on an appliance over its local socket.
func (d *demo) command(ctx context.Context, name, line, input string) error {
	_, err := appliance.Command(ctx, filepath.Join(d.Dir, name), line, input)
	return err
}
