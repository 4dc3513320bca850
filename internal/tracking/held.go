package tracking

import (
	"fmt"
	"strings"
	"time"

	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// Held is what a manager knows about a message in its quarantines.
type Held struct {
	MID        mail.MID   `json:"mid"`
	GatewayMID mail.MID   `json:"esa_mid"`
	Gateway    string     `json:"gateway"`
	Serial     string     `json:"gateway_serial"`
	Sender     string     `json:"sender"`
	Recipients []string   `json:"recipients"`
	Subject    string     `json:"subject"`
	MessageID  string     `json:"message_id"`
	Accepted   time.Time  `json:"accepted"`
	Received   time.Time  `json:"received"`
	State      string     `json:"state"` // of the quarantine's words
	Until      time.Time  `json:"undo_until,omitzero"`
	Hold       bool       `json:"hold,omitempty"`
	Places     []Place    `json:"quarantines"`
	Release    []Released `json:"release"`
}

// Place is a message in one quarantine.
type Place struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	State  string    `json:"state"` // held, released, deleted, moved
	Cause  string    `json:"cause,omitempty"`
	By     string    `json:"by,omitempty"`
	Exit   time.Time `json:"exit,omitzero"`
	Left   time.Time `json:"left,omitzero"`
}

// Released is how far a release is for one recipient.
type Released struct {
	Recipient string    `json:"recipient"`
	State     string    `json:"state"`
	MID       mail.MID  `json:"new_mid,omitempty"` // at the gateway
	Taken     time.Time `json:"taken,omitzero"`
	Tried     time.Time `json:"tried,omitzero"`
	Next      time.Time `json:"next,omitzero"`
	Host      string    `json:"host,omitempty"`
	Text      string    `json:"host_reply,omitempty"` // or why there is none; hostile
	Rescanned string    `json:"rescanned,omitempty"`  // what scanning it again gave; hostile
}

// held is the sentence of a held message for one recipient; rest is what the
// gateway's own log tells of its release, or nothing.
func (w *words) held(h *Held, recipient string, rest string) string {
	var all []string
	for i := range h.Places {
		all = append(all, w.place(h, &h.Places[i]))
	}
	if h.Hold {
		all = append(all, "under a legal hold")
	}
	switch h.State {
	case "leaving":
		all = append(all, "leaves at "+w.time(h.Until)+" unless that is taken back")
	case "binned":
		all = append(all, "can be taken back until "+w.time(h.Until))
	case "held", "deleted", "shadow":
	default:
		all = append(all, w.released(h, recipient, rest))
	}
	return fmt.Sprintf("MID %s here: ", h.MID) + strings.Join(all, "; ")
}

// place is reference 3.7.
func (w *words) place(h *Held, p *Place) string {
	name := logs.Escape(p.Name)
	if p.State == "held" {
		s := "held in quarantine " + name + " since " + w.time(h.Received) + " (" + logs.Escape(p.Reason) + ")"
		if !p.Exit.IsZero() {
			s += ", until " + w.time(p.Exit)
		}
		return s
	}
	s := p.State + " from quarantine " + name
	if !p.Left.IsZero() {
		s += fmt.Sprintf(" after %d seconds, at %s", max(0, int64(p.Left.Sub(h.Received)/time.Second)), w.time(p.Left))
	}
	switch p.Cause {
	case "":
	case "manual":
		s += ". Reason: manually " + p.State
	case "expired":
		s += ". Reason: expiration"
	default:
		s += ". Reason: " + logs.Escape(p.Cause)
	}
	if p.By != "" && p.Cause == "manual" {
		s += " by " + logs.Escape(p.By)
	}
	return s
}

// released tells how far a release is. Delivered is never said before a server
// has accepted it.
func (w *words) released(h *Held, recipient, rest string) string {
	for i := range h.Release {
		r := &h.Release[i]
		if !strings.EqualFold(r.Recipient, recipient) {
			continue
		}
		s := ""
		if r.MID != 0 {
			s = fmt.Sprintf("taken by %s as MID %s at %s", logs.Escape(h.Gateway), r.MID, w.time(r.Taken))
			if r.Rescanned != "" {
				s += "; rescanned: " + logs.Escape(r.Rescanned)
			}
			if rest != "" {
				return s + "; " + rest
			}
			s += "; "
		}
		host, text := logs.Escape(r.Host), logs.Escape(r.Text)
		switch r.State {
		case "queued":
			return "waits for " + logs.Escape(h.Gateway) + said(text)
		case "taken":
			return s + "what became of it there is not known yet"
		case "accepted":
			return s + "delivered to " + host + " at " + w.time(r.Tried) + said(text)
		case "bounced":
			return s + "bounced by " + named(host) + " at " + w.time(r.Tried) + said(text)
		case "held":
			return s + "not delivered, held again since " + w.time(r.Tried) + said(text)
		case "waiting":
			return s + "waiting" + said(text) + w.next(r.Next)
		}
		return s + r.State + said(text)
	}
	return "state " + logs.Escape(h.State)
}

func said(text string) string {
	if text == "" {
		return ""
	}
	return ": '" + text + "'"
}

func named(host string) string {
	if host == "" {
		return "an unknown host"
	}
	return host
}
