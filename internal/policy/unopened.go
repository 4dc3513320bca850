package policy

import (
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Engine is the action, only for what could not be opened, that leaves it to the
// engine: what it has called clean is clean.
const Engine Action = "engine"

// Unopened is the word for its settings.
const Unopened = "unopened"

// Respond gives the response to what was found by an engine or by ourselves;
// unopened says that it is an archive of a kind that we do not read, or a damaged
// one, and nothing worse. ok is false when such a thing is left to the engine.
func (a *Antivirus) Respond(v mail.Verdict, unopened bool) (r Response, ok bool) {
	switch {
	case !unopened || v != mail.Unscannable || a.Unopened == (Response{}):
		return a.For(v), true
	case a.Unopened.Action == Engine:
		return Response{}, false
	}
	return a.Unopened, true
}

func (a *Antivirus) checkUnopened() error {
	r := a.Unopened
	switch {
	case r == (Response{}):
		return nil
	case r.Action == Engine && (r.Tag != "" || r.Header != ""):
		return errs.New(errs.Invalid, "antivirus, %s: what is left to the engine has no tag and no header", Unopened)
	case r.Action == Engine:
		return nil
	}
	if err := r.check(false); err != nil {
		return errs.New(errs.Invalid, "antivirus, %s: %s; or engine", Unopened, errs.Public(err))
	}
	return nil
}
