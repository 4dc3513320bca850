package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/errs"
)

// holdAll has the gateway give every message to the manager.
const holdAll = `hold: if (true) {
  quarantine("Policy");
}`

// circle is a gateway paired with a manager, with a load.
type circle struct {
	o       *Options
	dir     string
	load    *pairOfParts
	manager *managerSite
	gw, mg  *child
	g       *gatewaySite
}

// openCircle starts everything. What it gives must be closed, also on an error.
func (o *Options) openCircle(ctx context.Context, dir string) (c *circle, err error) {
	c = &circle{o: o, dir: dir}
	l, sink, err := o.openLoad(ctx)
	if err != nil {
		return c, err
	}
	c.load = l.(*pairOfParts) // Circle and Release refuse --tools
	if c.manager, err = newManager(sub(dir, "manager")); err != nil {
		return c, err
	}
	if c.mg, err = o.startRole(ctx, "manager", c.manager.dir); err != nil {
		return c, err
	}
	if c.g, c.gw, err = o.runGateway(ctx, sub(dir, "gateway"), sink, holdAll); err != nil {
		return c, err
	}
	return c, c.manager.pair(ctx, c.g)
}

func (c *circle) close() error {
	err := endAll(c.gw, c.mg)
	if c.load != nil {
		err = errors.Join(err, c.load.close())
	}
	return err
}

// held gives how many messages the manager holds.
func (c *circle) held(ctx context.Context) (n int, err error) {
	text, err := appliance.Command(ctx, c.manager.dir, "quarantine list --json", "")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		var q struct {
			Messages int `json:"messages"`
		}
		if err := json.Unmarshal([]byte(line), &q); err != nil {
			return 0, errs.Wrap(errs.Internal, err, "reading the list of quarantines")
		}
		n += q.Messages
	}
	return n, nil
}

// look is the pause between two looks at the manager.
const look = 20 * time.Millisecond

// fill sends messages and waits until the manager holds that many in all.
func (c *circle) fill(ctx context.Context, messages, total int) (*loadAnswer, error) {
	a, err := c.load.only(ctx, loadRequest{Addr: at(c.g.smtp), Messages: messages, Sessions: c.o.Sessions, Size: c.o.Size, Rate: c.o.Rate})
	if err == nil && a.Refused > 0 {
		err = errs.New(errs.Temporary, "%d messages were refused: %s", a.Refused, a.Example)
	}
	for err == nil {
		var n int
		if n, err = c.held(ctx); err != nil || n >= total {
			break
		}
		err = sleep(ctx, look)
	}
	return a, err
}

// sleep pauses, or gives why the run is over.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// Circle measures mail on its way into quarantine: through a gateway, over CPQ,
// into the store of a manager, until a search finds it.
func Circle(ctx context.Context, o Options) (err error) {
	if err := o.check(5000, 20, 4096, 3); err != nil {
		return err
	}
	if o.Tools {
		return errs.New(errs.Invalid, "--tools: only relay has that")
	}
	dir, remove, err := o.place("circle")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r := newResult("circle", o.parameters())
	if err := o.circle(ctx, dir, r); err != nil {
		return err
	}
	r.close()
	if o.Peer != "" {
		r.ratio("held, lazaret to "+o.Peer+" HOLD", "held and durable", o.Peer+" HOLD accepted")
	}
	return r.write(o.Stdout, o.JSON)
}

func (o *Options) circle(ctx context.Context, dir string, r *result) (err error) {
	c, err := o.openCircle(ctx, dir)
	defer func() { err = errors.Join(err, c.close()) }()
	if err != nil {
		return err
	}
	var p *postfixSite
	if o.Peer != "" {
		if p, err = o.startPostfix(ctx, sub(dir, "postfix"), at(1), true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.child.end()) }()
	}
	warm := min(o.Messages, 500)
	if _, err := c.fill(ctx, warm, warm); err != nil {
		return err
	}
	for n := range o.Runs {
		if err := c.once(ctx, r, warm+(n+1)*o.Messages); err != nil {
			return err
		}
		o.say("run %d of %d: %.0f held a second", n+1, o.Runs, r.find("held and durable").Runs[n])
		if p != nil {
			if err := c.hold(ctx, r, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// once is one run that ends with total messages held.
func (c *circle) once(ctx context.Context, r *result, total int) error {
	n := c.o.Messages
	ctx, cancel := bounded(ctx, n)
	defer cancel()
	gw0, mg0, busy0, load0, began := cpu(c.gw.pid()), cpu(c.mg.pid()), busy(), c.load.cpu(), time.Now()
	a, err := c.fill(ctx, n, total)
	if err != nil {
		return err
	}
	took := time.Since(began)
	gw, mg, load := cpu(c.gw.pid())-gw0, cpu(c.mg.pid())-mg0, c.load.cpu()-load0
	others := float64(busy()-busy0-gw-mg-load) / float64(took) / float64(cpus())
	findable := time.Now()
	if err := c.find(ctx); err != nil {
		return err
	}
	per := func(d time.Duration) float64 { return d.Seconds() / float64(n) * 1000 }
	r.add("accepted by the gateway", "messages/s", float64(a.Accepted)/a.Seconds)
	r.add("held and durable", "messages/s", float64(n)/took.Seconds())
	r.add("final dot to 250, p99", "ms", a.P99)
	r.add("last message found after", "ms", float64(time.Since(findable).Microseconds())/1000)
	r.add("gateway CPU", "s/1,000", per(gw))
	r.add("manager CPU", "s/1,000", per(mg))
	r.add("load CPU", "s/1,000", per(load))
	r.add("gateway memory", "MiB", float64(memory(c.gw.pid()))/(1<<20))
	r.add("manager memory", "MiB", float64(memory(c.mg.pid()))/(1<<20))
	r.add("others on this machine", "% of CPU", 100*max(0, others))
	return nil
}

// find looks for the newest message with a search of the command language.
func (c *circle) find(ctx context.Context) error {
	for {
		out, err := appliance.Command(ctx, c.manager.dir, `quarantine search subject Measurement --limit 1 --json`, "")
		if err != nil {
			return err
		}
		if strings.Contains(out, `"mid"`) {
			return nil
		}
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
}

// hold gives the same mail to the hold queue of Postfix.
func (c *circle) hold(ctx context.Context, r *result, p *postfixSite) error {
	ctx, cancel := bounded(ctx, c.o.Messages)
	defer cancel()
	s := p.subject()
	before := s.cpu()
	a, err := c.load.only(ctx, loadRequest{Addr: s.addr, Messages: c.o.Messages, Sessions: c.o.Sessions, Size: c.o.Size})
	if err != nil {
		return err
	}
	if a.Refused > 0 {
		return errs.New(errs.Temporary, "%s refuses: %s", p.name, a.Example)
	}
	r.add(p.name+" HOLD accepted", "messages/s", float64(a.Accepted)/a.Seconds)
	r.add(p.name+" HOLD CPU", "s/1,000", (s.cpu()-before).Seconds()/float64(c.o.Messages)*1000)
	return nil
}

// Release measures a decision about many held messages, and their way home
// through the gateway to the sink.
func Release(ctx context.Context, o Options) (err error) {
	if err := o.check(5000, 20, 4096, 1); err != nil {
		return err
	}
	if o.Tools || o.Peer != "" {
		return errs.New(errs.Invalid, "--tools and --peer: only relay and circle have them")
	}
	dir, remove, err := o.place("release")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	r := newResult("release", o.parameters())
	if err := o.release(ctx, dir, r); err != nil {
		return err
	}
	r.close()
	return r.write(o.Stdout, o.JSON)
}

func (o *Options) release(ctx context.Context, dir string, r *result) (err error) {
	c, err := o.openCircle(ctx, dir)
	defer func() { err = errors.Join(err, c.close()) }()
	if err != nil {
		return err
	}
	for n := range o.Runs {
		run, cancel := bounded(ctx, 2*o.Messages)
		defer cancel()
		o.say("run %d of %d: holding %d messages", n+1, o.Runs, o.Messages)
		if _, err := c.fill(run, o.Messages, o.Messages); err != nil {
			return err
		}
		if err := c.let(run, r); err != nil {
			return err
		}
		o.say("run %d of %d: %.0f delivered a second", n+1, o.Runs, r.find("decided and delivered").Runs[n])
	}
	return nil
}

// perCommand is how many messages one command names: a line may have 1000 words.
const perCommand = 900

// let releases all that is held and waits until the sink has it.
func (c *circle) let(ctx context.Context, r *result) error {
	mids, err := c.mids(ctx)
	if err != nil {
		return err
	}
	if err := c.load.sink.ask(sinkRequest{Expect: len(mids)}); err != nil {
		return err
	}
	if err := c.load.sink.answer(ctx, &sinkAnswer{}); err != nil {
		return err
	}
	gw0, mg0, began, all := cpu(c.gw.pid()), cpu(c.mg.pid()), time.Now(), len(mids)
	for len(mids) > 0 {
		n := min(len(mids), perCommand)
		if _, err := appliance.Command(ctx, c.manager.dir, "quarantine release "+strings.Join(mids[:n], " "), ""); err != nil {
			return err
		}
		mids = mids[n:]
	}
	decided := time.Since(began)
	if err := c.load.sink.answer(ctx, &sinkAnswer{}); err != nil {
		return err
	}
	took := time.Since(began)
	per := func(d time.Duration) float64 { return d.Seconds() / float64(all) * 1000 }
	r.add("decided", "messages/s", float64(all)/decided.Seconds())
	r.add("decided and delivered", "messages/s", float64(all)/took.Seconds())
	r.add("gateway CPU", "s/1,000", per(cpu(c.gw.pid())-gw0))
	r.add("manager CPU", "s/1,000", per(cpu(c.mg.pid())-mg0))
	return nil
}

// mids gives the numbers of all that is held.
func (c *circle) mids(ctx context.Context) (out []string, err error) {
	text, err := appliance.Command(ctx, c.manager.dir, "quarantine search state held --json", "")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		var m struct {
			MID uint64 `json:"mid"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "reading the search")
		}
		out = append(out, strconv.FormatUint(m.MID, 10))
	}
	return out, nil
}
