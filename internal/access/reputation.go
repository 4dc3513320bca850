package access

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Score is what the reputation service says of an address. The zero value is
// that it says nothing.
type Score struct {
	State  ScoreState
	Tenths int // -100 (-10.0, the worst) to 100 (10.0)
}

// ScoreState says how the question went.
type ScoreState uint8

// What a question can give.
const (
	ScoreNone   ScoreState = iota // nothing is known of the address, or nobody was asked
	ScoreKnown                    // Tenths is it
	ScoreFailed                   // nobody answered: matches nothing
)

// The ends of the scale, in tenths.
const (
	worstScore = -100
	bestScore  = 100
)

// KnownScore gives a score, cut to the ends of the scale.
func KnownScore(tenths int) Score {
	return Score{State: ScoreKnown, Tenths: min(max(tenths, worstScore), bestScore)}
}

// String gives the score as the log has it (reference 5.2).
func (s Score) String() string {
	switch s.State {
	case ScoreKnown:
		return formatTenths(s.Tenths)
	case ScoreFailed:
		return "unable to retrieve"
	}
	return "None"
}

// ParseTenths reads a number of the scale with at most one decimal, in tenths.
func ParseTenths(s string) (int, error) {
	bad := errs.New(errs.Invalid, "%q is not a score from -10.0 to 10.0", clip(s))
	digits, minus := strings.CutPrefix(s, "-")
	whole, part, dot := strings.Cut(digits, ".")
	if !isDigits(whole) || len(whole) > 2 || dot && (!isDigits(part) || len(part) != 1) {
		return 0, bad
	}
	n, err := strconv.Atoi(whole + (part + "0")[:1])
	if minus {
		n = -n
	}
	if err != nil || n < worstScore || n > bestScore {
		return 0, bad
	}
	return n, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func formatTenths(n int) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return sign + strconv.Itoa(n/10) + "." + strconv.Itoa(n%10)
}

// scoreRange is sbrs[low:high], both ends included, or sbrs[none].
type scoreRange struct {
	none      bool
	low, high int
}

func (r scoreRange) holds(s Score) bool {
	if r.none {
		return s.State == ScoreNone
	}
	return s.State == ScoreKnown && r.low <= s.Tenths && s.Tenths <= r.high
}

type scoreEntry struct {
	scoreRange
	at int
}

// maxZones is how many DNS lists one table may ask: each connection asks them
// all at once.
const maxZones = 20

// parseReputation reads the entries with brackets: sbrs[low:high], sbrs[none]
// and dnslist[zone].
func parseReputation(s string) (condition, error) {
	word, rest, _ := strings.Cut(s, "[")
	inside, closed := strings.CutSuffix(rest, "]")
	switch {
	case !closed:
		return condition{}, errs.New(errs.Invalid, "entry %q: the bracket is not closed", clip(s))
	case word == "sbrs" && inside == "none":
		return condition{score: &scoreRange{none: true}}, nil
	case word == "sbrs":
		return parseScores(s, inside)
	case word == "dnslist":
		zone, err := mail.ParseDomain(inside)
		if err != nil || zone[0] == '[' || !strings.Contains(zone, ".") {
			return condition{}, errs.New(errs.Invalid, "entry %q: dnslist[...] names the zone of a DNS list, such as dnslist[zone.example]", clip(s))
		}
		return condition{zone: zone}, nil
	}
	return condition{}, errs.New(errs.Invalid, "entry %q: with brackets there are sbrs[low:high], sbrs[none] and dnslist[zone]", clip(s))
}

func parseScores(s, inside string) (condition, error) {
	low, high, ok := strings.Cut(inside, ":")
	a, err := ParseTenths(low)
	b, err2 := ParseTenths(high)
	switch {
	case !ok || err != nil || err2 != nil:
		return condition{}, errs.New(errs.Invalid, "entry %q: a range of scores is sbrs[-10.0:10.0] or a part of it, or sbrs[none]", clip(s))
	case b < a:
		return condition{}, errs.New(errs.Invalid, "entry %q: the range ends before it starts", clip(s))
	}
	return condition{score: &scoreRange{low: a, high: b}}, nil
}

// findReputation looks at what others say of the client.
func (x *index) findReputation(c Client, best int) int {
	for zone, at := range x.zones {
		if c.Listed[zone] {
			best = first(best, at)
		}
	}
	for _, e := range x.scores {
		if e.holds(c.Score) {
			best = first(best, e.at)
		}
	}
	return best
}

// Needs is what has to be asked about a client before Decide.
type Needs struct {
	Zones []string // DNS lists, in the table's order
	Score bool
}

// Needs gives what the decision about an address may hang on: groups below one
// that takes the address by its number are not reached, and cost no question.
func (h *HAT) Needs(ip netip.Addr) Needs {
	var n Needs
	ip = ip.Unmap().WithZone("")
	for _, g := range h.groups {
		if g.policy.Action == Continue {
			continue
		}
		if g.Name == All || g.index.findAddr(ip, -1) >= 0 {
			break
		}
		n.Score = n.Score || len(g.index.scores) > 0
		for zone := range g.index.zones {
			if !slices.Contains(n.Zones, zone) {
				n.Zones = append(n.Zones, zone)
			}
		}
	}
	return n
}

// UsesScores reports whether any group asks for the reputation score.
func (h *HAT) UsesScores() bool {
	return slices.ContainsFunc(h.groups, func(g *Group) bool { return len(g.index.scores) > 0 })
}
