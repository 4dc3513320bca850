package gateway

import (
	"context"
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
	w.until("that is not proven to be delivered", func() bool { return w.state(first) == "released" })
	if m, err := w.quarantines.Show(t.Context(), root, first); err != nil || m.Release[0].State != "held" || m.Release[0].Rescan != "infected Worm.Part.UNOFFICIAL, held again in Virus" {
		t.Errorf("%+v, %v", m.Release, err)
	}
	if got := w.lines("Release of MID " + first.String() + " proven"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	w.release(second)
	w.until("it is delivered", func() bool { return len(w.mailbox.Messages()) == 2 && w.state(second) == "released" })
}

// What is held here is judged anew when the signatures are new: what is clean
// now leaves where that is set, as a release like any other; what is not, or
// cannot be scanned, stays. One that is through is not begun again.
func TestLocalSignatures(t *testing.T) {
	s := testlib.NewClamd(t)
	s.Know(t, "Worm", "lazaret-worm-of-the-test")
	s.Restart(t)
	w := newWorld(t, nil, func(c *config.Config) {
		holding(c)
		c.Antivirus.Clamd = s.Socket
		for i := range c.Quarantines {
			c.Quarantines[i].Clean = c.Quarantines[i].Name == quarantine.Virus
		}
	})
	w.live()
	w.inject("alice@partner.example", "Subject: virus\r\n\r\n"+testlib.EICAR()+"\r\n", nil, "bob@other.example")
	w.inject("alice@partner.example", "Subject: worm\r\n\r\nlazaret-worm-of-the-test\r\n", nil, "bob@other.example")
	w.inject("alice@partner.example", doubtful, nil, "bob@other.example")
	w.until("three are held", func() bool { return len(w.held(quarantine.Held)) == 3 })
	version := "1"
	check := func(ok bool) {
		t.Helper()
		err := w.quarantines.CheckSignatures(t.Context(), func(context.Context) map[string]string { return map[string]string{w.serial(): version} })
		if err != nil || (w.State.Signatures()[w.serial()] == version) != ok {
			t.Errorf("%v, %v", err, w.State.Signatures())
		}
	}
	check(true)
	if n := len(w.held(quarantine.Held)); n != 3 || len(w.lines("scanned again in quarantine: infected")) != 4 { // by engine and by quarantine
		t.Fatalf("%d held\n%s", n, w.log())
	}
	version = "2"
	s.Stop()
	check(false) // nobody answers: later
	s.Unknow(t, "Worm")
	s.Restart(t)
	check(true)
	w.until("the worm that is none is delivered", func() bool { return len(w.mailbox.Messages()) == 1 && len(w.held(quarantine.Held)) == 2 })
	if got := w.lines(`from quarantine "Virus" (found clean)`); len(got) != 1 {
		t.Errorf("%q", got)
	}
	n := len(w.lines("scanned again"))
	check(true)
	if len(w.lines("scanned again")) != n {
		t.Error("scanned again for the same signatures")
	}
}
