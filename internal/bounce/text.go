package bounce

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// advice is what a person can do, by the class of the status, RFC 3463.
var advice = []struct{ prefix, text string }{
	{"5.1.1", "Check the address for typing errors, or ask the recipient for the right one."},
	{"5.1.2", "Check the part of the address behind the @ for typing errors."},
	{"5.1.10", "The domain takes no mail. Check the part of the address behind the @."},
	{"5.1.", "Check the address, or ask the recipient for the right one."},
	{"5.2.2", "The mailbox is full. Tell the recipient by another way, and send the message again later."},
	{"5.2.3", "Send the message in smaller parts, or the files in another way."},
	{"5.3.4", "Send the message in smaller parts, or the files in another way."},
	{"5.2.", "Tell the recipient by another way that the mailbox takes no mail."},
	{"5.4.6", "The mail systems send the message in a circle. Ask the administrator of the recipient's domain."},
	{"5.4.", "Send the message again later. If it fails again, ask the administrator of the recipient's domain."},
	{"5.7.", "The recipient's system does not take this message. Ask the recipient, or their administrator, why."},
	{"5.6.", "The recipient's system cannot take a message of this form. Send it as plain text, or ask your administrator."},
	{"5.", "If you do not understand the answer above, give it to your administrator."},
}

func adviceFor(status string) string {
	for _, a := range advice {
		if strings.HasPrefix(status, a.prefix) && (strings.HasSuffix(a.prefix, ".") || status == a.prefix) {
			return a.text
		}
	}
	return ""
}

// sentence says in words what happened to one recipient.
func (r *Report) sentence(rc *Recipient) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<%s>\n", clean(rc.Address.String(), 320, true))
	answer := r.answer(rc, r.quoted(), true)
	switch {
	case r.Kind == Success:
		fmt.Fprintf(&b, "    was handed over to the mail system of the recipient%s,\n    which may not tell you more.\n", at(rc.Remote))
		return b.String()
	case r.Kind == Delay:
		fmt.Fprintf(&b, "    could not be reached so far. We go on trying")
		if !rc.Until.IsZero() {
			fmt.Fprintf(&b, " until %s", rc.Until.UTC().Format(time.RFC1123))
		}
		b.WriteString(".\n    You need not send the message again.\n")
	case rc.Expired:
		fmt.Fprintf(&b, "    could not be reached for %s; we have given up.\n", words(r.Now.Sub(r.Original.Arrived)))
	case rc.Remote != "":
		fmt.Fprintf(&b, "    was refused%s.\n", at(rc.Remote))
	default:
		b.WriteString("    cannot be delivered to.\n")
	}
	if answer != "" {
		what := "The reason"
		if rc.Code > 0 {
			what = "The answer"
		}
		fmt.Fprintf(&b, "    %s: %s\n", what, answer)
	}
	if r.Kind == Failure {
		fmt.Fprintf(&b, "    What to do: %s\n", adviceFor(r.status(rc)))
	}
	return b.String()
}

func at(remote string) string {
	if remote == "" {
		return ""
	}
	return " by " + clean(remote, 255, false)
}

// answer gives the last reply in one line.
func (r *Report) answer(rc *Recipient, max int, utf bool) string {
	text := clean(rc.Reply, max, utf)
	if rc.Code > 0 {
		text = strings.TrimSpace(strconv.Itoa(rc.Code) + " " + text)
	}
	return text
}

// words writes a time as people say it.
func words(d time.Duration) string {
	count := func(n time.Duration, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return strconv.FormatInt(int64(n), 10) + " " + unit + "s"
	}
	switch {
	case d >= 48*time.Hour:
		return count(d/(24*time.Hour), "day")
	case d >= 2*time.Hour:
		return count(d/time.Hour, "hour")
	}
	return count(max(d/time.Minute, 1), "minute")
}

// text is the part for people.
func (r *Report) text() string {
	var to strings.Builder
	for i := range r.Recipients[:r.listed] {
		to.WriteString(r.sentence(&r.Recipients[i]))
	}
	if more := len(r.Recipients) - r.listed; more > 0 {
		fmt.Fprintf(&to, "... and %d more recipients that are not listed here.\n", more)
	}
	if r.Profile.Notification != "" && r.Kind == Failure {
		return r.fillIn(r.Profile.Notification, to.String())
	}
	return r.fillIn(ours[r.Kind], to.String())
}

// ours are the texts of reports, by Kind.
var ours = [...]string{
	Failure: "This is the mail system at {hostname}.\n\nYour message \"{subject}\" could not be delivered to one or more recipients.\n\n{recipients}\n" +
		"This report was made by a program; nobody reads answers to it.\n",
	Delay: "This is the mail system at {hostname}.\n\nTHIS IS ONLY A WARNING. Your message \"{subject}\" is delayed.\n\n{recipients}\n" +
		"This report was made by a program; nobody reads answers to it.\n",
	Success: "This is the mail system at {hostname}.\n\nYou asked to hear of the delivery of your message \"{subject}\".\n\n{recipients}\n" +
		"This report was made by a program; nobody reads answers to it.\n",
}

// fillIn puts the values in place of the words in braces, in one pass: what a
// value has in braces stays as it is.
func (r *Report) fillIn(text, recipients string) string {
	if !strings.Contains(text, "{recipients}") {
		text = strings.TrimRight(text, "\n") + "\n\n{recipients}\n"
	}
	subject := clean(r.Original.Subject, 150, true)
	if subject == "" {
		subject = "(no subject)"
	}
	return strings.NewReplacer(
		"{hostname}", r.Hostname,
		"{sender}", clean(r.Original.From.String(), 320, true),
		"{subject}", subject,
		"{recipients}", recipients,
	).Replace(text)
}
