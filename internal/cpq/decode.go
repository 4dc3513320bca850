package cpq

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// VersionError is a block of another version.
type VersionError struct {
	Version string
	reports bool // and not metadata
}

// Error says which.
func (e *VersionError) Error() string {
	if e.reports {
		return "reports: version " + e.Version + " is not understood, only " + VersionWord + " and " + ReportStepWord
	}
	return "metadata: version " + e.Version + " is not understood, only " + VersionWord + " to " + RescanWord
}

// Unwrap gives the kind.
func (e *VersionError) Unwrap() error { return &errs.Error{Kind: errs.Invalid, Text: e.Error()} }

// Decode reads a block. It takes exactly what Encode gives: the reader follows
// the form of docs/cpq.md section 3 octet by octet and has no choices, so
// unknown, repeated and missing fields, blanks, other spellings and trailing
// octets are all the same error, with the place.
func Decode(block []byte) (Metadata, error) {
	if len(block) > MaxBlock {
		return Metadata{}, errs.New(errs.Invalid, "metadata: block is longer than %d octets", MaxBlock)
	}
	d := decoder{s: string(block)}
	version := d.version()
	var m Metadata
	switch {
	case d.err != nil:
	case d.has(`"deposit":{`):
		m.Deposit = d.deposit(version)
	case d.has(`"release":{`):
		m.Release = d.release(version == VersionExtras)
	case d.has(`"rescan":{`):
		m.Rescan = d.rescan()
	default:
		d.fail(`"deposit", "release" or "rescan" is expected`)
	}
	d.expect("}")
	if d.err == nil && d.i < len(d.s) {
		d.fail("nothing is expected behind the end")
	}
	if d.err == nil {
		d.err = m.check()
	}
	if d.err == nil && m.Version() != version {
		d.err = errs.New(errs.Invalid, "metadata: this is not one of version %d", version)
	}
	if d.err != nil {
		return Metadata{}, d.err
	}
	return m, nil
}

// decoder reads on until the first error; after it all reads give nothing.
type decoder struct {
	s   string
	i   int
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = errs.New(errs.Invalid, "metadata: octet %d: %s", d.i, what)
	}
}

// has consumes lit if it stands here.
func (d *decoder) has(lit string) bool {
	if d.err != nil || !strings.HasPrefix(d.s[d.i:], lit) {
		return false
	}
	d.i += len(lit)
	return true
}

func (d *decoder) expect(lit string) {
	if !d.has(lit) {
		d.fail(lit + " is expected")
	}
}

func (d *decoder) version() int {
	d.expect(`{"version":`)
	start := d.i
	n := d.digits(math.MaxUint32)
	if d.err == nil && n != Version && n != VersionExtras && n != VersionMatched && n != VersionKeep && n != VersionRescan {
		d.err = &VersionError{Version: d.s[start:d.i]}
	}
	d.expect(",")
	return int(n)
}

func (d *decoder) deposit(version int) *Deposit {
	p := &Deposit{
		Key:           mail.Key(d.text("key", 100)),
		GatewaySerial: d.text(",serial", 40),
		GatewayName:   d.text(",name", maxWord),
		GatewayMID:    mail.MID(d.number(",mid", math.MaxUint64)),
		Accepted:      d.time(",accepted"),
	}
	ip, ok := parseIP(d.text(",remote_ip", 64))
	if !ok {
		d.fail("remote_ip is no address in its normal form")
	}
	p.Origin.RemoteIP = ip
	p.Origin.RemoteHost = d.text(",remote_host", maxWord)
	p.Origin.Helo = d.text(",helo", maxWord)
	p.Origin.Listener = d.text(",listener", maxWord)
	p.Origin.SenderGroup = d.text(",sender_group", maxWord)
	p.Policy = d.text(",policy", maxWord)
	p.Direction = Direction(d.text(",direction", 16))
	p.Size = int64(d.number(",size", math.MaxInt64))
	p.Hash = d.hash(",sha256")
	p.Subject = d.text(",subject", maxSubject)
	p.Prepend = d.text(",prepend", maxPrepend)
	d.expect(`,"placements":[`)
	for d.err == nil {
		d.expect("{")
		q := mail.Placement{Quarantine: d.text("quarantine", maxWord), Reason: d.text(",reason", maxReason)}
		if version >= VersionMatched {
			q.Matched = d.matched()
		}
		if version >= VersionKeep {
			q.Keep = time.Duration(d.number(",keep", uint64(maxKeep/time.Second))) * time.Second
		}
		d.expect("}")
		p.Placements = append(p.Placements, q)
		if len(p.Placements) > maxPlacements {
			d.fail("too many placements")
		}
		if !d.has(",") {
			break
		}
	}
	d.expect("]}")
	return p
}

// matched reads what rules found; it may be nothing.
func (d *decoder) matched() (all []mail.Matched) {
	d.expect(`,"matched":[`)
	if d.has("]") {
		return nil
	}
	for d.err == nil {
		d.expect("{")
		all = append(all, mail.Matched{Rule: d.text("rule", mail.MaxMatchedText), Part: d.text(",part", mail.MaxMatchedText), Text: d.text(",text", mail.MaxMatchedText)})
		d.expect("}")
		if len(all) > mail.MaxMatched {
			d.fail("too many matches")
		}
		if !d.has(",") {
			break
		}
	}
	d.expect("]")
	return all
}

func (d *decoder) release(extras bool) *Release {
	r := &Release{
		Action:     mail.ActionKey(d.text("action", 120)),
		Key:        mail.Key(d.text(",key", 100)),
		ManagerMID: mail.MID(d.number(",manager_mid", math.MaxUint64)),
		GatewayMID: mail.MID(d.number(",gateway_mid", math.MaxUint64)),
		Size:       int64(d.number(",size", math.MaxInt64)),
		Hash:       d.hash(",sha256"),
		Cause:      d.text(",cause", maxCause),
		By:         d.text(",by", maxWord),
		Prepend:    d.text(",prepend", maxPrepend),
	}
	if extras {
		r.Extras = d.extras()
	}
	d.expect("}")
	return r
}

func (d *decoder) extras() (all []mail.Extras) {
	d.expect(`,"extras":[`)
	for d.err == nil {
		d.expect("{")
		x := mail.Extras{Tag: d.text("tag", mail.MaxTag)}
		switch place := d.text(",place", 8); place {
		case placeStart:
		case placeEnd:
			x.AtEnd = true
		default:
			d.fail("place is start or end")
		}
		x.Header = d.text(",header", maxWord)
		x.Value = d.text(",value", 1<<10)
		d.expect(`,"strip":`)
		if x.Strip = d.has("true"); !x.Strip {
			d.expect("false")
		}
		d.expect("}")
		all = append(all, x)
		if len(all) > maxPlacements {
			d.fail("too many extras")
		}
		if !d.has(",") {
			break
		}
	}
	d.expect("]")
	return all
}

// name consumes a field name in quotes and the colon, with a comma in front
// where name has one.
func (d *decoder) name(name string) {
	word, comma := strings.CutPrefix(name, ",")
	lit := `"` + word + `":`
	if comma {
		lit = "," + lit
	}
	d.expect(lit)
}

// digits reads a number without sign and leading zeros.
func (d *decoder) digits(limit uint64) uint64 {
	start := d.i
	for d.i < len(d.s) && d.i-start < 20 && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
		d.i++
	}
	word := d.s[start:d.i]
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n > limit || len(word) > 1 && word[0] == '0' {
		d.i = start
		d.fail("a number up to " + strconv.FormatUint(limit, 10) + " is expected")
		return 0
	}
	return n
}

func (d *decoder) number(name string, limit uint64) uint64 {
	if d.name(name); d.err != nil {
		return 0
	}
	return d.digits(limit)
}

func (d *decoder) time(name string) time.Time {
	s := d.text(name, len(timeForm))
	t, err := time.Parse(timeForm, s)
	if err != nil || t.Format(timeForm) != s {
		d.fail("accepted is no time of the form " + timeForm)
	}
	return t
}

func (d *decoder) hash(name string) mail.Hash {
	s := d.text(name, 2*len(mail.Hash{}))
	h, err := mail.ParseHash(s)
	if err != nil || h.String() != s {
		d.fail("sha256 is not 64 hexadecimal digits in lower case")
	}
	return h
}

// text reads a string of at most limit octets.
func (d *decoder) text(name string, limit int) string {
	d.name(name)
	d.expect(`"`)
	if d.err != nil {
		return ""
	}
	var b []byte // what was unescaped so far; nil: nothing had to be
	start := d.i
	for d.err == nil && d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case c == '"':
			s := d.s[start:d.i]
			if b != nil {
				s = string(append(b, s...))
			}
			d.i++
			return d.sound(name, s, limit)
		case c == '\\':
			b = append(b, d.s[start:d.i]...)
			b = append(b, d.escape())
			start = d.i
		case c < 32 || c == 127:
			d.fail("a control character is not escaped")
		default:
			d.i++
		}
	}
	d.fail("a string has no end")
	return ""
}

// sound checks what a string may hold.
func (d *decoder) sound(name, s string, limit int) string {
	switch {
	case len(s) > limit:
		d.fail(strings.TrimPrefix(name, ",") + " is longer than " + strconv.Itoa(limit) + " octets")
	case !utf8.ValidString(s):
		d.fail(strings.TrimPrefix(name, ",") + " is not UTF-8")
	default:
		return s
	}
	return ""
}

// escape reads one escape: there is only one way to write each character.
func (d *decoder) escape() byte {
	rest := d.s[d.i:]
	if len(rest) >= 2 && (rest[1] == '"' || rest[1] == '\\') {
		d.i += 2
		return rest[1]
	}
	if len(rest) >= 6 && rest[:4] == `\u00` && strings.ToLower(rest[4:6]) == rest[4:6] {
		n, err := strconv.ParseUint(rest[4:6], 16, 8)
		if err == nil && (n < 32 || n == 127) {
			d.i += 6
			return byte(n)
		}
	}
	d.fail("an escape is not of the one form")
	return 0
}
