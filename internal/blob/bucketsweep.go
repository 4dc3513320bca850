package blob

import (
	"context"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// deletes are what waits to be deleted: one goroutine deletes up to a thousand
// with a request. What a crash leaves is swept.
type deletes struct {
	b    *Bucket
	mu   sync.Mutex
	all  map[object]struct{}
	work chan struct{} // there is something
	stop chan struct{}
	done chan struct{}
	once sync.Once

	ctx    context.Context // of all requests
	cancel context.CancelFunc
}

func (d *deletes) start(b *Bucket) {
	d.b, d.all = b, map[object]struct{}{}
	d.work, d.stop, d.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	d.ctx, d.cancel = context.WithCancel(context.Background())
	go d.run()
}

func (d *deletes) add(o object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= maxDeletes {
		return false
	}
	d.all[o] = struct{}{}
	select {
	case d.work <- struct{}{}:
	default:
	}
	return true
}

func (d *deletes) has(o object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.all[o]
	return ok
}

// some gives up to a thousand that wait.
func (d *deletes) some() (list []object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for o := range d.all {
		if list = append(list, o); len(list) == sweepBatch {
			break
		}
	}
	return list
}

func (d *deletes) run() {
	defer close(d.done)
	for {
		select {
		case <-d.work:
		case <-d.stop:
			return
		}
		for {
			n, err := d.batch()
			if err == nil && n > 0 {
				continue
			}
			if err == nil {
				break
			}
			d.b.opt.OnFault(errs.Context(err, "deleting content"))
			t := time.NewTimer(deleteRetry)
			select {
			case <-t.C:
			case <-d.stop:
				t.Stop()
				return
			}
		}
	}
}

func (d *deletes) batch() (int, error) {
	list := d.some()
	if len(list) == 0 {
		return 0, nil
	}
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = d.b.name(o)
	}
	if err := d.b.felt(d.b.s3.DeleteMany(d.ctx, names)); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range list {
		delete(d.all, o)
	}
	return len(list), nil
}

// end deletes what waits, if that takes not too long.
func (d *deletes) end() {
	d.once.Do(func() {
		defer d.cancel()
		defer time.AfterFunc(lastDeletes, d.cancel).Stop()
		close(d.stop)
		<-d.done
		for {
			n, err := d.batch()
			if err != nil {
				d.b.opt.OnFault(errs.Context(err, "deleting content: the sweep will"))
			}
			if n == 0 {
				return
			}
		}
	})
}

// Sweep removes content older than a day that nobody knows. known says for each
// number whether a record has it, and sees to it that a record that has it not
// never will: the comment at Bucket says why. Sweep may run at any time, on
// several managers at once.
func (b *Bucket) Sweep(ctx context.Context, known func(context.Context, []quarantine.ContentID) ([]bool, error)) (removed int, err error) {
	b.mu.Lock()
	owner := b.owner
	b.mu.Unlock()
	if owner == "" {
		return 0, errs.New(errs.Internal, "nobody said whose the bucket is")
	}
	if err := b.prove(ctx); err != nil {
		return 0, err
	}
	removed, err = b.sweepBelow(ctx, "content/", known)
	if err == nil { // trials that a crash left
		_, err = b.sweepBelow(ctx, "trial/", func(_ context.Context, ids []quarantine.ContentID) ([]bool, error) {
			return make([]bool, len(ids)), nil
		})
	}
	return removed, err
}

func (b *Bucket) sweepBelow(ctx context.Context, below string, known func(context.Context, []quarantine.ContentID) ([]bool, error)) (removed int, err error) {
	prefix, after := b.opt.Prefix+below, ""
	for {
		list, more, err := b.s3.List(ctx, prefix, after, sweepBatch)
		if err != nil {
			return removed, err
		}
		var ids []quarantine.ContentID
		for _, l := range list {
			after = l.Name
			o, err := parseID(quarantine.ContentID(strings.TrimPrefix(l.Name, prefix)), classKept)
			if err == nil && l.Age >= b.opt.Rest {
				ids = append(ids, o.id())
			}
		}
		if len(ids) > 0 {
			is, err := known(ctx, ids)
			if err != nil {
				return removed, err
			}
			var names []string
			for i, id := range ids {
				if !is[i] {
					names = append(names, prefix+string(id))
				}
			}
			if err := b.s3.DeleteMany(ctx, names); err != nil {
				return removed, err
			}
			removed += len(names)
		}
		if !more {
			return removed, nil
		}
	}
}
