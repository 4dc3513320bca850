// Package manager is the role behind the firewall: it holds what many gateways
// quarantined, lets people decide about it, and gives released mail back to
// the gateway it came from.
//
// It is wiring: the rules live in the rooms below. It promises that a message
// is stored once and durably before a gateway hears 250 (P1, P2), that a
// gateway can add its own mail and read nothing (P4), and that a release is a
// durable decision before its first byte is sent.
package manager

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/crypto/ssh"

	"lazaret/internal/access"
	"lazaret/internal/admin"
	"lazaret/internal/adminssh"
	"lazaret/internal/appliance"
	"lazaret/internal/appliance/pvo"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
	"lazaret/internal/peer"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
	"lazaret/internal/store"
)

// Options of a manager are those of any appliance.
type Options = appliance.Options

// Manager is one manager. Make it with New, then Run, or Start and Close.
type Manager struct {
	*appliance.Appliance

	pvo        *pvo.Quarantines
	contents   pvo.Contents // of pvo, like the two below
	store      *store.Store
	quarantine *quarantine.Service
	outbox     *outbox
	routes     atomic.Pointer[delivery.Routes]
	queue      *queue.Queue
	client     *peer.Client
	couriers   *delivery.Couriers
	rescans    rescans
	look       chan struct{} // capacity 1: look for new signatures
	clientKey  ssh.Signer
	language   *admin.Language
	link       *link
	quota      *access.Quota         // what each gateway brings
	alarms     *access.Rates[string] // so that no gateway floods the administrators
	reports    *access.Rates[string] // blocks of reports, by gateway
	records    string                // name of the database, where others may work on it

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// maxAlarms is how many gateways have an alarm of their own.
const maxAlarms = 10_000

// New builds a manager from its directory; no port is open yet.
func New(opt Options) (m *Manager, err error) {
	base, err := appliance.Open(opt, config.Manager)
	if err != nil {
		return nil, err
	}
	m = &Manager{Appliance: base, cancel: func() {}, quota: access.NewQuota(), alarms: access.NewRates[string](maxAlarms), reports: access.NewRates[string](maxAlarms), look: make(chan struct{}, 1)}
	m.rescans.m = m
	defer func() {
		if err != nil {
			m.TellEnd(context.Background(), err)
			err = errors.Join(err, m.Close())
		}
	}()
	for _, step := range []func(Options) error{m.openStore, m.openClient, m.openOutbox, m.openQueue, m.openQuarantine, m.openListeners, m.openLanguage} {
		if err := step(opt); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m *Manager) openStore(opt Options) (err error) {
	m.pvo, err = pvo.Open(m.Appliance, pvo.Options{Options: opt, MemTable: opt.Memory.Buffer(), Examiner: &m.rescans})
	m.contents, m.store = m.pvo.Contents, m.pvo.Store
	return err
}

func (m *Manager) openClient(Options) (err error) {
	if m.clientKey, err = adminssh.LoadKey(m.Path("keys", appliance.ClientKey)); err != nil {
		return err
	}
	m.client = peer.NewClient(peer.ClientOptions{Key: m.clientKey, Fault: m.Log.Fault})
	m.link = newLink(m)
	m.Tell = m.link.tell
	return nil
}

func (m *Manager) openOutbox(opt Options) error {
	o := spool.Options{Dir: m.Path("outbox"), Serial: m.Config.Committed().Serial, Log: m.Log, Clock: m.Now, OnFatal: m.Fatal, Disk: m.Watch("outbox"), MemTable: opt.Memory.Buffer()}
	if opt.Check {
		o.FS = vfs.NewMem()
	}
	own, err := spool.Open(o)
	m.outbox = &outbox{releases: m.store.Releases(), own: own, mids: map[mail.MID]struct{}{}}
	return err
}

func (m *Manager) openQueue(Options) error {
	if err := m.setRoutes(m.Config.Committed()); err != nil {
		return err
	}
	var err error
	m.couriers, err = delivery.New(delivery.Options{
		Hostname: m.Config.Committed().Hostname, DCIDs: m.State.NextDCID, Log: m.Log, Stats: m.Stats, Resolver: m.Resolver, Locator: locator{m},
		Routes: m.smtpRoutes, Control: control, Source: m.source, LiveTLS: m.OutboundTLS, Clock: m.Now,
	})
	if err != nil {
		return err
	}
	m.queue, err = queue.New(queue.Options{
		Store: m.outbox, Notify: m.notify, Processor: pvo.Home{}, Courier: m.couriers.Courier, Log: m.Log, Stats: m.Stats, Clock: m.Steady,
		Suspended: m.State.SuspendedDelivery(),
	})
	if err == nil {
		m.queue.Pin(queue.CPQReleaseHost)
	}
	return err
}

func (m *Manager) openQuarantine(opt Options) error {
	err := m.pvo.Serve(m.queue, pvo.Copier{Base: m.Appliance, Spool: m.outbox.own, NextMID: m.NextMID, Adopt: m.adopt})
	m.quarantine = m.pvo.Service
	m.Config.Subscribe(m)
	if err == nil && m.Config.Committed().Database != (config.Database{}) && !opt.Check {
		m.records, err = m.store.Identity(context.Background())
	}
	return err
}

func (m *Manager) openListeners(Options) error {
	m.Measure(m.queue, m.pvo.Measure)
	return m.Listen(appliance.Sinks{CPQ: deposits{m}})
}

// openLanguage makes the commands of a manager.
func (m *Manager) openLanguage(Options) (err error) {
	commands := m.CommonCommands(m.queue, m.store.LastMID, m.pvo.Holding)
	commands = append(commands, m.pvo.Commands()...)
	commands = append(commands, admin.Appliances{Store: m.Config, Client: m.client, Request: m.pairRequest, Paired: m.CPQ.Paired, Fault: m.Log.Fault}.Commands()...)
	commands = append(commands, admin.Configuration{Store: m.Config, Clock: m.Now}.OwnMailCommands()...)
	commands = append(commands, admin.WhereCommands(tracker{m}, m.Now, "quarantine where")...)
	m.language, err = m.Language("Manager", commands)
	return err
}

// Start takes up the releases under way and opens all ports.
func (m *Manager) Start(ctx context.Context) error {
	if err := m.queue.Recover(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.wg.Go(func() {
		if err := m.queue.Run(run); err != nil {
			m.Log.Fault("queue", err.Error())
		}
	})
	m.wg.Go(func() { m.pvo.Keep(run, m.queue) })
	m.wg.Go(func() { m.KeepCounters(run) })
	m.wg.Go(func() { m.KeepCertificates(run) })
	m.wg.Go(func() { m.KeepAlerts(run, m.postAlert) })
	if err := m.OpenPorts(); err != nil {
		return err
	}
	m.wg.Go(func() { m.link.run(run) })
	m.wg.Go(func() { m.pvo.WatchSignatures(run, m.signatures, m.look) })
	return m.OpenAdmin(m.language)
}

// Run is Start, then Close when ctx ends or something fails for good.
func (m *Manager) Run(ctx context.Context) error {
	err := m.Start(ctx)
	if err == nil {
		m.TellReady()
		select {
		case <-ctx.Done():
		case err = <-m.Failed():
		}
	}
	m.TellEnd(ctx, err)
	return errors.Join(err, m.Close())
}

// Close ends everything. It comes back, with an error, also when the storage
// does not answer any more: the process has to end then.
func (m *Manager) Close() error { return m.End(m.close) }

// close begins with the ports.
func (m *Manager) close() error {
	var all []error
	if m.Listeners != nil {
		all = append(all, m.ClosePorts(), m.CloseAdmin())
	}
	m.cancel()
	m.wg.Wait()
	m.rescans.close()
	if m.queue != nil {
		all = append(all, m.queue.Close())
	}
	if m.outbox != nil && m.outbox.own != nil {
		all = append(all, m.outbox.own.Close())
	}
	if m.pvo != nil {
		all = append(all, m.pvo.Close())
	}
	return errors.Join(append(all, m.Appliance.Close())...)
}

// Prepare implements config.Subscriber: the configuration has been checked.
func (m *Manager) Prepare(next *config.Config) error {
	err := m.pvo.Prepare(next)
	if err == nil {
		_, err = appliance.Routes(next)
	}
	return err
}

// Apply implements config.Subscriber.
func (m *Manager) Apply(next *config.Config) {
	if err := errors.Join(m.setRoutes(next), m.pvo.Apply(next)); err != nil {
		m.Log.Fault("configuration", err.Error())
	}
	m.queue.Reload()
	m.queue.DeliverNow(queue.CPQReleaseHost) // a gateway may have been added
	select {
	case m.look <- struct{}{}: // a quarantine may be set to release what is clean
	default:
	}
	m.link.wake() // and our address may have changed
}

// cpqAddress is where the hidden listener is.
func cpqAddress(c *config.Config) netip.AddrPort {
	l := c.CPQListener()
	ip, _ := netip.ParseAddr(c.InterfaceIP(l.Interface)) // checked when it was loaded
	return netip.AddrPortFrom(ip, uint16(l.Port))
}
