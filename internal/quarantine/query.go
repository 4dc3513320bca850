package quarantine

import (
	"slices"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Op is how a text is compared; case never counts.
type Op uint8

// The comparisons, reference 3.3.
const (
	Contains Op = iota
	Is
	StartsWith
	EndsWith
)

// Text is a condition on a text. An empty Text asks nothing, except with Is:
// then the text must be empty.
type Text struct {
	Op   Op
	Not  bool
	Text string
}

// Any reports whether the condition lets everything pass.
func (t Text) Any() bool { return t.Text == "" && t.Op != Is }

// Query says which messages are wanted; all conditions together. The zero
// value wants every message that is not deleted, and none of which release or
// deletion is only still to be carried out: to lists these are gone. Newest
// come first.
type Query struct {
	Quarantine string // held there, or having been there
	Sender     Text
	Recipient  Text // at least one recipient
	Subject    Text // as decoded for display
	Attachment Attachment
	Body       Text   // in the text of the message; Contains alone
	Reason     Text   // of at least one quarantine that is looked at
	MessageID  string // whole, with or without its brackets
	Gateway    string // serial, name, or the first label of the name
	NotGateway string // the same, of those that are not wanted
	MID        mail.MID
	GatewayMID mail.MID
	Since      time.Time // received at or after
	Until      time.Time // received before
	States     []State   // empty: all but leaving, binned and deleted; with MID or GatewayMID: all
	NotStates  []State   // of these are not wanted; without States, all others are
	Limit      int       // messages given; 0: no limit
	By         Column    // sorted by this
	Ascending  bool      // oldest or smallest first
	After      Cursor    // those that come behind this place in the order

	visible []string // names of quarantines; nil with all: no restriction
	all     bool
}

// Attachment is a condition on attachments: one and the same must fulfil all of
// it, but for a negated text, which holds when no attachment has it. The zero
// value asks nothing.
type Attachment struct {
	Name Text  // in any reading
	Type Text  // media type, such as application/pdf
	Min  int64 // decoded bytes, at least
	Max  int64 // at most; 0: any size
}

// Any reports whether the condition lets everything pass.
func (a Attachment) Any() bool { return a == Attachment{} }

// MaxText is the longest text that may be searched for.
const MaxText = 1024

// Check finds what is wrong with a query.
func (q Query) Check() error {
	for _, t := range []Text{q.Sender, q.Recipient, q.Subject, q.Reason, q.Body, q.Attachment.Name, q.Attachment.Type, {Text: q.MessageID}, {Text: q.Gateway}, {Text: q.NotGateway}} {
		if len(t.Text) > MaxText {
			return errs.New(errs.Invalid, "a text to search for is longer than %d bytes", MaxText)
		}
		if t.Op > EndsWith {
			return errs.New(errs.Invalid, "unknown comparison")
		}
	}
	if q.Body.Op != Contains {
		return errs.New(errs.Invalid, "the text of a message can only be searched for a piece of it")
	}
	if a := q.Attachment; a.Min < 0 || a.Max < 0 || a.Max > 0 && a.Max < a.Min {
		return errs.New(errs.Invalid, "the largest size of an attachment is below the smallest")
	}
	if q.By >= numColumns {
		return errs.New(errs.Invalid, "unknown order")
	}
	if q.After.MID != 0 && q.After.By != q.By {
		return errs.New(errs.Invalid, "the place to go on behind is one of a list by %s, not by %s", q.After.By, q.By)
	}
	if q.Limit < 0 {
		return errs.New(errs.Invalid, "limit is negative")
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return errs.New(errs.Invalid, "the end of the time range is not after its start")
	}
	return nil
}

// Wanted gives the states that the query asks for.
func (q Query) Wanted() []State {
	list := q.wanted()
	return slices.DeleteFunc(list, func(s State) bool { return slices.Contains(q.NotStates, s) })
}

func (q Query) wanted() []State {
	if len(q.States) > 0 {
		return slices.Clone(q.States)
	}
	if q.MID != 0 || q.GatewayMID != 0 || len(q.NotStates) > 0 {
		return []State{Held, Leaving, Releasing, Gone, Binned, Removed, Shadow, Failed, Sent}
	}
	return []State{Held, Releasing, Gone, Shadow, Failed, Sent}
}

// Visible gives the quarantines that whoever asks may see; all is without
// restriction. The service sets it; a query made elsewhere sees nothing.
func (q Query) Visible() (names []string, all bool) { return q.visible, q.all }
