package delivery

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// stage is where in the dialogue a recipient's fate was decided.
type stage uint8

const (
	stageEnvelope stage = iota // MAIL or RCPT
	stageContent               // DATA, the dot, or a command before MAIL
)

// fate is the end of one recipient in one attempt, in the words of the log.
type fate struct {
	state   queue.RecipientState
	code    int    // 0 is written as 000: no reply of the peer
	status  string // of the log line: 5.1.0
	reason  string // of the log line: Unknown address error
	texts   []string
	reply   smtp.Reply // zero when the peer said nothing
	receipt string     // over CPQ: the message's number at the other side

	possible bool // deferred, and perhaps delivered
}

// judge turns a reply into a fate. The status of the log line follows the
// stage, as reference 5.8 shows it; the peer's own status stays in the text.
func judge(r smtp.Reply, at stage) fate {
	f := fate{code: r.Code, texts: replyTexts(r), reply: r}
	class := "4"
	switch {
	case r.Positive():
		f.state = queue.Delivered
		return f
	case r.Permanent():
		f.state, class = queue.Bounced, "5"
	default:
		// 4xx, and what no server should say here: in doubt the mail is kept.
		f.state = queue.Deferred
	}
	switch {
	case r.Code == 421:
		f.status, f.reason = "4.3.2", "Not accepting messages at this time"
	case r.Code == 552 || r.Code == 452:
		f.status, f.reason = class+".3.4", "Message too big, or no space for it"
	case r.Status == "5.6.3" || r.Status == "5.6.7": // what RFC 3030 and RFC 6531 say of a hop that lacks them
		f.status, f.reason = r.Status, "Message content not supported"
	case at == stageEnvelope:
		f.status, f.reason = class+".1.0", "Unknown address error"
	default:
		f.status, f.reason = class+".3.0", "Other mail system problem"
	}
	return f
}

// replyTexts gives the lines of a reply, each with the peer's status in front.
func replyTexts(r smtp.Reply) []string {
	if len(r.Text) == 0 {
		return []string{r.Status}
	}
	if r.Status == "" {
		return r.Text
	}
	out := make([]string, len(r.Text))
	for i, t := range r.Text {
		out[i] = r.Status + " " + t
	}
	return out
}

// lost is the fate of a recipient whose connection ended before an answer.
func lost(err error) fate {
	return fate{state: queue.Deferred, status: "4.4.2", reason: "Bad connection", texts: []string{err.Error()}}
}

// local is the fate of a recipient whose message could not be read here.
func local(err error) fate {
	return fate{state: queue.Deferred, status: "4.3.0", reason: "Other mail system problem", texts: []string{err.Error()}}
}

// outcome says to the queue what the log line says to people.
func (f *fate) outcome() queue.Outcome {
	o := queue.Outcome{State: f.state, Code: f.code, Status: f.reply.Status, Receipt: f.receipt, Possible: f.possible}
	if o.Status == "" {
		o.Status = f.status
	}
	if f.reply.IsZero() {
		if len(f.texts) > 0 {
			o.Reply = f.texts[0]
		}
		return o
	}
	o.Reply = f.reply.Message()
	return o
}

// response gives the text of the Response line: over CPQ without the status,
// as programs know it, else as the peer said it.
func (f *fate) response(cpq bool) string {
	if f.reply.IsZero() || !cpq {
		return f.outcome().Reply
	}
	return strings.Join(f.reply.Text, " ")
}

// same reports whether two recipients ended by the same reply.
func (f *fate) same(g *fate) bool {
	return f.state == g.state && f.code == g.code && f.reply.Status == g.reply.Status && slices.Equal(f.texts, g.texts)
}

// code3 gives the three digits of the log line.
func code3(code int) string {
	if code == 0 {
		return "000"
	}
	return strconv.Itoa(code)
}

// hardError is a failure that trying again will not cure: the recipients of
// the destination bounce with DCID 0, no connection was made.
type hardError struct {
	status string
	reason string
	text   string
}

func (e *hardError) Error() string { return e.text }

func (e *hardError) fate() fate {
	return fate{state: queue.Bounced, status: e.status, reason: e.reason, texts: []string{e.text}}
}

func asHard(err error) (*hardError, bool) {
	var h *hardError
	ok := errors.As(err, &h)
	return h, ok
}

func rids(rs []queue.Recipient) []mail.RID {
	out := make([]mail.RID, len(rs))
	for i := range rs {
		out[i] = rs[i].RID
	}
	return out
}
