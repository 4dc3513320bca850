package cpq

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

const timeForm = "2006-01-02T15:04:05.000Z"

// Encode gives the one block that stands for m. Text from outside is cut and
// repaired; anything else beyond its limit is an error.
func Encode(m Metadata) ([]byte, error) {
	m = m.repaired()
	if err := m.check(); err != nil {
		return nil, err
	}
	e := encoder(make([]byte, 0, 1024))
	e.raw("{")
	e.number("version", uint64(m.Version()))
	e.raw(",")
	switch {
	case m.Deposit != nil:
		e.deposit(m.Deposit, m.Version())
	case m.Release != nil:
		e.release(m.Release)
	default:
		e.rescan(m.Rescan)
	}
	e.raw("}")
	if len(e) > MaxBlock {
		return nil, errs.New(errs.Invalid, "metadata is longer than %d octets", MaxBlock)
	}
	return e, nil
}

// encoder writes the form of docs/cpq.md section 3; there is no other.
type encoder []byte

func (e *encoder) raw(s string) { *e = append(*e, s...) }

func (e *encoder) deposit(d *Deposit, version int) {
	e.raw(`"deposit":{`)
	e.text("key", string(d.Key))
	e.text(",serial", d.GatewaySerial)
	e.text(",name", d.GatewayName)
	e.number(",mid", uint64(d.GatewayMID))
	e.text(",accepted", d.Accepted.Format(timeForm))
	ip := ""
	if d.Origin.RemoteIP.IsValid() {
		ip = d.Origin.RemoteIP.String()
	}
	e.text(",remote_ip", ip)
	e.text(",remote_host", d.Origin.RemoteHost)
	e.text(",helo", d.Origin.Helo)
	e.text(",listener", d.Origin.Listener)
	e.text(",sender_group", d.Origin.SenderGroup)
	e.text(",policy", d.Policy)
	e.text(",direction", string(d.Direction))
	e.number(",size", uint64(d.Size))
	e.text(",sha256", d.Hash.String())
	e.text(",subject", d.Subject)
	e.text(",prepend", d.Prepend)
	e.raw(`,"placements":[`)
	for i, p := range d.Placements {
		if i > 0 {
			e.raw(",")
		}
		e.raw("{")
		e.text("quarantine", p.Quarantine)
		e.text(",reason", p.Reason)
		if version >= VersionMatched {
			e.matched(p.Matched)
		}
		if version >= VersionKeep {
			e.number(",keep", uint64(p.Keep/time.Second))
		}
		e.raw("}")
	}
	e.raw("]}")
}

func (e *encoder) matched(all []mail.Matched) {
	e.raw(`,"matched":[`)
	for i, m := range all {
		if i > 0 {
			e.raw(",")
		}
		e.raw("{")
		e.text("rule", m.Rule)
		e.text(",part", m.Part)
		e.text(",text", m.Text)
		e.raw("}")
	}
	e.raw("]")
}

func (e *encoder) release(r *Release) {
	e.raw(`"release":{`)
	e.text("action", string(r.Action))
	e.text(",key", string(r.Key))
	e.number(",manager_mid", uint64(r.ManagerMID))
	e.number(",gateway_mid", uint64(r.GatewayMID))
	e.number(",size", uint64(r.Size))
	e.text(",sha256", r.Hash.String())
	e.text(",cause", r.Cause)
	e.text(",by", r.By)
	e.text(",prepend", r.Prepend)
	if len(r.Extras) > 0 {
		e.raw(`,"extras":[`)
		for i, x := range r.Extras {
			if i > 0 {
				e.raw(",")
			}
			e.extras(x)
		}
		e.raw("]")
	}
	e.raw("}")
}

func (e *encoder) extras(x mail.Extras) {
	place := placeStart
	if x.AtEnd {
		place = placeEnd
	}
	e.raw("{")
	e.text("tag", x.Tag)
	e.text(",place", place)
	e.text(",header", x.Header)
	e.text(",value", x.Value)
	e.raw(`,"strip":`)
	*e = strconv.AppendBool(*e, x.Strip)
	e.raw("}")
}

// Where a tag stands in the subject.
const (
	placeStart = "start"
	placeEnd   = "end"
)

// name writes a field name; a comma in front of it stands before the quotes.
func (e *encoder) name(s string) {
	if s[0] == ',' {
		e.raw(",")
		s = s[1:]
	}
	e.raw(`"`)
	e.raw(s)
	e.raw(`":`)
}

func (e *encoder) number(name string, n uint64) {
	e.name(name)
	*e = strconv.AppendUint(*e, n, 10)
}

func (e *encoder) text(name, s string) {
	const hex = "0123456789abcdef"
	e.name(name)
	b := append(*e, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 32 && c != '"' && c != '\\' && c != 127 {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		if c == '"' || c == '\\' {
			b = append(b, '\\', c)
		} else {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[start:]...)
	*e = append(b, '"')
}

// repaired gives m with the text from outside made fit, and times in UTC.
func (m Metadata) repaired() Metadata {
	if m.Deposit == nil {
		return m
	}
	d := *m.Deposit
	d.Accepted = d.Accepted.UTC().Truncate(time.Millisecond)
	d.Origin.RemoteHost = repair(d.Origin.RemoteHost, maxWord)
	d.Origin.Helo = repair(d.Origin.Helo, maxWord)
	d.Subject = repair(d.Subject, maxSubject)
	m.Deposit = &d
	return m
}

// repair makes s valid UTF-8 of at most limit octets.
func repair(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit] // before the repair, which may lengthen it
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// check finds what Encode must not write and Decode must not take.
func (m Metadata) check() error {
	switch {
	case m.Deposit != nil && m.Release == nil && m.Rescan == nil:
		return m.Deposit.check()
	case m.Release != nil && m.Deposit == nil && m.Rescan == nil:
		return m.Release.check()
	case m.Rescan != nil && m.Deposit == nil && m.Release == nil:
		return m.Rescan.check()
	}
	return errs.New(errs.Invalid, "metadata: it is a deposit, a release or a re-scan")
}

func (d *Deposit) check() error {
	_, serial, _, err := mail.ParseKey(string(d.Key))
	switch {
	case err != nil:
		return errs.Context(err, "metadata: key")
	case serial != d.GatewaySerial:
		return errs.New(errs.Invalid, "metadata: serial is not the one in the key")
	case mail.NewKey(serial, keyMID(d.Key), d.Hash) != d.Key:
		return errs.New(errs.Invalid, "metadata: sha256 is not the one in the key")
	case d.GatewayMID == 0:
		return errs.New(errs.Invalid, "metadata: mid is 0")
	case d.Size < 0:
		return errs.New(errs.Invalid, "metadata: size is negative")
	case d.Direction != Inbound && d.Direction != Outbound:
		return errs.New(errs.Invalid, "metadata: direction is neither inbound nor outbound")
	case d.Accepted.Year() < 1970 || d.Accepted.Year() > 9999:
		return errs.New(errs.Invalid, "metadata: accepted is no time of mail")
	case d.Origin.RemoteIP.Zone() != "" || d.Origin.RemoteIP.Is4In6():
		return errs.New(errs.Invalid, "metadata: remote_ip is not in its normal form")
	}
	return firstError(
		texts{{"name", d.GatewayName, maxWord}, {"remote_host", d.Origin.RemoteHost, maxWord}, {"helo", d.Origin.Helo, maxWord},
			{"listener", d.Origin.Listener, maxWord}, {"sender_group", d.Origin.SenderGroup, maxWord},
			{"policy", d.Policy, maxWord}, {"subject", d.Subject, maxSubject}}.check(),
		checkPrepend(d.Prepend),
		checkPlacements(d.Placements),
	)
}

func (r *Release) check() error {
	_, of, err := mail.ParseActionKey(string(r.Action))
	if err != nil {
		return errs.Context(err, "metadata: action")
	}
	_, serial, mid, err := mail.ParseKey(string(r.Key))
	switch {
	case err != nil:
		return errs.Context(err, "metadata: key")
	case of != r.Key:
		return errs.New(errs.Invalid, "metadata: action is not one about the key")
	case mail.NewKey(serial, mid, r.Hash) != r.Key:
		return errs.New(errs.Invalid, "metadata: sha256 is not the one in the key")
	case r.ManagerMID == 0 || r.GatewayMID == 0:
		return errs.New(errs.Invalid, "metadata: mid is 0")
	case r.Size < 0:
		return errs.New(errs.Invalid, "metadata: size is negative")
	}
	return firstError(texts{{"cause", r.Cause, maxCause}, {"by", r.By, maxWord}}.check(), checkPrepend(r.Prepend), checkExtras(r.Extras))
}

// checkExtras wants instructions that say something, each of them.
func checkExtras(all []mail.Extras) error {
	if len(all) > maxPlacements {
		return errs.New(errs.Invalid, "metadata: there are more than %d extras", maxPlacements)
	}
	for _, x := range all {
		if x == (mail.Extras{}) {
			return errs.New(errs.Invalid, "metadata: extras that say nothing")
		}
		if err := x.Check(); err != nil {
			return errs.Context(err, "metadata: extras")
		}
	}
	return nil
}

func firstError(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func keyMID(k mail.Key) mail.MID {
	_, _, mid, _ := mail.ParseKey(string(k))
	return mid
}

// texts are fields with their limits.
type texts []struct {
	name, value string
	limit       int
}

func (all texts) check() error {
	for _, t := range all {
		if len(t.value) > t.limit {
			return errs.New(errs.Invalid, "metadata: %s is longer than %d octets", t.name, t.limit)
		}
		if !utf8.ValidString(t.value) {
			return errs.New(errs.Invalid, "metadata: %s is not UTF-8", t.name)
		}
	}
	return nil
}

func checkPlacements(all []mail.Placement) error {
	if len(all) == 0 || len(all) > maxPlacements {
		return errs.New(errs.Invalid, "metadata: a message is put into 1 to %d quarantines", maxPlacements)
	}
	seen := make(map[string]bool, len(all))
	for _, p := range all {
		if p.Quarantine == "" || seen[p.Quarantine] {
			return errs.New(errs.Invalid, "metadata: a quarantine is named twice or not at all")
		}
		seen[p.Quarantine] = true
		if err := (texts{{"quarantine", p.Quarantine, maxWord}, {"reason", p.Reason, maxReason}}).check(); err != nil {
			return err
		}
		if p.Keep < 0 || p.Keep > maxKeep || p.Keep%time.Second != 0 {
			return errs.New(errs.Invalid, "metadata: keep is not a number of seconds up to 30 days")
		}
		if len(p.Matched) > mail.MaxMatched {
			return errs.New(errs.Invalid, "metadata: there are more than %d matches", mail.MaxMatched)
		}
		for _, m := range p.Matched {
			if err := (texts{{"rule", m.Rule, mail.MaxMatchedText}, {"part", m.Part, mail.MaxMatchedText}, {"text", m.Text, mail.MaxMatchedText}}).check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPrepend wants whole header lines: name, colon, text, folded or not, each
// ended by CR LF; so that nothing in it can end the header (register B5).
func checkPrepend(s string) error {
	if err := (texts{{"prepend", s, maxPrepend}}).check(); err != nil {
		return err
	}
	for first := true; s != ""; first = false {
		line, rest, ok := strings.Cut(s, "\r\n")
		if !ok || strings.ContainsAny(line, "\r\n\x00") || !headerLine(line, first) {
			return errs.New(errs.Invalid, "metadata: prepend is not whole header lines")
		}
		s = rest
	}
	return nil
}

func headerLine(line string, first bool) bool {
	if line != "" && (line[0] == ' ' || line[0] == '\t') {
		return !first && strings.Trim(line, " \t") != ""
	}
	colon := strings.IndexByte(line, ':')
	for i := 0; i < colon; i++ {
		if line[i] <= 32 || line[i] >= 127 {
			return false
		}
	}
	return colon > 0
}

func parseIP(s string) (netip.Addr, bool) {
	if s == "" {
		return netip.Addr{}, true
	}
	ip, err := netip.ParseAddr(s)
	return ip, err == nil && ip.String() == s
}
