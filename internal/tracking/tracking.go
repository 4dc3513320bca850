// Package tracking says what happened to a message, in order and in words
// (reference 3.7): it reads lines of mail_logs, follows the numbers in them,
// and puts what a gateway says beside what a manager holds.
//
// It is pure: it opens nothing, asks nobody and keeps nothing. It promises that
// what it remembers is bounded however much it reads, that no text from outside
// can pretend to be another line, and that an answer that is not complete says so.
package tracking

import (
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of a question and its answer.
const (
	MaxText       = 1024    // bytes of a condition
	MaxMessages   = 1000    // messages of an answer
	DefaultLimit  = 50      // of them, when nobody says
	MaxRecipients = 100     // of a message in an answer; the others are counted
	MaxAnswer     = 1 << 20 // bytes of an answer between appliances
	MaxWire       = 4 << 20 // bytes that it may have become when all that could act on a terminal is spelled out
	maxCandidates = 100_000 // messages remembered while reading
	maxDepth      = 16      // numbers that one message goes through
	maxFamily     = 10_000  // messages followed
)

// DefaultSpan is how far back a question without a time looks.
const DefaultSpan = 7 * 24 * time.Hour

// Query says which messages are meant; all conditions together. Texts are looked
// for inside, and case never counts.
type Query struct {
	Sender     string    `json:"sender,omitempty"`
	Recipient  string    `json:"recipient,omitempty"`
	Subject    string    `json:"subject,omitempty"` // as decoded
	MessageID  string    `json:"message_id,omitempty"`
	MID        mail.MID  `json:"mid,omitempty"`     // of whom is asked
	GatewayMID mail.MID  `json:"esa_mid,omitempty"` // asked of a manager: of its gateways
	Since      time.Time `json:"since"`             // received at or after
	Until      time.Time `json:"until,omitzero"`    // received before
	Limit      int       `json:"limit"`             // messages, the newest
}

// Check finds what is wrong with a query.
func (q Query) Check() error {
	given := 0
	for _, t := range []string{q.Sender, q.Recipient, q.Subject, q.MessageID} {
		if len(t) > MaxText {
			return errs.New(errs.Invalid, "a text to look for is longer than %d bytes", MaxText)
		}
		if t != "" {
			given++
		}
	}
	switch {
	case given == 0 && q.MID == 0 && q.GatewayMID == 0:
		return errs.New(errs.Invalid, "say whose message, or which: sender, recipient, subject, message-id, mid or esa_mid")
	case q.MID != 0 && q.GatewayMID != 0:
		return errs.New(errs.Invalid, "mid and esa_mid name one message each: give one of them")
	case q.Limit < 1 || q.Limit > MaxMessages:
		return errs.New(errs.Invalid, "limit is 1 to %d messages", MaxMessages)
	case !q.Until.IsZero() && !q.Since.Before(q.Until):
		return errs.New(errs.Invalid, "the end of the time range is not after its start")
	}
	return nil
}

// State is where a message stands for a recipient.
type State string

// The states. Values are part of what is said with --json.
const (
	Refused     State = "refused"     // at RCPT, or at MAIL
	Aborted     State = "aborted"     // the message did not become whole
	Working     State = "working"     // accepted, not judged yet
	Queued      State = "queued"      // judged, on its way
	Waiting     State = "waiting"     // tried in vain; tried again
	Quarantined State = "quarantined" // to be given to the manager's quarantine
	Given       State = "given"       // the manager has it
	Local       State = "held"        // in a quarantine of this appliance
	Delivered   State = "delivered"
	Possible    State = "possible" // the connection died after the final dot
	Bounced     State = "bounced"
	Expired     State = "expired" // too old, and returned
	Deleted     State = "deleted" // by an administrator
	Dropped     State = "dropped" // by a filter or an engine
	Moved       State = "moved"   // goes on under another number
	Unknown     State = "unknown" // neither in the queue nor with an end in the log
)

// open reports whether something has still to happen.
func (s State) open() bool {
	switch s {
	case Working, Queued, Waiting, Quarantined, Possible:
		return true
	}
	return false
}

// Step is the last that is known.
type Step struct {
	State      State     `json:"state"`
	At         time.Time `json:"at,omitzero"`
	Text       string    `json:"text,omitempty"` // reply, or reason; hostile
	Host       string    `json:"host,omitempty"` // that gave it
	Next       time.Time `json:"next,omitzero"`  // not tried before
	Quarantine string    `json:"quarantine,omitempty"`
	MID        mail.MID  `json:"mid,omitempty"` // at the manager, or that it goes on as
}

// Recipient is one recipient of a message.
type Recipient struct {
	Address string `json:"address"`
	Step
	rid int // -1: refused, without a number
}

// Link is a number under which a message, or a part or copy of it, goes on.
type Link struct {
	MID mail.MID  `json:"mid"`
	How string    `json:"how"` // rewritten, split, copy, bounce
	By  string    `json:"by,omitempty"`
	At  time.Time `json:"at"`
}

// Message is what one appliance knows about one message.
type Message struct {
	MID        mail.MID    `json:"mid"` // 0: refused before it had a number
	Received   time.Time   `json:"received,omitzero"`
	Client     string      `json:"client,omitempty"`
	Sender     string      `json:"sender"`
	Subject    string      `json:"subject,omitempty"` // decoded; hostile
	MessageID  string      `json:"message_id,omitempty"`
	Recipients []Recipient `json:"recipients"`
	More       int         `json:"more_recipients,omitempty"` // left out
	Whole      *Step       `json:"whole,omitempty"`           // what holds for all of it
	Links      []Link      `json:"goes_on,omitempty"`
	Of         mail.MID    `json:"of,omitempty"` // that it was made from
	how        string
	failed     string // why receiving failed
}

// Answer is what one appliance says.
type Answer struct {
	Version  int        `json:"version"`
	Serial   string     `json:"serial"`
	Name     string     `json:"name"`
	Messages []*Message `json:"messages"`      // newest first, each behind what it was made from
	From     time.Time  `json:"from,omitzero"` // the log reaches back to here
	Bytes    int64      `json:"bytes"`         // of log that were read
	Cut      []string   `json:"cut,omitempty"` // why it is not complete
}

// Version of questions and answers between appliances.
const Version = 1

// Hide takes out the names of quarantines, and why something is there, that
// somebody may not see.
func (a *Answer) Hide(see func(name string) bool) {
	hide := func(s *Step) {
		for name := range strings.SplitSeq(s.Quarantine, ", ") {
			if s.Quarantine != "" && !see(name) {
				s.Quarantine = ""
				if s.State != Moved {
					s.Text = ""
				}
			}
		}
	}
	for _, m := range a.Messages {
		if m.Whole != nil {
			hide(m.Whole)
		}
		for i := range m.Recipients {
			hide(&m.Recipients[i].Step)
		}
	}
}

func (a *Answer) cut(why string) {
	for _, c := range a.Cut {
		if c == why {
			return
		}
	}
	a.Cut = append(a.Cut, why)
}

// inside reports whether text has part in it, whatever the case.
func inside(text, part string) bool {
	return part == "" || strings.Contains(strings.ToLower(text), strings.ToLower(part))
}

// sameID compares Message-IDs, with or without their brackets.
func sameID(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, "<> "), strings.Trim(b, "<> "))
}

// fits reports whether the message is in the time asked for.
func (q *Query) fits(at time.Time) bool {
	return !at.Before(q.Since.Truncate(time.Second)) && (q.Until.IsZero() || at.Before(q.Until))
}
