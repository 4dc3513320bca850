package bench

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/errs"
	"lazaret/internal/loopback"
)

// Backlog measures a gateway whose next hop is down: what a waiting message
// costs in memory, and how long it takes to start again behind kill -9.
func Backlog(ctx context.Context, o Options) (err error) {
	if err := o.check(100_000, 50, 4096, 3); err != nil {
		return err
	}
	if o.Tools || o.Peer != "" {
		return errs.New(errs.Invalid, "--tools and --peer: only relay and circle have them")
	}
	dir, remove, err := o.place("backlog")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r := newResult("backlog", o.parameters())
	if err := o.backlog(ctx, dir, r); err != nil {
		return err
	}
	r.close()
	return r.write(o.Stdout, o.JSON)
}

func (o *Options) backlog(ctx context.Context, dir string, r *result) (err error) {
	closed, err := loopback.FreePorts(1) // where nobody listens
	if err != nil {
		return err
	}
	g, gw, err := o.runGateway(ctx, sub(dir, "gateway"), at(closed[0]), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gw.end()) }()
	idle, err := gw.settled(ctx)
	if err != nil {
		return err
	}
	r.add("memory, idle", "MiB", float64(idle)/(1<<20))
	if o.Direct {
		err, gw = gw.end(), nil
		if err == nil {
			err = o.pileUp(ctx, g.dir, r)
		}
	} else {
		err = o.pile(ctx, g, gw, r)
	}
	if err != nil {
		return err
	}
	for n := range o.Runs {
		if gw != nil {
			if err := gw.kill(); err != nil {
				return err
			}
		}
		began := time.Now()
		if gw, err = o.startRole(ctx, "gateway", g.dir); err != nil {
			return err
		}
		r.add("start after kill -9", "s", time.Since(began).Seconds())
		r.add("CPU of the start", "s", cpu(gw.pid()).Seconds())
		if err := all(ctx, g.dir, o.Messages); err != nil {
			return err
		}
		o.say("start %d of %d: %.2f s", n+1, o.Runs, r.find("start after kill -9").Runs[n])
	}
	again, err := gw.settled(ctx)
	if err != nil {
		return err
	}
	r.add("memory, full, after a start", "MiB", float64(again)/(1<<20))
	r.add("memory of one message, after a start", "bytes", (float64(again)-float64(idle))/float64(o.Messages))
	return nil
}

// pile sends the messages that will wait, and looks at the memory they take.
func (o *Options) pile(ctx context.Context, g *gatewaySite, gw *child, r *result) error {
	if err := o.sendPile(ctx, g, r); err != nil {
		return err
	}
	full, err := gw.settled(ctx)
	if err != nil {
		return err
	}
	r.add("memory, full", "MiB", float64(full)/(1<<20))
	return nil
}

func (o *Options) sendPile(ctx context.Context, g *gatewaySite, r *result) (err error) {
	source, err := o.start("source")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.end()) }()
	if err := source.answer(ctx, &ready{}); err != nil {
		return err
	}
	o.say("sending %d messages that will wait", o.Messages)
	run, cancel := bounded(ctx, o.Messages)
	defer cancel()
	if err := source.ask(loadRequest{Addr: at(g.smtp), Messages: o.Messages, Sessions: o.Sessions, Size: o.Size}); err != nil {
		return err
	}
	var a loadAnswer
	if err := source.answer(run, &a); err != nil {
		return err
	}
	if a.Refused > 0 {
		return errs.New(errs.Temporary, "%d messages were refused: %s", a.Refused, a.Example)
	}
	r.add("accepted", "messages/s", float64(a.Accepted)/a.Seconds)
	for {
		n, err := waiting(run, g.dir)
		if err != nil || n >= o.Messages {
			return err
		}
		if err := sleep(run, look); err != nil {
			return err
		}
	}
}

// waiting gives how many messages wait in the queue of a gateway, judged or
// not. Those that move between the two while it looks are counted once or not.
func waiting(ctx context.Context, dir string) (n int, err error) {
	text, err := appliance.Command(ctx, dir, "status", "")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		for _, name := range []string{"Active Recipients", "Messages In Work Queue"} {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				v, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(rest), ",", ""))
				if err != nil {
					return 0, errs.Wrap(errs.Internal, err, "reading the status")
				}
				n += v
			}
		}
	}
	return n, nil
}

// all waits until a number of messages is in the queue; an error when it is not
// reached in a time in which all of them could be judged again.
func all(ctx context.Context, dir string, want int) error {
	ctx, cancel := bounded(ctx, want/100)
	defer cancel()
	for {
		n, err := waiting(ctx, dir)
		if err != nil || n == want {
			return err
		}
		if sleep(ctx, look) != nil {
			return errs.New(errs.Damaged, "%d messages were accepted, %d are in the queue after kill -9", want, n)
		}
	}
}

// settled gives the memory of a role, with what it does not need any more collected.
func (c *child) settled(ctx context.Context) (uint64, error) {
	if err := c.ask(map[string]int{"gc": 1}); err != nil {
		return 0, err
	}
	if err := c.answer(ctx, &ready{}); err != nil {
		return 0, err
	}
	return memory(c.pid()), nil
}

// kill ends a part as a power cut would end it.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return errs.Wrap(errs.Internal, err, "killing %s", c.name)
	}
	_ = c.end() // its status says that it was killed
	return nil
}
