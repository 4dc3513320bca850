package bench

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// pileRequest asks for messages in the spool of a gateway that does not run.
type pileRequest struct {
	Messages int `json:"messages"`
	Sessions int `json:"sessions"`
	Size     int `json:"size"`
}

// pile puts messages into a spool as a gateway keeps those whose next hop is
// down: judged, behind a destination. Then it waits to be killed, so that the
// gateway finds what a kill leaves.
func (p *part) pile(dir string) error {
	if err := p.say(ready{}); err != nil {
		return err
	}
	var r pileRequest
	if more, err := p.next(&r); !more || err != nil {
		return err
	}
	c, err := config.Load(filepath.Join(dir, "config.xml"))
	if err != nil {
		return err
	}
	s, err := spool.Open(spool.Options{Dir: filepath.Join(dir, "spool"), Serial: c.Serial, Log: quiet{}})
	if err != nil {
		return err
	}
	if err := r.fill(p.ctx, s); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := p.say(ready{}); err != nil {
		return err
	}
	<-p.ctx.Done()
	return s.Close()
}

type quiet struct{}

func (quiet) Fault(string, string) {}

// fill commits the messages, several at a time, as sessions do.
func (r *pileRequest) fill(ctx context.Context, s *spool.Spool) error {
	text := content(r.Size)
	text = text[:len(text)-len(".\r\n")]
	var wg sync.WaitGroup
	var given atomic.Int64
	failures := make([]error, r.Sessions)
	for i := range failures {
		wg.Go(func() {
			for failures[i] == nil && given.Add(1) <= int64(r.Messages) {
				failures[i] = waitingMessage(ctx, s, text)
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

// waitingMessage stores one message with all that a gateway keeps of it.
func waitingMessage(ctx context.Context, s *spool.Spool, text []byte) error {
	d, err := s.Receive(ctx, s.NextMID())
	if err != nil {
		return err
	}
	defer d.Abort() // does nothing after Commit
	if _, err := d.Write(text); err != nil {
		return err
	}
	from, to := mail.Address{Local: "alice", Domain: "sender.example"}, mail.Address{Local: "bob", Domain: "rcpt.example"}
	it := &queue.Item{State: queue.Routed, From: from, Accepted: time.Now(), Subject: "Measurement", MessageID: "<" + numberMark + "@sender.example>",
		Origin: mail.Origin{ICID: 1, Listener: "IncomingMail", Interface: "Management", RemoteIP: netip.MustParseAddr("127.0.0.1"),
			RemoteHost: "unknown", Helo: "source.sender.example", Protocol: "ESMTP", SenderGroup: "LOAD", Policy: "LOAD"}}
	it.Recipients = []queue.Recipient{{Address: to, Dest: queue.Dest{Name: to.Domain}}}
	it.Prepend = message.Received(it.Origin, "gateway.bench.example", 1, []mail.Address{to}, it.Accepted)
	return errs.Context(d.Commit(ctx, it), "storing a message that waits")
}

// pileUp has a part fill the spool of a gateway that does not run, and kills it.
func (o *Options) pileUp(ctx context.Context, dir string, r *result) error {
	o.say("putting %d messages into the queue", o.Messages)
	c, err := o.start("pile", "-dir", dir)
	if err != nil {
		return err
	}
	run, cancel := bounded(ctx, o.Messages)
	defer cancel()
	err = c.answer(run, &ready{})
	began := time.Now()
	if err == nil {
		err = c.ask(pileRequest{Messages: o.Messages, Sessions: o.Sessions, Size: o.Size})
	}
	if err == nil {
		err = c.answer(run, &ready{})
	}
	r.add("put into the queue, durable", "messages/s", float64(o.Messages)/time.Since(began).Seconds())
	if err != nil {
		return errors.Join(err, c.end())
	}
	return c.kill()
}
