package gateway

import (
	"slices"
	"strings"
	"testing"

	"lazaret/internal/config"
)

// Mail from outside gets our Authentication-Results on top, and loses those that
// only claim to be ours; what fails a DMARC policy is held; filters can ask; our
// own mail is left alone.
func TestSenderAuthentication(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		c.Hostname = "gw1.lazaret.example"
		c.SenderAuth = config.SenderAuth{Verify: "on", DMARC: "quarantine"}
		paired(c)
		c.Filters = `soft: if (spf-status == "^softfail$" AND dmarc-status != "pass") { quarantine("Virus"); }`
	})
	for name, txt := range map[string]string{
		"good.example": "v=spf1 ip4:192.0.2.7 -all", "_dmarc.good.example": "v=DMARC1; p=reject",
		"evil.example": "v=spf1 ip4:192.0.2.7 -all", "soft.example": "v=spf1 ~all",
	} {
		w.dns.TXT[name] = []string{txt}
	}
	const forged = "authentication-results: (c) GW1.lazaret.example;\r\n dmarc=pass\r\nAuthentication-Results: other.example; spf=pass\r\n"
	letter := func(from string) string {
		return forged + "From: " + from + "\r\nSubject: x\r\n\r\nhello\r\n"
	}
	w.inject("a@good.example", letter("a@good.example"), nil, "x@other.example")
	w.until("a delivery", func() bool { return len(w.mailbox.Messages()) == 1 })
	got := string(w.mailbox.Messages()[0].Content)
	want := "Authentication-Results: gw1.lazaret.example; spf=pass smtp.mailfrom=good.example; dmarc=pass header.from=good.example; dkim=none\r\n"
	if !strings.Contains(got, want) || strings.Contains(got, "GW1") || !strings.Contains(got, "other.example; spf=pass") || strings.Count(got, "dmarc=") != 1 {
		t.Errorf("%q", got)
	}
	w.inject("a@evil.example", letter("ceo@good.example"), nil, "x@other.example")
	w.inject("a@soft.example", letter("a@soft.example"), nil, "x@other.example")
	w.inject("a@evil.example", letter("ceo@good.example"), relayed, "y@other.example")
	w.until("another delivery", func() bool { return len(w.mailbox.Messages()) == 2 })
	if got := string(w.mailbox.Messages()[1].Content); !strings.HasSuffix(got, letter("ceo@good.example")) || strings.Count(got, "gw1.lazaret.example; spf") != 0 {
		t.Errorf("our own mail is changed: %q", got)
	}
	var held []string
	w.until("two are held", func() bool { held = w.placed(); return len(held) == 2 })
	slices.Sort(held)
	if want := []string{"Policy DMARC: good.example asks for reject", "Virus message filter:soft"}; !slices.Equal(held, want) {
		t.Errorf("%q", held)
	}
	if got := w.lines("SPF:", "rewritten"); len(got) != 6 || got[0] != "MID 1 SPF: pass DKIM: none DMARC: pass (from domain good.example) ARC: none" || got[1] != "MID 1 rewritten to MID 2 by sender authentication" {
		t.Errorf("%q", got)
	}
}
