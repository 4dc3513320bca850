// Package bounce makes what a sender hears about mail that failed, waits or
// arrived: delivery status notifications (RFC 3461 to 3464, 3834, 6522, 6533),
// and knows the bounce profiles that say when and in which form (reference
// 8.4).
//
// It sends nothing, stores nothing and decides nothing about who may get a
// report; that is the role's. It promises that no text from outside can become
// a header line, a part or an address of a report (register B3, B5), that a
// report is never larger than MaxSize, and that no line of it has a bare CR or
// LF or more than 998 bytes.
package bounce

import (
	"strings"
	"time"
	"unicode/utf8"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Default is the name of the profile that is always there.
const Default = "Default"

// Profile says how long mail is tried and what its sender hears.
type Profile struct {
	Name        string
	MaxRetries  int           // attempts after the first
	MaxTime     time.Duration // in the queue
	FirstRetry  time.Duration
	LongestWait time.Duration // between two attempts

	Silent    bool          // senders do not hear of hard bounces
	Simple    bool          // reports are plain text, not DSN
	WarnAfter time.Duration // before the first delay notice, and between two
	Warnings  int           // delay notices at most; 0: none

	Alternate    mail.Address // gets the reports in place of the sender; zero: the sender
	Subject      string       // of failure reports; empty: ours
	DelaySubject string       // of delay notices; empty: ours
	Notification string       // the text for people; empty: ours. Words in braces are replaced, see placeholders
}

// placeholders are what a notification text may have in braces.
var placeholders = []string{"{hostname}", "{sender}", "{subject}", "{recipients}"}

// Limits of a profile.
const (
	maxName         = 64
	maxSubject      = 200
	maxNotification = 4096
)

// DefaultProfile has the values of reference 8.4; one delay notice after four hours.
func DefaultProfile() Profile {
	return Profile{
		Name: Default, MaxRetries: 100, MaxTime: 72 * time.Hour, FirstRetry: time.Minute, LongestWait: time.Hour,
		WarnAfter: 4 * time.Hour, Warnings: 1,
	}
}

// CheckName refuses what cannot be the name of a profile.
func CheckName(s string) error {
	if s == "" || len(s) > maxName || s != strings.TrimSpace(s) || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || strings.ContainsRune("\"'\\<>;", r) }) {
		return errs.New(errs.Invalid, "a bounce profile has a name of 1 to %d characters, without quotes, angle brackets, semicolons and blanks around it", maxName)
	}
	return nil
}

// Check refuses what a profile cannot be. The error begins with the word of
// the field as the configuration has it, and a colon.
func (p *Profile) Check() error {
	bad := func(field, format string, args ...any) error {
		return errs.New(errs.Invalid, field+": "+format, args...)
	}
	if err := CheckName(p.Name); err != nil {
		return bad("profile_name", "%s", errs.Public(err))
	}
	switch s := time.Second; {
	case p.MaxRetries < 1 || p.MaxRetries > 10000:
		return bad("max_retries", "%d is not a number from 1 to 10000", p.MaxRetries)
	case p.MaxTime < time.Minute || p.MaxTime > 30*24*time.Hour:
		return bad("max_time_in_queue", "%d is not a number of seconds from 60 to 30 days", p.MaxTime/s)
	case p.FirstRetry < s || p.FirstRetry > 24*time.Hour:
		return bad("first_retry", "%d is not a number of seconds from 1 to a day", p.FirstRetry/s)
	case p.LongestWait < p.FirstRetry || p.LongestWait > 7*24*time.Hour:
		return bad("longest_interval", "%d is not a number of seconds from first_retry to 7 days", p.LongestWait/s)
	case p.WarnAfter < time.Minute || p.WarnAfter > 30*24*time.Hour:
		return bad("delay_interval", "%d is not a number of seconds from 60 to 30 days", p.WarnAfter/s)
	case p.Warnings < 0 || p.Warnings > 100:
		return bad("delay_warnings", "%d is not a number from 0 to 100", p.Warnings)
	}
	if len(p.Subject) > maxSubject || strings.ContainsAny(p.Subject, "\r\n") {
		return bad("subject", "a subject is one line of at most %d bytes", maxSubject)
	}
	if len(p.DelaySubject) > maxSubject || strings.ContainsAny(p.DelaySubject, "\r\n") {
		return bad("delay_subject", "a subject is one line of at most %d bytes", maxSubject)
	}
	if len(p.Notification) > maxNotification {
		return bad("notification", "the text is longer than %d bytes", maxNotification)
	}
	return checkPlaceholders(p.Notification, bad)
}

// checkPlaceholders refuses a word in braces that nothing is put in place of.
func checkPlaceholders(text string, bad func(string, string, ...any) error) error {
	for rest := text; ; {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			return nil
		}
		rest = rest[i:]
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return bad("notification", "a brace is not closed")
		}
		known := false
		for _, p := range placeholders {
			known = known || rest[:end+1] == p
		}
		if !known {
			return bad("notification", "%q is not one of %s", rest[:min(end+1, 40)], strings.Join(placeholders, ", "))
		}
		rest = rest[end+1:]
	}
}
