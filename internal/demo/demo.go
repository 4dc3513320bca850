// Package demo runs the whole product on loopback: two gateways, a manager and
// a small mailbox server, set up and paired by the same commands that an
// administrator would use.
//
// It is not a fifth way to configure anything: it makes appliances with
// appliance.Init and talks to them over their local sockets and SMTP.
package demo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"lazaret/internal/errs"
	"lazaret/internal/gateway"
	"lazaret/internal/manager"
)

// Options of a demonstration.
type Options struct {
	Dir      string   // "": a temporary one, removed at the end
	JSON     bool     // one line of JSON on Stdout when ready, and nothing else there
	Only     string   // run this appliance of Dir alone: sma1, gw1, gw2 or mailbox
	PortBase int      // fixes the ports of a new Dir; 0: the usual ones, or free ones
	Worker   []string // what opens attachments: gateway.Options.Worker
	Program  string   // how a user calls this program, for what is suggested; "": lazaret
	Stdout   io.Writer
	Stderr   io.Writer
}

// part is one appliance, or the mailbox, while it runs.
type part interface {
	Start(ctx context.Context) error
	Close() error
	Failed() <-chan error
}

// Run sets DIR up when it is new, starts everything (or what Only names), says
// that it is ready, and stops all cleanly when ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	if o.Program == "" {
		o.Program = "lazaret"
	}
	d := &demo{Options: o, temporary: o.Dir == ""}
	if d.temporary {
		if o.Only != "" {
			return errs.New(errs.Invalid, "--only needs --dir: it runs one appliance of a directory")
		}
		if d.Dir, err = os.MkdirTemp("", "lazaret-demo"); err != nil {
			return errs.Wrap(errs.Internal, err, "temporary directory")
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.Dir)) }()
	}
	if d.Dir, err = filepath.Abs(d.Dir); err != nil {
		return errs.Wrap(errs.Invalid, err, "--dir")
	}
	lock, err := d.claim()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	return d.run(ctx)
}

// demo is one run.
type demo struct {
	Options
	layout    *layout
	temporary bool // Dir is removed at the end
}

func (d *demo) run(ctx context.Context) error {
	names := d.layout.names()
	if d.Only != "" {
		if !slices.Contains(names, d.Only) {
			return errs.New(errs.Invalid, "--only %q: there are %s", d.Only, strings.Join(names, ", "))
		}
		names = []string{d.Only}
	}
	parts, err := d.start(ctx, names)
	if err == nil {
		err = d.announce(ctx)
	}
	if err == nil {
		err = wait(ctx, parts)
	}
	return errors.Join(err, closeAll(parts))
}

// start makes and starts the named parts, the mailbox first and the gateways
// last, so that nobody meets a closed door.
func (d *demo) start(ctx context.Context, names []string) ([]part, error) {
	var parts []part
	for _, name := range names {
		p, err := d.open(name)
		if err != nil {
			return parts, errs.Context(err, "%s", name)
		}
		parts = append(parts, p)
		if err := p.Start(ctx); err != nil {
			return parts, errs.Context(err, "%s", name)
		}
	}
	return parts, nil
}

func (d *demo) open(name string) (part, error) {
	dir := filepath.Join(d.Dir, name)
	switch {
	case name == mailboxName:
		return newPost(dir, d.layout.Mailbox)
	case name == d.layout.Manager.Name:
		return manager.New(manager.Options{Dir: dir, Trouble: d.Stderr})
	}
	return gateway.New(gateway.Options{Dir: dir, Trouble: d.Stderr, Worker: d.Worker})
}

// wait returns when ctx ends, or with the error of a part that failed for good.
func wait(ctx context.Context, parts []part) error {
	failed := make(chan error, len(parts))
	for _, p := range parts {
		go func() {
			select {
			case err := <-p.Failed():
				failed <- err
			case <-ctx.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// closeAll stops all at once: a courier of one may be talking to another.
func closeAll(parts []part) error {
	all := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() { all[i] = p.Close() })
	}
	wg.Wait()
	return errors.Join(all...)
}
