package mail

import "strings"

// FileVerdict is what an analyser says of attachments, the worst one last.
type FileVerdict uint8

// The verdicts of file analysis. Only FileClean says that all was looked at and
// nothing was found.
const (
	FileClean       FileVerdict = iota
	FilePending                 // its analysis goes on
	FileUnscannable             // it cannot be analysed: too large, too many
	FileUnscanned               // the analyser is away
	FileMalicious
	numFileVerdicts
)

var fileVerdictNames = [numFileVerdicts]string{"clean", "pending", "unscannable", "unscanned", "malicious"}

// String gives the verdict's name.
func (v FileVerdict) String() string {
	if v < numFileVerdicts {
		return fileVerdictNames[v]
	}
	return "invalid"
}

// Analysis is what came of looking at the attachments of a message.
type Analysis struct {
	Verdict FileVerdict
	Name    string // of the threat, or why there is none; hostile
	Files   int    // that were asked about
}

// fileAnalysis stands in front of a verdict in a reason.
const fileAnalysis = "file analysis:"

// Reason says in a quarantine why a message is there.
func (a Analysis) Reason() string {
	text := fileAnalysis + a.Verdict.String()
	if a.Name != "" {
		text += " " + a.Name
	}
	return text
}

// Analysing reports whether a message is in quarantine until its analysis is
// over, by its reason alone.
func Analysing(reason string) bool { return reason == fileAnalysis+FilePending.String() }

// Scan gives the verdict as it is remembered with a message.
func (a Analysis) Scan() Scan {
	v := map[FileVerdict]Verdict{FileClean: Clean, FilePending: Unscanned, FileUnscannable: Unscannable, FileUnscanned: Unscanned, FileMalicious: Infected}[a.Verdict]
	return Scan{Verdict: v, Engine: "file analysis", Name: strings.TrimSpace(fileAnalysis + a.Name)}
}
