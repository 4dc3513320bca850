// Package gateway is the role at the edge: it takes mail over SMTP, judges it,
// delivers it or hands it to the manager's quarantine, and takes released mail
// back.
//
// It is wiring: the rules live in the rooms below. It promises that 250 is said
// only for what the spool holds durably (P1), that custody passes to the
// manager once and comes back once (P2), and that a manager can return only
// what this gateway gave away, unchanged, to those it was for (P4).
package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/access"
	"lazaret/internal/admin"
	"lazaret/internal/appliance"
	"lazaret/internal/appliance/pvo"
	"lazaret/internal/archive"
	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/filter"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/mtasts"
	"lazaret/internal/outbreak"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
	"lazaret/internal/senderauth"
	"lazaret/internal/spool"
	"lazaret/internal/unpack"
)

// Options of a gateway are those of any appliance.
type Options = appliance.Options

// Gateway is one gateway. Make it with New, then Run, or Start and Close.
type Gateway struct {
	*appliance.Appliance

	spool    *spool.Spool
	queue    *queue.Queue
	pipeline *pipeline.Pipeline
	rules    atomic.Pointer[rules] // of delivery, as committed
	couriers *delivery.Couriers
	policies *mtasts.Cache
	language *admin.Language

	releases  *access.Rates[string] // what each manager gives back
	alarms    *access.Rates[string] // so that no manager floods the administrators
	returning returning
	look      chan struct{} // capacity 1: look for new signatures
	examining slots         // of held mail that is scanned again
	hurried   atomic.Int64  // when hurry last did something, Unix seconds
	manager   atomic.Uint32 // which of the managers mail goes to, counted on past their number

	passes    *message.Passes // for mail that comes back
	verifier  *senderauth.Verifier
	outsiders outsiders
	kept      keptStore
	archives  *archive.Store
	reports   *reports
	shadows   *shadows
	scanner   scanner
	unpack    *unpack.Pool // opens attachments; nil: nobody does
	threats   *outbreak.Keeper
	rejudge   chan struct{} // capacity 1: there are other outbreak rules

	quarantines *pvo.Quarantines // of the gateway's own
	returns     *queue.Queue     // of what was released from them

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// maxManagers is how many managers are counted apart.
const maxManagers = 100

// New builds a gateway from its directory; no port is open yet.
func New(opt Options) (g *Gateway, err error) {
	base, err := appliance.Open(opt, config.Gateway)
	if err != nil {
		return nil, err
	}
	g = &Gateway{Appliance: base, cancel: func() {}, rejudge: make(chan struct{}, 1), releases: access.NewRates[string](maxManagers), alarms: access.NewRates[string](maxManagers),
		examining: make(slots, maxExamined), look: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			g.TellEnd(context.Background(), err)
			err = errors.Join(err, g.Close())
		}
	}()
	for _, step := range []func(Options) error{g.openPasses, g.openSpool, g.openKept, g.openUnpack, g.openOutbreak, g.openPipeline, g.openQueue, g.openQuarantines, g.openListeners, g.openLanguage} {
		if err := step(opt); err != nil {
			return g, err
		}
	}
	return g, nil
}

func (g *Gateway) openSpool(opt Options) (err error) {
	g.verifier, g.reports, g.shadows = senderauth.New(g.Resolver), newReports(g), newShadows(g)
	o := spool.Options{Dir: g.Path("spool"), Serial: g.Config.Committed().Serial, Log: g.Log, Clock: g.Now, OnFatal: g.Fatal, Disk: g.Watch("spool"), MemTable: opt.Memory.Buffer(), Stall: opt.Stall, Accounts: g.reports.changed, MaxShadows: maxShadowBytes}
	if opt.Check {
		o.FS = vfs.NewMem()
	}
	g.spool, err = spool.Open(o)
	return err
}

func (g *Gateway) openPipeline(Options) error {
	g.archives = archive.New(g.Path("archive"))
	g.pipeline = pipeline.New(pipeline.Options{
		Log: g.Log, NextMID: func() mail.MID { return g.nextMID() }, HoldAmbiguous: "Policy",
		Now: g.Now, Kind: kinds, Opener: g.opener(), Reputation: g.Reputation(), WorkQueue: func() int { return g.queue.Gauges().WorkQueue },
	})
	g.Config.Subscribe(g)
	c := g.Config.Committed()
	if err := g.Prepare(c); err != nil {
		return errs.Context(err, "%s", g.Path(appliance.ConfigName))
	}
	g.Apply(c)
	return nil
}

func (g *Gateway) openQueue(opt Options) (err error) {
	g.policies = mtasts.New(mtasts.Options{Resolver: g.Resolver, Store: g.policyStore(opt), Clock: g.Now, Warn: g.Log.Warning})
	g.couriers, err = delivery.New(delivery.Options{
		Hostname: g.Config.Committed().Hostname, DCIDs: g.State.NextDCID, Log: g.Log, Stats: g.Stats, Resolver: g.Resolver,
		Routes: g.smtpRoutes, Control: g.control, Source: g.source, Own: g.own, Locator: locator{g}, LiveTLS: g.OutboundTLS,
		Policies: g.policies, Possible: g.possible, Clock: g.Now,
	})
	if err != nil {
		return err
	}
	g.queue, err = queue.New(queue.Options{
		Store: g.spool, Processor: processor{g}, Courier: g.courier, Settings: g.destination, Log: g.Log, Stats: g.Stats, Clock: g.Steady,
		Suspended: g.State.SuspendedDelivery(), Profile: g.messageProfile, Notify: g.notify,
	})
	if err == nil {
		g.queue.SetMaxConnections(maxConnections(g.Config.Committed()))
		g.pin(g.Config.Committed())
	}
	return err
}

func (g *Gateway) openListeners(Options) error {
	g.Measure(g.queue, g.quarantines.Measure)
	return g.Listen(appliance.Sinks{SMTP: intake{g}, CPQ: custody{g}, Passes: g.passes})
}

// Start takes up what is in the spool and opens all ports.
func (g *Gateway) Start(ctx context.Context) error {
	if err := errors.Join(g.queue.Recover(ctx), g.returns.Recover(ctx)); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	for _, q := range []*queue.Queue{g.queue, g.returns} {
		g.wg.Go(func() {
			if err := q.Run(run); err != nil {
				g.Log.Fault("queue", err.Error())
			}
		})
	}
	g.wg.Go(func() { g.quarantines.Keep(run, g.returns) })
	g.wg.Go(func() { g.quarantines.WatchSignatures(run, g.ownSignatures, g.look) })
	g.wg.Go(func() { g.KeepCounters(run) })
	g.wg.Go(func() { g.KeepCertificates(run) })
	g.wg.Go(func() { g.forget(run) })
	g.wg.Go(func() { g.decideLater(run) })
	g.wg.Go(func() { g.reports.run(run) })
	g.wg.Go(func() { g.threats.Run(run) })
	g.wg.Go(func() { g.rejudgeHeld(run) })
	g.wg.Go(func() { g.shadows.run(run) })
	g.wg.Go(func() { g.watchAnalysis(run) })
	g.wg.Go(func() { g.KeepAlerts(run, g.postAlert) })
	if err := g.OpenPorts(); err != nil {
		return err
	}
	return g.OpenAdmin(g.language)
}

// Run is Start, then Close when ctx ends or something fails for good.
func (g *Gateway) Run(ctx context.Context) error {
	err := g.Start(ctx)
	if err == nil {
		g.TellReady()
		select {
		case <-ctx.Done():
		case err = <-g.Failed():
		}
	}
	g.TellEnd(ctx, err)
	return errors.Join(err, g.Close())
}

// Close ends everything. It comes back, with an error, also when the storage
// does not answer any more: the process has to end then.
func (g *Gateway) Close() error { return g.End(g.close) }

// close begins with the ports, so that nothing new comes in while the queue
// stops.
func (g *Gateway) close() error {
	var all []error
	if g.Listeners != nil {
		all = append(all, g.ClosePorts(), g.CloseAdmin())
	}
	g.cancel()
	g.wg.Wait()
	for _, q := range []*queue.Queue{g.returns, g.queue} {
		if q != nil {
			all = append(all, q.Close())
		}
	}
	if g.quarantines != nil {
		all = append(all, g.quarantines.Close())
	}
	if g.policies != nil {
		all = append(all, g.policies.Close())
	}
	g.scanner.close()
	if g.unpack != nil {
		g.unpack.Close()
	}
	if g.spool != nil {
		all = append(all, g.spool.Close())
	}
	return errors.Join(append(all, g.Appliance.Close())...)
}

// ledgerMemory is how long the ledger knows what was sent and taken: longer
// than a manager keeps anything (quarantine.MaxRetention is ten years, the
// default ten days), short of for ever.
const ledgerMemory = 11 * 366 * 24 * time.Hour

// forget drops what the ledger need not know any more, once a day.
func (g *Gateway) forget(ctx context.Context) {
	t := time.NewTicker(24 * time.Hour)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		g.forgetKept()
		if _, err := g.spool.Forget(ctx, g.Steady().Add(-ledgerMemory)); err != nil && ctx.Err() == nil {
			g.Log.Fault("ledger", err.Error())
		}
	}
}

// Prepare implements config.Subscriber.
func (g *Gateway) Prepare(next *config.Config) error {
	if _, err := newRules(next); err != nil {
		return err
	}
	return badScript(filter.Parse(next.Filters))
}

// badScript gives the error of a script with its element. The line is one of
// the script: where that is in the file depends on who wrote the file.
func badScript(_ *filter.Set, err error) error {
	var syntax *filter.SyntaxError
	if errors.As(err, &syntax) {
		return errs.New(errs.Invalid, "config/message_filters: line %d of the script, column %d: %s", syntax.Line, syntax.Column, syntax.Msg)
	}
	return errs.Context(err, "config/message_filters")
}

// Apply implements config.Subscriber.
func (g *Gateway) Apply(next *config.Config) {
	rules, err := newRules(next)
	if err != nil {
		g.Log.Fault("configuration", err.Error())
		return
	}
	settings, err := g.judging(next)
	if err != nil {
		g.Log.Fault("configuration", err.Error())
		return
	}
	if g.quarantines != nil {
		if err := g.quarantines.Apply(next); err != nil {
			g.Log.Fault("configuration", err.Error())
		}
	}
	g.rules.Store(rules)
	g.pipeline.Set(settings)
	g.configureOutbreak(next)
	signal(g.look)
	if g.queue != nil {
		g.queue.SetMaxConnections(maxConnections(next))
		g.queue.Reload()
		g.pin(next)
		g.queue.DeliverNow(queue.CPQHost) // the manager may have moved
	}
}

// pin keeps the.cpq.host in every list of hosts.
func (g *Gateway) pin(c *config.Config) {
	if c.CPQ.Enabled {
		g.queue.Pin(queue.CPQHost)
	}
}

var _ config.Subscriber = (*Gateway)(nil)

// serial is this gateway's own.
func (g *Gateway) serial() string { return g.Config.Committed().Serial }

// nextMID numbers a message.
func (g *Gateway) nextMID() mail.MID { return g.spool.NextMID() }
