package manager

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// againEvery is how soon a gateway that could not be told is asked again.
const againEvery = 30 * time.Second

// atOnce is how many gateways are asked at the same time.
const atOnce = 8

// link keeps the gateways' and our own CPQ certificates and addresses known to
// each other: every few minutes, and at once when something has changed. Only
// the manager can log in at the gateways, never the other way, so it asks for
// both sides.
type link struct {
	m    *Manager
	kick chan struct{} // something has changed; holds one
	busy sync.Mutex    // one round at a time

	mu     sync.Mutex
	failed map[string]trouble // by serial
}

// trouble is what is wrong with the exchange with a gateway.
type trouble struct {
	why  string
	told bool
}

func newLink(m *Manager) *link {
	return &link{m: m, kick: make(chan struct{}, 1), failed: map[string]trouble{}}
}

// wake makes run look now.
func (l *link) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// run looks after the link until ctx ends.
func (l *link) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		l.round(ctx)
		wait := appliance.ExchangeEvery
		if len(l.trouble()) > 0 {
			wait = againEvery
		}
		t.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-l.kick:
		}
	}
}

// maxRounds bounds what follows one from the other: a new pin is told, the
// change, the end of the old one; each side may have a renewal of its own.
const maxRounds = 8

// round tells all gateways what is new and hears them, and again while that
// has led to something new.
func (l *link) round(ctx context.Context) {
	l.busy.Lock()
	defer l.busy.Unlock()
	for range maxRounds {
		news := l.all(ctx)
		if l.m.AdvanceRenewal(false) {
			news = true
		}
		if !news || ctx.Err() != nil {
			return
		}
	}
}

// all exchanges with each gateway, and reports whether one had news.
func (l *link) all(ctx context.Context) (news bool) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, atOnce)
	for _, a := range l.m.Config.Committed().Appliances {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			changed, err := l.one(ctx, a)
			l.note(ctx, a, err)
			mu.Lock()
			news = news || changed
			mu.Unlock()
		})
	}
	wg.Wait()
	return news
}

// one exchanges with one gateway.
func (l *link) one(ctx context.Context, a config.Appliance) (changed bool, err error) {
	at, err := l.m.reachedAt()
	if err != nil {
		return false, err
	}
	say, err := l.m.Statement(a.Serial, at.String())
	if err != nil {
		return false, err
	}
	answer, err := l.m.client.Exchange(ctx, toPeer(a), say)
	if err != nil {
		return false, err
	}
	s, err := l.m.OpenStatement(answer, a.Serial)
	if err == nil {
		err = l.m.Heard(s)
	}
	if err != nil {
		return false, errs.Context(err, "what %s says of itself", a.Name)
	}
	if appliance.SamePins(a.Pins, s) {
		return false, nil
	}
	err = l.m.Config.Update(mail.System(), "CPQ certificates of gateway "+a.Name+" ("+a.Serial+")", func(c *config.Config) error {
		i := slices.IndexFunc(c.Appliances, func(o config.Appliance) bool { return o.Serial == a.Serial })
		if i < 0 {
			return nil // removed meanwhile, here or in what is pending
		}
		c.Appliances[i].Pins = s.Pins()
		return nil
	})
	if err != nil {
		return false, err
	}
	l.m.Log.PeerPins(a.Name, a.Serial, strings.Join(s.Pins(), ", "))
	return true, nil
}

// note tells of a gateway that cannot be reached, once and not at the first
// attempt, when it may just be starting; and of one that can be again.
func (l *link) note(ctx context.Context, a config.Appliance, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was, failing := l.failed[a.Serial]
	switch {
	case err == nil:
		delete(l.failed, a.Serial)
		if was.told {
			l.m.Log.Info("CPQ certificates and addresses: gateway " + a.Name + " can be told again")
		}
	case failing && !was.told:
		l.failed[a.Serial] = trouble{why: err.Error(), told: true}
		l.m.Log.Warning("CPQ certificates and addresses: gateway " + a.Name + " cannot be told what is new here; this is tried again: " + err.Error())
	default:
		l.failed[a.Serial] = trouble{why: err.Error(), told: was.told}
	}
}

// tell is a round now, for who has changed something and waits; it says what
// could not be told.
func (l *link) tell(ctx context.Context) []string {
	l.round(ctx)
	return l.trouble()
}

// trouble gives why gateways cannot be told, for cpqconfig.
func (l *link) trouble() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.m.Config.Committed().Appliances {
		if f, ok := l.failed[a.Serial]; ok {
			lines = append(lines, "  "+a.Name+" cannot be told what is new: "+f.why)
		}
	}
	return lines
}
