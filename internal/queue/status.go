package queue

import (
	"slices"
	"strings"
	"time"

	"lazaret/internal/mail"
)

// DestStatus is what tophosts, showhosts and hoststatus show of a destination.
type DestStatus struct {
	Dest        Dest // of Destinations: the lane is empty, all lanes are added up
	State       HostState
	Suspended   bool
	Active      int // recipients waiting or in delivery
	ConnOut     int
	Delivered   uint64 // recipients, since start
	SoftBounced uint64 // events, since start
	HardBounced uint64 // recipients, since start
	OldestMID   mail.MID
	Oldest      time.Time // accepted; zero: nothing waits
	NextTry     time.Time // while down
	LastError   string
	LastErrorAt time.Time
	LastUsed    time.Time
}

// Destinations gives the status of each visible name, in order of name. A name
// with a lane that is down shows as down.
func (q *Queue) Destinations() []DestStatus {
	byName := make(map[string]*DestStatus)
	var out []*DestStatus
	for _, s := range q.statuses(func(Dest) bool { return true }) {
		name := s.Dest.Name
		if t := byName[name]; t != nil {
			t.add(s)
			continue
		}
		s.Dest.Lane = ""
		byName[name] = &s
		out = append(out, &s)
	}
	list := make([]DestStatus, len(out))
	for i, s := range out {
		list[i] = *s
	}
	return list
}

// Lanes gives the status of each link behind a name.
func (q *Queue) Lanes(name string) []DestStatus {
	return q.statuses(func(d Dest) bool { return strings.EqualFold(d.Name, name) })
}

func (q *Queue) statuses(match func(Dest) bool) []DestStatus {
	q.mu.Lock()
	var out []DestStatus
	for d, h := range q.hosts {
		if match(d) {
			out = append(out, h.status())
		}
	}
	q.mu.Unlock()
	slices.SortFunc(out, func(a, b DestStatus) int {
		if c := strings.Compare(a.Dest.Name, b.Dest.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Dest.Lane, b.Dest.Lane)
	})
	return out
}

func (h *host) status() DestStatus {
	s := DestStatus{
		Dest: h.dest, State: h.state, Suspended: h.state == Suspended, Active: h.recipients, ConnOut: len(h.feeds),
		Delivered: h.delivered, SoftBounced: h.soft, HardBounced: h.hard,
		LastError: h.lastErr, LastErrorAt: h.lastErrT, LastUsed: h.lastUsed,
	}
	if h.state == Down {
		s.NextTry = h.nextTry
	}
	for i := range h.wait.s { // numbers rise with time: the lowest is the oldest
		s.older(h.wait.s[i].mid, int64(h.wait.s[i].accepted))
	}
	for f := range h.feeds {
		for t := range f.tasks {
			s.older(t.slot.mid, int64(t.slot.accepted))
		}
	}
	return s
}

func (s *DestStatus) older(mid mail.MID, accepted int64) {
	if s.OldestMID == 0 || mid < s.OldestMID {
		s.OldestMID, s.Oldest = mid, time.Unix(accepted, 0)
	}
}

// add joins the status of another lane.
func (s *DestStatus) add(o DestStatus) {
	rank := [numHostStates]int{Unknown: 0, Up: 1, Suspended: 2, Down: 3}
	if rank[o.State] > rank[s.State] {
		s.State = o.State
	}
	s.Suspended = s.Suspended || o.Suspended
	s.Active += o.Active
	s.ConnOut += o.ConnOut
	s.Delivered += o.Delivered
	s.SoftBounced += o.SoftBounced
	s.HardBounced += o.HardBounced
	if o.OldestMID != 0 {
		s.older(o.OldestMID, o.Oldest.Unix())
	}
	if !o.NextTry.IsZero() && (s.NextTry.IsZero() || o.NextTry.Before(s.NextTry)) {
		s.NextTry = o.NextTry
	}
	if o.LastErrorAt.After(s.LastErrorAt) {
		s.LastError, s.LastErrorAt = o.LastError, o.LastErrorAt
	}
	if o.LastUsed.After(s.LastUsed) {
		s.LastUsed = o.LastUsed
	}
}

// Pin lists destinations always, even with nothing waiting.
func (q *Queue) Pin(names ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range names {
		q.host(Dest{Name: n}).pinned = true
	}
}

// Gauges are the numbers of the status command.
type Gauges struct {
	WorkQueue        int
	ActiveRecipients int // behind destinations
	Attempted        int // of these: messages that failed at least once are due later
	ConnectionsOut   int
	Held             int
	Oldest           time.Time // accepted; zero: the queue is empty
	OldestMID        mail.MID
}

// Gauges gives the numbers now.
func (q *Queue) Gauges() Gauges {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := Gauges{WorkQueue: q.work.len(), ConnectionsOut: q.runs, Held: len(q.work.held)}
	var old DestStatus
	now := q.now().UnixNano()
	for _, h := range q.hosts {
		g.ActiveRecipients += h.recipients
		s := h.status()
		if s.OldestMID != 0 {
			old.older(s.OldestMID, s.Oldest.Unix())
		}
		for i := range h.wait.s {
			if h.wait.s[i].next > now {
				g.Attempted += int(h.wait.s[i].rcpts)
			}
		}
	}
	g.Oldest, g.OldestMID = old.Oldest, old.OldestMID
	return g
}

// Oldest gives the oldest routed message; false when there is none.
func (q *Queue) Oldest() (mid mail.MID, accepted time.Time, ok bool) {
	g := q.Gauges()
	return g.OldestMID, g.Oldest, g.OldestMID != 0
}

// WorkCount is the number of messages that wait for judgement or are judged.
func (q *Queue) WorkCount() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.work.len()
}
