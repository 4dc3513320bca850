package logs

import (
	"time"

	"lazaret/internal/mail"
)

// Audit writes the audit log: one line for each thing an administrator did or
// was refused. It has no passwords and no message content.
type Audit struct {
	w   Lines
	now func() time.Time
}

// NewAudit makes an audit log on w. A nil clock is time.Now.
func NewAudit(w Lines, clock func() time.Time) *Audit {
	if clock == nil {
		clock = time.Now
	}
	return &Audit{w: w, now: clock}
}

// DiscardAudit gives an audit log whose lines go nowhere.
func DiscardAudit() *Audit { return NewAudit(nowhere{}, nil) }

// Record writes: who, from where, by which way, what, and how it ended
// ("ok", or why not).
func (a *Audit) Record(p mail.Principal, what, result string) {
	b := a.now().AppendFormat(make([]byte, 0, 256), stampLayout)
	b = append(b, "Info: User "...)
	b = appendText(b, p.Name, 0)
	b = append(b, " role "...)
	b = appendText(b, string(p.Role), 0)
	b = append(b, " from "...)
	b = appendText(b, p.From, 0)
	b = append(b, " via "...)
	b = appendText(b, p.Via, 0)
	b = append(b, ": "...)
	b = appendText(b, what, 0)
	b = append(b, ": "...)
	b = appendText(b, result, 0)
	a.w.WriteLine(append(b, '\n'))
}
