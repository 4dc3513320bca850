package pipeline

import (
	"context"
	"net/netip"
	"time"

	"lazaret/internal/filter"
)

// Reputation is what others say of a client's address. What does not answer in
// time says nothing.
type Reputation interface {
	Listed(ctx context.Context, zone string, ip netip.Addr) bool
	Score(ctx context.Context, ip netip.Addr) (tenths int, known bool)
}

// askTime is how long a filter waits for DNS.
const askTime = 20 * time.Second

// Outside implements filter.Message.
func (in *input) Outside(ctx context.Context, q filter.Question) (int64, bool, error) {
	if q.Kind == filter.RepeatSubjects || q.Kind == filter.RepeatSenders {
		n := in.repeats.count(q.Kind, q.Way, &in.Input, in.site.Now())
		if in.traced {
			n++ // it is counted with itself, and is not really there
		}
		return n, true, nil
	}
	if in.site.Reputation == nil || !in.Origin.RemoteIP.IsValid() {
		return 0, false, nil
	}
	key := string([]byte{byte(q.Kind)}) + q.Zone
	if a, asked := in.answers[key]; asked {
		return a.n, a.known, nil
	}
	ask, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a := answer{known: true}
	if q.Kind == filter.Score {
		var tenths int
		tenths, a.known = in.site.Reputation.Score(ask, in.Origin.RemoteIP)
		a.n = int64(tenths)
	} else if in.site.Reputation.Listed(ask, q.Zone, in.Origin.RemoteIP) {
		a.n = 1
	}
	if err := ctx.Err(); err != nil { // the program ends: nobody has said anything
		return 0, false, err
	}
	if in.answers == nil {
		in.answers = map[string]answer{}
	}
	in.answers[key] = a
	return a.n, a.known, nil
}

// answer is what was said of the client.
type answer struct {
	n     int64
	known bool
}
