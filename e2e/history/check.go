package history

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// History is everything that was seen of one run.
type History struct {
	Events []Event
	Logs   map[string]*Log // by appliance; one without a log is not asked for lines
}

// item is what was seen of one message.
type item struct {
	key      string
	sent     *Event
	arrivals []*Event
	records  []*Event
	queued   []*Event
	aside    []*Event
	released bool // somebody asked for it
	deleted  bool // somebody asked for it
	confirm  bool // the deletion was confirmed
	decided  time.Time
	kept     []string // recipients for whom it is kept as undeliverable
	copies   []int
	cuts     []int
}

type checker struct {
	h     *History
	r     *Report
	items map[string]*item
	kills map[string][]time.Time

	refuses map[string]bool // addresses, and "@domain", that somebody refuses for good
}

// Check judges a history after everything was healed and drained.
func Check(h *History) *Report {
	c := &checker{h: h, r: &Report{}, items: map[string]*item{}, kills: map[string][]time.Time{}, refuses: map[string]bool{}}
	c.clients()
	for i := range h.Events {
		c.event(&h.Events[i])
	}
	keys := make([]string, 0, len(c.items))
	for k := range c.items {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		c.item(c.items[k])
	}
	for _, l := range h.Logs {
		c.r.LogLines += l.Lines
	}
	return c.r
}

// clients reads what was sent, first: an arrival may come before its 250.
func (c *checker) clients() {
	for i := range c.h.Events {
		e := &c.h.Events[i]
		if e.Who != Client {
			continue
		}
		switch e.What {
		case Acked:
			c.r.Acked++
		case Refused:
			c.r.Refused++
		case Unknown:
			c.r.Unknown++
		}
		if c.items[e.Key] != nil {
			c.r.add(Unexpected, e.Key, "the client used this key twice: the history proves nothing")
		}
		c.items[e.Key] = &item{key: e.Key, sent: e, copies: make([]int, len(e.To)), cuts: make([]int, len(e.To))}
	}
}

func (c *checker) event(e *Event) {
	switch e.Who {
	case Client:
		return
	case Fault:
		if e.What == Killed {
			c.r.Kills++
			c.kills[e.Appliance] = append(c.kills[e.Appliance], e.At)
		} else {
			c.r.Faults++
		}
		return
	}
	if e.What == Refuses {
		for _, to := range e.To {
			c.refuses[to] = true
		}
		return
	}
	it := c.items[e.Key]
	if it == nil {
		c.stranger(e)
		return
	}
	switch e.What {
	case Arrived:
		c.r.Arrivals++
		it.arrivals = append(it.arrivals, e)
	case Holds:
		c.r.Held++
		it.records = append(it.records, e)
	case Queued:
		c.r.Queued++
		it.queued = append(it.queued, e)
	case Aside:
		c.r.Aside++
		it.aside = append(it.aside, e)
	case Undelivered:
		it.kept = append(it.kept, e.To...)
	case Tried:
		it.decided = e.At
		it.released = it.released || e.Note == Released
		it.deleted = it.deleted || e.Note == Deleted
	case Released:
		c.r.Released++
		it.released = true
	case Deleted:
		c.r.Deleted++
		it.deleted, it.confirm = true, true
	}
}

// stranger is about a message that no client sent. Notices of our own about
// mail that failed are expected at their sink.
func (c *checker) stranger(e *Event) {
	switch {
	case e.Who == Sink && e.From == "" && e.Note == "notice":
		c.r.Arrivals++
	case e.Who == Sink:
		c.r.Arrivals++
		c.r.add(Unexpected, e.Key, "arrived for %s from <%s>, and nobody sent it", strings.Join(e.To, ", "), e.From)
	case e.Who == Manager:
		c.r.add(Unexpected, e.Key, "MID %d is in the manager, and nobody sent it", e.MID)
	}
}

func (c *checker) item(it *item) {
	e := it.sent
	for _, a := range it.arrivals {
		c.arrival(it, a)
	}
	for _, m := range it.records {
		c.record(it, m)
	}
	seen := len(it.arrivals)+len(it.records)+len(it.queued)+len(it.aside) > 0
	switch {
	case e.What == Refused:
		if seen {
			c.r.add(Unexpected, it.key, "was refused with %q, and is there: %d arrivals, %d records", e.Reply, len(it.arrivals), len(it.records))
		}
		return
	case e.What == Unknown && !seen:
		return
	case e.What == Unknown:
		c.r.Recovered++
	}
	c.inside(it)
	c.outside(it)
	if e.What == Acked {
		c.chain(it)
	}
}

// headerLines is what may stand in front of the client's content.
var headerLines = regexp.MustCompile(`^([!-9;-~]+:[^\r\n]*\r\n([ \t][^\r\n]*\r\n)*)*$`)

// HeaderLines reports whether a text is whole header lines and nothing else. A
// sink may leave out what is.
func HeaderLines(added string) bool { return headerLines.MatchString(added) }

// arrival holds one arrival against what was sent.
func (c *checker) arrival(it *item, a *Event) {
	if a.Hash != it.sent.Hash || !HeaderLines(a.Added) {
		c.r.add(Altered, it.key, "arrived with content %.16s... behind %d octets of ours, sent was %.16s...", a.Hash, len(a.Added), it.sent.Hash)
	}
	if a.From != it.sent.From {
		c.r.add(Misrouted, it.key, "arrived from <%s>, sent was <%s>", a.From, it.sent.From)
	}
	for _, to := range a.To {
		i := slices.Index(it.sent.To, to)
		_, domain, _ := strings.Cut(to, "@")
		if i < 0 || !slices.Contains(a.Domains, domain) {
			c.r.add(Misrouted, it.key, "arrived for <%s> at the host of %v, sent to %v", to, a.Domains, it.sent.To)
			continue
		}
		it.copies[i]++
		if a.Cut {
			it.cuts[i]++
		}
	}
}

// record holds one record of the manager against what was sent.
func (c *checker) record(it *item, m *Event) {
	if m.Hash != it.sent.Hash {
		c.r.add(Altered, it.key, "MID %d at the manager has content %.16s..., sent was %.16s...", m.MID, m.Hash, it.sent.Hash)
	}
	a, b := slices.Clone(m.To), slices.Clone(it.sent.To)
	slices.Sort(a)
	slices.Sort(b)
	if m.From != it.sent.From || !slices.Equal(a, b) {
		c.r.add(Misrouted, it.key, "MID %d at the manager is from <%s> to %v, sent was <%s> to %v", m.MID, m.From, m.To, it.sent.From, it.sent.To)
	}
}

// inside judges what the quarantine has.
func (c *checker) inside(it *item) {
	want := 0
	if it.sent.Class == Hold || it.sent.Class == Copy {
		want = 1
	}
	switch {
	case want == 0 && len(it.records) > 0:
		c.r.add(Unexpected, it.key, "is at the manager, and no filter sends it there")
		return
	case len(it.records) > want:
		c.r.add(DuplicatedIn, it.key, "%d records at the manager", len(it.records))
	case len(it.records) < want && !c.waits(it):
		c.r.add(Lost, it.key, "the manager does not have it")
	}
	for _, m := range it.records {
		switch {
		case m.State == "deleted" && !it.deleted:
			c.r.add(Lost, it.key, "MID %d at the manager was deleted, and nobody did it", m.MID)
		case m.State == "held" && it.confirm:
			c.r.add(Resurrected, it.key, "MID %d at the manager is held after a confirmed delete", m.MID)
		case m.State == "released" && !it.released:
			c.r.add(Unexpected, it.key, "MID %d at the manager was released, and nobody did it", m.MID)
		}
	}
}

// waits reports whether it is still in a queue, or was set aside and reported.
func (c *checker) waits(it *item) bool { return len(it.queued)+len(it.aside) > 0 }

// outside judges what the foreign hosts have, recipient by recipient.
func (c *checker) outside(it *item) {
	direct := 0
	if it.sent.Class == Clean || it.sent.Class == Copy {
		direct = 1
	}
	home := 0 // a release that was carried out
	for _, m := range it.records {
		if m.State == "released" {
			home++
		}
	}
	for i := range it.sent.To {
		n := it.copies[i]
		c.early(it, i)
		allowed := direct
		if it.released {
			allowed = direct + max(home, 1)
		}
		switch extra := n - allowed; {
		case extra <= 0:
		case extra <= it.cuts[i]:
			c.r.Repeated += extra
		case it.deleted && !it.released:
			c.r.add(Resurrected, it.key, "arrived %d times for <%s> after it was deleted", n, it.sent.To[i])
		case allowed == 0:
			c.r.add(Unexpected, it.key, "arrived for <%s>, and was to be held or dropped", it.sent.To[i])
		default:
			c.r.add(DuplicatedOut, it.key, "arrived %d times for <%s>, %d of them cut off, expected %d", n, it.sent.To[i], it.cuts[i], allowed)
		}
		if n < direct+home && !c.waits(it) {
			c.missing(it, i, direct+home-n)
		}
	}
}

// early judges a recipient that failed for good: a host, or DNS, said so for good.
func (c *checker) early(it *item, i int) {
	to := it.sent.To[i]
	_, domain, _ := strings.Cut(to, "@")
	if c.refuses[to] || c.refuses["@"+domain] {
		return
	}
	bounced := slices.Contains(it.kept, to)
	for _, mid := range c.numbers(it) {
		m := c.gatewayLog(it).Messages[mid]
		bounced = bounced || m != nil && m.Bounced[uint64(i)]
	}
	if bounced {
		c.r.add(BouncedEarly, it.key, "failed for good for <%s>, and nobody refused it", to)
	}
}

// missing looks for a recorded end of a recipient that nothing arrived for.
func (c *checker) missing(it *item, i, missing int) {
	for _, mid := range c.numbers(it) {
		if m := c.gatewayLog(it).Messages[mid]; m != nil && (m.Bounced[uint64(i)] || m.Deleted[uint64(i)]) {
			c.r.Bounced++
			missing--
		}
	}
	if missing > 0 && slices.Contains(it.kept, it.sent.To[i]) {
		c.r.Bounced++
		missing--
	}
	if missing > 0 {
		c.r.add(Lost, it.key, "%s, and %d copies for <%s> never arrived", it.sent.What, missing, it.sent.To[i])
	}
}

func (c *checker) gatewayLog(it *item) *Log {
	if l := c.h.Logs[it.sent.Appliance]; l != nil {
		return l
	}
	return NewLog(it.sent.Appliance)
}

// numbers gives all MIDs of a message at its gateway: its own, and those it
// came back under. RIDs are counted within each.
func (c *checker) numbers(it *item) (all []uint64) {
	l := c.gatewayLog(it)
	all = append(all, it.sent.MID)
	if it.sent.MID == 0 {
		all = slices.Clone(l.ByID[it.key])
	}
	for _, mid := range all {
		if m := l.Messages[mid]; m != nil {
			all = append(all, m.Rewritten...)
		}
	}
	return all
}

// chain asks the mail logs for the whole way of an acknowledged message.
func (c *checker) chain(it *item) {
	l := c.h.Logs[it.sent.Appliance]
	if l == nil {
		return
	}
	gap := func(format string, args ...any) {
		if c.tornOff(it) {
			c.r.LostLines++
			return
		}
		c.r.add(Unaccounted, it.key, format, args...)
	}
	m := l.Messages[it.sent.MID]
	if m == nil {
		gap("MID %d is in no line of %s", it.sent.MID, it.sent.Appliance)
		return
	}
	if id, _, _ := strings.Cut(m.MessageID, "@"); !m.Started || !m.Ready || id != it.key {
		gap("MID %d: start %v, ready %v, Message-ID %q", it.sent.MID, m.Started, m.Ready, m.MessageID)
	}
	if m.Finished == 0 && !m.Aborted && !c.waits(it) {
		gap("MID %d: no line tells its end", it.sent.MID)
	}
	for _, rec := range it.records {
		c.chainOfRecord(it, l, rec, gap)
	}
}

// memory is how long lines may be in the memory of a process: some
// milliseconds on a machine with time, more on one that is busy.
const memory = time.Second

// tornOff reports whether something happened to a message right before an
// appliance was killed: the last lines of a killed process are lost, which is
// what the product says of them. A decision is in the store before its lines
// are in the log.
func (c *checker) tornOff(it *item) bool {
	seen := []time.Time{it.sent.At, it.decided}
	for _, a := range it.arrivals {
		seen = append(seen, a.At)
	}
	for _, m := range it.records {
		seen = append(seen, m.At)
	}
	for _, kills := range c.kills {
		for _, k := range kills {
			for _, at := range seen {
				if d := k.Sub(at); d >= 0 && d < memory {
					return true
				}
			}
		}
	}
	return false
}

// chainOfRecord follows a message through the manager and back.
func (c *checker) chainOfRecord(it *item, l *Log, rec *Event, gap func(string, ...any)) {
	sent := l.Messages[rec.OriginMID]
	if sent == nil || sent.Finished == 0 && !c.waits(it) {
		gap("MID %d of %s: no line tells that the manager has it", rec.OriginMID, it.sent.Appliance)
		return
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(sent.Rewritten)))); n > 1 {
		c.r.add(ReleasedTwice, it.key, "came back as MIDs %v", sent.Rewritten)
	}
	ml := c.h.Logs[rec.Appliance]
	if ml == nil {
		return
	}
	if m := ml.Messages[rec.MID]; m == nil || m.OriginMID != rec.OriginMID {
		gap("MID %d of %s: no line tells where it came from", rec.MID, rec.Appliance)
	} else if (rec.State == "released" || rec.State == "deleted") && !m.Left {
		gap("MID %d of %s: no line tells that it is %s", rec.MID, rec.Appliance, rec.State)
	}
	if rec.State != "released" {
		return
	}
	if len(sent.Rewritten) == 0 {
		gap("MID %d of %s: was released, and no line tells under which number it came back", rec.OriginMID, it.sent.Appliance)
		return
	}
	for _, mid := range sent.Rewritten {
		if m := l.Messages[mid]; (m == nil || m.Finished == 0) && !c.waits(it) {
			gap("MID %d of %s, released: no line tells its end", mid, it.sent.Appliance)
		}
	}
}
