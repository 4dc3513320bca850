package policy

import (
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Analysis is the file analysis settings of a policy (reference 1.1, 7.3).
type Analysis struct {
	Scan     bool
	Verdicts map[mail.FileVerdict]Response // each but clean; one that is missing is the default
}

// AnalysisVerdicts are those that a policy has an answer to.
var AnalysisVerdicts = [...]mail.FileVerdict{mail.FileMalicious, mail.FilePending, mail.FileUnscannable, mail.FileUnscanned}

// AnalysisDefaults are what a verdict leads to when nothing is set: what is
// pending goes to File Analysis, what is malicious or cannot be looked at to
// Virus, and what no analyser has seen waits (P3).
func AnalysisDefaults() map[mail.FileVerdict]Response {
	return map[mail.FileVerdict]Response{
		mail.FileMalicious: {Action: Quarantine}, mail.FilePending: {Action: Quarantine},
		mail.FileUnscannable: {Action: Quarantine}, mail.FileUnscanned: {Action: Wait},
	}
}

// For gives the response to a verdict. Clean has none.
func (a *Analysis) For(v mail.FileVerdict) Response {
	if r, ok := a.Verdicts[v]; ok {
		return r
	}
	return AnalysisDefaults()[v]
}

// Check finds what is wrong with file analysis settings.
func (a *Analysis) Check() error {
	for v, r := range a.Verdicts {
		if v == mail.FileClean {
			return errs.New(errs.Invalid, "what is clean needs no action")
		}
		if err := r.check(v == mail.FileUnscanned); err != nil {
			return errs.New(errs.Invalid, "file analysis, %s: %s", v, errs.Public(err))
		}
	}
	return nil
}
