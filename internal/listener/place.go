package listener

import (
	"container/list"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// place is what one connection takes up in the table of its listener.
type place struct {
	conn  net.Conn
	since time.Time // arrival, or the last message taken
	at    *list.Element

	busy atomic.Bool // content is coming, at the minimum rate or better
	gone atomic.Bool // it was closed to make room
}

// places is the table. The list has those in front that have brought no mail
// for the longest time.
type places struct {
	sync.Mutex
	list list.List // of *place
}

// looked is how many places are looked at to find one that can be had: a flood
// must not make each newcomer pay for a walk over the whole table.
const looked = 32

// enter counts a connection in. When the table is full, a connection that has
// brought no mail for longer than patience and is not bringing any now is closed for
// it (register B9): who comes to deliver finds a place however many hold theirs
// for nothing. nil: there is none to be had.
func (l *listener) enter(conn net.Conn, most int, patience time.Duration) *place {
	p := &place{conn: conn, since: l.group.opts.Clock()}
	l.places.Lock()
	defer l.places.Unlock()
	if l.places.list.Len() >= most && !l.makeRoom(p.since.Add(-patience)) {
		return nil
	}
	p.at = l.places.list.PushBack(p)
	l.count(1)
	return p
}

// makeRoom closes the first place that is idle since before then.
func (l *listener) makeRoom(then time.Time) bool {
	e := l.places.list.Front()
	for n := 0; e != nil && n < looked; e, n = e.Next(), n+1 {
		p := e.Value.(*place)
		if p.since.After(then) {
			return false // and so are all behind it
		}
		if p.busy.Load() {
			continue
		}
		p.gone.Store(true)
		l.remove(p)
		p.conn.Close() // the session reports its end
		return true
	}
	return false
}

// leave counts a connection out.
func (l *listener) leave(p *place) {
	l.places.Lock()
	defer l.places.Unlock()
	l.remove(p)
}

func (l *listener) remove(p *place) {
	if p.at == nil {
		return
	}
	l.places.list.Remove(p.at)
	p.at = nil
	l.full.Store(false)
	l.count(-1)
}

func (l *listener) count(n int64) {
	l.clients.Add(n)
	l.group.clients.Add(n)
}

// delivered puts a connection behind all others: it is of use.
func (l *listener) delivered(p *place) {
	l.places.Lock()
	defer l.places.Unlock()
	if p.at != nil {
		p.since = l.group.opts.Clock()
		l.places.list.MoveToBack(p.at)
	}
}

// hangUpAll cuts the connections that are left.
func (l *listener) hangUpAll() {
	l.places.Lock()
	defer l.places.Unlock()
	for e := l.places.list.Front(); e != nil; e = e.Next() {
		e.Value.(*place).conn.Close() // the session reports its end
	}
}

// Stressed implements smtp.Hurried: four fifths of the places are taken.
func (s *session) Stressed() bool {
	return s.listener.clients.Load()*5 >= int64(s.listener.rules.Load().MaxClients)*4
}

// stressPatience is how long a connection may bring nothing when the places
// run out.
func (r *rules) stressPatience() time.Duration {
	if r.Timeouts.Stress > 0 {
		return r.Timeouts.Stress
	}
	return 10 * time.Second
}
