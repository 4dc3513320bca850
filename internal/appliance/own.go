package appliance

import (
	"crypto/sha256"
	"strings"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/delivery"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// Routes gives the SMTP routes of a configuration.
func Routes(c *config.Config) (*delivery.Routes, error) {
	var b strings.Builder
	for _, r := range c.SMTPRoutes {
		b.WriteString(r.Domain + " " + strings.Join(r.Hosts, ", ") + "\n")
	}
	return delivery.ParseRoutes(b.String())
}

// OwnMail makes a message of this appliance to one recipient. It has no sender,
// so that nothing comes back.
func (a *Appliance) OwnMail(mid mail.MID, to mail.Address, now time.Time, text []byte) queue.Made {
	sum := mail.Hash(sha256.Sum256(text))
	it := &queue.Item{
		MID: mid, Key: mail.NewKey(a.Config.Committed().Serial, mid, sum), State: queue.Routed, Size: int64(len(text)), Hash: sum, Accepted: now,
		Recipients: []queue.Recipient{{Address: to, Dest: queue.Dest{Name: to.Domain}, RcptParams: mail.RcptParams{Notify: mail.NotifyNever}}},
	}
	it.EightBit = !ascii(text)
	it.UTF8 = !ascii([]byte(to.String()))
	return queue.Made{Item: it, Content: text}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
