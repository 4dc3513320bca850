package mail

import "testing"

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		n              Notify
		text           string
		failure, delay bool
	}{
		{0, "", true, true},
		{NotifyNever, "NEVER", false, false},
		{NotifySuccess, "SUCCESS", false, false},
		{NotifyFailure | NotifyDelay, "FAILURE,DELAY", true, true},
		{NotifySuccess | NotifyFailure, "SUCCESS,FAILURE", true, false},
	} {
		if c.n.String() != c.text || c.n.WantsFailure() != c.failure || c.n.WantsDelay() != c.delay {
			t.Errorf("%d: %q, %v, %v", c.n, c.n, c.n.WantsFailure(), c.n.WantsDelay())
		}
	}
}
