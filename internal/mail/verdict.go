package mail

import (
	"fmt"
	"slices"

	"lazaret/internal/errs"
)

// Verdict is what an antivirus engine says of a message (reference 7.6). The
// zero value is that of a message that no engine has finished with: nothing that
// goes wrong makes one clean (promise P3).
type Verdict uint8

// The verdicts, the graver the higher.
const (
	Unscanned   Verdict = iota // the engine is away, too slow, too old, or gave no whole answer
	Clean                      // scanned to the end, nothing found
	Repaired                   // a virus was taken out; only of engines that repair
	Encrypted                  // something could not be opened for want of a key
	Unscannable                // something could not be opened, or is beyond a limit
	Infected                   // a virus was found
)

var verdictNames = [...]string{"unscanned", "clean", "repaired", "encrypted", "unscannable", "infected"}

// String gives the word of a verdict.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// ParseVerdict reads the word of a verdict.
func ParseVerdict(s string) (Verdict, error) {
	i := slices.Index(verdictNames[:], s)
	if i < 0 {
		return 0, errs.New(errs.Invalid, "%q is no verdict: clean, repaired, encrypted, unscannable, infected or unscanned", clip(s))
	}
	return Verdict(i), nil
}

// Scan is the answer of an engine.
type Scan struct {
	Verdict  Verdict
	Engine   string // its name in log lines
	Database string // version of its signatures; "" when it did not say
	Name     string // of the virus or of what kept it from looking, printable, at most 200 bytes
	Cached   bool   // known from the same content before
}

// SpamVerdict is what an anti-spam engine says of a message, in the words of
// the field (reference 5.5). The zero value is that of a message that no engine
// has finished with.
type SpamVerdict uint8

// The verdicts, the graver the higher.
const (
	SpamUnknown  SpamVerdict = iota // the engine is away, skipped it, or gave no whole answer
	SpamNegative                    // it may pass
	SpamSuspect                     // it may be spam
	SpamPositive                    // it is spam
)

var spamNames = [...]string{"unknown", "negative", "suspect", "positive"}

// String gives the word of a verdict.
func (v SpamVerdict) String() string {
	if int(v) < len(spamNames) {
		return spamNames[v]
	}
	return fmt.Sprintf("spam(%d)", uint8(v))
}

// ParseSpamVerdict reads the word of a verdict.
func ParseSpamVerdict(s string) (SpamVerdict, error) {
	i := slices.Index(spamNames[:], s)
	if i < 0 {
		return 0, errs.New(errs.Invalid, "%q is no verdict: positive, suspect, negative or unknown", clip(s))
	}
	return SpamVerdict(i), nil
}

// Spam is the answer of an anti-spam engine.
type Spam struct {
	Verdict  SpamVerdict
	Engine   string  // its name in log lines
	Action   string  // in the engine's words, printable
	Score    float64 // reached
	Required float64 // for a rejection
	Symbols  []string
	Reason   string // why it is unknown
}
