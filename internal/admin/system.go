package admin

import (
	"context"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/stats"
)

// System is what the commands about mail flow work on: one appliance.
type System struct {
	Queue     *queue.Queue
	Listeners *listener.Group
	Stats     *stats.Set
	Started   time.Time
	Clock     func() time.Time                           // nil: time.Now
	IDs       func() (mail.MID, mail.ICID, mail.DCID)    // the last ones given
	Space     func() (used, free int64)                  // bytes of the queue's disk; nil: unknown
	Troubles  func() []string                            // what is wrong with the storage; nil: unknown
	Held      func(ctx context.Context) (Holding, error) // nil: no quarantines here
	Note      func(text string)                          // a line of mail_logs about receiving; nil: none
	Attention func() []string                            // what needs an administrator soon, such as certificates; nil: nothing
	// What is suspended stays so over a restart: each is durable when nil is
	// returned.
	KeepListeners func(names []string) error
	KeepDelivery  func(names []string) error
}

// Holding is how much the quarantines of an appliance hold.
type Holding struct{ Messages, Bytes int64 }

// Commands gives the commands about mail flow.
func (s System) Commands() []Command {
	if s.Clock == nil {
		s.Clock = time.Now
	}
	return append(append(append(s.viewCommands(), s.changeCommands()...), s.suspendCommands()...), Diagnostic())
}

// stamp writes a time as the commands show it.
func stamp(t time.Time) string { return t.Format("Mon Jan _2 15:04:05 2006 MST") }

// ago writes a duration in its two largest units: 12 mins 5 secs.
func ago(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	units := []struct {
		n    int64
		name string
	}{{s / 86400, "day"}, {s / 3600 % 24, "hour"}, {s / 60 % 60, "min"}, {s % 60, "sec"}}
	var parts []string
	for _, u := range units {
		if len(parts) == 2 {
			break
		}
		if u.n == 0 && (len(parts) == 0 && u.name != "sec") {
			continue
		}
		if u.n == 0 && len(parts) == 1 {
			break
		}
		name := u.name
		if u.n != 1 {
			name += "s"
		}
		parts = append(parts, strconv.FormatInt(u.n, 10)+" "+name)
	}
	return strings.Join(parts, " ")
}

// span writes a duration as in the status header: 1d 2h 3m 4s.
func span(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	f := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch {
	case s >= 86400:
		return f(s/86400) + "d " + f(s/3600%24) + "h " + f(s/60%60) + "m " + f(s%60) + "s"
	case s >= 3600:
		return f(s/3600) + "h " + f(s/60%60) + "m " + f(s%60) + "s"
	case s >= 60:
		return f(s/60) + "m " + f(s%60) + "s"
	}
	return f(s) + "s"
}

// comma writes a number with commas between thousands.
func comma[T int | int64 | uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}
