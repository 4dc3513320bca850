// Package pvo is the policy, virus and outbreak quarantines of one appliance,
// as a gateway and a manager have them: where records and content are, the
// service that decides, what of it follows the configuration and the clock.
//
// It decides nothing itself (quarantine does) and moves no mail: the role says
// where released mail and copies go.
package pvo

import (
	"context"
	"errors"
	"sync"

	"lazaret/internal/admin"
	"lazaret/internal/appliance"
	"lazaret/internal/blob"
	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/store"
)

// Options of the quarantines of an appliance.
type Options struct {
	appliance.Options
	MemTable uint64              // bytes of the write buffer for content; 0: the engine's own choice
	Readers  int                 // searches at once; 0: the store's own choice
	Examiner quarantine.Examiner // scans again what is held; nil: nobody does
}

// Quarantines is all quarantines of one appliance. Make it with Open, then
// Serve, then Run; Close ends it.
type Quarantines struct {
	*quarantine.Service // made by Serve

	Contents Contents
	Store    *store.Store

	base   *appliance.Appliance
	opt    Options
	local  *blob.Store  // nil: there is none
	bucket *blob.Bucket // nil: there is none
	wg     sync.WaitGroup
}

// Open opens what is held, and makes it where there is nothing yet. Close is
// due also after an error.
func Open(base *appliance.Appliance, opt Options) (*Quarantines, error) {
	q := &Quarantines{base: base, opt: opt}
	for _, step := range []func(Options) error{q.openContents, q.openStore, q.checkContents} {
		if err := step(opt); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *Quarantines) fault(err error) { q.base.Log.Fault("storage", err.Error()) }

// Serve makes the service. What is released goes to sender, copies by copier.
func (q *Quarantines) Serve(sender quarantine.Sender, copier quarantine.Copier) error {
	settings, rules, err := read(q.base.Config.Committed())
	if err != nil {
		return err
	}
	q.Service, err = quarantine.New(quarantine.Options{
		Store: q.Store, Contents: q.Contents, Sender: sender, Copier: copier, Examiner: q.opt.Examiner, Log: q.base.Log, Audit: q.base.Audit, Settings: settings, Rules: rules,
		Clock: q.base.Now, Own: q.base.Config.Committed().Serial,
		Alert: func(text string) { q.base.Alert("quarantine", text) },
	})
	q.Store.Announce(digest(settings, rules))
	return err
}

func read(c *config.Config) ([]quarantine.Settings, quarantine.Rules, error) {
	settings, err := c.QuarantineSettings()
	if err != nil {
		return nil, quarantine.Rules{}, err
	}
	rules, err := c.Rules()
	return settings, rules, err
}

// Prepare says what is wrong with the quarantines of a configuration.
func (q *Quarantines) Prepare(next *config.Config) error {
	_, _, err := read(next)
	return err
}

// Apply puts the quarantines of a configuration in force.
func (q *Quarantines) Apply(next *config.Config) error {
	settings, rules, err := read(next)
	if err == nil {
		err = q.Configure(settings, rules)
		q.Store.Announce(digest(settings, rules))
	}
	return err
}

// Keep acts on time, takes over the releases of managers that are gone into
// the queue, and sweeps, until ctx ends.
func (q *Quarantines) Keep(ctx context.Context, releases *queue.Queue) {
	q.wg.Go(func() {
		if err := q.Run(ctx); err != nil {
			q.base.Log.Fault("quarantine", err.Error())
		}
	})
	q.wg.Go(func() {
		if err := q.Store.Releases().TakeOver(ctx, releases.Enqueue); err != nil {
			q.base.Log.Fault("queue", err.Error())
		}
	})
	q.sweep(ctx)
	q.wg.Wait()
}

// Ready refuses a message for now that there is no room for.
func (q *Quarantines) Ready(size int64) error {
	if err := q.Service.Ready(size); err != nil {
		return err
	}
	if err := q.Store.Ready(); err != nil {
		return err
	}
	return q.Contents.Ready(size)
}

// Commands gives the commands about the quarantines.
func (q *Quarantines) Commands() []admin.Command {
	return admin.Quarantines{Service: q.Service, Config: q.base.Config, Clock: q.base.Now}.Commands()
}

// Holding is how much they hold, for status.
func (q *Quarantines) Holding(ctx context.Context) (admin.Holding, error) {
	var h admin.Holding
	all, err := q.Service.Quarantines(ctx, mail.System())
	for _, l := range all {
		h.Messages += l.Messages
		h.Bytes += l.Bytes
	}
	return h, err
}

// Close closes records and content. What Keep began has ended before.
func (q *Quarantines) Close() error {
	var all []error
	if q.Store != nil {
		all = append(all, q.Store.Close())
	}
	if q.Contents != nil {
		all = append(all, q.Contents.Close())
	}
	return errors.Join(all...)
}
