package access

// Predefined policies and tables, reference 7.1. They are written in the
// table's own language, so that an export shows everything they mean.

const predefinedText = `
$TRUSTED
  ACCEPT {max_msgs_per_session = 100000, max_concurrency = 600, max_rcpts_per_msg = 5000}
$BLOCKED
  REJECT {}
$THROTTLED
  ACCEPT {max_message_size = 10M, max_rcpts_per_msg = 25, max_msgs_per_session = 10, max_concurrency = 5, max_rcpts_per_hour = 20, dhap_limit = 25}
$ACCEPTED
  ACCEPT {}
$RELAYED
  RELAY {}
ALL
  $BLOCKED
`

// predefinedPolicy gives one of the policies that a table need not define.
// The text is parsed on demand: tables are made rarely, and the room has no
// state of its own.
func predefinedPolicy(name string) (Policy, bool) {
	switch name {
	case "TRUSTED", "BLOCKED", "THROTTLED", "ACCEPTED", "RELAYED":
	default:
		return Policy{}, false
	}
	h, err := ParseHAT(predefinedText)
	if err != nil {
		return Policy{}, false // a test holds that this cannot be
	}
	for _, p := range h.policies {
		if p.Name == name {
			return *p, true
		}
	}
	return Policy{}, false
}

// DefaultHAT gives the table of a new listener. The ranges of a public one
// match nobody until a reputation service is configured; relays come first, as
// the recommended order has it.
func DefaultHAT(kind Kind) *HAT {
	text := `
RELAYLIST:
  $RELAYED (Hosts that may send to anyone)
ALL
  $BLOCKED (Everyone else)
`
	if kind == Public {
		text = `
RELAYLIST:
  $RELAYED (Hosts that may send to anyone)
WHITELIST:
  $TRUSTED (Senders that are trusted)
BLACKLIST:
  sbrs[-10.0:-3.0]
    $BLOCKED (Senders that are refused)
SUSPECTLIST:
  sbrs[-3.0:-1.0]
    $THROTTLED (Senders that are slowed down)
UNKNOWNLIST:
  sbrs[-1.0:10.0]
    $ACCEPTED (Senders that are not known)
ALL
  $ACCEPTED (Everyone else)
`
	}
	h, err := ParseHAT(text)
	if err != nil {
		return &HAT{} // refuses everybody; a test holds that this cannot be
	}
	return h
}

// DefaultRAT gives the table of a new listener: nobody on a public one; a
// private one has none.
func DefaultRAT(kind Kind) *RAT {
	if kind != Public {
		return nil
	}
	return &RAT{entries: []ratEntry{{RATEntry: RATEntry{Address: All, Access: "REJECT"}, all: true}}}
}
