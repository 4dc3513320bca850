package delivery

import (
	"context"
	"strings"
	"sync"
	"time"

	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// upcoming is a message that was taken while the one before it waited for its
// answer.
type upcoming struct {
	task  *queue.Task
	first *attempt // ready, and perhaps its envelope is on its way; nil: not even begun
}

// ahead takes the message that follows on a connection, if one is due, and gives
// what its envelope is made of.
func (c *courier) ahead(ctx context.Context, l *link) *smtp.Transaction {
	if l.carried+1 >= l.messages || !l.cpq && c.shy.is(l.peer, c.opt.Clock()) {
		return nil
	}
	task, ok := c.feed.More(ctx)
	if !ok {
		return nil
	}
	c.opt.Log.DeliveryStart(l.dcid, task.Item.MID, rids(task.Recipients), l.cpq)
	c.next = &upcoming{task: task}
	a, err := c.attempt(l, task, 0)
	if err != nil {
		return nil // when its turn comes it fails once more, and is told
	}
	c.next.first = a
	return &a.tx
}

// drop leaves a message that was taken and not begun to the queue, which takes it
// back when the run ends.
func (c *courier) drop() {
	if c.next != nil && c.next.first != nil {
		c.next.first.close()
	}
	c.next = nil
}

// misled reports whether a host seems to have stumbled over an envelope that left
// behind the dot of the message before: RFC 2920 allows it, and not every server
// knows. What such a host says of the message is not believed.
func misled(res *smtp.Result, err error) bool {
	r := res.Mail
	switch r.Code {
	case 0:
		return err != nil
	case 500, 502, 503, 554:
		return true
	}
	return r.Permanent() && strings.HasPrefix(r.Status, "5.5.")
}

// shy knows the hosts to which nothing is sent ahead for a while.
type shy struct {
	mu    sync.Mutex
	hosts map[string]time.Time
}

const (
	shyFor  = 24 * time.Hour
	maxShy  = 1000 // with more, the one that comes first out of the map is forgotten
	shyNote = "hears no envelope before the answer to the message before, for a day: it ended the connection or spoke of errors in the protocol"
)

// note remembers a host; false when it was known.
func (s *shy) note(host string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.hosts[host]) {
		return false
	}
	for h := range s.hosts {
		if len(s.hosts) < maxShy {
			break
		}
		delete(s.hosts, h)
	}
	if s.hosts == nil {
		s.hosts = make(map[string]time.Time)
	}
	s.hosts[host] = now.Add(shyFor)
	return true
}

func (s *shy) is(host string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.hosts[host])
}
