package bench

import (
	"context"
	"net"
	"path/filepath"
	"strconv"

	"lazaret/internal/access"
	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/loopback"
)

// at is an address on loopback.
func at(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// openHAT lets one client send as much as it likes.
const openHAT = `
$LOAD
  ACCEPT { max_msgs_per_session = 1000000, max_concurrency = 5000 }
ALL
  $LOAD (The load generator)
`

// gatewaySite is a gateway made for a measurement.
type gatewaySite struct {
	dir, password  string
	smtp, ssh, cpq int
}

// newGateway makes a gateway that takes mail for everybody and gives it to the
// sink. Beyond where mail comes from and goes to, its configuration is what
// init makes.
func newGateway(dir, sink, filters, clamd string) (*gatewaySite, error) {
	p, err := loopback.FreePorts(3)
	if err != nil {
		return nil, err
	}
	g := &gatewaySite{dir: dir, smtp: p[0], ssh: p[1], cpq: p[2]}
	_, port, err := net.SplitHostPort(sink)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "address of the sink")
	}
	g.password, err = appliance.Init(dir, config.Gateway, appliance.InitOptions{
		Hostname: "gateway.bench.example", SMTPPort: g.smtp, SSHPort: g.ssh, CPQPort: g.cpq,
		Edit: func(c *config.Config) {
			l := c.Listener("IncomingMail")
			l.HAT, l.Backlog = openHAT, 1000
			l.RAT = []access.RATEntry{{Address: "ALL", Access: "ACCEPT"}}
			c.SMTPRoutes = []config.SMTPRoute{{Domain: "ALL", Hosts: []string{"[127.0.0.1]:" + port}}}
			c.Filters, c.Antivirus.Clamd = filters, clamd
			c.Destinations = []config.Destination{{Domain: "DEFAULT", TLS: "preferred", Messages: 1000}} // a connection is kept while there is mail
		},
	})
	return g, err
}

// profileArgs are the words that have a role write profiles.
func (o *Options) profileArgs() []string {
	if o.Profile == "" {
		return nil
	}
	return []string{"-profile", o.Profile}
}

// startRole runs an appliance and waits until it is ready.
func (o *Options) startRole(ctx context.Context, role, dir string) (*child, error) {
	args := append([]string{"-dir", dir}, o.profileArgs()...)
	if o.Stall > 0 && role == "gateway" {
		args = append(args, "-stall", o.Stall.String())
	}
	c, err := o.start(role, args...)
	if err != nil {
		return nil, err
	}
	if err := c.answer(ctx, &ready{}); err != nil {
		_ = c.end() // its words are in the error already
		return nil, err
	}
	return c, nil
}

// startSink runs a sink and gives its address.
func (o *Options) startSink(ctx context.Context, listen string) (*child, string, error) {
	c, err := o.start("sink", "-listen", listen)
	if err != nil {
		return nil, "", err
	}
	var r ready
	if err := c.answer(ctx, &r); err != nil {
		_ = c.end() // its words are in the error already
		return nil, "", err
	}
	return c, r.Addr, nil
}

// sub gives a directory of a measurement.
func sub(dir, name string) string { return filepath.Join(dir, name) }

// managerSite is a manager made for a measurement.
type managerSite struct {
	dir      string
	ssh, cpq int
}

func newManager(dir string) (*managerSite, error) {
	p, err := loopback.FreePorts(2)
	if err != nil {
		return nil, err
	}
	m := &managerSite{dir: dir, ssh: p[0], cpq: p[1]}
	_, err = appliance.Init(dir, config.Manager, appliance.InitOptions{
		Hostname: "manager.bench.example", SSHPort: m.ssh, CPQPort: m.cpq,
		Edit: func(c *config.Config) { c.QuarantineRules.UndoRelease = "0" }, // the time for second thoughts is not what is measured
	})
	return m, err
}

// pair adds a running gateway to a running manager.
func (m *managerSite) pair(ctx context.Context, g *gatewaySite) error {
	if _, err := appliance.Command(ctx, m.dir, "applianceconfig add "+at(g.ssh)+" admin Y", g.password+"\n"); err != nil {
		return err
	}
	_, err := appliance.Command(ctx, m.dir, `commit "add the gateway of the measurement"`, "")
	return err
}
