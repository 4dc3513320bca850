package tracking

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/mail"
)

// stampLayout is the frame of a line, reference 5.1.
const stampLayout = "Mon Jan _2 15:04:05 2006"

// clock reads the stamps of lines. Lines carry local time without a zone; each
// file names its offset from UTC in its first lines.
type clock struct {
	zone *time.Location
	line string    // stamp of the line in hand
	read string    // the last one that was read
	at   time.Time // that it says
}

func newClock(zone *time.Location) clock {
	if zone == nil {
		zone = time.UTC
	}
	return clock{zone: zone}
}

// split takes the frame off a line. False: it is no line of a log.
func (c *clock) split(line []byte) (text string, ok bool) {
	const n = len(stampLayout)
	if len(line) < n+2 || line[3] != ' ' || line[7] != ' ' || line[13] != ':' || line[16] != ':' || line[n] != ' ' {
		return "", false
	}
	all := string(line)
	c.line = all[:n]
	_, text, ok = strings.Cut(all[n+1:], ": ")
	if offset, is := strings.CutPrefix(text, "Time offset from UTC: "); is {
		if sec, err := strconv.Atoi(strings.TrimSuffix(offset, " seconds")); err == nil && sec > -86400 && sec < 86400 {
			c.zone, c.read = time.FixedZone("", sec), ""
		}
	}
	return text, ok
}

// now is the time of the line in hand. It is read only of lines that matter:
// that is half the cost of a line.
func (c *clock) now() time.Time {
	if c.line != c.read {
		c.read = c.line
		c.at, _ = time.ParseInLocation(stampLayout, c.line, c.zone) // no time: the zero one
	}
	return c.at
}

// event is one line, as far as tracking reads it.
type event struct {
	kind       kind
	mid, other mail.MID
	icid, dcid uint64
	rids       []int
	text, more string
	at         time.Time
}

type kind uint8

const (
	none kind = iota
	start
	from
	to
	toRejected
	subject
	messageID
	ready
	policy
	queued
	aborted
	finished
	rewritten
	wasSplit
	copied
	bounceOf
	enqueued
	held
	leftQuarantine
	newICID
	closeICID
	receivingFailed
	senderRejected
	newDCID
	closeDCID
	done
	response
	bounced
	delayed
	pending
	possible
	deleted
)

// parse reads the text of a line behind its level. Each form is known by what
// stands in front of the first text from outside, so that no such text can make
// a line another one.
func parse(s string) (e event) {
	switch {
	case strings.HasPrefix(s, "MID "):
		return ofMID(s)
	case strings.HasPrefix(s, "ICID "):
		return ofICID(s)
	case strings.HasPrefix(s, "DCID "):
		if id, rest, ok := number(s, "DCID "); ok && rest == " close" {
			return event{kind: closeDCID, dcid: id}
		}
	case strings.HasPrefix(s, "Start MID "):
		mid, rest, _ := number(s, "Start MID ")
		icid, _, ok := number(rest, " ICID ")
		return event{kind: start, mid: mail.MID(mid), icid: icid}.when(ok)
	case strings.HasPrefix(s, "New SMTP DCID "):
		id, rest, ok := number(s, "New SMTP DCID ")
		_, where, found := strings.Cut(rest, " address ")
		return event{kind: newDCID, dcid: id, text: where}.when(ok && found)
	case strings.HasPrefix(s, "New SMTP ICID "), strings.HasPrefix(s, "New CPQ ICID "):
		id, rest, ok := number(s[strings.Index(s, "ICID "):], "ICID ")
		_, where, found := strings.Cut(rest, ") address ")
		ip, name, _ := strings.Cut(where, " reverse dns host ")
		name, verified, _ := strings.Cut(name, " verified ")
		e = event{kind: newICID, icid: id, text: ip}.when(ok && found)
		if verified == "yes" {
			e.text = name + " [" + ip + "]"
		}
		return e
	case strings.HasPrefix(s, "Message aborted MID "):
		mid, rest, ok := number(s, "Message aborted MID ")
		return event{kind: aborted, mid: mail.MID(mid), text: strings.TrimPrefix(rest, " ")}.when(ok)
	case strings.HasPrefix(s, "Message finished MID "):
		mid, _, ok := number(s, "Message finished MID ")
		return event{kind: finished, mid: mail.MID(mid)}.when(ok)
	case strings.HasPrefix(s, "Message done DCID "):
		return onDCID(done, s, "Message done ")
	case strings.HasPrefix(s, "Possible Delivery: DCID "):
		return onDCID(possible, s, "Possible Delivery: ")
	case strings.HasPrefix(s, "Bounced: DCID "):
		return fate(bounced, s, "Bounced: ")
	case strings.HasPrefix(s, "Delayed: DCID "):
		return fate(delayed, s, "Delayed: ")
	case strings.HasPrefix(s, "Deleted: MID "):
		mid, rest, ok := number(s, "Deleted: MID ")
		rids, _, good := list(rest, " to ")
		return event{kind: deleted, mid: mail.MID(mid), rids: rids}.when(ok && good)
	}
	return e
}

func (e event) when(ok bool) event {
	if !ok {
		return event{}
	}
	return e
}

// ofMID reads what begins with MID n.
func ofMID(s string) event {
	n, rest, ok := number(s, "MID ")
	if !ok {
		return event{}
	}
	mid := mail.MID(n)
	text := func(k kind, prefix string) (event, bool) {
		t, is := strings.CutPrefix(rest, prefix)
		return event{kind: k, mid: mid, text: t}, is
	}
	if icid, more, is := number(rest, " ICID "); is {
		return received(mid, icid, more)
	}
	if e, is := text(subject, " Subject "); is {
		e.text, _, is = quoted(e.text)
		return e.when(is)
	}
	if e, is := text(messageID, " Message-ID "); is {
		e.text, _, is = quoted(e.text)
		return e.when(is)
	}
	if e, is := text(ready, " ready "); is {
		return e
	}
	if e, is := text(policy, " matched all recipients for per-recipient policy "); is {
		return e
	}
	if rest == " queued for delivery" {
		return event{kind: queued, mid: mid}
	}
	if rids, more, is := list(rest, " RID "); is && strings.HasPrefix(more, " Response ") {
		t, _, good := quoted(strings.TrimPrefix(more, " Response "))
		return event{kind: response, mid: mid, rids: rids, text: t}.when(good)
	}
	if rids, more, is := list(rest, " to RID "); is {
		t, good := strings.CutPrefix(more, " pending till ")
		return event{kind: pending, mid: mid, rids: rids, text: t}.when(good)
	}
	return related(mid, rest)
}

// related reads what ties messages to others and to quarantines.
func related(mid mail.MID, rest string) event {
	for _, l := range []struct {
		kind        kind
		prefix, sep string
		parent      bool // the line begins with the new number
	}{
		{rewritten, " rewritten to MID ", " by ", false},
		{rewritten, " rewritten to ", " by ", false},
		{wasSplit, " was split creating MID ", " due to a per-recipient policy ", false},
		{copied, " was generated based on MID ", " by ", true},
		{bounceOf, " was generated for bounce of MID ", "", true},
	} {
		if n, more, is := number(rest, l.prefix); is {
			e := event{kind: l.kind, mid: mid, other: mail.MID(n), text: strings.TrimPrefix(more, l.sep)}
			if l.parent {
				e.mid, e.other = e.other, e.mid
			}
			return e
		}
	}
	for _, l := range []struct {
		kind   kind
		prefix string
	}{
		{enqueued, " enqueued for transfer to centralized quarantine "}, {held, " quarantined to "},
		{leftQuarantine, " released from quarantine "}, {leftQuarantine, " deleted from quarantine "},
	} {
		if more, is := strings.CutPrefix(rest, l.prefix); is {
			name, why, good := quoted(more)
			why = strings.TrimPrefix(why, " (")
			if l.kind != leftQuarantine {
				why = strings.TrimSuffix(why, ")")
			} else {
				why = strings.Fields(l.prefix)[0] + " (" + why
			}
			return event{kind: l.kind, mid: mid, text: name, more: why}.when(good)
		}
	}
	return event{}
}

// received reads a line of an envelope.
func received(mid mail.MID, icid uint64, rest string) event {
	if a, is := strings.CutPrefix(rest, " From: <"); is {
		return event{kind: from, mid: mid, icid: icid, text: strings.TrimSuffix(a, ">")}
	}
	if rid, more, is := number(rest, " RID "); is {
		a, is := strings.CutPrefix(more, " To: <")
		return event{kind: to, mid: mid, icid: icid, rids: []int{int(rid & 0xffffff)}, text: strings.TrimSuffix(a, ">")}.when(is)
	}
	if a, is := strings.CutPrefix(rest, " To: <"); is {
		if i := strings.LastIndex(a, "> Rejected by "); i >= 0 {
			return event{kind: toRejected, mid: mid, icid: icid, text: a[:i], more: a[i+len("> Rejected by "):]}
		}
	}
	return event{}
}

func ofICID(s string) event {
	icid, rest, ok := number(s, "ICID ")
	if !ok {
		return event{}
	}
	if t, is := strings.CutPrefix(rest, " Receiving Failed: "); is {
		return event{kind: receivingFailed, icid: icid, text: t}
	}
	if t, is := strings.CutPrefix(rest, " Address: <"); is {
		if i := strings.LastIndex(t, "> sender rejected, "); i >= 0 {
			return event{kind: senderRejected, icid: icid, text: t[:i], more: t[i+len("> sender rejected, "):]}
		}
	}
	if rest == " close" || rest == " lost" {
		return event{kind: closeICID, icid: icid}
	}
	return event{}
}

// onDCID reads WORD DCID n MID n to RID [..].
func onDCID(k kind, s, word string) event {
	dcid, rest, ok := number(s, word+"DCID ")
	mid, rest, good := number(rest, " MID ")
	rids, rest, whole := list(rest, " to RID ")
	return event{kind: k, dcid: dcid, mid: mail.MID(mid), rids: rids, more: rest}.when(ok && good && whole)
}

// fate reads a failure: WORD DCID n MID n to RID n - status - reason ('code', ['text', ...]).
func fate(k kind, s, word string) event {
	dcid, rest, ok := number(s, word+"DCID ")
	mid, rest, good := number(rest, " MID ")
	rid, rest, whole := number(rest, " to RID ")
	rest = strings.TrimPrefix(rest, " - ")
	what, reply, _ := strings.Cut(rest, " ('")
	e := event{kind: k, dcid: dcid, mid: mail.MID(mid), rids: []int{int(rid & 0xffffff)}, text: what}.when(ok && good && whole)
	code, texts, _ := strings.Cut(reply, "', [")
	var said []string
	if code != "000" && len(code) <= 3 {
		said = append(said, code)
	}
	for strings.HasPrefix(texts, "'") {
		t, more, ok := quoted(texts)
		if !ok {
			break
		}
		said, texts = append(said, t), strings.TrimPrefix(more, ", ")
	}
	e.more = strings.Join(said, " ")
	return e
}

// number reads prefix and a number.
func number(s, prefix string) (n uint64, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, prefix)
	i := 0
	for i < len(s) && i < 20 && s[i] >= '0' && s[i] <= '9' {
		n = n*10 + uint64(s[i]-'0')
		i++
	}
	return n, s[i:], ok && i > 0 && i < 20
}

// list reads prefix and [n, n].
func list(s, prefix string) (rids []int, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, prefix+"[")
	in, rest, closed := strings.Cut(s, "]")
	if !ok || !closed {
		return nil, s, false
	}
	for _, f := range strings.Split(in, ", ") {
		n, err := strconv.Atoi(f)
		if err != nil || n < 0 {
			return nil, rest, false
		}
		rids = append(rids, n)
	}
	return rids, rest, true
}

// quoted reads a text in ' or ", and gives back what logs has escaped.
func quoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		return "", s, false
	}
	quote, b := s[0], []byte(nil)
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return string(b), s[i+1:], true
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case s[i+1] == 'x' && i+3 < len(s):
			v, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", s, false
			}
			b, i = append(b, byte(v)), i+3
		case s[i+1] == 'u' && i+5 < len(s):
			v, err := strconv.ParseUint(s[i+2:i+6], 16, 16)
			if err != nil {
				return "", s, false
			}
			b, i = utf8.AppendRune(b, rune(v)), i+5
		default:
			i++
			b = append(b, s[i])
		}
	}
	return "", s, false
}
