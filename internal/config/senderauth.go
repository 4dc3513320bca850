package config

import (
	"strings"

	"lazaret/internal/errs"
)

// SenderAuth says whether senders are authenticated, and what a failure leads to.
type SenderAuth struct {
	Verify string `xml:"verify"`     // on or off; empty is off
	DMARC  string `xml:"dmarc_fail"` // deliver or quarantine; empty is deliver
}

// Quarantine reports whether what fails DMARC is held.
func (s SenderAuth) Quarantine() bool { return s.DMARC == "quarantine" }

func (k checker) senderAuth() error {
	s := k.c.SenderAuth
	switch {
	case k.c.Role != string(Gateway) && s != SenderAuth{}:
		return k.at("sender_authentication", 0, "", "sender authentication is a setting of a gateway")
	case s.Verify != "" && s.Verify != On && s.Verify != Off:
		return k.at("sender_authentication", 0, "verify", "verify is on or off, not %q", clip(s.Verify))
	case s.DMARC != "" && s.DMARC != "deliver" && s.DMARC != "quarantine":
		return k.at("sender_authentication", 0, "dmarc_fail", "dmarc_fail is deliver or quarantine, not %q", clip(s.DMARC))
	case s.Quarantine() && s.Verify != On:
		return k.at("sender_authentication", 0, "dmarc_fail", "dmarc_fail quarantine needs verify on")
	}
	return nil
}

// Parameters gives the settings, in a fixed order.
func (s SenderAuth) Parameters() []Parameter {
	return []Parameter{{"verify", cmpOr(s.Verify, Off)}, {"dmarc_fail", cmpOr(s.DMARC, "deliver")}}
}

// Set changes one setting by its name.
func (s *SenderAuth) Set(name, value string) error {
	to := map[string]*string{"verify": &s.Verify, "dmarc_fail": &s.DMARC}[strings.ToLower(name)]
	if to == nil {
		return errs.New(errs.Invalid, "%q is not a parameter; known are verify, dmarc_fail", clip(name))
	}
	*to = value
	return nil
}
