package access

import (
	"sync"
	"time"

	"lazaret/internal/errs"
)

// QuotaLimits are what one peer may do.
type QuotaLimits struct {
	Messages int   // a minute
	Bytes    int64 // a minute
	Open     int   // connections at a time; each has one transaction
}

// Quota counts what each proven peer does, so that one in hostile hands leaves
// the others their share (register D5). Its keys are peers that are paired:
// there are few, and none is forgotten. Safe for concurrent use.
type Quota struct {
	mu    sync.Mutex
	peers map[string]*usage
}

type usage struct {
	open     int
	start    time.Time
	messages int
	bytes    int64
}

// NewQuota makes one.
func NewQuota() *Quota { return &Quota{peers: map[string]*usage{}} }

func (q *Quota) of(peer string) *usage {
	u := q.peers[peer]
	if u == nil {
		u = &usage{}
		q.peers[peer] = u
	}
	return u
}

// Enter counts a connection, until Leave, unless there are too many.
func (q *Quota) Enter(peer string, l QuotaLimits) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(peer)
	if u.open >= l.Open {
		return errs.New(errs.Temporary, "%s has %d open transactions, which is its quota", peer, u.open)
	}
	u.open++
	return nil
}

// Leave ends what Enter counted.
func (q *Quota) Leave(peer string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.of(peer).open--
}

// Take counts a message of size bytes, unless it is beyond what is left of the
// minute. A message larger than all bytes of a minute goes when it is the first
// in one: it would wait for ever otherwise.
func (q *Quota) Take(peer string, size int64, l QuotaLimits, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(peer)
	if since := now.Sub(u.start); since >= time.Minute || since < 0 {
		u.start, u.messages, u.bytes = now, 0, 0
	}
	switch {
	case u.messages >= l.Messages:
		return errs.New(errs.Temporary, "%s has brought %d messages in this minute, which is its quota", peer, u.messages)
	case u.messages > 0 && u.bytes+size > l.Bytes:
		return errs.New(errs.Temporary, "%s has brought %d bytes in this minute; its quota is %d", peer, u.bytes, l.Bytes)
	}
	u.messages++
	u.bytes += size
	return nil
}
