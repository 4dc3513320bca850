package pipeline

import (
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"lazaret/internal/filter"
	"lazaret/internal/mail"
)

// Limits of counting: subjects and senders that are remembered, and messages
// that are known to be counted.
const (
	maxRepeats = 100_000
	maxCounted = 100_000
)

// The last hour is counted in steps of three minutes.
const (
	repeatStep  = 3 * time.Minute
	repeatSteps = 20
)

// repeats counts how often subjects and senders were seen in the last hour, for
// the rule header-repeats. It forgets at a restart. Safe for concurrent use.
type repeats struct {
	seed maphash.Seed

	mu      sync.Mutex
	seen    map[uint64]*tally
	counted [2]map[mail.MID]struct{} // of this time and of the one before: a message that is judged again counts once
}

// tally is what was seen of one text.
type tally struct {
	last  int64 // step of the last one
	steps [repeatSteps]uint32
}

func newRepeats() *repeats {
	return &repeats{seed: maphash.MakeSeed(), seen: map[uint64]*tally{}, counted: [2]map[mail.MID]struct{}{{}, {}}}
}

// note counts a message, once.
func (r *repeats) note(in *Input, what filter.Counted, now time.Time) {
	if what == (filter.Counted{}) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.counted {
		if _, known := m[in.MID]; known {
			return
		}
	}
	if len(r.counted[0]) >= maxCounted/2 {
		r.counted = [2]map[mail.MID]struct{}{{}, r.counted[0]}
	}
	r.counted[0][in.MID] = struct{}{}
	way := wayOf(in)
	if what.Subjects {
		r.add(r.key(filter.RepeatSubjects, way, in), now)
	}
	if what.Senders {
		r.add(r.key(filter.RepeatSenders, way, in), now)
	}
}

func wayOf(in *Input) filter.Way {
	if in.Origin.Relay {
		return filter.Outgoing
	}
	return filter.Incoming
}

// key gives what stands for a text of a message.
func (r *repeats) key(kind filter.QuestionKind, way filter.Way, in *Input) uint64 {
	text := in.Subject
	if kind == filter.RepeatSenders {
		text = strings.ToLower(in.Env.From.String())
	}
	return maphash.String(r.seed, string([]byte{byte(kind), byte(way)})+text)
}

func (r *repeats) add(key uint64, now time.Time) {
	step := now.UnixNano() / int64(repeatStep)
	t := r.seen[key]
	if t == nil {
		if len(r.seen) >= maxRepeats {
			r.forget(step)
		}
		t = &tally{last: step}
		r.seen[key] = t
	}
	t.forward(step)
	t.steps[uint64(t.last)%repeatSteps]++
}

// forward clears the steps that are over.
func (t *tally) forward(step int64) {
	for n := 0; t.last < step; n++ {
		if n == repeatSteps {
			t.last = step
			break
		}
		t.last++
		t.steps[uint64(t.last)%repeatSteps] = 0
	}
}

// forget makes room: what is over goes, and some of the rest.
func (r *repeats) forget(step int64) {
	for k, t := range r.seen {
		if t.last <= step-repeatSteps {
			delete(r.seen, k)
		}
	}
	for k := range r.seen {
		if len(r.seen) < maxRepeats*9/10 {
			break
		}
		delete(r.seen, k)
	}
}

// count gives how often the text of a message was seen.
func (r *repeats) count(kind filter.QuestionKind, way filter.Way, in *Input, now time.Time) (n int64) {
	step := now.UnixNano() / int64(repeatStep)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range []filter.Way{filter.Incoming, filter.Outgoing} {
		if way != filter.BothWays && way != w {
			continue
		}
		if t := r.seen[r.key(kind, w, in)]; t != nil {
			t.forward(step)
			for _, c := range t.steps {
				n += int64(c)
			}
		}
	}
	return n
}
