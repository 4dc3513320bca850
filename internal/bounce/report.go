package bounce

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// MaxSize is the size of the largest report (register B8).
const MaxSize = 50_000

// Kind says what a report tells.
type Kind uint8

// The kinds of reports.
const (
	Failure Kind = iota
	Delay
	Success
)

// Report is one delivery status notification to be made. All texts in Original
// and Recipients are hostile.
type Report struct {
	Kind     Kind
	Hostname string       // of this system: Reporting-MTA
	From     mail.Address // in the field From; the envelope sender is always the null path
	To       mail.Address
	Now      time.Time
	ID       string // unique here, letters, digits, dots and hyphens: for Message-ID
	Secret   string // nobody outside can know it beforehand: the boundary is made of it
	Marker   []mail.Header
	Profile  Profile

	Original   Original
	Recipients []Recipient

	listed int // recipients that have room in the report
}

// Original is the message that a report is about.
type Original struct {
	mail.Params
	From      mail.Address
	Subject   string // for people: decoded
	MessageID string
	Helo      string
	Arrived   time.Time
	Content   io.Reader // with what was put in front of it; read up to 10 KiB
}

// Recipient is one of whom a report tells.
type Recipient struct {
	mail.RcptParams
	Address mail.Address
	Code    int // of the last reply; 0: there was none
	Status  string
	Reply   string
	Remote  string // who gave it
	Last    time.Time
	Until   time.Time // Delay: when we give up
	Expired bool
}

// Content gives the whole message.
func (r *Report) Content() ([]byte, error) {
	if r.To.IsNull() {
		return nil, errs.New(errs.Internal, "a report to the null sender") // RFC 5321 section 4.5.5: never
	}
	// RFC 3461 section 4.3: RET is about failures; all else has the header.
	back, err := readOriginal(r.Original.Content, r.Kind == Failure && r.Original.Ret != mail.RetHeaders)
	if err != nil {
		return nil, errs.Context(err, "reading the message")
	}
	for r.listed = min(len(r.Recipients), 1000); ; r.listed -= max(r.listed/8, 1) {
		out, err := r.compose(back)
		if err != nil || len(out) <= MaxSize || r.listed == 0 {
			return out, err
		}
		back.whole, back.text = false, headerOf(back.text) // first of all less of the message
	}
}

// quoted is how much of each reply is quoted.
func (r *Report) quoted() int {
	if len(r.Recipients) > 50 {
		return 80
	}
	return 400
}

func (r *Report) compose(back returned) ([]byte, error) {
	text := r.text()
	if r.Profile.Simple {
		return r.simple(text, back)
	}
	status, err := r.forPrograms()
	if err != nil {
		return nil, err
	}
	utf := r.Original.UTF8
	parts := []part{{kind: "text/plain; charset=utf-8", name: "Notification", body: crlf(text)}}
	kind := "message/delivery-status"
	if utf {
		kind = "message/global-delivery-status" // RFC 6533 section 3
	}
	parts = append(parts, part{kind: kind, name: "Delivery report", body: status})
	switch {
	case back.whole && utf:
		kind = "message/global"
	case back.whole:
		kind = "message/rfc822"
	case utf:
		kind = "message/global-headers"
	default:
		kind = "text/rfc822-headers"
	}
	parts = append(parts, part{kind: kind, name: "Undelivered message", body: back.text})
	boundary := r.boundary(parts)
	var w writer
	r.header(&w)
	w.field("Content-Type", `multipart/report; report-type=delivery-status; boundary="`+boundary+`"`)
	if eight(parts) {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.blank()
	w.lines("This is a delivery report in MIME format.")
	for _, p := range parts {
		w.lines("\n--" + boundary)
		p.write(&w)
	}
	w.lines("\n--" + boundary + "--")
	return w.b.Bytes(), w.err
}

// part is one of the three parts, RFC 6522 section 3.
type part struct {
	kind, name string
	body       []byte
}

func (p *part) write(w *writer) {
	w.field("Content-Type", p.kind)
	w.field("Content-Description", p.name)
	if !ascii(string(p.body)) {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.blank()
	w.b.Write(p.body)
}

func eight(parts []part) bool {
	for _, p := range parts {
		if !ascii(string(p.body)) {
			return true
		}
	}
	return false
}

func crlf(text string) []byte {
	var w writer
	w.lines(text)
	return w.b.Bytes()
}

// boundary is one that stands in no part.
func (r *Report) boundary(parts []part) string {
	for n := byte(0); ; n++ {
		sum := sha256.Sum256([]byte(r.Secret + r.ID + string(rune('a'+n))))
		b := "=_" + hex.EncodeToString(sum[:15])
		used := false
		for _, p := range parts {
			used = used || bytes.Contains(p.body, []byte(b))
		}
		if !used || n == 255 {
			return b
		}
	}
}

// header writes what all reports have, without Content-Type.
func (r *Report) header(w *writer) {
	for _, h := range r.Marker {
		w.field(h.Name(), h.Value())
	}
	w.field("Date", r.Now.Format(dateForm))
	w.field("From", "Mail Delivery System "+r.From.Path())
	w.field("To", r.To.Path())
	w.field("Subject", encodeWords(clean(r.subject(), maxSubject+40, true)))
	w.field("Message-ID", "<"+r.ID+"@"+r.Hostname+">")
	if id := r.Original.MessageID; messageID.MatchString(id) {
		w.field("References", id)
	}
	w.field("Auto-Submitted", "auto-replied") // RFC 3834 section 5
	w.field("MIME-Version", "1.0")
}

// messageID is what may stand in References as it is.
var messageID = regexp.MustCompile(`^<[!-;=?-~]{1,200}>$`)

func (r *Report) subject() string {
	switch {
	case r.Kind == Failure && r.Profile.Subject != "":
		return r.Profile.Subject
	case r.Kind == Delay && r.Profile.DelaySubject != "":
		return r.Profile.DelaySubject
	}
	return [...]string{Failure: "Delivery Status Notification (Failure)", Delay: "Delivery Status Notification (Delay)", Success: "Delivery Status Notification (Relayed)"}[r.Kind]
}

// simple is a report as plain text.
func (r *Report) simple(text string, back returned) ([]byte, error) {
	var w writer
	r.header(&w)
	header := headerOf(back.text)
	w.field("Content-Type", "text/plain; charset=utf-8")
	if !ascii(text) || !ascii(string(header)) {
		w.field("Content-Transfer-Encoding", "8bit")
	}
	w.blank()
	w.lines(text)
	w.lines("\n--- The header of the message:\n")
	for _, l := range strings.SplitAfter(string(header), "\r\n") {
		w.b.WriteString(strings.ToValidUTF8(l, "?"))
	}
	return w.b.Bytes(), w.err
}

const dateForm = "Mon, 02 Jan 2006 15:04:05 -0700"

// forPrograms is the part for programs, RFC 3464 section 2.1.
func (r *Report) forPrograms() ([]byte, error) {
	var w writer
	if id := clean(r.Original.EnvID, mail.MaxEnvID, false); id != "" {
		w.field("Original-Envelope-Id", id)
	}
	w.field("Reporting-MTA", "dns; "+r.Hostname)
	if helo := clean(r.Original.Helo, 255, false); helo != "" {
		w.field("Received-From-MTA", "dns; "+helo)
	}
	w.field("Arrival-Date", r.Original.Arrived.Format(dateForm))
	for i := range r.Recipients[:r.listed] {
		r.fields(&w, &r.Recipients[i])
	}
	return w.b.Bytes(), w.err
}

// fields writes what RFC 3464 section 2.3 says of one recipient.
func (r *Report) fields(w *writer, rc *Recipient) {
	utf := r.Original.UTF8
	w.blank()
	if rc.ORCPT != "" {
		kind, address, _ := strings.Cut(clean(rc.ORCPT, mail.MaxORCPT, utf), ";")
		w.field("Original-Recipient", kind+"; "+address)
	}
	kind := "rfc822; "
	if !ascii(rc.Address.String()) {
		kind = "utf-8; "
	}
	w.field("Final-Recipient", kind+clean(rc.Address.String(), 400, utf))
	w.field("Action", [...]string{Failure: "failed", Delay: "delayed", Success: "relayed"}[r.Kind])
	w.field("Status", r.status(rc))
	if remote := clean(rc.Remote, 255, false); remote != "" {
		if _, err := netip.ParseAddr(remote); err == nil {
			remote = "[" + remote + "]"
		}
		w.field("Remote-MTA", "dns; "+remote)
	}
	if text := r.answer(rc, r.quoted(), utf); text != "" {
		kind := "smtp; "
		if rc.Code == 0 {
			kind = "x-local; "
		}
		w.field("Diagnostic-Code", kind+text)
	}
	if !rc.Last.IsZero() {
		w.field("Last-Attempt-Date", rc.Last.Format(dateForm))
	}
	if r.Kind == Delay && !rc.Until.IsZero() {
		w.field("Will-Retry-Until", rc.Until.Format(dateForm))
	}
}

var statusForm = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// status gives the status of a recipient; its class agrees with the action,
// whatever the peer said.
func (r *Report) status(rc *Recipient) string {
	class := [...]string{Failure: "5", Delay: "4", Success: "2"}[r.Kind]
	switch {
	case rc.Expired:
		return "5.4.7"
	case !statusForm.MatchString(rc.Status):
		return class + ".0.0"
	}
	return class + rc.Status[1:]
}
