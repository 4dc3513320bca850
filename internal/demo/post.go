package demo

import (
	"context"
	"sync"
)

// post is the mailbox server as a part.
type post struct {
	box    *Mailbox
	cancel context.CancelFunc
	wg     sync.WaitGroup
	failed chan error
}

func newPost(dir, addr string) (*post, error) {
	box, err := NewMailbox(dir, addr)
	if err != nil {
		return nil, err
	}
	return &post{box: box, failed: make(chan error, 1), cancel: func() {}}, nil
}

// Start implements part.
func (p *post) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wg.Go(func() {
		if err := p.box.Run(ctx); err != nil && ctx.Err() == nil {
			p.failed <- err
		}
	})
	return nil
}

// Failed implements part.
func (p *post) Failed() <-chan error { return p.failed }

// Close implements part.
func (p *post) Close() error {
	p.cancel()
	err := p.box.Close()
	p.wg.Wait()
	return err
}
