package tracking

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lazaret/internal/logs"
	"lazaret/internal/mail"
)

// Says is one sentence: what happened to one message for one recipient.
type Says struct {
	Recipient string `json:"recipient"` // empty: all of it
	State     State  `json:"state"`
	Text      string `json:"text"` // harmless on a screen
}

// Row is one message over all appliances that know it.
type Row struct {
	Appliance string     `json:"appliance"` // that received it
	Serial    string     `json:"serial"`
	Messages  []*Message `json:"messages"`       // under all its numbers there
	Held      []*Held    `json:"held,omitempty"` // in a manager's quarantines: it, and copies of it
	Says      []Says     `json:"says"`
}

// Asked is an appliance that was asked, and what is to be said of its answer.
type Asked struct {
	Name   string    `json:"name"`
	Serial string    `json:"serial"`
	Error  string    `json:"error,omitempty"` // why it did not answer
	From   time.Time `json:"from,omitzero"`
	Cut    []string  `json:"cut,omitempty"`
}

// words writes times in one zone.
type words struct {
	zone *time.Location
	row  *Row
}

func (w *words) time(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.In(w.zone).Format("2006-01-02 15:04:05 MST")
}

func (w *words) next(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " (next try " + w.time(t) + ")"
}

// Rows puts answers and what a manager holds together by the pairs of numbers,
// newest first, and says each in sentences.
func Rows(answers []Answer, held []Held, zone *time.Location) []Row {
	if zone == nil {
		zone = time.UTC
	}
	var rows []Row
	known := map[string]bool{}
	for i := range answers {
		for _, row := range families(&answers[i]) {
			for k := range held {
				h := &held[k]
				if h.Serial == row.Serial && row.find(h.GatewayMID) != nil {
					row.Held, known[h.Serial+"-"+h.GatewayMID.String()] = append(row.Held, h), true
				}
			}
			rows = append(rows, row)
		}
	}
	for k := range held {
		if h := &held[k]; !known[h.Serial+"-"+h.GatewayMID.String()] {
			rows = append(rows, Row{Appliance: h.Gateway, Serial: h.Serial, Messages: []*Message{}, Held: []*Held{h}})
		}
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return b.at().Compare(a.at()) })
	for i := range rows {
		w := words{zone: zone, row: &rows[i]}
		rows[i].Says = w.says()
	}
	return rows
}

// families gives a row for each message that was made from none in the answer.
func families(a *Answer) (rows []Row) {
	at := map[mail.MID]int{}
	for _, m := range a.Messages {
		i, ok := at[m.Of]
		if m.Of == 0 || !ok {
			i = len(rows)
			rows = append(rows, Row{Appliance: a.Name, Serial: a.Serial})
		}
		rows[i].Messages = append(rows[i].Messages, m)
		if m.MID != 0 {
			at[m.MID] = i
		}
	}
	return rows
}

func (r *Row) at() time.Time {
	if len(r.Messages) > 0 {
		return r.Messages[0].Received
	}
	return r.Held[0].Accepted
}

func (r *Row) find(mid mail.MID) *Message {
	for _, m := range r.Messages {
		if m.MID == mid && mid != 0 {
			return m
		}
	}
	return nil
}

// heldAs gives what the manager holds of a number of the gateway.
func (r *Row) heldAs(mid mail.MID) *Held {
	for _, h := range r.Held {
		if h.GatewayMID == mid {
			return h
		}
	}
	return nil
}

// Head gives what stands over the sentences of a row.
func (r *Row) Head(zone *time.Location) string {
	w := words{zone: zone}
	mid, sender, subject, at := mail.MID(0), "", "", r.at()
	client := ""
	switch {
	case len(r.Messages) > 0:
		m := r.Messages[0]
		mid, sender, subject, client = m.MID, m.Sender, m.Subject, m.Client
	case len(r.Held) > 0:
		mid, sender, subject = r.Held[0].GatewayMID, r.Held[0].Sender, r.Held[0].Subject
	}
	s := "No message at " + logs.Escape(r.Appliance)
	if mid != 0 {
		s = "MID " + mid.String() + " at " + logs.Escape(r.Appliance)
	}
	s += ", " + w.time(at) + ", from <" + logs.Escape(sender) + ">"
	if client != "" {
		s += " by " + logs.Escape(client)
	}
	if subject != "" {
		s += ", subject \"" + strings.Join(strings.Fields(logs.Escape(subject)), " ") + "\""
	}
	return s
}

// says gives the sentences of a row.
func (w *words) says() (all []Says) {
	if len(w.row.Messages) == 0 {
		h := w.row.Held[0]
		for _, to := range h.Recipients {
			all = append(all, Says{Recipient: to, State: State(h.State), Text: w.held(h, to, "")})
		}
		return all
	}
	m := w.row.Messages[0]
	for i := range m.Recipients {
		r := &m.Recipients[i]
		state, text := w.chain(m, r, 0)
		all = append(all, Says{Recipient: r.Address, State: state, Text: text})
	}
	if len(all) == 0 {
		all = w.parts(m)
	}
	if len(all) == 0 && m.Whole != nil && m.Whole.State != Moved {
		all = append(all, Says{State: m.Whole.State, Text: w.step(m.Whole)})
	}
	if len(all) == 0 {
		all = append(all, Says{State: Unknown, Text: "the log does not say"})
	}
	for _, l := range m.Links {
		if l.How == "copy" || l.How == "bounce" {
			all = append(all, w.beside(l))
		}
	}
	return all
}

// parts tells of what a message goes on as when the log does not reach back to
// its own envelope.
func (w *words) parts(m *Message) (all []Says) {
	for _, l := range m.Links {
		part := w.row.find(l.MID)
		if part == nil || l.How != "split" && l.How != "rewritten" {
			continue
		}
		for i := range part.Recipients {
			r := &part.Recipients[i]
			state, text := w.chain(part, r, 1)
			all = append(all, Says{Recipient: r.Address, State: state, Text: "went on as MID " + l.MID.String() + ": " + text})
		}
	}
	return all
}

// beside tells of a copy or of a report to the sender.
func (w *words) beside(l Link) Says {
	s := fmt.Sprintf("a copy went on as MID %s at %s, made by %s", l.MID, w.time(l.At), logs.Escape(l.By))
	if l.How == "bounce" {
		s = fmt.Sprintf("the sender was told, by MID %s at %s", l.MID, w.time(l.At))
	}
	m := w.row.find(l.MID)
	if m == nil || len(m.Recipients) == 0 {
		return Says{State: Moved, Text: s}
	}
	state, text := w.chain(m, &m.Recipients[0], 1)
	return Says{State: state, Text: s + ": " + text}
}

// chain is the sentence for one recipient, through all numbers.
func (w *words) chain(m *Message, r *Recipient, depth int) (State, string) {
	rest, state := "", r.State
	next := w.onward(m, r)
	if next != nil && depth < maxDepth {
		for i := range next.Recipients {
			if to := &next.Recipients[i]; strings.EqualFold(to.Address, r.Address) || to.Address == "" {
				state, rest = w.chain(next, to, depth+1)
				break
			}
		}
		if rest == "" && next.Whole != nil {
			state, rest = next.Whole.State, w.step(next.Whole)
		}
	}
	if h := w.row.heldAs(m.MID); h != nil {
		if rest == "" {
			state = State(h.State)
		}
		return state, w.held(h, r.Address, rest)
	}
	s := w.step(&r.Step)
	if rest == "" {
		return state, s
	}
	if r.State != Moved { // it was split
		return state, "split off as MID " + next.MID.String() + ": " + rest
	}
	return state, s + "; " + rest
}

// onward gives the message as which one goes on for a recipient.
func (w *words) onward(m *Message, r *Recipient) *Message {
	if r.State == Moved {
		return w.row.find(r.MID)
	}
	for _, l := range m.Links {
		if l.How != "split" {
			continue
		}
		part := w.row.find(l.MID)
		if part != nil && slices.ContainsFunc(part.Recipients, func(o Recipient) bool { return strings.EqualFold(o.Address, r.Address) }) {
			return part
		}
	}
	return nil
}

// step is one step in words.
func (w *words) step(s *Step) string {
	at, host, text, q := w.time(s.At), logs.Escape(s.Host), logs.Escape(s.Text), "a quarantine"
	if s.Quarantine != "" {
		q = "quarantine " + logs.Escape(s.Quarantine)
	}
	switch s.State {
	case Refused:
		return "refused " + text + " at " + at
	case Aborted:
		return "not taken at " + at + ": " + text
	case Working:
		return "accepted at " + at + ", waits in the work queue"
	case Queued:
		return "queued for delivery since " + at
	case Waiting:
		return "waiting for " + named(host) + " since the try at " + at + said(text) + w.next(s.Next)
	case Quarantined:
		return "to be given to " + q + " of the manager, waits since " + at + why(text) + w.next(s.Next)
	case Given:
		t := "given to " + q + " of the manager at " + at
		if s.MID != 0 {
			t += ", MID " + s.MID.String() + " there"
		}
		return t
	case Local:
		return "held in " + q + " since " + at + why(text)
	case Delivered:
		return "delivered to " + named(host) + " at " + at + said(text)
	case Possible:
		return "sent to " + named(host) + " at " + at + ", whose answer was not heard"
	case Bounced:
		return "bounced at " + at + said(text) + by(host)
	case Expired:
		return "expired at " + at + said(text)
	case Deleted:
		return "deleted from the queue by an administrator at " + at
	case Dropped:
		return strings.ToLower(text[:min(1, len(text))]) + text[min(1, len(text)):] + " at " + at
	case Moved:
		if s.Quarantine == "" {
			return "went on as MID " + s.MID.String() + by(text) + " at " + at
		}
		return "went on from " + q + " as MID " + s.MID.String() + by(text) + " at " + at
	}
	return "not in the queue any more, and the log has no end of it after " + at
}

func why(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

// Left is how many recipients are not told of.
func (r *Row) Left() (n int) {
	for _, m := range r.Messages {
		n += m.More
	}
	return n
}
