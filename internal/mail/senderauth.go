package mail

// SenderAuth is what was found out about who sent a message, in the words of
// RFC 8601 section 2.7. The zero value is that of a message not looked at.
type SenderAuth struct {
	SPF   string   // of the envelope sender, or HELO
	DKIM  []string // one for each signature; none: no signature
	DMARC string   // of the domain in the field From
	ARC   string   // of the chain

	Author string // domain in the field From; "" when there is not exactly one
	Policy string // what that domain asks for this message when DMARC is fail: none, quarantine, reject
	Reason string // why DMARC says so, printable
	Field  string // value of our own Authentication-Results
}
