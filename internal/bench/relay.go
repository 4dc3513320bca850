package bench

import (
	"context"
	"errors"
	"time"

	"lazaret/internal/errs"
)

// Relay measures mail through a gateway: taken in durably, judged, delivered.
func Relay(ctx context.Context, o Options) error {
	r, err := o.relayed(ctx)
	if err != nil {
		return err
	}
	return r.write(o.Stdout, o.JSON)
}

func (o *Options) relayed(ctx context.Context) (r *result, err error) {
	if err := o.check(15000, 20, 4096, 3); err != nil {
		return nil, err
	}
	dir, remove, err := o.place("relay")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r = newResult("relay", o.parameters())
	if err := o.relay(ctx, dir, r); err != nil {
		return nil, err
	}
	r.close()
	if o.Peer != "" {
		r.ratio("delivered, lazaret to "+o.Peer, lazaret+" delivered", o.Peer+" delivered")
		r.ratio("CPU, "+o.Peer+" to lazaret", o.Peer+" CPU", lazaret+" CPU")
	}
	return r, nil
}

func (o *Options) parameters() map[string]any {
	p := map[string]any{"messages": o.Messages, "sessions": o.Sessions, "size": o.Size, "runs": o.Runs}
	if o.Rate > 0 {
		p["rate"] = o.Rate
	}
	if o.Stall > 0 {
		p["stall"] = o.Stall.String()
	}
	if o.Peer != "" {
		p["peer"] = o.Peer
	}
	p["load"] = "built in"
	if o.Tools {
		p["load"] = "smtp-source and smtp-sink"
	}
	return p
}

// lazaret is our name in figures, beside that of a peer.
const lazaret = "lazaret"

// subject is one mail server under load.
type subject struct {
	name   string
	addr   string
	cpu    func() time.Duration
	memory func() uint64
}

func (o *Options) relay(ctx context.Context, dir string, r *result) (err error) {
	load, sink, err := o.openLoad(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.close()) }()
	g, gw, err := o.runGateway(ctx, sub(dir, "gateway"), sink, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gw.end()) }()
	subjects := []*subject{{name: lazaret, addr: at(g.smtp), cpu: func() time.Duration { return cpu(gw.pid()) }, memory: func() uint64 { return memory(gw.pid()) }}}
	if o.Peer != "" {
		p, err := o.startPostfix(ctx, sub(dir, "postfix"), sink, false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.child.end()) }()
		subjects = append(subjects, p.subject())
	}
	for _, s := range subjects { // connections, caches and buffers as they are in the middle of a day
		if _, err := o.once(ctx, load, s, min(o.Messages, 1000)); err != nil {
			return err
		}
	}
	for n := range o.Runs {
		for _, s := range subjects {
			flush, err := flushRate(dir)
			if err != nil {
				return err
			}
			f, err := o.once(ctx, load, s, o.messages(s))
			if err != nil {
				return err
			}
			o.say("run %d of %d: %s: %.0f messages a second", n+1, o.Runs, s.name, f.delivered)
			f.note(r, s.name)
			if o.Clamd != "" && s.name == lazaret {
				if err := o.clamdAlone(ctx, r, f.delivered); err != nil {
					return err
				}
			}
			r.add("disk: flushes of 4 KiB", "/s", flush)
		}
	}
	return nil
}

// messages of one run: a slower peer gets fewer, so that both take about as long.
func (o *Options) messages(s *subject) int {
	if s.name == lazaret {
		return o.Messages
	}
	return max(o.Messages/5, min(o.Messages, 1000))
}

func (o *Options) runGateway(ctx context.Context, dir, sink, filters string) (*gatewaySite, *child, error) {
	g, err := newGateway(dir, sink, filters, o.Clamd)
	if err != nil {
		return nil, nil, err
	}
	c, err := o.startRole(ctx, "gateway", dir)
	return g, c, err
}

// relayRun is what one run gave.
type relayRun struct {
	loadAnswer
	delivered float64 // a second, from the first command to the last delivery
	accepted  float64
	cpu       float64 // seconds of the server for a thousand messages
	load      float64 // and of generator and sink together
	others    float64 // share of the machine that others took
	memory    float64 // MiB at the end
}

func (f *relayRun) note(r *result, name string) {
	r.add(name+" delivered", "messages/s", f.delivered)
	r.add(name+" accepted", "messages/s", f.accepted)
	if f.P99 > 0 { // smtp-source does not tell
		r.add(name+" final dot to 250, p50", "ms", f.P50)
		r.add(name+" final dot to 250, p99", "ms", f.P99)
		r.add(name+" final dot to 250, worst", "ms", f.Worst)
		r.add(name+" refused", "messages", float64(f.Refused))
	}
	r.add(name+" CPU", "s/1,000", f.cpu)
	r.add(name+" memory", "MiB", f.memory)
	r.add("load CPU", "s/1,000", f.load)
	r.add("others on this machine", "% of CPU", f.others*100)
}

// once sends n messages through a server and waits until all have arrived.
func (o *Options) once(ctx context.Context, l loader, s *subject, n int) (*relayRun, error) {
	ctx, cancel := bounded(ctx, n)
	defer cancel()
	cpu0, load0, busy0, began := s.cpu(), l.cpu(), busy(), time.Now()
	a, err := l.send(ctx, loadRequest{Addr: s.addr, Messages: n, Sessions: o.Sessions, Size: o.Size, Rate: o.Rate})
	if err != nil {
		return nil, errs.Context(err, "%s", s.name)
	}
	took := time.Since(began)
	used, own := s.cpu()-cpu0, l.cpu()-load0
	all := busy() - busy0
	perThousand := func(d time.Duration) float64 { return d.Seconds() / float64(n) * 1000 }
	return &relayRun{
		loadAnswer: *a, delivered: float64(n) / took.Seconds(), accepted: float64(a.Accepted) / a.Seconds, cpu: perThousand(used), load: perThousand(own),
		others: max(0, float64(all-used-own)/float64(took)/float64(cpus())), memory: float64(s.memory()) / (1 << 20),
	}, nil
}
