package policy

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// Outbreak is the outbreak filter settings of a policy (reference 7.7).
type Outbreak struct {
	Scan      bool
	Threshold int           // level of threat from which on a message is held
	Viral     time.Duration // how long what a virus may be in is held at most
	Other     time.Duration // and everything else
	Through   bool          // what is not viral is delivered, changed, and not held
	Bypass    []string      // extensions of attachments that rules do not count for: .pdf
	Modify    int           // level from which on what is delivered is changed; 0: never
	Subject   string        // in front of the subject of what is changed, with variables; empty: nothing
	Headers   bool          // X-IronPort-Outbreak-Status and -Description on top of it
}

// Limits of a policy's outbreak settings.
const (
	MaxBypass  = 200
	MaxSubject = 80 // bytes of Outbreak.Subject
)

// OutbreakDefaults are the settings when nothing is set (reference 1.2 and 7.7).
func OutbreakDefaults() Outbreak {
	return Outbreak{Scan: true, Threshold: 3, Viral: 24 * time.Hour, Other: 4 * time.Hour, Subject: "[Possible $threat_category]", Headers: true}
}

// variables are those that Subject may have (reference 7.7).
var variables = [...]string{"$threat_verdict", "$threat_category", "$threat_type", "$threat_description", "$threat_level"}

// Variables gives the names of the variables of a subject.
func Variables() []string { return append([]string(nil), variables[:]...) }

// Check finds what is wrong with outbreak settings.
func (o *Outbreak) Check() error {
	const shortest, longest = time.Minute, 30 * 24 * time.Hour
	switch {
	case !o.Scan:
		return nil
	case o.Threshold < 1 || o.Threshold > 5:
		return errs.New(errs.Invalid, "outbreak_threshold is 1 to 5, not %d", o.Threshold)
	case o.Modify < 0 || o.Modify > 5:
		return errs.New(errs.Invalid, "outbreak_modify is 1 to 5, or 0 for never, not %d", o.Modify)
	case o.Viral < shortest || o.Viral > longest || o.Other < shortest || o.Other > longest:
		return errs.New(errs.Invalid, "outbreak retention is from 1m to 30d")
	case len(o.Bypass) > MaxBypass:
		return errs.New(errs.Invalid, "more than %d extensions are bypassed", MaxBypass)
	case len(o.Subject) > MaxSubject || !utf8.ValidString(o.Subject) || strings.ContainsFunc(o.Subject, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errs.New(errs.Invalid, "outbreak_subject has at most %d bytes of printable text", MaxSubject)
	}
	for _, e := range o.Bypass {
		if len(e) < 2 || len(e) > 20 || e[0] != '.' || e != strings.ToLower(e) || strings.ContainsAny(e[1:], "./\\ ") {
			return errs.New(errs.Invalid, "%q is not an extension in lower case such as .pdf", clip(e))
		}
	}
	rest := o.Subject
	for _, v := range variables {
		rest = strings.ReplaceAll(rest, v, "")
	}
	if strings.Contains(rest, "$") {
		return errs.New(errs.Invalid, "outbreak_subject: a variable is not known; known are %s", strings.Join(variables[:], ", "))
	}
	return nil
}
