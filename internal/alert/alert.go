// Package alert decides which alerts administrators get by mail, and writes
// them: who wants which class from which level on, and how a repeated one is
// held back.
//
// It sends nothing and keeps nothing over a restart; each alert is in the log
// besides. It promises that one cause, however often it comes, makes at most
// one mail an interval, that the interval grows to a limit while the cause
// lasts, and that what was held back is counted in the next mail.
package alert

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Level of an alert.
type Level uint8

// The levels.
const (
	Info Level = iota
	Warning
	Critical
)

var levels = []string{"Info", "Warning", "Critical"}

// String gives the level's name.
func (l Level) String() string { return levels[min(int(l), len(levels)-1)] }

// ParseLevel reads the name of a level, in any case.
func ParseLevel(s string) (Level, error) {
	for i, name := range levels {
		if strings.EqualFold(s, name) {
			return Level(i), nil
		}
	}
	return 0, errs.New(errs.Invalid, "%q is not one of info, warning, critical", s[:min(len(s), 40)])
}

// Recipient is somebody who gets alerts.
type Recipient struct {
	Address mail.Address
	Classes []string // none: all
	From    Level    // and above
}

// Wants reports whether r gets an alert.
func (r *Recipient) Wants(class string, l Level) bool {
	if l < r.From {
		return false
	}
	for _, c := range r.Classes {
		if c == class {
			return true
		}
	}
	return len(r.Classes) == 0
}

// Alert is something that happened.
type Alert struct {
	Class  string
	Level  Level
	Text   string // one sentence of ours; may hold text from outside
	At     time.Time
	Missed int       // alike, held back since the last mail
	Since  time.Time // of the first of them
}

// maxCauses bounds what Repeats remembers; beyond it all of one class count as
// one cause.
const maxCauses = 1000

// Repeats holds repeated alerts back. Safe for concurrent use.
type Repeats struct {
	mu    sync.Mutex
	known map[string]*cause
}

type cause struct {
	last   Alert
	next   time.Time // no mail before
	gap    time.Duration
	missed int
	since  time.Time
}

// Offer takes an alert and gives it back with what was held back when it is to
// be mailed; first and most are the intervals.
func (r *Repeats) Offer(a Alert, first, most time.Duration) (Alert, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[string]*cause)
	}
	key := a.Class + " " + pattern(a.Text)
	c := r.known[key]
	if c == nil && len(r.known) >= maxCauses {
		key = a.Class
		c = r.known[key]
	}
	if c == nil {
		r.known[key] = &cause{last: a, gap: first, next: a.At.Add(first)}
		return a, true
	}
	c.last = a
	if a.At.Before(c.next) {
		if c.missed++; c.missed == 1 {
			c.since = a.At
		}
		return a, false
	}
	return c.mail(a, a.At, first, most), true
}

// mail notes that a mail goes and gives the alert with what it stands for.
func (c *cause) mail(a Alert, now time.Time, first, most time.Duration) Alert {
	if now.Sub(c.next) >= most { // it had stopped
		c.gap = first
	} else {
		c.gap = min(2*c.gap, most)
	}
	c.next = now.Add(c.gap)
	a.Missed, a.Since = c.missed, c.since
	c.missed = 0
	return a
}

// Due gives what was held back and may be mailed now, and forgets causes that
// have stopped.
func (r *Repeats) Due(now time.Time, first, most time.Duration) (out []Alert) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, c := range r.known {
		switch {
		case now.Before(c.next):
		case c.missed > 0:
			c.missed-- // the one that is shown
			out = append(out, c.mail(c.last, now, first, most))
		case now.Sub(c.next) >= most:
			delete(r.known, key)
		}
	}
	return out
}

// pattern is a text without its numbers: alerts that differ in them alone are
// alike.
func pattern(s string) string {
	var b strings.Builder
	digit := false
	for _, c := range []byte(s[:min(len(s), 500)]) {
		if c >= '0' && c <= '9' {
			if !digit {
				b.WriteByte('#')
			}
			digit = true
			continue
		}
		digit = false
		b.WriteByte(c)
	}
	return b.String()
}

// Subject gives the subject of the mail.
func (a *Alert) Subject(host string) string {
	return clean(fmt.Sprintf("%s <%s> %s: %s", a.Level, a.Class, host, a.Text), 150)
}

// Mail writes the mail to one recipient. What could end a line cannot get into
// its header (register B5): mail.NewHeader refuses it.
func (a *Alert) Mail(host, serial, id string, from, to mail.Address) ([]byte, error) {
	var b strings.Builder
	for _, f := range [][2]string{
		{"Date", a.At.Format("Mon, 02 Jan 2006 15:04:05 -0700")}, {"From", from.Path()}, {"To", to.Path()}, {"Subject", a.Subject(host)},
		{"Message-ID", "<" + id + "@" + host + ">"}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=us-ascii"},
	} {
		h, err := mail.NewHeader(f[0], f[1])
		if err != nil {
			return nil, err
		}
		b.WriteString(h.String())
	}
	fmt.Fprintf(&b, "\r\n%s\r\n", clean(a.Text, 900))
	if a.Missed > 0 {
		fmt.Fprintf(&b, "\r\nSince %s %d more of this kind were not mailed; the log has them all.\r\n", a.Since.Format(time.RFC1123), a.Missed)
	}
	fmt.Fprintf(&b, "\r\nAppliance: %s\r\nSerial: %s\r\nClass: %s\r\nLevel: %s\r\nTime: %s\r\n", host, serial, a.Class, a.Level, a.At.Format(time.RFC1123))
	return []byte(b.String()), nil
}

// clean makes text printable ASCII of at most max bytes.
func clean(s string, max int) string {
	out := make([]byte, 0, min(len(s), max))
	for i := 0; i < len(s) && i < max; i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
