package quarantine

import (
	"time"

	"lazaret/internal/mail"
)

// Message is what is shown of a record: the JSON object of `quarantine search
// --json`. Names may be added, none changed.
type Message struct {
	ID          mail.MID         `json:"id"` // the same number as MID
	MID         mail.MID         `json:"mid"`
	GatewayMID  mail.MID         `json:"esa_mid"`
	Gateway     string           `json:"gateway"` // name
	Serial      string           `json:"gateway_serial"`
	Key         mail.Key         `json:"key"`
	Sender      string           `json:"sender"`
	SenderU     string           `json:"sender_shown,omitempty"` // as people write it, where that is another text
	Recipients  []string         `json:"recipients"`
	RecipientsU []string         `json:"recipients_shown,omitempty"` // all of them, where it is for one
	Subject     string           `json:"subject"`                    // decoded; still hostile
	MessageID   string           `json:"message_id"`
	Received    time.Time        `json:"received"` // here
	Accepted    time.Time        `json:"accepted"` // at the gateway
	Size        int64            `json:"size"`
	SHA256      string           `json:"sha256"`
	State       string           `json:"state"`
	Until       time.Time        `json:"undo_until,omitzero"` // leaving, binned: until then it can be taken back
	Decision    DecisionID       `json:"decision,omitempty"`
	Hold        *HoldView        `json:"hold,omitempty"`
	Attachments []AttachmentView `json:"attachments"` // null: not known
	Attached    int              `json:"attachments_total"`
	Quarantines []MembershipView `json:"quarantines"`
	Others      bool             `json:"other_quarantines"` // also in ones that may not be seen
	Release     []DeliveryView   `json:"release"`
	After       string           `json:"after,omitempty"` // of a sorted list: the place behind this one
	Origin      mail.Origin      `json:"-"`
	Policy      string           `json:"policy"`
}

// AttachmentView is one attachment, as shown.
type AttachmentView struct {
	Part  string   `json:"part"` // place in the message: "2.1"
	Name  string   `json:"name"` // hostile
	Other []string `json:"other_names,omitempty"`
	Type  string   `json:"type"`
	Size  int64    `json:"size"` // decoded, bytes
}

// MembershipView is a message in one quarantine, as shown.
type MembershipView struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	Exit   time.Time `json:"exit"`
	State  string    `json:"state"`
	Cause  string    `json:"cause,omitempty"`
	By     string    `json:"by,omitempty"`
	Left   time.Time `json:"left,omitzero"`

	Matched []mail.Matched `json:"matched_content,omitempty"`
}

// HoldView is a legal hold, as shown.
type HoldView struct {
	By  string    `json:"by"`
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// DeliveryView is one recipient of a release, as shown.
type DeliveryView struct {
	Recipient string   `json:"recipient"`
	State     string   `json:"state"`             // queued, taken, failed; waiting, aside, accepted, bounced, deleted, discarded, unknown, held (again)
	Reply     string   `json:"reply"`             // of the gateway
	NewMID    mail.MID `json:"new_mid,omitempty"` // at the gateway

	Asked    time.Time `json:"asked,omitzero"` // the release left its quarantines
	Taken    time.Time `json:"taken,omitzero"` // the gateway has it
	Tried    time.Time `json:"tried,omitzero"` // by the gateway, last
	Next     time.Time `json:"next,omitzero"`  // not tried again before
	Attempts int       `json:"attempts,omitempty"`
	Host     string    `json:"host,omitempty"`       // that answered the gateway
	Code     int       `json:"code,omitempty"`       // of its reply
	Answer   string    `json:"host_reply,omitempty"` // or why there is none
	Rescan   string    `json:"rescanned,omitempty"`  // what scanning it again at the gateway gave
}

// view shows a record; see says which quarantines may be seen. False: none.
func view(r *Record, see func(string) bool) (*Message, bool) {
	m := &Message{ID: r.MID, MID: r.MID, GatewayMID: r.GatewayMID, Gateway: r.GatewayName, Serial: r.Gateway, Key: r.Key,
		Sender: r.Envelope.From.String(), Recipients: make([]string, len(r.Envelope.To)), Subject: r.Display,
		MessageID: r.MessageID, Received: r.Received.UTC(), Accepted: r.Accepted.UTC(), Size: r.Size, SHA256: r.Hash.String(),
		State: r.State.String(), Quarantines: []MembershipView{}, Release: make([]DeliveryView, len(r.Release)),
		Origin: r.Origin, Policy: r.Policy}
	if r.State.Open() {
		m.Until, m.Decision = r.Until.UTC(), r.Decision
	}
	if r.Hold.On() {
		m.Hold = &HoldView{By: r.Hold.By, Why: r.Hold.Why, At: r.Hold.At.UTC()}
	}
	if m.Gateway == "" {
		m.Gateway = r.Gateway
	}
	for i, a := range r.Envelope.To {
		m.Recipients[i] = a.String()
	}
	m.shown(r)
	m.attached(r)
	for i := range r.Memberships {
		ms := &r.Memberships[i]
		if !see(ms.Quarantine) {
			m.Others = true
			continue
		}
		v := MembershipView{Name: ms.Quarantine, Reason: ms.Reason, Exit: ms.Exit.UTC(), State: ms.State.String(),
			Cause: string(ms.Cause), By: ms.By, Matched: ms.Matched}
		if !ms.Left.IsZero() {
			v.Left = ms.Left.UTC()
		}
		m.Quarantines = append(m.Quarantines, v)
	}
	for i, d := range r.Release {
		m.Release[i] = DeliveryView{Recipient: d.Recipient.String(), State: d.State.String(), Reply: d.Reply, NewMID: d.Remote,
			Asked: d.Asked, Taken: d.Taken, Tried: d.Proof.At, Next: d.Proof.Next, Attempts: d.Proof.Attempts, Host: d.Proof.Host,
			Code: d.Proof.Code, Answer: d.Proof.Reply, Rescan: d.Proof.Rescan}
	}
	return m, len(m.Quarantines) > 0
}

// attached shows attachments. Those of an older version that nobody has looked
// into are not known.
func (m *Message) attached(r *Record) {
	if r.Attached < 0 {
		return
	}
	m.Attached, m.Attachments = r.Attached, make([]AttachmentView, len(r.Attachments))
	for i, a := range r.Attachments {
		v := AttachmentView{Part: a.Part, Type: a.Types[0], Size: a.Size}
		if len(a.Names) > 0 {
			v.Name, v.Other = a.Names[0], a.Names[1:]
		}
		m.Attachments[i] = v
	}
}

// shown sets addresses as people write them: punycode (RFC 3492) in its own
// script. What is stored and compared byte by byte stays as it was received.
func (m *Message) shown(r *Record) {
	if u := r.Envelope.From.Unicode(); u != m.Sender {
		m.SenderU = u
	}
	for i, a := range r.Envelope.To {
		u := a.Unicode()
		if u != m.Recipients[i] && m.RecipientsU == nil {
			m.RecipientsU = append(make([]string, 0, len(m.Recipients)), m.Recipients[:i]...)
		}
		if m.RecipientsU != nil {
			m.RecipientsU = append(m.RecipientsU, u)
		}
	}
}

// From gives the sender as it is shown to people.
func (m *Message) From() string {
	if m.SenderU != "" {
		return m.SenderU
	}
	return m.Sender
}

// To gives the recipients as they are shown to people.
func (m *Message) To() []string {
	if m.RecipientsU != nil {
		return m.RecipientsU
	}
	return m.Recipients
}

// Place gives the place behind the message in the list that it came from.
func (m *Message) Place() (Cursor, error) {
	if m.After == "" {
		return Cursor{MID: m.MID}, nil
	}
	return ParseCursor(m.After)
}
