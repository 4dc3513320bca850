package gateway

import (
	"testing"

	"lazaret/internal/config"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// Released from the gateway's own Virus quarantine a message is scanned again
// and not held again for the verdict that it was held for; a new one holds it,
// under a new number, and filters do not run again (reference 2.5, F39, F40, F42).
func TestLocalRescan(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.Antivirus.Clamd = s.Socket
	})
	w.live()
	w.inject("alice@partner.example", "Subject: Offer\r\n\r\n"+testlib.EICAR()+"\r\n", nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 })
	virus := w.held(quarantine.Held)[0].MID
	w.release(virus)
	w.until("it is delivered", func() bool { return len(w.mailbox.Messages()) == 1 && w.state(virus) == "released" })

	worm := "Subject: doubtful\r\n\r\nlazaret-worm-of-the-test\r\n"
	w.inject("alice@partner.example", worm, nil, "bob@other.example")
	w.until("it is held", func() bool { return len(w.held(quarantine.Held)) == 1 })
	first := w.held(quarantine.Held)[0].MID
	s.Know(t, "Worm", "lazaret-worm-of-the-test")
	s.Restart(t)
	w.release(first)
	second := mail.MID(0)
	w.until("it is held again", func() bool {
		for _, m := range w.held(quarantine.Held) {
			if second = m.MID; second != first && len(m.Quarantines) == 1 && m.Quarantines[0].Name == "Virus" {
				return true
			}
		}
		return false
	})
	w.release(second)
	w.until("it is delivered", func() bool { return len(w.mailbox.Messages()) == 2 && w.state(second) == "released" })
}
