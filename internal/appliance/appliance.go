// Package appliance is what gateway and manager have in common: the directory
// with its keys, the log files, the configuration with its pending changes,
// the listeners, and administration over SSH and the local socket.
//
// It knows no mail: what is received and what becomes of it is the role's. It
// promises that everything it starts ends with Close, and that a directory is
// used by one process at a time.
package appliance

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"lazaret/internal/adminssh"
	"lazaret/internal/alert"
	"lazaret/internal/appliance/metrics"
	"lazaret/internal/auth"
	"lazaret/internal/certs"
	"lazaret/internal/config"
	"lazaret/internal/disk"
	"lazaret/internal/dns"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/logs"
	"lazaret/internal/queue"
	"lazaret/internal/reputation"
	"lazaret/internal/stats"
)

// Version of the program.
const Version = "0.1.0"

// Options of an appliance.
type Options struct {
	Dir      string
	Clock    func() time.Time // nil: time.Now
	Resolver dns.Resolver     // nil: the machine's
	Trouble  io.Writer        // for what cannot go into a log; nil: nowhere
	Ready    func(string)     // told by Run, once, who is ready and where; nil: nobody
	Reread   <-chan os.Signal // each one: look at all certificate files at once; nil: none comes
	Memory   Memory           // what the process may use; zero: as much as the engines like

	// Worker is the program and its words that open attachments for a gateway
	// (docs/unpack.md); nil: nobody opens them, and filters see them closed.
	Worker []string

	OnCrash func(*os.File) error // gets the file that a crash of the process is to be written to; nil: nobody
	Status  func(error) int      // the status that the process ends with after an error, for the log; nil: 1

	// Stall makes each flush of a gateway's queue take longer: the disk of a
	// measurement. Zero, as always otherwise: it takes as long as it takes.
	Stall time.Duration

	// Check builds everything without opening a port, a database or a log file.
	Check bool
}

// Appliance is the common part of a role.
type Appliance struct {
	Dir      string
	Now      func() time.Time
	Steady   func() time.Time // for schedules and ages: no step of the clock moves it
	Config   *config.Store
	Log      *logs.Mail
	Audit    *logs.Audit
	MailLog  *logs.File // nil when checking
	Stats    *stats.Set
	State    *State
	Users    *auth.Users
	Senders  *auth.Senders // of SMTP AUTH
	Resolver dns.Resolver
	CPQ      *certs.Own     // the hidden certificate, and its successor or predecessor
	Keys     *certs.Keyring // for STARTTLS of SMTP
	HostKey  ssh.Signer
	Started  time.Time

	Listeners *listener.Group // made by Listen

	metrics *metrics.Server // made by Measure

	reputation *reputation.Service

	// Tell exchanges certificates and addresses with all peers now and says what
	// could not be told; nil on a gateway, which its manager asks.
	Tell func(ctx context.Context) []string

	opt     Options
	check   certs.Check
	met     met
	lock    *os.File
	audit   *logs.File
	ssh     *adminssh.Server
	sockets sockets
	disks   []*disk.Watch // all made before Start
	fatal   chan error
	alerts  chan alert.Alert // to be mailed; see KeepAlerts
	broken  chan struct{}    // closed by Fatal
	grace   time.Duration    // for an end after Fatal
	opened  bool
	once    sync.Once
	closers []func() error

	flushDNS func() // nil with a resolver that was given
}

// File names below the directory.
const (
	ConfigName = "config.xml"
	socketName = "admin.sock"
	keysName   = "keys"
)

// Path gives a file of the appliance.
func (a *Appliance) Path(names ...string) string {
	return filepath.Join(append([]string{a.Dir}, names...)...)
}

// SocketPath gives the local socket of the appliance in dir.
func SocketPath(dir string) string { return filepath.Join(dir, socketName) }

// Open reads everything that is in the directory. role is what it must be.
func Open(opt Options, role config.Role) (a *Appliance, err error) {
	a = &Appliance{
		Dir: opt.Dir, Now: opt.Clock, opt: opt, Stats: &stats.Set{}, fatal: make(chan error, 1), alerts: make(chan alert.Alert, maxAlerts), broken: make(chan struct{}), grace: brokenGrace,
	}
	if a.Steady = a.Now; a.Now == nil { // a given clock is moved on purpose
		a.Now, a.Steady = time.Now, queue.Steady(nil)
	}
	a.Started = a.Now()
	defer func() {
		if err != nil {
			a.TellEnd(context.Background(), err)
			err = errors.Join(err, a.Close())
		}
	}()
	committed, err := config.Load(a.Path(ConfigName))
	if err != nil {
		return a, err
	}
	if committed.Role != string(role) {
		return a, errs.New(errs.Invalid, "%s holds a %s, not a %s", opt.Dir, committed.Role, role)
	}
	for _, step := range []func(*config.Config) error{a.checkAddresses, a.takeLock, a.openLogs, a.beginLife, a.openState, a.loadKeys, a.openUsers} {
		if err := step(committed); err != nil {
			return a, err
		}
	}
	a.Config = config.NewStore(a.Path(ConfigName), committed, a.Audit, a.Now)
	a.openResolver()
	a.opened = true
	a.check = certs.Check{Own: func(trusts func(certs.Pin) bool) (tls.Certificate, error) { return a.CPQ.Pick(trusts), nil }, Peers: a.peers, Clock: a.Now, Seen: a.seen}
	return a, nil
}

// takeLock keeps a second process out.
func (a *Appliance) takeLock(*config.Config) error {
	if a.opt.Check {
		return nil
	}
	f, err := os.OpenFile(a.Path("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return errs.Wrap(errs.Internal, err, "lock file")
	}
	if err := flock(f); err != nil {
		return errors.Join(errs.New(errs.Conflict, "%s is in use by another process", a.Dir), f.Close())
	}
	a.lock = f
	return nil
}

func (a *Appliance) openLogs(c *config.Config) (err error) {
	if a.opt.Check {
		a.Log, a.Audit = logs.Discard(), logs.DiscardAudit()
		return nil
	}
	opt := logs.FileOptions{
		Dir: a.Path("log", "mail_logs"), Prefix: "mail", Version: Version, Serial: c.Serial, Clock: a.Now, Trouble: a.opt.Trouble,
		Settings: logs.FileSettings{MaxSize: c.Log.Mail.Size, MaxFiles: c.Log.Mail.MaxFiles},
	}
	if a.MailLog, err = logs.OpenFile(opt); err != nil {
		return err
	}
	a.Log = logs.NewMail(a.MailLog, a.Now)
	opt.Dir, opt.Prefix, opt.Plain = a.Path("log", "audit"), "audit", true
	if a.audit, err = logs.OpenFile(opt); err != nil {
		return err
	}
	a.Audit = logs.NewAudit(a.audit, a.Now)
	return nil
}

func (a *Appliance) openState(*config.Config) (err error) {
	if a.State, err = OpenState(a.Path("state.json")); err != nil {
		return err
	}
	a.State.fault = a.Log.Fault
	return a.State.RestoreCounters(a.Stats)
}

func (a *Appliance) loadKeys(c *config.Config) (err error) {
	if err := a.openCertificates(c); err != nil {
		return err
	}
	a.HostKey, err = adminssh.LoadKey(a.Path(keysName, "ssh_host_ed25519"))
	return err
}

func (a *Appliance) openUsers(c *config.Config) (err error) {
	if a.Users, err = auth.NewUsers(c.AuthUsers(), auth.Options{Clock: a.Now}); err != nil {
		return err
	}
	a.Senders, err = auth.NewSenders(c.AuthSenders(), a.Now)
	return err
}

func (a *Appliance) openResolver() {
	if a.Resolver = a.opt.Resolver; a.Resolver == nil {
		stub := dns.New(dns.Options{Clock: a.opt.Clock, Servers: a.dnsServers})
		a.Resolver, a.flushDNS = stub, stub.Flush
		a.Config.Subscribe(&flusher{stub: stub, last: a.dnsServers()})
		a.closers = append(a.closers, func() error { stub.Close(); return nil })
	}
}

// Fatal stops the role: the engine below can write no more. The error comes
// out of Wait.
func (a *Appliance) Fatal(err error) {
	a.once.Do(func() {
		a.fatal <- err
		close(a.broken)
		a.Log.Fault("storage", err.Error()) // last: the log may be on the same disk
	})
}

// Failed gives the channel on which a fatal error arrives.
func (a *Appliance) Failed() <-chan error { return a.fatal }

// brokenGrace is how long an end may take once Fatal was called: longer than
// sessions get to finish a message.
const brokenGrace = 20 * time.Second

// End runs the steps that close a role. An engine that has failed may never
// answer those who wait for it: then the end of the process has to free them,
// and End does not wait for it for ever.
func (a *Appliance) End(steps func() error) error {
	done := make(chan error, 1)
	go func() { done <- steps() }()
	select {
	case err := <-done:
		return err
	case <-a.broken:
	}
	t := time.NewTimer(a.grace)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errs.New(errs.Internal, "after the failure of the storage not everything could be closed in %s: the process has to end now", a.grace)
	}
}

// Close ends what Open and Listen began. The role has closed its own before.
func (a *Appliance) Close() error {
	var all []error
	if a.opened && !a.opt.Check && a.lock != nil { // else there is nothing new to save, or what there is could not be read
		a.State.settle()
		all = append(all, a.State.SaveCounters(a.Stats))
	}
	for _, f := range a.closers {
		all = append(all, f())
	}
	a.closers = nil
	if a.MailLog != nil {
		all = append(all, a.MailLog.Close())
	}
	if a.audit != nil {
		all = append(all, a.audit.Close())
	}
	if a.lock != nil {
		all = append(all, a.endLife(), a.lock.Close())
		a.lock = nil
	}
	return errors.Join(all...)
}
