package appliance

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lazaret/internal/certs"
)

// thresholds are the days before the end of a certificate at which the
// administrators are told, and 0 when it is over (register D2).
var thresholds = [...]int{30, 14, 7, 1, 0}

// alarm is what was told of one certificate.
type alarm struct {
	Days int       `json:"days"` // the last threshold told
	End  time.Time `json:"end"`
}

// expiring is a certificate in use.
type expiring struct {
	key  string // names it for ever: another certificate has another key
	what string
	end  time.Time
}

// met are the peers' certificates as they were shown or told.
type met struct {
	mu   sync.Mutex
	last map[string]expiring // by serial
}

// seen implements the hook of certs.Check: a peer showed its certificate.
func (a *Appliance) seen(p certs.Peer, leaf *x509.Certificate) {
	a.PeerExpires(p.ID, p.Name, certs.PinOf(leaf).String(), leaf.NotAfter)
}

// PeerExpires keeps when the CPQ certificate ends that a peer has in use.
func (a *Appliance) PeerExpires(serial, name, pin string, end time.Time) {
	a.met.mu.Lock()
	defer a.met.mu.Unlock()
	if a.met.last == nil {
		a.met.last = map[string]expiring{}
	}
	a.met.last[serial] = newExpiring(pin, "CPQ certificate of "+name+" ("+serial+")", end)
}

func newExpiring(pin, what string, end time.Time) expiring {
	return expiring{key: pin + "@" + end.UTC().Format(time.RFC3339), what: what, end: end}
}

// certificatesInUse gives all whose end would stop something.
func (a *Appliance) certificatesInUse() []expiring {
	var all []expiring
	own := a.CPQ.Current()
	all = append(all, newExpiring(own.Pin().String(), "CPQ certificate of this appliance", own.Leaf.NotAfter))
	c := a.Config.Committed()
	for _, h := range a.Keys.All() {
		if users := c.CertificateUsers(h.Name); len(users) > 0 {
			what := "certificate " + h.Name + " (" + strings.Join(h.Pair.Names(), ", ") + "), used by " + strings.Join(users, ", ")
			all = append(all, newExpiring(h.Pair.Pin().String(), what, h.Pair.Leaf.NotAfter))
		}
	}
	peers := map[string]bool{}
	for _, p := range a.peers() {
		peers[p.ID] = true
	}
	a.met.mu.Lock()
	defer a.met.mu.Unlock()
	for _, serial := range slices.Sorted(maps.Keys(a.met.last)) {
		if peers[serial] {
			all = append(all, a.met.last[serial])
		}
	}
	return all
}

// ending says in words how long a certificate still lasts; the threshold is -1
// while there is nothing to say.
func (e expiring) ending(now time.Time) (threshold int, text string) {
	threshold = -1
	left := e.end.Sub(now)
	for _, days := range thresholds {
		if left <= time.Duration(days)*24*time.Hour {
			threshold = days
		}
	}
	date := e.end.UTC().Format(day)
	switch {
	case threshold == 0:
		text = e.what + " expired on " + date
	case left < 48*time.Hour:
		text = fmt.Sprintf("%s expires in %d hours, on %s", e.what, int(left.Hours()), date)
	default:
		text = fmt.Sprintf("%s expires in %d days, on %s", e.what, int(left.Hours())/24, date)
	}
	return threshold, text
}

// CheckExpiry tells the administrators of certificates that run out: once for
// each threshold and certificate, over restarts too.
func (a *Appliance) CheckExpiry() {
	for _, e := range a.certificatesInUse() {
		threshold, text := e.ending(a.Now())
		if threshold < 0 || a.State.alarmed(e.key, threshold) {
			continue
		}
		a.Alert(AlertCertificate, text)
		if err := a.State.keepAlarm(e.key, alarm{Days: threshold, End: e.end}, a.Now()); err != nil {
			a.Log.Fault("state", err.Error())
		}
	}
}

// Attention gives what status shows of certificates: those that run out, and
// files that are not used because they are broken.
func (a *Appliance) Attention() (lines []string) {
	for _, e := range a.certificatesInUse() {
		if threshold, text := e.ending(a.Now()); threshold >= 0 {
			lines = append(lines, text)
		}
	}
	for _, h := range a.Keys.All() {
		if h.Fault != "" {
			lines = append(lines, "certificate "+h.Name+": the files are not used: "+h.Fault)
		}
	}
	return lines
}

// alarmed says whether the threshold, or a nearer one, was told.
func (s *State) alarmed(key string, days int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.file.Alarms[key]
	return ok && last.Days <= days
}

// maxAlarms is when certificates that ended long ago are forgotten.
const maxAlarms = 1000

// keepAlarm remembers what was told, durably.
func (s *State) keepAlarm(key string, al alarm, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(s.file.Alarms)
	if next == nil {
		next = map[string]alarm{}
	}
	if len(next) >= maxAlarms {
		maps.DeleteFunc(next, func(_ string, o alarm) bool { return now.Sub(o.End) > 366*24*time.Hour })
	}
	next[key] = al
	s.file.Alarms = next
	return s.write()
}
