package manager

import (
	"context"
	"io"
	"sync"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
	"lazaret/internal/store"
)

// outbox is the store of the manager's queue: releases, which are rows of the
// database, and beside them mail of the manager's own, alerts and copies, in a
// spool like that of a gateway. So both are one queue to people and commands.
type outbox struct {
	releases *store.Releases
	own      *spool.Spool

	mu   sync.Mutex
	mids map[mail.MID]struct{} // of own
}

var _ queue.Store = (*outbox)(nil)

func (o *outbox) add(mid mail.MID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mids[mid] = struct{}{}
}

func (o *outbox) remove(mid mail.MID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mids, mid)
}

func (o *outbox) isOwn(mid mail.MID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.mids[mid]
	return ok
}

// of gives the store that has a message.
func (o *outbox) of(mid mail.MID) queue.Store {
	if o.isOwn(mid) {
		return o.own
	}
	return o.releases
}

// Scan implements queue.Store.
func (o *outbox) Scan(ctx context.Context, fn func(*queue.Item) error) error {
	err := o.own.Scan(ctx, func(it *queue.Item) error {
		o.add(it.MID)
		return fn(it)
	})
	if err != nil {
		return err
	}
	return o.releases.Scan(ctx, fn)
}

// Load implements queue.Store.
func (o *outbox) Load(ctx context.Context, mid mail.MID) (*queue.Item, error) {
	return o.of(mid).Load(ctx, mid)
}

// Open implements queue.Store.
func (o *outbox) Open(ctx context.Context, mid mail.MID) (io.ReadCloser, error) {
	return o.of(mid).Open(ctx, mid)
}

// SetAside implements queue.Store.
func (o *outbox) SetAside(ctx context.Context, mid mail.MID, cause error) error {
	err := o.of(mid).SetAside(ctx, mid, cause)
	if err == nil {
		o.remove(mid)
	}
	return err
}

// Apply implements queue.Store. What an update says about messages of both
// kinds is two batches: no message is in both.
func (o *outbox) Apply(ctx context.Context, u queue.Update) error {
	own, releases := o.split(u)
	for i := range own.New {
		o.add(own.New[i].Item.MID)
	}
	syncAll := u.Durable && empty(own) && empty(releases)
	if !empty(own) || syncAll {
		if err := o.own.Apply(ctx, own); err != nil {
			for i := range own.New {
				o.remove(own.New[i].Item.MID)
			}
			return err
		}
		for _, mid := range own.Remove {
			o.remove(mid)
		}
	}
	if !empty(releases) || syncAll {
		return o.releases.Apply(ctx, releases)
	}
	return nil
}

func empty(u queue.Update) bool {
	return len(u.Save)+len(u.Remove)+len(u.Add)+len(u.New)+len(u.Receipts) == 0
}

// split parts an update by the store of each message.
func (o *outbox) split(u queue.Update) (own, releases queue.Update) {
	own.Durable, releases.Durable = u.Durable, u.Durable
	own.New, releases.Add, releases.Receipts = u.New, u.Add, u.Receipts
	for _, it := range u.Save {
		if o.isOwn(it.MID) {
			own.Save, own.Delivered = append(own.Save, it), u.Delivered
		} else {
			releases.Save, releases.Delivered = append(releases.Save, it), u.Delivered
		}
	}
	for _, mid := range u.Remove {
		if o.isOwn(mid) {
			own.Remove = append(own.Remove, mid)
		} else {
			releases.Remove = append(releases.Remove, mid)
		}
	}
	for _, it := range u.Final {
		if o.isOwn(it.MID) {
			own.Final = append(own.Final, it)
		} else {
			releases.Final = append(releases.Final, it)
		}
	}
	return own, releases
}
