package smtp

import "testing"

// Every pair of phase and event, written down a second time from RFC 5321
// section 4.1.4, RFC 3207, RFC 4954 and RFC 3030: so that a slip in the table is seen.
func TestTransitionsOfEveryPair(t *testing.T) {
	legal := map[phase]map[event]phase{
		connected: {evNone: connected, evHello: greeted, evReset: connected, evClose: closing},
		greeted:   {evNone: greeted, evHello: greeted, evTLS: connected, evAuth: greeted, evMail: inMail, evReset: greeted, evClose: closing},
		inMail:    {evNone: inMail, evHello: greeted, evRcpt: inRcpt, evReset: greeted, evClose: closing},
		inRcpt:    {evNone: inRcpt, evHello: greeted, evRcpt: inRcpt, evData: inData, evChunk: inChunks, evReset: greeted, evClose: closing},
		inData:    {evDone: greeted, evClose: closing},
		inChunks:  {evNone: inChunks, evHello: greeted, evChunk: inChunks, evDone: greeted, evReset: greeted, evClose: closing},
		closing:   {},
	}
	for p := phase(0); p < numPhases; p++ {
		for e := event(0); e < numEvents; e++ {
			got, ok := transition(p, e)
			want, wantOK := legal[p][e]
			if ok != wantOK || ok && got != want {
				t.Errorf("%v, event %d: %v %v, want %v %v", p, e, got, ok, want, wantOK)
			}
		}
	}
}
