package history

import (
	"fmt"
	"io"
	"sort"
)

// Violation is one thing that must not be.
type Violation struct {
	Class Class
	Key   string
	Text  string
}

// Class is one row of the table.
type Class int

// The classes. None of them is allowed to happen.
const (
	Lost         Class = iota // 250 seen, and no end of it is known
	DuplicatedIn              // one message twice in a manager
	ReleasedTwice
	DuplicatedOut // twice at a foreign host without a fault in that transaction
	Resurrected   // delivered or visible after a confirmed delete
	Unexpected    // at a sink or in a quarantine, and nobody sent it there
	Altered       // content differs outside of added header lines
	BouncedEarly  // failed for good, and nobody had refused it for good
	Misrouted     // recipients or sender differ from the accepted ones
	Unaccounted   // the mail logs do not tell the whole way
	classes
)

var classNames = [classes]string{"lost", "duplicated-in", "released-twice", "duplicated-out", "resurrected", "unexpected", "altered", "bounced early", "misrouted", "unaccounted log"}

func (c Class) String() string { return classNames[c] }

// Report is what Check found.
type Report struct {
	Violations []Violation

	Acked, Refused, Unknown           int
	Recovered                         int // unknown, and it came through: allowed
	Repeated                          int // copies that faults allow
	Arrivals, Held, Released, Deleted int
	Bounced, Queued, Aside            int
	Kills, Faults                     int
	LogLines                          int
	LostLines                         int // messages whose last lines a kill took
}

func (r *Report) add(c Class, key, format string, args ...any) {
	r.Violations = append(r.Violations, Violation{c, key, fmt.Sprintf(format, args...)})
}

// Counts gives the number of violations of each class.
func (r *Report) Counts() map[Class]int {
	n := map[Class]int{}
	for _, v := range r.Violations {
		n[v.Class]++
	}
	return n
}

// Write prints the table and the first of each class.
func (r *Report) Write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "messages: %d acknowledged, %d refused, %d unknown of which %d came through\n"+
		"arrivals: %d, of which %d repeated by a fault in their transaction\n"+
		"manager: %d records, %d released, %d deleted; bounced %d, still queued %d, set aside %d\n"+
		"faults: %d kills, %d others; log lines: %d; messages whose last lines a kill took: %d\n\n",
		r.Acked, r.Refused, r.Unknown, r.Recovered, r.Arrivals, r.Repeated, r.Held, r.Released, r.Deleted, r.Bounced, r.Queued, r.Aside,
		r.Kills, r.Faults, r.LogLines, r.LostLines)
	if err != nil {
		return err
	}
	counts := r.Counts()
	for c := range classes {
		if _, err := fmt.Fprintf(w, "%-16s %d\n", c, counts[c]); err != nil {
			return err
		}
	}
	shown := map[Class]int{}
	sort.SliceStable(r.Violations, func(i, j int) bool { return r.Violations[i].Class < r.Violations[j].Class })
	for _, v := range r.Violations {
		if shown[v.Class]++; shown[v.Class] > 10 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s: %s\n", v.Class, v.Key, v.Text); err != nil {
			return err
		}
	}
	return nil
}
