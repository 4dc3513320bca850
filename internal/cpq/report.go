package cpq

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/smtp"
)

// Words of the wire, docs/cpq.md section 10.
const (
	ReportVerb     = "XREPORT"
	ReportStepWord = "2"
	ReportKeyword  = ReportVerb + " " + VersionWord + " " + ReportStepWord // in the EHLO reply after TLS
)

// Versions of the reports. The second says what scanning again gave, and that a
// message was held again; the first has it in the words of the reply alone.
const (
	ReportPlain = 1
	ReportSteps = 2
)

// Limits of reports, docs/cpq.md section 10.
const (
	MaxReports = 100       // in one block
	MaxReply   = 1 << 10   // octets of a reply
	maxAddress = 1 << 10   // octets of an address; more than RFC 5321 allows
	maxSeq     = 1<<53 - 1 // exact in all readers of JSON
)

// Fate is where a release stands for one recipient, at the gateway.
type Fate string

// The fates. All but the first two are final: nothing follows them.
const (
	Waiting   Fate = "waiting"   // will be tried, or tried again
	Aside     Fate = "aside"     // an administrator of the gateway has to look
	Accepted  Fate = "accepted"  // a server has taken it
	Bounced   Fate = "bounced"   // refused for good, or too old
	Deleted   Fate = "deleted"   // by an administrator, from the gateway's queue
	Discarded Fate = "discarded" // the gateway is configured to throw it away
	Unknown   Fate = "unknown"   // it left, and how is lost with a crash
	HeldAgain Fate = "held"      // in a quarantine once more, by what scanning it again gave; not delivered
)

var fates = []Fate{Waiting, Aside, Accepted, Bounced, Deleted, Discarded, Unknown, HeldAgain}

// Final reports whether nothing follows.
func (f Fate) Final() bool { return f != Waiting && f != Aside }

// Report travels from a gateway to a manager: where a release that it took
// stands for one recipient. Reports about one recipient are ordered by Seq; one
// that is not newer than what is known changes nothing.
type Report struct {
	Action     mail.ActionKey
	ManagerMID mail.MID
	GatewayMID mail.MID // its new number, under which it goes on
	Recipient  mail.Address
	Nth        int // which of the recipients with this address, from 0
	Seq        uint64
	Fate       Fate
	At         time.Time // of the last try or the end; zero: not tried
	Next       time.Time // Waiting: not before; zero: not known
	Attempts   int
	Host       string // that answered; hostile
	Code       int    // of its reply; 0: none
	Reply      string // or why there is none; hostile
	Rescanned  string // what scanning it again gave; empty: it was not, or not yet; hostile
}

// hasReply reports whether the fate is that of a message which somebody took.
func (f Fate) hasReply() bool { return f == Accepted || f == HeldAgain }

// plain gives a report in the words of the first version. What was held again is
// discarded there: that has come to an end, and claims no delivery.
func (r Report) plain() Report {
	if r.Rescanned == "" {
		return r
	}
	step := "rescanned: " + r.Rescanned
	switch {
	case r.Fate == HeldAgain:
		r.Fate, r.Code, r.Host, r.Reply = Discarded, 0, "", step
	case r.Reply == "":
		r.Reply = step
	case r.Reply != step:
		r.Reply += " (" + step + ")"
	}
	r.Rescanned = ""
	return r
}

// EncodeReports gives the one block that stands for reports in one of the
// versions. Text from outside is cut and repaired; anything else beyond its limit
// is an error.
func EncodeReports(version int, list []Report) ([]byte, error) {
	if len(list) == 0 || len(list) > MaxReports {
		return nil, errs.New(errs.Invalid, "reports: there are 1 to %d in a block", MaxReports)
	}
	e := encoder(make([]byte, 0, 256*len(list)))
	e.raw(`{"version":` + strconv.Itoa(version) + `,"reports":[`)
	for i, r := range list {
		if version == ReportPlain {
			r = r.plain()
		}
		r.Host, r.Reply, r.Rescanned = repair(r.Host, maxWord), repair(r.Reply, MaxReply), repair(r.Rescanned, MaxReply)
		r.At, r.Next = r.At.UTC().Truncate(time.Millisecond), r.Next.UTC().Truncate(time.Millisecond)
		if err := r.check(version); err != nil {
			return nil, err
		}
		if i > 0 {
			e.raw(",")
		}
		e.report(version, &r)
	}
	e.raw("]}")
	if len(e) > MaxBlock {
		return nil, errs.New(errs.Invalid, "reports: block is longer than %d octets", MaxBlock)
	}
	return e, nil
}

func (e *encoder) report(version int, r *Report) {
	e.raw("{")
	e.text("action", string(r.Action))
	e.number(",manager_mid", uint64(r.ManagerMID))
	e.number(",gateway_mid", uint64(r.GatewayMID))
	e.text(",recipient", r.Recipient.String())
	e.number(",nth", uint64(r.Nth))
	e.number(",sequence", r.Seq)
	e.text(",fate", string(r.Fate))
	e.text(",at", reportTime(r.At))
	e.text(",next", reportTime(r.Next))
	e.number(",attempts", uint64(r.Attempts))
	e.text(",host", r.Host)
	e.number(",code", uint64(r.Code))
	e.text(",reply", r.Reply)
	if version >= ReportSteps {
		e.text(",rescanned", r.Rescanned)
	}
	e.raw("}")
}

func reportTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(timeForm)
}

// DecodeReports reads a block of either version. It takes exactly what
// EncodeReports gives.
func DecodeReports(block []byte) ([]Report, error) {
	if len(block) > MaxBlock {
		return nil, errs.New(errs.Invalid, "reports: block is longer than %d octets", MaxBlock)
	}
	d := decoder{s: string(block)}
	version := ReportPlain
	switch {
	case d.has(`{"version":1,`):
	case d.has(`{"version":2,`):
		version = ReportSteps
	default:
		if v := d.version(); d.err == nil { // one of metadata
			d.err = &VersionError{Version: strconv.Itoa(v)}
		}
		return nil, reportsVersion(d.err)
	}
	d.expect(`"reports":[`)
	var list []Report
	for d.err == nil {
		r := d.report(version)
		if d.err == nil {
			d.err = r.check(version)
		}
		if list = append(list, r); len(list) > MaxReports {
			d.fail("too many reports")
		}
		if !d.has(",") {
			break
		}
	}
	d.expect("]}")
	if d.err == nil && d.i < len(d.s) {
		d.fail("nothing is expected behind the end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return list, nil
}

// reportsVersion says which version of reports there is.
func reportsVersion(err error) error {
	var v *VersionError
	if errors.As(err, &v) {
		return &VersionError{Version: v.Version, reports: true}
	}
	return err
}

func (d *decoder) report(version int) Report {
	d.expect("{")
	r := Report{
		Action:     mail.ActionKey(d.text("action", 120)),
		ManagerMID: mail.MID(d.number(",manager_mid", math.MaxUint64)),
		GatewayMID: mail.MID(d.number(",gateway_mid", math.MaxUint64)),
		Recipient:  d.address(",recipient"),
		Nth:        int(d.number(",nth", math.MaxInt32)),
		Seq:        d.number(",sequence", maxSeq),
		Fate:       Fate(d.text(",fate", 16)),
		At:         d.orNever(",at"),
		Next:       d.orNever(",next"),
		Attempts:   int(d.number(",attempts", math.MaxInt32)),
		Host:       d.text(",host", maxWord),
		Code:       int(d.number(",code", 599)),
		Reply:      d.text(",reply", MaxReply),
	}
	if version >= ReportSteps {
		r.Rescanned = d.text(",rescanned", MaxReply)
	}
	d.expect("}")
	return r
}

// address reads an address in the one form that we write.
func (d *decoder) address(name string) mail.Address {
	s := d.text(name, maxAddress)
	if d.err != nil {
		return mail.Address{}
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.String() != s {
		d.fail("recipient is no address in its normal form")
	}
	return a
}

// orNever reads a time, or an empty text: none.
func (d *decoder) orNever(name string) time.Time {
	s := d.text(name, len(timeForm))
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(timeForm, s)
	if err != nil || t.Format(timeForm) != s {
		d.fail("a time is not of the form " + timeForm)
	}
	return t
}

func (r *Report) check(version int) error {
	if _, _, err := mail.ParseActionKey(string(r.Action)); err != nil {
		return errs.Context(err, "reports: action")
	}
	known := false
	for _, f := range fates {
		known = known || f == r.Fate && (f != HeldAgain || version >= ReportSteps)
	}
	taken := r.Code >= 200 && r.Code < 300
	switch {
	case r.ManagerMID == 0 || r.GatewayMID == 0:
		return errs.New(errs.Invalid, "reports: mid is 0")
	case r.Seq == 0 || r.Seq > maxSeq:
		return errs.New(errs.Invalid, "reports: sequence is not 1 to %d", uint64(maxSeq))
	case !known:
		return errs.New(errs.Invalid, "reports: there is no such fate")
	case r.Recipient.IsNull() || len(r.Recipient.String()) > maxAddress:
		return errs.New(errs.Invalid, "reports: recipient is empty or too long")
	case r.Code != 0 && (r.Code < 200 || r.Code > 599):
		return errs.New(errs.Invalid, "reports: code is none of a reply")
	case r.Nth < 0 || r.Nth > math.MaxInt32 || r.Attempts < 0 || r.Attempts > math.MaxInt32:
		return errs.New(errs.Invalid, "reports: a number is out of range")
	case version == ReportPlain && taken != (r.Fate == Accepted):
		// Delivered is said of nothing that no server has accepted.
		return errs.New(errs.Invalid, "reports: accepted is what has a reply of 2xx, and nothing else")
	case taken != r.Fate.hasReply():
		return errs.New(errs.Invalid, "reports: accepted and held are what has a reply of 2xx, and nothing else")
	case r.Fate == HeldAgain && r.Rescanned == "":
		return errs.New(errs.Invalid, "reports: what is held again was scanned again")
	case r.Fate != Waiting && !r.Next.IsZero():
		return errs.New(errs.Invalid, "reports: only what waits is tried again")
	case !timeOfMail(r.At) || !timeOfMail(r.Next):
		return errs.New(errs.Invalid, "reports: a time is none of mail")
	case !utf8.ValidString(r.Recipient.String()):
		return errs.New(errs.Invalid, "reports: recipient is not UTF-8")
	}
	return texts{{"host", r.Host, maxWord}, {"reply", r.Reply, MaxReply}, {"rescanned", r.Rescanned, MaxReply}}.check()
}

func timeOfMail(t time.Time) bool { return t.IsZero() || t.Year() >= 1970 && t.Year() <= 9999 }

// NewReportExtension makes the server's side of XREPORT. take is asked about
// each sound block, with the Session of its connection; what it says is the
// reply, for all of the block together.
func NewReportExtension(take func(ctx context.Context, sess smtp.Session, list []Report) smtp.Reply) smtp.Extension {
	return smtp.Extension{
		Verb: ReportVerb, Keyword: ReportKeyword, NeedTLS: true, MaxBlock: MaxBlock,
		Handle: func(ctx context.Context, sess smtp.Session, _ string, block io.Reader) smtp.Reply {
			b, err := io.ReadAll(block)
			if err != nil {
				return smtp.NewReply(451, "4.3.0", "reports did not come whole")
			}
			list, err := DecodeReports(b)
			if err != nil {
				return refusal(err)
			}
			if bytes.HasPrefix(b, []byte(`{"version":1,`)) {
				inFields(list)
			}
			return take(ctx, sess, list)
		},
	}
}

// inFields takes out of reports of the first version that a message was held
// again: gateways that know no other said that it was accepted, by the quarantine,
// and behind its reply why it came there.
func inFields(list []Report) {
	for i := range list {
		r := &list[i]
		reply, found, ok := strings.Cut(r.Reply, " (rescanned: ")
		if r.Fate != Accepted || !ok || !strings.HasSuffix(found, ")") || !strings.Contains(found, ", held again in ") {
			continue
		}
		r.Fate, r.Reply, r.Rescanned = HeldAgain, reply, strings.TrimSuffix(found, ")")
	}
}

// ReportBlock makes the client's side of as many reports as one block of a
// version holds, from the first on, and gives their number. One that cannot be written is an
// error with n = 0 when it comes first; it is left to the next block else.
func ReportBlock(version int, list []Report) (b smtp.Block, n int, err error) {
	size := 0
	for n < min(len(list), MaxReports) {
		one, err := EncodeReports(version, list[n:n+1])
		if err != nil && n == 0 {
			return b, 0, err
		}
		if size += len(one); err != nil || size > MaxBlock {
			break
		}
		n++
	}
	data, err := EncodeReports(version, list[:n])
	return smtp.Block{Verb: ReportVerb, Data: data}, n, err
}

// ReplyReported answers reports that are on stable storage.
func ReplyReported(n int) smtp.Reply {
	return smtp.NewReply(250, "2.0.0", strconv.Itoa(n)+" reports taken")
}
