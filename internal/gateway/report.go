package gateway

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// reports tells the manager what became of the releases that it gave back. What
// is to be said stands in the spool (spool.Account); here is only which of it
// is news. Said again is no harm: the manager keeps the newest.
type reports struct {
	g    *Gateway
	wake chan struct{} // capacity 1: there is news
	near chan struct{} // capacity 1: the manager was heard of

	mu   sync.Mutex
	open map[mail.ActionKey]*told
	more bool // there are accounts that are not in open
}

// told is what is known of one account.
type told struct {
	news  bool
	own   whose
	aside string    // why the message was set aside
	look  time.Time // to be looked at, if it says nothing until then
	wait  time.Duration
	seen  string    // reason that was last seen
	next  time.Time // next try that was last said
}

// whose an account is: known once it was looked at.
type whose uint8

const (
	unknown whose = iota
	manager       // the manager's
	ours          // our own quarantine's, told in process
)

const (
	gather     = 200 * time.Millisecond // news that go together
	linger     = 2 * time.Second        // a connection waits for more
	firstPause = 5 * time.Second        // behind a failure; doubled
	maxPause   = 5 * time.Minute
	firstLook  = 5 * time.Second // at what waits behind a host that is down; doubled
	maxLook    = time.Minute
	maxOpen    = 100_000 // accounts in memory; the others are looked for when there is room
	share      = 100     // accounts that are said, and closed, together
)

func newReports(g *Gateway) *reports {
	return &reports{g: g, wake: make(chan struct{}, 1), near: make(chan struct{}, 1), open: map[mail.ActionKey]*told{}}
}

// changed implements spool.Options.Accounts.
func (r *reports) changed(a mail.ActionKey) { r.track(a, true) }

// track notes an account.
func (r *reports) track(a mail.ActionKey, news bool) {
	r.mu.Lock()
	t := r.open[a]
	switch {
	case t == nil && len(r.open) >= maxOpen:
		r.more = true
	case t == nil:
		t = &told{wait: firstLook, look: r.g.Steady().Add(firstLook)}
		r.open[a] = t
		fallthrough
	default:
		t.news = t.news || news
	}
	r.mu.Unlock()
	if news {
		r.poke()
	}
}

func (r *reports) poke() { signal(r.wake) }

// heard says that the manager is there.
func (r *reports) heard() { signal(r.near) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// load takes up what the spool has. What nothing was noted in since the release
// was taken is no news: the manager has the receipt.
func (r *reports) load(ctx context.Context) error {
	r.mu.Lock()
	r.more = false
	r.mu.Unlock()
	return r.g.spool.Accounts(ctx, func(a *spool.Account) error {
		r.track(a.Action, a.Seq > 1)
		return nil
	})
}

// run says what there is to say until ctx ends.
func (r *reports) run(ctx context.Context) {
	r.trouble(ctx, r.load(ctx))
	look := time.NewTicker(firstLook)
	defer look.Stop()
	pause := time.Duration(0)
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			r.trouble(ctx, r.lookAround(ctx))
			continue
		case <-r.wake:
			if retry != nil {
				r.trouble(ctx, r.tellOwn(ctx))
				continue // its time comes
			}
		case <-r.near: // a pause ends with the manager's absence
			if retry == nil {
				continue
			}
			pause = 0
		case <-retry:
		}
		retry = nil
		if r.session(ctx) == nil {
			pause = 0
			continue
		}
		pause = min(max(firstPause, 2*pause), maxPause)
		retry = time.After(pause)
	}
}

func (r *reports) trouble(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.g.Log.Fault("reports", err.Error())
	}
}

// session says all there is to say over one connection, and what comes while
// it lingers. Failures of the connection are in the log already.
func (r *reports) session(ctx context.Context) error {
	if !sleep(ctx, gather) {
		return nil
	}
	if err := r.tellOwn(ctx); err != nil {
		r.trouble(ctx, err)
		return err
	}
	if r.quiet() {
		return nil
	}
	link, err := r.g.couriers.OpenReports(ctx)
	if err != nil {
		return err
	}
	defer link.Close(ctx)
	for {
		if err := r.sayAll(ctx, link); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(linger):
			return nil
		case <-r.wake:
			if !sleep(ctx, gather) {
				return nil
			}
			r.trouble(ctx, r.tellOwn(ctx))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (r *reports) quiet() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.open {
		if t.news && t.own != ours {
			return false
		}
	}
	return true
}

// sender is the connection of a session; *delivery.Reports is one.
type sender interface {
	Known() bool
	Send(ctx context.Context, list []cpq.Report) (int, error)
}

// sayAll says all news.
func (r *reports) sayAll(ctx context.Context, link sender) error {
	for {
		if err := r.sort(); err != nil {
			return err
		}
		list, err := r.take(ctx)
		if err != nil || len(list) == 0 {
			return err
		}
		if err := r.say(ctx, link, list); err != nil {
			for _, a := range list {
				r.track(a.Action, true)
			}
			return err
		}
		if err := r.said(list); err != nil {
			return err
		}
	}
}

// take gives some accounts with news for the manager.
func (r *reports) take(ctx context.Context) (list []*spool.Account, err error) {
	keys := r.pick(manager)
	slices.Sort(keys)
	r.mu.Lock()
	more := r.more && len(r.open) < maxOpen/2
	r.mu.Unlock()
	if more {
		if err := r.load(ctx); err != nil {
			return nil, err
		}
	}
	if list, err = r.accounts(ctx, keys); err != nil {
		r.mark(keys)
	}
	return list, err
}

// damage gives only what somebody should hear of.
func damage(err error) error {
	if errs.Is(err, errs.Damaged) {
		return err
	}
	return nil
}

func (r *reports) forget(a mail.ActionKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, a)
}

// say gives accounts to the manager. An older one that knows no reports is told
// nothing, and one that refuses them for good is not asked again.
func (r *reports) say(ctx context.Context, link sender, list []*spool.Account) error {
	if !link.Known() {
		return nil
	}
	var all []cpq.Report
	for _, a := range list {
		all = append(all, r.of(a)...)
	}
	for len(all) > 0 {
		n, err := link.Send(ctx, all)
		if errs.Is(err, errs.Denied) {
			r.g.Log.Warning("CPQ: " + err.Error())
		} else if err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// said closes what the manager has the whole of.
func (r *reports) said(list []*spool.Account) error {
	var done []*spool.Account
	for _, a := range list {
		if a.Final() {
			done = append(done, a)
		}
	}
	if err := r.g.spool.CloseAccounts(done); err != nil {
		return err
	}
	for _, a := range done {
		r.forget(a.Action)
	}
	return nil
}

// of makes the reports of an account.
func (r *reports) of(a *spool.Account) (out []cpq.Report) {
	r.mu.Lock()
	aside := ""
	if t := r.open[a.Action]; t != nil {
		aside = t.aside
	}
	r.mu.Unlock()
	nth := map[mail.Address]int{}
	for i := range a.Recipients {
		to := &a.Recipients[i]
		rep := cpq.Report{Action: a.Action, ManagerMID: a.ManagerMID, GatewayMID: a.MID, Recipient: to.Address, Nth: nth[to.Address], Seq: a.Seq,
			At: to.Last, Attempts: to.Attempts, Host: to.Remote, Code: to.Code, Reply: to.Reply}
		nth[to.Address]++
		if become(&rep, a, to, aside) {
			rep.Rescanned = strings.TrimPrefix(a.Step, "rescanned: ")
			out = append(out, rep)
		}
	}
	return out
}

// become says in a report where a recipient stands; false: there is nothing to
// say yet.
func become(rep *cpq.Report, a *spool.Account, to *queue.Recipient, aside string) bool {
	taken := to.Code >= 200 && to.Code < 300
	if taken && to.State != queue.Delivered {
		rep.Code = 0 // it was another command's
	}
	switch {
	case to.State == queue.Delivered && taken && a.Again:
		rep.Fate = cpq.HeldAgain // by a quarantine: that is no delivery
	case to.State == queue.Delivered && taken:
		rep.Fate = cpq.Accepted
	case to.State == queue.Delivered:
		rep.Fate, rep.Code = cpq.Discarded, 0
	case to.State == queue.Bounced:
		rep.Fate = cpq.Bounced
	case to.State == queue.Deleted:
		rep.Fate, rep.Code, rep.Host, rep.Reply = cpq.Deleted, 0, "", "deleted from the gateway's queue by an administrator"
	case aside != "":
		rep.Fate, rep.Code, rep.Host, rep.Reply = cpq.Aside, 0, "", aside
	case to.Reply == "" && a.Step == "":
		return false
	default:
		rep.Fate, rep.Next = cpq.Waiting, to.Next
	}
	return true
}
