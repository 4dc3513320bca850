package policy

import "lazaret/internal/errs"

// ForAmbiguous gives what is done with a message that two readers would
// understand differently, or that could not be read to its end, when no message
// filter held or dropped it. What nothing is set for is kept (P3).
func (r *Row) ForAmbiguous() Response {
	if r.Ambiguous == (Response{}) {
		return Response{Action: Quarantine}
	}
	return r.Ambiguous
}

func (r *Row) checkAmbiguous() error {
	if r.Ambiguous == (Response{}) {
		return nil
	}
	if r.Ambiguous.Action == Wait {
		return errs.New(errs.Invalid, "ambiguous: waiting changes nothing about what a message is")
	}
	if err := r.Ambiguous.check(false); err != nil {
		return errs.New(errs.Invalid, "ambiguous: %s", errs.Public(err))
	}
	return nil
}
