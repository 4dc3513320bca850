package tracking

import (
	"fmt"
	"strings"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/message"
)

// Follower is the second reading of a log: what happened to the messages that
// the first one found.
type Follower struct {
	q      Query
	clock  clock
	by     map[mail.MID]*Message
	dcids  map[uint64]string // open delivery connections: where to
	icids  map[uint64]*incoming
	answer Answer
}

// incoming is an open connection of a client.
type incoming struct {
	client string
	now    *Message // that comes in, if it is one of ours
}

// maxOpen bounds the connections remembered; those that a killed process had
// open are never closed in the log.
const maxOpen = 50_000

// Wanted reports whether there is anything to read for.
func (w *Follower) Wanted() bool { return len(w.by) > 0 }

// Line takes one line, without its LF.
func (w *Follower) Line(line []byte) {
	text, ok := w.clock.split(line)
	if !ok {
		return
	}
	e := parse(text)
	switch e.kind {
	case none:
		return
	case newDCID:
		w.dcids = room(w.dcids)
		w.dcids[e.dcid] = e.text
	case closeDCID:
		delete(w.dcids, e.dcid)
	case newICID:
		w.icids = room(w.icids)
		w.icids[e.icid] = &incoming{client: e.text}
	case closeICID:
		delete(w.icids, e.icid)
	case receivingFailed:
		if in := w.icids[e.icid]; in != nil && in.now != nil {
			in.now.failed = e.text
			if in.now.Whole != nil && in.now.Whole.State == Aborted {
				in.now.Whole.Text = e.text
			}
		}
	}
	if m := w.by[e.mid]; m != nil && e.mid != 0 {
		e.at = w.clock.now()
		w.apply(m, e)
	} else if in := w.icids[e.icid]; in != nil && e.kind == from {
		in.now = nil
	}
}

func room[V any](m map[uint64]V) map[uint64]V {
	if len(m) >= maxOpen {
		clear(m)
	}
	return m
}

func (w *Follower) apply(m *Message, e event) {
	if m.Received.IsZero() {
		m.Received = e.at
	}
	switch e.kind {
	case start, from, to, toRejected, subject, messageID, ready:
		w.receive(m, e)
	case queued:
		m.all(Step{State: Queued, At: e.at}, Working)
	case enqueued:
		m.enter(Step{State: Quarantined, At: e.at, Quarantine: e.text, Text: e.more})
	case held:
		m.enter(Step{State: Local, At: e.at, Quarantine: e.text, Text: e.more})
	case leftQuarantine:
		m.all(Step{State: Queued, At: e.at, Quarantine: e.text, Text: e.more}, Local)
	case aborted:
		w.abort(m, e)
	case rewritten, wasSplit, copied, bounceOf:
		w.link(m, e)
	default:
		w.delivery(m, e)
	}
}

func (w *Follower) receive(m *Message, e event) {
	switch e.kind {
	case start, from:
		if in := w.icids[e.icid]; in != nil {
			in.now, m.Client = m, in.client
		}
		if e.kind == from {
			m.Sender = e.text
		}
	case to:
		r := Recipient{Address: e.text, rid: e.rids[0], Step: Step{State: Working, At: e.at}}
		if m.Whole != nil && m.Whole.State == Dropped { // a part, whose envelope is told after its fate
			r.Step = *m.Whole
		}
		m.add(r)
	case toRejected:
		m.add(Recipient{Address: e.text, rid: -1, Step: Step{State: Refused, At: e.at, Text: "at RCPT by " + e.more}})
	case subject:
		m.Subject = message.DecodeHeader(e.text)
	case messageID:
		m.MessageID = e.text
	}
}

// add keeps a recipient; one that was refused again and again is one.
func (m *Message) add(r Recipient) {
	for i := range m.Recipients {
		if old := &m.Recipients[i]; old.rid == r.rid && strings.EqualFold(old.Address, r.Address) {
			*old = r
			return
		}
	}
	if len(m.Recipients) < maxFamily {
		m.Recipients = append(m.Recipients, r)
	}
}

func (w *Follower) abort(m *Message, e event) {
	s := Step{State: Dropped, At: e.at, Text: e.text}
	if e.text == "Receiving aborted" || strings.HasPrefix(e.text, "already taken as MID ") {
		s.State = Aborted
		if m.failed != "" {
			s.Text = m.failed
		}
	}
	m.Whole = &s
	m.all(s, Working, Queued)
}

// link notes under which number a message goes on.
func (w *Follower) link(m *Message, e event) {
	how := map[kind]string{rewritten: "rewritten", wasSplit: "split", copied: "copy", bounceOf: "bounce"}[e.kind]
	m.Links = append(m.Links, Link{MID: e.other, How: how, By: e.text, At: e.at})
	child := w.by[e.other]
	if child != nil {
		child.how = how
		if how == "rewritten" || how == "split" || how == "copy" {
			child.Sender = either(child.Sender, m.Sender)
			child.Subject = either(child.Subject, m.Subject)
		}
		if how == "copy" && len(child.Recipients) == 0 {
			for _, r := range m.Recipients {
				if r.rid >= 0 {
					child.Recipients = append(child.Recipients, Recipient{Address: r.Address, rid: r.rid, Step: Step{State: Working, At: e.at}})
				}
			}
		}
	}
	moved := Step{State: Moved, At: e.at, MID: e.other, Text: e.text}
	switch how {
	case "rewritten":
		m.all(moved, Working, Queued, Quarantined, Given, Local, Unknown)
	case "split":
		// Which recipients went there stands in the lines of the new number.
		m.Whole = &Step{State: Moved, At: e.at, Text: "split by policy"}
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (w *Follower) delivery(m *Message, e event) {
	s := Step{At: e.at, Text: e.text}
	switch e.kind {
	case done:
		s = Step{State: Delivered, At: e.at, Host: w.dcids[e.dcid]}
		if strings.HasPrefix(e.more, " (centralized policy quarantine)") {
			s.State = Given
		}
	case response:
		m.some(e.rids, func(old Step) Step {
			old.Text = e.text
			if n, _, ok := number(e.text, "ok:  Message "); ok && old.State == Given {
				old.MID, old.Text = mail.MID(n), ""
			}
			return old
		})
		return
	case bounced:
		s.State, s.Host, s.Text = Bounced, w.dcids[e.dcid], joined(e.text, e.more)
		if strings.HasPrefix(e.text, "5.4.7 ") {
			s.State = Expired
		}
	case delayed:
		s.State, s.Host, s.Text = Waiting, w.dcids[e.dcid], joined(e.text, e.more)
	case possible:
		s = Step{State: Possible, At: e.at, Host: w.dcids[e.dcid]}
	case pending:
		until, err := time.ParseInLocation(stampLayout, e.text, w.clock.zone)
		m.some(e.rids, func(old Step) Step {
			if err == nil {
				old.Next = until
			}
			if old.State == Queued || old.State == Working {
				old.State = Waiting
			}
			return old
		})
		return
	case deleted:
		s = Step{State: Deleted, At: e.at}
	default:
		return
	}
	m.some(e.rids, func(old Step) Step {
		s := s
		s.Quarantine = old.Quarantine
		if old.State == Quarantined && s.State == Waiting { // it is the quarantine that it waits for
			s.State = Quarantined
		}
		return s
	})
}

func joined(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}

// enter puts the message into a quarantine, or into one more.
func (m *Message) enter(s Step) {
	for i := range m.Recipients {
		r := &m.Recipients[i]
		switch {
		case r.State == s.State && len(r.Quarantine) < MaxText:
			r.Quarantine += ", " + s.Quarantine
			r.Text += ", " + s.Text
		case r.State == Working || r.State == Queued:
			r.Step = s
		}
	}
}

// all gives each recipient that is in one of the states a new one.
func (m *Message) all(s Step, in ...State) {
	for i := range m.Recipients {
		for _, state := range in {
			if m.Recipients[i].State == state {
				was := m.Recipients[i].Quarantine
				m.Recipients[i].Step = s
				m.Recipients[i].Quarantine = either(s.Quarantine, was)
				break
			}
		}
	}
}

// some changes the recipients with these numbers. A message of whose envelope
// there is no line, such as a copy, gets recipients without addresses.
func (m *Message) some(rids []int, change func(Step) Step) {
	for _, rid := range rids {
		at := -1
		for i := range m.Recipients {
			if m.Recipients[i].rid == rid {
				at = i
			}
		}
		if at < 0 && len(m.Recipients) < maxFamily {
			at = len(m.Recipients)
			m.Recipients = append(m.Recipients, Recipient{rid: rid, Step: Step{State: Queued}})
		}
		if at >= 0 {
			m.Recipients[at].Step = change(m.Recipients[at].Step)
		}
	}
}

// Wait is what a queue knows of one recipient that has not come to its end.
type Wait struct {
	RID     int
	Address string
	Host    string // that it is for
	Reply   string // of the last try, hostile
	At      time.Time
	Next    time.Time
}

// Live is what a queue knows of one message.
type Live struct {
	MID       mail.MID
	Received  time.Time
	Sender    string
	Subject   string
	MessageID string
	Judged    bool
	Waits     []Wait
}

// Fits reports whether a message in the queue is asked for.
func (q *Query) Fits(l *Live) bool {
	if q.MID != 0 {
		return l.MID == q.MID
	}
	some := q.Recipient == ""
	for _, w := range l.Waits {
		some = some || inside(w.Address, q.Recipient)
	}
	return some && inside(l.Sender, q.Sender) && inside(message.DecodeHeader(l.Subject), q.Subject) && (q.MessageID == "" || sameID(l.MessageID, q.MessageID)) && q.fits(l.Received)
}

// Open gives the messages of which the log knows no end for somebody.
func (w *Follower) Open() (mids []mail.MID) {
	for _, m := range w.answer.Messages {
		for i := range m.Recipients {
			if m.Recipients[i].State.open() {
				mids = append(mids, m.MID)
				break
			}
		}
	}
	return mids
}

// Gone says that the queue does not have a message, although the log knows no
// end of it.
func (w *Follower) Gone(mid mail.MID) {
	m := w.by[mid]
	if m == nil {
		return
	}
	for i := range m.Recipients {
		if r := &m.Recipients[i]; r.State.open() {
			r.Step = Step{State: Unknown, At: r.At, Quarantine: r.Quarantine}
		}
	}
}

// Lives says what the queue has of a message, also of one that the log does
// not reach back to.
func (w *Follower) Lives(l *Live) {
	m := w.by[l.MID]
	if m == nil {
		if len(w.answer.Messages) >= maxFamily {
			return
		}
		m = &Message{MID: l.MID, Received: l.Received, Sender: l.Sender, Subject: message.DecodeHeader(l.Subject), MessageID: l.MessageID, Recipients: []Recipient{}}
		w.by[l.MID] = m
		w.answer.Messages = append(w.answer.Messages, m)
	}
	for _, v := range l.Waits {
		m.some([]int{v.RID}, func(old Step) Step {
			if old.State != Queued && old.State != Waiting && old.State != Quarantined && old.State != Working {
				return old
			}
			if v.Reply != "" {
				old.Text, old.At = v.Reply, v.At
			}
			old.Next, old.Host = v.Next, v.Host
			if l.Judged && old.State != Quarantined {
				old.State = Waiting
			}
			return old
		})
		for i := range m.Recipients {
			if r := &m.Recipients[i]; r.rid == v.RID && r.Address == "" {
				r.Address = v.Address
			}
		}
	}
}

// Answer ends the reading. What was not asked for is left out: with a condition
// on the recipient, the others.
func (w *Follower) Answer() Answer {
	for _, m := range w.answer.Messages {
		if w.q.Recipient != "" && m.Of == 0 {
			kept := m.Recipients[:0]
			for _, r := range m.Recipients {
				if inside(r.Address, w.q.Recipient) || r.Address == "" {
					kept = append(kept, r)
				}
			}
			m.Recipients = kept
		}
		if n := len(m.Recipients); n > MaxRecipients {
			m.Recipients, m.More = m.Recipients[:MaxRecipients], n-MaxRecipients
			w.answer.cut(fmt.Sprintf("of a message, %d recipients are shown", MaxRecipients))
		}
	}
	return w.answer
}

// Knows reports whether the log has the message.
func (w *Follower) Knows(mid mail.MID) bool { return w.by[mid] != nil }
