package admin

import (
	"strconv"
	"strings"

	"lazaret/internal/quarantine"
)

// releaseChain says in a sentence how far a release came for one recipient:
// asked, queued, taken, and what became of it behind the gateway. That it was
// accepted is said only when a server has said so.
func releaseChain(gateway string, r *quarantine.DeliveryView) string {
	line := r.Recipient + ":"
	if !r.Asked.IsZero() {
		line += " released on " + stamp(r.Asked)
	}
	switch {
	case r.State == quarantine.Queued.String() && r.Reply == "":
		return line + "; queued to " + gateway
	case r.State == quarantine.Queued.String():
		return line + "; queued to " + gateway + ", which was tried: " + r.Reply
	case r.State == quarantine.FailedThere.String():
		return line + "; not taken by " + gateway + ": " + r.Reply
	}
	line += "; taken by " + gateway
	if r.NewMID != 0 {
		line += " as MID " + r.NewMID.String()
	}
	if !r.Taken.IsZero() {
		line += " on " + stamp(r.Taken)
	}
	if r.Rescan != "" {
		line += "; rescanned: " + r.Rescan
	}
	if r.State == quarantine.HeldAgain.String() {
		return line + "; not delivered: " + heldAgain(gateway, r)
	}
	return line + "; " + behindGateway(r)
}

// heldAgain says where a message is that scanning it again held once more.
func heldAgain(gateway string, r *quarantine.DeliveryView) string {
	line := "it is a message of its own again"
	if r.NewMID != 0 {
		line += ", MID " + r.NewMID.String() + " of " + gateway
	}
	if !r.Tried.IsZero() {
		line += ", since " + stamp(r.Tried)
	}
	return line + ": " + r.Answer
}

// behindGateway says what a gateway reported.
func behindGateway(r *quarantine.DeliveryView) string {
	said := ""
	if r.Code != 0 {
		said += strconv.Itoa(r.Code) + " "
	}
	said += r.Answer
	on := ""
	if !r.Tried.IsZero() {
		on = " on " + stamp(r.Tried)
	}
	by := ""
	if r.Host != "" {
		by = " by " + r.Host
	}
	switch r.State {
	case quarantine.Accepted.String():
		return "accepted" + by + on + ": " + said
	case quarantine.Bounced.String():
		return "refused" + by + on + ": " + said
	case quarantine.Waiting.String():
		if r.Attempts == 0 && r.Answer == "" {
			return "waiting, not tried yet"
		}
		line := "waiting, tried " + times(r.Attempts) + ", last" + on + by + ": " + said
		if !r.Next.IsZero() {
			line += "; next try on " + stamp(r.Next)
		}
		return line
	case quarantine.Aside.String(), quarantine.DeletedThere.String():
		return said
	case quarantine.Discarded.String():
		if r.Answer != "" && (r.Rescan == "" || !strings.HasSuffix(r.Answer, r.Rescan)) {
			return "thrown away there: " + said
		}
		return "thrown away there, as the gateway is configured to"
	case quarantine.LostSight.String():
		return "it left the gateway, and what became of it is not known"
	}
	return "no word yet of what became of it"
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}
