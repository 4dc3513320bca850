package gateway

import (
	"context"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/spool"
)

// tellOwn tells our own quarantines what became of mail that they released, and
// finds out which news is for whom.
func (r *reports) tellOwn(ctx context.Context) error {
	if err := r.sort(); err != nil {
		return err
	}
	for {
		keys := r.pick(ours)
		if len(keys) == 0 {
			return nil
		}
		if err := r.tell(ctx, keys); err != nil {
			r.mark(keys)
			return err
		}
	}
}

// sort looks at the accounts with news of which it is not known whose they are.
func (r *reports) sort() error {
	r.mu.Lock()
	var keys []mail.ActionKey
	for k, t := range r.open {
		if t.news && t.own == unknown {
			keys = append(keys, k)
		}
	}
	r.mu.Unlock()
	for _, k := range keys {
		a, err := r.g.spool.Account(k)
		if err != nil && !errs.Is(err, errs.NotFound) && !errs.Is(err, errs.Damaged) {
			return err
		}
		own := manager // of what cannot be read, take says so
		if err == nil && a.ManagerMID == 0 {
			own = ours
		}
		r.mu.Lock()
		if t := r.open[k]; t != nil {
			t.own = own
		}
		r.mu.Unlock()
	}
	return nil
}

// pick takes some accounts with news, of one kind.
func (r *reports) pick(of whose) (keys []mail.ActionKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, t := range r.open {
		if t.news && t.own == of && len(keys) < share {
			t.news = false
			keys = append(keys, k)
		}
	}
	return keys
}

// mark says that there is news of accounts after all; nobody is woken.
func (r *reports) mark(keys []mail.ActionKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if t := r.open[k]; t != nil {
			t.news = true
		}
	}
}

// tell notes accounts in the quarantine, and closes those that are final.
func (r *reports) tell(ctx context.Context, keys []mail.ActionKey) error {
	list, err := r.accounts(ctx, keys)
	if err != nil {
		return err
	}
	var all []cpq.Report
	for _, a := range list {
		mid, err := heldAs(a.Action)
		if err != nil {
			return err
		}
		for _, rep := range r.of(a) {
			rep.ManagerMID = mid
			all = append(all, rep)
		}
	}
	if err := r.g.quarantines.Prove(ctx, r.g.serial(), all); err != nil {
		return err
	}
	return r.said(list)
}

// heldAs gives the number that a message of our own quarantines has there: that
// of its key.
func heldAs(a mail.ActionKey) (mail.MID, error) {
	_, key, err := mail.ParseActionKey(string(a))
	if err != nil {
		return 0, errs.Context(err, "account of %s", a)
	}
	_, _, mid, err := mail.ParseKey(string(key))
	return mid, err
}

// accounts gives accounts as they are on stable storage: what is said must still
// be known after a crash, or a later report would be older.
func (r *reports) accounts(ctx context.Context, keys []mail.ActionKey) (list []*spool.Account, err error) {
	for _, k := range keys {
		a, err := r.g.spool.Account(k)
		switch {
		case errs.Is(err, errs.NotFound), errs.Is(err, errs.Damaged):
			r.trouble(ctx, damage(err))
			r.forget(k)
		case err != nil:
			return nil, err
		default:
			list = append(list, a)
		}
	}
	if len(list) > 0 {
		err = r.g.spool.Settle(ctx)
	}
	return list, err
}
