// Package logs writes mail_logs, the log that administrators grep and programs
// parse, and the audit log. A line of mail_logs is a method of Mail: its format
// exists once, here, and is a promise (reference chapter 5, clients section 3).
//
// It is not a place for decisions: who calls a method knows that the thing
// happened. It promises that no text from outside can end, split or forge a
// line, and that a line is on its way to the file when the method returns: a
// killed process loses some milliseconds of lines, never half of one for good.
package logs

import (
	"strconv"
	"sync"
	"time"

	"lazaret/internal/mail"
)

// Lines takes whole lines, each with its LF. *File implements it.
type Lines interface {
	WriteLine(line []byte)
}

// Mail writes the lines of mail_logs. Safe for concurrent use.
type Mail struct {
	w   Lines
	now func() time.Time

	mu     sync.Mutex
	second int64  // of stamp
	stamp  []byte // "Mon Apr  7 09:15:00 2025 "
	buf    []byte
}

// NewMail makes a Mail that writes to w. A nil clock is time.Now.
func NewMail(w Lines, clock func() time.Time) *Mail {
	if clock == nil {
		clock = time.Now
	}
	return &Mail{w: w, now: clock}
}

type nowhere struct{}

func (nowhere) WriteLine([]byte) {}

// Discard gives a Mail whose lines go nowhere.
func Discard() *Mail { return NewMail(nowhere{}, nil) }

// The levels of reference 5.1 that are in use.
const (
	info     = "Info: "
	warning  = "Warning: "
	critical = "Critical: "
)

// stampLayout is reference 5.1: day of month blank-padded.
const stampLayout = "Mon Jan _2 15:04:05 2006 "

// line is one line under construction. put ends it.
type line struct {
	m *Mail
	b []byte
}

// begin starts a line; it holds m.mu until put.
func (m *Mail) begin(level string) line {
	t := m.now()
	m.mu.Lock()
	if s := t.Unix(); s != m.second || m.stamp == nil {
		m.second = s
		m.stamp = t.AppendFormat(m.stamp[:0], stampLayout)
	}
	return line{m: m, b: append(append(m.buf[:0], m.stamp...), level...)}
}

func (l line) put() {
	l.b = append(l.b, '\n')
	l.m.w.WriteLine(l.b)
	if cap(l.b) <= 64<<10 {
		l.m.buf = l.b[:0]
	}
	l.m.mu.Unlock()
}

// s adds text of ours.
func (l line) s(text string) line { l.b = append(l.b, text...); return l }

// n adds a number.
func (l line) n(v uint64) line { l.b = strconv.AppendUint(l.b, v, 10); return l }

// t adds text from outside, made harmless.
func (l line) t(text string) line { l.b = appendText(l.b, text, 0); return l }

// q adds text from outside in quotes.
func (l line) q(text string, quote byte) line {
	l.b = append(l.b, quote)
	l.b = appendText(l.b, text, quote)
	l.b = append(l.b, quote)
	return l
}

func (l line) mid(m mail.MID) line   { return l.s("MID ").n(uint64(m)) }
func (l line) icid(i mail.ICID) line { return l.s("ICID ").n(uint64(i)) }
func (l line) dcid(d mail.DCID) line { return l.s("DCID ").n(uint64(d)) }

// path adds an address in angle brackets.
func (l line) path(a mail.Address) line {
	l = l.s("<").t(a.Local)
	if a.Domain != "" {
		l = l.s("@").t(a.Domain)
	}
	return l.s(">")
}

// rids adds a list: [0, 1].
func (l line) rids(rs []mail.RID) line {
	l = l.s("[")
	for i, r := range rs {
		if i > 0 {
			l = l.s(", ")
		}
		l = l.n(uint64(r))
	}
	return l.s("]")
}

// Info writes a line in words that no program reads, such as what was changed by whom.
func (m *Mail) Info(text string) { m.begin(info).t(text).put() }

// Warning writes a line that asks for attention.
func (m *Mail) Warning(text string) { m.begin(warning).t(text).put() }

// Fault writes an application fault: something inside failed that no input
// should make fail. It was contained; what waits is tried again.
func (m *Mail) Fault(component, text string) {
	m.begin(critical).s("An application fault occurred: ").t(component).s(": ").t(text).put()
}
