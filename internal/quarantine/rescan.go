package quarantine

import (
	"context"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Examiner asks the engines of the gateway that a message came from what they
// say of it now. It changes nothing, here or there; an error says that nothing
// was found out.
type Examiner interface {
	Examine(ctx context.Context, r *Record, open func() (io.ReadCloser, error)) (mail.Finding, error)
}

// Limits of a re-scan.
const (
	rescanAtOnce   = 4         // messages of one call
	MaxRescanned   = 100 << 20 // bytes of a message
	rescanPatience = 15 * time.Minute
)

// Rescanned is the result of a re-scan.
type Rescanned struct {
	Found    []Found // those that were scanned, as they were asked for
	Missed   []Missed
	Released int        // of those found, let go from a quarantine at least
	Decision DecisionID // of the release, for undo; 0: nothing to take back
	Until    time.Time  // when that ends
}

// Found is what was found about one message.
type Found struct {
	MID mail.MID
	mail.Finding
}

// Rescan has held messages scanned again by the gateways that they came from.
// Those found harmless leave the quarantines that are set to let them
// (Settings.ReleaseClean) and in which the principal may work; with a
// name, that quarantine only. Whatever fails leaves a message as it is.
//
// It is the way for all who judge held mail again: by hand, after an update of
// signatures, on new rules.
func (s *Service) Rescan(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string) (out Rescanned, err error) {
	what := "quarantine rescan"
	if quarantine != "" {
		quarantine = s.named(quarantine)
		what += ` in "` + quarantine + `"`
	}
	if err := s.entitled(p, what, quarantine); err != nil {
		return out, err
	}
	if s.opt.Examiner == nil {
		return out, errs.New(errs.Invalid, "nothing can be scanned again from here")
	}
	mids = unique(mids)
	found, why := s.examineAll(ctx, p, mids, quarantine)
	var harmless []mail.MID
	var ruled []Verdict
	for i, mid := range mids {
		if why[i].Why != "" {
			out.Missed = append(out.Missed, why[i])
			continue
		}
		out.Found = append(out.Found, Found{mid, found[i]})
		if found[i].Harmless {
			harmless = append(harmless, mid)
		}
		if rule := found[i].Rule(); rule != "" {
			ruled = append(ruled, Verdict{MID: mid, Known: true, Rule: rule})
		}
	}
	// What an outbreak rule holds has that reason, whoever found it out.
	if err = s.judged(ctx, ruled, "", new(Rejudged)); err == nil {
		err = s.letClean(ctx, p, harmless, quarantine, &out)
	}
	if err == nil {
		err = ctx.Err()
	}
	s.opt.Audit.Record(p, what, strconv.Itoa(len(out.Found))+" of "+strconv.Itoa(len(mids))+" scanned, "+strconv.Itoa(out.Released)+" released")
	return out, err
}

// examineAll asks about each message, a few at a time. why says for each that
// was not scanned what kept it from it.
func (s *Service) examineAll(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string) (found []mail.Finding, why []Missed) {
	found, why = make([]mail.Finding, len(mids)), make([]Missed, len(mids))
	var wg sync.WaitGroup
	slots := make(chan struct{}, rescanAtOnce)
	for i, mid := range mids {
		slots <- struct{}{}
		if ctx.Err() != nil {
			<-slots
			why[i] = Missed{MID: mid, Why: "not scanned: ended before"}
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			var err error
			if found[i], err = s.examine(ctx, p, mid, quarantine); err != nil {
				k := errs.KindOf(err)
				why[i] = Missed{MID: mid, Why: errs.Public(err), Final: k == errs.Invalid || k == errs.Denied || k == errs.NotFound}
			} else {
				s.opt.Log.ScannedAgain(mid, found[i].Text)
			}
		})
	}
	wg.Wait()
	return found, why
}

// examine asks about one message, which nobody else asks about meanwhile.
func (s *Service) examine(ctx context.Context, p mail.Principal, mid mail.MID, quarantine string) (f mail.Finding, err error) {
	if _, busy := s.scanning.LoadOrStore(mid, true); busy {
		return f, errs.New(errs.Conflict, "message %s is being scanned again already", mid)
	}
	defer s.scanning.Delete(mid)
	r, _, err := s.visible(ctx, p, mid)
	if err != nil {
		return f, err
	}
	switch {
	case r.State != Held:
		return f, errs.New(errs.Conflict, "message %s is %s", mid, r.State)
	case quarantine != "" && !slices.ContainsFunc(r.Memberships, func(m Membership) bool { return m.State == In && m.Quarantine == quarantine }):
		return f, errs.New(errs.Conflict, "message %s is not in quarantine %q", mid, clip(quarantine))
	case r.Size > MaxRescanned:
		return f, errs.New(errs.Conflict, "message %s is larger than what is scanned again (%d bytes)", mid, int64(MaxRescanned))
	}
	ctx, cancel := context.WithTimeout(ctx, rescanPatience)
	defer cancel()
	return s.opt.Examiner.Examine(ctx, r, func() (io.ReadCloser, error) { return s.opt.Contents.Open(ctx, r.Content) })
}

// letClean releases what is harmless from where that is set.
func (s *Service) letClean(ctx context.Context, p mail.Principal, mids []mail.MID, quarantine string, out *Rescanned) error {
	if len(mids) == 0 {
		return nil
	}
	all := s.may(p)
	may := func(name string) bool {
		q, ok := s.setting(name)
		return ok && q.ReleaseClean && all(name)
	}
	d := &decision{action: Release, quarantine: quarantine, may: may, cause: FoundClean, by: p.Name, at: s.stamp(), rules: s.rules()}
	var err error
	d.id, err = s.opt.Store.Decide(ctx, Decision{Action: Release, Quarantine: quarantine, By: p.Name, From: p.From, At: d.at})
	if err != nil {
		return err
	}
	o, err := s.act(ctx, mids, party{p: p, may: may}, d, nil)
	out.Released = o.Count
	if wait := d.rules.wait(false); wait > 0 && o.Count > 0 {
		out.Decision, out.Until = d.id, d.at.Add(wait)
	}
	return err
}
