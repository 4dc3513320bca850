package tracking

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Finder is the first reading of a log: which messages are meant. Give it all
// lines, then take Follow.
type Finder struct {
	q     Query
	want  uint8 // bits of the conditions
	clock clock
	cands map[mail.MID]*cand
	made  map[mail.MID]mail.MID // child: what it was made from
	from  time.Time
	loose []*Message // refused before there was a number
	cut   []string
}

// cand is a message of which something fits.
type cand struct {
	at   time.Time
	bits uint8
}

const (
	bySender uint8 = 1 << iota
	byRecipient
	bySubject
	byMessageID
	byMID
)

// NewFinder makes a Finder; zone is that of lines before the first that names one.
func NewFinder(q Query, zone *time.Location) *Finder {
	f := &Finder{q: q, clock: newClock(zone), cands: map[mail.MID]*cand{}, made: map[mail.MID]mail.MID{}}
	for bit, given := range map[uint8]bool{bySender: q.Sender != "", byRecipient: q.Recipient != "", bySubject: q.Subject != "", byMessageID: q.MessageID != "", byMID: q.MID != 0} {
		if given {
			f.want |= bit
		}
	}
	return f
}

// Line takes one line, without its LF.
func (f *Finder) Line(line []byte) {
	text, ok := f.clock.split(line)
	if !ok {
		return
	}
	if f.from.IsZero() {
		f.from = f.clock.now()
	}
	e := parse(text)
	if e.mid == f.q.MID && e.mid != 0 {
		f.note(e, byMID)
	}
	switch e.kind {
	case from:
		f.check(e, bySender, inside(e.text, f.q.Sender))
	case to, toRejected:
		f.check(e, byRecipient, inside(e.text, f.q.Recipient))
	case subject:
		f.check(e, bySubject, f.want&bySubject != 0 && inside(message.DecodeHeader(e.text), f.q.Subject))
	case messageID:
		f.check(e, byMessageID, sameID(e.text, f.q.MessageID))
	case rewritten, wasSplit, copied, bounceOf:
		if e.other == f.q.MID && e.other != 0 {
			f.note(event{mid: e.other}, byMID)
		}
		f.made[e.other] = e.mid
		if len(f.made) > maxCandidates {
			prune(f.made)
		}
	case senderRejected:
		if f.want == bySender && inside(e.text, f.q.Sender) && f.q.fits(f.clock.now()) {
			e.at = f.clock.now()
			f.loose = append(f.loose, &Message{Received: e.at, Sender: e.text, Recipients: []Recipient{}, Whole: &Step{State: Refused, At: e.at, Text: "at MAIL: " + e.more}})
			if len(f.loose) > f.q.Limit {
				f.loose = f.loose[1:]
			}
		}
	}
}

func (f *Finder) check(e event, bit uint8, fits bool) {
	if f.want&bit != 0 && fits {
		f.note(e, bit)
	}
}

func (f *Finder) note(e event, bit uint8) {
	c := f.cands[e.mid]
	if c == nil {
		c = &cand{at: f.clock.now()}
		f.cands[e.mid] = c
		if len(f.cands) > maxCandidates {
			prune(f.cands)
			f.cut = []string{fmt.Sprintf("more than %d messages may fit: the oldest were left out", maxCandidates/2)}
		}
	}
	c.bits |= bit
}

// prune forgets the older half: numbers grow.
func prune[V any](m map[mail.MID]V) {
	all := make([]mail.MID, 0, len(m))
	for mid := range m {
		all = append(all, mid)
	}
	slices.Sort(all)
	for _, mid := range all[:len(all)/2] {
		delete(m, mid)
	}
}

// root gives the first number of a message.
func (f *Finder) root(mid mail.MID) mail.MID {
	for range maxDepth {
		of, ok := f.made[mid]
		if !ok {
			break
		}
		mid = of
	}
	return mid
}

// Follow ends the first reading and gives the second.
func (f *Finder) Follow() *Follower {
	at := map[mail.MID]time.Time{}
	for mid, c := range f.cands {
		if c.bits == f.want && (f.q.MID != 0 || f.q.fits(c.at)) {
			at[f.root(mid)] = c.at
		}
	}
	roots := make([]mail.MID, 0, len(at))
	for mid := range at {
		roots = append(roots, mid)
	}
	slices.SortFunc(roots, func(a, b mail.MID) int { return cmp.Compare(b, a) })
	w := &Follower{q: f.q, clock: newClock(f.clock.zone), by: map[mail.MID]*Message{}, dcids: map[uint64]string{}, icids: map[uint64]*incoming{}}
	w.answer = Answer{Version: Version, From: f.from, Cut: f.cut}
	if len(roots) > f.q.Limit {
		roots = roots[:f.q.Limit]
		w.answer.cut(fmt.Sprintf("there are more messages: these are the newest %d", f.q.Limit))
	}
	slices.Reverse(f.loose)
	w.answer.Messages = append(w.answer.Messages, f.loose...)
	f.families(w, roots)
	return w
}

// families adds the messages and all that was made from them.
func (f *Finder) families(w *Follower, roots []mail.MID) {
	children := map[mail.MID][]mail.MID{}
	for child, of := range f.made {
		children[of] = append(children[of], child)
	}
	var add func(mid, of mail.MID, depth int)
	add = func(mid, of mail.MID, depth int) {
		if w.by[mid] != nil || depth > maxDepth || len(w.by) >= maxFamily {
			return
		}
		m := &Message{MID: mid, Of: of, Recipients: []Recipient{}}
		w.by[mid] = m
		w.answer.Messages = append(w.answer.Messages, m)
		slices.Sort(children[mid])
		for _, c := range children[mid] {
			add(c, mid, depth+1)
		}
	}
	for _, mid := range roots {
		add(mid, 0, 0)
	}
}
